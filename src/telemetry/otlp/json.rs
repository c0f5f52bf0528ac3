//! The request of `opentelemetry/proto/collector/trace/v1`, as the OTLP specification has it written in JSON:
//! names in lowerCamelCase, identifiers in hexadecimal, 64-bit integers as decimal strings, enumerations as
//! numbers. Only what is sent is here.

use serde::{Deserialize, Serialize};

/// `SPAN_KIND_INTERNAL`: what the spans are of is done here, not asked for by anybody who traces.
pub(super) const INTERNAL: u8 = 1;
/// `STATUS_CODE_UNSET` and `STATUS_CODE_ERROR`.
pub(super) const UNSET: u8 = 0;
pub(super) const ERROR: u8 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    pub(super) resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans<'a> {
    pub(super) resource: Resource<'a>,
    pub(super) scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
pub(super) struct Resource<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
pub(super) struct ScopeSpans<'a> {
    pub(super) scope: Scope,
    pub(super) spans: Vec<Span<'a>>,
}

/// Who made the spans.
#[derive(Serialize)]
pub(super) struct Scope {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span<'a> {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_span_id: Option<String>,
    pub(super) name: &'static str,
    pub(super) kind: u8,
    pub(super) start_time_unix_nano: String,
    pub(super) end_time_unix_nano: String,
    pub(super) attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    pub(super) status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) trace_id: String,
    pub(super) span_id: String,
}

#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    pub(super) value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Value<'a> {
    StringValue(&'a str),
    IntValue(String),
}

/// What is read of an answer: `rejectedSpans` is a string by the mapping, and a number in places.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Answer {
    partial_success: PartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    rejected_spans: serde_json::Value,
}

impl Answer {
    /// Spans that the collector would not have; what cannot be understood refuses none.
    pub(super) fn rejected(body: &[u8]) -> u64 {
        let answer: Self = serde_json::from_slice(body).unwrap_or_default();
        let said = answer.partial_success.rejected_spans;
        said.as_u64().or_else(|| said.as_str()?.parse().ok()).unwrap_or(0)
    }
}
