//! The span of a request to a server, for those who trace.
//!
//! ```text
//!   a span (a handshake, a refresh, an outage) ──► its context ──► a future ──► Asked: a child of it
//! ```
//!
//! 1. A future that is in no span has no child either: that costs a look at a thread's variable.
//! 2. The tracer comes with the context. There is no global one.
//! 3. A span says whom, and what the answer's status was. It has no path, no header and no body: they may hold a token.

use http::{StatusCode, uri::Authority};
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;

use super::Dialer;

/// A request that is under way; nothing, if nobody traces. If it is dropped, it has ended.
#[derive(Debug)]
pub struct Asked(Option<Context>);

impl Asked {
    /// Begins the span `name` below the current one.
    pub fn begin(name: &'static str, dialer: &Dialer) -> Self {
        Self(Context::map_current(|parent| {
            let tracer = parent.get::<SdkTracer>().filter(|_| parent.span().is_recording())?;
            let builder =
                tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(server(dialer));
            Some(Context::new().with_span(builder.start_with_context(tracer, parent)))
        }))
    }

    /// It has ended: with the answer's status, or without an answer, for this reason.
    pub fn end(self, answer: Result<StatusCode, &'static str>) {
        let Some(context) = self.0 else { return };
        let span = context.span();
        let error = match answer {
            Ok(status) => {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                (status.as_u16() >= 400).then(|| status.as_str().to_owned())
            }
            Err(reason) => Some(reason.to_owned()),
        };
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Names the trace that a context is in, for the log; `None` if nobody traces.
pub fn id(context: &Context) -> Option<String> {
    let span = context.span();
    let names = span.span_context();
    names.is_sampled().then(|| names.trace_id().to_string())
}

/// The same for the future that is running.
pub fn current_id() -> Option<String> {
    Context::map_current(id)
}

fn server(dialer: &Dialer) -> Vec<KeyValue> {
    let Ok(authority) = dialer.authority().parse::<Authority>() else { return Vec::new() };
    let usual = if dialer.server_name().is_some() { 443 } else { 80 };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(usual);
    vec![KeyValue::new("server.address", host), KeyValue::new("server.port", i64::from(port))]
}
