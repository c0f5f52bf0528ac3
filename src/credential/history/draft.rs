//! A change of the history before it is made: what would be written, and what would go.
//!
//! The history stays as it is while a store writes the draft down, and readers see nothing that is not
//! durable yet. Several changes in one draft see each other.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    History, Moment, Seen, Standing, Supersession, TokenKey,
    record::{Dated, Record, State, Superseded, millis},
    standing,
};
use crate::clock::Now;

/// So many tokens may have the same successor and be in grace; the oldest of more is revoked before its time.
pub(super) const PREDECESSORS: usize = 64;

/// What is to be written: all of it, or nothing.
pub(in crate::credential) struct Changes {
    /// Each token once; `None`: to be removed.
    pub(in crate::credential) writes: Vec<(TokenKey, Option<Record>)>,
    /// How many of those removed would have been remembered longer, had there been room.
    pub(in crate::credential) evicted: usize,
}

/// The history, with changes laid over it.
pub(in crate::credential) struct Draft<'h> {
    history: &'h History,
    changed: HashMap<TokenKey, Option<Record>>,
    /// Of those changed and not removed, by when they are forgotten.
    by_forget: BTreeSet<Dated>,
    bytes: usize,
    evicted: usize,
}

impl<'h> Draft<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let (changed, by_forget) = (HashMap::new(), BTreeSet::new());
        Self { history, changed, by_forget, bytes: history.bytes, evicted: 0 }
    }

    /// `new` takes the place of `old`, and those before `old` are revoked.
    pub(in crate::credential) fn supersede(&mut self, change: &Supersession) {
        let Supersession { old, new, .. } = *change;
        if old == new {
            return;
        }
        let now = self.history.moment(change.now);
        let before = self.live(&old, now).cloned();
        if let Some(Record { state: State::Current { predecessors, .. }, .. }) = &before {
            for predecessor in predecessors.iter().filter(|key| self.leads_to(key, &old)).collect::<Vec<_>>()
            {
                self.revoke(predecessor);
            }
        }
        let record = self.superseded(change, before, now);
        self.put(old, Some(record));
        if let Some(record) = self.current(change, now) {
            self.put(new, Some(record));
        }
    }

    /// A client's own token begins; it does so once.
    pub(in crate::credential) fn seen(&mut self, seen: &Seen) {
        let now = self.history.moment(seen.now);
        if self.live(&seen.key, now).is_some() {
            return;
        }
        let lives = seen.expires_wall.saturating_sub(seen.now.wall);
        let forget = now.after(lives.saturating_add(seen.revoke_for));
        let (generation, expires_wall) = (seen.generation, Some(millis(seen.expires_wall)));
        let state = State::Current { generation, expires_wall, predecessors: Arc::default() };
        self.put(seen.key, Some(Record { forget, state }));
    }

    /// The record of the token that is superseded.
    fn superseded(&self, change: &Supersession, before: Option<Record>, now: Moment) -> Record {
        let first = |until, forget| {
            let (successor, generation) = (change.new, change.generation);
            let (expires_wall, sealed) = (change.expires_wall.map(millis), change.sealed.clone());
            let superseded = Superseded { until, successor, generation, expires_wall, sealed };
            Record { forget, state: State::Superseded(Arc::new(superseded)) }
        };
        match before {
            None | Some(Record { state: State::Current { .. }, .. }) => {
                let record = first(now.after(change.grace), now.after(change.revoke_for.max(change.grace)));
                // What took its place may be dead itself: it must not come to life when that is forgotten.
                let dead = self
                    .live(&change.new, now)
                    .is_some_and(|new| matches!(new.state, State::Superseded(_) | State::Revoked));
                if change.grace.is_zero() || dead { record.revoked() } else { record }
            }
            // Superseded before: another successor, and the same grace (less of it, where the wall clock was set
            // back: the successor's record outlives it by either clock).
            Some(record) => match &record.state {
                State::Superseded(earlier) if self.in_grace(&change.old, now) => {
                    first(earlier.until.or_sooner(now.after(change.grace)), record.forget)
                }
                State::Superseded(_) | State::Revoked | State::Current { .. } => record.revoked(),
            },
        }
    }

    /// The record of the token that takes its place; `None` where it has one that stays.
    fn current(&mut self, change: &Supersession, now: Moment) -> Option<Record> {
        let lives = match change.expires_wall {
            Some(at) => at.saturating_sub(change.now.wall).saturating_add(change.grace),
            None => change.revoke_for,
        };
        let forget = now.after(lives);
        let (mut predecessors, forget) = match self.live(&change.new, now) {
            None => (Vec::new(), forget),
            Some(Record { forget: earlier, state: State::Current { predecessors, .. } }) => {
                (predecessors.to_vec(), forget.or_later(*earlier))
            }
            // Rule 2: never current again.
            Some(Record { state: State::Superseded(_) | State::Revoked, .. }) => return None,
        };
        let (new, old) = (change.new, change.old);
        predecessors.retain(|key| *key != old && self.leads_to(key, &new) && self.in_grace(key, now));
        if self.in_grace(&old, now) {
            predecessors.push(old);
        }
        if predecessors.len() > PREDECESSORS {
            self.revoke(&predecessors.remove(0));
        }
        let (generation, expires_wall) = (change.generation, change.expires_wall.map(millis));
        let state = State::Current { generation, expires_wall, predecessors: predecessors.into() };
        Some(Record { forget, state })
    }

    /// Removes what is to be forgotten and revokes what was in grace, `at_most` of each; `true` where that was
    /// all.
    pub(in crate::credential) fn sweep(&mut self, now: Now, at_most: usize) -> bool {
        let history = self.history;
        let now = history.moment(now);
        let over = |(at, _): &&Dated| *at <= now.mono;
        let forgotten: Vec<_> = history.by_forget.iter().take_while(over).take(at_most).collect();
        let ended: Vec<_> = history.by_grace.iter().take_while(over).take(at_most).collect();
        for (_, key) in &forgotten {
            // One that was changed in this draft begins again.
            if !self.changed.contains_key(key) {
                self.put(*key, None);
            }
        }
        for (_, key) in &ended {
            if !self.changed.contains_key(key) {
                self.revoke(key);
            }
        }
        forgotten.len() < at_most && ended.len() < at_most
    }

    /// Removes what would be forgotten soonest, until the rest fits.
    pub(in crate::credential) fn trim(&mut self) {
        let mut old = self.history.by_forget.iter().copied().peekable();
        while self.bytes > self.history.limit {
            while old.next_if(|(_, key)| self.changed.contains_key(key)).is_some() {}
            let first = match (old.peek(), self.by_forget.first()) {
                (Some(old), Some(changed)) => *old.min(changed),
                (Some(only), None) | (None, Some(only)) => *only,
                (None, None) => return,
            };
            self.put(first.1, None);
            self.evicted += 1;
        }
    }

    /// All that there would be.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (&TokenKey, &Record)> {
        let unchanged = self.history.records.iter().filter(|(key, _)| !self.changed.contains_key(*key));
        unchanged.chain(self.changed.iter().filter_map(|(key, record)| Some((key, record.as_ref()?))))
    }

    /// What has come together.
    pub(in crate::credential) fn changes(self) -> Changes {
        Changes { writes: self.changed.into_iter().collect(), evicted: self.evicted }
    }

    fn find(&self, key: &TokenKey) -> Option<&Record> {
        match self.changed.get(key) {
            Some(record) => record.as_ref(),
            None => self.history.records.get(key),
        }
    }

    fn live(&self, key: &TokenKey, now: Moment) -> Option<&Record> {
        self.find(key).filter(|record| !record.forget.is_surely_over(now))
    }

    fn in_grace(&self, key: &TokenKey, now: Moment) -> bool {
        matches!(standing(|key| self.find(key), key, now), Standing::Grace { .. })
    }

    /// Is `successor` what the token was last superseded with?
    fn leads_to(&self, key: &TokenKey, successor: &TokenKey) -> bool {
        self.find(key).is_some_and(|record| match &record.state {
            State::Superseded(superseded) => superseded.successor == *successor,
            State::Current { .. } | State::Revoked => false,
        })
    }

    fn revoke(&mut self, key: &TokenKey) {
        if let Some(record @ Record { state: State::Superseded(_), .. }) = self.find(key) {
            let record = record.revoked();
            self.put(*key, Some(record));
        }
    }

    fn put(&mut self, key: TokenKey, record: Option<Record>) {
        if let Some(old) = self.find(&key) {
            let (bytes, place) = (old.bytes(), (old.forget.mono, key));
            self.bytes = self.bytes.saturating_sub(bytes);
            self.by_forget.remove(&place);
        }
        if let Some(record) = &record {
            self.bytes += record.bytes();
            self.by_forget.insert((record.forget.mono, key));
        }
        self.changed.insert(key, record);
    }
}
