//! What an operator does with a running sidecar, and what its sessions notice of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../ably_client/mod.rs"]
mod ably_client;
#[path = "../sidecar/mod.rs"]
mod sidecar;
#[path = "../support/mod.rs"]
mod support;

mod manager;
mod refused;
mod rehearsal;
mod reload;
mod status;
