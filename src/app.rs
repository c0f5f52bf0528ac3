//! The composition root: what is started, in which order, and how all of it ends.
//!
//! ```text
//!   start:  TLS and sources are read ─► credentials ─► listeners bound ─► `listening`
//!   stop:   no new clients ─► sessions end, spread over `limits.drain` ─► credentials, admin ─► the store
//! ```
//!
//! Rules: nothing listens before all of the configuration has been understood; every task is on a
//! tracker, and stopping waits for it, within a deadline.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, AdminState},
    clock::{self, Now},
    config::{Config, RefreshPolicy, Route, Share, TokenConfig},
    credential::{
        Begin, Chain, Clients, Credential, Links, News, Observer, Outcome, Source, Spec, Store, Subscription,
        Supply, Token, Trigger, clients::Common,
    },
    net::{Dialer, ServerTls},
    proxy::{self, Proxy, RouteContext, Tokens},
    telemetry::{self, CredentialState, Metrics, Phase, RouteMetrics},
};

pub mod token;

/// How often the store forgets what is to be forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// At the end a request for a token that cannot be asked for twice is waited for, so long at the most.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// A running sidecar.
pub struct App {
    address: SocketAddr,
    admin: SocketAddr,
    state: Arc<State>,
    drain: Duration,
    /// No new clients.
    closing: CancellationToken,
    /// Everything else ends too.
    stop: CancellationToken,
    proxy_tasks: TaskTracker,
    tasks: TaskTracker,
    /// The store's, which ends last: what was asked for is yet to be written down.
    last: (TaskTracker, CancellationToken),
    #[expect(dead_code, reason = "held for its Drop: it ends with the app")]
    subscriptions: Vec<Subscription>,
}

/// What the admin server shows.
struct State {
    metrics: Metrics,
    store: Arc<Store>,
    routes: Vec<Arc<RouteContext>>,
    closing: CancellationToken,
    started: std::sync::atomic::AtomicBool,
}

impl App {
    /// Starts everything that the configuration names.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let (tasks, proxy_tasks) = (TaskTracker::new(), TaskTracker::new());
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let last = (TaskTracker::new(), CancellationToken::new());
        let names: Vec<String> = config.routes.iter().map(|route| route.name.clone()).collect();
        let metrics = Metrics::new(&names);
        metrics.configured(Now::read().wall);
        let tls = match &config.listen.tls {
            Some(files) => Some(ServerTls::load(files, clock::now()).context("[listen]")?),
            None => None,
        };
        let mut built = Vec::new();
        for route in &config.routes {
            let token = route.token.as_ref();
            let source = token.map(|t| Source::new(&t.source).map(|source| (source, t.refresh.clone())));
            let source =
                source.transpose().with_context(|| format!("route \"{}\": [route.token]", route.name))?;
            let dialer = Dialer::new(&route.upstream.endpoint, &route.upstream.tls)
                .with_context(|| format!("route \"{}\": [route.tls]", route.name))?;
            let http = route.http.as_ref().map(|http| &http.upstream);
            let http = http.map(|http| Dialer::new(&http.endpoint, &http.tls));
            let http =
                http.transpose().with_context(|| format!("route \"{}\": [route.http.tls]", route.name))?;
            built.push((Arc::clone(route), dialer, http, source));
        }
        let store =
            Arc::new(Store::open(&config.state, config.limits.history, &last.0, &last.1).context("[state]")?);
        let listener = bind(config.listen.address, "listen.address").await?;
        let admin_listener = bind(config.admin.address, "admin.address").await?;
        let (address, admin) = (listener.local_addr()?, admin_listener.local_addr()?);

