//! The demo: what Perennial is for, seen in ten seconds.
//!
//! ```text
//!   stage     everything embedded: a service whose tokens live for seconds, the sidecar, and
//!     │       the same legacy client twice, with and without it
//!     ├─ client ─ tally       what a client sees
//!     ▼
//!   story     what has changed since the last look at the facts
//!     ├─► view ─► screen      drawn in place,
//!     ├─► one line per event  or told, where there is no terminal
//!     ▼
//!   summary   what was seen, whether the contrast held, how to go on
//!
//!   alone     the service, or the client, by itself: for Compose, and for practice
//! ```
//!
//! Rules: nothing shown is made up, each number is asked of the one who knows it; whatever ends the
//! demo, the terminal comes back as it was.

mod alone;
mod client;
mod place;
pub mod service;
mod signals;
mod stage;
mod story;
mod summary;
mod tally;
mod view;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, sleep_until};

use self::{
    alone::Part,
    signals::{Said, Signals},
    stage::Stage,
    story::Story,
    story::Told,
    summary::Summary,
};
use crate::{clock::Instant, telemetry::Log, terminal::Screen};

/// How often the facts are looked at, and drawn.
const LOOK: Duration = Duration::from_millis(100);
/// What `--for` must exceed a token's life by, for its end to be seen.
const TO_SEE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A shorter one leaves no room for two clocks and a busy machine.
const SHORTEST_LIFE: Duration = Duration::from_secs(2);
const USAGE: u8 = 64;

/// What is shown, and how.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    whole: Whole,
}

/// How the whole demo is shown.
#[derive(Debug, clap::Args)]
struct Whole {
    /// End after this time, such as "30s"; the exit status then says whether the contrast held.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// How long the service's tokens live.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = lifetime)]
    token_lifetime: Duration,
    /// One line per event in place of the picture; so too where stdout is no terminal.
    #[arg(long)]
    plain: bool,
    /// Where the embedded sidecar's status page and /metrics are; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    admin: SocketAddr,
}

/// Shows the demo until its time is over, or Ctrl-C; or runs one part of it. The status page shows what there is of this log.
pub async fn run(arguments: Arguments, log: Log) -> ExitCode {
    match arguments.part {
        None => run_whole(arguments.whole, log).await,
        Some(part) => alone::run(part).await,
    }
}

async fn run_whole(whole: Whole, log: Log) -> ExitCode {
    let Whole { time, token_lifetime: life, plain, admin } = whole;
    if time.is_some_and(|time| time < life + TO_SEE) {
        let life = life.as_secs_f64();
        let why = format!("--for must be a second longer than a token lives ({life} s), to see one end");
        return fail(&why, USAGE);
    }
    let stage = match Stage::set(life, admin, log).await {
        Ok(stage) => stage,
        Err(error) => return fail(&format!("{error:#}"), 1),
    };
    let shown = show(&stage, time, plain || !Screen::is_possible()).await;
    stage.strike().await;
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string(), 1),
    }
}

/// Shows what happens; `false` where the contrast did not hold.
async fn show(stage: &Stage, time: Option<Duration>, plain: bool) -> io::Result<bool> {
    let mut signals = Signals::new()?;
    let mut story = Story::default();
    let by_hand = {
        // Given back before the summary is told.
        let mut show = Show::open(plain, stage)?;
        let by_hand = show.until_the_end(stage, &mut story, time, &mut signals).await?;
        // A second signal ends at once: what is on its way then counts as lost.
        tokio::select! {
            () = stage.finish() => {}
            () = signals.end() => {}
        }
        show.look(stage, &mut story)?;
        by_hand
    };
    let summary = Summary::of(stage.facts(), &story, time.filter(|_| !by_hand));
    writeln!(io::stdout(), "{}{summary}", if plain { "\n" } else { "" })?;
    Ok(summary.holds())
}

/// How it is shown.
enum Show {
    Drawn(Screen),
    Told,
}

impl Show {
    fn open(plain: bool, stage: &Stage) -> io::Result<Self> {
        if !plain {
            return Screen::open().map(Self::Drawn);
        }
        let facts = stage.facts();
        let (life, page) = (facts.lifetime.as_secs_f64(), view::status_page(&facts));
        writeln!(
            io::stdout(),
            "PERENNIAL: connections that outlive their tokens\n\
             The same old client twice, holding one fixed token. Tokens live {life} s here.\n\
             \x20 without  client ────────────────► service\n\
             \x20 with     client ──► perennial ──► service\n\
             status page: {page}\n"
        )?;
        Ok(Self::Told)
    }

    /// Shows what happens until it is over; `true` where it was ended by hand.
    async fn until_the_end(
        &mut self,
        stage: &Stage,
        story: &mut Story,
        time: Option<Duration>,
        signals: &mut Signals,
    ) -> io::Result<bool> {
        let end = time.map(|time| stage.facts().began + time);
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                said = signals.next() => match (said, &mut *self) {
                    (Said::End, _) => return Ok(true),
                    (Said::Resized, Self::Drawn(screen)) => screen.resized()?,
                    (Said::Resized, Self::Told) => {}
                },
                () = reached(end) => return Ok(false),
                _ = tick.tick() => self.look(stage, story)?,
            }
        }
    }

    /// Looks once, and shows what there is.
    fn look(&self, stage: &Stage, story: &mut Story) -> io::Result<()> {
        let facts = stage.facts();
        let news = story.look(&facts);
        match self {
            Self::Drawn(screen) => screen.draw(&view::picture(&facts, story, screen.columns())),
            Self::Told => {
                let tell = |Told { at, event }: &Told| {
                    writeln!(io::stdout(), "{:>8}  {:<8} {event}", view::seconds(*at), event.who())
                };
                news.iter().try_for_each(tell)
            }
        }
    }
}

async fn reached(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// A duration such as `30s`, `2m30s` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    match parsed {
        None | Some(Duration::ZERO) => Err("expected a duration such as 30s or 2m30s".to_owned()),
        Some(long) if long > LONGEST => Err("must be at most 24h".to_owned()),
        Some(duration) => Ok(duration),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < SHORTEST_LIFE => Err(format!("must be at least {} s", SHORTEST_LIFE.as_secs())),
        life => Ok(life),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "perennial: demo: {message}");
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [("30s", 30_000), ("2m30s", 150_000), ("2500ms", 2_500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "30", "0s", "-3s", "25h", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(lifetime("1900ms").is_err());
    }
}
