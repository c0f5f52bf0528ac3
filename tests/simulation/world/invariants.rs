//! What holds after every step, and at the end.

use super::*;

impl World {
    pub(super) fn check(&self) {
        let seed = self.plan.seed;
        assert!(self.service.violations.is_empty(), "seed {seed}: {:?}", self.service.violations);
        assert!(self.keeper.deadline().is_some(), "seed {seed}: the keeper waits for nothing");
        for side in &self.sides {
            let session = &side.session;
            assert_eq!(
                side.finished, None,
                "seed {seed}: {session:?} ended, the client saw {:?}",
                side.client.closed
            );
            let waits = session.deadline().is_some() || session.phase() == Phase::Live;
            assert!(waits, "seed {seed}: {session:?} has no deadline");
            assert!(session.held_bytes() <= side.bound + 4096, "seed {seed}: too much is held");
            let late = session.deadline().is_some_and(|at| at + alarm::SLACK < self.instant());
            assert!(!late, "seed {seed}: nothing wakes the core: {session:?}");
        }
    }

    pub(super) fn finish(&mut self) {
        let seed = self.plan.seed;
        for (index, side) in self.sides.iter().enumerate() {
            let client = &side.client;
            let owed = client.waits_for();
            assert!(
                owed.is_empty(),
                "seed {seed}: client {index} still waits for {owed:?} {:?}",
                side.session
            );
            assert_eq!(side.session.held_messages(), 0, "seed {seed}");
            let accepted = &self.service.connections[&client.connection_id].accepted;
            assert_eq!(*accepted, client.sent, "seed {seed}: up, client {index}");
            let from = client.received.first().copied().unwrap_or(self.service.published_numbers + 1);
            let expected: Vec<u64> = (from..=self.service.published_numbers).collect();
            assert_eq!(client.received, expected, "seed {seed}: down, client {index}");
            self.tally.up += accepted.len() as u64;
            self.tally.down += client.received.len() as u64;
        }
        self.tally.resumes = self.service.resumes;
    }
}
