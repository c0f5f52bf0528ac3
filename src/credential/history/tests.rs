//! The history in made-up time: one test for each rule that has a number in it.

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn key(number: u64) -> TokenKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    TokenKey(bytes)
}

/// A history with hands that move its clocks.
struct Rig {
    history: History,
    now: Now,
    grace: Duration,
    revoke_for: Duration,
}

impl Rig {
    fn new() -> Self {
        Self::bounded(usize::MAX)
    }

    fn bounded(limit: usize) -> Self {
        let now = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
        Self { history: History::new(limit, now), now, grace: 5 * MINUTE, revoke_for: 2 * HOUR }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall += time;
    }

    fn change(&self, old: u64, new: u64, lives: Option<Duration>) -> Supersession {
        Supersession {
            old: key(old),
            new: key(new),
            sealed: format!("sealed {new}").into_bytes().into(),
            generation: Generation(new),
            expires_wall: lives.map(|lives| self.now.wall + lives),
            grace: self.grace,
            revoke_for: self.revoke_for,
            now: self.now,
        }
    }

    /// As a store does it: one change, a little sweeping, and no more than fits.
    fn supersede(&mut self, old: u64, new: u64) -> usize {
        let change = self.change(old, new, None);
        self.make(&[change])
    }

    fn make(&mut self, batch: &[Supersession]) -> usize {
        let mut draft = self.history.draft();
        batch.iter().for_each(|change| draft.supersede(change));
        draft.sweep(self.now, 8);
        draft.trim();
        let changes = draft.changes();
        let evicted = changes.evicted;
        self.history.apply(changes);
        evicted
    }

    fn sweep(&mut self) {
        let mut draft = self.history.draft();
        assert!(draft.sweep(self.now, 1000));
        let changes = draft.changes();
        self.history.apply(changes);
    }

    /// In one word, with the generation of what it is served with.
    fn standing(&self, token: u64) -> String {
        match self.history.standing(&key(token), self.now) {
            Standing::Unknown => "unknown".into(),
            Standing::Current { generation, .. } => format!("current {generation}"),
            Standing::Grace { text, successor, generation, .. } => {
                assert_eq!(&*text, format!("sealed {generation}").as_bytes());
                assert_eq!(successor, key(generation.0));
                format!("grace {generation}")
            }
            Standing::Revoked => "revoked".into(),
        }
    }

    fn standings(&self, tokens: std::ops::RangeInclusive<u64>) -> String {
        tokens.map(|token| self.standing(token)).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn a_superseded_token_is_served_within_grace_and_refused_after_it() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    assert_eq!(rig.standings(9..=11), "unknown, grace 11, current 11");
    rig.pass(rig.grace - Duration::from_millis(1));
    assert_eq!(rig.standing(10), "grace 11");
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.standing(10), "revoked");
}

#[test]
fn one_superseded_twice_is_refused_at_once() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.pass(SECOND);
    rig.supersede(11, 12);
    assert_eq!(rig.standings(10..=12), "revoked, grace 12, current 12");
    rig.supersede(12, 13);
    assert_eq!(rig.standings(10..=13), "revoked, revoked, grace 13, current 13");
}

#[test]
fn grace_counts_from_the_first_supersession_alone() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.pass(4 * MINUTE);
    rig.supersede(10, 12);
    assert_eq!(rig.standing(10), "grace 12", "the newer successor is served");
    rig.pass(MINUTE);
    assert_eq!(rig.standing(10), "revoked");
    rig.supersede(10, 13);
    assert_eq!(rig.standings(10..=13), "revoked, current 11, current 12, current 13");
    rig.pass(rig.revoke_for - 5 * MINUTE);
    assert_eq!(rig.standing(10), "unknown", "and so does the time it is remembered");
}

#[test]
fn the_same_change_again_changes_nothing() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.pass(MINUTE);
    rig.supersede(10, 11);
    assert_eq!((rig.standings(10..=11), rig.history.len()), ("grace 11, current 11".into(), 2));
    rig.supersede(11, 11);
    assert_eq!(rig.standing(11), "current 11");
    rig.pass(4 * MINUTE);
    assert_eq!(rig.standing(10), "revoked");
}

#[test]
fn what_was_superseded_is_never_current_again() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.supersede(11, 10);
    assert_eq!(rig.standings(10..=11), "revoked, revoked");
}

#[test]
fn what_is_superseded_by_a_dead_token_does_not_come_to_life_when_that_is_forgotten() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.pass(rig.revoke_for - MINUTE);
    let newest = rig.change(11, 10, None);
    rig.make(&[newest]);
    assert_eq!(rig.standings(10..=11), "revoked, revoked");
    rig.pass(2 * MINUTE);
    rig.sweep();
    assert_eq!(rig.standings(10..=11), "unknown, revoked", "within its own grace still");
}

