//! The keeper in made-up time: one test for each rule that has a number in it.

use super::*;
use crate::clock;

mod clients;
mod herd;
mod shared;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A keeper with hands that move its clocks.
struct Rig {
    keeper: Keeper,
    now: Now,
    ticket: u64,
    last: Vec<Action>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut RefreshPolicy)) -> Self {
        let mut rig = Self::unstarted(change);
        rig.on(Event::Started);
        assert_eq!(rig.fetches(), [Trigger::Start]);
        rig
    }

    fn unstarted(change: impl FnOnce(&mut RefreshPolicy)) -> Self {
        let mut policy = RefreshPolicy {
            refresh_before: None,
            check_every: Duration::from_secs(900),
            lifetime: None,
            once: false,
            timeout: Duration::from_secs(10),
        };
        change(&mut policy);
        let now = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
        Self { keeper: Keeper::new(policy, 7), now, ticket: 0, last: Vec::new() }
    }

    fn on(&mut self, event: Event) {
        self.last.clear();
        self.keeper.on_event(event, self.now, &mut self.last);
        for action in &self.last {
            if let Action::Fetch { ticket, .. } = action {
                self.ticket = *ticket;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall += time;
    }

    /// Lets time pass to the deadline; how much it was.
    fn until_deadline(&mut self) -> Duration {
        let at = self.keeper.deadline().expect("a deadline");
        let time = at.saturating_duration_since(self.now.mono);
        self.pass(time);
        self.on(Event::Timer);
        time
    }

    fn give(&mut self, text: &str, life: Life) {
        self.give_of(text, life, Provenance::default());
    }

    fn give_of(&mut self, text: &str, life: Life, provenance: Provenance) {
        let fetched = Fetched { text: text.into(), life, provenance };
        self.on(Event::Fetched { ticket: self.ticket, fetched });
    }

    fn refuse(&mut self, kind: FailureKind, retry_after: Option<Duration>) {
        let failure = FetchFailure { kind, retry_after, reason: "no".to_owned() };
        self.on(Event::Failed { ticket: self.ticket, failure });
    }

    fn demand(&mut self, rejected: Option<u64>, trigger: Trigger) {
        self.on(Event::Demanded { rejected: rejected.map(Generation), trigger });
    }

    fn fetches(&self) -> Vec<Trigger> {
        let trigger = |action: &Action| match action {
            Action::Fetch { trigger, .. } => Some(*trigger),
            Action::Publish(_) | Action::Hopeless | Action::Report(_) => None,
        };
        self.last.iter().filter_map(trigger).collect()
    }

    fn published(&self) -> Option<u64> {
        self.last.iter().find_map(|action| match action {
            Action::Publish(token) => Some(token.generation.0),
            Action::Fetch { .. } | Action::Hopeless | Action::Report(_) => None,
        })
    }

    fn failure(&self) -> Option<(String, Duration)> {
        self.last.iter().find_map(|action| match action {
            Action::Report(Report::Failed { reason, retry_in, .. }) => Some((reason.clone(), *retry_in)),
            Action::Report(
                Report::Refreshed { .. } | Report::TakenOver { .. } | Report::Unchanged { .. },
            )
            | Action::Fetch { .. }
            | Action::Hopeless
            | Action::Publish(_) => None,
        })
    }
}

#[test]
fn a_token_is_due_a_quarter_and_some_jitter_before_its_end() {
    let mut rig = Rig::new(|policy| policy.check_every = HOUR * 24);
    rig.give("a", Life::For(HOUR));
    assert_eq!(rig.published(), Some(1));
    let waited = rig.until_deadline();
    assert!(waited <= HOUR * 3 / 4, "within the margin: {waited:?}");
    assert!(waited >= HOUR * 3 / 4 - HOUR / 10, "no more jitter than a tenth: {waited:?}");
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
}

#[test]
fn the_margin_of_the_configuration_is_kept_where_it_fits() {
    let mut rig = Rig::new(|policy| {
        policy.refresh_before = Some(SECOND * 30);
        policy.check_every = HOUR * 24;
    });
    rig.give("a", Life::For(SECOND * 100));
    let waited = rig.until_deadline();
    // Later, if anything: a service may refuse to renew what has more than that left.
    assert!(waited >= SECOND * 70 && waited <= SECOND * 78, "{waited:?}");
    rig.give("b", Life::For(SECOND * 20));
    let waited = rig.until_deadline();
    assert!(waited >= SECOND * 3, "30 s do not fit into 20 s: {waited:?}");
}

#[test]
fn the_lifetime_counts_from_the_request() {
    let mut rig = Rig::new(|_| {});
    rig.pass(SECOND * 8);
    rig.give("a", Life::For(SECOND * 10));
    assert_eq!(rig.published(), Some(1));
    assert_eq!(rig.fetches(), [Trigger::Schedule], "8 of its 10 s were spent on the way");
}

#[test]
fn a_clock_that_was_set_or_a_host_that_slept_refreshes_at_once() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(HOUR * 10));
    assert_eq!(rig.until_deadline(), Duration::from_secs(900), "the wall clock is looked at");
    assert!(rig.fetches().is_empty());
    rig.now.wall += HOUR * 8;
    rig.until_deadline();
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
    rig.give("b", Life::For(HOUR * 10));
    rig.pass(SECOND);
    rig.now.wall += HOUR * 11;
    rig.on(Event::Timer);
    assert_eq!(rig.fetches(), [Trigger::Expiry]);
}

