//! Are clients served? One answer, for the page, for `perennial status` and for `/readyz`.
//!
//! ```text
//!   Status ──► conditions: what is wrong, the worst first ──► healthy | degraded | unhealthy
//! ```
//!
//! | word | means |
//! |---|---|
//! | healthy | clients that ask are served |
//! | degraded | some are not, or something that is needed later does not work |
//! | unhealthy | clients are turned away or cut off, or are about to be |
//!
//! It is pure: the same snapshot gives the same words.

use serde::{Deserialize, Serialize};

use super::{
    status::{CertificateStatus, CredentialStatus, LatelyStatus, RouteStatus, Status, UnreachedStatus},
    words::{count, span},
};

/// A token that cannot be refreshed and ends sooner than this: clients are about to be cut off.
const SOON: f64 = 60.0;
/// What a dial came to longer ago may not be so any more: nobody tries without clients.
const FRESH: f64 = 300.0;
/// Fewer clients that were turned away may be one that is wrong by itself.
const SEVERAL: u64 = 3;
/// A certificate that ends sooner needs somebody who renews it.
const CERTIFICATE: f64 = 14.0 * 86_400.0;

/// How badly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Healthy,
    Degraded,
    Unhealthy,
}

impl Level {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub level: Level,
    /// What is wrong, the worst first.
    pub conditions: Vec<Condition>,
}

/// Something that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub level: Level,
    /// Stays the same while the numbers in the text change.
    pub key: String,
    pub route: Option<String>,
    /// A sentence, without its route, its capital and its full stop.
    pub text: String,
}

impl Condition {
    /// As a sentence of its own.
    pub fn sentence(&self) -> String {
        let mut letters = self.text.chars();
        match &self.route {
            Some(route) => format!("Route {route}: {}.", self.text),
            None => format!("{}{}.", letters.next().unwrap_or_default().to_uppercase(), letters.as_str()),
        }
    }
}

impl Health {
    /// Of a snapshot; what it says of its health already is not looked at.
    pub fn of(status: &Status) -> Self {
        let of_routes = status.routes.iter().flat_map(|route| {
            let found = of_route(route, status.now);
            found.into_iter().map(|one| Condition { route: Some(route.name.clone()), ..one })
        });
        let mut conditions: Vec<_> = of_routes.chain(of_process(status)).collect();
        conditions.sort_by_key(|one| std::cmp::Reverse(one.level));
        Self { level: conditions.first().map_or(Level::Healthy, |worst| worst.level), conditions }
    }
}

fn bad(key: &str, text: String) -> Condition {
    Condition { level: Level::Unhealthy, key: key.to_owned(), route: None, text }
}

fn watch(key: &str, text: String) -> Condition {
    Condition { level: Level::Degraded, ..bad(key, text) }
}

fn of_route(route: &RouteStatus, now: f64) -> Vec<Condition> {
    let mut found = Vec::new();
    found.extend(route.unreached.as_ref().map(|known| unreached(known, now)));
    lately(&route.lately, route.limits.reconnect, &mut found);
    match route.share.as_str() {
        "client" => clients(route, now, &mut found),
        _ => found.extend(route.credentials.first().and_then(|one| credential(one, now))),
    }
    sessions(route, &mut found);
    found
}

/// No dial of the service gets an answer.
fn unreached(known: &UnreachedStatus, now: f64) -> Condition {
    let UnreachedStatus { since, last, failures, error } = known;
    let tries = times(*failures);
    if now - last >= FRESH {
        let ago = span(now - last);
        let text =
            format!("the service could not be reached when it was last tried, {ago} ago, {tries}: {error}");
        return watch("unreached", text);
    }
    let text = format!("the service has not been reached for {}, tried {tries}: {error}", span(now - since));
    if *failures < SEVERAL { watch("unreached", text) } else { bad("unreached", text) }
}

/// What clients met in the last minutes.
fn lately(lately: &LatelyStatus, reconnect: f64, found: &mut Vec<Condition>) {
    let LatelyStatus { accepted, rejected, without_token, over_limit, expired, outlasted, .. } = *lately;
    let within = span(lately.within);
    let turned = total([rejected, without_token, over_limit]);
    let all = accepted.saturating_add(turned).saturating_sub(lately.rejected_later);
    if turned > 0 {
        let whys = [
            (rejected, lately.said.as_deref().unwrap_or("the service refused them")),
            (without_token, "there was no token for them"),
            (over_limit, "a limit was reached"),
        ];
        let whys: Vec<_> = whys.into_iter().filter(|(number, _)| *number > 0).map(|(_, why)| why).collect();
        let text =
            format!("{turned} of {} were turned away in {within}: {}", count(all, "client"), whys.join("; "));
        let most = turned >= SEVERAL && turned.saturating_mul(2) > all;
        found.push(if most { bad("turned away", text) } else { watch("turned away", text) });
    }
    if expired > 0 {
        let were = was(expired);
        found.push(bad("cut off", format!("{were} closed in {within} because a token had expired")));
    }
    if outlasted > 0 {
        let were = was(outlasted);
        let limit = span(reconnect);
        let text =
            format!("{were} closed in {within}: the service was away for longer than reconnect ({limit})");
        found.push(bad("outlasted", text));
    }
}

