//! When to fetch a token: the whole of the refresh rules, as a machine without IO.
//!
//! ```text
//!            Started                    Fetched, good
//!   Idle ───────────────► Fetching ──────────────────────► Resting
//!                          ▲  ▲ │                             │
//!            wait is over, │  │ └── Failed, or not good ──┐   │ due by either clock, demanded,
//!            secret changed│  │                           ▼   │ or secret changed
//!                          │  └───────────────────────────────┘
//!                          └───────────────────────── Waiting
//! ```
//!
//! 1. One fetch is under way at a time. Anyone who asks meanwhile waits for that one. Each has a ticket; an
//!    answer with an older ticket changes nothing.
//! 2. A token is due before its end by the margin, and by up to a tenth of its lifetime of jitter more.
//!    Both are reckoned from the moment the request was *sent*: the lifetime began no earlier than that.
//! 3. Due is due by either clock: the monotonic one, or the wall clock, which goes on while the host
//!    sleeps, and which somebody may have set. It is looked at every `check_every` and at every event.
//! 4. A failure leaves the current token in place, and is tried again after a wait with full jitter: within a
//!    third of the time that the current token still lives. If there is none that would do, clients wait: within half
//!    a second at first and half a minute at last, and within two seconds if nobody was there to be asked. What failed
//!    before the token ended does not make that longer.
//! 5. `Retry-After` is honoured up to five minutes. A refusal that repeating cannot fix is tried again
//!    after one to five minutes, and sooner where the current token would end in that time. A changed secret,
//!    and an operator, end either wait.
//! 6. An answer that is empty, already expired, or a token that was rejected, is a failure. The current
//!    token once more is none: it is not published again, unless it now lives longer, and then under its old
//!    generation, since there is nothing to exchange. A source that keeps a token (a cache, a file, a metadata server)
//!    is asked again after a third of the time that is left. It is late, and that is a failure, when a tenth of the
//!    lifetime is left, or a minute.
//! 7. A demand because of a rejected token runs only where that token is still the current one. One that is
//!    rejected again and again while fresh is fetched again with growing waits.
//! 8. Nothing is fetched in a busy loop: scheduled and demanded fetches are half a second apart at least,
//!    however short the token lives.
//! 9. Once started, there is always a deadline, but where nobody is on the credential: then nothing is
//!    fetched, and an answer that is still under way is taken all the same.
//! 10. An answer that may have been given and lost is asked for again within a second, three times in five seconds at
//!     the most: a server that allows for that does so for seconds. After that it counts as a refusal.
//! 11. While another process asks, there is nothing to report: its answer will be ours. One that goes on for too long
//!     is a failure.
//! 12. A refresh that is due while a token is being shown to a service waits for that, and is not lost; not so
//!     long that the current token would end.

use std::time::Duration;

use super::token::{Generation, Token};
use crate::{
    clock::{Instant, Now},
    config::RefreshPolicy,
};

mod event;
mod fail;
mod judge;
mod rejected;
mod wait;

pub use event::{
    Action, Event, FailureKind, FetchFailure, Fetched, Life, Outcome, Provenance, Report, Trigger,
};
use rejected::Rejected;

/// Between two fetches that nobody hurries.
const SPACING: Duration = Duration::from_millis(500);
/// A token rejected younger than this (or than half its lifetime) points at the source or the service.
const YOUNG: Duration = Duration::from_secs(30);
/// With less time than this to wait for an exchange, a refresh does not wait.
const SHORTEST_STEP: Duration = Duration::from_millis(20);
/// Beyond the policy's timeout, after which a fetch that was not answered at all is given up.
const UNANSWERED: Duration = Duration::from_secs(5);
/// Longer than this no token lives; keeps the arithmetic far from its ends.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Of the lifetime, the part that is left when a source that gives the same token again is late; and that is not more
/// than a minute.
const LATE: (u32, Duration) = (10, Duration::from_secs(60));
/// The same token with its end this much later is worth telling.
const LONGER: Duration = Duration::from_secs(1);