#[test]
fn failures_wait_longer_each_and_for_ever() {
    let mut rig = Rig::new(|_| {});
    for failures in 1..100_u32 {
        rig.refuse(FailureKind::Passing, None);
        let (_, wait) = rig.failure().unwrap();
        let most = SECOND / 2 * (1 << (failures - 1).min(10));
        assert!(wait <= most.min(SECOND * 30) && wait >= SECOND / 10, "{failures}: {wait:?}");
        rig.until_deadline();
        assert_eq!(rig.fetches(), [Trigger::Start]);
    }
}

#[test]
fn the_end_of_the_current_token_shortens_the_wait() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(SECOND * 40));
    rig.until_deadline();
    while rig.keeper.current().is_some_and(|token| !token.is_expired(rig.now)) {
        let left = rig.keeper.current().unwrap().remaining(rig.now).unwrap();
        rig.refuse(FailureKind::Passing, None);
        let (_, wait) = rig.failure().unwrap();
        assert!(wait <= (left / 2).max(SECOND), "{wait:?} of {left:?}");
        rig.until_deadline();
    }
}

#[test]
fn retry_after_is_honoured_up_to_five_minutes() {
    let mut rig = Rig::new(|_| {});
    rig.refuse(FailureKind::Passing, Some(SECOND * 60));
    let (_, wait) = rig.failure().unwrap();
    assert!(wait >= SECOND * 60 && wait <= SECOND * 66, "{wait:?}");
    rig.demand(None, Trigger::Client);
    assert!(rig.fetches().is_empty(), "a client does not shorten it");
    rig.until_deadline();
    rig.refuse(FailureKind::Passing, Some(HOUR * 24));
    let (_, wait) = rig.failure().unwrap();
    assert!(wait >= SECOND * 300 && wait <= SECOND * 330, "{wait:?}");
}

#[test]
fn a_terminal_refusal_is_tried_slowly_and_when_the_secret_changes() {
    let mut rig = Rig::new(|_| {});
    for _ in 0..20 {
        rig.refuse(FailureKind::Terminal, None);
        let (_, wait) = rig.failure().unwrap();
        assert!(wait >= SECOND * 60 && wait <= SECOND * 300, "{wait:?}");
        rig.on(Event::SecretChanged);
        assert_eq!(rig.fetches(), [Trigger::Operator]);
    }
}

#[test]
fn a_refusal_that_stays_is_not_repeated_each_second_until_the_token_ends() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(SECOND * 40));
    let ends = rig.now.mono + SECOND * 40;
    let mut refused = 0;
    rig.until_deadline();
    while rig.now.mono < ends {
        rig.refuse(FailureKind::Terminal, None);
        refused += 1;
        rig.until_deadline();
    }
    assert!((1..=4).contains(&refused), "{refused}");
}

#[test]
fn a_secret_that_changes_during_a_fetch_is_used_right_after() {
    let mut rig = Rig::new(|_| {});
    rig.on(Event::SecretChanged);
    assert!(rig.fetches().is_empty(), "one fetch at a time");
    rig.refuse(FailureKind::Terminal, None);
    assert!(rig.until_deadline() <= SPACING);
    assert_eq!(rig.fetches().len(), 1);
}

#[test]
fn a_rejected_token_is_not_taken_again() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(HOUR));
    rig.pass(HOUR / 2);
    rig.demand(Some(1), Trigger::Expiry);
    assert_eq!(rig.fetches(), [Trigger::Expiry]);
    rig.give("a", Life::For(HOUR * 9));
    assert_eq!(rig.published(), None);
    assert!(rig.failure().unwrap().0.contains("rejected"));
    rig.until_deadline();
    rig.give("b", Life::For(HOUR));
    assert_eq!(rig.published(), Some(2));
    rig.demand(Some(1), Trigger::Expiry);
    assert!(rig.fetches().is_empty(), "there is a newer one");
}

