//! Routes: from the configuration to what serves, in two steps.
//!
//! ```text
//!   Route ── prepare ──► Prepared ── serve ──► Life: context, tokens, subscription
//!            may fail,                cannot fail
//!            changes nothing
//! ```
//!
//! Rules:
//! 1. Everything that can go wrong does so in the first step, so that a reload is all or nothing.
//! 2. A session lives under the configuration that it began with. What is not changed by a reload is shared with
//!    what was there before: the credential above all, which is never fetched for twice.
//! 3. Where a route goes on to the same service, its credential goes on as well, and is asked from the new source:
//!    a wrong secret that is put right saves the sessions that are there.
//! 4. A life that was replaced ends when nobody is on it any more, and its tasks with it.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::counted::Counted;
use crate::{
    config::{Limits, RefreshPolicy, Route, Share, TokenConfig, Upstream},
    credential::{
        Begin, Chain, Clients, Common, Credential, Links, News, Source, Spec, Store, Subscription, Supply,
        Terms,
    },
    net::{Dialer, Egress, TlsError},
    proxy::{Bounds, Provider, RouteContext, Tokens},
    telemetry::{Metrics, RouteMetrics, Spans},
};

/// What routes are built with.
pub(super) struct Ground<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) spans: &'a Spans,
    pub(super) store: &'a Arc<Store>,
    pub(super) tasks: &'a TaskTracker,
    pub(super) stop: &'a CancellationToken,
}

/// A route that has been understood, and does nothing yet.
pub(super) struct Prepared {
    pub(super) route: Arc<Route>,
    pub(super) dialers: Vec<Dialer>,
    http: Option<Dialer>,
    source: Option<Arc<Source>>,
    /// Those of its dialect.
    sources: Vec<Arc<Source>>,
    egress: Egress,
}

/// A route at work.
pub(super) struct Life {
    pub(super) context: Arc<RouteContext>,
    held: Arc<Held>,
    outside: Arc<Outside>,
    /// By which its source is asked.
    egress: Egress,
    #[expect(dead_code, reason = "held for its Drop: nobody is woken any more")]
    subscription: Option<Subscription>,
    #[expect(dead_code, reason = "held for its Drop: connections for plain requests end")]
    stop: DropGuard,
}

/// Tokens, for as long as a life uses them.
struct Held {
    tokens: Tokens,
    #[expect(dead_code, reason = "held for its Drop: the tasks of the credentials end")]
    stop: DropGuard,
}

/// The same for what its messages take from outside.
struct Outside {
    providers: Arc<[Provider]>,
    #[expect(dead_code, reason = "held for its Drop: the tasks of the credentials end")]
    stop: DropGuard,
}

impl Prepared {
    /// Reads what the route names. All that it dials is dialled by this way out.
    pub(super) fn new(route: &Arc<Route>, egress: &Egress) -> anyhow::Result<Self> {
        let at = |table: &str| format!("route \"{}\": {table}", route.name);
        let source = route.token.as_ref().map(|token| Source::new(&token.source, egress));
        let source = source.transpose().with_context(|| at("[route.token]"))?;
        let dialers = dialers_of(&route.upstream, egress).with_context(|| at("[route.tls]"))?;
        let http = route.http.as_ref().map(|http| dialers_of(&http.upstream, egress));
        let http = http.transpose().with_context(|| at("[route.http.tls]"))?.and_then(|mut http| http.pop());
        let mut sources = Vec::new();
        for (name, config) in route.dialect.sources() {
            let at = || format!("route \"{}\": source \"{name}\" of its dialect", route.name);
            sources.push(Arc::new(Source::new(&config.source, egress).with_context(at)?));
        }
        let (route, source, egress) = (Arc::clone(route), source.map(Arc::new), egress.clone());
        Ok(Self { route, dialers, http, source, sources, egress })
    }

