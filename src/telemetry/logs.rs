//! Logs: text or JSON on stderr, one line for each event.
//!
//! ```text
//!   event ──► level? ──► rate ──► one line ──► queue ──► the writing thread ──► stderr
//!         └─► Events: the status page
//! ```
//!
//! - Nobody waits for a line to be written: `queue`. One kind of line does not hide the others: `rate`.
//! - Libraries are never heard below INFO, whatever the filter says: at DEBUG and TRACE they print
//!   handshakes and frames, tokens included.
//! - An event is one line: control characters in what a peer sent are escaped, so that no peer can
//!   write a line of its own or drive a terminal.

mod queue;
mod rate;
mod text;

use std::io::{self, IsTerminal, Write};

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

pub use self::{
    queue::{Dropped, Writing},
    rate::{Rate, SUMMARY},
};
use super::events::Events;

/// What the process sees of its own log. Cheap to clone; by default of a log that nobody has set up.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The last events.
    pub events: Events,
    /// Lines that were not written.
    pub dropped: Dropped,
    /// What was left out because there was too much of one kind.
    pub rate: Rate,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For eyes; in colour on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is malformed.
    #[error(
        "the log level is malformed: {0}; write a level, such as \"debug\", or \"perennial::proxy=debug\""
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A word that is no level. Taken for a target, it would silence everything else.
    #[error("{word:?} is no log level{}; the levels are {}", near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default(), LEVELS.join(", "))]
    Word {
        /// As it was written.
        word: String,
        /// What it was probably meant to be.
        near: Option<&'static str>,
    },
    /// They were set up before.
    #[error("logs are set up already")]
    Twice,
    /// There is no file descriptor left for the thread that writes.
    #[error("stderr cannot be written to: {0}")]
    Stderr(io::Error),
}

/// Sends the events of the whole process to stderr. An empty `filter` means `info`. Keep the [`Writing`] until the
/// process ends.
pub fn init(format: LogFormat, filter: &str) -> Result<(Log, Writing), LogsError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (queue, writing, dropped) = queue::to_stderr().map_err(LogsError::Stderr)?;
    let log = Log { dropped, ..Log::default() };
    let layer = layer(format, filter, colour, queue, log.rate.clone())?;
    let last =
        log.events.clone().with_filter(filter_fn(|event| *event.level() <= Level::INFO && ours(event)));
    tracing_subscriber::registry().with(layer).with(last).try_init().map_err(|_| LogsError::Twice)?;
    // The usual hook writes to stderr itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, error = panic.payload_as_str().unwrap_or("no words"), "a task panicked");
    }));
    Ok((log, writing))
}

fn layer<S, W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    to: W,
    rate: Rate,
) -> Result<impl Layer<S>, LogsError>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    filter.split(',').try_for_each(known)?;
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(filter)?;
    let filter = filter.and(filter_fn(ours_or_loud)).and(rate);
    let layer = fmt::layer().with_writer(OneLine { to, colour }).with_ansi(colour);
    Ok(match format {
        LogFormat::Text => layer.fmt_fields(text::Words).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_ansi(false).with_filter(filter).boxed(),
    })
}

/// Is it a level, or a target of ours or with a level?
fn known(directive: &str) -> Result<(), LogsError> {
    let word = directive.trim();
    let is_level = word.parse::<u8>().is_ok() || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_target = word.contains(['=', '[']) || word == "perennial" || word.starts_with("perennial::");
    if word.is_empty() || is_level || is_target {
        return Ok(());
    }
    let distance = |level: &str| strsim::damerau_levenshtein(level, &word.to_ascii_lowercase());
    let near = LEVELS.into_iter().min_by_key(|level| distance(level)).filter(|level| distance(level) <= 3);
    Err(LogsError::Word { word: word.chars().take(40).collect(), near })
}

fn ours_or_loud(event: &Metadata<'_>) -> bool {
    ours(event) || *event.level() <= Level::INFO
}

fn ours(event: &Metadata<'_>) -> bool {
    let module = event.target().strip_prefix("perennial");
    module.is_some_and(|module| module.is_empty() || module.starts_with("::"))
}

/// Keeps an event on one line: it comes in one piece, and only its last line break is its own.
/// (tracing-subscriber escapes a message and a quoted string, but not a `%value`.)
struct OneLine<W> {
    to: W,
    colour: bool,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLineWriter { to: self.to.make_writer(), colour: self.colour }
    }
}

