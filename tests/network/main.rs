//! The real proxy over a network in memory, with a paused clock: see `tests/README.md`.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say which seed it was"
)]

#[path = "../simulation/client.rs"]
#[allow(dead_code, reason = "shared with the simulation of the core")]
mod model_client;
#[path = "../simulation/service.rs"]
#[allow(dead_code, clippy::needless_pass_by_value, reason = "shared with the simulation of the core")]
mod model_service;
#[path = "../support/mod.rs"]
mod support;

mod ably;
mod core;
mod fabric;
mod flow;
mod keepalive;
mod leaving;
mod ledger;
mod loss;
mod peer;
mod polite;
mod returning;
mod seeds;
mod stage;
mod storm;
mod tcp;
mod turns;
mod upload;
mod weather;
