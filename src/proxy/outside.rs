//! Values from outside that a session's messages take: fetched for it, and kept fresh for as long as it needs them.
//!
//! ```text
//!   Fetch ─► held: on its way ─► poll_values: there, or it cannot be had ─► Value
//!                └── subscription ─► VALUE ─► newer_values ──────────────► Value
//! ```
//!
//! Rules:
//! 1. Sessions that ask one source for the same share what it gives, unless it is for one use.
//! 2. A session waits for a value no longer than `hold`, and no longer than until its source has refused for good.
//! 3. A value whose replacement does not come in time is kept: it is replaced when that comes.
//! 4. What no message needs any more is dropped when there are many.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Notify;

use super::{
    admission::{asked_with, one_of_a_kind},
    driver::Driver,
    sessions::{Handle, VALUE},
};
use crate::{
    clock::{Instant, Now},
    config::Name,
    credential::{ClientValues, Clients, Generation, Lease, News, Subscription, Token, Trigger, Visitor},
    dialect::{Request, Want},
    session::{Action, Event},
};

/// A session holds more than so many only if it needs them.
const MANY: usize = 16;

/// A source of a declared dialect, at work.
#[derive(Debug)]
pub struct Provider {
    /// As the dialect calls it.
    pub name: String,
    /// Those who ask it for the same.
    pub clients: Arc<Clients>,
    /// What its templates name.
    pub names: Vec<Name>,
}

/// What one session has of them.
pub(super) struct Values {
    providers: Arc<[Provider]>,
    /// What the templates name, as the client has it.
    client: ClientValues,
    held: Vec<Held>,
}

type Coming = Pin<Box<dyn Future<Output = Option<There>> + Send>>;

struct Held {
    want: Want,
    /// A message waits for it. Else the service will not have the one that is there.
    awaited: bool,
    coming: Option<Coming>,
    there: Option<There>,
}

/// A value, and how the session hears of a newer one.
struct There {
    lease: Lease,
    #[expect(dead_code, reason = "held for its Drop")]
    news: Subscription,
    token: Arc<Token>,
}

impl Values {
    /// Nothing yet; `None`: the dialect takes no values.
    pub(super) fn new(providers: &Arc<[Provider]>, asked: &Request) -> Option<Box<Self>> {
        let names = providers.iter().flat_map(|provider| &provider.names);
        let client = ClientValues::of(names, |name| asked_with(asked, name));
        let providers = Arc::clone(providers);
        (!providers.is_empty()).then(|| Box::new(Self { providers, client, held: Vec::new() }))
    }

    /// Asks for one; `rejected`: the service will not have the one of this generation.
    fn fetch(&mut self, want: Want, rejected: Option<Generation>, handle: &Arc<Handle>, deadline: Instant) {
        let Some(provider) = self.providers.iter().find(|provider| *provider.name == *want.source) else {
            return;
        };
        let values = self.client.and(Name::Arg, &want.arg);
        let identity = match provider.clients.are_once() {
            true => one_of_a_kind().into(),
            false => values.told_apart(&want.source),
        };
        let (clients, handle) = (Arc::clone(&provider.clients), Arc::clone(handle));
        let coming = Box::pin(async move {
            let visitor = Visitor { token: None, identity: &identity, values };
            let lease = clients.enter(visitor, Now::read()).await.ok()?;
            there(lease, rejected, handle, deadline).await
        });
        let (awaited, coming) = (rejected.is_none(), Some(coming as Coming));
        match self.held.iter_mut().find(|held| held.want == want) {
            Some(held) => (held.awaited, held.coming) = (awaited, coming),
            None => self.held.push(Held { want, awaited, coming, there: None }),
        }
    }

    fn is_once(&self, want: &Want) -> bool {
        self.providers.iter().any(|provider| *provider.name == *want.source && provider.clients.are_once())
    }

    /// What has come, and what cannot be had.
    fn poll(&mut self, cx: &mut Context<'_>) -> Vec<(Want, Option<Arc<Token>>)> {
        let mut settled = Vec::new();
        for held in &mut self.held {
            let Some(coming) = &mut held.coming else { continue };
            let Poll::Ready(there) = coming.as_mut().poll(cx) else { continue };
            held.coming = None;
            if there.is_some() || held.awaited {
                settled.push((held.want.clone(), there.as_ref().map(|there| Arc::clone(&there.token))));
            }
            held.there = there.or_else(|| held.there.take());
        }
        let gone: Vec<bool> = self
            .held
            .iter()
            .map(|held| held.coming.is_none() && (held.there.is_none() || self.is_once(&held.want)))
            .collect();
        let mut gone = gone.into_iter();
        self.held.retain(|_| !gone.next().unwrap_or_default());
        settled
    }

    /// Those that have been replaced since.
    fn newer(&mut self) -> Vec<(Want, Arc<Token>)> {
        let newer = |held: &mut Held| {
            let there = held.there.as_mut().filter(|_| held.coming.is_none())?;
            let current = there.lease.credential().current()?;
            if current.generation <= there.token.generation {
                return None;
            }
            there.token = Arc::clone(&current);
            Some((held.want.clone(), current))
        };
        self.held.iter_mut().filter_map(newer).collect()
    }
}

/// Waits for a value that may be shown.
async fn there(
    lease: Lease,
    rejected: Option<Generation>,
    handle: Arc<Handle>,
    deadline: Instant,
) -> Option<There> {
    let refused = Arc::new(Notify::new());
    let tell = Arc::clone(&refused);
    let news = lease.credential().subscribe(Box::new(move |news| match news {
        News::Token(_) => handle.say(VALUE),
        News::Hopeless => tell.notify_one(),
    }));
    if let Some(generation) = rejected {
        lease.credential().demand(Some(generation), Trigger::Hint);
    }
    let token = tokio::select! {
        token = lease.credential().newer(rejected.unwrap_or_default(), deadline) => token?,
        () = refused.notified() => return None,
    };
    Some(There { lease, news, token })
}

impl Driver {
    /// Asks for a value that the core wants.
    pub(super) fn fetch_value(&mut self, want: Want, rejected: Option<Generation>, now: Instant) {
        let Some(values) = &mut self.values else { return };
        if values.held.len() >= MANY {
            let session = &self.session;
            values.held.retain(|held| held.coming.is_some() || session.takes(&held.want));
        }
        values.fetch(want, rejected, &self.place.handle, now + self.route.route.session.hold);
    }

    /// Tells the core of values that have come, and of those that cannot be had.
    pub(super) fn poll_values(
        &mut self,
        cx: &mut Context<'_>,
        actions: &mut Vec<Action>,
        now: Instant,
    ) -> bool {
        let settled = self.values.as_mut().map(|values| values.poll(cx)).unwrap_or_default();
        for (want, token) in &settled {
            if token.is_none() {
                let source = &*want.source;
                tracing::warn!(
                    session = %self.place.handle.caller.session,
                    route = self.route.route.name,
                    source,
                    "no value for a message: it goes on as the client said it"
                );
            }
            self.event(Event::Value(want, token.as_deref()), now, actions);
        }
        !settled.is_empty()
    }

    /// Tells the core of values that have been replaced.
    pub(super) fn newer_values(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let newer = self.values.as_mut().map(|values| values.newer()).unwrap_or_default();
        for (want, token) in &newer {
            self.event(Event::Value(want, Some(token)), now, actions);
        }
    }
}
