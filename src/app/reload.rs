//! A reload: the configuration as it is now takes the place of the one before, or nothing changes.
//!
//! Rules:
//! 1. Everything that can fail is done first: files are read, addresses bound. Then nothing can fail any more.
//! 2. A route that is as it was is not touched. Sessions live on under the configuration that they began with.
//! 3. What is kept where (`[state]`, `limits.history`) cannot change while tokens are in it.

use std::sync::{Arc, PoisonError};

use anyhow::bail;
use tokio::net::TcpListener;

use super::{
    App,
    files::Allowed,
    is_open,
    routes::{Ground, Life, Prepared},
    server_tls,
};
use crate::{
    admin::status::Reload,
    clock::Now,
    config::{Config, ConfigErrors, Limits},
    net::ServerTls,
    proxy::Proxy,
};

/// What a reload has understood, and not yet changed.
struct Understood {
    tls: Option<Arc<ServerTls>>,
    listener: Option<TcpListener>,
    admin: Option<TcpListener>,
    /// In the order of the configuration; `None` where the route is as it was.
    routes: Vec<Option<Prepared>>,
}

impl App {
    /// Takes a configuration that was read again, or says why the one before stays: all or nothing. Live sessions
    /// are not touched.
    pub async fn reload(&mut self, config: Result<&Config, &ConfigErrors>) -> anyhow::Result<()> {
        let done = match config {
            Ok(config) => self.replace(config).await,
            Err(errors) => Err(anyhow::Error::msg(errors.to_string())),
        };
        let at = Some(Now::read().wall.as_secs_f64());
        let error = done.as_ref().err().map(|error| format!("{error:#}"));
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

    async fn replace(&mut self, config: &Config) -> anyhow::Result<()> {
        let understood = self.understand(config).await?;
        let known = self.config.warnings();
        let changes = self.take(config, understood)?;
        for line in config.warnings().iter().filter(|line| !known.contains(line)) {
            tracing::warn!("{line}");
        }
        tracing::info!(
            added = changes.added.join(","),
            changed = changes.changed.join(","),
            removed = changes.removed.join(","),
            "reloaded"
        );
        Ok(())
    }

    /// Rule 1.
    async fn understand(&self, config: &Config) -> anyhow::Result<Understood> {
        let old = &self.config;
        if config.state != old.state {
            bail!("[state] cannot change while the sidecar runs: put it back, or restart");
        }
        if config.limits.history != old.limits.history {
            bail!("limits.history cannot change while the sidecar runs: put it back, or restart");
        }
        let tls = if config.listen.tls == old.listen.tls {
            self.state.proxy.load().tls.clone()
        } else {
            server_tls(&config.listen)?
        };
        let routes = config.routes.iter().map(|route| {
            let unchanged = old.limits.message == config.limits.message && old.routes.contains(route);
            if unchanged { Ok(None) } else { Prepared::new(route).map(Some) }
        });
        let routes = routes.collect::<anyhow::Result<Vec<_>>>()?;
        let listener = match config.listen.address == old.listen.address {
            true => None,
            false => Some(self.listener.next(config.listen.address, "listen.address").await?),
        };
        let admin = match config.admin.address == old.admin.address {
            true => None,
            false => Some(self.admin.next(config.admin.address, "admin.address").await?),
        };
        Ok(Understood { tls, listener, admin, routes })
    }

    /// Puts it in the place of what was there.
    fn take(&mut self, config: &Config, understood: Understood) -> anyhow::Result<Changes> {
        let Understood { tls, listener, admin, routes } = understood;
        let addresses = [&listener, &admin].map(|one| one.as_ref().map(TcpListener::local_addr).transpose());
        let [address, admin_address] = addresses;
        let (address, admin_address) = (address?, admin_address?);
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
            routes: current,
            open: is_open(&config.listen),
            loopback: config.listen.address.ip().to_canonical().is_loopback(),
            sessions: Arc::clone(&before.sessions),
            requests: Arc::clone(&before.requests),
            crowd: Arc::clone(&before.crowd),
            nowhere: Arc::clone(&before.nowhere),
            tasks: before.tasks.clone(),
            tls,
        }));
        drop(before);
        self.state.admin.store(Arc::new(config.admin.clone()));
        if let (Some(listener), Some(address)) = (listener, address) {
            self.listen(Arc::new(listener), address);
            tracing::info!(%address, "listening at a new address");
        }
        if let (Some(admin), Some(address)) = (admin, admin_address) {
            self.listen_admin(Arc::new(admin), address);
            tracing::info!(%address, "the admin server is at a new address");
        }
        self.config = config.clone();
        self.state.retire();
        Ok(changes)
    }

    /// Rule 2.
    fn take_routes(&self, config: &Config, routes: Vec<Option<Prepared>>) -> Changes {
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
        let mut changes = Changes::default();
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

/// Names of routes.
#[derive(Default)]
struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}
