//! What goes wrong, and when: chosen by direction, kind and count.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Direction, Kind};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In order, towards both peers, as from a load balancer that is shut down.
    Fin,
    /// With a reset towards both peers.
    Reset,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing more is read in this direction, as from a process that hangs. A connection: none is made.
    Stall,
    /// It does not arrive, and both peers see the end. A connection is refused: accepted and ended.
    Cut(Cut),
    /// It arrives so much later, and what follows does not pass it.
    Delay(Duration),
    /// It does not arrive; what follows does.
    Drop,
}

/// An action and what it waits for.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    direction: Direction,
    kind: Kind,
    skip: usize,
    times: usize,
    action: Action,
}

impl Fault {
    /// Happens to everything of this kind.
    pub fn each(direction: Direction, kind: Kind, action: Action) -> Self {
        Self { direction, kind, skip: 0, times: usize::MAX, action }
    }

    /// Happens once, to the next one of this kind.
    pub fn next(direction: Direction, kind: Kind, action: Action) -> Self {
        Self { times: 1, ..Self::each(direction, kind, action) }
    }

    /// Lets so many pass first.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What happens to this one; it counts for the first fault that fits.
    pub fn meet(&self, direction: Direction, kind: Kind) -> Option<Action> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.iter_mut().find(|f| (f.direction, f.kind) == (direction, kind) && f.times > 0)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(usize::from(fault.times != usize::MAX));
        Some(fault.action)
    }
}
