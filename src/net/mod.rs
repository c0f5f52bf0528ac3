//! The network below the sessions: bytes on sockets, TLS, and HTTP.
//!
//! ```text
//!   http, pool ──► dial ──► resolve, addresses, tls    link: frames on a stream
//!              │        │
//!              └──► stream ◄── accepted sockets (tls::ServerTls)
//!                      └──► delivery: what the kernel knows of the way to the peer
//!   trace: the span of a request, for those who trace
//! ```
//!
//! 1. There is one dialer, for upstreams and token endpoints alike: what holds for one leg (deadline,
//!    keepalive, verification) holds for all.
//! 2. Every operation has a deadline over all of its stages. A peer that drips a byte at a time does not
//!    extend it.
//! 3. Certificates are always verified; nothing switches that off.
//! 4. An error says the stage, the host or the file, and the cause, and never what was sent.

mod addresses;
pub mod delivery;
pub mod dial;
pub mod egress;
pub mod http;
pub mod link;
pub mod listener;
pub mod liveness;
pub mod peer;
pub mod pool;
pub mod proxy_protocol;
mod resolve;
pub mod room;
pub mod stream;
pub mod tls;
pub mod trace;

pub use delivery::Delivery;
pub use dial::{DialError, Dialer, Network, Stage, connect_unix};
pub use egress::{Egress, EgressError, Way};
pub use listener::{Accepted, Listener};
pub use liveness::{Liveness, Patience, Verdict};
pub use peer::Peer;
pub use pool::{Pool, PoolError};
pub use stream::{Io, Stream};
pub use tls::{ServerTls, TlsError};
