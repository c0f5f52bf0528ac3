//! The task of a credential: the one that owns the keeper, does what it says, and tells it what happens.

use std::{pin::Pin, sync::Arc, time::Duration};

use opentelemetry::{
    Context,
    trace::{FutureExt, TraceContextExt},
};
use tokio::time;

use super::{Begin, Credential, Fetch, News, Observer, Spec, Status, Traced, name, wanted::Resupply};
use crate::{
    clock::{self, Instant, Now, milliseconds},
    credential::{
        Generation,
        clients::Journal,
        keeper::{Action, Event, Fetched, Keeper, Outcome, Report, Trigger},
        source::{Asking, Issued, Source, SourceError},
        supply::{Offer, Supply},
    },
    net::trace,
};

/// The one that owns the keeper.
pub(super) struct Task {
    credential: Arc<Credential>,
    keeper: Keeper,
    timeout: Duration,
    begin: Option<Begin>,
    supply: Supply,
    observer: Arc<dyn Observer>,
    journal: Option<Journal>,
    fetch: Option<Fetching>,
    /// The span of the fetch whose answer the keeper is being told.
    span: Context,
    /// What the source was asked with when it was last looked at, hashed.
    asked_with: Option<[u8; 32]>,
}

struct Fetching {
    ticket: u64,
    span: Context,
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
        Self { text: issued.text, life: issued.life, provenance: issued.provenance }
    }
}

impl Task {
    pub(super) fn new(credential: Arc<Credential>, spec: Spec) -> Self {
        Self {
            credential,
            timeout: spec.policy.timeout,
            keeper: Keeper::new(spec.policy, spec.seed),
            begin: Some(spec.begin),
            supply: spec.supply,
            observer: spec.observer,
            journal: spec.journal,
            fetch: None,
            span: Context::new(),
            asked_with: None,
        }
    }

