//! The core: every rule about tokens, queues, reconnects and closes, as one pure state machine.
//!
//! ```text
//!   accept ─► Connecting ──ready──► Live ──new token, or the service asks──► Exchanging
//!                 ▲                │ ▲                                        │  │
//!                 │                │ └────────────── accepted ────────────────┘  │ rejected, no answer
//!                 │                ├── lost, or token ended ──► Connecting ◄─────┘
//!                 │                └── new token, no exchange in the dialect ──► Swapping ──► Live
//!                 └ failed, within the budget: again          any state ──► Closing ─► Ended
//!   any state but the first Connecting, and the client went away: parked, beside what goes on
//! ```
//!
//! The driver tells what happens ([`Event`]) and does what is wanted ([`Action`]). The core has no socket, clock,
//! task or randomness of its own, and keeps nothing pending between two events. A session is a value: it can be
//! copied and compared.
//!
//! Rules, which the simulation checks after every step:
//! 1. Messages of the client's reach the service in order and once, never before it is ready.
//! 2. What is held stays within its bound: beyond it the client is not read.
//! 3. Events of an older epoch change nothing.
//! 4. Nothing is done after `Finished`.
//! 5. One exchange at a time; a live connection is shown the newest token that is known.
//! 6. No token goes out that is known to have ended, or that was refused.
//! 7. Every state but Live has a deadline, and Live has one if something is due. The driver compares deadlines; no
//!    action has to say that one has changed.
//!
//! Where a rule lives:
//!
//! | question | place |
//! |---|---|
//! | Which timers run in a state, and what is given back when it ends? | `state`: the table, and `enter`, which alone assigns the state |
//! | When does a new connection serve? When is an outage over? | `attempt`: `opened`, `ready`, `serve`, `outage_is_over` |
//! | Is a token refused? | `exchange`: `refuse`, called by `rejected` (an exchange), `lapsed` (a connection) and `attempt`'s `dial_failed` |
//! | Is a frame held? | the dialect, told by `messages`: `moment_up` what the message meets |
//! | Is a loss counted? | `delivery` knows what was read; `attempt`: `count_doubt`; `away`: `park`; `ends`: `count_lost` |
//! | Has a swap failed? | `swap`: `swap_failed`, and `fails_trial` once it serves |
//! | What does a Close mean? | `ends`: `judge`, which asks `Dialect::ending` |
//! | How fast does what was held go on? | `pace`, and `messages`: `flush` |

mod attempt;
mod away;
mod backoff;
mod core;
mod delivery;
mod ends;
mod event;
mod exchange;
mod messages;
mod pace;
mod queue;
mod rehearsal;
mod state;
mod swap;
#[cfg(test)]
mod tests;
mod timers;
mod twins;

pub use self::{
    core::{Needs, Policy, Session},
    event::{Action, Cause, Demand, DialFailure, Epoch, Event, Method, Note, Phase, Shown, Trigger},
    rehearsal::Rehearsal,
};
