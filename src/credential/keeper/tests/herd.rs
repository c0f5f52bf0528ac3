//! A thousand sidecars whose tokens were issued in the same second, and an endpoint that goes away for a minute.
//!
//! Time is made up; each keeper is the one that production runs. The steady rate is the one at which the same
//! thousand would come had nothing happened: their first refreshes are a tenth of the lifetime apart at the most.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;

const SIDECARS: u64 = 1000;
const LIFE: Duration = HOUR;
/// Of an answer.
const LATENCY: Duration = Duration::from_millis(50);
/// Rates are counted in steps of this: in shorter ones chance alone doubles what thirty independent sidecars do.
const STEP: Duration = Duration::from_secs(30);

struct Sidecar {
    keeper: Keeper,
    /// Counts its tokens.
    text: u64,
    /// What its timer is set to.
    timer: Option<Duration>,
}

/// What the endpoint saw, in made-up time from the start.
struct Seen {
    /// When each request came.
    requests: Vec<Duration>,
    /// When each sidecar had a token again that it got after the outage began.
    fresh: Vec<Duration>,
    /// Sidecars that were without a valid token at any time after their first.
    dead: usize,
}

/// Runs the herd for `time`; the endpoint refuses in `away`. The first tokens are there at `start` already, unless
/// they are to be fetched.
fn run(seed: u64, time: Duration, away: std::ops::Range<Duration>, issued: bool) -> Seen {
    let origin = Now { mono: clock::now(), wall: Duration::from_secs(1_800_000_000) };
    let at = |time: Duration| Now { mono: origin.mono + time, wall: origin.wall + time };
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut herd = Vec::new();
    let mut due = BinaryHeap::new();
    let mut seen = Seen { requests: Vec::new(), fresh: Vec::new(), dead: 0 };
    for sidecar in 0..SIDECARS as usize {
        let policy = RefreshPolicy {
            refresh_before: None,
            check_every: HOUR * 24,
            lifetime: None,
            once: false,
            timeout: SECOND * 10,
        };
        herd.push(Sidecar { keeper: Keeper::new(policy, rng.u64(..)), text: 0, timer: None });
        // All within the same second.
        due.push(Reverse((Duration::from_millis(rng.u64(0..1000)), sidecar, None)));
    }
    while let Some(Reverse((when, sidecar, answer))) = due.pop() {
        if when > time {
            break;
        }
        let Sidecar { keeper, text, timer } = &mut herd[sidecar];
        if answer.is_none() && timer.is_some_and(|at| at != when) {
            // Set again since.
            continue;
        }
        let event = match answer {
            Some((ticket, true)) => {
                *text += 1;
                if when >= away.start {
                    seen.fresh.push(when);
                }
                let fetched = Fetched {
                    text: format!("t{text}").into(),
                    life: Life::For(LIFE),
                    provenance: Provenance::default(),
                };
                Event::Fetched { ticket, fetched }
            }
            Some((ticket, false)) => {
                let failure = FetchFailure::passing("the source answered 503 Service Unavailable");
                Event::Failed { ticket, failure }
            }
            None if keeper.deadline().is_none() && issued => {
                let fetched =
                    Fetched { text: "t0".into(), life: Life::For(LIFE), provenance: Provenance::default() };
                Event::Adopted { fetched, generation: Generation(1) }
            }
            None if keeper.deadline().is_none() => Event::Started,
            None => Event::Timer,
        };
        let mut actions = Vec::new();
        keeper.on_event(event, at(when), &mut actions);
        for action in &actions {
            if let Action::Fetch { ticket, .. } = action {
                seen.requests.push(when);
                due.push(Reverse((when + LATENCY, sidecar, Some((*ticket, !away.contains(&when))))));
            }
        }
        seen.dead += usize::from(keeper.current().is_some_and(|token| token.is_expired(at(when))));
        let next = keeper.deadline().expect("a deadline").saturating_duration_since(origin.mono);
        if *timer != Some(next) {
            *timer = Some(next);
            due.push(Reverse((next, sidecar, None)));
        }
    }
    seen
}

