//! The tables that are not a route's: `[listen]`, `[admin]`, `[limits]`, `[state]`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Admin, Limits, Listen, ListenTls, Route, Share, StateConfig, keys,
    raw::{Found, Section},
    redis,
    value::{address, boolean, count, duration, file, one_of, readable, size, span_of_time},
};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7370);
const STATE: &str = "/var/lib/perennial";
const SMALLEST_HISTORY: usize = 64 << 10;
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7371);

/// `[listen]`, and where its address stands.
pub(super) fn listen(root: &Section<'_>) -> Found<Listen> {
    let Some(table) = root.table("listen", &keys::LISTEN) else {
        return Found { value: Listen { address: LISTEN, tls: None, open: false }, span: 0..0 };
    };
    let value = Listen {
        address: table.value("address", address).unwrap_or(LISTEN),
        tls: listen_tls(&table),
        open: table.value("open", boolean).unwrap_or(false),
    };
    Found { value, span: table.span_of("address") }
}

fn listen_tls(table: &Section<'_>) -> Option<ListenTls> {
    let certificate = table.value("certificate", readable);
    let key = table.value("key", readable);
    let client_ca = table.value("client_ca", readable);
    let needs = |one: &str, other: &str| {
        if table.has(one) && !table.has(other) {
            let message = format!("needs {other} beside it; add {other} = \"PATH\"");
            table.problem_at(&table.span_of(one), one, message);
        }
    };
    needs("certificate", "key");
    needs("key", "certificate");
    needs("client_ca", "certificate");
    Some(ListenTls { certificate: certificate?, key: key?, client_ca })
}

/// `[admin]`.
pub(super) fn admin(root: &Section<'_>) -> Admin {
    let table = root.table("admin", &keys::ADMIN);
    let table = table.as_ref();
    Admin {
        address: table.and_then(|t| t.value("address", address)).unwrap_or(ADMIN),
        rehearsal: table.and_then(|t| t.value("rehearsal", boolean)).unwrap_or(true),
    }
}

/// `[limits]`.
pub(super) fn limits(root: &Section<'_>) -> Limits {
    let table = root.table("limits", &keys::LIMITS);
    let table = table.as_ref();
    let ten = Duration::from_secs(10);
    Limits {
        sessions: table.and_then(|t| t.value("sessions", count)).unwrap_or(10_000),
        message: table.and_then(|t| t.value("message", size)).unwrap_or(1 << 20),
        handshake: table.and_then(|t| t.value("handshake", span_of_time)).unwrap_or(ten),
        drain: table.and_then(|t| t.value("drain", duration)).unwrap_or(ten),
        history: table.and_then(|t| t.value("history", history)).unwrap_or(64 << 20),
    }
}

/// Room for the tokens of a few clients at the least: with less, what was superseded just now is forgotten.
fn history(value: &toml::de::DeValue<'_>) -> Result<usize, String> {
    match size(value)? {
        small if small < SMALLEST_HISTORY => Err("must be at least \"64KiB\"".to_owned()),
        bytes => Ok(bytes),
    }
}

/// `[state]`.
pub(super) fn state(root: &Section<'_>) -> StateConfig {
    let Some(table) = root.table("state", &keys::STATE) else { return StateConfig::Memory };
    let store = table.value("store", |value| one_of(value, &["memory", "disk", "redis"], &[]));
    // What is wrong with the store has been said already.
    if !table.has("store") || store.is_some() {
        for (key, _, owners) in table.foreign(store.unwrap_or("memory")) {
            let message =
                format!("belongs to store = \"{}\"; write that, or remove it", owners.join("\" or \""));
            table.problem_at(&table.span_of(key), key, message);
        }
    }
    match store {
        Some("disk") => {
            let path = table.value("path", file);
            StateConfig::Disk { path: path.unwrap_or_else(|| PathBuf::from(STATE)) }
        }
        // Without its configuration there is a problem, and nobody uses the answer.
        Some("redis") => {
            redis::redis(&table).map_or(StateConfig::Memory, |redis| StateConfig::Redis(Box::new(redis)))
        }
        _ => StateConfig::Memory,
    }
}

/// Credentials reach nobody by accident: a listener beyond loopback says who may come in.
pub(super) fn gate(root: &Section<'_>, listen: &Found<Listen>, routes: &[Arc<Route>]) {
    let Found { value: listen, span } = listen;
    let closed = listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if listen.open || closed || listen.address.ip().to_canonical().is_loopback() {
        return;
    }
    for route in routes.iter().filter(|route| lets_anyone_in(route)) {
        let message = format!(
            "reachable from other machines, and route \"{}\" lets anyone in: set its secret in \
             [route.client], or client_ca in [listen], or say open = true in [listen]",
            route.name
        );
        root.problems.add(span, "listen.address", message);
    }
}

/// Is there nothing that a client has to show? A token of its own is judged by the service, where the
/// credential behind it is that client's alone.
fn lets_anyone_in(route: &Route) -> bool {
    let each = matches!(&route.token, Some(token) if matches!(token.share, Share::Client { .. }));
    route.client.secret.is_none() && !(each && route.client.token.is_some())
}
