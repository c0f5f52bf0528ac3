//! A plain route (`dialect = "none"`) over real sockets: what the one side says, the other hears.

mod careless;
mod closes;
mod compressed;
mod doors;
mod front;
mod handshake;
mod limits;
mod messages;
mod sockets;
mod stopping;
mod tls;
mod who;
