//! A credential at work: one task that feeds its keeper, and a handle for everybody else.
//!
//! ```text
//!   demand ──► mailbox ──┐
//!   source ──► answer ───┤                       ┌──► current (ArcSwap), then waiters, then hooks
//!   deadline ────────────┼──► keeper ──► actions ┼──► log, observer
//!   secret looked at ────┘                       └──► the one fetch
//! ```
//!
//! 1. The handle never blocks and never does IO. Demands are merged where they wait, so that any number of
//!    sessions costs one place.
//! 2. A token is stored before anybody is woken: who wakes reads the new one.
//! 3. The task ends with its cancellation; a fetch under way ends with it, and waiters with their deadlines.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use opentelemetry::{Context, trace::SpanContext};
use slab::Slab;
use tokio::{sync::watch, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clients::Journal,
    keeper::{Outcome, Trigger},
    source::{ClientValues, Issued},
    supply::Supply,
    token::{Generation, Token},
};
use crate::{
    clock::{Instant, Now},
    config::{RefreshPolicy, SecretText},
};

mod accepted;
pub(super) mod name;
mod task;
mod wanted;

use accepted::{Accepted, Who};
use name::short_name;
use task::Task;
use wanted::Mailbox;

/// A fetch that ended.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The credential's name.
    pub credential: &'a str,
    /// Of the token that it brought; `None` where it failed.
    pub generation: Option<Generation>,
    pub trigger: Trigger,
    pub outcome: Outcome,
    pub took: Duration,
    /// Why it failed, for people; without secrets.
    pub error: Option<&'a str>,
    /// The span that `began` gave it.
    pub span: &'a Context,
}

/// The refresh that brought a token, for those who trace.
#[derive(Debug)]
pub struct Traced {
    pub generation: Generation,
    pub span: SpanContext,
    pub ended: Instant,
}

/// What counts the refreshes of a route.
pub trait Observer: Send + Sync {
    /// A fetch begins; the span that it is, if somebody traces.
    fn began(&self, _trigger: Trigger) -> Context {
        Context::new()
    }
    /// A fetch ended.
    fn refreshed(&self, fetch: &Fetch<'_>);
    /// From now on this token is the current one.
    fn current(&self, token: &Token);
}

/// What a credential tells those who have subscribed.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// This token is the current one now.
    Token(&'a Token),
    /// The source has refused for good, and no token is left.
    Hopeless,
}

/// Called with each piece of news, on the credential's task: it must only wake somebody.
pub type Hook = Box<dyn Fn(News<'_>) + Send + Sync>;

type Hooks = Slab<Arc<dyn Fn(News<'_>) + Send + Sync>>;

/// What a credential begins with.
pub enum Begin {
    /// Its source is asked for a token at once.
    Fetch,
    /// A client's own token.
    Adopt { issued: Issued, generation: Generation },
}

/// What a credential is made of.
pub struct Spec {
    pub route: String,
    /// Tells the credentials of one route apart; empty where all clients share one.
    pub identity: SecretText,
    pub begin: Begin,
    pub supply: Supply,
    pub policy: RefreshPolicy,
    /// Of the jitter.
    pub seed: u64,
    pub observer: Arc<dyn Observer>,
    /// Where it is written down that a client's token was superseded; it also says when the credential ends.
    pub journal: Option<Journal>,
}

/// The handle of a credential.
pub struct Credential {
    route: String,
    name: Arc<str>,
    current: ArcSwapOption<Token>,
    status: ArcSwap<Status>,
    seen: Seen,
    /// The newest generation; who waits for a token waits for this to change.
    newest: watch::Sender<Generation>,
    mailbox: Mailbox,
    hooks: Mutex<Hooks>,
    /// What the templates of the source name, as the client that came last had it.
    values: ArcSwap<ClientValues>,
    /// Sessions that show a token of it to a service at this moment.
    busy: Mutex<usize>,
    /// Which token the service accepted last.
    accepted: Mutex<Accepted>,
    /// Where the current token comes from, if somebody traces.
    traced: ArcSwapOption<Traced>,
}

/// What a scrape counts of a credential, on the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Glance {
    /// When the current token was issued; `None` before the first.
    pub issued: Option<Duration>,
    /// When it ends; `None` where nobody told.
    pub ends: Option<Duration>,
    /// When the refresh token ends; `None` if there is none, or nobody told.
    pub refresh_ends: Option<Duration>,
    pub failing: bool,
}

/// The same in numbers: milliseconds, 0 for none.
#[derive(Default)]
struct Seen {
    issued: AtomicU64,
    ends: AtomicU64,
    refresh_ends: AtomicU64,
    failing: AtomicBool,
}

/// How the refresh of a credential stands, for people.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub refreshes: u64,
    /// Since the last fetch that did not fail.
    pub failures: u64,
    /// When the current token came, on the wall clock, and how long it took to fetch.
    pub last_refresh: Option<(Duration, Duration)>,
    /// Why the last fetch failed; `None` where it did not.
    pub last_error: Option<String>,
    /// When the next fetch is sent; `None` while one is under way, or where none is planned.
    pub next_fetch: Option<Instant>,
    pub fetching: bool,
}

impl Credential {
    /// Starts the credential's task on `tasks`; it runs until `stop`.
    pub fn spawn(spec: Spec, tasks: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let credential = Arc::new(Self {
            name: short_name(&spec.route, &spec.identity).into(),
            route: spec.route.clone(),
            current: ArcSwapOption::empty(),
            status: ArcSwap::from_pointee(Status::default()),
            seen: Seen::default(),
            newest: watch::Sender::new(Generation::default()),
            mailbox: Mailbox::default(),
            hooks: Mutex::new(Slab::new()),
            values: ArcSwap::default(),
            busy: Mutex::default(),
            accepted: Mutex::default(),
            traced: ArcSwapOption::empty(),
        });
        let task = Task::new(credential.clone(), spec);
        tasks.spawn(async move {
            stop.run_until_cancelled(Box::pin(task.run())).await;
        });
        credential
    }

