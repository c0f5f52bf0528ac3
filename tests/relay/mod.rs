//! A plain route (`dialect = "none"`) over real sockets: what the one side says, the other hears.

mod closes;
mod doors;
mod handshake;
mod limits;
mod messages;
mod stopping;
mod tls;