#[test]
fn all_that_have_the_same_successor_are_revoked_with_its_supersession() {
    let mut rig = Rig::new();
    for old in 10..14 {
        rig.supersede(old, 20);
    }
    assert_eq!(rig.standings(10..=13), "grace 20, grace 20, grace 20, grace 20");
    rig.supersede(20, 21);
    assert_eq!(rig.standings(10..=13), "revoked, revoked, revoked, revoked");
    assert_eq!(rig.history.by_grace.len(), 1, "and what was sealed for them is gone");
}

#[test]
fn a_successor_names_so_many_predecessors_and_no_more() {
    let mut rig = Rig::new();
    let many = draft::PREDECESSORS as u64;
    for old in 1000..=1000 + many {
        rig.supersede(old, 20);
    }
    assert_eq!(rig.standings(1000..=1001), "revoked, grace 20");
    rig.supersede(20, 21);
    assert_eq!(rig.history.by_grace.len(), 1);
}

#[test]
fn grace_may_be_nothing() {
    let mut rig = Rig::new();
    rig.grace = Duration::ZERO;
    rig.supersede(10, 11);
    assert_eq!(rig.standings(10..=11), "revoked, current 11");
    assert!(rig.history.by_grace.is_empty(), "nothing is sealed that nobody may ask for");
}

#[test]
fn neither_clock_lengthens_grace() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.supersede(20, 21);
    let then = rig.now;
    rig.now = Now { mono: then.mono + 5 * MINUTE, wall: then.wall - HOUR };
    assert_eq!(rig.standing(10), "revoked", "the wall clock was set back");
    rig.now = Now { mono: then.mono + SECOND, wall: then.wall + 5 * MINUTE };
    assert_eq!(rig.standing(20), "revoked", "the host slept");
}

#[test]
fn a_wall_clock_set_forward_forgets_nothing() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.supersede(11, 12);
    rig.now.wall += 100 * HOUR;
    rig.sweep();
    assert_eq!(rig.standing(10), "revoked");
}

#[test]
fn what_is_revoked_is_remembered_for_revoke_for_and_no_longer() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    rig.pass(SECOND);
    rig.supersede(11, 12);
    rig.pass(rig.revoke_for - 2 * SECOND);
    rig.sweep();
    assert_eq!(rig.standings(10..=11), "revoked, revoked");
    rig.pass(SECOND);
    assert_eq!(rig.standings(10..=11), "unknown, revoked", "before it is swept as well");
    rig.pass(SECOND);
    rig.sweep();
    assert_eq!((rig.history.len(), rig.history.bytes()), (0, 0));
}

#[test]
fn a_current_token_is_forgotten_with_its_expiry_and_the_grace_after_it() {
    let mut rig = Rig::new();
    let change = rig.change(10, 11, Some(MINUTE));
    rig.make(&[change]);
    rig.pass(6 * MINUTE - SECOND);
    assert_eq!(rig.standing(11), "current 11");
    rig.pass(SECOND);
    assert_eq!(rig.standing(11), "unknown");
    rig.supersede(20, 21);
    rig.pass(rig.revoke_for - SECOND);
    assert_eq!(rig.standing(21), "current 21");
    rig.pass(SECOND);
    assert_eq!(rig.standing(21), "unknown");
}

#[test]
fn what_was_sealed_goes_with_the_grace() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    let with = rig.history.bytes();
    rig.pass(rig.grace);
    rig.supersede(90, 91);
    let Some(record) = rig.history.record(&key(10)) else { panic!("forgotten") };
    assert!(matches!(record.state, State::Revoked), "the next change drops it");
    rig.supersede(91, 92);
    assert!(rig.history.bytes() < 3 * with);
}

#[test]
fn what_is_sealed_counts_in_full() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    let small = rig.history.bytes();
    let change = Supersession { sealed: vec![0; 10_000].into(), ..rig.change(20, 21, None) };
    rig.make(&[change]);
    assert!(rig.history.bytes() > small + 10_000);
}

#[test]
fn a_lost_record_of_the_successor_revives_nobody() {
    let mut rig = Rig::new();
    let change = rig.change(10, 11, Some(MINUTE));
    rig.make(&[change]);
    rig.history.put(key(11), None);
    assert_eq!(rig.standing(10), "grace 11");
    rig.supersede(11, 12);
    assert_eq!(rig.standing(10), "revoked", "although nothing named it as a predecessor");
}

#[test]
fn changes_of_one_draft_see_each_other() {
    let mut rig = Rig::new();
    let batch = [rig.change(10, 11, None), rig.change(11, 12, None), rig.change(12, 13, None)];
    rig.make(&batch);
    assert_eq!(rig.standings(10..=13), "revoked, revoked, grace 13, current 13");
    assert_eq!(rig.history.by_grace.len(), 1);
}

