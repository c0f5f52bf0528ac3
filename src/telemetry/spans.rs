//! Spans: each refresh and each re-authentication, for who traces.
//!
//! ```text
//!   a credential's fetch ended ──┐
//!                                ├──► Spans ──► a sink, where there is one ──► otlp ──► a collector
//!   a session's exchange, swap ──┘
//! ```
//!
//! 1. A span is made when it has ended, of what the log and the metrics are told as well. Where nobody traces,
//!    that costs a look at an empty handle.
//! 2. A sink takes a span at once or drops it: nobody waits for a collector.
//! 3. No span has a token in it. What a peer said goes through [`words`] here, no matter who says it.
//! 4. A client is not told of any of this: no trace context is made up in its name, or passed on in ours.

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Method, Outcome, Trigger};
use crate::clock::Now;

/// Where spans go. Cheap to clone; by default nowhere.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<dyn Sink>>);

/// What takes spans.
pub trait Sink: Send + Sync {
    /// Takes one, or drops it: it is called by who has other things to do, and never waits.
    fn take(&self, span: Span);
}

/// Something that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub what: What,
    pub route: String,
    /// The credential's name, a keyed hash; `None` where a session has none.
    pub credential: Option<String>,
    /// Of the token that came of it, or that was shown; `None` where none came.
    pub generation: Option<u64>,
    pub outcome: Outcome,
    pub took: Duration,
    /// When it ended, since the Unix epoch.
    pub ended: Duration,
    /// Why it failed, in the [`words`] that may be shown.
    pub error: Option<String>,
}

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A token was fetched, or should have been.
    Refresh(Trigger),
    /// It was shown to a service.
    Reauthentication(Method),
}

/// What there is to say of either, by the part that knows it.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub route: &'a str,
    pub credential: Option<&'a str>,
    pub generation: Option<u64>,
    pub outcome: Outcome,
    pub took: Duration,
    pub error: Option<&'a str>,
}

impl Spans {
    /// Those that go to this sink.
    pub fn to(sink: Arc<dyn Sink>) -> Self {
        Self(Some(sink))
    }

    /// As the variables `OTEL_…` say: to their collector, where one is named. What sends them runs on
    /// `tasks`; on `stop` it sends what it still has, within two seconds.
    #[cfg(feature = "otlp")]
    pub fn from_environment(tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        super::otlp::start(tasks, stop)
    }

    /// To nobody: this build cannot send them, and says so where it was meant to.
    #[cfg(not(feature = "otlp"))]
    pub fn from_environment(_: &TaskTracker, _: &CancellationToken) -> Self {
        let asked = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        if let Some(variable) =
            asked.into_iter().find(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
        {
            tracing::warn!(
                variable,
                "no traces are exported: this binary was built without the feature `otlp`"
            );
        }
        Self::default()
    }

    /// A fetch has ended, just now.
    pub fn refreshed(&self, trigger: Trigger, told: Told<'_>) {
        self.ended(What::Refresh(trigger), told);
    }

    /// An exchange, a swap or a resumption has ended, just now.
    pub fn reauthenticated(&self, method: Method, told: Told<'_>) {
        self.ended(What::Reauthentication(method), told);
    }

    fn ended(&self, what: What, told: Told<'_>) {
        let Some(sink) = &self.0 else { return };
        let Told { route, credential, generation, outcome, took, error } = told;
        sink.take(Span {
            what,
            route: route.to_owned(),
            credential: credential.map(str::to_owned),
            generation,
            outcome,
            took,
            ended: Now::read().wall,
            error: error.map(|error| words(error, None)),
        });
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spans({})", if self.0.is_some() { "to a sink" } else { "nowhere" })
    }
}

/// What a service said, for a log line or a span: the beginning of it, without any word that may be a token, and
/// without the token in use, however short it is.
pub fn words(said: &str, token: Option<&str>) -> String {
    const WORD: usize = 24;
    const LINE: usize = 200;
    let hides = |word: &str| word.len() >= WORD || token.is_some_and(|token| word.contains(token));
    let short = said.split_whitespace().map(|word| if hides(word) { "[…]" } else { word });
    let mut line = String::new();
    for word in short {
        if line.len() + word.len() > LINE {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl Sink for Kept {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    #[test]
    fn a_span_says_what_it_was_and_shows_no_token() {
        let kept = Arc::new(Kept::default());
        let spans = Spans::to(kept.clone());
        let told = Told {
            route: "ably",
            credential: Some("1a2b3c4d"),
            generation: None,
            outcome: Outcome::Rejected,
            took: Duration::from_millis(20),
            error: Some("token eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjB9.c2ln expired"),
        };
        spans.refreshed(Trigger::Hint, told);
        spans.reauthenticated(Method::Swap, Told { error: None, generation: Some(7), ..told });
        Spans::default().refreshed(Trigger::Hint, told);
        let kept = kept.0.lock().unwrap();
        let [refresh, swap] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!(refresh.what, What::Refresh(Trigger::Hint));
        assert_eq!(refresh.error.as_deref(), Some("token […] expired"));
        assert_eq!((swap.what, swap.generation), (What::Reauthentication(Method::Swap), Some(7)));
        assert!(swap.ended > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn a_services_words_are_few_and_none_is_a_token() {
        assert_eq!(words("40142 Token expired", None), "40142 Token expired");
        let quoting = "token eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjB9.c2ln expired\n(key app.id)";
        assert_eq!(words(quoting, None), "token […] expired (key app.id)");
        assert!(words(&"word ".repeat(5_000), None).len() < 210);
        let short = "40140 token \"V1StGXR8\" rejected";
        assert_eq!(words(short, Some("V1StGXR8")), "40140 token […] rejected");
        assert_eq!(words(short, Some("another")), short);
    }
}
