//! Random histories of a keeper, against what must hold in each of them.
//!
//! Each of these bugs was planted, one at a time, and was seen to be caught:
//! a changed secret starts a second fetch · any ticket is taken · rejected texts are not looked at · an expired
//! answer is taken · an empty one is · a failure drops the current token · the lifetime counts from the
//! answer · the wall clock is not looked at · a stale demand is served · `check_every` is forgotten ·
//! `Retry-After` is ignored · a terminal refusal is retried like any other · the same token gets a new
//! generation · or is published again · demands are not spaced · a backoff may be nothing · a fetch is never
//! given up · the margin is added.

use proptest::prelude::*;

use super::*;
use crate::clock;

/// What happens next. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u64),
    /// To the deadline, and the timer with it.
    Deadline,
    /// The wall clock alone: the host slept, or somebody set it.
    Wall(i64),
    Answer {
        text: u8,
        life: Option<u64>,
    },
    Fail {
        kind: FailureKind,
        retry_after: Option<u64>,
    },
    /// Another process has a token.
    Offer {
        text: u8,
        life: Option<u64>,
    },
    /// An answer to a fetch that was given up, or to none.
    Late,
    Demand {
        back: Option<u64>,
        trigger: usize,
    },
    Secret,
}

fn kind() -> impl Strategy<Value = FailureKind> {
    prop_oneof![
        Just(FailureKind::Passing),
        Just(FailureKind::Unreached),
        Just(FailureKind::Terminal),
        Just(FailureKind::Lost),
        Just(FailureKind::Elsewhere),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..100_000_u64).prop_map(Step::Pass),
        6 => Just(Step::Deadline),
        1 => (-7_200_000..7_200_000_i64).prop_map(Step::Wall),
        6 => (0..12_u8, proptest::option::weighted(0.9, 0..600_000_u64))
            .prop_map(|(text, life)| Step::Answer { text, life }),
        3 => (kind(), proptest::option::of(0..600_000_u64))
            .prop_map(|(kind, retry_after)| Step::Fail { kind, retry_after }),
        1 => (0..12_u8, proptest::option::weighted(0.9, 0..600_000_u64))
            .prop_map(|(text, life)| Step::Offer { text, life }),
        1 => Just(Step::Late),
        4 => (proptest::option::of(0..2_u64), 0..6_usize)
            .prop_map(|(back, trigger)| Step::Demand { back, trigger }),
        1 => Just(Step::Secret),
    ]
}

/// 0 stands for no text at all.
fn fetched(text: u8, life: Option<u64>) -> Fetched {
    let text = if text == 0 { String::new() } else { format!("t{text}") };
    let life = life.map_or(Life::Unknown, |ms| Life::For(Duration::from_millis(ms)));
    Fetched { text: text.into(), life, provenance: Provenance::default() }
}

/// The keeper, and what somebody knows who only sees its events and actions.
struct Witness {
    keeper: Keeper,
    now: Now,
    /// The ticket of the fetch under way, and when it was sent.
    open: Option<(u64, Now)>,
    last_sent: Option<Instant>,
    current: Option<Token>,
    rejected: Vec<String>,
    /// No fetch before this, unless somebody hurries.
    not_before: Option<Instant>,
    check_every: Duration,
}