        let routes = built.into_iter().map(|(route, dialer, http, source)| {
            let counted = metrics.route(&route.name);
            counted.set_limits(route.session.reconnect, route.session.queue);
            let tokens = source.map_or(Tokens::None, |(source, policy)| {
                tokens(&route, source, policy, &counted, &store, (&tasks, &stop))
            });
            let limits = (config.limits.message, config.limits.sessions.saturating_mul(2));
            let context = RouteContext::new(route, dialer, tokens, counted, limits);
            Arc::new(match http {
                Some(http) => context.with_http(http, tasks.clone(), stop.clone()),
                None => context,
            })
        });
        let routes: Vec<Arc<RouteContext>> = routes.collect();
        let subscriptions = routes.iter().filter_map(|context| watch_tokens(context)).collect();
        let state = Arc::new(State {
            metrics,
            store: Arc::clone(&store),
            routes: routes.clone(),
            closing: closing.clone(),
            started: std::sync::atomic::AtomicBool::new(false),
        });
        let proxy = Arc::new(Proxy {
            limits: config.limits.clone(),
            routes,
            open: config.listen.open || config.listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            sessions: Arc::new(Semaphore::new(config.limits.sessions)),
            requests: Arc::new(Semaphore::new(config.limits.sessions)),
            tasks: proxy_tasks.clone(),
            tls,
        });
        tasks.spawn(admin::serve(admin_listener, Arc::clone(&state) as Arc<dyn AdminState>, stop.clone()));
        proxy_tasks.spawn(proxy::serve(listener, proxy, closing.clone()));
        tasks.spawn(sweep(store, stop.clone()));
        tracing::info!(%address, %admin, routes = names.join(","), version = env!("CARGO_PKG_VERSION"), "listening");
        Ok(Self {
            address,
            admin,
            state,
            drain: config.limits.drain,
            closing,
            stop,
            proxy_tasks,
            tasks,
            last,
            subscriptions,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where an operator looks.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The credential of a route.
    pub fn credential(&self, route: &str) -> Option<Arc<Credential>> {
        let context = self.state.routes.iter().find(|context| context.route.name == route)?;
        context.credential().map(Arc::clone)
    }

    /// All series, as `/metrics` shows them.
    pub fn metrics(&self) -> String {
        self.state.render_metrics()
    }

    /// Lets sessions end over the drain window, then everything else. It takes a little longer than
    /// `limits.drain` at the most.
    pub async fn stop(self) {
        self.closing.cancel();
        self.proxy_tasks.close();
        let window = clock::now() + self.drain;
        drain(&self.state.routes, self.drain).await;
        // Requests under way have the whole window; a client that does not answer its Close five seconds more.
        let last = clock::now().max(window) + Duration::from_secs(6);
        let ended = tokio::time::timeout_at(last, self.proxy_tasks.wait()).await;
        if ended.is_err() {
            tracing::warn!("clients were left that would not end");
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_ANSWERS, self.tasks.wait()).await.is_err() {
            tracing::warn!("tasks were left that would not end");
        }
        self.last.1.cancel();
        self.last.0.close();
        // It only lets go of a connection.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.last.0.wait()).await;
        tracing::info!("stopped");
    }
}

/// Has the store forget what nobody needs to know any more, until `stop`.
async fn sweep(store: Arc<Store>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        if let Err(error) = store.sweep(Now::read()).await {
            tracing::warn!(%error, "the store could not be swept");
        }
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key} = \"{address}\" cannot be listened on; is it in use? Port 0 takes a free one")
    })
}