/// The credential of all clients.
fn credential(one: &CredentialStatus, now: f64) -> Option<Condition> {
    let failed = format!("refresh has failed {}", times(one.failures));
    let left = one.expires.map(|end| end - now);
    match one.state.as_str() {
        "missing" if one.failures > 0 => Some(bad(
            "missing",
            format!("there is no token: fetching one has failed {}", times(one.failures)),
        )),
        "missing" if one.fetching => Some(watch("first", "the first token is being fetched".to_owned())),
        "missing" => Some(watch("first", "there is no token yet".to_owned())),
        "expired" => {
            let ago = left.map_or_else(String::new, |left| format!(" {} ago", span(-left)));
            let failed = if one.failures > 0 { format!("; {failed}") } else { String::new() };
            Some(bad("expired", format!("the token ended{ago}{failed}")))
        }
        "failing" => {
            let rest = left.map_or_else(
                || "nobody told how long the token lasts".to_owned(),
                |left| format!("the token lasts {} more", span(left)),
            );
            let text = format!("{failed}; {rest}");
            Some(if left.is_some_and(|left| left < SOON) {
                bad("failing", text)
            } else {
                watch("failing", text)
            })
        }
        _ => None,
    }
}

/// If each client has its own: how many are worse off than they should be.
fn clients(route: &RouteStatus, now: f64, found: &mut Vec<Condition>) {
    let all = count(u64::try_from(route.credentials_total).unwrap_or(u64::MAX), "credential");
    let with = |state: &'static str| route.credentials.iter().filter(move |one| one.state == state);
    let failing = with("failing").count();
    if failing > 0 {
        let ends = with("failing").filter_map(|one| one.expires).min_by(f64::total_cmp);
        let first =
            ends.map_or_else(String::new, |end| format!("; the first token lasts {} more", span(end - now)));
        found.push(watch("failing", format!("refresh fails for {failing} of {all}{first}")));
    }
    let expired = with("expired").count();
    if expired > 0 {
        found.push(watch("expired", format!("the token has ended for {expired} of {all}")));
    }
}

/// Sessions that wait for the service.
fn sessions(route: &RouteStatus, found: &mut Vec<Condition>) {
    let of = |state: &str| route.sessions.get(state).copied().unwrap_or_default();
    let (hold, limit) = (route.longest_hold.unwrap_or_default(), route.limits.reconnect);
    let late = limit > 0.0 && hold > limit / 2.0;
    let wait = if hold > 0.0 {
        format!(", the longest for {} of {}", span(hold), span(limit))
    } else {
        String::new()
    };
    let resuming = of("resuming");
    if resuming > 0 {
        let open = ["opening", "live", "exchanging", "swapping", "resuming"];
        let all = count(total(open.map(of)), "session");
        let text = format!("{resuming} of {all} without a connection to the service{wait}");
        found.push(if late { bad("resuming", text) } else { watch("resuming", text) });
    } else if late {
        found.push(bad(
            "held",
            format!("a session has held its messages for {} of {}", span(hold), span(limit)),
        ));
    }
    let (full, most) = (route.fullest_queue, route.limits.queue);
    if most > 0 && full.saturating_mul(5) > most.saturating_mul(4) {
        let part = full.saturating_mul(100) / most;
        found.push(watch("queue", format!("the queue of a session is {part} % full")));
    }
}

fn of_process(status: &Status) -> Vec<Condition> {
    let mut found = Vec::new();
    let sessions = total(status.routes.iter().flat_map(|route| route.sessions.values().copied()));
    if status.draining {
        found.push(watch(
            "draining",
            format!("draining: no new clients, {} left", count(sessions, "session")),
        ));
    } else {
        found.extend(status.problems.iter().map(|problem| bad(problem, format!("not ready: {problem}"))));
        if status.sessions_limit > 0 && sessions >= status.sessions_limit {
            let all = count(status.sessions_limit, "session");
            found.push(bad("limit", format!("the limit of {all} is reached: new clients are turned away")));
        }
    }
    if !status.store.up {
        let why = status.store.error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let kind = &status.store.kind;
        found.push(watch(
            "store",
            format!("the store ({kind}) cannot be used; sessions go on with the tokens in hand{why}"),
        ));
    }
    if !status.reload.successful {
        let ago = status.reload.at.map_or_else(String::new, |at| format!(" {} ago", span(status.now - at)));
        let why = status.reload.error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        found.push(watch(
            "reload",
            format!("the reload{ago} was refused, the configuration before it stays{why}"),
        ));
    }
    found.extend(status.certificates.iter().filter_map(|one| certificate(one, status.now)));
    found
}

fn certificate(one: &CertificateStatus, now: f64) -> Option<Condition> {
    let (whose, left) = (&one.whose, one.expires - now);
    let key = format!("certificate {whose}");
    match left {
        ..=0.0 => Some(bad(&key, format!("the certificate of {whose} ended {} ago", span(-left)))),
        ..CERTIFICATE => Some(watch(&key, format!("the certificate of {whose} ends in {}", span(left)))),
        _ => None,
    }
}

/// A sum; a command may be handed any number.
fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

fn was(clients: u64) -> String {
    if clients == 1 { "1 client was".to_owned() } else { format!("{clients} clients were") }
}

fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

#[cfg(test)]
mod tests;
