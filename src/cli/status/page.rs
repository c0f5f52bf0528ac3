//! A snapshot as lines: the head that answers in one look, the routes, the last events.
//!
//! It is pure: the same snapshot gives the same lines. What others wrote is made harmless here, and in
//! `routes`.

use super::{
    super::words::{count, span, time_of_day},
    routes,
};
use crate::{
    admin::{
        client::AdminAddress,
        status::{EventLine, Status},
    },
    terminal::{Line, Tone, visible},
};

/// Events that are shown.
const EVENTS: usize = 10;
/// No more of a name, of an error, is shown.
const LONGEST: usize = 200;
/// No more problems than these are named in the head.
const PROBLEMS: usize = 5;

/// What others wrote.
pub(super) fn said(text: &str) -> String {
    visible(text, LONGEST)
}

/// Everything, for a terminal or for a file.
pub(super) fn page(status: &Status, asked: &AdminAddress) -> Vec<Line> {
    let mut lines = head(status);
    lines.push(about(status, asked));
    for route in &status.routes {
        lines.push(Line::default());
        lines.extend(routes::route(route, status.now));
    }
    lines.push(Line::default());
    lines.extend(events(&status.events));
    lines
}

/// Are clients kept alive? What is wrong comes first.
fn head(status: &Status) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |tone, text: String| lines.push(sentence(tone, &text));
    let (up, all) = status
        .routes
        .iter()
        .map(|route| routes::up(&route.sessions))
        .fold((0, 0), |sum, one| (u64::saturating_add(sum.0, one.0), u64::saturating_add(sum.1, one.1)));
    if status.draining {
        say(Tone::Warning, format!("Going away: no new clients are let in; {} left.", count(all, "session")));
    } else if !status.ready {
        let first = status.problems.first().map_or_else(|| "it does not say why".to_owned(), |one| said(one));
        say(Tone::Bad, format!("Not ready: {first}."));
    }
    for problem in status.problems.iter().skip(usize::from(!status.draining)).take(PROBLEMS) {
        say(Tone::Bad, format!("{}.", said(problem)));
    }
    for credential in
        status.routes.iter().filter_map(|route| routes::trouble(route, status.now)).take(PROBLEMS)
    {
        say(credential.0, credential.1);
    }
    if !status.reload.successful {
        let when = status.reload.at.map_or_else(String::new, |at| format!(" {} ago", span(status.now - at)));
        let why = status.reload.error.as_deref().map_or_else(String::new, |why| format!(": {}", said(why)));
        say(Tone::Warning, format!("The reload{when} was refused, the configuration before it stays{why}"));
    }
    if !status.store.up {
        let why =
            status.store.error.as_deref().map_or_else(|| ".".to_owned(), |why| format!(": {}", said(why)));
        say(Tone::Warning, format!("The store ({}) cannot be used{why}", said(&status.store.kind)));
    }
    let calm = lines.is_empty();
    let next = match routes::next_refresh(status) {
        Some(at) if at > status.now => format!(" Next refresh in {}.", span(at - status.now)),
        Some(_) => " A refresh is due.".to_owned(),
        None => String::new(),
    };
    let tone = if up < all { Tone::Warning } else { Tone::Good };
    let sessions = match (up, all) {
        (_, 0) => "No sessions.".to_owned(),
        (1, 1) => "The one session is up.".to_owned(),
        (up, all) if up == all => format!("All {all} sessions up."),
        (up, all) => format!("{up} of {all} sessions up."),
    };
    if !status.draining {
        let tone = if calm || tone == Tone::Warning { tone } else { Tone::Plain };
        lines.push(sentence(tone, &format!("{sessions}{next}")));
    }
    lines
}

/// A colour only repeats what the sign says.
fn sentence(tone: Tone, text: &str) -> Line {
    let sign = match tone {
        Tone::Good => "●",
        Tone::Warning => "▲",
        Tone::Bad => "✗",
        Tone::Plain | Tone::Strong | Tone::Faint => "·",
    };
    Line::new(tone, format!("{sign} {text}"))
}

fn about(status: &Status, asked: &AdminAddress) -> Line {
    Line::new(
        Tone::Faint,
        format!(
            "  perennial {} on {}, up for {}; store: {}; status page: http://{asked}/",
            said(&status.version),
            said(&status.address),
            span(status.now - status.started),
            said(&status.store.kind)
        ),
    )
}

fn events(events: &[EventLine]) -> Vec<Line> {
    let mut lines = vec![Line::new(Tone::Strong, "LAST EVENTS").and(Tone::Faint, " (UTC, the newest first)")];
    if events.is_empty() {
        lines.push(Line::new(Tone::Faint, "  none yet"));
    }
    lines.extend(events.iter().take(EVENTS).map(event));
    lines
}

fn event(event: &EventLine) -> Line {
    let tone = match event.level.as_str() {
        "info" => Tone::Plain,
        "warn" => Tone::Warning,
        _ => Tone::Bad,
    };
    let times = if event.count > 1 { format!(" ×{}", event.count) } else { String::new() };
    let route = event.route.as_deref().map_or_else(String::new, |route| format!("{}  ", said(route)));
    let fields: Vec<String> =
        event.fields.iter().map(|(name, value)| format!("{}={}", said(name), said(value))).collect();
    Line::new(Tone::Faint, format!("  {}  ", time_of_day(event.at)))
        .and(tone, format!("{:<5} ", said(&event.level)))
        .and(Tone::Plain, route)
        .and(tone, format!("{}{times}  ", said(&event.message)))
        .and(Tone::Faint, visible(&fields.join(" "), LONGEST * 2))
}
