//! Looks at files on a thread of their own: a file system that hangs holds that thread, and nobody else.
//!
//! ```text
//!   look() ──► a thread looks ──── done in time ──► its caller goes on with what is there now
//!     │                       └─── not ───────────► its caller goes on with what was there before
//!     └ one is under way ──► waits for that one, no longer than until its time is over
//! ```
//!
//! 1. One look at a time: however many ask, a file system that hangs has one thread.
//! 2. Nobody waits for a look beyond its time, which counts from its beginning.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::clock::{self, Instant};

/// How long a look may hold who asks for it: a disk answers in less, and a thread that relays can spare it.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Lets one look at a time be under way.
#[derive(Default)]
pub struct Looker {
    /// When the look that is under way began.
    began: Mutex<Option<Instant>>,
    ended: Condvar,
}

impl Looker {
    /// Has somebody else look: `look` runs on a thread of its own, unless one is under way. Returns when a look has
    /// ended, and at the latest when it has taken `patience`.
    pub fn look(self: &Arc<Self>, patience: Duration, look: impl FnOnce() + Send + 'static) {
        let now = clock::now();
        let under_way = {
            let mut began = self.began();
            let since = *began;
            began.get_or_insert(now);
            since
        };
        if under_way.is_none() {
            let ends = UnderWay(Arc::clone(self));
            // What is logged there belongs to the log of who asked.
            let log = tracing::dispatcher::get_default(Clone::clone);
            // If there is no thread for it, the look has ended at once.
            drop(thread::Builder::new().name("look".to_owned()).spawn(move || {
                let _ends = ends;
                tracing::dispatcher::with_default(&log, look);
            }));
        }
        let since = under_way.unwrap_or(now);
        let left = patience.saturating_sub(now.saturating_duration_since(since));
        drop(self.ended.wait_timeout_while(self.began(), left, |began| *began == Some(since)));
    }

    fn began(&self) -> MutexGuard<'_, Option<Instant>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until it is dropped, a look is under way.
struct UnderWay(Arc<Looker>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.began() = None;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_look_has_ended_when_its_caller_goes_on() {
        let (looker, looks) = (Arc::new(Looker::default()), Arc::new(AtomicU32::new(0)));
        for n in 1..=3 {
            let count = Arc::clone(&looks);
            looker.look(LONG, move || assert!(count.fetch_add(1, Ordering::Relaxed) < 9));
            assert_eq!(looks.load(Ordering::Relaxed), n);
        }
    }

    #[test]
    fn a_look_that_hangs_is_the_only_one_and_holds_nobody() {
        let (looker, looks) = (Arc::new(Looker::default()), Arc::new(AtomicU32::new(0)));
        let (answer, hangs) = mpsc::channel::<()>();
        let count = Arc::clone(&looks);
        looker.look(PATIENCE, move || {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = hangs.recv();
        });
        for _ in 0..1000 {
            looker.look(PATIENCE, || unreachable!("one is under way"));
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        // Who asks last waits for its end.
        answer.send(()).unwrap();
        looker.look(LONG, || {});
        let count = Arc::clone(&looks);
        looker.look(LONG, move || assert!(count.fetch_add(1, Ordering::Relaxed) < 9));
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_look_that_panics_has_ended() {
        let looker = Arc::new(Looker::default());
        looker.look(LONG, || panic!("on purpose"));
        let (tell, told) = mpsc::channel();
        looker.look(LONG, move || tell.send(()).unwrap());
        told.try_recv().unwrap();
    }
}
