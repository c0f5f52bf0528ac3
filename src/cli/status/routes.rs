//! One route as lines: its credentials, each with what is left of its life, and what its sessions meet.

use std::collections::BTreeMap;

use super::{
    super::words::{bytes, percentage, span},
    page::said,
};
use crate::{
    admin::status::{CredentialStatus, Outcomes, RouteStatus, Status},
    terminal::{Line, Tone},
};

/// Credentials that are shown of a route: those closest to their end.
const CREDENTIALS: usize = 5;
/// Cells of a bar.
const CELLS: usize = 24;
/// States of sessions, in the order in which one goes through them.
const STATES: [&str; 7] = ["live", "exchanging", "resuming", "swapping", "opening", "parked", "closing"];
/// The cause that must not be.
const EXPIRED: &str = "token_expired";

/// Sessions that relay, of those that have a client and were opened.
pub(super) fn up(sessions: &BTreeMap<String, u64>) -> (u64, u64) {
    let of = |state: &str| sessions.get(state).copied().unwrap_or_default();
    let up = of("live").saturating_add(of("exchanging"));
    (up, up.saturating_add(of("resuming")).saturating_add(of("swapping")))
}

/// The first refresh that will be.
pub(super) fn next_refresh(status: &Status) -> Option<f64> {
    let all = status.routes.iter().flat_map(|route| &route.credentials);
    all.filter_map(|credential| credential.next_refresh).min_by(f64::total_cmp)
}

/// One route.
pub(super) fn route(route: &RouteStatus, now: f64) -> Vec<Line> {
    let whose = match route.share.as_str() {
        "route" => "one credential for all clients".to_owned(),
        "client" => format!("a credential for each client, {} now", route.credentials_total),
        "none" => "no credential".to_owned(),
        other => said(other),
    };
    let (path, upstream) = (said(&route.path), said(&route.upstream));
    let mut lines = vec![
        Line::new(Tone::Strong, format!("ROUTE {}", said(&route.name)))
            .and(Tone::Faint, format!("  {path} ─► {upstream}  {}, {whose}", said(&route.dialect))),
    ];
    for credential in route.credentials.iter().take(CREDENTIALS) {
        lines.extend(self::credential(credential, now));
    }
    let shown = route.credentials.len().min(CREDENTIALS);
    if route.credentials_total > shown {
        let words = format!("these {shown} end first, of {}; all: --json", route.credentials_total);
        lines.push(label("").and(Tone::Faint, words));
    }
    lines.push(label("sessions").and(Tone::Plain, sessions(route)));
    lines.push(refreshes(route));
    lines.push(reauthentications(route));
    lines.push(held(route));
    let lost = route.lost.up.saturating_add(route.lost.down);
    let tone = if lost == 0 { Tone::Plain } else { Tone::Bad };
    let relayed = format!("{} up, {} down relayed, ", route.messages.up, route.messages.down);
    lines.push(label("messages").and(Tone::Plain, relayed).and(tone, format!("{lost} lost")));
    lines.push(closed(route));
    lines
}

fn label(name: &str) -> Line {
    Line::new(Tone::Faint, format!("  {name:<11} "))
}

/// A credential, and what is left of its token.
fn credential(one: &CredentialStatus, now: f64) -> Vec<Line> {
    let tone = match one.state.as_str() {
        "valid" => Tone::Good,
        "failing" => Tone::Warning,
        _ => Tone::Bad,
    };
    let mut first = label("credential")
        .and(Tone::Plain, format!("{}  ", said(&one.name)))
        .and(tone, said(&one.state))
        .and(Tone::Plain, format!(", generation {}", one.generation));
    if one.fetching {
        first = first.and(Tone::Plain, ", fetching now");
    }
    let mut when = Vec::new();
    if let Some(at) = one.last_refresh {
        let took = one.took.map_or_else(String::new, |took| format!(" in {}", span(took)));
        when.push(format!("refreshed {} ago{took}", span(now - at)));
    }
    match one.next_refresh {
        Some(at) if at > now => when.push(format!("next in {}", span(at - now))),
        Some(_) => when.push("next is due".to_owned()),
        None => {}
    }
    if !when.is_empty() {
        first = first.and(Tone::Faint, format!("  {}", when.join(", ")));
    }
    let mut lines = vec![first, label("time left").join(time_left(one, now))];
    if let Some(end) = one.refresh_token_expires {
        let tone = if end <= now { Tone::Bad } else { Tone::Faint };
        let words = if end <= now { "has ended".to_owned() } else { format!("ends in {}", span(end - now)) };
        lines.push(label("").and(tone, format!("the refresh token {words}")));
    }
    if let Some(error) = &one.error {
        let times = if one.failures > 1 { format!(" ({} times)", one.failures) } else { String::new() };
        lines.push(label("").and(Tone::Bad, format!("{}{times}", said(error))));
    }
    lines
}

