//! The tables that are not a route's: `[listen]`, `[admin]`, `[limits]`, `[state]`.

use std::sync::Arc;

use super::{
    Listen, ListenTls, RedisConfig, Route, Secret, Share, SourceConfig, StateConfig,
    declare::{Declared, Kind, table, value, words},
    listen_address::Address,
    networks::TrustedNetworks,
    redis::RedisTable,
    section::{Section, Span as Place},
    value::{Count, File, Flag, Host, Kept, Path, Prefix, Several, Size, Span, Time, Unread, expected},
};

table! {
    /// Where clients connect.
    pub(super) struct ListenTable {
        /// Where it listens: `"127.0.0.1:7370"`, `"unix:/run/perennial/clients.sock"`, or several of them. Port 0 takes a
        /// free one; the log line `listening` names it. A Unix socket has mode 0600, and no TLS.
        address: or Several<Address> = "\"127.0.0.1:7370\"";
        /// PEM file: the certificate chain that is shown to clients. With it, clients speak TLS. It is read again when
        /// it changes.
        certificate: maybe File, beside("key");
        /// PEM file: the private key of the certificate.
        key: maybe File, beside("certificate");
        /// PEM file: clients must show a certificate that one of these authorities signed.
        client_ca: maybe File, beside("certificate");
        /// Allows a listener beyond loopback to which anybody may connect.
        open: or Flag = "false";
        /// Networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`, are believed; `"unix"`: who
        /// connects by a Unix socket. From anyone else these headers go no further.
        trusted_proxies: or TrustedNetworks = "[]";
        /// Every connection from `trusted_proxies` begins with a header of PROXY protocol, version 1 or 2.
        proxy_protocol: or Flag = "false";
    }
}

table! {
    /// Where operators look: the status page, `/metrics`, `/startupz`, `/readyz`, `/livez`.
    pub struct Admin {
        /// Where it listens: an address and a port, or `"unix:/run/perennial/admin.sock"`.
        address: or Address = "\"127.0.0.1:7371\"";
        /// Names by which it may be asked, beside addresses and `localhost`. Metrics and probes are answered under any
        /// name.
        hosts: or HostNames = "[]";
        /// Allows `perennial rehearse`, from this machine only.
        rehearsal: or Flag = "true";
        /// What an operator's commands (`perennial sessions`, `close`, `reload`, `rehearse`) must show, as
        /// `Authorization: Bearer`: on a machine with other users, or in a pod with other containers, it keeps them from these. The commands find it
        /// here, if they may read it.
        rehearsal_secret: maybe Unread;
    }
}

table! {
    /// What bounds the process.
    pub struct Limits {
        /// Sessions at once. A client beyond it gets status 503.
        sessions: or Count = "10000";
        /// Sessions at once of one client address (of IPv6: of one network of 64 bits). A client beyond it gets status
        /// 429. Behind a load balancer all clients may have one address.
        sessions_per_address: maybe Count;
        /// Sessions at once of one client's token, with `share = "client"`. A client beyond it gets status 429.
        sessions_per_credential: maybe Count;
        /// Handshakes that one client address may begin in a second. A client beyond it gets status 429.
        handshakes_per_second: maybe Count;
        /// Bytes of a message. A larger one ends the session with Close 1009.
        message: or Size = "\"1MiB\"";
        /// Bytes of the head of a request, and of a service's answer to a handshake. A client beyond it gets status 431. At
        /// least "8KiB".
        head: or Head = "\"16KiB\"";
        /// How long a client's handshake may take, the service's included.
        handshake: or Time = "\"10s\"";
        /// After SIGTERM `/readyz` fails and clients are still served for so long, before the drain begins: a load
        /// balancer has the time to notice.
        shutdown_delay: or Span = "\"0s\"";
        /// After SIGTERM the sessions end one after the other within this time.
        drain: or Span = "\"10s\"";
        /// Bytes of superseded tokens that are remembered; beyond it the oldest are forgotten. At least "64KiB".
        history: or History = "\"64MiB\"", restart();
    }
}

value! {
    pub(super) HostNames: Vec<String>, Kind::Texts, |value, at| {
        let what = "an array of names of hosts, such as [\"perennial.internal\"]";
        let Some(entries) = value.as_array() else { return expected(what, value) };
        entries.iter().map(|entry| Host::read(entry.get_ref(), at)).collect()
    }
}

value! {
    /// What a head may have: room for what every client sends.
    pub(super) Head: usize, Kind::Size, |value, at| match Size::read(value, at)? {
        small if small < 8 << 10 => Err("must be at least \"8KiB\"".to_owned()),
        large if large > 1 << 20 => Err("must be at most \"1MiB\"".to_owned()),
        bytes => Ok(bytes),
    }
}

value! {
    /// Room for the tokens of a few clients at the least: with less, what was superseded just now is forgotten.
    pub(super) History: usize, Kind::Size, |value, at| match Size::read(value, at)? {
        small if small < 64 << 10 => Err("must be at least \"64KiB\"".to_owned()),
        bytes => Ok(bytes),
    }
}

table! {
    /// What is kept when the process ends: superseded tokens, refresh tokens.
    pub(super) struct StateTable {
        /// `memory`: nowhere. `disk`: a database file that one process owns. `redis`: shared by several sidecars.
        store: or Store = "\"memory\"", restart();
    }
    parts "store" { "disk" => Disk, "redis" => RedisTable }
}

