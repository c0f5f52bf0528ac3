//! How often lines of one kind are written. A kind is one place in the code: one message.
//!
//! ```text
//!   event ──► its kind has room? ──yes──► written
//!                   └──no──► counted ──every five seconds──► `left out similar lines`
//! ```
//!
//! Rules:
//! 1. Each kind has [`BURST`] lines at once, and then one each [`EVERY`]: a flood of one kind hides no other.
//! 2. What was left out is said, with its message and a number. Those lines have no limit: there is at most one for
//!    each kind each [`SUMMARY`].
//! 3. Memory grows with the number of messages in the program, and not with the number of lines.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Metadata,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

use crate::clock::{self, Instant};

/// Lines of one kind that may be written at once.
const BURST: u32 = 100;
/// After a burst, the time from one line of a kind to the next: 20 lines in a second.
const EVERY: Duration = Duration::from_millis(50);
/// How often what was left out is said.
pub const SUMMARY: Duration = Duration::from_secs(5);
/// Characters of a message that a summary shows.
const SHOWN: usize = 200;
/// The target of summaries.
const TARGET: &str = "perennial::log";

/// How often each kind of line may be written. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Rate(Arc<Mutex<HashMap<Identifier, Kind>>>);

#[derive(Debug)]
struct Kind {
    level: Level,
    /// When it may have a whole burst again.
    rested: Instant,
    /// Since the last summary: the message, and how many lines.
    left_out: Option<(String, u64)>,
}

/// Lines of one kind that were left out.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    level: Level,
    message: String,
    count: u64,
}

impl Rate {
    /// Says what was left out since the last time, one line for each kind.
    pub fn summarise(&self) {
        for LeftOut { level, message, count } in self.left_out() {
            if level <= Level::WARN {
                tracing::warn!(target: TARGET, similar_to = message, count, "left out similar lines");
            } else {
                tracing::info!(target: TARGET, similar_to = message, count, "left out similar lines");
            }
        }
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let mut kinds = self.kinds();
        let taken = kinds.values_mut().filter_map(|kind| {
            let (message, count) = kind.left_out.take()?;
            Some(LeftOut { level: kind.level, message, count })
        });
        taken.collect()
    }

    /// May this line be written now? If not, it is counted.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        if metadata.target() == TARGET {
            return true;
        }
        let mut kinds = self.kinds();
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind {
            level: *metadata.level(),
            rested: now,
            left_out: None,
        });
        let rested = kind.rested.max(now);
        if rested - now > EVERY * (BURST - 1) {
            let (_, count) = kind.left_out.get_or_insert_with(|| (message(event), 0));
            *count += 1;
            return false;
        }
        kind.rested = rested + EVERY;
        true
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Identifier, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Filter<S> for Rate {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admits(event, clock::now())
    }
}

/// The beginning of an event's message.
fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                // A `String` takes all that is written to it.
                let _ = write!(self.0, "{value:?}");
            }
        }
    }
    let mut found = Message(String::new());
    event.record(&mut found);
    found.0.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    /// Asks a rate at a time of the test's own, and counts what it lets through.
    #[derive(Clone)]
    struct Asked {
        rate: Rate,
        now: Arc<Mutex<Instant>>,
        admitted: Arc<Mutex<u32>>,
    }

    impl<S: tracing::Subscriber> Layer<S> for Asked {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            if self.rate.admits(event, *self.now.lock().unwrap()) {
                *self.admitted.lock().unwrap() += 1;
            }
        }
    }

    impl Asked {
        fn new() -> Self {
            Self { rate: Rate::default(), now: Arc::new(Mutex::new(clock::now())), admitted: Arc::default() }
        }

        fn pass(&self, time: Duration) {
            *self.now.lock().unwrap() += time;
        }

        /// How many of these lines were written.
        fn of(&self, lines: impl FnOnce()) -> u32 {
            *self.admitted.lock().unwrap() = 0;
            tracing::subscriber::with_default(tracing_subscriber::registry().with(self.clone()), lines);
            *self.admitted.lock().unwrap()
        }
    }

    fn flood(lines: u32) {
        (0..lines).for_each(|n| tracing::info!(n, "session opened"));
    }

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let asked = Asked::new();
        assert_eq!(asked.of(|| flood(1_000)), 100);
        asked.pass(Duration::from_millis(49));
        assert_eq!(asked.of(|| flood(10)), 0);
        asked.pass(Duration::from_millis(1));
        assert_eq!(asked.of(|| flood(10)), 1);
        asked.pass(Duration::from_secs(1));
        assert_eq!(asked.of(|| flood(1_000)), 20);
        // Rest does not add up to more than a burst.
        asked.pass(Duration::from_secs(86_400));
        assert_eq!(asked.of(|| flood(1_000)), 100);
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let asked = Asked::new();
        asked.of(|| flood(1_000));
        assert_eq!(asked.of(|| tracing::warn!("token refresh failed")), 1);
    }

    #[test]
    fn what_was_left_out_is_said_once_with_its_message_and_a_number() {
        let asked = Asked::new();
        asked.of(|| {
            flood(1_000);
            tracing::warn!("heard");
        });
        let expected = LeftOut { level: Level::INFO, message: "session opened".to_owned(), count: 900 };
        assert_eq!(asked.rate.left_out(), [expected]);
        assert_eq!(asked.rate.left_out(), []);
    }

    #[test]
    fn summaries_have_no_limit_themselves() {
        let asked = Asked::new();
        let written = asked.of(|| {
            for _ in 0..300 {
                asked.rate.kinds().values_mut().for_each(|kind| kind.left_out = Some(("x".to_owned(), 1)));
                asked.rate.summarise();
                flood(1);
            }
        });
        assert_eq!(written, 100 + 299);
    }

    #[test]
    fn memory_does_not_grow_with_lines() {
        let asked = Asked::new();
        asked.of(|| (0..10_000).for_each(|n| tracing::info!(n, "said {n}: {}", "x".repeat(1_000))));
        let kinds = asked.rate.kinds();
        assert_eq!(kinds.len(), 1);
        let (message, count) = kinds.values().next().unwrap().left_out.clone().unwrap();
        assert_eq!((message.chars().count(), count), (SHOWN, 9_900));
    }
}
