//! The same each second, in place where stdout is a terminal.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{super::words::span, Failure, look, page, put, text_of};
use crate::{
    admin::{
        client::{AdminClient, ClientError},
        status::Status,
    },
    app::lifetime::Signals,
    clock::{self, Instant},
    terminal::{Line, Screen, Tone, visible},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// No more of an error is shown.
const LONGEST: usize = 300;

/// Shows it each second until a signal; that is a good end, whatever was seen.
pub(super) async fn run(client: &AdminClient, json: bool) -> Result<bool, Failure> {
    let stop = Signals::listen()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut screen = if !json && Screen::is_possible() { Some(Screen::open()?) } else { None };
    let mut known = Known { status: None, heard: clock::now(), silence: None };
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let said = tokio::select! {
            biased;
            () = stop.stop() => return Ok(true),
            _ = resized.recv() => {
                if let Some(screen) = &mut screen {
                    screen.resized()?;
                    screen.draw(&cut(known.picture(client), screen.rows()))?;
                }
                continue;
            }
            said = async { tick.tick().await; look(client).await } => said,
        };
        let (text, error) = match &said {
            Ok((_, text)) => (Some(text.clone()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        known.hear(said.map(|(status, _)| status));
        match (&screen, json) {
            (Some(screen), _) => screen.draw(&cut(known.picture(client), screen.rows()))?,
            (None, false) => put(&format!("{}\n", text_of(&known.picture(client), false)))?,
            (None, true) => match (text, error) {
                (Some(text), _) => put(&text)?,
                // A line is an object, or there is none: what is wrong goes where errors go.
                (None, error) => {
                    super::fail(&error.unwrap_or_default(), 1);
                }
            },
        }
    }
}

/// What is known of the sidecar.
struct Known {
    status: Option<Status>,
    /// When it last gave word, or when it was first asked.
    heard: Instant,
    /// Why it gives none.
    silence: Option<String>,
}

impl Known {
    fn hear(&mut self, said: Result<Status, ClientError>) {
        match said {
            Ok(status) => *self = Self { status: Some(status), heard: clock::now(), silence: None },
            Err(error) => self.silence = Some(visible(&error.to_string(), LONGEST)),
        }
    }

    fn picture(&self, client: &AdminClient) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(why) = &self.silence {
            let age = clock::now().saturating_duration_since(self.heard).as_secs_f64();
            let said = format!("✗ No word from {} for {}.", client.address(), span(age.max(1.0)));
            lines.push(Line::new(Tone::Bad, said));
            lines.push(Line::new(Tone::Plain, format!("  {why}")));
            if self.status.is_some() {
                lines.push(Line::new(Tone::Warning, "  What it said last, which may be so no more:"));
            }
            lines.push(Line::default());
        }
        if let Some(status) = &self.status {
            lines.extend(page::page(status, client.address()));
        }
        lines.push(Line::default());
        lines.push(Line::new(Tone::Faint, "Ctrl-C ends"));
        lines
    }
}

/// No more lines than the screen has; what is missing is said.
fn cut(mut lines: Vec<Line>, rows: usize) -> Vec<Line> {
    if lines.len() > rows {
        let hidden = lines.len() - rows.saturating_sub(1);
        lines.truncate(rows.saturating_sub(1));
        lines.push(Line::new(
            Tone::Faint,
            format!("… {hidden} more lines: `perennial status` shows them all"),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::StoreStatus;

    #[test]
    fn what_does_not_fit_is_said_to_be_there() {
        let lines = |count| (0..count).map(|n| Line::new(Tone::Plain, n.to_string())).collect::<Vec<_>>();
        let bare = |lines: Vec<Line>| lines.iter().map(Line::bare).collect::<Vec<_>>();
        assert_eq!(bare(cut(lines(3), 3)), ["0", "1", "2"]);
        assert_eq!(bare(cut(lines(5), 3)), ["0", "1", "… 3 more lines: `perennial status` shows them all"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_said_above_what_was_known() {
        let client = AdminClient::new(Default::default());
        let mut known = Known { status: None, heard: clock::now(), silence: None };
        let store = StoreStatus { kind: "memory".into(), up: true, error: None };
        known.hear(Ok(Status { ready: true, store, ..Status::default() }));
        tokio::time::advance(Duration::from_secs(12)).await;
        known.hear(Err(ClientError::Nobody(client.address().clone())));
        let lines = known.picture(&client);
        let text = text_of(&lines, false);
        assert!(text.starts_with("✗ No word from 127.0.0.1:7371 for 12 s.\n  nothing listens"), "{text}");
        assert!(text.contains("may be so no more:\n\n● "), "{text}");
        known.hear(Ok(Status::default()));
        assert!(!text_of(&known.picture(&client), false).contains("No word"));
    }
}
