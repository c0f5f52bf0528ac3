//! Which span belongs to which trace, and the bytes of a request.
//!
//! A session knows the credential and the generation of the token that it showed; by these it finds the
//! refresh that brought it. Only the last refresh of each credential is kept in mind, and that of so many.

use std::{collections::HashMap, time::Duration};

use super::json::{
    Attribute, ERROR, INTERNAL, Link, Request, Resource, ResourceSpans, Scope, ScopeSpans, Status, UNSET,
    Value,
};
use crate::telemetry::{
    Method, Outcome,
    spans::{Span, What},
};

/// Credentials whose last refresh is kept in mind; beyond that any other is forgotten.
const MAX_REFRESHES: usize = 10_000;
/// What began within this time of a refresh, with its token, came of it: sessions take their turns, and their
/// exchanges are spread over ten seconds. What began later had other reasons.
const CAME_OF_IT: Duration = Duration::from_secs(60);

/// The traces under way.
#[derive(Default)]
pub(super) struct Traces {
    refreshes: HashMap<String, Refresh>,
}

/// A refresh that brought a token.
struct Refresh {
    generation: u64,
    identity: Identity,
    ended: Duration,
}

/// Of a span: neither is zero.
#[derive(Clone, Copy)]
struct Identity {
    trace: u128,
    span: u64,
}

impl Identity {
    fn new() -> Self {
        Self { trace: fastrand::u128(1..), span: fastrand::u64(1..) }
    }

    fn trace(self) -> String {
        format!("{:032x}", self.trace)
    }

    fn span(self) -> String {
        format!("{:016x}", self.span)
    }
}

/// How a span stands to the refresh whose token it is about.
enum Place {
    Alone,
    Child(Identity),
    Linked(Identity),
}

impl Traces {
    /// The request with these spans.
    pub(super) fn request(&mut self, spans: &[Span], resource: &[(String, String)]) -> Vec<u8> {
        // Refreshes first: a session may have been quicker to say that it has exchanged.
        let refreshed: Vec<Identity> = spans.iter().map(|span| self.remember(span)).collect();
        let spans = spans.iter().zip(refreshed).map(|(span, identity)| self.span(span, identity)).collect();
        let attributes =
            resource.iter().map(|(key, value)| Attribute { key, value: Value::StringValue(value) }).collect();
        let scope = Scope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
        let scope_spans = [ScopeSpans { scope, spans }];
        let request =
            Request { resource_spans: [ResourceSpans { resource: Resource { attributes }, scope_spans }] };
        // Strings and numbers can always be written.
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Gives a span its identity, and keeps it in mind where it is a refresh that brought a token.
    fn remember(&mut self, span: &Span) -> Identity {
        let identity = Identity::new();
        let (What::Refresh(_), Some(credential), Some(generation)) =
            (span.what, &span.credential, span.generation)
        else {
            return identity;
        };
        if self.refreshes.len() >= MAX_REFRESHES && !self.refreshes.contains_key(credential) {
            let any = self.refreshes.keys().next().cloned();
            any.and_then(|any| self.refreshes.remove(&any));
        }
        self.refreshes.insert(credential.clone(), Refresh { generation, identity, ended: span.ended });
        identity
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.refreshes.len()
    }

    fn place(&self, span: &Span) -> Place {
        let What::Reauthentication(method) = span.what else { return Place::Alone };
        let refresh = span.credential.as_ref().and_then(|name| self.refreshes.get(name));
        let Some(refresh) = refresh.filter(|refresh| Some(refresh.generation) == span.generation) else {
            return Place::Alone;
        };
        let began = span.ended.saturating_sub(span.took);
        match method {
            Method::Exchange | Method::Swap if began <= refresh.ended + CAME_OF_IT => {
                Place::Child(refresh.identity)
            }
            Method::Exchange | Method::Swap | Method::Resume => Place::Linked(refresh.identity),
        }
    }

    fn span<'a>(&self, span: &'a Span, identity: Identity) -> super::json::Span<'a> {
        let (trace, parent, links) = match self.place(span) {
            Place::Alone => (identity.trace(), None, Vec::new()),
            Place::Child(of) => (of.trace(), Some(of.span()), Vec::new()),
            Place::Linked(to) => {
                (identity.trace(), None, vec![Link { trace_id: to.trace(), span_id: to.span() }])
            }
        };
        let (name, key, kind) = match span.what {
            What::Refresh(trigger) => ("token refresh", "perennial.trigger", trigger.as_str()),
            What::Reauthentication(method) => (method.as_str(), "perennial.method", method.as_str()),
        };
        let text = |key, value| Attribute { key, value: Value::StringValue(value) };
        let mut attributes = vec![
            text("perennial.route", &*span.route),
            text(key, kind),
            text("perennial.outcome", span.outcome.as_str()),
        ];
        attributes.extend(span.credential.as_deref().map(|name| text("perennial.credential", name)));
        attributes.extend(span.generation.map(|generation| Attribute {
            key: "perennial.generation",
            value: Value::IntValue(generation.to_string()),
        }));
        let code = if span.outcome == Outcome::Ok { UNSET } else { ERROR };
        super::json::Span {
            trace_id: trace,
            span_id: identity.span(),
            parent_span_id: parent,
            name,
            kind: INTERNAL,
            start_time_unix_nano: span.ended.saturating_sub(span.took).as_nanos().to_string(),
            end_time_unix_nano: span.ended.as_nanos().to_string(),
            attributes,
            links,
            status: Status { code, message: span.error.as_deref() },
        }
    }
}
