//! A reload: the configuration as it is now takes the place of the one before, or nothing changes.
//!
//! Rules:
//! 1. Everything that can fail is done first: files are read, addresses bound. Then nothing can fail any more.
//! 2. A route that is as it was is not touched. Sessions live on under the configuration that they began with.
//! 3. What is kept where (`[state]`, `limits.history`) cannot change while tokens are in it.

use std::sync::{Arc, PoisonError};

use anyhow::{anyhow, bail};

use super::{
    App,
    files::Allowed,
    listening::{Bound, Inherited, bind},
    outward,
    routes::{Ground, Life, Prepared},
    server_tls,
};
use crate::{
    admin::{done::Reloaded, status::Reload},
    clock::Now,
    config::{Config, ConfigErrors, Limits, ListenAddress},
    net::{Egress, Listener, ServerTls},
    proxy::Proxy,
};

/// What a reload has understood, and not yet changed.
struct Understood {
    egress: Egress,
    tls: Option<Arc<ServerTls>>,
    /// Those that are new, each as the configuration names it.
    listeners: Vec<(ListenAddress, Listener)>,
    admin: Option<Listener>,
    /// In the order of the configuration; `None` where the route is as it was.
    routes: Vec<Option<Prepared>>,
}

impl App {
    /// Takes a configuration that was read again, or says why the one before stays: all or nothing. Live sessions
    /// are not touched.
    pub async fn reload(&mut self, config: Result<&Config, &ConfigErrors>) -> Reloaded {
        let done = match config {
            Ok(config) => self.replace(config).await,
            Err(errors) => Err(anyhow::Error::msg(errors.to_string())),
        };
        let at = Some(Now::read().wall.as_secs_f64());
        let done = done
            .unwrap_or_else(|error| Reloaded { error: Some(format!("{error:#}")), ..Reloaded::default() });
        let error = done.error.clone();
        match &error {
            None => self.state.metrics.configured(Now::read().wall),
            Some(error) => {
                self.state.metrics.not_configured();
                tracing::error!(error, "not reloaded: the configuration before it stays");
            }
        }
        let reload = Reload { successful: error.is_none(), at, error };
        *self.state.reload.lock().unwrap_or_else(PoisonError::into_inner) = reload;
        done
    }

    async fn replace(&mut self, config: &Config) -> anyhow::Result<Reloaded> {
        let understood = self.understand(config).await?;
        let (known, tables) = (self.config.warnings(), changed_tables(&self.config, config));
        let done = Reloaded { tables, ..self.take(config, understood) };
        let warnings: Vec<_> = config.warnings().into_iter().filter(|line| !known.contains(line)).collect();
        for line in &warnings {
            tracing::warn!("{line}");
        }
        tracing::info!(
            added = done.added.join(","),
            changed = done.changed.join(","),
            removed = done.removed.join(","),
            tables = done.tables.join(","),
            "reloaded"
        );
        Ok(Reloaded { warnings, ..done })
    }

    /// Rule 1. Everything that is wrong is named at once.
    async fn understand(&self, config: &Config) -> anyhow::Result<Understood> {
        let old = &self.config;
        let mut wrong = Vec::new();
        if config.state != old.state {
            wrong.push(anyhow!("[state] cannot change while the sidecar runs: put it back, or restart"));
        }
        if config.limits.history != old.limits.history {
            wrong.push(anyhow!(
                "limits.history cannot change while the sidecar runs: put it back, or restart"
            ));
        }
        let tls = if config.listen.tls == old.listen.tls {
            self.state.proxy.load().tls.clone()
        } else {
            understood(server_tls(&config.listen), &mut wrong).flatten()
        };
        let same_way = config.egress == old.egress;
        let egress = if same_way {
            self.egress.clone()
        } else {
            let egress = Egress::new(&config.egress.proxy).map_err(anyhow::Error::from);
            understood(egress, &mut wrong).unwrap_or_default()
        };
        let bounds = |limits: &Limits| (limits.message, limits.head);
        let same = same_way && bounds(&old.limits) == bounds(&config.limits);
        let routes = config.routes.iter().map(|route| {
            let unchanged = same && old.routes.contains(route);
            if unchanged { None } else { understood(Prepared::new(route, &egress), &mut wrong) }
        });
        let routes = routes.collect();
        let (mut listeners, mut none) = (Vec::new(), Inherited::default());
        let olds: Vec<&Bound> = self.listeners.iter().collect();
        for address in &config.listen.addresses {
            if olds.iter().any(|bound| bound.configured == *address) {
                continue;
            }
            let bound = bind(address, "listen.address", &olds, &mut none).await;
            listeners.extend(understood(bound, &mut wrong).map(|socket| (address.clone(), socket)));
        }
        let olds: Vec<&Bound> = self.admin.iter().collect();
        let admin = match config.admin.address == old.admin.address {
            true => None,
            false => {
                let bound = bind(&config.admin.address, "admin.address", &olds, &mut none).await;
                understood(bound, &mut wrong)
            }
        };
        if !wrong.is_empty() {
            let lines: Vec<String> = wrong.iter().map(|why| format!("{why:#}")).collect();
            bail!("{}", lines.join("\n"));
        }
        Ok(Understood { egress, tls, listeners, admin, routes })
    }