struct OneLineWriter<W> {
    to: W,
    colour: bool,
}

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains(is_unfit) {
            let mut escaped = escape(line, self.colour);
            escaped.push('\n');
            self.to.write_all(escaped.as_bytes())?;
        } else {
            self.to.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn is_unfit(c: char) -> bool {
    c.is_control() && c != '\t'
}

fn escape(line: &str, colour: bool) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    for (at, c) in line.char_indices() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' if colour && is_colour(&line[at + 1..]) => out.push(c),
            // Written so that it is an escape in JSON as well.
            c if is_unfit(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Does it go on as a change of colour does: `[`, numbers, `m`? Nothing else of a terminal is moved.
fn is_colour(after: &str) -> bool {
    let numbers = after.strip_prefix('[').and_then(|rest| rest.split_once('m'));
    numbers.is_some_and(|(numbers, _)| numbers.bytes().all(|b| b.is_ascii_digit() || b == b';'))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_word_that_is_no_level_silences_nothing() {
        for (word, near) in [("warning", "warn"), ("inf", "info"), ("errors", "error"), ("Tracee", "trace")] {
            let error = known(word).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {near:?}?")), "{error}");
        }
        let error = known("verbose").unwrap_err().to_string();
        assert_eq!(error, "\"verbose\" is no log level; the levels are off, error, warn, info, debug, trace");
        for good in
            ["", "warn", "WARN", "3", "perennial", "perennial::proxy", "hyper=debug", "perennial=info"]
        {
            assert!(known(good).is_ok(), "{good}");
        }
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, events: impl FnOnce()) -> String {
        written(format, filter, false, events)
    }

    fn written(format: LogFormat, filter: &str, colour: bool, events: impl FnOnce()) -> String {
        let page = Page::default();
        let to = page.clone();
        let layer = layer(format, filter, colour, move || to.clone(), Rate::default()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn info_is_the_default() {
        let text = logged(LogFormat::Text, "", || {
            tracing::info!(target: "perennial::proxy", route = "ably", "listening");
            tracing::debug!(target: "perennial::proxy", "unheard");
        });
        assert!(text.ends_with("INFO perennial::proxy: listening route=ably\n"), "{text}");
    }

    #[test]
    fn libraries_are_never_heard_below_info() {
        for filter in ["trace", "tungstenite=trace,debug", "hyper::proto=trace"] {
            let text = logged(LogFormat::Text, filter, || {
                tracing::trace!(target: "tungstenite::protocol", "token=CANARY");
                tracing::debug!(target: "hyper::proto", "CANARY");
                tracing::debug!(target: "perennialish", "CANARY");
                tracing::warn!(target: "tungstenite::protocol", "heard");
            });
            assert!(!text.contains("CANARY"), "{filter}: {text}");
        }
        let text = logged(LogFormat::Text, "debug", || {
            tracing::debug!(target: "perennial", "heard");
            tracing::info!(target: "rustls", "heard");
        });
        assert_eq!(text.matches("heard").count(), 2, "{text}");
    }

    #[test]
    fn an_event_is_one_line_whatever_a_peer_sent() {
        let peer = "a\nERROR forged\r\u{1b}[2J\u{9b}2J\u{7f}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "", || {
                tracing::info!(target: "perennial", shown = %peer, quoted = peer, "said {peer}");
            });
            let printable = |c: char| !c.is_control();
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(text.strip_suffix('\n').unwrap().chars().all(printable), "{text:?}");
        }
    }

    #[test]
    fn in_colour_nothing_but_colour_passes() {
        let text = written(LogFormat::Text, "", true, || {
            tracing::info!(target: "perennial", shown = %"a\u{1b}[2J", "said");
        });
        assert!(text.contains("\u{1b}[32m INFO") && text.contains("a\\u{1b}[2J"), "{text:?}");
    }

    #[test]
    fn json_is_json() {
        let text = logged(LogFormat::Json, "", || {
            tracing::info!(target: "perennial", generation = 7, peer = %"\u{9b}\n", "token refreshed");
        });
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["message"], &json["generation"]), (&"token refreshed".into(), &7.into()));
        assert_eq!(json["peer"], "\u{9b}\n");
    }

    #[test]
    fn in_text_a_value_is_one_word_or_quoted() {
        let text = logged(LogFormat::Text, "", || {
            let error = io::Error::other("no \"route\" to host");
            tracing::warn!(target: "perennial", %error, empty = "", route = "a", count = 7, ratio = 0.5, "not reached");
        });
        let expected =
            "not reached error=\"no \\\"route\\\" to host\" empty=\"\" route=a count=7 ratio=0.5\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_flood_is_cut_and_other_lines_are_not() {
        let text = logged(LogFormat::Json, "", || {
            (0..300).for_each(|n| tracing::info!(target: "perennial", n, "session opened"));
            tracing::warn!(target: "perennial", "token refresh failed");
        });
        let opened = text.matches("session opened").count();
        assert!((100..120).contains(&opened) && text.contains("token refresh failed"), "{opened}");
    }

    #[test]
    fn a_malformed_filter_is_said_to_be() {
        let error = layer::<tracing_subscriber::Registry, _>(
            LogFormat::Text,
            "a=b=c",
            false,
            io::stderr,
            Rate::default(),
        );
        assert!(error.err().unwrap().to_string().starts_with("the log level is malformed"));
    }
}
