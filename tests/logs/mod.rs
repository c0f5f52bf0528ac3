//! The log of a running sidecar: it stops nobody, and its fields can be read by a machine.
//!
//! Broken on purpose, and caught: lines are written by the thread that relays · the queue blocks if it is full · what
//! cannot be written is not counted · the end waits for the queue without a limit · a line of a session without its
//! name · a number as a string · one message with two sets of fields.

mod fields;
mod unread;
