//! Spans: what is done about tokens and connections, for those who trace.
//!
//! ```text
//!   token refresh ─┬─ POST …                        handshake ─── dial …     (linked to the refresh that it
//!                  ├─ exchange                                                waited for)
//!                  └─ swap ─── dial …               outage ─┬─ dial …
//!                                                           └─ resume        (linked to the token's refresh)
//! ```
//!
//! 1. If nobody traces, a span is an empty handle, and costs a look at it.
//! 2. A span that has ended goes to a queue at once, or is dropped: nobody waits for a collector.
//! 3. No span has a token in it. What a peer said goes through [`words`] here.
//! 4. A client is not told of any of this: no trace context is taken from it, or passed on in our name.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::StatusCode;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Handshake,
    otlp::{self, Queue},
};
use crate::net::{Egress, trace};

/// Makes spans. Cheap to clone; by default it makes none.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Tracing>>);

struct Tracing {
    tracer: SdkTracer,
    /// A context with the tracer in it, for what is below a span.
    root: Context,
    queue: Queue,
}

/// How a span stands to the one that brought it about.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    Alone,
    Below(&'a SpanContext),
    Linked(&'a SpanContext),
}

impl Spans {
    /// As the variables `OTEL_…` say: to their collector, if one is named, by this way out. What sends them runs on
    /// `tasks`; on `stop` it sends what it still has, within two seconds.
    pub fn from_environment(egress: &Egress, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        otlp::start(egress, tasks, stop)
    }

    /// Made by this tracer, which puts them into this queue.
    pub(super) fn to(tracer: SdkTracer, queue: Queue) -> Self {
        let root = Context::new().with_value(tracer.clone());
        Self(Some(Arc::new(Tracing { tracer, root, queue })))
    }

    /// Something begins, or began then, since the Unix epoch.
    pub fn begin(&self, name: &'static str, route: &str, began: Duration, place: Place<'_>) -> Open {
        self.of_kind(SpanKind::Internal, (name, route), began, place)
    }

    /// A client's handshake. There may be any number of them: while the queue is half full, they have no spans.
    pub fn handshake(&self, route: &str, began: Duration) -> Open {
        if self.0.as_ref().is_some_and(|tracing| tracing.queue.has_room()) {
            self.of_kind(SpanKind::Server, ("handshake", route), began, Place::Alone)
        } else {
            Open::default()
        }
    }

    fn of_kind(
        &self,
        kind: SpanKind,
        (name, route): (&'static str, &str),
        began: Duration,
        place: Place<'_>,
    ) -> Open {
        let Some(Tracing { tracer, root, .. }) = self.0.as_deref() else { return Open::default() };
        let mut builder = tracer.span_builder(name).with_kind(kind).with_start_time(UNIX_EPOCH + began);
        let parent = match place {
            Place::Alone => root.clone(),
            Place::Below(parent) => root.with_remote_span_context(parent.clone()),
            Place::Linked(to) => {
                builder = builder.with_links(vec![Link::with_context(to.clone())]);
                root.clone()
            }
        };
        let span = builder.start_with_context(tracer, &parent);
        let open = Open(root.with_span(span));
        open.set("perennial.route", route.to_owned());
        open
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spans({})", if self.0.is_some() { "to a collector" } else { "none" })
    }
}

/// A span that is under way; nothing, if nobody traces. If all its handles are dropped, it has ended.
#[derive(Debug, Clone, Default)]
pub struct Open(Context);

impl From<Context> for Open {
    fn from(context: Context) -> Self {
        Self(context)
    }
}

impl Open {
    /// For a future whose requests are children of this span.
    pub fn context(&self) -> Context {
        self.0.clone()
    }

    /// Names it, for a span that came of it; `None` if there is none.
    pub fn names(&self) -> Option<SpanContext> {
        let span = self.0.span();
        Some(span.span_context()).filter(|names| names.is_valid()).cloned()
    }

    /// Names its trace, for the log.
    pub fn trace_id(&self) -> Option<String> {
        trace::id(&self.0)
    }

    /// Has it not ended yet?
    pub fn is_open(&self) -> bool {
        self.0.span().is_recording()
    }

    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Which token it is about.
    pub fn set_token(&self, credential: &str, generation: Option<u64>) {
        if self.is_open() {
            self.set("perennial.credential", credential.to_owned());
            if let Some(generation) = generation {
                self.set("perennial.generation", i64::try_from(generation).unwrap_or(i64::MAX));
            }
        }
    }

    /// It waited for that one.
    pub fn link(&self, to: SpanContext) {
        self.0.span().add_link(to, Vec::new());
    }

    /// It has ended well, just now.
    pub fn end(&self, outcome: &'static str) {
        self.set("perennial.outcome", outcome);
        self.0.span().end();
    }

    /// It has failed, just now; `why` is for people.
    pub fn fail(&self, outcome: &'static str, why: &str) {
        self.set("error.type", outcome);
        let span = self.0.span();
        if span.is_recording() {
            span.set_status(Status::error(words(why, None)));
        }
        self.end(outcome);
    }

    /// A handshake has ended; `status`: what the client was answered.
    pub fn answer(&self, outcome: Handshake, status: Option<StatusCode>) {
        if let Some(status) = status {
            self.set("http.response.status_code", i64::from(status.as_u16()));
        }
        if outcome != Handshake::Accepted {
            self.set("error.type", outcome.as_str());
        }
        // What the client did wrong is not an error of this server's.
        if status.is_some_and(|status| status.is_server_error()) {
            self.0.span().set_status(Status::error(""));
        }
        self.end(outcome.as_str());
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
    use opentelemetry::trace::FutureExt;

    use super::*;
    use crate::{
        clock::Now,
        config::{Endpoint, UpstreamTls},
        net::{Dialer, trace::Asked},
    };

    fn attribute(span: &opentelemetry_sdk::trace::SpanData, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn a_span_says_what_it_was_and_shows_no_token() {
        let (spans, mut ended) = otlp::kept();
        let refresh = spans.begin("token refresh", "ably", Now::read().wall, Place::Alone);
        refresh.fail("rejected", "token eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjB9.c2ln expired");
        let names = refresh.names().unwrap();
        let swap = spans.begin("swap", "ably", Now::read().wall, Place::Below(&names));
        swap.end("ok");
        swap.end("twice");
        drop(spans.begin("resume", "ably", Now::read().wall, Place::Linked(&names)));
        let [refresh, swap, resume] = [(); 3].map(|()| ended.try_recv().unwrap());
        assert!(ended.try_recv().is_err(), "each ends once");
        assert_eq!(refresh.status, Status::error("token […] expired"));
        assert_eq!(attribute(&refresh, "error.type").as_deref(), Some("rejected"));
        assert_eq!(attribute(&swap, "perennial.outcome").as_deref(), Some("ok"));
        assert_eq!(swap.parent_span_id, refresh.span_context.span_id());
        assert_eq!(swap.span_context.trace_id(), refresh.span_context.trace_id());
        assert_ne!(resume.span_context.trace_id(), refresh.span_context.trace_id());
        assert_eq!(resume.links.links[0].span_context, names);
    }

    #[tokio::test]
    async fn a_request_is_a_child_of_the_span_that_its_future_is_in() {
        let (spans, mut ended) = otlp::kept();
        let endpoint = Endpoint::of_server("https://[::1]/secret").unwrap();
        let dialer = Dialer::new(&endpoint, &UpstreamTls::default()).unwrap();
        let ask = async || Asked::begin("POST", &dialer).end(Err("timeout"));
        ask().await;
        assert!(ended.try_recv().is_err(), "in no span there is no child");
        let outage = spans.begin("outage", "ably", Now::read().wall, Place::Alone);
        ask().with_context(outage.context()).await;
        let request = ended.try_recv().unwrap();
        assert_eq!(Some(request.parent_span_id), outage.names().map(|names| names.span_id()));
        assert_eq!(request.span_kind, SpanKind::Client);
        let told =
            ["server.address", "server.port", "error.type"].map(|key| attribute(&request, key).unwrap());
        assert_eq!(told, ["::1", "443", "timeout"]);
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn a_flood_of_handshakes_leaves_room_for_the_rest() {
        let (spans, mut ended) = otlp::kept();
        for _ in 0..5_000 {
            spans
                .handshake("ably", Now::read().wall)
                .answer(Handshake::Limit, Some(StatusCode::TOO_MANY_REQUESTS));
        }
        spans.begin("token refresh", "ably", Now::read().wall, Place::Alone).end("ok");
        let names: Vec<_> = std::iter::from_fn(|| ended.try_recv().ok()).map(|span| span.name).collect();
        assert_eq!(names.last().map(|name| &**name), Some("token refresh"));
        assert!((500..2000).contains(&names.len()), "{}", names.len());
    }

    #[test]
    fn if_nobody_traces_there_is_nothing() {
        let open = Spans::default().begin("outage", "ably", Now::read().wall, Place::Alone);
        open.fail("failed", "why");
        assert!(open.trace_id().is_none() && open.names().is_none());
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
