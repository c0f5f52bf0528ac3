//! The legacy client alone.
//!
//! ```text
//!   its one token ──► connect ──► five messages a second, each counted until it came back ─┐
//!                        ▲                                                                 │
//!                        └── a pause: 1 s, 2 s, 4 s … 15 s, and the same token ◄── dropped ┘
//! ```
//!
//! Behind the sidecar it is never dropped, whatever becomes of its token; without, it is when that ends,
//! and every further dial is refused.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::Request;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    super::{
        client::Client,
        place::Place,
        signals::Signals,
        tally::{Ended, Tally},
    },
    stamp, tell,
};
use crate::{
    clock::{self, Instant, Now},
    config::{Endpoint, Secret, UpstreamTls},
    net::{Dialer, http::request},
    terminal::visible,
};

/// How often it says how it fares.
const REPORT: Duration = Duration::from_secs(10);
/// How often it is looked at whether it is connected.
const LOOK: Duration = Duration::from_millis(100);
/// After a drop, and after many.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// For the answer that has the token.
const FETCH: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 << 10;
/// What it says where it was given no token: behind the sidecar, any will do.
const NO_TOKEN: &str = "a-token-that-is-good-for-nothing";
/// No more of what it was told is shown.
const LONGEST_REASON: usize = 200;

/// Behind Perennial its token may be any, or none: `perennial run` has the one that counts.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    /// Where it connects to, such as "ws://127.0.0.1:7370"; a query is kept.
    #[arg(long, value_name = "URL", value_parser = Place::parse)]
    url: Place,
    /// Its one token is fetched here at the start, such as from "http://127.0.0.1:9000/token".
    #[arg(long, value_name = "URL", value_parser = Endpoint::of_server)]
    token_url: Option<Endpoint>,
    /// Its one token stands in this file: process lists show arguments.
    #[arg(long, value_name = "FILE", conflicts_with = "token_url")]
    token_file: Option<PathBuf>,
}

/// Runs until it is told to end.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let finish = CancellationToken::new();
    let life = live(arguments, &finish);
    let mut life = std::pin::pin!(life);
    tokio::select! {
        lived = &mut life => return lived.map(|()| ExitCode::SUCCESS),
        () = signals.end() => finish.cancel(),
    }
    tokio::select! {
        lived = life => lived.map(|()| ExitCode::SUCCESS),
        () = signals.end() => bail!("ended at once"),
    }
}

/// From its token to its last word.
async fn live(arguments: Arguments, finish: &CancellationToken) -> anyhow::Result<()> {
    let Arguments { url, token_url, token_file } = arguments;
    let token = match (token_url, token_file) {
        (Some(url), _) => match finish.run_until_cancelled(fetch(&url)).await {
            Some(fetched) => fetched?,
            None => return Ok(()),
        },
        (None, Some(file)) => {
            let token = Secret::file(file).reveal().map_err(|error| anyhow!("--token-file: {error}"))?;
            Zeroizing::new(token.to_string())
        }
        (None, None) => Zeroizing::new(NO_TOKEN.to_owned()),
    };
    // Nobody else's messages are taken for its own.
    let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let mut report = Report::new();
    let (mut nth, mut pause) = (0_u64, FIRST_PAUSE);
    while !finish.is_cancelled() {
        nth += 1;
        let client = Client::new(format!("demo-{name}-{nth}"));
        let why = connection(&client, &url, (&token, finish), &mut report).await?;
        let Some(why) = why else { break };
        if client.tally().connected.is_some() {
            pause = FIRST_PAUSE;
        }
        tell(&format!("{why}; the same token is tried again in {} s", pause.as_secs()))?;
        let _ = finish.run_until_cancelled(timeout(pause, client.stay_down())).await;
        report.done(&client.tally());
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tell(&format!("ended: {}", report.sum(&Tally::default())))?;
    Ok(())
}

/// One connection, told about until it ends: why it was dropped, or `None` where the client has left.
async fn connection(
    client: &Client,
    url: &Place,
    (token, finish): (&str, &CancellationToken),
    report: &mut Report,
) -> anyhow::Result<Option<String>> {
    let once = client.once(url, token, finish);
    let (mut once, mut look) = (std::pin::pin!(once), interval(LOOK));
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ended = loop {
        tokio::select! {
            ended = &mut once => break ended,
            _ = look.tick() => report.look(client, url)?,
            _ = report.tick.tick() => report.tell(&client.tally())?,
        }
    };
    // It may have been connected and dropped between two looks.
    report.look(client, url)?;
    let was_up = report.up.take();
    match ended {
        Ended::Left => {
            report.done(&client.tally());
            Ok(None)
        }
        Ended::Dropped(at, reason) => {
            let reason = visible(&reason.words(), LONGEST_REASON);
            Ok(Some(match was_up {
                Some((since, _)) => {
                    let after = at.saturating_duration_since(since).as_secs_f64();
                    format!("dropped after {after:.1} s: {reason}")
                }
                None => format!("not connected: {reason}"),
            }))
        }
    }
}

/// What is told every few seconds.
struct Report {
    tick: Interval,
    /// Since when it is connected, on both clocks.
    up: Option<(Instant, Duration)>,
    before: Sum,
}

/// What became of the messages of the connections that are over.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sent: u64,
    received: u64,
    lost: u64,
    wrong: u64,
    unsent: u64,
}