    /// Begins to serve, in the place of `before` where the route was there already.
    pub(super) fn serve(self, before: Option<&Life>, limits: &Limits, ground: &Ground<'_>) -> Life {
        let Self { route, dialers, http, source, sources, egress } = self;
        let counted = ground.metrics.route(&route.name);
        counted.set_limits(route.session.reconnect, route.session.queue);
        let held = held(&route, source, (before, &egress), &counted, ground);
        let outside = outside(&route, sources, (before, &egress), &counted, ground);
        let stop = ground.stop.child_token();
        let remembered = limits.sessions.saturating_mul(2);
        let bounds = Bounds { message: limits.message, head: limits.head, remembered };
        let context = RouteContext::new(route, dialers, held.tokens.clone(), counted, bounds);
        let context = context.with_outside(Arc::clone(&outside.providers));
        let mut context = context.with_spans(ground.spans.clone());
        if let Some(http) = http {
            context = context.with_http(http, ground.tasks.clone(), stop.clone());
        }
        if let Some(before) = before {
            context = context.in_place_of(&before.context);
        }
        let context = Arc::new(context);
        let subscription = watch_tokens(&context);
        Life { context, held, outside, egress, subscription, stop: stop.drop_guard() }
    }
}

impl Life {
    /// Is anybody on it, beside the one who keeps it? Sessions, parked ones included, and plain requests.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.context) > 1
    }

    /// Are its tokens those of another life as well?
    pub(super) fn shares_tokens_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }
}

/// A dialer for each of its addresses.
fn dialers_of(upstream: &Upstream, egress: &Egress) -> Result<Vec<Dialer>, TlsError> {
    let first = Dialer::new(&upstream.endpoint, &upstream.tls)?.by(egress);
    let first = match &upstream.socket {
        Some(path) => first.by_socket(path),
        None => first,
    };
    let others = upstream.fallbacks.iter().map(|other| first.at(&other.host, other.port, &upstream.tls));
    let others = others.collect::<Result<Vec<_>, _>>()?;
    Ok(std::iter::once(first).chain(others).collect())
}

/// The tokens of a route: those that it had, where they will do.
fn held(
    route: &Route,
    source: Option<Arc<Source>>,
    (before, egress): (Option<&Life>, &Egress),
    counted: &Arc<RouteMetrics>,
    ground: &Ground<'_>,
) -> Arc<Held> {
    let (Some(source), Some(token)) = (source, &route.token) else {
        return Arc::new(Held { tokens: Tokens::None, stop: ground.stop.child_token().drop_guard() });
    };
    if let Some(before) = before {
        let old = &*before.context.route;
        if before.egress.is(egress)
            && old.token == route.token
            && old.client.grace == route.client.grace
            && old.client.revoke_for == route.client.revoke_for
        {
            return Arc::clone(&before.held);
        }
        if old.upstream.endpoints().eq(route.upstream.endpoints())
            && goes_on(&before.held.tokens, route, token, Arc::clone(&source), ground)
        {
            return Arc::clone(&before.held);
        }
    }
    let stop = ground.stop.child_token();
    let tokens = tokens(route, token, source, counted, (ground, &stop));
    Arc::new(Held { tokens, stop: stop.drop_guard() })
}

/// What the messages of a route take from outside: what it had, if nothing of that has changed.
fn outside(
    route: &Route,
    sources: Vec<Arc<Source>>,
    (before, egress): (Option<&Life>, &Egress),
    counted: &Arc<RouteMetrics>,
    ground: &Ground<'_>,
) -> Arc<Outside> {
    if let Some(before) = before
        && before.egress.is(egress)
        && before.context.route.dialect.sources() == route.dialect.sources()
    {
        return Arc::clone(&before.outside);
    }
    let stop = ground.stop.child_token();
    let provider = |(source, (name, config)): (Arc<Source>, &(String, TokenConfig))| Provider {
        name: name.clone(),
        names: config.source.names().cloned().collect(),
        clients: Clients::new(Common {
            route: route.name.clone(),
            terms: ArcSwap::from_pointee(terms(route, source, &config.refresh)),
            observer: Arc::new(Counted::new(route, counted, ground.spans)),
            store: Arc::clone(ground.store),
            tasks: ground.tasks.clone(),
            stop: stop.clone(),
        }),
    };
    let providers = sources.into_iter().zip(route.dialect.sources()).map(provider).collect();
    Arc::new(Outside { providers, stop: stop.drop_guard() })
}

