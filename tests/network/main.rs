//! The real proxy over a network in memory, with a paused clock: see `tests/README.md`.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod fabric;
mod keepalive;
mod loss;
mod peer;
mod stage;
mod tcp;
mod upload;
