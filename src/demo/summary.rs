//! The end of the demo: what was seen, whether the contrast held, and how to go on.
//!
//! Rule: a demo that was to run for a certain time is judged, and says what is not as promised; one
//! that is ended by hand only tells what it saw.

use std::{fmt, time::Duration};

use super::{
    stage::{Facts, Leg},
    story::{Millis, Story},
};

/// Refreshes that are to be seen, where there is time for so many.
const REFRESHES: u64 = 2;

/// The smallest useful configuration.
const FIRST_STEPS: &str = r#"
To go on, write a perennial.toml, such as

  [[route]]
  upstream = "wss://main.realtime.ably.net"
  dialect = "ably"
  [route.token]
  source = "ably-key"
  key = { env = "ABLY_KEY" }

and start `perennial run`: it listens on ws://127.0.0.1:7370.
"#;

/// What there is to say at the end.
#[derive(Debug)]
pub(super) struct Summary {
    facts: Facts,
    slowest: Option<Duration>,
    broken: Vec<String>,
}

impl Summary {
    /// Draws the sum, and judges it where the demo was to run for `time`.
    pub(super) fn of(facts: Facts, story: &Story, time: Option<Duration>) -> Self {
        let broken = time.map(|time| broken(&facts, time)).unwrap_or_default();
        Self { facts, slowest: story.slowest, broken }
    }

    /// Did the client without the sidecar suffer, and the one behind it not?
    pub(super) fn holds(&self) -> bool {
        self.broken.is_empty()
    }
}

/// What is not as it was promised.
fn broken(facts: &Facts, time: Duration) -> Vec<String> {
    let (direct, behind) = (&facts.direct.tally, &facts.behind.tally);
    let whole_lives = time.as_millis() / facts.lifetime.as_millis().max(1);
    let due = REFRESHES.min(u64::try_from(whole_lives).unwrap_or(REFRESHES));
    let expired = direct.dropped().is_some_and(|(_, reason)| reason.is_expiry());
    let lost = behind.lost(facts.now);
    let checks = [
        (expired, "without perennial: the client was not dropped when its token expired".to_owned()),
        (behind.connected.is_some(), "with perennial: the client never was connected".to_owned()),
        (behind.dropped().is_none(), "with perennial: the client was dropped".to_owned()),
        (
            behind.asked == 0 && behind.reconnected == 0,
            "with perennial: the client was bothered with the refresh of a token".to_owned(),
        ),
        (behind.sent > 0, "with perennial: the client sent nothing".to_owned()),
        (
            (lost, behind.doubled, behind.reordered) == (0, 0, 0),
            format!(
                "with perennial: {lost} messages lost, {} doubled, {} out of order",
                behind.doubled, behind.reordered
            ),
        ),
        (facts.refreshes >= due, format!("the token was refreshed {} times, not {due}", facts.refreshes)),
        (facts.dead_tokens == 0, format!("an expired token was presented {} times", facts.dead_tokens)),
        (facts.violations == 0, format!("the service complained {} times", facts.violations)),
    ];
    checks.into_iter().filter(|(held, _)| !held).map(|(_, what)| what).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { facts, broken, .. } = self;
        let (ran, lifetime) = ((facts.now - facts.began).as_secs_f64(), facts.lifetime.as_secs_f64());
        writeln!(f, "After {ran:.1} s, with tokens that live {lifetime} s:")?;
        writeln!(f, "  without perennial: {}\n      {}", connection(&facts.direct), direct(facts))?;
        write!(
            f,
            "  with perennial: {}; token refreshed {}",
            connection(&facts.behind),
            times(facts.refreshes)
        )?;
        if let Some(slowest) = self.slowest {
            write!(f, ", in {} at most", Millis(slowest))?;
        }
        writeln!(f, "\n      {}", behind(facts))?;
        if facts.resumes > 0 {
            writeln!(
                f,
                "      service dialled again {}, which the client did not notice",
                times(facts.resumes)
            )?;
        }
        for what in broken {
            writeln!(f, "It did not go as it should: {what}.")?;
        }
        f.write_str(FIRST_STEPS)
    }
}

fn connection(leg: &Leg) -> String {
    match (&leg.tally.connected, leg.tally.dropped()) {
        (None, None) => "not connected yet".to_owned(),
        (Some(_), None) => "never dropped".to_owned(),
        (None, Some((_, reason))) => reason.words(),
        (Some((_, since)), Some((at, reason))) => {
            format!("dropped after {:.1} s: {}", (at - *since).as_secs_f64(), reason.words())
        }
    }
}

fn direct(facts: &Facts) -> String {
    let tally = &facts.direct.tally;
    let (sent, acknowledged, lost) = (tally.sent, tally.acknowledged, tally.lost(facts.now));
    let mut text = format!("{sent} messages sent, {acknowledged} acknowledged, {lost} lost");
    if tally.dropped().is_some() {
        text.push_str(&format!(", {} more had nowhere to go", tally.unsent));
    }
    text
}

fn behind(facts: &Facts) -> String {
    let tally = &facts.behind.tally;
    format!(
        "{} messages sent, {} acknowledged, {} lost, {} doubled, {} out of order",
        tally.sent,
        tally.acknowledged,
        tally.lost(facts.now),
        tally.doubled,
        tally.reordered
    )
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stage::fixture, *};
    use crate::config::Config;

    const TIME: Duration = Duration::from_secs(30);

    fn broken_by(change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = fixture::facts();
        change(&mut facts);
        Summary::of(facts, &Story::default(), Some(TIME)).broken
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_promised_is_judged() {
        assert_eq!(broken_by(|_| {}), Vec::<String>::new());
        type Break = (&'static str, fn(&mut Facts));
        let breaks: [Break; 10] = [
            ("not dropped when", |facts| facts.direct.tally.ended = None),
            ("never was connected", |facts| facts.behind.tally.connected = None),
            ("the client was dropped", |facts| {
                facts.behind.tally.ended = facts.direct.tally.ended.clone();
            }),
            ("bothered", |facts| facts.behind.tally.asked = 1),
            ("bothered", |facts| facts.behind.tally.reconnected = 1),
            ("1 messages lost", |facts| {
                facts.behind.tally.send(facts.began);
            }),
            ("1 out of order", |facts| facts.behind.tally.reordered = 1),
            ("1 doubled", |facts| facts.behind.tally.doubled = 1),
            ("refreshed 1 times, not 2", |facts| facts.refreshes = 1),
            ("expired token was presented", |facts| facts.dead_tokens = 1),
        ];
        for (words, change) in breaks {
            let broken = broken_by(change);
            assert!(matches!(&broken[..], [one] if one.contains(words)), "{words}: {broken:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_it_by_hand_has_no_verdict() {
        let mut facts = fixture::facts();
        facts.refreshes = 0;
        let summary = Summary::of(facts, &Story::default(), None);
        assert!(summary.holds());
        assert!(!summary.to_string().contains("did not go"), "{summary}");
    }

    #[test]
    fn the_first_steps_are_a_configuration() {
        let lines = FIRST_STEPS.lines().filter_map(|line| line.strip_prefix("  "));
        // A variable that cargo sets for tests: they cannot set any.
        let text = lines.collect::<Vec<_>>().join("\n").replace("ABLY_KEY", "CARGO_PKG_NAME");
        let config = Config::parse(&text, "perennial.toml").unwrap();
        assert_eq!(config.listen.addresses[0].to_string(), "127.0.0.1:7370");
    }
}
