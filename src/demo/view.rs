//! The picture: the facts and the story as lines of at most 78 columns.
//!
//! ```text
//!   title
//!   WITHOUT   client ──► service              state, token, messages
//!   WITH      client ──► perennial ──► service    the same, and refreshes
//!   what happened
//! ```
//!
//! It is pure: the same facts give the same lines. A colour only repeats what a sign and a word say.

use std::time::Duration;

use super::{
    stage::{Facts, Leg},
    story::{Millis, Story, Told, Who},
};
use crate::terminal::{Line, Tone};

/// The widest picture, and the narrowest that is tried for.
const WIDEST: usize = 78;
const NARROWEST: usize = 40;
/// Rows above the foot.
const ROWS: usize = 22;

/// The picture, for a terminal of so many columns.
pub(super) fn picture(facts: &Facts, story: &Story, columns: usize) -> Vec<Line> {
    let width = columns.clamp(NARROWEST, WIDEST);
    let ran = seconds(facts.now - facts.began);
    let title = "PERENNIAL: connections that outlive their tokens";
    let gap = width.saturating_sub(title.len() + ran.len() + 1);
    let mut lines = vec![
        Line::new(Tone::Strong, title).and(Tone::Faint, format!("{:gap$} {ran}", "")),
        Line::new(
            Tone::Faint,
            format!(
                "The same old client twice, holding one fixed token. Tokens live {} s here.",
                facts.lifetime.as_secs_f64()
            ),
        ),
        Line::default(),
    ];
    lines.extend(direct(facts, width));
    lines.push(Line::default());
    lines.extend(behind(facts, story, width));
    lines.push(Line::default());
    lines.push(Line::new(Tone::Strong, "WHAT HAPPENED"));
    lines.extend(story.last_events().map(told));
    // The foot stays where it is while the first events come in.
    lines.resize(lines.len().max(ROWS), Line::default());
    lines.push(Line::new(
        Tone::Faint,
        format!("Ctrl-C ends the demo; perennial's status page: {}", status_page(facts)),
    ));
    lines
}

fn direct(facts: &Facts, width: usize) -> Vec<Line> {
    let leg = &facts.direct;
    let tally = &leg.tally;
    let (down, arrow) = (tally.dropped().is_some(), width.saturating_sub(36).clamp(4, 40));
    let mut messages = sent(leg, facts);
    if down {
        messages = messages.and(Tone::Bad, format!(", {} had nowhere to go", tally.unsent));
    }
    let way = if down {
        let half = "─".repeat(arrow / 2 - 2);
        Line::new(Tone::Strong, "WITHOUT PERENNIAL  ")
            .and(Tone::Plain, format!("client {half} "))
            .and(Tone::Bad, "✗")
            .and(Tone::Faint, format!(" {}► service", "─".repeat(arrow - arrow / 2 - 2)))
    } else {
        Line::new(Tone::Strong, "WITHOUT PERENNIAL  ")
            .and(Tone::Plain, format!("client {}► service", "─".repeat(arrow - 1)))
    };
    vec![way, state(facts, leg), bar(facts, leg, width), messages]
}

fn behind(facts: &Facts, story: &Story, width: usize) -> Vec<Line> {
    let leg = &facts.behind;
    let arrow = width.saturating_sub(36 + 11).clamp(4, 40);
    let (first, second) = (arrow / 2, arrow - arrow / 2);
    let way = Line::new(Tone::Strong, "WITH PERENNIAL     ")
        .and(Tone::Plain, format!("client {}► ", "─".repeat(first - 1)))
        .and(Tone::Strong, "perennial")
        .and(Tone::Plain, format!(" {}► service", "─".repeat(second - 1)));
    let tally = &leg.tally;
    let oddities = format!(", {} doubled, {} out of order", tally.doubled, tally.reordered);
    let tone = if tally.doubled + tally.reordered == 0 { Tone::Plain } else { Tone::Bad };
    let messages = sent(leg, facts).and(tone, oddities);
    let mut refreshes = label("refreshes").and(Tone::Strong, facts.refreshes.to_string());
    if let Some(last) = story.last {
        refreshes =
            refreshes.and(Tone::Plain, format!(" on the live connection, the last in {}", Millis(last)));
    }
    if facts.resumes > 0 {
        refreshes = refreshes.and(Tone::Warning, format!("; dialled again: {}", facts.resumes));
    }
    vec![way, state(facts, leg), bar(facts, leg, width), messages, refreshes]
}