/// What is left, as a bar that runs down and in words.
fn time_left(one: &CredentialStatus, now: f64) -> Line {
    let Some(end) = one.expires else {
        let words = if one.generation == 0 { "no token yet" } else { "nobody told how long it lasts" };
        return Line::new(Tone::Faint, words);
    };
    let left = end - now;
    if left <= 0.0 {
        return Line::new(Tone::Faint, "░".repeat(CELLS))
            .and(Tone::Bad, format!(" ended {} ago", span(-left)));
    }
    let life = one.issued.map(|issued| end - issued).filter(|life| *life >= left);
    let part = life.map_or(1.0, |life| left / life).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and CELLS"
    )]
    let full = ((part * CELLS as f64).ceil() as usize).min(CELLS);
    let tone = if one.state == "valid" { Tone::Good } else { Tone::Warning };
    let of = life.map_or_else(String::new, |life| format!(" of {}", span(life)));
    Line::new(tone, "█".repeat(full))
        .and(Tone::Faint, "░".repeat(CELLS - full))
        .and(Tone::Plain, format!(" {}{of}", span(left)))
}

fn sessions(route: &RouteStatus) -> String {
    let known = STATES.iter().filter_map(|state| Some((*state, *route.sessions.get(*state)?)));
    let other = route.sessions.iter().filter(|(state, _)| !STATES.contains(&state.as_str()));
    let all = known.chain(other.map(|(state, count)| (state.as_str(), *count)));
    let some: Vec<String> = all
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", said(state)))
        .collect();
    let uptime = route.uptime.map_or_else(String::new, |uptime| format!("; uptime {}", percentage(uptime)));
    format!("{}{uptime}", if some.is_empty() { "none".to_owned() } else { some.join(", ") })
}

/// Only what there is; what is not `ok` stands out.
fn outcomes(line: Line, outcomes: Outcomes) -> Line {
    let Outcomes { ok, failed, rejected } = outcomes;
    let mut line = line.and(Tone::Plain, format!("{ok} ok"));
    for (count, word) in [(failed, "failed"), (rejected, "rejected")] {
        if count > 0 {
            line = line.and(Tone::Plain, ", ").and(Tone::Warning, format!("{count} {word}"));
        }
    }
    line
}

fn refreshes(route: &RouteStatus) -> Line {
    let line = outcomes(label("refreshes"), route.refreshes);
    match latency(&route.refresh_latencies) {
        Some(latency) => line.and(Tone::Faint, format!("; {latency}")),
        None => line,
    }
}

fn reauthentications(route: &RouteStatus) -> Line {
    let none = Outcomes::default();
    let mut line = label("re-auth");
    let ways = route.reauthentications.iter().filter(|(_, outcomes)| **outcomes != none);
    for (nth, (way, one)) in ways.enumerate() {
        let comma = if nth > 0 { "; " } else { "" };
        line = outcomes(line.and(Tone::Plain, format!("{comma}{}: ", said(way))), *one);
    }
    if route.reauthentications.values().all(|outcomes| *outcomes == none) {
        line = line.and(Tone::Plain, "none yet");
    }
    match latency(&route.exchange_latencies) {
        Some(latency) => line.and(Tone::Faint, format!("; exchange {latency}")),
        None => line,
    }
}

/// Of the last sixty.
fn latency(latencies: &[f64]) -> Option<String> {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (median, worst) = (sorted.get(sorted.len() / 2)?, sorted.last()?);
    Some(format!("median {}, worst {}", span(*median), span(*worst)))
}

/// What waits now, and the longest of the last ten minutes.
fn held(route: &RouteStatus) -> Line {
    let limits = &route.limits;
    let now = match route.longest_hold.filter(|hold| *hold > 0.0) {
        Some(hold) => {
            let held = route.held_bytes.up.saturating_add(route.held_bytes.down);
            let tone = if hold > limits.reconnect / 2.0 { Tone::Bad } else { Tone::Warning };
            let (longest, queue) = (span(hold), bytes(limits.queue));
            let text = format!(
                "{} for {longest} at most (closed after {}), {} in the fullest queue (of {queue})",
                bytes(held),
                span(limits.reconnect),
                bytes(route.fullest_queue)
            );
            label("held").and(tone, text)
        }
        None => label("held").and(Tone::Plain, "nothing now"),
    };
    match route.holds.iter().copied().max_by(f64::total_cmp).filter(|longest| *longest > 0.0) {
        Some(longest) => now.and(Tone::Faint, format!("; longest of the last 10 min: {}", span(longest))),
        None => now,
    }
}

/// Sessions that ended, by cause.
fn closed(route: &RouteStatus) -> Line {
    let expired = route.closed.get(EXPIRED).copied().unwrap_or_default();
    let tone = if expired == 0 { Tone::Plain } else { Tone::Bad };
    let mut line = label("closed").and(tone, format!("{expired} token expired"));
    for (cause, count) in route.closed.iter().filter(|(cause, count)| **count > 0 && *cause != EXPIRED) {
        line = line.and(Tone::Plain, format!(", {count} {}", said(&cause.replace('_', " "))));
    }
    line
}