    /// A short keyed hash, for logs: it tells credentials apart, and nothing about them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The route it belongs to.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The current token, which may have expired; `None` before the first.
    pub fn current(&self) -> Option<Arc<Token>> {
        self.current.load_full()
    }

    /// The refresh that brought the token of this generation; `None` if it was another one's, or nobody traces.
    pub fn traced(&self, generation: Generation) -> Option<Arc<Traced>> {
        self.traced.load_full().filter(|traced| traced.generation == generation)
    }

    /// What a scrape counts of it. There may be thousands, so that neither the token nor the status is touched.
    pub fn glance(&self) -> Glance {
        let seen =
            |at: &AtomicU64| Some(at.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Duration::from_millis);
        Glance {
            issued: seen(&self.seen.issued),
            ends: seen(&self.seen.ends),
            refresh_ends: seen(&self.seen.refresh_ends),
            failing: self.seen.failing.load(Ordering::Relaxed),
        }
    }

    fn set_status(&self, status: Status) {
        self.seen.failing.store(status.last_error.is_some(), Ordering::Relaxed);
        self.status.store(Arc::new(status));
    }

    /// How its refresh stands.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// The current token as soon as it is one that has not expired; `None` where that is not so by
    /// `deadline`.
    pub async fn usable(&self, deadline: Instant) -> Option<Arc<Token>> {
        self.wait(deadline, |_| true).await
    }

    /// A token that is newer than `generation` and has not expired; `None` where there is none by `deadline`.
    pub async fn newer(&self, generation: Generation, deadline: Instant) -> Option<Arc<Token>> {
        self.wait(deadline, |token| token.generation > generation).await
    }

