//! The scenarios of the job service's own guide: real clients that know nothing of tokens, the sidecar, and the
//! service on its real runtime. The sidecar is the binary, run as the README says.
//!
//! ```text
//!   client.mjs ──► sidecar ──► workerd: the job      every scenario is told twice: by the client, and by
//!      Report         └──────► /token/refresh        the service's Ledger
//! ```
//!
//! `service_jobs.rs` proves the service and the clients without a sidecar; `tests/handshake` has each rule byte
//! by byte.

mod away;
mod faults;
mod killed;
mod long;
mod others;
mod overlap;
mod replicas;
pub mod stage;
mod swaps;
