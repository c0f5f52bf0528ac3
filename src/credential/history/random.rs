//! Random histories, against a model so naive that it can only be right: a list that is read from end to end.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught, here or in `tests`:
//! predecessors are not revoked · the successor's own supersession is not looked at · a second supersession begins
//! grace again · or the time it is remembered · grace goes by one clock alone, either · forgetting goes by the wall
//! clock · a superseded token becomes current again · nothing of grace zero is revoked · a current token's expiry is
//! ignored · or the grace after it · what is to be forgotten is not swept · nor what was in grace · what is forgotten
//! latest goes first · nothing goes · nothing of the same draft goes · predecessors are not bounded · a removed record
//! stays in an index · what is sealed is not counted · a token is remembered for its grace only · changes of one
//! draft do not see each other · loading ignores the bound · a predecessor with another successor is revoked · a token
//! supersedes itself.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{record::millis, tests::key, *};
use crate::clock;

const TOKENS: u64 = 7;
const GRACE: u64 = 20_000;
const REVOKE_FOR: u64 = 60_000;

/// What happens next. Times are in milliseconds.
#[derive(Debug, Clone)]
enum Step {
    /// Several changes at once: who, by whom, and how long the new one lives.
    Supersede(Vec<(u64, u64, Option<u64>)>),
    Pass(u64),
    /// The wall clock alone: the host slept, or somebody set it.
    Wall(i64),
    Sweep,
    /// The process ends, and another one reads what was written down.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let life = proptest::option::of(0..60_000_u64);
    prop_oneof![
        6 => proptest::collection::vec((0..TOKENS, 0..TOKENS, life), 1..4).prop_map(Step::Supersede),
        6 => (0..25_000_u64).prop_map(Step::Pass),
        1 => (-50_000..50_000_i64).prop_map(Step::Wall),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// A token as the model has it.
#[derive(Debug, Clone)]
struct Known {
    /// (monotonic, wall).
    forget: (u64, u64),
    generation: u64,
    superseded: Option<By>,
    revoked: bool,
}

#[derive(Debug, Clone)]
struct By {
    successor: u64,
    generation: u64,
    expires: Option<u64>,
    until: (u64, u64),
}

#[derive(Default)]
struct Model {
    mono: u64,
    wall: u64,
    known: HashMap<u64, Known>,
}

impl Model {
    fn supersede(&mut self, old: u64, new: u64, generation: u64, life: Option<u64>) {
        if old == new {
            return;
        }
        self.forget();
        let after = |by: u64| (self.mono + by, self.wall + by);
        // Superseded before: a step of the chain only where it was current until now.
        let first = self.known.get(&old).is_none_or(|known| known.superseded.is_none() && !known.revoked);
        if first {
            for known in self.known.values_mut() {
                known.revoked |= known.superseded.as_ref().is_some_and(|by| by.successor == old);
            }
        }
        let dead = self.known.get(&new).is_some_and(|new| new.superseded.is_some() || new.revoked);
        let expires = life.map(|life| self.wall + life);
        let by = By { successor: new, generation, expires, until: after(GRACE) };
        if first {
            let known =
                Known { forget: after(REVOKE_FOR), generation: 0, superseded: Some(by), revoked: dead };
            self.known.insert(old, known);
        } else if self.standing(old).starts_with("grace") {
            let known = self.known.get_mut(&old).unwrap();
            let until = known.superseded.as_ref().unwrap().until;
            let until = (until.0.min(by.until.0), until.1.min(by.until.1));
            known.superseded = Some(By { until, ..by });
        } else {
            self.known.get_mut(&old).unwrap().revoked = true;
        }
        let forget = life.map_or(REVOKE_FOR, |life| life + GRACE);
        let forget = (self.mono + forget, self.wall + forget);
        let current = Known { forget, generation, superseded: None, revoked: false };
        let new = self.known.entry(new).or_insert_with(|| current.clone());
        if new.superseded.is_none() && !new.revoked {
            new.generation = generation;
            new.forget = (new.forget.0.max(forget.0), new.forget.1.max(forget.1));
        }
    }

    fn forget(&mut self) {
        self.known.retain(|_, known| known.forget.0 > self.mono);
    }

    fn standing(&self, token: u64) -> String {
        let live = |token| self.known.get(&token).filter(|known: &&Known| known.forget.0 > self.mono);
        let Some(known) = live(token) else { return "unknown".into() };
        let Some(by) = &known.superseded else {
            return if known.revoked { "revoked".into() } else { format!("current {}", known.generation) };
        };
        let over = by.until.0 <= self.mono || by.until.1 <= self.wall;
        let twice = live(by.successor).is_some_and(|next| next.superseded.is_some() || next.revoked);
        if known.revoked || over || twice {
            return "revoked".into();
        }
        format!("grace {} {} {:?}", by.successor, by.generation, by.expires)
    }

    /// After a restart the wall clock alone tells how much is left.
    fn restart(&mut self) {
        self.forget();
        let (mono, wall) = (self.mono, self.wall);
        for known in self.known.values_mut() {
            known.revoked |= known.superseded.as_ref().is_some_and(|by| by.until.0 <= mono);
        }
        let left = |at: &mut (u64, u64)| at.0 = mono + at.1.saturating_sub(wall);
        for known in self.known.values_mut() {
            left(&mut known.forget);
            if let Some(by) = &mut known.superseded {
                left(&mut by.until);
            }
        }
        self.forget();
    }
}

struct Pair {
    history: History,
    model: Model,
    now: Now,
    generation: u64,
}

impl Pair {
    fn new() -> Self {
        let now = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
        let model = Model { wall: millis(now.wall), ..Model::default() };
        Self { history: History::new(usize::MAX, now), model, now, generation: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Supersede(batch) => self.supersede(&batch),
            Step::Pass(ms) => {
                self.now.mono += Duration::from_millis(ms);
                self.now.wall += Duration::from_millis(ms);
                self.model.mono += ms;
                self.model.wall += ms;
            }
            Step::Wall(ms) => {
                self.model.wall = self.model.wall.saturating_add_signed(ms);
                self.now.wall = Duration::from_millis(self.model.wall);
            }
            Step::Sweep => {
                let mut draft = self.history.draft();
                draft.sweep(self.now, 3);
                let changes = draft.changes();
                self.history.apply(changes);
            }
            Step::Restart => {
                // What is over by now stays over, wherever the wall clock was set.
                let mut draft = self.history.draft();
                draft.sweep(self.now, usize::MAX);
                let changes = draft.changes();
                self.history.apply(changes);
                let mut loaded = History::new(usize::MAX, self.now);
                for (key, record) in &self.history.records {
                    loaded.load(*key, written_down(&loaded, record, self.now), self.now);
                }
                // The new history counts its milliseconds from now, and the model from its own beginning.
                self.history = loaded;
                self.model.restart();
            }
        }
    }

    fn supersede(&mut self, batch: &[(u64, u64, Option<u64>)]) {
        let mut draft = self.history.draft();
        for (old, new, life) in batch {
            self.generation += 1;
            draft.supersede(&Supersession {
                old: key(*old),
                new: key(*new),
                sealed: self.generation.to_be_bytes().into(),
                generation: Generation(self.generation),
                expires_wall: life.map(|ms| self.now.wall + Duration::from_millis(ms)),
                grace: Duration::from_millis(GRACE),
                revoke_for: Duration::from_millis(REVOKE_FOR),
                now: self.now,
            });
            self.model.supersede(*old, *new, self.generation, *life);
        }
        draft.sweep(self.now, 2);
        draft.trim();
        let changes = draft.changes();
        self.history.apply(changes);
    }

    fn standing(&self, token: u64) -> String {
        match self.history.standing(&key(token), self.now) {
            Standing::Unknown => "unknown".into(),
            Standing::Current { generation, .. } => format!("current {generation}"),
            Standing::Revoked => "revoked".into(),
            Standing::Grace { text, successor, generation, expires_wall } => {
                assert_eq!(*text, generation.0.to_be_bytes(), "sealed with another one");
                let successor = (0..TOKENS).find(|token| key(*token) == successor).unwrap();
                format!("grace {successor} {generation} {:?}", expires_wall.map(millis))
            }
        }
    }

    /// What the history counts is what it has.
    fn adds_up(&self) {
        let records = &self.history.records;
        assert_eq!(self.history.bytes, records.values().map(Record::bytes).sum::<usize>());
        assert_eq!(self.history.by_forget.len(), records.len());
        for (at, key) in &self.history.by_forget {
            assert_eq!(records[key].forget.mono, *at);
        }
        let graced = records.iter().filter_map(|(key, record)| Some((record.grace_ends()?, *key)));
        assert_eq!(self.history.by_grace, graced.collect());
    }
}

/// A record as the disk has it: the wall clock alone.
fn written_down(history: &History, record: &Record, now: Now) -> Record {
    let state = match &record.state {
        State::Superseded(superseded) => State::Superseded(Arc::new(Superseded {
            until: history.told(superseded.until.wall, now),
            successor: superseded.successor,
            generation: superseded.generation,
            expires_wall: superseded.expires_wall,
            sealed: superseded.sealed.clone(),
        })),
        State::Current { .. } | State::Revoked => record.state.clone(),
    };
    Record { forget: history.told(record.forget.wall, now), state }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_the_naive_one(steps in proptest::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for (nth, step) in steps.into_iter().enumerate() {
            pair.take(step.clone());
            pair.adds_up();
            for token in 0..TOKENS {
                prop_assert_eq!(
                    pair.standing(token), pair.model.standing(token), "token {} after step {}, {:?}", token, nth, step
                );
            }
        }
    }

    /// Whatever goes for want of room would have been forgotten before all that stays.
    #[test]
    fn what_is_forgotten_soonest_goes_first(
        lives in proptest::collection::vec(1..1_000_u64, 1..60), limit in 0..20_000_usize
    ) {
        let now = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
        let mut history = History::new(limit, now);
        for (nth, life) in (0_u64..).zip(lives) {
            let mut draft = history.draft();
            draft.supersede(&Supersession {
                old: key(2 * nth),
                new: key(2 * nth + 1),
                sealed: vec![0; 100].into(),
                generation: Generation(1),
                expires_wall: None,
                grace: Duration::from_millis(1),
                revoke_for: Duration::from_secs(life),
                now,
            });
            let wanted: BTreeSet<Dated> = draft_order(&draft);
            draft.trim();
            let changes = draft.changes();
            let evicted = changes.evicted;
            history.apply(changes);
            prop_assert!(history.bytes() <= limit);
            prop_assert_eq!(&history.by_forget, &wanted.into_iter().skip(evicted).collect());
        }
    }
}

/// All that there would be, were there room for it, by when it is forgotten.
fn draft_order(draft: &Draft<'_>) -> BTreeSet<Dated> {
    draft.all().map(|(key, record)| (record.forget.mono, *key)).collect()
}
