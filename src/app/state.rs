//! What is at work now: the routes that serve, those that a reload replaced, and what an operator is shown of both.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{counted::Tally, lately::Lately, reloads::Reloads, routes::Life};
use crate::{
    admin::{
        AdminState, Denied, Listing, Whom,
        done::{Closed, Rehearsed, Reloaded},
        status::{Reload, Status},
    },
    clock::{self, Instant, Now},
    config::{Admin, Config, Secret},
    credential::{Credential, Store},
    proxy::{Extremes, Proxy, RouteContext, Tokens},
    telemetry::{Log, Metrics, Spans},
};

/// A sidecar at work.
pub(super) struct State {
    pub(super) metrics: Metrics,
    pub(super) spans: Spans,
    pub(super) store: Arc<Store>,
    pub(super) store_kind: &'static str,
    pub(super) log: Log,
    /// When it began, on the wall clock.
    pub(super) began: Duration,
    /// What new clients meet.
    pub(super) proxy: Arc<ArcSwap<Proxy>>,
    pub(super) leaving: CancellationToken,
    /// Are an operator's actions taken?
    pub(super) admin: ArcSwap<Admin>,
    pub(super) reload: Mutex<Reload>,
    pub(super) reloads: Reloads,
    started: AtomicBool,
    address: Mutex<String>,
    lives: Mutex<Lives>,
    pub(super) lately: Lately,
}

/// What is said of it.
pub(super) struct Telling {
    pub(super) metrics: Metrics,
    pub(super) spans: Spans,
    pub(super) log: Log,
}

/// Routes at work.
pub(super) struct Lives {
    pub(super) current: Vec<Life>,
    /// Replaced or removed, with sessions on them.
    pub(super) retired: Vec<Life>,
}

impl State {
    pub(super) fn new(
        config: &Config,
        Telling { metrics, spans, log }: Telling,
        store: Arc<Store>,
        proxy: Arc<ArcSwap<Proxy>>,
        (current, leaving): (Vec<Life>, CancellationToken),
    ) -> Self {
        Self {
            metrics,
            spans,
            store,
            store_kind: config.state.word(),
            log,
            began: Now::read().wall,
            proxy,
            leaving,
            admin: ArcSwap::from_pointee(config.admin.clone()),
            reload: Mutex::default(),
            reloads: Reloads::default(),
            started: AtomicBool::new(false),
            address: Mutex::default(),
            lives: Mutex::new(Lives { current, retired: Vec::new() }),
            lately: Lately::new(clock::now()),
        }
    }

    pub(super) fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The routes that serve new clients.
    pub(super) fn routes(&self) -> Vec<Arc<RouteContext>> {
        self.lives().current.iter().map(|life| Arc::clone(&life.context)).collect()
    }

    /// Those, and the ones with sessions that a reload replaced.
    pub(super) fn all_routes(&self) -> Vec<Arc<RouteContext>> {
        let lives = self.lives();
        lives.current.iter().chain(&lives.retired).map(|life| Arc::clone(&life.context)).collect()
    }

    /// The same, of the route that an operator names, or of all.
    pub(super) fn named(&self, route: Option<&str>) -> Result<Vec<Arc<RouteContext>>, Denied> {
        let mut routes = self.all_routes();
        routes.retain(|context| route.is_none_or(|name| name == context.route.name));
        if routes.is_empty() {
            let names: Vec<_> = self.routes().iter().map(|context| context.route.name.clone()).collect();
            return Err(Denied::Unknown(format!("no such route; there are: {}", names.join(", "))));
        }
        Ok(routes)
    }

    /// Lets go of what was replaced and is used by nobody any more.
    pub(super) fn retire(&self) {
        let mut lives = self.lives();
        let (used, unused): (Vec<_>, Vec<_>) = lives.retired.drain(..).partition(Life::is_in_use);
        lives.retired = used;
        drop(lives);
        for life in unused {
            tracing::debug!(
                route = life.context.route.name,
                "the last session of the old configuration has ended"
            );
        }
    }

    pub(super) fn set_address(&self, address: String) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    pub(super) fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it cannot serve, one line for each reason.
    pub(super) fn problems(&self) -> Vec<String> {
        if self.leaving.is_cancelled() {
            return vec!["going away: who connects now is closed soon".to_owned()];
        }
        let routes = self.routes();
        let unready = routes.iter().filter(|context| !context.is_ready());
        unready
            .map(|context| format!("route \"{}\": its credential has no valid token", context.route.name))
            .collect()
    }