/// Requests in the busiest step that begins between these times.
fn peak(requests: &[Duration], from: Duration, to: Duration) -> usize {
    let starts = requests.iter().filter(|at| **at >= from && **at < to);
    starts
        .map(|start| requests.iter().filter(|at| **at >= *start && **at < *start + STEP).count())
        .max()
        .unwrap_or(0)
}

const NEVER: std::ops::Range<Duration> = Duration::ZERO..Duration::ZERO;

#[test]
fn tokens_of_the_same_second_are_refreshed_a_tenth_of_their_life_apart() {
    for seed in 0..8 {
        let seen = run(seed, LIFE, NEVER, true);
        assert_eq!((seen.requests.len(), seen.dead), (SIDECARS as usize, 0), "seed {seed}");
        let (first, last) = (seen.requests[0], seen.requests[seen.requests.len() - 1]);
        assert!(last - first >= LIFE / 10 * 9 / 10, "seed {seed}: {first:?} to {last:?}");
        let steady = SIDECARS as usize * STEP.as_secs() as usize / (last - first).as_secs() as usize;
        let peak = peak(&seen.requests, first, last);
        assert!(peak <= steady * 2, "seed {seed}: {peak} in a step, {steady} on average");
    }
}

#[test]
fn after_a_minutes_outage_nobody_comes_back_twice_as_fast_as_usual() {
    for seed in 0..8 {
        let calm = run(seed, LIFE, NEVER, true);
        let (first, last) = (calm.requests[0], calm.requests[calm.requests.len() - 1]);
        let steady = SIDECARS as usize * STEP.as_secs() as usize / (last - first).as_secs() as usize;
        let away = first + (last - first) / 2;
        let back = away + SECOND * 60;
        let seen = run(seed, LIFE, away..back, true);
        let after = peak(&seen.requests, back, LIFE);
        let during = peak(&seen.requests, away, back);
        println!(
            "seed {seed}: in {STEP:?} {steady} usually, {during} at most during the outage, {after} after it"
        );
        assert!(after <= steady * 2, "seed {seed}: {after} in a step, {steady} usually");
        assert_eq!(seen.dead, 0, "seed {seed}: and nobody's token ended");
    }
}

#[test]
fn an_endpoint_that_is_away_until_all_tokens_have_ended_is_back_within_one_backoff_step() {
    for seed in 0..4 {
        let back = LIFE * 3;
        let seen = run(seed, back + SECOND * 60, Duration::from_secs(1)..back, true);
        let fresh: Vec<_> = seen.fresh.iter().filter(|at| **at >= back).collect();
        assert_eq!(fresh.len(), SIDECARS as usize, "seed {seed}");
        let last = fresh.iter().max().unwrap();
        assert!(**last <= back + SECOND * 31, "seed {seed}: {last:?}");
        println!(
            "seed {seed}: all have a token {:?} after its return, {} at most in {STEP:?}",
            **last - back,
            peak(&seen.requests, back, back + SECOND * 60)
        );
    }
}

#[test]
fn those_that_start_into_an_outage_come_one_after_another() {
    for seed in 0..4 {
        let back = SECOND * 60;
        let seen = run(seed, back + SECOND * 60, Duration::ZERO..back, false);
        assert_eq!(seen.fresh.iter().filter(|at| **at >= back).count(), SIDECARS as usize);
        let second = |at: Duration| seen.requests.iter().filter(|t| **t >= at && **t < at + SECOND).count();
        let most = (0..60).map(|n| second(back + SECOND * n)).max().unwrap();
        println!("seed {seed}: {most} in the busiest second after its return");
        assert!(most <= SIDECARS as usize / 8, "seed {seed}: {most} in one second");
    }
}
