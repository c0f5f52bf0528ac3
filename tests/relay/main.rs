//! A plain route (`dialect = "none"`) over real sockets: what the one side says, the other hears.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

mod closes;
mod handshake;
mod limits;
mod messages;
mod stopping;
mod tls;

#[path = "../sidecar/mod.rs"]
mod sidecar;
#[path = "../support/mod.rs"]
mod support;