#[test]
fn tokens_rejected_while_young_are_fetched_with_growing_waits() {
    let mut rig = Rig::new(|_| {});
    let start = rig.now.mono;
    for generation in 1..=20 {
        rig.give(&format!("t{generation}"), Life::For(HOUR));
        assert_eq!(rig.published(), Some(generation));
        rig.pass(Duration::from_millis(1));
        rig.demand(Some(generation), Trigger::Expiry);
        if rig.fetches().is_empty() {
            rig.until_deadline();
        }
        assert_eq!(rig.fetches(), [Trigger::Expiry]);
    }
    let took = rig.now.mono.duration_since(start);
    assert!(took > SECOND * 20, "20 fetches in {took:?}");
}

#[test]
fn the_same_token_again_is_not_published_again() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(HOUR));
    rig.pass(SECOND * 60);
    rig.demand(None, Trigger::Operator);
    rig.give("a", Life::Unknown);
    assert_eq!((rig.published(), rig.failure()), (None, None), "not due: nothing is wrong");
    rig.demand(None, Trigger::Operator);
    rig.give("a", Life::For(HOUR));
    assert_eq!(rig.published(), Some(1), "it lives longer now, and is the same");
    rig.pass(HOUR - SECOND * 60);
    rig.on(Event::Timer);
    rig.give("a", Life::Unknown);
    assert!(rig.failure().unwrap().0.contains("again"), "it is late, and there is no other");
}

/// A metadata server, a cache, a file: the same token until it is replaced.
#[test]
fn a_source_that_keeps_its_token_is_late_when_a_minute_or_a_tenth_is_left() {
    for (life, late) in [(HOUR, SECOND * 60), (SECOND * 40, SECOND * 4)] {
        let mut rig = Rig::new(|_| {});
        rig.give("a", Life::For(life));
        let mut unchanged = 0;
        while rig.failure().is_none() {
            rig.until_deadline();
            if !rig.fetches().is_empty() {
                rig.give("a", Life::Unknown);
                assert_eq!(rig.published(), None);
                unchanged += 1;
            }
        }
        let left = rig.keeper.current().unwrap().remaining(rig.now).unwrap();
        assert!(left <= late && left > late - SPACING, "{life:?}: {left:?}");
        assert!((3..30).contains(&unchanged), "{unchanged} looks: not one, and not all the time");
        rig.until_deadline();
        rig.give("b", Life::For(life));
        assert_eq!(rig.published(), Some(2));
        let waited = std::iter::from_fn(|| Some(rig.until_deadline()).filter(|_| rig.fetches().is_empty()));
        assert!(waited.sum::<Duration>() < life * 3 / 4, "the next one is due as usual");
    }
}

#[test]
fn a_margin_that_is_later_than_late_is_kept() {
    let mut rig = Rig::new(|policy| {
        policy.refresh_before = Some(SECOND * 30);
        policy.check_every = HOUR;
    });
    rig.give("a", Life::For(HOUR));
    while rig.fetches().is_empty() {
        rig.until_deadline();
    }
    rig.give("a", Life::Unknown);
    assert!(rig.failure().is_some(), "little is left");
}

#[test]
fn a_token_that_was_kept_is_due_by_its_issue() {
    let mut rig = Rig::new(|policy| policy.refresh_before = Some(SECOND * 44));
    // It lives for 60 s, and 22 of them have passed: it was due 6 s ago.
    let wall = rig.now.wall + SECOND * 38;
    let provenance = Provenance { taken_over: true, age: SECOND * 22, ..Provenance::default() };
    rig.give_of("a", Life::Until { wall, at_most: Some(SECOND * 60) }, provenance);
    assert_eq!(rig.published(), Some(1));
    assert_eq!(rig.keeper.current().unwrap().remaining(rig.now), Some(SECOND * 38));
    assert!(rig.until_deadline() <= SPACING, "at once");
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
}

#[test]
fn a_token_in_doubt_is_used_and_asked_for_again_at_once() {
    let mut rig = Rig::new(|policy| policy.check_every = HOUR * 24);
    let provenance = Provenance { taken_over: true, in_doubt: true, ..Provenance::default() };
    rig.give_of("a", Life::For(HOUR), provenance);
    assert_eq!(rig.published(), Some(1));
    assert!(rig.until_deadline() <= SPACING);
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
    rig.give("b", Life::For(HOUR));
    assert!(rig.until_deadline() > HOUR / 2, "once");
}