    pub(super) async fn run(mut self) {
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
            let deadline = self.keeper.deadline();
            let credential = self.credential.clone();
            let woken = tokio::select! {
                biased;
                answer = answer(self.fetch.as_mut()) => Woken::Answer(answer),
                () = credential.mailbox.filled() => Woken::Mail,
                () = time::sleep_until(deadline.unwrap_or(next_look)), if deadline.is_some() => Woken::Deadline,
                () = time::sleep_until(next_look) => Woken::Look,
            };
            match woken {
                Woken::Answer(answer) => self.answered(answer).await,
                Woken::Mail => {
                    if let Some(change) = credential.mailbox.take_supply() {
                        self.resupplied(change).await;
                    }
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
                    let current = self.credential.current();
                    let offer = match self.fetch {
                        None => self.supply.offered(current.as_deref(), Now::read()).await,
                        Some(_) => None,
                    };
                    match offer {
                        Some(Offer::Token(issued)) => {
                            self.span = self.observer.began(Trigger::Schedule);
                            self.tell(Event::Offered((*issued).into())).await;
                        }
                        Some(Offer::Doubt) => {
                            self.tell(Event::Demanded { rejected: None, trigger: Trigger::Schedule }).await;
                        }
                        None => {}
                    }
                }
            }
        }
    }

    /// The configuration was read again. What it is asked with now was not refused yet, so anyone who waits after a
    /// failure, and the credential of a whole route, asks at once; thousands of clients' do when they are due.
    async fn resupplied(&mut self, Resupply { supply, policy }: Resupply) {
        self.timeout = policy.timeout;
        self.keeper.reconfigure(policy);
        self.supply = supply;
        self.asked_with = look(self.supply.source()).await;
        if self.journal.is_none() || self.credential.status().last_error.is_some() {
            self.tell(Event::SecretChanged).await;
        }
    }

    /// Has the last client of the credential gone, and everything under way come to its end?
    fn is_over(&self) -> bool {
        self.fetch.is_none() && self.journal.as_ref().is_some_and(|journal| journal.retire(&self.credential))
    }

    async fn answered(&mut self, answer: Result<Issued, SourceError>) {
        let Some(Fetching { ticket, span, .. }) = self.fetch.take() else { return };
        self.span = span;
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
                Action::Fetch { ticket, trigger } => self.start(ticket, trigger, now),
                Action::Publish(token) => {
                    // What cannot be asked for twice is durable before it is used.
                    if let (Some(journal), Some(old)) = (&self.journal, self.credential.current()) {
                        journal.superseded(&self.credential, &old, &token, now).await;
                    }
                    // Before anybody is woken: what a session does with the token came of this refresh.
                    self.credential.traced.store(traced(&self.span, token.generation, now.mono));
                    self.observer.current(&token);
                    self.credential.publish(token);
                }
                Action::Hopeless => self.credential.tell_all(News::Hopeless),
                Action::Report(report) => self.report(&report),
            }
        }
        self.span = Context::new();
        let old = self.credential.status();
        self.credential.set_status(Status {
            next_fetch: self.keeper.next_fetch(),
            fetching: self.fetch.is_some(),
            ..Status::clone(&old)
        });
    }

    fn start(&mut self, ticket: u64, trigger: Trigger, now: Now) {
        let span = self.observer.began(trigger);
        let supply = self.supply.clone();
        let client = self.credential.values.load_full();
        let asking = Asking { current: self.credential.current(), client, refresh_token: None };
        let deadline = now.mono + self.timeout;
        let answer = async move { supply.fetch(asking, now, deadline).await };
        let answer = Box::pin(answer.with_context(span.clone()));
        self.fetch = Some(Fetching { ticket, span, answer });
    }

    fn report(&mut self, report: &Report) {
        self.say(report);
        let credential = self.credential.name();
        let told = |trigger, generation, outcome, took, error| {
            let span = &self.span;
            self.observer.refreshed(&Fetch { credential, generation, trigger, outcome, took, error, span });
        };
        let mut status = Status::clone(&self.credential.status());
        match report {
            Report::Refreshed { generation, trigger, took, .. } => {
                told(*trigger, Some(*generation), Outcome::Ok, *took, None);
                status.refreshes += 1;
                status.last_refresh = Some((Now::read().wall, *took));
                (status.failures, status.last_error) = (0, None);
            }
            Report::Unchanged { generation, trigger, took } => {
                told(*trigger, Some(*generation), Outcome::Unchanged, *took, None);
                (status.failures, status.last_error) = (0, None);
            }
            Report::TakenOver { .. } => {
                (status.failures, status.last_error) = (0, None);
            }
            Report::Failed { trigger, terminal, reason, took, .. } => {
                let outcome = if *terminal { Outcome::Rejected } else { Outcome::Failed };
                told(*trigger, None, outcome, *took, Some(reason));
                status.failures += 1;
                status.last_error = Some(reason.clone());
            }
        }
        self.credential.set_status(status);
    }

    /// Writes it to the log.
    fn say(&self, report: &Report) {
        let (route, credential) = (self.credential.route(), self.credential.name());
        let trace_id = trace::id(&self.span);
        match report {
            Report::Refreshed { generation, trigger, took, expires_in, next_refresh_in } => {
                tracing::info!(
                    route,
                    credential,
                    trace_id,
                    generation = generation.0,
                    trigger = trigger.as_str(),
                    duration_ms = milliseconds(*took),
                    expires_in_ms = expires_in.map(milliseconds),
                    next_refresh_in_ms = next_refresh_in.map(milliseconds),
                    "token refreshed"
                );
            }
            Report::TakenOver { generation, expires_in, next_refresh_in } => {
                tracing::info!(
                    route,
                    credential,
                    generation = generation.0,
                    expires_in_ms = expires_in.map(milliseconds),
                    next_refresh_in_ms = next_refresh_in.map(milliseconds),
                    "token taken over"
                );
            }
            Report::Unchanged { trigger, .. } => {
                let trigger = trigger.as_str();
                tracing::debug!(route, credential, trigger, "the source still has the current token");
            }
            Report::Failed { trigger, terminal, reason, took, retry_in, still_valid_for } => {
                let (trigger, error, duration_ms) = (trigger.as_str(), &**reason, milliseconds(*took));
                let retry_in_ms = milliseconds(*retry_in);
                let valid_for_ms = still_valid_for.map(milliseconds);
                if *terminal {
                    tracing::error!(
                        route,
                        credential,
                        trace_id,
                        trigger,
                        error,
                        terminal,
                        duration_ms,
                        retry_in_ms,
                        valid_for_ms,
                        "token refresh failed"
                    );
                } else {
                    tracing::warn!(
                        route,
                        credential,
                        trace_id,
                        trigger,
                        error,
                        terminal,
                        duration_ms,
                        retry_in_ms,
                        valid_for_ms,
                        "token refresh failed"
                    );
                }
            }
        }
    }
}

/// What is kept of the span of a refresh.
fn traced(span: &Context, generation: Generation, ended: Instant) -> Option<Arc<Traced>> {
    let span = span.span().span_context().clone();
    span.is_valid().then(|| Arc::new(Traced { generation, span, ended }))
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