    async fn wait(&self, deadline: Instant, fits: impl Fn(&Token) -> bool) -> Option<Arc<Token>> {
        let mut newest = self.newest.subscribe();
        loop {
            newest.mark_unchanged();
            if let Some(token) = self.current().filter(|token| fits(token)) {
                if !token.is_expired(Now::read()) {
                    return Some(token);
                }
                // The host has slept, or the source is down. The keeper may not have looked yet.
                self.demand(Some(token.generation), Trigger::Expiry);
            }
            match time::timeout_at(deadline, newest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    /// Asks for a newer token. `rejected` is the generation that was turned down, or that the service wants
    /// replaced: where it is no longer the current one, nothing happens.
    pub fn demand(&self, rejected: Option<Generation>, trigger: Trigger) {
        self.mailbox.put(rejected, trigger);
    }

    /// The service let this session in with the token of this generation.
    pub fn accepted(&self, generation: Generation, who: Who, now: Instant) {
        self.acceptances().accepted(generation, who, now);
    }

    /// Did the service just let others in with this token? Then it is not to blame if somebody new is refused.
    pub fn is_vouched_for(&self, generation: Generation, now: Instant) -> bool {
        self.acceptances().vouched(generation, None, now)
    }

    /// The service refused a session that it had let in before. Is the token of this generation to blame?
    pub fn is_to_blame(&self, generation: Generation, who: Who, now: Instant) -> bool {
        self.acceptances().refused(generation, who, now)
    }

    fn acceptances(&self) -> MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that what the source is asked with has changed, without waiting for the next look.
    pub fn secret_changed(&self) {
        self.mailbox.put_secret_changed();
    }

    /// Has tokens come from another source henceforth, under another policy. The current token stays in use.
    pub fn resupply(&self, supply: Supply, policy: RefreshPolicy) {
        self.mailbox.put_supply(supply, policy);
    }

    /// Says whether anybody is on the credential: where not, nothing is fetched.
    pub(super) fn set_active(&self, active: bool) {
        self.mailbox.put_active(active);
    }

    /// Says what the templates of the source stand for from now on.
    pub(super) fn set_values(&self, values: ClientValues) {
        self.values.store(Arc::new(values));
    }

    /// A token of it is being shown to a service, until what is returned is dropped: a refresh waits for that.
    pub fn showing(self: &Arc<Self>) -> Showing {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy += 1;
        if *busy == 1 {
            self.mailbox.put_busy(true);
        }
        Showing(Arc::clone(self))
    }

    /// Has `hook` called after each publish, until the subscription is dropped.
    pub fn subscribe(self: &Arc<Self>, hook: Hook) -> Subscription {
        let key = self.hooks().insert(Arc::from(hook));
        Subscription { credential: self.clone(), key }
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, token: Token) {
        let millis = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX).max(1);
        self.seen.issued.store(millis(token.issued.wall), Ordering::Relaxed);
        self.seen.ends.store(token.expires_wall.map_or(0, millis), Ordering::Relaxed);
        self.seen.refresh_ends.store(token.refresh_ends.map_or(0, millis), Ordering::Relaxed);
        let token = Arc::new(token);
        self.current.store(Some(token.clone()));
        self.newest.send_replace(token.generation);
        self.tell_all(News::Token(&token));
    }

    fn tell_all(&self, news: News<'_>) {
        // A hook may subscribe or leave: none is called under the lock.
        let hooks: Vec<_> = self.hooks().iter().map(|(_, hook)| hook.clone()).collect();
        for hook in hooks {
            hook(news);
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} {})", self.route, self.name)
    }
}

/// Keeps a hook; dropped, the hook is no longer called.
#[must_use = "a subscription that is dropped ends at once"]
#[derive(Debug)]
pub struct Subscription {
    credential: Arc<Credential>,
    key: usize,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.credential.hooks().try_remove(self.key);
    }
}

/// Held while a token is being shown to a service.
#[derive(Debug)]
pub struct Showing(Arc<Credential>);

impl Drop for Showing {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy = busy.saturating_sub(1);
        if *busy == 0 {
            self.0.mailbox.put_busy(false);
        }
    }
}

#[cfg(test)]
mod tests;