impl Witness {
    fn new(seed: u64, margin: Option<u64>, check_every: u64) -> Self {
        let check_every = Duration::from_secs(check_every);
        let policy = RefreshPolicy {
            refresh_before: margin.map(Duration::from_secs),
            check_every,
            lifetime: None,
            once: false,
            timeout: Duration::from_secs(10),
        };
        Self {
            keeper: Keeper::new(policy, seed),
            now: Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) },
            open: None,
            last_sent: None,
            current: None,
            rejected: Vec::new(),
            not_before: None,
            check_every,
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pass(ms) => {
                self.pass(Duration::from_millis(ms));
                self.on(Event::Timer, false)
            }
            Step::Deadline => {
                let at = self.keeper.deadline().ok_or_else(|| TestCaseError::fail("no deadline"))?;
                self.pass(at.saturating_duration_since(self.now.mono));
                self.on(Event::Timer, false)
            }
            Step::Wall(ms) => {
                let by = Duration::from_millis(ms.unsigned_abs());
                self.now.wall = if ms < 0 { self.now.wall - by } else { self.now.wall + by };
                self.on(Event::Timer, false)
            }
            Step::Answer { text, life } => {
                let Some((ticket, _)) = self.open else { return Ok(()) };
                self.on(Event::Fetched { ticket, fetched: fetched(text, life) }, false)
            }
            Step::Offer { text, life } => {
                // Settles what the clocks say first: what is published then is what was offered.
                self.on(Event::Timer, false)?;
                self.on(Event::Offered(fetched(text, life)), false)
            }
            Step::Fail { kind, retry_after } => {
                let Some((ticket, _)) = self.open else { return Ok(()) };
                // Nobody says when another process will be done.
                let told = kind != FailureKind::Elsewhere;
                let retry_after = retry_after.filter(|_| told).map(Duration::from_millis);
                let terminal = kind == FailureKind::Terminal;
                let failure = FetchFailure { kind, retry_after, reason: "no".to_owned() };
                let hurried = self.keeper.again;
                self.on(Event::Failed { ticket, failure }, false)?;
                let asked = retry_after.unwrap_or_default().min(Duration::from_secs(300));
                // A token that would end meanwhile does not let the source wait so long.
                let lives = self.current.as_ref().is_some_and(|token| !token.is_expired(self.now));
                let least = if terminal && !lives { asked.max(Duration::from_secs(60)) } else { asked };
                self.not_before = (!hurried).then(|| self.now.mono + least);
                Ok(())
            }
            Step::Late => {
                let ticket = self.open.map_or(u64::MAX, |(ticket, _)| ticket - 1);
                let fetched =
                    Fetched { text: "late".into(), life: Life::Unknown, provenance: Provenance::default() };
                self.on(Event::Fetched { ticket, fetched }, false)
            }
            Step::Demand { back, trigger } => self.demand(back, Trigger::ALL[trigger]),
            Step::Secret => self.on(Event::SecretChanged, true),
        }
    }

    fn demand(&mut self, back: Option<u64>, trigger: Trigger) -> Result<(), TestCaseError> {
        let newest = self.current.as_ref().map_or(0, |token| token.generation.0);
        let rejected = back.map(|back| newest.saturating_sub(back));
        if let Some(token) = self.current.as_ref().filter(|token| Some(token.generation.0) == rejected) {
            let text = token.expose().to_owned();
            self.rejected.retain(|known| *known != text);
            self.rejected.push(text);
        }
        let stale = rejected.is_some_and(|generation| generation != newest);
        // Settles what the clocks say first, so that what follows is the demand's doing.
        self.on(Event::Timer, false)?;
        let open = self.open;
        let hurried = trigger == Trigger::Operator;
        self.on(Event::Demanded { rejected: rejected.map(Generation), trigger }, hurried)?;
        prop_assert!(!stale || self.open == open, "fetched for a token that is no longer the current one");
        Ok(())
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall += time;
    }

    fn on(&mut self, event: Event, hurried: bool) -> Result<(), TestCaseError> {
        let answered = match &event {
            Event::Fetched { ticket, .. } | Event::Failed { ticket, .. } => {
                self.open.is_some_and(|(open, _)| open == *ticket)
            }
            Event::Started
            | Event::Adopted { .. }
            | Event::Active(_)
            | Event::Busy(_)
            | Event::Offered(_)
            | Event::Demanded { .. }
            | Event::SecretChanged
            | Event::Timer => false,
        };
        let offered = matches!(event, Event::Offered(_));
        let sent = if offered { Some(self.now) } else { self.open.map(|(_, sent)| sent) };
        if answered {
            self.open = None;
        }
        let mut actions = Vec::new();
        self.keeper.on_event(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Fetch { ticket, .. } => self.fetched(ticket, hurried)?,
                Action::Publish(token) => {
                    prop_assert!(answered || (offered && self.open.is_none()), "a token out of nothing");
                    self.published(token, sent)?;
                    if offered {
                        // The source serves others: what it asked for is over.
                        self.not_before = None;
                    }
                }
                Action::Report(Report::Failed { retry_in, .. }) => {
                    prop_assert!(retry_in <= Duration::from_secs(330) && !retry_in.is_zero());
                    self.open = None;
                    self.not_before = None;
                }
                Action::Hopeless
                | Action::Report(
                    Report::Refreshed { .. } | Report::TakenOver { .. } | Report::Unchanged { .. },
                ) => {}
            }
        }
        self.stands()
    }

    fn fetched(&mut self, ticket: u64, hurried: bool) -> Result<(), TestCaseError> {
        prop_assert!(self.open.is_none(), "two fetches at once");
        if !hurried {
            let early = self.last_sent.is_some_and(|at| self.now.mono < at + wait::LEAST);
            prop_assert!(!early, "a busy loop");
            prop_assert!(
                self.not_before.is_none_or(|at| self.now.mono >= at),
                "sooner than the source asked"
            );
        }
        self.open = Some((ticket, self.now));
        self.last_sent = Some(self.now.mono);
        self.not_before = None;
        Ok(())
    }

    fn published(&mut self, token: Token, sent: Option<Now>) -> Result<(), TestCaseError> {
        prop_assert!(!token.expose().is_empty(), "an empty token");
        prop_assert!(!token.is_expired(self.now), "a dead token");
        prop_assert_eq!(Some(token.issued), sent, "reckoned from another moment than the request's");
        let remembered = self.rejected.iter().rev().take(rejected::REMEMBERED);
        prop_assert!(remembered.into_iter().all(|text| text != token.expose()), "a rejected token");
        if let Some(old) = &self.current {
            let same = token.expose() == old.expose();
            let next = if same { old.generation } else { old.generation.next() };
            prop_assert_eq!(token.generation, next, "generations count tokens");
            prop_assert!(
                !same || token.remaining(self.now) > old.remaining(self.now),
                "the same again for nothing"
            );
        }
        self.current = Some(token);
        Ok(())
    }

    /// What holds after every event.
    fn stands(&self) -> Result<(), TestCaseError> {
        let (kept, seen) = (self.keeper.current(), self.current.as_ref());
        prop_assert_eq!(kept.map(Token::expose), seen.map(Token::expose), "replaced without a word");
        let deadline = self.keeper.deadline();
        prop_assert!(deadline.is_some_and(|at| at > self.now.mono), "no deadline ahead: {:?}", self.keeper);
        if let (None, Some(token), Phase::Resting) = (self.open, seen, self.keeper.phase) {
            prop_assert!(
                deadline.is_some_and(|at| at <= self.now.mono + self.check_every),
                "the wall unseen"
            );
            // A token that lives for less than the spacing ends before the next one may be fetched.
            let long = token.expires.is_none_or(|end| end > token.issued.mono + SPACING * 2);
            prop_assert!(!long || !token.is_expired(self.now), "rests on a dead token");
            let before = self.keeper.due().zip(token.expires).is_none_or(|(due, end)| due < end);
            prop_assert!(!long || before, "due after its end");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_rules(
        seed in any::<u64>(),
        margin in proptest::option::of(1..600_u64),
        check_every in 1..2000_u64,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut witness = Witness::new(seed, margin, check_every);
        witness.on(Event::Started, false)?;
        for step in steps {
            witness.take(step)?;
        }
    }
}