/// The refresh of one credential.
#[derive(Debug)]
pub struct Keeper {
    policy: RefreshPolicy,
    rng: fastrand::Rng,
    phase: Phase,
    current: Option<Token>,
    /// From the current token's issue to its refresh; `None` where it has no known end.
    due_after: Option<Duration>,
    rejected: Rejected,
    /// Failures in a row.
    failures: u32,
    /// Young tokens rejected in a row.
    early: u32,
    /// Of the last fetch.
    ticket: u64,
    last_sent: Option<Instant>,
    /// The secret changed while a fetch was under way, which may not have seen it.
    again: bool,
    next_check: Option<Instant>,
    /// Somebody is on the credential.
    active: bool,
    /// A token of it is being shown to a service.
    busy: bool,
    /// The wait is for that.
    postponed: bool,
    /// The last answer was a refusal that repeating cannot mend.
    refused: bool,
    /// Answers that were lost one after another, and since when.
    lost: Option<(u32, Instant)>,
    /// Since when another process has been asking.
    elsewhere: Option<Instant>,
    /// The wait is as long as it is because the current token lives on.
    patient: bool,
    /// At the last failure there was a token that would do.
    had_token: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Not started.
    Idle,
    /// The current token will do for now.
    Resting,
    Fetching {
        trigger: Trigger,
        sent: Now,
        gives_up: Instant,
    },
    /// To be fetched, but not yet.
    Waiting {
        trigger: Trigger,
        until: Instant,
    },
}

impl Keeper {
    /// A keeper that has not started; `seed` decides its jitter.
    pub fn new(policy: RefreshPolicy, seed: u64) -> Self {
        Self {
            policy,
            rng: fastrand::Rng::with_seed(seed),
            phase: Phase::Idle,
            current: None,
            due_after: None,
            rejected: Rejected::default(),
            failures: 0,
            early: 0,
            ticket: 0,
            last_sent: None,
            again: false,
            next_check: None,
            active: true,
            busy: false,
            postponed: false,
            refused: false,
            lost: None,
            elsewhere: None,
            patient: false,
            had_token: false,
        }
    }

    /// From the next token on, another policy: the configuration was read again.
    pub fn reconfigure(&mut self, policy: RefreshPolicy) {
        self.policy = policy;
    }

    /// Takes an event and says what follows from it. When it returns, nothing is pending before the
    /// deadline.
    pub fn on_event(&mut self, event: Event, now: Now, out: &mut Vec<Action>) {
        match event {
            Event::Started => {
                if let Phase::Idle = self.phase {
                    self.fetch(Trigger::Start, now, out);
                }
            }
            Event::Adopted { fetched, generation } => self.adopt(&fetched, generation, now, out),
            Event::Active(active) => self.active = active,
            Event::Busy(busy) => {
                self.busy = busy;
                if let (Phase::Waiting { trigger, .. }, true, false) = (self.phase, self.postponed, busy) {
                    self.phase = Phase::Waiting { trigger, until: now.mono };
                }
            }
            Event::Fetched { ticket, fetched } => {
                if let Some((trigger, sent)) = self.answered(ticket) {
                    self.judge(&fetched, trigger, sent, now, out);
                }
            }
            Event::Offered(fetched) => match self.phase {
                Phase::Idle | Phase::Fetching { .. } => {}
                Phase::Resting | Phase::Waiting { .. } => self.take_over(&fetched, now, out),
            },
            Event::Failed { ticket, failure } => {
                if let Some((trigger, sent)) = self.answered(ticket) {
                    self.fail(failure, trigger, sent, now, out);
                }
            }
            Event::Demanded { rejected, trigger } => self.demand(rejected, trigger, now, out),
            Event::SecretChanged => match self.phase {
                Phase::Idle => {}
                Phase::Fetching { .. } => self.again = true,
                Phase::Resting | Phase::Waiting { .. } => self.fetch(Trigger::Operator, now, out),
            },
            Event::Timer => {}
        }
        self.look(now, out);
    }

