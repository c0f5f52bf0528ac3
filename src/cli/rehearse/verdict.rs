//! What a rehearsal came to: the sidecar's counts, after less before.
//!
//! ```text
//!   before ──► look ──► look ──► …  each of those that were asked has been counted, and nobody is on the way ──►
//!              two seconds of calm ──► Verdict
//! ```
//!
//! After a `refresh`, those that were asked are the credentials, and then their sessions: these spread their exchanges
//! over ten seconds.
//!
//! It is pure: it is handed snapshots, and how long it has been.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::super::words::{count, span};
use crate::{
    admin::{
        done::{Asked, Rehearsed},
        status::{Outcomes, RouteStatus, Status},
    },
    terminal::visible,
};

/// So long nothing must be on the way, for all to be over: an exchange begins a little after its token came, and a
/// snapshot may be a second old.
const CALM: Duration = Duration::from_secs(2);
/// After so much calm the rest of those that were asked will not do anything any more: they were not live. It is longer
/// than the time over which sessions spread their exchanges.
const PATIENCE: Duration = Duration::from_secs(12);
/// No more of a word of the sidecar's is shown.
const LONGEST: usize = 60;

/// By what it is seen that one of those that were asked has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// A fetch has ended.
    Fetches,
    /// A re-authentication has ended, in whatever way.
    Reauthentications,
    /// An upstream was lost and made again: with a token that is no newer, that is no re-authentication.
    Gaps,
}

/// One look.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) status: Status,
    /// By route: upstreams that were lost and made again. Only looked at where they are sought.
    pub(super) gaps: BTreeMap<String, u64>,
}

impl From<Status> for Sight {
    fn from(status: Status) -> Self {
        Self { status, gaps: BTreeMap::new() }
    }
}

/// What is waited for on one route.
#[derive(Debug)]
struct Goal {
    route: String,
    /// How many were asked.
    asked: u64,
    /// Sessions that re-authenticate because of it.
    follow: u64,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Followed {
    before: Sight,
    after: Sight,
    asked: Vec<Goal>,
    sought: Sought,
    /// What was counted of those that were asked, at the last look.
    seen: u64,
    /// Since when it is calm, and when it was looked last; after the question.
    calm_since: Option<Duration>,
    looked: Duration,
    longest_hold: f64,
    settled: bool,
}

impl Followed {
    /// Before anything was seen of it.
    pub(super) fn new(before: impl Into<Sight>, asked: &Rehearsed, sought: Sought) -> Self {
        let before = before.into();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let goal = |one: &Asked| Goal {
            route: one.route.clone(),
            asked: number(one.asked),
            follow: number(one.follow),
        };
        let asked = asked.routes.iter().map(goal).collect();
        Self {
            after: before.clone(),
            before,
            asked,
            sought,
            seen: 0,
            calm_since: None,
            looked: Duration::ZERO,
            longest_hold: 0.0,
            settled: false,
        }
    }

    /// Looks at one more snapshot, so long after the question; is it over?
    pub(super) fn look(&mut self, sight: impl Into<Sight>, after: Duration) -> bool {
        let sight = sight.into();
        let pairs = self
            .asked
            .iter()
            .filter_map(|Goal { route, .. }| Some((find(&self.after, route)?, find(&sight, route)?)));
        let holds = pairs.map(|(last, now)| longest_hold(last, now));
        self.longest_hold = holds.fold(self.longest_hold, f64::max);
        self.after = sight;
        self.looked = after;
        // Another process counts from zero: there is nothing to wait for.
        if !self.is_one_process() {
            return true;
        }
        let (seen, left) = (self.counted(), self.left());
        let news = seen != self.seen;
        self.seen = seen;
        if self.on_the_way(&self.after) > self.on_the_way(&self.before) {
            self.calm_since = None;
            return false;
        }
        if news {
            self.calm_since = None;
        }
        let calm = after.saturating_sub(*self.calm_since.get_or_insert(after));
        self.settled = calm >= if left == 0 { CALM } else { PATIENCE };
        self.settled
    }

    fn is_one_process(&self) -> bool {
        // Written by the same hand, so the same to the last digit.
        self.before.status.started.total_cmp(&self.after.status.started).is_eq()
    }

    /// Sessions that are neither live nor over, and fetches where these are what was asked for. A busy sidecar
    /// has some at any time.
    fn on_the_way(&self, sight: &Sight) -> u64 {
        let routes = self.asked.iter().filter_map(|goal| find(sight, &goal.route));
        routes.fold(0, |all: u64, route| {
            let fetching = self.sought == Sought::Fetches
                && route.credentials.iter().any(|credential| credential.fetching);
            let states = ["exchanging", "resuming", "swapping"];
            let counts = states.iter().filter_map(|state| route.sessions.get(*state));
            counts.fold(all.saturating_add(u64::from(fetching)), |sum, count| sum.saturating_add(*count))
        })
    }

