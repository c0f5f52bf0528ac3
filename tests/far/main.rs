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

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]
#![allow(clippy::print_stdout, reason = "the figures are worth reading")]
#![allow(unreachable_pub, reason = "shared by the files of this test")]

#[path = "../ably_client/mod.rs"]
mod ably_client;
mod clients;
#[path = "../jobs/mod.rs"]
mod jobs;
#[allow(dead_code, reason = "shared with another test, which uses all of it")]
#[path = "../jobs_sidecar/stage.rs"]
mod jobs_stage;
mod line;
mod namespace;
mod peers;
mod realtime;
#[path = "../sdk/mod.rs"]
mod sdk;
#[path = "../sidecar/mod.rs"]
mod sidecar;
mod stage;
#[path = "../support/mod.rs"]
mod support;
#[path = "../wire_proxy/mod.rs"]
mod wire_proxy;
