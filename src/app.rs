//! The composition root: what is started, in which order, what a reload changes, and how all of it ends.
//!
//! ```text
//!   start:   TLS and sources are read ─► listeners bound ─► credentials ─► `listening`
//!   reload:  what has changed is understood, and bound ─► it takes the place of what was there, at once
//!   stop:    not ready ─► `limits.shutdown_delay` ─► no new clients ─► sessions end, spread over `limits.drain` ─► credentials, admin ─► the store
//! ```
//!
//! Rules:
//! 1. Nothing listens before all of the configuration has been understood; a reload is all or nothing.
//! 2. Every task is on a tracker, and stopping waits for it, within a deadline.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    files::Allowed,
    listening::{Bound, Inherited, bind},
    routes::{Ground, Life, Prepared},
    state::{State, Telling},
};
use crate::{
    admin::{self, AdminState},
    clock::{self, Now},
    config::{Config, Limits, Listen, ListenAddress, StateConfig},
    credential::{Credential, Store},
    net::{Dialer, Egress, Listener, ServerTls},
    proxy::{self, Hall, Proxy, RouteContext},
    telemetry::{
        Log, Metrics, Spans,
        logs::{Rate, SUMMARY},
    },
};

pub mod connect;
mod counted;
mod files;
mod lately;
pub mod lifetime;
mod listening;
pub mod login;
mod notify;
pub mod outward;
mod rehearsal;
mod reload;
mod reloads;
mod routes;
mod sessions;
mod signals;
mod state;
mod status;
pub mod token;
mod watch;

pub use crate::proxy::explain;

/// How often the store forgets what is to be forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// How often routes are looked at that a reload replaced: with the last session on them they end.
const RETIRE: Duration = Duration::from_secs(5);

/// After the drain, so long is waited for clients that do not answer their Close.
const LAST_CLIENTS: Duration = Duration::from_secs(6);
/// At the end a request for a token that cannot be asked for twice is waited for, so long at the most.
const LAST_ANSWERS: Duration = Duration::from_secs(15);
/// And then what the store and the export of spans still have to do.
const LAST_WORDS: Duration = Duration::from_millis(2500);

/// A running sidecar.
pub struct App {
    config: Config,
    egress: Egress,
    listeners: Vec<Bound>,
    admin: Option<Bound>,
    state: Arc<State>,
    /// Not ready any more: it is about to end.
    leaving: CancellationToken,
    /// No new clients.
    closing: CancellationToken,
    /// Everything else ends too.
    stop: CancellationToken,
    proxy_tasks: TaskTracker,
    tasks: TaskTracker,
    /// The store's, and of who exports spans, which end last: what was asked for is yet to be written down.
    last: (TaskTracker, CancellationToken),
}

