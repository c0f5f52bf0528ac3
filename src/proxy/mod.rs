//! Where sockets meet sessions.
//!
//! ```text
//!   listener ─► http ─► gate, admission  a plain request: to the service and back
//!      │           └──► body
//!      ├─► pace                          how long a client may take
//!      └─► upgrade ─► gate, admission    who may come in, and whose token it is
//!           │      └──► first_dial, upstream   the service is dialled before the client is answered
//!           │  parking ◄─► driver        or was kept for a client that went away
//!           ▼
//!               opening                  what a session begins with
//!                  ▼
//!               driver
//!                  │  ├─► reading        a leg is read, while the other has room
//!                  │  ├─► pump           bytes become messages, messages become bytes
//!                  │  │     ├─► control  Ping, Pong and Close
//!                  │  │     └─► writing  runs at once, the rest in each round
//!                  │  ├─► perform        actions become IO
//!                  │  │     ├─► dialling an upstream, a turn to exchange
//!                  │  │     │      └──► refusals: one session of a route asks, the others wait
//!                  │  │     └─► ending   legs end, with what they are owed
//!                  │  └─► watch          deadlines of the core and of the legs
//!                  ▼
//!               sessions, census, roll  what is known of all of them, and of each
//!               caller, report, tally   what one says to the log and the metrics
//!               traces                  and to those who trace
//!               places, crowd           how many there may be, of all and of one address
//!               trial                   one handshake for an operator, without a client
//! ```
//!
//! Rules: after the handshake hyper knows nothing of a session: it is a small task of its own, tracked
//! here. The driver is one loop; it holds no rule about tokens, queues or reconnects.

mod admission;
mod answer;
mod body;
mod caller;
mod census;
mod client;
mod control;
mod crowd;
mod dialling;
mod driver;
mod ending;
mod first_dial;
mod first_line;
mod forwarding;
mod gate;
mod goodbye;
mod hosts;
mod http;
mod leg;
mod listener;
mod opening;
mod outside;
mod pace;
mod parking;
mod parting;
mod perform;
mod places;
mod prelude;
mod pump;
mod reach;
mod reading;
mod refusals;
mod report;
mod roll;
mod route;
mod sessions;
mod shape;
mod tally;
mod traces;
mod trial;
mod upgrade;
mod upstream;
mod watch;
mod writing;

pub use crate::dialect::explain;
pub use crowd::Crowd;
pub use listener::{Hall, Proxy, converse, serve};
pub use outside::Provider;
pub use places::Places;
pub use reach::Unreached;
pub use roll::{Meant, Present};
pub use route::{Bounds, RouteContext, Tokens};
pub use sessions::{Extremes, Practice, Sessions};
pub use trial::{Tried, Visit};
