//! What everybody said and heard, and whether that fits together.
//!
//! A client's messages are numbered from 0; the service's are numbered on each of its connections. Rules, in both
//! directions: what arrives is what was said, in its order, each message once, and what one connection carries has
//! no gap.

use std::{collections::BTreeMap, fmt};

/// One session, as its client and its services have seen it.
#[derive(Default)]
pub struct Ledger {
    /// Messages that the client has said.
    pub said: u64,
    /// By connection, in the order in which they were made: the client's numbers that came on it.
    pub up: BTreeMap<usize, Vec<u64>>,
    /// By connection: messages that the service has said, and the numbers that the client has heard.
    pub told: BTreeMap<usize, u64>,
    pub down: BTreeMap<usize, Vec<u64>>,
    /// How often the client has heard that its state is restored.
    pub restored: u64,
    /// What was seen that is wrong by itself.
    pub faults: Vec<String>,
}

impl Ledger {
    /// Messages of the client's that no service has heard.
    pub fn missing_up(&self) -> u64 {
        self.said - self.up.values().map(|heard| heard.len() as u64).sum::<u64>()
    }

    /// Messages of the service's that the client has not heard. A connection that carried nothing either way may be
    /// one whose handshake was given up: the proxy cannot know what was said on it.
    pub fn missing_down(&self) -> u64 {
        let carried = |connection: &usize| {
            let up = self.up.get(connection).is_some_and(|up| !up.is_empty());
            up || self.down.contains_key(connection)
        };
        let told: u64 =
            self.told.iter().filter(|(connection, _)| carried(connection)).map(|(_, told)| told).sum();
        told - self.down.values().map(|heard| heard.len() as u64).sum::<u64>()
    }

    /// What is wrong with what was heard.
    pub fn wrong(&self) -> Option<String> {
        if let Some(fault) = self.faults.first() {
            return Some(fault.clone());
        }
        let up: Vec<u64> = self.up.values().flatten().copied().collect();
        if !up.is_sorted_by(|one, next| one < next) {
            return Some(format!("up, doubled or out of order: {self:?}"));
        }
        for (connection, heard) in &self.up {
            if !heard.is_sorted_by(|one, next| one + 1 == *next) {
                return Some(format!("up, a gap within connection {connection}: {self:?}"));
            }
        }
        for (connection, heard) in &self.down {
            let told = self.told.get(connection).copied().unwrap_or(0);
            if !heard.iter().copied().eq(0..heard.len() as u64) || heard.len() as u64 > told {
                return Some(format!("down, of {told} on connection {connection}: {self:?}"));
            }
        }
        None
    }
}

/// Numbers as ranges.
impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client said {}; heard on each connection:", self.said)?;
        for (connection, heard) in &self.up {
            write!(f, " {connection} ↑{}", ranges(heard))?;
        }
        for (connection, told) in &self.told {
            let heard = self.down.get(connection).map_or(&[][..], Vec::as_slice);
            write!(f, " {connection} ↓{} of {told}", ranges(heard))?;
        }
        Ok(())
    }
}

fn ranges(numbers: &[u64]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        text += &format!("{}..={} ", run[0], run[run.len() - 1]);
    }
    text
}
