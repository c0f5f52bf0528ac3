//! An in-process service of the Ably shape: what the demo and the tests have for an upstream.
//!
//! ```text
//!              GET /token  POST /keys/…/requestToken  GET /time
//!                     │
//!   listener ──► http ┤ Upgrade                     ┌── faults    what a test orders
//!                     ▼                             │
//!                 transport ──one message──► hub ───┤
//!                     ▲                       │     └── ledger    what was seen, and what was wrong with it
//!                     └──messages, orders─────┘
//!                                             │
//!           due (what time brings) ───────────┘
//! ```
//!
//! Rules:
//!
//! - It is a second reading of the protocol: nothing here is shared with the proxy's dialects, so a
//!   misreading cannot hide by being made twice.
//! - It is stricter than a production service. What no client may send is answered with an error
//!   *and* written to the ledger as a violation; a test ends by asking that there is none.
//! - A transport decides nothing: it moves messages. All state is in the hub, behind one lock that
//!   is never held across an await, so that what clients see has one order.
//! - Nothing attached survives its transport; a connection's identity and its serials do.
//! - No token, key or payload is logged.

mod attach;
mod auth;
mod channel;
mod connect;
mod connection;
mod credential;
mod due;
mod faults;
mod frame;
mod handle;
mod http;
mod hub;
mod ledger;
mod options;
mod presence;
mod publish;
mod requests;
mod transport;

#[cfg(test)]
mod tests;

pub use credential::{Key, Minted};
pub use faults::{Cut, Faults, Refusal, Target, TokenFault};
pub use handle::{Connected, Service, ServiceHandle};
pub use ledger::{Counts, Ledger, Margin, Published, Record};
pub use options::{Options, TokenAnswer};
