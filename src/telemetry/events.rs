//! The last events of the log, for the page and for `perennial status`.
//!
//! ```text
//!   tracing ──► level, rate ──► stderr        as the log level says
//!           └─► Events ──► the last fifty     INFO and above, Perennial's own
//! ```
//!
//! Rules:
//! 1. What the log may show may be shown here: there is no secret in either.
//! 2. Events that are alike within seconds are one line with a count: a thousand sessions that
//!    re-authenticate do not push out the warning before them.
//! 3. Sessions that come and go as they please are not events that anybody looks for. Nor is a summary of what the
//!    log left out: here nothing was left out.

use std::{
    collections::VecDeque,
    fmt::{Debug, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::clock::Now;

/// Lines that are kept.
const KEPT: usize = 50;
/// Of one event: fields, and characters of one.
const FIELDS: usize = 16;
const FIELD: usize = 300;
/// Within this, an event like the last of its kind is counted with it.
const ALIKE: Duration = Duration::from_secs(5);

/// One line of the log, or several that were alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counts all of them: a newer one has a larger.
    pub id: u64,
    /// Since the Unix epoch.
    pub at: Duration,
    pub level: Level,
    pub message: String,
    pub route: Option<String>,
    /// Names and values, in their order; of several events the last one's.
    pub fields: Vec<(String, String)>,
    /// How many were alike.
    pub count: u32,
}

/// The last events. Cheap to clone: all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    last: u64,
}

impl Events {
    /// The last ones, newest first.
    pub fn newest_first(&self) -> Vec<Line> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.lines.iter().rev().cloned().collect()
    }

    fn put(&self, seen: Seen, level: Level, at: Duration) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let id = ring.last;
        let alike = |line: &Line| {
            line.message == seen.message
                && line.route == seen.route
                && line.level == level
                && at.saturating_sub(line.at) < ALIKE
        };
        if let Some(found) = ring.lines.iter().rposition(alike)
            && let Some(mut line) = ring.lines.remove(found)
        {
            line.count = line.count.saturating_add(1);
            (line.id, line.at, line.fields) = (id, at, seen.fields);
            ring.lines.push_back(line);
            return;
        }
        if ring.lines.len() >= KEPT {
            ring.lines.pop_front();
        }
        let Seen { message, route, fields } = seen;
        ring.lines.push_back(Line { id, at, level, message, route, fields, count: 1 });
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut kind = Kind::default();
        event.record(&mut kind);
        if kind.is_everyday() {
            return;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        self.put(seen, *event.metadata().level(), Now::read().wall);
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Seen {
    message: String,
    route: Option<String>,
    fields: Vec<(String, String)>,
}

/// What tells an event that is kept from others. Most are not kept: they cost no more than this.
#[derive(Debug, Default)]
struct Kind {
    message: String,
    by_the_client: bool,
}

impl Kind {
    /// Rule 3.
    fn is_everyday(&self) -> bool {
        match &*self.message {
            "session opened" | "left out similar lines" => true,
            "session closed" => self.by_the_client,
            _ => false,
        }
    }
}

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.by_the_client |= field.name() == "reason" && value == "client";
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        }
    }
}

impl Seen {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "route" => self.route = Some(value),
            name if self.fields.len() < FIELDS => self.fields.push((name.to_owned(), value)),
            _ => {}
        }
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, shortened(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // A `String` takes all that is written to it.
        let _ = write!(text, "{value:?}");
        self.put(field, shortened(&text));
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(FIELD) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn events(then: impl FnOnce()) -> Vec<Line> {
        let events = Events::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(events.clone()), then);
        events.newest_first()
    }

    #[test]
    fn an_event_is_a_line_with_its_fields_in_their_order() {
        let lines = events(|| {
            tracing::info!(route = "a", generation = 7, duration_ms = 23.5, "token refreshed");
            tracing::warn!(error = "no answer", "token refresh failed");
        });
        let [failed, refreshed] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            (failed.level, &*failed.message, &failed.route),
            (Level::WARN, "token refresh failed", &None)
        );
        assert_eq!(refreshed.route.as_deref(), Some("a"));
        let fields =
            [("generation", "7"), ("duration_ms", "23.5")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(refreshed.fields, fields);
        assert!(failed.id > refreshed.id && refreshed.count == 1);
    }

    #[test]
    fn what_is_alike_is_counted_and_pushes_nothing_out() {
        let lines = events(|| {
            tracing::warn!(route = "a", "store away");
            for generation in 0..1000 {
                tracing::info!(route = "a", generation, "re-authenticated");
                tracing::info!(route = "b", generation, "re-authenticated");
            }
        });
        let counts: Vec<_> = lines.iter().map(|line| (&*line.message, line.count)).collect();
        assert_eq!(counts, [("re-authenticated", 1000), ("re-authenticated", 1000), ("store away", 1)]);
        assert_eq!(lines[0].fields, [("generation".to_owned(), "999".to_owned())]);
    }

    #[test]
    fn what_is_long_past_is_another_line() {
        let events = Events::default();
        let seen = || Seen { message: "reloaded".to_owned(), ..Seen::default() };
        for at in [1, 2, 6, 12] {
            events.put(seen(), Level::INFO, Duration::from_secs(at));
        }
        let counts: Vec<_> =
            events.newest_first().iter().map(|line| (line.at.as_secs(), line.count)).collect();
        assert_eq!(counts, [(12, 1), (6, 3)]);
    }

    #[test]
    fn fifty_lines_of_bounded_length_are_kept_and_everyday_ones_are_not() {
        let lines = events(|| {
            tracing::info!(route = "a", "session opened");
            tracing::info!(route = "a", reason = "client", "session closed");
            tracing::info!(route = "a", reason = "outage", "session closed");
            (0..60)
                .for_each(|n| tracing::info!(route = format!("r{n}"), long = "x".repeat(5_000), "reloaded"));
        });
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0].route.as_deref(), Some("r59"));
        assert_eq!(lines[0].fields[0].1.chars().count(), FIELD + 1);
        let of_three = events(|| {
            tracing::info!(reason = "client", "session closed");
            tracing::info!(reason = "outage", "session closed");
            tracing::info!(count = 7, "left out similar lines");
        });
        assert_eq!(of_three.len(), 1);
    }
}
