//! Seeds: many runs, each with a clock of its own; one that fails says how to see it again.
//!
//! `PERENNIAL_SEED=7` runs just that one, `PERENNIAL_SEEDS=5000` as many; `PERENNIAL_LOG=debug` shows
//! what the proxy logs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc,
    time::Duration,
};

/// Real time that one run may take: a hundred times what it does. Beyond it, somebody turns in circles and the
/// paused clock stands still.
const REAL: Duration = Duration::from_secs(60);

/// Simulated time that one run may take.
const SIMULATED: Duration = Duration::from_secs(4 * 3600);

/// The seeds to run if nobody wants others.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("PERENNIAL_SEED"), number("PERENNIAL_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(usual),
    }
}

/// Are these the usual seeds, so that sums over all of them can be judged?
pub fn all_ran() -> bool {
    std::env::var_os("PERENNIAL_SEED").is_none() && std::env::var_os("PERENNIAL_SEEDS").is_none()
}

/// Runs each seed with a paused clock of its own; what they came to.
pub fn each<T>(test: &str, usual: u64, run: impl AsyncFn(u64) -> T) -> Vec<T> {
    seeds(usual).map(|seed| one(test, seed, &run)).collect()
}

/// Runs one seed.
pub fn one<T>(test: &str, seed: u64, run: &impl AsyncFn(u64) -> T) -> T {
    let replay = format!("PERENNIAL_SEED={seed} cargo test --all-features --test network -- {test}");
    let (done, is_done) = mpsc::channel::<()>();
    let said = replay.clone();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(REAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("time stands still in seed {seed}; to see it again: {said}");
            std::process::exit(101);
        }
    });
    if let Ok(filter) = std::env::var("PERENNIAL_LOG") {
        let _ = tracing_subscriber::fmt().with_env_filter(filter).without_time().try_init();
    }
    let ran = catch_unwind(AssertUnwindSafe(|| paused(seed, run)));
    drop(done);
    let _ = guard.join();
    ran.unwrap_or_else(|panic| {
        eprintln!("seed {seed} failed; to see it again: {replay}");
        resume_unwind(panic)
    })
}

/// Runs with a paused clock; the jitter of the proxy comes from this thread's generator.
pub fn paused<T>(seed: u64, run: &impl AsyncFn(u64) -> T) -> T {
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let all = runtime.block_on(async { tokio::time::timeout(SIMULATED, run(seed)).await });
    all.unwrap_or_else(|_| panic!("setting up: it goes on for more than {SIMULATED:?}"))
}