fn label(text: &str) -> Line {
    Line::new(Tone::Faint, format!("  {text:<10} "))
}

fn state(facts: &Facts, leg: &Leg) -> Line {
    let since = |at| seconds(facts.now.saturating_duration_since(at));
    match (&leg.tally.connected, leg.tally.dropped()) {
        (_, Some((at, reason))) => {
            label("client").and(Tone::Bad, format!("✗ dropped {} ago: {}", since(at), reason.words()))
        }
        (None, None) => label("client").and(Tone::Warning, "… connecting"),
        (Some((_, at)), None) => {
            let mut line = label("client").and(Tone::Good, format!("● connected for {}", since(*at)));
            // Both clients were given theirs at the start.
            let over = (facts.now - facts.began).saturating_sub(facts.lifetime);
            if !over.is_zero() {
                line = line.and(Tone::Plain, format!("; its own token expired {} ago", seconds(over)));
            }
            line
        }
    }
}

/// What is left of the token's life, as the service knows it.
fn bar(facts: &Facts, leg: &Leg, width: usize) -> Line {
    let cells = width.saturating_sub(13 + 16).clamp(8, 40);
    let left = leg.token_left.unwrap_or_default();
    let part = (left.as_secs_f64() / facts.lifetime.as_secs_f64().max(0.001)).min(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `cells`")]
    let full = (part * cells as f64).ceil() as usize;
    let tone = if part < 0.2 { Tone::Warning } else { Tone::Good };
    let words = match leg.token_left {
        Some(left) => Line::new(Tone::Plain, format!(" {} left", seconds(left))),
        None if leg.tally.dropped().is_some() => Line::new(Tone::Bad, " gone"),
        None => Line::default(),
    };
    let line = label("token").and(tone, "█".repeat(full));
    line.and(Tone::Faint, "░".repeat(cells.saturating_sub(full))).join(words)
}

fn sent(leg: &Leg, facts: &Facts) -> Line {
    let (tally, lost) = (&leg.tally, leg.tally.lost(facts.now));
    let tone = if lost == 0 { Tone::Plain } else { Tone::Bad };
    label("messages")
        .and(Tone::Plain, format!("{} sent, {} acknowledged, ", tally.sent, tally.acknowledged))
        .and(tone, format!("{lost} lost"))
}

fn told(told: &Told) -> Line {
    let who = told.event.who();
    let tone = match who {
        Who::Direct => Tone::Warning,
        Who::Behind => Tone::Good,
    };
    Line::new(Tone::Faint, format!("  {:>7} ", seconds(told.at)))
        .and(tone, format!("{who:<8} "))
        .and(Tone::Plain, told.event.to_string())
}

/// Where to look from outside.
pub(super) fn status_page(facts: &Facts) -> String {
    format!("http://{}/", facts.admin)
}

/// A duration, as people read it.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{super::stage::fixture, *};

    fn drawn(columns: usize) -> Vec<String> {
        let (mut story, facts) = (Story::default(), fixture::facts());
        story.look(&facts);
        picture(&facts, &story, columns).iter().map(Line::bare).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_picture_fits_a_small_terminal() {
        let lines = drawn(200);
        assert!(lines.len() <= 24, "{} lines", lines.len());
        for line in lines {
            assert!(line.chars().count() <= WIDEST, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_picture_says_what_is_the_case() {
        let all = drawn(80).join("\n");
        for words in [
            "✗ dropped 20.0 s ago: token expired (40142)",
            "1 sent, 1 acknowledged, 0 lost, 100 had nowhere to go",
            "● connected for 30.0 s; its own token expired 20.0 s ago",
            "6.0 s left",
            "4 on the live connection, the last in 11 ms",
            "status page: http://127.0.0.1:7371/",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
    }
}
