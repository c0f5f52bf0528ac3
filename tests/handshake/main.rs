//! A service that is told of tokens at its handshake only: each rule of the swap, of clients' own tokens and
//! of parking, with the service, the token endpoint and the client played by the test, byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod clients;
mod flood;
mod oauth2;
mod parking;
mod quiet;
mod readme;
mod refusals;
#[path = "../sidecar/mod.rs"]
mod sidecar;
mod sources;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod swap;
