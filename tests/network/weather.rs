//! What a seed makes of the network, the services and the clients.

use std::time::Duration;

use crate::{fabric::Answer, tcp::Terms};

/// A way between two hosts: from a local one to a radio link at the end of a field. Its buffers hold what it takes
/// a second to carry at the most: deeper ones are a matter of their own (`upload`).
pub fn terms(random: &mut fastrand::Rng) -> Terms {
    let latency = [0, 0, 500, 5_000, 50_000, 250_000, 1_000_000][random.usize(..7)];
    let rate = [1_200, 10_000, 100_000, 1_000_000, 1 << 30, 1 << 30][random.usize(..6)];
    let [send, receive] = [(); 2].map(|()| (1024 << random.u32(..9)).min(rate as usize / 2));
    // A window is no narrower than the slowest that the rates above allow.
    let receive = receive.max((2 * latency * 5_000 / 1_000_000) as usize);
    Terms { latency: Duration::from_micros(latency), rate, send, receive }
}

/// How a service behaves on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It reads, answers, and talks.
    Fair,
    /// It reads so many bytes a second.
    Slow(u64),
    /// It says one message and ends the connection.
    Greets,
    /// It answers the handshake and nothing else.
    Silent,
    /// It answers no Ping.
    Mute,
}

impl Habit {
    /// In a storm one connection in four is not fair.
    pub fn of(random: &mut fastrand::Rng, storm: bool) -> Self {
        match random.u8(..24) {
            0 if storm => Self::Greets,
            1 if storm => Self::Silent,
            2 if storm => Self::Mute,
            3..6 => Self::Slow(random.u64(2_000..200_000)),
            _ => Self::Fair,
        }
    }
}

/// What becomes of a dial.
pub fn answer(random: &mut fastrand::Rng, storm: bool, terms: Terms) -> Answer {
    match random.u8(..10) {
        0 if storm => Answer::Refused,
        1 if storm => Answer::Silence,
        _ => Answer::Connect(terms),
    }
}