impl Sum {
    fn with(self, tally: &Tally) -> Self {
        Self {
            sent: self.sent + tally.sent,
            received: self.received + tally.received,
            lost: self.lost + tally.lost(clock::now()),
            wrong: self.wrong + tally.doubled + tally.reordered,
            unsent: self.unsent + tally.unsent,
        }
    }
}

impl Report {
    fn new() -> Self {
        let mut tick = interval(REPORT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        Self { tick, up: None, before: Sum::default() }
    }

    /// Says where it has got a connection.
    fn look(&mut self, client: &Client, url: &Place) -> std::io::Result<()> {
        let (None, Some((_, since))) = (self.up, client.tally().connected) else { return Ok(()) };
        let now = Now::read();
        let wall = now.wall.saturating_sub(now.mono.saturating_duration_since(since));
        self.up = Some((since, wall));
        tell(&format!("connected to {url}"))
    }

    fn tell(&self, tally: &Tally) -> std::io::Result<()> {
        let state = match self.up {
            Some((_, wall)) => format!("up since {}", stamp(wall)),
            None => "down".to_owned(),
        };
        tell(&format!("{state}: {}", self.sum(tally)))
    }

    fn sum(&self, tally: &Tally) -> String {
        let Sum { sent, received, lost, wrong, unsent } = self.before.with(tally);
        let mut text = format!("{sent} messages sent, {received} received, {lost} lost");
        for (count, what) in [(wrong, "doubled or out of order"), (unsent, "had nowhere to go")] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }

    /// A connection is over.
    fn done(&mut self, tally: &Tally) {
        self.before = self.before.with(tally);
    }
}

/// A token, in Ably's TokenDetails or bare.
async fn fetch(url: &Endpoint) -> anyhow::Result<Zeroizing<String>> {
    let from = || format!("--token-url: no token from {}", url.authority());
    let dialer = Dialer::new(url, &UpstreamTls::default()).with_context(from)?;
    let asked = Request::get(&url.path_and_query).body(Bytes::new()).with_context(from)?;
    let answer = request(&dialer, asked, LARGEST_ANSWER, clock::now() + FETCH).await.with_context(from)?;
    if !answer.status().is_success() {
        bail!("{}: it answers {}", from(), answer.status().as_u16());
    }
    let token = match serde_json::from_slice::<serde_json::Value>(answer.body()) {
        Ok(details) => details["token"].as_str().map(str::to_owned),
        Err(_) => str::from_utf8(answer.body()).ok().map(|text| text.trim().to_owned()),
    };
    let token = token.filter(|token| !token.is_empty());
    token.map(Zeroizing::new).with_context(|| format!("{}: there is none in its answer", from()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_sum_is_of_all_connections() {
        let mut report = Report::new();
        assert_eq!(report.sum(&Tally::default()), "0 messages sent, 0 received, 0 lost");
        let mut tally = Tally::default();
        (0..3).for_each(|_| {
            tally.send(clock::now());
        });
        tally.echo(0);
        tally.acknowledge(0, 1, clock::now());
        tally.ended = Some(Ended::Left);
        report.done(&tally);
        tally.unsent = 4;
        tally.doubled = 1;
        let said = report.sum(&tally);
        assert_eq!(
            said,
            "6 messages sent, 2 received, 4 lost, 1 doubled or out of order, 4 had nowhere to go"
        );
    }
}