/// Has the credentials that are there asked for from the new source; `false` where they are of another kind.
fn goes_on(
    tokens: &Tokens,
    route: &Route,
    token: &TokenConfig,
    source: Arc<Source>,
    ground: &Ground<'_>,
) -> bool {
    match (tokens, &token.share) {
        (Tokens::Route(credential), Share::Route) if !token.refresh.once => {
            let supply = supply(route, source, &token.refresh, ground);
            credential.resupply(supply, token.refresh.clone());
            true
        }
        (Tokens::Clients(clients), _) if clients.are_once() == token.refresh.once && is_of_each(token) => {
            clients.reconfigure(terms(route, source, &token.refresh));
            true
        }
        (Tokens::None | Tokens::Route(_) | Tokens::Clients(_), Share::Route | Share::Client { .. }) => false,
    }
}

/// One credential for all clients, or one for each.
fn tokens(
    route: &Route,
    token: &TokenConfig,
    source: Arc<Source>,
    metrics: &Arc<RouteMetrics>,
    (ground, stop): (&Ground<'_>, &CancellationToken),
) -> Tokens {
    let policy = &token.refresh;
    if is_of_each(token) {
        return Tokens::Clients(Clients::new(Common {
            route: route.name.clone(),
            terms: ArcSwap::from_pointee(terms(route, source, policy)),
            observer: Arc::new(Counted::new(route, metrics, ground.spans)),
            store: Arc::clone(ground.store),
            tasks: ground.tasks.clone(),
            stop: stop.clone(),
        }));
    }
    let spec = Spec {
        route: route.name.clone(),
        identity: "".into(),
        begin: Begin::Fetch,
        supply: supply(route, source, policy, ground),
        policy: policy.clone(),
        seed: fastrand::u64(..),
        observer: Arc::new(Counted::new(route, metrics, ground.spans)),
        journal: None,
    };
    Tokens::Route(Credential::spawn(spec, ground.tasks, stop.clone()))
}

/// Does each client, or each handshake, have a credential of its own?
fn is_of_each(token: &TokenConfig) -> bool {
    token.refresh.once || matches!(token.share, Share::Client { .. })
}

fn terms(route: &Route, source: Arc<Source>, policy: &RefreshPolicy) -> Terms {
    let (grace, revoke_for) = (route.client.grace, route.client.revoke_for);
    Terms { source, policy: policy.clone(), grace, revoke_for }
}

/// A source that can be asked once only, or that several sidecars ask, is asked by way of the store.
fn supply(route: &Route, source: Arc<Source>, policy: &RefreshPolicy, ground: &Ground<'_>) -> Supply {
    let together = ground.store.is_shared() && source.is_worth_sharing();
    if !source.rotates() && !together {
        return Supply::Source(source);
    }
    Supply::Chain(Chain::new(Links {
        scope: route.name.clone(),
        source,
        store: Arc::clone(ground.store),
        lifetime: policy.lifetime,
        tasks: ground.tasks.clone(),
    }))
}

/// Sessions are woken when their credential has a newer token, for as long as the subscription is kept.
fn watch_tokens(context: &RouteContext) -> Option<Subscription> {
    let sessions = Arc::clone(&context.sessions);
    Some(context.credential()?.subscribe(Box::new(move |news| {
        if let News::Token(_) = news {
            sessions.wake_for_token();
        }
    })))
}
