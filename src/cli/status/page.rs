//! A snapshot as lines: the head that answers in one look, the routes, the last events.
//!
//! It is pure: the same snapshot gives the same lines. What others wrote is made harmless here, and in
//! `routes`.

use super::{
    super::words::{span, time_of_day},
    routes,
};
use crate::{
    admin::{
        client::AdminAddress,
        health::{Health, Level},
        status::{EventLine, Status},
    },
    terminal::{Line, Tone, visible},
};

/// Events that are shown.
const EVENTS: usize = 10;
/// No more of a name, of an error, is shown.
const LONGEST: usize = 200;
/// No more of what is wrong is named in the head.
const CONDITIONS: usize = 8;

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

/// Are clients served? Then what is wrong, the worst first, and what goes on.
fn head(status: &Status) -> Vec<Line> {
    // A sidecar of another version may not say it.
    let health = if status.health.conditions.is_empty() { &Health::of(status) } else { &status.health };
    let Health { level, conditions } = health;
    let mut lines = vec![sentence(tone(*level), level.word())];
    for one in conditions.iter().take(CONDITIONS) {
        lines.push(sentence(tone(one.level), &visible(&one.sentence(), LONGEST * 2)));
    }
    if let Some(more @ 1..) = conditions.len().checked_sub(CONDITIONS) {
        lines.push(sentence(Tone::Plain, &format!("{more} more; all: --json")));
    }
    if !status.draining {
        lines.push(sentence(Tone::Plain, &format!("{}{}", sessions(status), next(status))));
    }
    lines
}

fn sessions(status: &Status) -> String {
    let counts = status.routes.iter().map(|route| routes::up(&route.sessions));
    let (up, all) = counts
        .fold((0, 0), |sum: (u64, u64), one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    match (up, all) {
        (_, 0) => "No sessions.".to_owned(),
        (1, 1) => "The one session is up.".to_owned(),
        (up, all) if up == all => format!("All {all} sessions up."),
        (up, all) => format!("{up} of {all} sessions up."),
    }
}

fn next(status: &Status) -> String {
    match routes::next_refresh(status) {
        Some(at) if at > status.now => format!(" Next refresh in {}.", span(at - status.now)),
        Some(_) => " A refresh is due.".to_owned(),
        None => String::new(),
    }
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Healthy => Tone::Good,
        Level::Degraded => Tone::Warning,
        Level::Unhealthy => Tone::Bad,
    }
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
