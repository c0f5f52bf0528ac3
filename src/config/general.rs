//! The tables that are not a route's: `[listen]`, `[admin]`, `[limits]`, `[state]`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Admin, Limits, Listen, ListenTls, Route, keys,
    raw::{Found, Section},
    value::{address, boolean, count, duration, one_of, readable, size, span_of_time},
};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

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
    Admin { address: table.and_then(|t| t.value("address", address)).unwrap_or(ADMIN) }
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
    }
}

/// `[state]`: there is one store, memory, so that nothing is kept of it.
pub(super) fn state(root: &Section<'_>) {
    if let Some(table) = root.table("state", &keys::STATE) {
        table.value("store", |value| one_of(value, &["memory"], &["disk", "redis"]));
    }
}

/// Credentials reach nobody by accident: a listener beyond loopback says who may come in.
pub(super) fn gate(root: &Section<'_>, listen: &Found<Listen>, routes: &[Arc<Route>]) {
    let Found { value: listen, span } = listen;
    let closed = listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if listen.open || closed || listen.address.ip().to_canonical().is_loopback() {
        return;
    }
    for route in routes.iter().filter(|route| route.client.secret.is_none()) {
        let message = format!(
            "reachable from other machines, and route \"{}\" lets anyone in: set its secret in \
             [route.client], or client_ca in [listen], or say open = true in [listen]",
            route.name
        );
        root.problems.add(span, "listen.address", message);
    }
}