impl App {
    /// Starts everything that the configuration names.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_with(config, Log::default()).await
    }

    /// The same; the status page and the metrics show what there is of this log.
    pub async fn start_with(config: &Config, log: Log) -> anyhow::Result<Self> {
        let (tasks, proxy_tasks) = (TaskTracker::new(), TaskTracker::new());
        let [leaving, closing, stop] = [(); 3].map(|()| CancellationToken::new());
        let last = (TaskTracker::new(), CancellationToken::new());
        let metrics = Metrics::new(&names(config));
        let tls = server_tls(&config.listen)?;
        let egress = Egress::new(&config.egress.proxy)?;
        let prepared = config.routes.iter().map(|route| Prepared::new(route, &egress));
        let prepared = prepared.collect::<anyhow::Result<Vec<_>>>()?;
        let store =
            Arc::new(Store::open(&config.state, config.limits.history, &last.0, &last.1).context("[state]")?);
        let mut inherited = Inherited::of_environment();
        let mut listeners = Vec::new();
        for address in &config.listen.addresses {
            listeners.push(bind(address, "listen.address", &[], &mut inherited).await?);
        }
        let admin_listener = bind(&config.admin.address, "admin.address", &[], &mut inherited).await?;
        inherited.close();

        let spans = Spans::from_environment(&egress, &last.0, &last.1);
        let ground = Ground { metrics: &metrics, spans: &spans, store: &store, tasks: &tasks, stop: &stop };
        let lives: Vec<Life> =
            prepared.into_iter().map(|route| route.serve(None, &config.limits, &ground)).collect();
        let allowed = Allowed::now(&config.limits);
        allowed.tell(&config.limits);
        metrics.set_limits(allowed.sessions, allowed.files);
        let proxy = Proxy {
            limits: Limits { sessions: allowed.sessions, ..config.limits.clone() },
            connections: allowed.connections,
            hall: Hall::default(),
            routes: lives.iter().map(|life| Arc::clone(&life.context)).collect(),
            listen: config.listen.clone(),
            sessions: Arc::default(),
            requests: Arc::default(),
            crowd: Arc::default(),
            nowhere: metrics.handshakes_nowhere(),
            tasks: proxy_tasks.clone(),
            tls,
        };
        for line in config.warnings() {
            tracing::warn!("{line}");
        }
        outward::tell(&egress);
        metrics.configured(Now::read().wall);
        let proxy = Arc::new(ArcSwap::from_pointee(proxy));
        let told = Telling { metrics, spans, log };
        let state = Arc::new(State::new(config, told, store, proxy, (lives, leaving.clone())));
        let mut app = Self {
            config: config.clone(),
            egress,
            listeners: Vec::new(),
            admin: None,
            state,
            leaving,
            closing,
            stop,
            proxy_tasks,
            tasks,
            last,
        };
        for (address, listener) in config.listen.addresses.iter().zip(listeners) {
            app.listen(address, listener);
        }
        app.listen_admin(&config.admin.address, admin_listener);
        app.state.set_address(app.addresses());
        app.tasks.spawn(sweep(Arc::clone(&app.state), app.stop.clone()));
        app.tasks.spawn(sample(Arc::clone(&app.state), app.stop.clone()));
        app.tasks.spawn(retire(Arc::clone(&app.state), app.stop.clone()));
        app.tasks.spawn(summarise(app.state.log.rate.clone(), app.stop.clone()));
        let (address, routes) = (app.addresses(), names(config).join(","));
        let admin = app.admin.as_ref().map(|admin| admin.address.to_string());
        tracing::info!(address, admin, routes, version = env!("CARGO_PKG_VERSION"), "listening");
        Ok(app)
    }

    /// Lets clients in by this listener, which the configuration names so.
    fn listen(&mut self, configured: &ListenAddress, listener: Listener) {
        let (listener, stop) = (Arc::new(listener), self.closing.child_token());
        self.listeners.push(Bound::new(configured.clone(), &listener, stop.clone().drop_guard()));
        self.proxy_tasks.spawn(proxy::serve(listener, Arc::clone(&self.state.proxy), stop));
    }

    /// Answers an operator by this listener, in place of the one before.
    fn listen_admin(&mut self, configured: &ListenAddress, listener: Listener) {
        let (listener, stop) = (Arc::new(listener), self.stop.child_token());
        let state = Arc::clone(&self.state) as Arc<dyn AdminState>;
        self.admin = Some(Bound::new(configured.clone(), &listener, stop.clone().drop_guard()));
        let most = Allowed::now(&self.config.limits).admin;
        self.tasks.spawn(admin::serve(listener, most, state, stop));
    }

    /// Where clients connect, as a line says it.
    fn addresses(&self) -> String {
        self.listeners.iter().map(|bound| bound.address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Where clients connect by TCP: the first of these addresses. Without one, no address.
    pub fn address(&self) -> SocketAddr {
        let first = self.listeners.iter().find_map(|bound| bound.address.tcp());
        first.unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// Where an operator looks, by TCP; without it, no address.
    pub fn admin(&self) -> SocketAddr {
        let admin = self.admin.as_ref().and_then(|bound| bound.address.tcp());
        admin.unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// The credential of a route.
    pub fn credential(&self, route: &str) -> Option<Arc<Credential>> {
        let routes = self.state.routes();
        let context = routes.iter().find(|context| context.route.name == route)?;
        context.credential().map(Arc::clone)
    }

    /// All series, as `/metrics` shows them.
    pub fn metrics(&self) -> String {
        self.state.render_metrics()
    }

    /// As `/readyz` says.
    pub fn is_ready(&self) -> bool {
        self.state.ready().is_ok()
    }

    /// Lets sessions end over the drain window, then everything else. It takes a little longer than
    /// `limits.shutdown_delay` and `limits.drain` together at the most.
    pub async fn stop(self) {
        self.leaving.cancel();
        let delay = self.config.limits.shutdown_delay;
        if !delay.is_zero() {
            tracing::info!(
                delay_ms = clock::milliseconds(delay),
                "not ready any more; clients are still served"
            );
            tokio::time::sleep(delay).await;
        }
        self.closing.cancel();
        self.proxy_tasks.close();
        let drain_for = self.config.limits.drain;
        let window = clock::now() + drain_for;
        drain(&self.state.all_routes(), drain_for).await;
        // Requests under way have the whole window.
        let last = clock::now().max(window) + LAST_CLIENTS;
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
        // The store only lets go of a connection; the last spans have two seconds.
        let _ = tokio::time::timeout(LAST_WORDS, self.last.0.wait()).await;
        tracing::info!("stopped");
    }
}

/// How long [`App::stop`] takes at the most.
fn patience(limits: &Limits) -> Duration {
    limits.shutdown_delay + limits.drain + LAST_CLIENTS + LAST_ANSWERS + LAST_WORDS
}

fn names(config: &Config) -> Vec<String> {
    config.routes.iter().map(|route| route.name.clone()).collect()
}

fn server_tls(listen: &Listen) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let tls = listen.tls.as_ref().map(|files| ServerTls::load(files, clock::now()).context("[listen]"));
    Ok(tls.transpose()?.map(Arc::new))
}

/// What a start would refuse of a configuration that is well written: certificates, keys and authorities, each with
/// where it is named.
pub fn refused(config: &Config) -> Vec<anyhow::Error> {
    let redis = || {
        let StateConfig::Redis(redis) = &config.state else { return Ok(()) };
        // Its URL was understood when the configuration was read.
        let Ok(address) = redis.address() else { return Ok(()) };
        let Some(endpoint) = address.place.endpoints().first() else { return Ok(()) };
        Dialer::new(endpoint, &redis.tls).map(drop).context("[state.tls]")
    };
    let listen = server_tls(&config.listen).map(drop);
    let egress = Egress::new(&config.egress.proxy);
    // Whether the routes can be used does not depend on it.
    let out = egress.clone().unwrap_or_default();
    let routes = config.routes.iter().map(|route| Prepared::new(route, &out).map(drop));
    let egress = egress.map(drop).map_err(anyhow::Error::from);
    [listen, redis(), egress].into_iter().chain(routes).filter_map(Result::err).collect()
}

/// Has the store forget what nobody needs to know any more, until `stop`.
async fn sweep(state: Arc<State>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        if let Err(error) = state.store.sweep(Now::read()).await {
            tracing::warn!(%error, "the store could not be swept");
        }
    }
}

/// Remembers what was counted, until `stop`.
async fn sample(state: Arc<State>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(lately::EVERY)).await.is_some() {
        state.sample(clock::now());
    }
}

/// Ends what a reload replaced, as soon as nobody is on it.
async fn retire(state: Arc<State>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(RETIRE)).await.is_some() {
        state.retire();
    }
}

/// Says what the log left out, until `stop` and once more then.
async fn summarise(rate: Rate, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SUMMARY)).await.is_some() {
        rate.summarise();
    }
    rate.summarise();
}

/// Ends sessions in equal parts, so that their clients do not come back in one wave.
async fn drain(routes: &[Arc<RouteContext>], window: Duration) {
    let open: usize = routes.iter().map(|context| context.sessions.len()).sum();
    if open == 0 {
        return;
    }
    const PARTS: u32 = 20;
    tracing::info!(sessions = open, window_ms = clock::milliseconds(window), "draining");
    for part in 0..PARTS {
        routes.iter().for_each(|context| {
            context.sessions.drain(part as usize, PARTS as usize);
        });
        if routes.iter().all(|context| context.sessions.is_empty()) {
            return;
        }
        tokio::time::sleep(window / PARTS).await;
    }
    // Those who were still in their handshake when their part came.
    routes.iter().for_each(|context| {
        context.sessions.drain(0, 1);
    });
}