    /// Brings up to date what is only found out when somebody looks.
    pub(super) fn look(&self) {
        self.metrics.set_store_up(self.store.is_up());
        self.metrics.set_clock(Now::read().wall);
        self.metrics.set_certificates(&self.certificates());
        self.metrics.set_log_lines_dropped(self.log.dropped.lines());
        let lives = self.lives();
        for life in &lives.current {
            self.look_at(&life.context.route.name, &lives);
        }
        let gone =
            |life: &&Life| lives.current.iter().all(|one| one.context.route.name != life.context.route.name);
        for life in lives.retired.iter().filter(gone) {
            self.look_at(&life.context.route.name, &lives);
        }
    }

    /// Remembers what was counted.
    pub(super) fn sample(&self, now: Instant) {
        let routes: Vec<_> = self
            .routes()
            .iter()
            .map(|one| (one.route.name.clone(), self.metrics.route(&one.route.name)))
            .collect();
        self.lately.sample(now, routes.iter().map(|(name, metrics)| (name.as_str(), &**metrics)));
    }

    /// Certificates that are shown to others, and when they end: of the listener (`None`), and of routes.
    pub(super) fn certificates(&self) -> Vec<(Option<String>, Duration)> {
        let listener = self.proxy.load().tls.as_ref().and_then(|tls| tls.ends(clock::now()));
        let routes = self.routes().into_iter();
        let routes = routes.filter_map(|one| Some((Some(one.route.name.clone()), one.certificate_ends()?)));
        listener.map(|ends| (None, ends)).into_iter().chain(routes).collect()
    }

    /// One route, with what a reload replaced of it.
    fn look_at(&self, name: &str, lives: &Lives) {
        let counted = self.metrics.route(name);
        let of_it = lives.of(name);
        of_it.iter().for_each(|life| life.context.look());
        let extremes =
            of_it.iter().map(|life| life.context.extremes()).fold(Extremes::default(), Extremes::and);
        counted.set_oldest_live_expiration(extremes.oldest_expiry);
        counted.set_waiting(extremes.longest_hold, extremes.fullest_queue);
        let mut tally = Tally::new(Now::read().wall);
        lives.each_credential(name, |credential| tally.add(credential));
        tally.tell(&counted);
    }
}

impl Lives {
    /// A route as it serves now, and as it did before.
    pub(super) fn of(&self, name: &str) -> Vec<&Life> {
        self.current.iter().chain(&self.retired).filter(|life| life.context.route.name == name).collect()
    }

    /// Shows its credentials, each once.
    pub(super) fn each_credential(&self, name: &str, mut see: impl FnMut(&Credential)) {
        let of_it = self.of(name);
        let first =
            |nth: usize, life: &Life| of_it[..nth].iter().all(|before| !before.shares_tokens_with(life));
        for (_, life) in of_it.iter().enumerate().filter(|(nth, life)| first(*nth, life)) {
            match &life.context.tokens {
                Tokens::None => {}
                Tokens::Route(credential) => see(credential),
                Tokens::Clients(clients) => clients.each(&mut see),
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
        let problems = self.problems();
        if problems.is_empty() {
            self.started.store(true, Ordering::Relaxed);
            Ok(())
        } else {
            Err(problems.iter().map(|problem| format!("{problem}\n")).collect())
        }
    }

    fn started(&self) -> bool {
        // Also where nobody has asked for readiness: a token that came has come.
        self.started.load(Ordering::Relaxed)
            || self.routes().iter().all(|context| context.credential().is_none_or(|c| c.current().is_some()))
    }

    fn is_host(&self, name: &str) -> bool {
        self.admin.load().hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn operator_secret(&self) -> Option<Secret> {
        self.admin.load().rehearsal_secret.clone()
    }

    fn status(&self) -> Status {
        self.snapshot()
    }

    fn sessions(&self, route: Option<&str>) -> Result<Listing, Denied> {
        self.list(route)
    }

    fn close(&self, whom: Whom<'_>) -> Result<Closed, Denied> {
        self.close_sessions(whom)
    }

    fn reload(&self) -> Result<oneshot::Receiver<Reloaded>, Denied> {
        self.reloads.ask()
    }

    fn rehearse(&self, action: &str, route: Option<&str>, sessions: &str) -> Result<Rehearsed, Denied> {
        self.practise(action, route, sessions)
    }
}