/// One credential for all clients, or one for each.
fn tokens(
    route: &Route,
    source: Source,
    policy: RefreshPolicy,
    metrics: &Arc<RouteMetrics>,
    store: &Arc<Store>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Tokens {
    if let Some(TokenConfig { share: Share::Client { .. }, .. }) = &route.token {
        return Tokens::Clients(Clients::new(Common {
            route: route.name.clone(),
            source: Arc::new(source),
            policy,
            observer: Arc::new(Counted { metrics: Arc::clone(metrics), one: false }),
            store: Arc::clone(store),
            grace: route.client.grace,
            revoke_for: route.client.revoke_for,
            tasks: tasks.clone(),
            stop: stop.clone(),
        }));
    }
    let supply = supply(route, source, &policy, store, tasks);
    let spec = Spec {
        route: route.name.clone(),
        identity: String::new(),
        begin: Begin::Fetch,
        supply,
        policy,
        seed: fastrand::u64(..),
        observer: Arc::new(Counted { metrics: Arc::clone(metrics), one: true }),
        journal: None,
    };
    Tokens::Route(Credential::spawn(spec, tasks, stop.clone()))
}

/// A source that can be asked once only, or that several sidecars ask, is asked by way of the store.
fn supply(
    route: &Route,
    source: Source,
    policy: &RefreshPolicy,
    store: &Arc<Store>,
    tasks: &TaskTracker,
) -> Supply {
    let source = Arc::new(source);
    let together = store.is_shared() && source.is_worth_sharing();
    if !source.rotates() && !together {
        return Supply::Source(source);
    }
    Supply::Chain(Chain::new(Links {
        scope: route.name.clone(),
        source,
        store: Arc::clone(store),
        lifetime: policy.lifetime,
        tasks: tasks.clone(),
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

/// Ends sessions in equal parts, so that their clients do not come back in one wave.
async fn drain(routes: &[Arc<RouteContext>], window: Duration) {
    let open: usize = routes.iter().map(|context| context.sessions.len()).sum();
    if open == 0 {
        return;
    }
    const PARTS: u32 = 20;
    tracing::info!(sessions = open, ?window, "draining");
    for part in 0..PARTS {
        routes.iter().for_each(|context| {
            context.sessions.drain(part as usize, PARTS as usize);
        });
        if routes.iter().all(|context| context.sessions.is_empty()) {
            return;
        }
        tokio::time::sleep(window / PARTS).await;
    }
    // Whoever was still in its handshake when its part came.
    routes.iter().for_each(|context| {
        context.sessions.drain(0, 1);
    });
}

/// The credential's observer: what it counts.
struct Counted {
    metrics: Arc<RouteMetrics>,
    /// Is it the route's only credential? Else the one closest to its end is looked for at each scrape.
    one: bool,
}

impl Observer for Counted {
    fn refreshed(&self, trigger: Trigger, outcome: Outcome, took: Duration) {
        let trigger = match trigger {
            Trigger::Schedule => telemetry::Trigger::Schedule,
            Trigger::Hint => telemetry::Trigger::Hint,
            Trigger::Expiry => telemetry::Trigger::Expiry,
            Trigger::Client => telemetry::Trigger::Client,
            Trigger::Operator => telemetry::Trigger::Operator,
            Trigger::Start => telemetry::Trigger::Start,
        };
        let outcome = match outcome {
            Outcome::Ok => telemetry::Outcome::Ok,
            Outcome::Failed => telemetry::Outcome::Failed,
            Outcome::Rejected => telemetry::Outcome::Rejected,
        };
        self.metrics.refreshed(outcome, trigger);
        self.metrics.refresh_took(Phase::Fetch, took);
    }

    fn current(&self, issued: Duration, expires: Option<Duration>) {
        if self.one {
            self.metrics.set_token(Some(issued), expires);
        }
    }
}

/// How a credential stands.
fn state(credential: &Credential) -> CredentialState {
    let failing = credential.status().last_error.is_some();
    match credential.current() {
        None => CredentialState::Missing,
        Some(token) if token.is_expired(Now::read()) => CredentialState::Expired,
        Some(_) if failing => CredentialState::Failing,
        Some(_) => CredentialState::Valid,
    }
}

impl State {
    fn look(&self) {
        self.metrics.set_store_up(self.store.is_up());
        self.metrics.set_clock(Now::read().wall);
        for context in &self.routes {
            context.look();
            let counted = self.metrics.route(&context.route.name);
            let extremes = context.extremes();
            counted.set_oldest_live_expiration(extremes.oldest_expiry);
            counted.set_waiting(extremes.longest_hold, extremes.fullest_queue);
            let credentials = match (context.credential(), context.clients()) {
                (Some(credential), _) => vec![Arc::clone(credential)],
                (None, Some(clients)) => clients.credentials(),
                (None, None) => continue,
            };
            let states: Vec<CredentialState> = credentials.iter().map(|one| state(one)).collect();
            for state in CredentialState::ALL {
                counted.set_credentials(state, states.iter().filter(|one| **one == state).count());
            }
            if context.clients().is_some() {
                let current = credentials.iter().filter_map(|credential| credential.current());
                let ends = |token: &Arc<Token>| token.expires_wall.unwrap_or(Duration::MAX);
                let first = current.min_by_key(ends);
                let issued = first.as_ref().map(|token| token.issued.wall);
                counted.set_token(issued, first.and_then(|token| token.expires_wall));
            }
        }
    }
}

impl AdminState for State {
    fn render_metrics(&self) -> String {
        self.look();
        self.metrics.render()
    }

    fn ready(&self) -> Result<(), String> {
        if self.closing.is_cancelled() {
            return Err("going away: no new clients are accepted\n".into());
        }
        let missing: Vec<String> = self
            .routes
            .iter()
            .filter(|context| !context.is_ready())
            .map(|context| format!("route \"{}\": its credential has no valid token\n", context.route.name))
            .collect();
        if missing.is_empty() {
            self.started.store(true, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        } else {
            Err(missing.concat())
        }
    }

    fn started(&self) -> bool {
        // Also where nobody has asked for readiness: a token that came has come.
        self.started.load(std::sync::atomic::Ordering::Relaxed)
            || self.routes.iter().all(|context| context.credential().is_none_or(|c| c.current().is_some()))
    }
}
