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
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use slab::Slab;
use tokio::{sync::watch, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::field::DebugValue;

use super::{
    clients::Journal,
    keeper::{Action, Event, Fetched, Keeper, Outcome, Report, Trigger},
    source::{Asking, ClientValues, Issued, Source, SourceError},
    supply::Supply,
    token::{Generation, Token},
};
use crate::{
    clock::{self, Instant, Now},
    config::RefreshPolicy,
};

pub(super) mod name;
mod wanted;

use name::short_name;
use wanted::Mailbox;

/// What counts the refreshes of a route.
pub trait Observer: Send + Sync {
    /// A fetch ended.
    fn refreshed(&self, trigger: Trigger, outcome: Outcome, took: Duration);
    /// From now on this token is the current one.
    fn current(&self, issued_wall: Duration, expires_wall: Option<Duration>);
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
    pub identity: String,
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
    name: String,
    current: ArcSwapOption<Token>,
    status: ArcSwap<Status>,
    /// The newest generation; who waits for a token waits for this to change.
    newest: watch::Sender<Generation>,
    mailbox: Mailbox,
    hooks: Mutex<Hooks>,
    /// What the templates of the source name, as the client that came last had it.
    values: ArcSwap<ClientValues>,
    /// Sessions that show a token of it to a service at this moment.
    busy: Mutex<usize>,
}

/// How the refresh of a credential stands, for people.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub refreshes: u64,
    pub failures: u64,
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
            name: short_name(&spec.route, &spec.identity),
            route: spec.route,
            current: ArcSwapOption::empty(),
            status: ArcSwap::from_pointee(Status::default()),
            newest: watch::Sender::new(Generation::default()),
            mailbox: Mailbox::default(),
            hooks: Mutex::new(Slab::new()),
            values: ArcSwap::default(),
            busy: Mutex::default(),
        });
        let task = Task {
            credential: credential.clone(),
            timeout: spec.policy.timeout,
            keeper: Keeper::new(spec.policy, spec.seed)
                .kept_elsewhere(spec.supply.source().is_kept_elsewhere()),
            begin: Some(spec.begin),
            supply: spec.supply,
            observer: spec.observer,
            journal: spec.journal,
            fetch: None,
            asked_with: None,
        };
        tasks.spawn(async move {
            stop.run_until_cancelled(Box::pin(task.run())).await;
        });
        credential
    }

    /// A short keyed hash, for logs: it tells credentials apart, and nothing about them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The route it belongs to.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The current token, which may have expired; `None` before the first.
    pub fn current(&self) -> Option<Arc<Token>> {
        self.current.load_full()
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

    /// Says that what the source is asked with has changed, without waiting for the next look.
    pub fn secret_changed(&self) {
        self.mailbox.put_secret_changed();
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

/// The one that owns the keeper.
struct Task {
    credential: Arc<Credential>,
    keeper: Keeper,
    timeout: Duration,
    begin: Option<Begin>,
    supply: Supply,
    observer: Arc<dyn Observer>,
    journal: Option<Journal>,
    fetch: Option<Fetching>,
    /// What the source was asked with when it was last looked at, hashed.
    asked_with: Option<[u8; 32]>,
}

struct Fetching {
    ticket: u64,
    answer: Pin<Box<dyn Future<Output = Result<Issued, SourceError>> + Send>>,
}

/// Why the task woke up.
enum Woken {
    Answer(Result<Issued, SourceError>),
    Mail,
    Deadline,
    Look,
}

impl From<Issued> for Fetched {
    fn from(issued: Issued) -> Self {
        Self { text: issued.text, life: issued.life, taken_over: issued.taken_over }
    }
}

impl Task {
    async fn run(mut self) {
        self.asked_with = look(self.supply.source()).await;
        let begin = match self.begin.take() {
            Some(Begin::Adopt { issued, generation }) => {
                Event::Adopted { fetched: issued.into(), generation }
            }
            Some(Begin::Fetch) | None => Event::Started,
        };
        self.tell(begin).await;
        let mut next_look = clock::now() + self.supply.look_every();
        while !self.is_over() {
            let deadline = self.keeper.deadline().unwrap_or(next_look);
            let credential = self.credential.clone();
            let woken = tokio::select! {
                biased;
                answer = answer(self.fetch.as_mut()) => Woken::Answer(answer),
                () = credential.mailbox.filled() => Woken::Mail,
                () = time::sleep_until(deadline) => Woken::Deadline,
                () = time::sleep_until(next_look) => Woken::Look,
            };
            match woken {
                Woken::Answer(answer) => self.answered(answer).await,
                Woken::Mail => {
                    for event in credential.mailbox.take() {
                        self.tell(event).await;
                    }
                }
                Woken::Deadline => self.tell(Event::Timer).await,
                Woken::Look => {
                    next_look = clock::now() + self.supply.look_every();
                    let seen = look(self.supply.source()).await;
                    // What cannot be read now was not changed: it will be looked at again.
                    if seen.is_some() && seen != self.asked_with {
                        self.asked_with = seen;
                        self.tell(Event::SecretChanged).await;
                    }
                    if self.fetch.is_none()
                        && let Some(issued) =
                            self.supply.offered(self.credential.current().as_deref(), Now::read()).await
                    {
                        self.tell(Event::Offered(issued.into())).await;
                    }
                }
            }
        }
    }

    /// Has the last client of the credential gone, and everything under way come to its end?
    fn is_over(&self) -> bool {
        self.fetch.is_none() && self.journal.as_ref().is_some_and(|journal| journal.retire(&self.credential))
    }

    async fn answered(&mut self, answer: Result<Issued, SourceError>) {
        let Some(Fetching { ticket, .. }) = self.fetch.take() else { return };
        let event = match answer {
            Ok(issued) => Event::Fetched { ticket, fetched: issued.into() },
            Err(error) => Event::Failed { ticket, failure: error.into() },
        };
        self.tell(event).await;
        self.supply.settled().await;
    }

    async fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        let now = Now::read();
        self.keeper.on_event(event, now, &mut actions);
        for action in actions {
            match action {
                Action::Fetch { ticket, .. } => self.start(ticket, now),
                Action::Publish(token) => {
                    // What cannot be asked for twice is durable before it is used.
                    if let (Some(journal), Some(old)) = (&self.journal, self.credential.current()) {
                        journal.superseded(&self.credential, &old, &token, now).await;
                    }
                    self.observer.current(token.issued.wall, token.expires_wall);
                    self.credential.publish(token);
                }
                Action::Hopeless => self.credential.tell_all(News::Hopeless),
                Action::Report(report) => self.report(&report),
            }
        }
        let old = self.credential.status();
        self.credential.status.store(Arc::new(Status {
            next_fetch: self.keeper.next_fetch(),
            fetching: self.fetch.is_some(),
            ..Status::clone(&old)
        }));
    }

    fn start(&mut self, ticket: u64, now: Now) {
        let supply = self.supply.clone();
        let client = self.credential.values.load_full();
        let asking = Asking { current: self.credential.current(), client, refresh_token: None };
        let deadline = now.mono + self.timeout;
        let answer = Box::pin(async move { supply.fetch(asking, now, deadline).await });
        self.fetch = Some(Fetching { ticket, answer });
    }

    fn report(&mut self, report: &Report) {
        let (route, credential) = (self.credential.route(), self.credential.name());
        let mut status = Status::clone(&self.credential.status());
        match report {
            Report::Refreshed { generation, trigger, took, expires_in, next_refresh_in } => {
                tracing::info!(
                    route,
                    credential,
                    %generation,
                    trigger = trigger.as_str(),
                    took = short(*took),
                    expires_in = expires_in.map(short),
                    next_refresh_in = next_refresh_in.map(short),
                    "token refreshed"
                );
                self.observer.refreshed(*trigger, Outcome::Ok, *took);
                status.refreshes += 1;
                status.last_error = None;
            }
            Report::TakenOver { generation, expires_in, next_refresh_in } => {
                let (expires_in, next_refresh_in) = (expires_in.map(short), next_refresh_in.map(short));
                tracing::info!(route, credential, %generation, expires_in, next_refresh_in, "token taken over");
                status.last_error = None;
            }
            Report::Unchanged { trigger } => {
                let trigger = trigger.as_str();
                tracing::debug!(route, credential, trigger, "the source still has the current token");
                status.last_error = None;
            }
            Report::Failed { trigger, terminal, reason, took, retry_in, still_valid_for } => {
                let (trigger_name, retry_in) = (trigger.as_str(), short(*retry_in));
                let still_valid_for = still_valid_for.map(short);
                if *terminal {
                    tracing::error!(route, credential, trigger = trigger_name, error = %reason,
                        retry_in, still_valid_for, terminal, "token refresh failed");
                } else {
                    tracing::warn!(route, credential, trigger = trigger_name, error = %reason,
                        retry_in, still_valid_for, "token refresh failed");
                }
                let outcome = if *terminal { Outcome::Rejected } else { Outcome::Failed };
                self.observer.refreshed(*trigger, outcome, *took);
                status.failures += 1;
                status.last_error = Some(reason.clone());
            }
        }
        self.credential.status.store(Arc::new(status));
    }
}

/// A duration as people read it: nobody needs its nanoseconds.
fn short(duration: Duration) -> DebugValue<Duration> {
    tracing::field::debug(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

/// What the source would be asked with now.
async fn look(source: &Source) -> Option<[u8; 32]> {
    source.asked_with().await.map(|secret| name::hashed(&[&secret]))
}

/// The answer to the fetch under way; never, where there is none.
async fn answer(fetch: Option<&mut Fetching>) -> Result<Issued, SourceError> {
    match fetch {
        Some(fetching) => fetching.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