words! {
    /// Where state is kept.
    pub(super) enum Store {
        /// For as long as the process lives.
        Memory = "memory",
        /// In a directory.
        Disk = "disk",
        /// In a Redis.
        Redis = "redis",
    }
}

table! {
    /// A database file that one process owns.
    pub(super) struct Disk {
        /// The directory of the database.
        path: or Path = "\"/var/lib/perennial\"", restart();
        /// Key of all names and seals: who lacks it can open nothing of the file. To replace it, write the new one and
        /// the old one, `[NEW, OLD]`, until what was written under the old one is over.
        secret: maybe StateSecret, restart();
    }
}

value! {
    /// One secret, or the new one and the one before it; each too long to be guessed.
    pub(super) StateSecret: Vec<Secret>, Kind::Several(&Kind::Secret), |value, at| {
        let secrets = Several::<Kept>::read(value, at)?;
        if secrets.len() > 2 {
            return Err("takes two at the most: the new one, and the one before it".to_owned());
        }
        let short = |secret: &Secret| secret.reveal().is_ok_and(|text| text.len() < SHORTEST_SECRET);
        if secrets.iter().any(short) {
            return Err("must have 16 characters or more; `openssl rand -base64 32` makes one".to_owned());
        }
        Ok(secrets)
    }
}

const SHORTEST_SECRET: usize = 16;

/// `[listen]`, and where its address stands.
pub(super) fn listen(root: &Section<'_>) -> Option<(Listen, Place)> {
    let ListenTable {
        address: addresses,
        certificate,
        key,
        client_ca,
        open,
        trusted_proxies,
        proxy_protocol,
    } = root.within("listen")?;
    if proxy_protocol && trusted_proxies.is_empty() {
        let message = "needs trusted_proxies: who sends these headers has to be known";
        root.at("listen").refuse("proxy_protocol", message);
    }
    let twice = addresses.iter().enumerate().find(|(nth, one)| addresses[..*nth].contains(one));
    if let Some((_, address)) = twice {
        root.at("listen").refuse("address", format!("names {address} twice"));
    }
    let tls = certificate.zip(key).map(|(certificate, key)| ListenTls { certificate, key, client_ca });
    let place = root.table("listen").map_or(0..0, |table| table.span_of("address"));
    Some((Listen { addresses, tls, open, trusted_proxies, proxy_protocol }, place))
}

/// `[admin]`. Its secret is there for the sidecar, and need not be for those who only ask where that is.
pub(super) fn admin(root: &Section<'_>) -> Option<Admin> {
    let admin: Admin = root.within("admin")?;
    if let Some(Err(error)) = admin.rehearsal_secret.as_ref().map(Secret::reveal) {
        root.at("admin").refuse("rehearsal_secret", error.to_string());
    }
    Some(admin)
}

/// `[state]`.
pub(super) fn state(root: &Section<'_>) -> Option<StateConfig> {
    let StateTable { store } = root.within("state")?;
    Some(match (store, root.table("state")) {
        (Store::Memory, _) | (_, None) => StateConfig::Memory,
        (Store::Disk, Some(table)) => {
            let Disk { path, secret } = Disk::read(&table)?;
            StateConfig::Disk { path, secret: secret.unwrap_or_default() }
        }
        (Store::Redis, Some(table)) => StateConfig::Redis(Box::new(RedisConfig::of(&table)?)),
    })
}

/// Credentials reach nobody by accident: a listener beyond loopback says who may come in.
pub(super) fn gate(root: &Section<'_>, listen: &Listen, place: &Place, routes: &[Arc<Route>]) {
    if listen.lets_in() || listen.is_loopback() {
        return;
    }
    for route in routes.iter().filter(|route| lets_anyone_in(route)) {
        let message = format!(
            "reachable from other machines, and route \"{}\" lets anyone in: set its secret in \
             [route.client], or client_ca in [listen], or say open = true in [listen]",
            route.name
        );
        root.problems.add(place, "listen.address", message);
    }
}

/// A command may give another token on each machine: where sidecars share what it gives, the route's name says whose
/// it is.
pub(super) fn named_commands(root: &Section<'_>, state: &StateConfig, routes: &[Arc<Route>]) {
    if !matches!(state, StateConfig::Redis(_)) {
        return;
    }
    let runs = |route: &&Arc<Route>| matches!(&route.token, Some(token) if matches!(token.source, SourceConfig::Exec(_)));
    for section in root.tables("route").iter().filter(|section| !section.has("name")) {
        let path = section.or::<Prefix>("path", "\"/\"");
        if routes.iter().filter(runs).any(|route| path.as_ref() == Some(&route.path)) {
            section.missing(
                "name",
                "name = \"NAME\": sidecars on one Redis share the token of a command by its route's name",
            );
        }
    }
}

/// Is there nothing that a client has to show? A token of its own is judged by the service, where the
/// credential behind it is that client's alone.
fn lets_anyone_in(route: &Route) -> bool {
    let each = matches!(&route.token, Some(token) if matches!(token.share, Share::Client { .. }));
    route.client.secret.is_none() && !(each && route.client.token.is_some())
}
