//! The heart: every rule about tokens, queues, reconnects and closes, as one pure state machine.
//!
//! ```text
//!    accept ──► Opening ──ready──► Live ──new generation, or the service asks──► Exchanging
//!                 ▲                │ ▲                                            │   │
//!                 │                │ └──────────────── accepted ──────────────────┘   │
//!           lapsed, or lost        │                                                  │ rejected, or no answer
//!           within the budget      └── upstream lost, token lapsed ──► Resuming ◄─────┘
//!                                                                       │ ready: replay, flush ──► Live
//!                                                                       │ budget spent ──► Ended
//!   Live ── new generation, no exchange known ──► Swapping ── the next connection serves ──► Live
//!   Live, Swapping, Resuming, and the client went away: Parked, until it is back
//! ```
//!
//! Rules, which the simulation checks after every step:
//! 1. Messages of the client's reach the service in order and once, never before it is ready.
//! 2. What is held stays within its bound: beyond it the client is not read.
//! 3. Events of an older epoch change nothing.
//! 4. Nothing is done after `Finished`.
//! 5. One exchange at a time; a live connection is shown the newest token that is known.
//! 6. No token goes out that is known to have ended, or that was refused.
//! 7. Every state but Live has a deadline, and Live has one wherever something is due.

mod away;
mod backoff;
mod connect;
mod core;
mod ends;
mod event;
mod exchange;
mod messages;
mod queue;
mod rehearsal;
mod swap;
#[cfg(test)]
mod tests;
mod timers;

pub use self::{
    core::{Policy, Session},
    event::{Action, Cause, Demand, DialFailure, Epoch, Event, Method, Note, Phase, Shown, Trigger},
    rehearsal::Rehearsal,
};
