//! The recipe of the man in the middle, row by row: what a client of Ably's must never notice.
//!
//! Real sockets, a strict service, and a client that fails on whatever it did not ask for. Each of these
//! was broken once, on purpose, and was seen to fail the module beside it:
//!
//! - auth: the hint is shown, or nobody is asked for a token · the CONNECTED of an exchange is shown · its
//!   ERROR is · a lapse is · a refused token is used again · a dead one is dialled with · what the client
//!   says in an exchange does not wait
//! - channels: nothing is attached again · or with an old serial, or without params and flags · its ATTACHED
//!   is shown · a gap is not · a channel that is gone is kept
//! - `clients_auth`: its answer is swallowed · a turn without a token is kept for ever
//! - farewell: an end without a message · the code of the cause as a Close · an ERROR for what the client did not do
//! - first: another credential is left beside the token · a foreign clientId costs a token · a 401 is final
//! - goodbye: CLOSE waits for the exchange · nobody says CLOSED
//! - loss: resumed with the first key · silence is trusted
//! - outage: a ping is held · no heartbeats · a DETACH is not repeated · a held message is dropped
//! - presence: nobody is entered again · or under a new id · ACKs pass as they are · results slip by one
//! - returning: the offset is forgotten · or the next serial · an unknown key is passed on · a line that is
//!   over is continued · a session that was superseded fights for the connection
//! - serials: nothing is sent again · or under new serials

mod auth;
mod channels;
mod clients_auth;
mod farewell;
mod first;
mod goodbye;
mod loss;
mod outage;
mod presence;
mod returning;
mod serials;
