//! The recipe of the man in the middle, row by row: what a client of Ably's must never notice.
//!
//! Real sockets, a strict service, and a client that fails on whatever it did not ask for. Each of these
//! was broken once, on purpose, and was seen to fail the test beside it:
//!
//! BREAKS

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../ably_client/mod.rs"]
mod ably_client;

mod auth;
mod channels;
mod clients_auth;
mod first;
mod goodbye;
mod loss;
mod outage;
mod presence;
mod returning;
mod serials;
