//! Can the service of a route be reached, and what did it say? What its dials came to lately, for the status page.
//!
//! A dial that gets an answer says yes, but not the answer of a gateway that cannot reach the service itself. One that
//! gets none says no, and that stands until another one says yes: without clients nobody tries.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::upstream::Refused;
use crate::{clock::Now, telemetry::Dialled};

/// What is known of it.
#[derive(Debug, Default)]
pub struct Reach(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    unreached: Option<Unreached>,
    refused: Option<Said>,
}

/// What the service said when it refused last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// On the wall clock.
    pub at: Duration,
    /// Without secrets.
    pub text: String,
}

/// No dial has got an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Since this time of the wall clock.
    pub since: Duration,
    /// When it was tried last.
    pub last: Duration,
    /// So many in a row.
    pub failures: u64,
    /// Why, of the last one: without secrets.
    pub error: String,
}

impl Reach {
    /// What a dial came to.
    pub(super) fn note<T>(&self, opened: &Result<T, Refused>) {
        let failed = opened.as_ref().err().filter(|refused| {
            matches!(refused.outcome(), Dialled::Unreachable | Dialled::Tls | Dialled::Timeout)
        });
        let mut known = self.known();
        known.unreached = failed.map(|refused| {
            let now = Now::read().wall;
            let before = known.unreached.as_ref();
            let (since, failures) = before.map_or((now, 0), |known| (known.since, known.failures));
            Unreached { since, last: now, failures: failures.saturating_add(1), error: refused.to_string() }
        });
        if let Some(refused) = opened.as_ref().err().filter(|refused| refused.outcome() == Dialled::Rejected)
        {
            known.refused = Some(Said { at: Now::read().wall, text: refused.to_string() });
        }
    }

    /// It refused on a connection that it had accepted: in these words, without secrets.
    pub(super) fn refused(&self, text: String) {
        self.known().refused = Some(Said { at: Now::read().wall, text });
    }

    /// What it said when it refused last.
    pub fn said(&self) -> Option<Said> {
        self.known().refused.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: it can, or nobody has tried.
    pub fn unreached(&self) -> Option<Unreached> {
        self.known().unreached.clone()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn an_answer_of_the_service_ends_it() {
        let reach = Reach::default();
        let note = |refused| reach.note::<()>(&Err(refused));
        assert_eq!(reach.unreached(), None);
        note(Refused::TimedOut);
        let first = reach.unreached().unwrap();
        note(Refused::Elsewhere("no name".to_owned()));
        let second = reach.unreached().unwrap();
        assert_eq!((first.failures, second.failures, second.since), (1, 2, first.since));
        assert!(second.error.contains("no name"), "{second:?}");
        let answered =
            |status| Refused::Status { status, headers: Box::default(), body: None, retry_after: None };
        note(answered(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(reach.unreached().unwrap().failures, 3, "a gateway says so");
        note(answered(StatusCode::UNAUTHORIZED));
        assert_eq!(reach.unreached(), None, "it can be reached");
        note(Refused::TimedOut);
        note(Refused::Not101("it is another protocol"));
        assert_eq!(reach.unreached(), None, "somebody is there");
        note(Refused::TimedOut);
        reach.note(&Ok(()));
        assert_eq!(reach.unreached(), None);
    }
}