#[test]
fn a_refresh_token_is_used_before_it_ends() {
    let mut rig = Rig::new(|_| {});
    let of = |life| Provenance { refresh_life: Some(life), ..Provenance::default() };
    rig.give_of("a", Life::For(SECOND * 60), of(SECOND * 20));
    let ends = rig.keeper.current().unwrap().refresh_ends;
    assert_eq!(ends, Some(rig.now.wall + SECOND * 20));
    assert_eq!(rig.until_deadline(), SECOND * 15);
    assert_eq!(rig.fetches(), [Trigger::Schedule]);
    // One that lives for longer changes nothing, and a token without an end is fetched for its sake.
    rig.give_of("b", Life::For(SECOND * 60), of(HOUR));
    assert!(rig.until_deadline() < SECOND * 50);
    rig.give_of("c", Life::Unknown, of(HOUR));
    let mut waited = Duration::ZERO;
    while rig.fetches().is_empty() {
        waited += rig.until_deadline();
    }
    assert_eq!(waited, HOUR * 3 / 4);
}

#[test]
fn failures_from_before_the_end_of_a_token_do_not_make_clients_wait() {
    for (kind, most) in [(FailureKind::Passing, SECOND / 2), (FailureKind::Unreached, SECOND / 2)] {
        let mut rig = Rig::new(|_| {});
        rig.give("a", Life::For(SECOND * 40));
        while rig.keeper.current().is_some_and(|token| !token.is_expired(rig.now)) {
            rig.until_deadline();
            if !rig.fetches().is_empty() {
                rig.refuse(kind, None);
            }
        }
        let ended = rig.now;
        while rig.fetches().is_empty() {
            rig.until_deadline();
        }
        assert!(rig.now.mono - ended.mono <= most, "{kind:?}: {:?}", rig.now.mono - ended.mono);
    }
    // However long nobody is there, it is looked for every second or two.
    let mut rig = Rig::new(|_| {});
    for _ in 0..50 {
        rig.refuse(FailureKind::Unreached, None);
        assert!(rig.until_deadline() <= SECOND * 2);
    }
}

#[test]
fn what_is_no_token_is_a_failure_and_the_current_one_stays() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::For(HOUR));
    let wall = rig.now.wall;
    let bad = [
        ("", Life::For(HOUR)),
        ("b", Life::For(Duration::ZERO)),
        ("b", Life::Until { wall, at_most: None }),
        ("b", Life::Until { wall: wall + HOUR, at_most: Some(Duration::ZERO) }),
    ];
    for (text, life) in bad {
        rig.pass(SECOND);
        rig.demand(None, Trigger::Operator);
        rig.give(text, life);
        assert!(rig.failure().is_some(), "{text} {life:?}");
        assert_eq!(rig.keeper.current().unwrap().expose(), "a");
    }
    rig.demand(None, Trigger::Operator);
    rig.give("b", Life::For(Duration::MAX));
    assert_eq!(rig.published(), Some(2), "for ever is long, and no error");
}

#[test]
fn a_token_of_a_millisecond_makes_no_busy_loop() {
    let mut rig = Rig::new(|_| {});
    let start = rig.now.mono;
    for n in 0..100 {
        rig.give(&format!("t{n}"), Life::For(Duration::from_millis(1)));
        rig.until_deadline();
    }
    assert!(rig.now.mono.duration_since(start) >= SPACING * 100);
}

#[test]
fn a_source_that_never_answers_is_given_up_and_its_late_word_changes_nothing() {
    let mut rig = Rig::new(|_| {});
    let late = rig.ticket;
    assert_eq!(rig.until_deadline(), SECOND * 10 + UNANSWERED);
    assert!(rig.failure().is_some());
    let fetched = Fetched { text: "late".into(), life: Life::Unknown, provenance: Provenance::default() };
    rig.on(Event::Fetched { ticket: late, fetched });
    assert!(rig.last.is_empty());
}

#[test]
fn a_token_without_an_end_is_kept_until_somebody_asks() {
    let mut rig = Rig::new(|_| {});
    rig.give("a", Life::Unknown);
    for _ in 0..10 {
        rig.until_deadline();
        assert!(rig.fetches().is_empty());
    }
    rig.demand(Some(1), Trigger::Hint);
    assert_eq!(rig.fetches(), [Trigger::Hint]);
    let mut assumed = Rig::new(|policy| policy.lifetime = Some(SECOND * 100));
    assumed.give("a", Life::Unknown);
    assert!(assumed.until_deadline() <= SECOND * 75, "the lifetime that was assumed");
}

#[test]
fn a_thousand_keepers_do_not_come_back_together() {
    let mut waits: Vec<Duration> = Vec::new();
    for seed in 0..1000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        waits.push(wait::backoff(6, None, &mut rng));
    }
    waits.sort();
    let busiest = waits.windows(101).filter(|w| w[100] - w[0] < SECOND).count();
    assert_eq!(busiest, 0, "more than a tenth within one second of fifteen");
}
