//! The core under a seeded simulation: refreshes, losses, slow and failing token endpoints, rejected and
//! unanswered exchanges, steps of the wall clock; the invariants of the design after every step.
//!
//! A failing run names its seed: `PERENNIAL_SEED=7 cargo test --all-features --test simulation` runs just that one.
//! `PERENNIAL_SEEDS=10000` runs as many.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    reason = "tests fail by panicking; a world is told once"
)]

mod alarm;
#[allow(dead_code, reason = "shared with the simulated network")]
mod client;
mod service;
mod swaps;
mod world;

use std::time::Duration;

use world::{Plan, Tally, World};

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PERENNIAL_SEED") {
        return seed..seed + 1;
    }
    0..number("PERENNIAL_SEEDS").unwrap_or(256)
}

fn stormy(seed: u64) -> Plan {
    Plan {
        seed,
        sessions: 4,
        length: Duration::from_secs(120),
        lifetime: Duration::from_secs(6 + seed % 7),
        every: Duration::from_millis(150),
        faults: Some(Duration::from_millis(1500 + 100 * (seed % 40))),
    }
}

fn add(sum: &mut Tally, tally: Tally) {
    sum.exchanges += tally.exchanges;
    sum.resumes += tally.resumes;
    sum.generations += tally.generations;
    sum.fetches += tally.fetches;
    sum.up += tally.up;
    sum.down += tally.down;
    sum.faults += tally.faults;
}

#[test]
fn nothing_is_lost_whatever_happens() {
    let mut sum = Tally::default();
    for seed in seeds() {
        add(&mut sum, World::new(stormy(seed)).run());
    }
    println!("{sum:?}");
    if seeds().count() >= 256 {
        assert!(sum.exchanges >= 10_000, "the storm should leave room for exchanges: {sum:?}");
        assert!(sum.resumes >= 5_000 && sum.faults >= 5_000, "{sum:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(World::new(stormy(42)).run(), World::new(stormy(42)).run());
    assert_ne!(World::new(stormy(42)).run().trace, World::new(stormy(43)).run().trace);
}

#[test]
fn a_day_of_twenty_sessions() {
    let day = Plan {
        seed: 1,
        sessions: 20,
        length: Duration::from_secs(24 * 3600),
        lifetime: Duration::from_secs(300),
        every: Duration::from_secs(5),
        faults: Some(Duration::from_secs(600)),
    };
    let tally = World::new(day).run();
    println!("{tally:?}");
    assert!(tally.generations >= 288, "{tally:?}");
    assert!(tally.exchanges >= 20 * 288, "{tally:?}");
}

#[test]
fn in_fair_weather_each_generation_is_fetched_once_and_shown_to_each() {
    let calm = Plan { faults: None, sessions: 50, length: Duration::from_secs(300), ..stormy(5) };
    let tally = World::new(calm).run();
    println!("{tally:?}");
    assert_eq!(tally.fetches, tally.generations, "one request for each token");
    assert_eq!(tally.resumes, 0, "nobody was disconnected");
}

/// Every kind of service and of route, by the seed.
fn weather(seed: u64) -> swaps::Weather {
    let bit = |nth: u64| seed >> nth & 1 == 1;
    swaps::Weather {
        seed,
        storm: bit(0),
        to_all: bit(1),
        discard: bit(2),
        break_first: bit(3),
        wanders: bit(4),
    }
}

#[test]
fn a_swap_loses_nothing_that_is_not_counted() {
    let mut sum = swaps::Tally::default();
    for seed in seeds() {
        let tally = swaps::World::new(weather(seed)).run();
        assert!(tally.doubts == 0 || weather(seed).storm, "seed {seed}: doubts in fair weather");
        sum.swaps += tally.swaps;
        sum.doubts += tally.doubts;
        sum.kept += tally.kept;
        sum.discarded += tally.discarded;
        sum.returns += tally.returns;
        sum.up += tally.up;
        sum.down += tally.down;
    }
    println!("{sum:?}");
    if seeds().count() >= 256 {
        assert!(sum.swaps >= 2_500 && sum.doubts >= 500 && sum.returns >= 1_000, "{sum:?}");
        assert!(sum.kept >= 500 && sum.discarded >= 250, "{sum:?}");
    }
}
