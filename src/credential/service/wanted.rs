//! Demands on their way to the task: merged where they wait, so that none is lost and they take one place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{
    config::RefreshPolicy,
    credential::{
        keeper::{Event, Trigger},
        supply::Supply,
        token::Generation,
    },
};

#[derive(Default)]
pub(super) struct Mailbox {
    wanted: Mutex<Wanted>,
    filled: Notify,
}

#[derive(Default)]
struct Wanted {
    /// The newest generation that was turned down. An older one is no longer the current one anyway.
    rejected: Option<(Generation, Trigger)>,
    /// Somebody wants a new token, whichever the current one is.
    anyway: Option<Trigger>,
    secret_changed: bool,
    /// Whether anybody is on the credential, where that has changed.
    active: Option<bool>,
    busy: Option<bool>,
    /// Another source, and another policy.
    supply: Option<Resupply>,
}

/// Where tokens come from henceforth, and when they are asked for.
pub(super) struct Resupply {
    pub(super) supply: Supply,
    pub(super) policy: RefreshPolicy,
}

impl Mailbox {
    pub(super) fn put(&self, rejected: Option<Generation>, trigger: Trigger) {
        let mut wanted = self.wanted();
        match rejected {
            Some(generation) => {
                if wanted.rejected.is_none_or(|(known, _)| known < generation) {
                    wanted.rejected = Some((generation, trigger));
                }
            }
            // An operator hurries, so that one counts.
            None if trigger == Trigger::Operator => wanted.anyway = Some(trigger),
            None => {
                wanted.anyway.get_or_insert(trigger);
            }
        }
        self.filled.notify_one();
    }

    pub(super) fn put_secret_changed(&self) {
        self.wanted().secret_changed = true;
        self.filled.notify_one();
    }

    pub(super) fn put_active(&self, active: bool) {
        self.wanted().active = Some(active);
        self.filled.notify_one();
    }

    pub(super) fn put_busy(&self, busy: bool) {
        self.wanted().busy = Some(busy);
        self.filled.notify_one();
    }

    pub(super) fn put_supply(&self, supply: Supply, policy: RefreshPolicy) {
        self.wanted().supply = Some(Resupply { supply, policy });
        self.filled.notify_one();
    }

    /// The newest of them.
    pub(super) fn take_supply(&self) -> Option<Resupply> {
        self.wanted().supply.take()
    }

    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// What has come since the last time.
    pub(super) fn take(&self) -> impl Iterator<Item = Event> + use<> {
        let mut wanted = self.wanted();
        let kept = wanted.supply.take();
        let Wanted { rejected, anyway, secret_changed, active, busy, .. } =
            std::mem::replace(&mut *wanted, Wanted { supply: kept, ..Wanted::default() });
        drop(wanted);
        let rejected =
            rejected.map(|(generation, trigger)| Event::Demanded { rejected: Some(generation), trigger });
        let anyway = anyway.map(|trigger| Event::Demanded { rejected: None, trigger });
        let secret = secret_changed.then_some(Event::SecretChanged);
        // Who comes may demand, and who demands may have gone: the one before, the other behind.
        let here = active.filter(|active| *active).map(Event::Active);
        let gone = active.filter(|active| !*active).map(Event::Active);
        [here, busy.map(Event::Busy), rejected, anyway, secret, gone].into_iter().flatten()
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
