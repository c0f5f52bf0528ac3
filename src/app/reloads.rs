//! Reloads that operators have asked for, and wait for.
//!
//! ```text
//!   POST /reload ──► ask ──► waiting ──► a reload begins: all who wait now are told its result
//!   SIGHUP, --watch ───────────────────► the same reload
//! ```
//!
//! Who asks while one is under way is told of the next: the file may have changed after it was read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::admin::{Denied, done::Reloaded};

/// Those who wait. Each holds a connection of the admin server, so they are few.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// `None`: nobody reloads here.
    waiting: Mutex<Option<Vec<oneshot::Sender<Reloaded>>>>,
    asked: Notify,
}

/// Those who are told of one reload.
pub(super) struct Waiting(Vec<oneshot::Sender<Reloaded>>);

impl Reloads {
    /// From now on reloads are done.
    pub(super) fn open(&self) {
        *self.waiting() = Some(Vec::new());
    }

    /// No more: who waits is told so.
    pub(super) fn close(&self) {
        *self.waiting() = None;
    }

    /// Asks for one. What comes is its result, or nothing if the sidecar ends before.
    pub(super) fn ask(&self) -> Result<oneshot::Receiver<Reloaded>, Denied> {
        let (tell, told) = oneshot::channel();
        match &mut *self.waiting() {
            Some(waiting) => waiting.push(tell),
            None => {
                let why = "nothing can be reloaded: it is about to end, or runs without a configuration file";
                return Err(Denied::Forbidden(why.to_owned()));
            }
        }
        self.asked.notify_one();
        Ok(told)
    }

    /// Waits until somebody waits. Dropping it loses nothing.
    pub(super) async fn asked(&self) {
        while self.waiting().as_ref().is_none_or(Vec::is_empty) {
            self.asked.notified().await;
        }
    }

    /// A reload begins.
    pub(super) fn begin(&self) -> Waiting {
        Waiting(self.waiting().as_mut().map(std::mem::take).unwrap_or_default())
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<Reloaded>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// It has ended.
    pub(super) fn tell(self, done: &Reloaded) {
        for one in self.0 {
            // Who has gone need not know.
            let _ = one.send(done.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn several_are_told_of_one_and_who_asks_meanwhile_of_the_next() {
        let reloads = Reloads::default();
        assert!(matches!(reloads.ask(), Err(Denied::Forbidden(_))), "nobody reloads here");
        reloads.open();
        assert!(reloads.asked().now_or_never().is_none());
        let (first, second) = (reloads.ask().unwrap(), reloads.ask().unwrap());
        drop(reloads.ask().unwrap());
        reloads.asked().now_or_never().expect("they wait");
        let waiting = reloads.begin();
        assert!(reloads.asked().now_or_never().is_none(), "they are served");
        let mut late = reloads.ask().unwrap();
        let done = Reloaded { added: vec!["a".into()], ..Reloaded::default() };
        waiting.tell(&done);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (done.clone(), done));
        assert!(poll!(&mut late).is_pending());
        reloads.asked().now_or_never().expect("one more");
        reloads.close();
        assert!(late.await.is_err() && reloads.ask().is_err());
    }
}