    /// How much was counted, of each route no more than was asked for.
    fn counted(&self) -> u64 {
        let of = |goal| {
            let (asked, follow) = self.done(goal);
            asked.saturating_add(follow)
        };
        self.asked.iter().map(of).fold(0, u64::saturating_add)
    }

    /// How many of those that were asked have done it, and of those that follow.
    fn done(&self, goal: &Goal) -> (u64, u64) {
        let change = Change::of(&goal.route, &self.before, &self.after);
        let over = |done| change.closed.values().fold(done, |all: u64, count| all.saturating_add(*count));
        let exchanged = over(change.ways.values().fold(0, |all: u64, one| all.saturating_add(one.ok)));
        let asked = match self.sought {
            Sought::Fetches => sum(change.refreshes),
            Sought::Reauthentications => exchanged,
            Sought::Gaps => over(change.gaps),
        };
        (asked.min(goal.asked), exchanged.min(goal.follow))
    }

    /// How many are still to come.
    fn left(&self) -> u64 {
        let (asked, follow) = self.still();
        asked.saturating_add(follow)
    }

    /// Of those that were asked, and of those that follow: nobody follows a fetch that brought no token.
    fn still(&self) -> (u64, u64) {
        self.asked.iter().fold((0, 0), |(all, all_following), goal| {
            let (asked, follow) = self.done(goal);
            let (asked, follow) = (goal.asked.saturating_sub(asked), goal.follow.saturating_sub(follow));
            let new = Change::of(&goal.route, &self.before, &self.after).refreshes.ok > 0;
            let follow = if new || asked > 0 { follow } else { 0 };
            (all.saturating_add(asked), all_following.saturating_add(follow))
        })
    }

    /// What is still to come, in words.
    fn lacking(&self) -> Option<String> {
        let (asked, follow) = self.still();
        let all = self.asked.iter().fold(0, |all: u64, goal| {
            all.saturating_add(if self.sought == Sought::Fetches { goal.follow } else { goal.asked })
        });
        let (left, what) = match self.sought {
            Sought::Fetches => (follow, "re-authenticated"),
            Sought::Reauthentications => (asked, "re-authenticated"),
            Sought::Gaps => (asked, "got a new upstream"),
        };
        let have = if left == 1 { "has" } else { "have" };
        (left > 0).then(|| format!("{left} of {} {have} not {what} yet", count(all, "session")))
    }
}

fn find<'s>(sight: &'s Sight, name: &str) -> Option<&'s RouteStatus> {
    sight.status.routes.iter().find(|route| route.name == name)
}

/// The longest hold between two looks. A step that has grown holds a new one; so does one that is new.
fn longest_hold(last: &RouteStatus, now: &RouteStatus) -> f64 {
    let tail = |holds: &[f64]| holds.last().copied().unwrap_or_default();
    let (was, is) = (tail(&last.holds), tail(&now.holds));
    let mut longest = now.longest_hold.unwrap_or_default();
    if is.total_cmp(&was).is_ne() {
        longest = longest.max(is);
        // The step that ended meanwhile may have grown in its last moment.
        let ended = now.holds.iter().rev().nth(1).copied().unwrap_or_default();
        if is < was && ended > was {
            longest = longest.max(ended);
        }
    }
    longest
}

fn sum(outcomes: Outcomes) -> u64 {
    outcomes.ok.saturating_add(outcomes.failed).saturating_add(outcomes.rejected)
}

/// After less before.
#[derive(Debug, Default)]
struct Change {
    ways: BTreeMap<String, Outcomes>,
    refreshes: Outcomes,
    closed: BTreeMap<String, u64>,
    lost: u64,
    gaps: u64,
}

impl Change {
    /// Of one route.
    fn of(name: &str, before: &Sight, after: &Sight) -> Self {
        let gaps = |sight: &Sight| sight.gaps.get(name).copied().unwrap_or_default();
        let gaps = gaps(after).saturating_sub(gaps(before));
        let (nothing, Some(after)) = (RouteStatus::default(), find(after, name)) else {
            return Self::default();
        };
        let before = find(before, name).unwrap_or(&nothing);
        let less = |after: Outcomes, before: Outcomes| Outcomes {
            ok: after.ok.saturating_sub(before.ok),
            failed: after.failed.saturating_sub(before.failed),
            rejected: after.rejected.saturating_sub(before.rejected),
        };
        let lost = |route: &RouteStatus| route.lost.up.saturating_add(route.lost.down);
        Self {
            ways: after
                .reauthentications
                .iter()
                .map(|(way, now)| {
                    (way.clone(), less(*now, before.reauthentications.get(way).copied().unwrap_or_default()))
                })
                .collect(),
            refreshes: less(after.refreshes, before.refreshes),
            closed: after
                .closed
                .iter()
                .map(|(cause, now)| {
                    (cause.clone(), now.saturating_sub(before.closed.get(cause).copied().unwrap_or_default()))
                })
                .collect(),
            lost: lost(after).saturating_sub(lost(before)),
            gaps,
        }
    }

