//! What fails today, and is known: each names the finding that it shows, and `tests/README.md` lists all of them.
//!
//! An expected failure that passes fails its test: then what it stands for is done, and it becomes a test like any
//! other by losing this wrapper.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::seeds;

/// Runs what is known to fail because of `finding`, with a paused clock.
pub fn expected_failure(finding: &str, run: impl AsyncFn()) {
    let failed = catch_unwind(AssertUnwindSafe(|| seeds::paused(1, &async |_| run().await)));
    let said = match failed {
        Ok(()) => panic!("unexpectedly good: {finding} is no failure any more; take it off the list"),
        Err(panic) => panic.downcast::<String>().map_or_else(|_| "no words".to_owned(), |said| *said),
    };
    println!("expected to fail ({finding}): {said}");
    assert!(!said.contains("setting up"), "{finding}: it fails for another reason: {said}");
}