    /// Puts it in the place of what was there.
    fn take(&mut self, config: &Config, understood: Understood) -> Reloaded {
        let Understood { egress, tls, listeners, admin, routes } = understood;
        let changes = self.take_routes(config, routes);
        let before = self.state.proxy.load_full();
        let allowed = Allowed::now(&config.limits);
        if config.limits.sessions != self.config.limits.sessions {
            allowed.tell(&config.limits);
        }
        self.state.metrics.set_limits(allowed.sessions, allowed.files);
        let current = self.state.routes();
        self.state.proxy.store(Arc::new(Proxy {
            limits: Limits { sessions: allowed.sessions, ..config.limits.clone() },
            connections: allowed.connections,
            hall: before.hall.clone(),
            routes: current,
            listen: config.listen.clone(),
            sessions: Arc::clone(&before.sessions),
            requests: Arc::clone(&before.requests),
            crowd: Arc::clone(&before.crowd),
            nowhere: Arc::clone(&before.nowhere),
            tasks: before.tasks.clone(),
            tls,
        }));
        drop(before);
        self.state.admin.store(Arc::new(config.admin.clone()));
        self.listeners.retain(|bound| config.listen.addresses.contains(&bound.configured));
        for (configured, listener) in listeners {
            tracing::info!(address = %listener.address(), "listening at a new address");
            self.listen(&configured, listener);
        }
        self.state.set_address(self.addresses());
        if let Some(admin) = admin {
            tracing::info!(address = %admin.address(), "the admin server is at a new address");
            self.listen_admin(&config.admin.address, admin);
        }
        if !self.egress.is(&egress) {
            outward::tell(&egress);
        }
        (self.egress, self.config) = (egress, config.clone());
        self.state.retire();
        changes
    }

    /// Rule 2.
    fn take_routes(&self, config: &Config, routes: Vec<Option<Prepared>>) -> Reloaded {
        let state = &self.state;
        let ground = Ground {
            metrics: &state.metrics,
            spans: &state.spans,
            store: &state.store,
            tasks: &self.tasks,
            stop: &self.stop,
        };
        let mut lives = state.lives();
        let mut before: Vec<Life> = std::mem::take(&mut lives.current);
        let mut changes = Reloaded::default();
        for (route, prepared) in config.routes.iter().zip(routes) {
            let old = before.iter().position(|life| life.context.route.name == route.name);
            let old = old.map(|at| before.swap_remove(at));
            let life = match (prepared, old) {
                (None, Some(old)) => old,
                (Some(prepared), old) => {
                    let kind = if old.is_some() { &mut changes.changed } else { &mut changes.added };
                    kind.push(route.name.clone());
                    let life = prepared.serve(old.as_ref(), &config.limits, &ground);
                    lives.retired.extend(old);
                    life
                }
                // A route that is as it was, was there.
                (None, None) => continue,
            };
            lives.current.push(life);
        }
        changes.removed = before.iter().map(|life| life.context.route.name.clone()).collect();
        lives.retired.append(&mut before);
        changes
    }
}

/// What was understood; why not is put down.
fn understood<T>(result: anyhow::Result<T>, wrong: &mut Vec<anyhow::Error>) -> Option<T> {
    result.map_err(|why| wrong.push(why)).ok()
}

/// The tables beside the routes that are not as they were.
fn changed_tables(old: &Config, new: &Config) -> Vec<String> {
    let tables = [
        ("listen", old.listen != new.listen),
        ("admin", old.admin != new.admin),
        ("limits", old.limits != new.limits),
        ("egress", old.egress != new.egress),
    ];
    tables.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name.to_owned()).collect()
}