    /// When to send `Event::Timer`, at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Resting | Phase::Waiting { .. } if !self.active => None,
            Phase::Resting => [self.due(), self.next_check].into_iter().flatten().min(),
            Phase::Fetching { gives_up, .. } => Some(gives_up),
            Phase::Waiting { until, .. } => Some(until),
        }
    }

    /// The last token that was published.
    pub fn current(&self) -> Option<&Token> {
        self.current.as_ref()
    }

    /// When the next fetch is sent, where none is under way and it is known.
    pub fn next_fetch(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle | Phase::Fetching { .. } => None,
            Phase::Resting => self.due(),
            Phase::Waiting { until, .. } => Some(until),
        }
    }

    /// What the clocks say, whatever the event was.
    fn look(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Idle => {}
            Phase::Resting | Phase::Waiting { .. } if !self.active => {}
            Phase::Resting => {
                if self.is_due(now) {
                    let expired = self.current.as_ref().is_some_and(|token| token.is_expired(now));
                    let trigger = if expired { Trigger::Expiry } else { Trigger::Schedule };
                    let spaced = self.spaced(now.mono);
                    if spaced <= now.mono {
                        self.fetch_or_postpone(trigger, now, out);
                    } else {
                        // Only a wall clock that leaps can make a token due so soon.
                        self.phase = Phase::Waiting { trigger, until: spaced };
                    }
                } else if self.next_check.is_none_or(|at| at <= now.mono) {
                    self.next_check = Some(now.mono + self.policy.check_every.max(SPACING));
                }
            }
            Phase::Fetching { trigger, sent, gives_up } => {
                if gives_up <= now.mono {
                    let failure = FetchFailure::passing("the source did not answer");
                    self.fail(failure, trigger, sent, now, out);
                }
            }
            Phase::Waiting { trigger, until } => {
                let until = self.hurried(trigger, until, now);
                if until <= now.mono {
                    self.fetch_or_postpone(trigger, now, out);
                }
            }
        }
    }

    fn fetch_or_postpone(&mut self, trigger: Trigger, now: Now, out: &mut Vec<Action>) {
        let left = self.current.as_ref().and_then(|token| token.remaining(now));
        let step = wait::postponed(left.unwrap_or(Duration::MAX));
        if self.busy && step >= SHORTEST_STEP {
            self.postponed = true;
            self.phase = Phase::Waiting { trigger, until: now.mono + step };
        } else {
            self.fetch(trigger, now, out);
        }
    }

    fn fetch(&mut self, trigger: Trigger, now: Now, out: &mut Vec<Action>) {
        self.ticket += 1;
        self.last_sent = Some(now.mono);
        self.again = false;
        self.postponed = false;
        self.patient = false;
        let gives_up = now.mono + self.policy.timeout + UNANSWERED;
        self.phase = Phase::Fetching { trigger, sent: now, gives_up };
        out.push(Action::Fetch { ticket: self.ticket, trigger });
    }

    /// The fetch that `ticket` belongs to, if it is the one under way.
    fn answered(&self, ticket: u64) -> Option<(Trigger, Now)> {
        match self.phase {
            Phase::Fetching { trigger, sent, .. } if ticket == self.ticket => Some((trigger, sent)),
            Phase::Fetching { .. } | Phase::Idle | Phase::Resting | Phase::Waiting { .. } => None,
        }
    }

    fn demand(&mut self, rejected: Option<Generation>, trigger: Trigger, now: Now, out: &mut Vec<Action>) {
        let mut wait = Duration::ZERO;
        if !self.active && trigger != Trigger::Operator {
            return;
        }
        if let Some(generation) = rejected {
            let Some(token) = self.current.as_ref().filter(|token| token.generation == generation) else {
                // There is a newer one already, or the first is still to come.
                return;
            };
            self.rejected.add(token.expose());
            if let Phase::Resting = self.phase {
                wait = self.patience(now);
            }
        }
        match self.phase {
            Phase::Idle | Phase::Fetching { .. } => {}
            // Anyone who demands does not shorten a wait that the source needs; an operator does.
            Phase::Waiting { .. } => {
                if trigger == Trigger::Operator {
                    self.fetch(trigger, now, out);
                } else {
                    // What it was waited for in patience may be of no use now: the look at the end sees to that.
                    self.despair(now, out);
                }
            }
            Phase::Resting => {
                let spaced = self.spaced(now.mono + wait);
                if trigger == Trigger::Operator || spaced <= now.mono {
                    self.fetch(trigger, now, out);
                } else {
                    let until = self.due().map_or(spaced, |due| spaced.min(due));
                    self.phase = Phase::Waiting { trigger, until };
                }
            }
        }
    }

    /// Not before `at`, nor too soon after the last fetch.
    fn spaced(&self, at: Instant) -> Instant {
        self.last_sent.map_or(at, |sent| at.max(sent + SPACING))
    }

    /// How long to wait before the current token, rejected now, is fetched again.
    fn patience(&mut self, now: Now) -> Duration {
        let Some(token) = &self.current else { return Duration::ZERO };
        let lifetime = token.expires.map(|at| at.saturating_duration_since(token.issued.mono));
        let young = lifetime.map_or(YOUNG, |life| (life / 2).min(YOUNG));
        if now.mono.saturating_duration_since(token.issued.mono) >= young {
            self.early = 0;
            return Duration::ZERO;
        }
        self.early = self.early.saturating_add(1);
        // The first time it may be chance, and a client is waiting.
        if self.early == 1 { Duration::ZERO } else { wait::backoff(self.early - 1, None, &mut self.rng) }
    }

    fn due(&self) -> Option<Instant> {
        self.current.as_ref()?.issued.mono.checked_add(self.due_after?)
    }

    fn is_due(&self, now: Now) -> bool {
        let Some((token, after)) = self.current.as_ref().zip(self.due_after) else { return false };
        token.issued.mono + after <= now.mono || token.issued.wall.saturating_add(after) <= now.wall
    }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