#[test]
fn a_draft_that_is_not_applied_changed_nothing() {
    let mut rig = Rig::new();
    rig.supersede(10, 11);
    let bytes = rig.history.bytes();
    let mut draft = rig.history.draft();
    draft.supersede(&rig.change(11, 12, None));
    drop(draft.changes());
    assert_eq!(rig.standings(10..=12), "grace 11, current 11, unknown");
    assert_eq!(rig.history.bytes(), bytes);
}

#[test]
fn a_flood_of_made_up_tokens_evicts_nothing() {
    let mut rig = Rig::bounded(64 << 10);
    rig.supersede(10, 11);
    rig.supersede(11, 12);
    let before = (rig.history.len(), rig.history.bytes());
    for made_up in 1_000..1_001_000 {
        let standing = rig.history.standing(&key(made_up), rig.now);
        assert_eq!(standing, Standing::Unknown);
    }
    assert_eq!((rig.history.len(), rig.history.bytes()), before);
    assert_eq!(rig.standings(10..=12), "revoked, grace 12, current 12");
}

#[test]
fn beyond_the_bound_what_is_forgotten_soonest_goes() {
    const LIMIT: usize = 1 << 20;
    let mut rig = Rig::bounded(LIMIT);
    let mut evicted = 0;
    for token in 0..200_000 {
        rig.now.mono += Duration::from_millis(1);
        rig.now.wall += Duration::from_millis(1);
        evicted += rig.supersede(token, token + 1);
        assert!(rig.history.bytes() <= LIMIT);
    }
    assert_eq!(rig.history.len() + evicted, 200_001, "each that went was counted");
    assert!(rig.history.bytes() > LIMIT - 1024, "and no more went than had to");
    let oldest = 200_001 - rig.history.len() as u64;
    assert_eq!(rig.standings(oldest - 1..=oldest), "unknown, revoked", "the oldest, without a gap");
    assert_eq!(rig.standings(199_999..=200_000), "grace 200000, current 200000");
}

#[test]
fn a_batch_that_does_not_fit_leaves_what_does() {
    let mut rig = Rig::bounded(4 << 10);
    let batch: Vec<_> = (0..200).map(|token| rig.change(token, token + 1, None)).collect();
    let evicted = rig.make(&batch);
    assert!(rig.history.bytes() <= 4 << 10);
    assert_eq!(rig.history.len() + evicted, 201);
}

#[test]
fn loading_keeps_to_the_bound_and_to_what_is_to_be_remembered() {
    let mut rig = Rig::bounded(usize::MAX);
    for token in 0..1000 {
        rig.supersede(token, token + 1);
        rig.pass(SECOND);
    }
    rig.pass(rig.revoke_for - 900 * SECOND);
    let mut loaded = History::new(16 << 10, rig.now);
    for (key, record) in &rig.history.records {
        let forget = loaded.told(record.forget.wall, rig.now);
        loaded.load(*key, Record { forget, state: record.state.clone() }, rig.now);
        assert!(loaded.bytes() <= 16 << 10);
    }
    assert!(loaded.len() > 10);
    let oldest = loaded.by_forget.first().unwrap().1;
    assert_eq!(oldest, key(1001 - loaded.len() as u64), "the youngest stayed, without a gap");
}

#[test]
fn what_another_wrote_down_takes_nothing_back_and_lengthens_no_grace() {
    let taken = |history: &History, token: u64, now| {
        let Record { forget, state } = history.record(&key(token)).unwrap().clone();
        (key(token), Record { forget: history.told(forget.wall, now), state })
    };
    let mut ours = Rig::new();
    let mut theirs = Rig { history: History::new(usize::MAX, ours.now), now: ours.now, ..Rig::new() };
    theirs.supersede(10, 11);
    for token in 10..=11 {
        let (key, record) = taken(&theirs.history, token, ours.now);
        ours.history.learn(key, record, ours.now);
    }
    assert_eq!(ours.standings(10..=11), "grace 11, current 11");
    let stale = [taken(&theirs.history, 10, ours.now), taken(&theirs.history, 11, ours.now)];
    ours.supersede(11, 12);
    for (key, record) in stale {
        ours.history.learn(key, record, ours.now);
    }
    assert_eq!(ours.standings(10..=12), "revoked, grace 12, current 12", "what is known is further on");
    theirs.supersede(11, 13);
    let later = Moment { mono: u64::MAX, wall: u64::MAX };
    let (key, Record { state, forget }) = taken(&theirs.history, 11, ours.now);
    let State::Superseded(superseded) = state else { panic!("{state:?}") };
    let state = State::Superseded(Arc::new(Superseded { until: later, ..superseded.as_ref().clone() }));
    ours.history.learn(key, Record { forget, state }, ours.now);
    assert_eq!(ours.standing(11), "grace 13", "theirs is served");
    ours.pass(ours.grace);
    assert_eq!(ours.standing(11), "revoked", "and for no longer");
}
