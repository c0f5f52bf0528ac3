//! The same from outside: the binary, real sockets, and a network as it really is: far, slow, cut, or silent.
//!
//! ```text
//!   client ──► sidecar (the binary) ──► WireProxy or a network namespace ──► service
//!   raw, or real clients in Node         counts what passes                  raw, embedded Ably, or jobs
//! ```
//!
//! - `line` proves the proxy itself.
//! - `realtime` has the tests whose point is how long something takes. They take half a minute and more, so
//!   their cases run side by side. `cargo nextest run -E 'test(/realtime/)'` selects them.

mod clients;
mod line;
pub mod namespace;
mod peers;
mod realtime;
mod stage;
