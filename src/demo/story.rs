//! The story: what has changed from one look at the facts to the next, in plain words.

use std::{collections::VecDeque, fmt, time::Duration};

use super::stage::{Facts, Leg};

/// Events that are remembered for the view.
const REMEMBERED: usize = 6;

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    events: VecDeque<Told>,
    seen: Seen,
    /// How long the last exchange took, and the slowest.
    pub(super) last: Option<Duration>,
    pub(super) slowest: Option<Duration>,
}

/// An event, and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Since the start of the demo.
    pub(super) at: Duration,
    pub(super) event: Event,
}

/// Which of the two clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Direct,
    Behind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Connected(Who),
    /// The service asks for another token.
    Asked(Who),
    Dropped(Who, String),
    /// The service accepted a new token on the live connection.
    Refreshed {
        number: u64,
        took: Duration,
    },
    /// The sidecar made its upstream connection again.
    Resumed,
    FetchFailed(String),
}

/// What was known at the last look.
#[derive(Debug, Default)]
struct Seen {
    direct: SeenOf,
    behind: SeenOf,
    exchanges: u64,
    exchanging: Duration,
    resumes: u64,
    fetch_error: Option<String>,
}

#[derive(Debug, Default)]
struct SeenOf {
    connected: bool,
    asked: u64,
    dropped: bool,
}

impl Story {
    /// Tells what is new, in the order in which it happened as far as that is known.
    pub(super) fn look(&mut self, facts: &Facts) -> Vec<Told> {
        let at = facts.now - facts.began;
        let mut news = self.seen.direct.news(Who::Direct, &facts.direct, facts);
        news.append(&mut self.seen.behind.news(Who::Behind, &facts.behind, facts));
        let seen = &mut self.seen;
        let exchanges = facts.exchanges.saturating_sub(seen.exchanges);
        if exchanges > 0 {
            // There is one at a time, and we look more often than there is one.
            let took = facts.exchanging.saturating_sub(seen.exchanging);
            let took = took / u32::try_from(exchanges).unwrap_or(u32::MAX);
            (self.last, self.slowest) = (Some(took), self.slowest.max(Some(took)));
            news.push(Told { at, event: Event::Refreshed { number: facts.exchanges, took } });
        }
        if facts.resumes > seen.resumes {
            news.push(Told { at, event: Event::Resumed });
        }
        if facts.fetch_error != seen.fetch_error
            && let Some(error) = &facts.fetch_error
        {
            news.push(Told { at, event: Event::FetchFailed(error.clone()) });
        }
        (seen.exchanges, seen.exchanging) = (facts.exchanges, facts.exchanging);
        seen.resumes = facts.resumes;
        seen.fetch_error.clone_from(&facts.fetch_error);
        news.sort_by_key(|told| told.at);
        self.events.extend(news.iter().cloned());
        while self.events.len() > REMEMBERED {
            self.events.pop_front();
        }
        news
    }

    /// The last events, the oldest first.
    pub(super) fn last_events(&self) -> impl Iterator<Item = &Told> {
        self.events.iter()
    }
}

impl SeenOf {
    fn news(&mut self, who: Who, leg: &Leg, facts: &Facts) -> Vec<Told> {
        let mut news = Vec::new();
        let mut tell = |at: crate::clock::Instant, event| {
            news.push(Told { at: at.saturating_duration_since(facts.began), event });
        };
        if let (false, Some((_, since))) = (self.connected, &leg.tally.connected) {
            self.connected = true;
            tell(*since, Event::Connected(who));
        }
        if leg.tally.asked > self.asked {
            self.asked = leg.tally.asked;
            tell(facts.now, Event::Asked(who));
        }
        if let (false, Some((since, reason))) = (self.dropped, leg.tally.dropped()) {
            self.dropped = true;
            tell(since, Event::Dropped(who, reason.words()));
        }
        news
    }
}

impl Event {
    /// Whom it is about.
    pub(super) fn who(&self) -> Who {
        match self {
            Self::Connected(who) | Self::Asked(who) | Self::Dropped(who, _) => *who,
            Self::Refreshed { .. } | Self::Resumed | Self::FetchFailed(_) => Who::Behind,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "without",
            Self::Behind => "with",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(Who::Direct) => f.write_str("connected to the service"),
            Self::Connected(Who::Behind) => f.write_str("connected to perennial"),
            Self::Asked(_) => f.write_str("the service asks for a new token; the client has none"),
            Self::Dropped(Who::Direct, why) => write!(f, "the service closed the connection: {why}"),
            Self::Dropped(Who::Behind, why) => write!(f, "the connection was closed: {why}"),
            Self::Refreshed { number, took } => {
                write!(f, "token refreshed in {}, the connection stayed up ({number})", Millis(*took))
            }
            Self::Resumed => f.write_str("the service was dialled again, the client noticed nothing"),
            Self::FetchFailed(why) => write!(f, "no new token, the current one is used on: {why}"),
        }
    }
}

/// A duration in milliseconds, as people read it.
pub(super) struct Millis(pub(super) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1000.0;
        if millis < 9.95 { write!(f, "{millis:.1} ms") } else { write!(f, "{millis:.0} ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stage::fixture, *};

    fn texts(news: &[Told]) -> Vec<String> {
        news.iter().map(|told| format!("{} {}", told.event.who(), told.event)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_thing_is_told_once_and_in_order() {
        let (mut story, facts) = (Story::default(), fixture::facts());
        let news = story.look(&facts);
        assert_eq!(
            texts(&news),
            [
                "without connected to the service",
                "with connected to perennial",
                "without the service closed the connection: token expired (40142)",
                "without the service asks for a new token; the client has none",
                "with token refreshed in 11 ms, the connection stayed up (4)",
            ]
        );
        assert_eq!(story.look(&facts), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_exchange_is_remembered() {
        let (mut story, mut facts) = (Story::default(), fixture::facts());
        for (exchanges, together) in [(1, 30), (2, 35)] {
            facts.exchanges = exchanges;
            facts.exchanging = Duration::from_millis(together);
            story.look(&facts);
        }
        let millis = |at| Some(Duration::from_millis(at));
        assert_eq!((story.last, story.slowest), (millis(5), millis(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_told_when_it_changes() {
        let (mut story, mut facts) = (Story::default(), fixture::facts());
        story.look(&facts);
        for (error, told) in [(Some("late"), 1), (Some("late"), 0), (None, 0), (Some("late"), 1)] {
            facts.fetch_error = error.map(str::to_owned);
            assert_eq!(story.look(&facts).len(), told);
        }
    }
}