    fn and(mut self, other: Self) -> Self {
        let add = |one: Outcomes, other: Outcomes| Outcomes {
            ok: one.ok.saturating_add(other.ok),
            failed: one.failed.saturating_add(other.failed),
            rejected: one.rejected.saturating_add(other.rejected),
        };
        for (way, outcomes) in other.ways {
            let one = self.ways.entry(way).or_default();
            *one = add(*one, outcomes);
        }
        for (cause, count) in other.closed {
            let one = self.closed.entry(cause).or_default();
            *one = one.saturating_add(count);
        }
        self.refreshes = add(self.refreshes, other.refreshes);
        self.lost = self.lost.saturating_add(other.lost);
        self.gaps = self.gaps.saturating_add(other.gaps);
        self
    }
}

/// What it came to, on all routes that were asked.
#[derive(Debug)]
pub(super) struct Verdict {
    sought: Sought,
    change: Change,
    longest_hold: f64,
    /// When all was live again, after the question.
    live: Duration,
    /// Why there is no good end.
    broken: Vec<String>,
}

impl Verdict {
    /// Draws the sum.
    pub(super) fn of(followed: &Followed) -> Self {
        let Followed { before, after, asked, .. } = followed;
        let changes = asked.iter().map(|goal| Change::of(&goal.route, before, after));
        let change = changes.fold(Change::default(), Change::and);
        let mut broken = Vec::new();
        if !followed.is_one_process() {
            broken
                .push("it was started again meanwhile, and counts from zero: nothing can be said".to_owned());
        } else if !followed.settled {
            let left = count(followed.on_the_way(after), "session");
            broken.push(format!(
                "not all is live again after {}: {left} still on the way",
                span_of(followed.looked)
            ));
        }
        let without =
            asked.iter().any(|goal| Change::of(&goal.route, before, after).refreshes.ok < goal.asked);
        if followed.sought == Sought::Fetches && without {
            broken.push("not every credential has a new token".to_owned());
        }
        if followed.is_one_process() {
            broken.extend(followed.lacking());
        }
        if change.lost > 0 {
            broken.push(format!("{} lost", count(change.lost, "message")));
        }
        let live = followed.calm_since.unwrap_or_default();
        let sought = followed.sought;
        let verdict = Self { sought, change, longest_hold: followed.longest_hold, live, broken };
        match verdict.closed() {
            0 => verdict,
            closed => {
                let words = format!("{} closed", count(closed, "session"));
                Self { broken: verdict.broken.iter().cloned().chain([words]).collect(), ..verdict }
            }
        }
    }

    /// Was nothing lost, and nobody closed?
    pub(super) fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// Clients that left of their own accord are no loss.
    fn closed(&self) -> u64 {
        let others = self.change.closed.iter().filter(|(cause, _)| *cause != "client");
        others.fold(0, |all, (_, count)| all.saturating_add(*count))
    }
}

fn span_of(time: Duration) -> String {
    span(time.as_secs_f64())
}

/// "4 ok by resume", with what did not go well.
fn outcomes(outcomes: Outcomes) -> String {
    let Outcomes { ok, failed, rejected } = outcomes;
    let mut text = ok.to_string();
    for (count, word) in [(failed, "failed"), (rejected, "rejected")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { ways, refreshes, closed, lost, gaps } = &self.change;
        let some = |list: Vec<String>| if list.is_empty() { "0".to_owned() } else { list.join("; ") };
        let ways = ways.iter().filter(|(_, one)| sum(**one) > 0);
        let ways =
            ways.map(|(way, one)| format!("{} by {}", outcomes(*one), visible(way, LONGEST))).collect();
        let causes = closed.iter().filter(|(cause, count)| **count > 0 && *cause != "client");
        let causes =
            causes.map(|(cause, count)| format!("{count} {}", visible(&cause.replace('_', " "), LONGEST)));
        let mut rows = vec![
            ("new tokens", outcomes(*refreshes)),
            ("re-authenticated", some(ways)),
            (
                "longest hold",
                if self.longest_hold > 0.0 { span(self.longest_hold) } else { "none seen".to_owned() },
            ),
            ("messages lost", lost.to_string()),
            ("sessions closed", some(causes.collect())),
        ];
        if self.sought == Sought::Gaps {
            rows.insert(0, ("new upstreams", gaps.to_string()));
        }
        if let Some(left) = closed.get("client").filter(|left| **left > 0) {
            rows.push(("clients left", format!("{left}, of their own accord")));
        }
        for (name, value) in rows {
            writeln!(f, "  {name:<17} {value}")?;
        }
        match &self.broken[..] {
            [] => write!(f, "All live again after {}; nothing lost, nobody closed.", span_of(self.live)),
            broken => write!(f, "It did not go as it should: {}.", broken.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests;
