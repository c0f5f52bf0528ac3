//! The variables that the OpenTelemetry specification names ("OpenTelemetry Protocol Exporter", "Environment
//! Variable Specification"): what of them is understood here, and nothing else.
//!
//! | variable | |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `/v1/traces` is appended; nothing is exported without it or the next |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | taken as it is |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | `name=value,…`: a secret, never shown |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` | milliseconds for one request, 10000 |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE`, `_CLIENT_KEY` | files, as in `[route.tls]` |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/json` is what is spoken |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who it is that traces |
//! | `OTEL_BSP_SCHEDULE_DELAY` | milliseconds that a batch gathers, 5000 |
//! | `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` | `true` and `none`: nothing is exported |
//!
//! Each `OTEL_EXPORTER_OTLP_…` has a sister `OTEL_EXPORTER_OTLP_TRACES_…` that goes before it. An empty
//! variable is one that is not set. An error names the variable and quotes nothing of it.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;

use crate::config::{Endpoint, UpstreamTls};

const TIMEOUT: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_secs(5);
/// Neither is shorter or longer than this, whatever the variable says.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60);
/// Entries of a list, and the bytes of all of it.
const MAX_ENTRIES: usize = 64;
const MAX_LIST: usize = 16 * 1024;

/// What the variables say.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) tls: UpstreamTls,
    /// Their values are marked as secrets.
    pub(super) headers: HeaderMap,
    /// `service.name` among them.
    pub(super) resource: Vec<(String, String)>,
    /// For one request.
    pub(super) timeout: Duration,
    /// How long a batch gathers.
    pub(super) delay: Duration,
    /// What could not be used and does no harm.
    pub(super) ignored: Vec<Wrong>,
}

/// A variable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {what}")]
pub(super) struct Wrong {
    pub(super) variable: String,
    what: String,
}

impl Wrong {
    fn new(variable: &str, what: impl Into<String>) -> Self {
        Self { variable: variable.to_owned(), what: what.into() }
    }
}

/// Reads the variables; `None` where nothing is to be exported.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, Wrong> {
    let from = Variables { get: &|name| variable(name).filter(|value| !value.trim().is_empty()) };
    let is = |name: &str, value: &str| (from.get)(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    let Some(endpoint) = from.endpoint()? else { return Ok(None) };
    let mut ignored = Vec::new();
    if let Some((name, protocol)) = from.exporter("PROTOCOL") {
        match protocol.as_str() {
            "http/json" => {}
            "http/protobuf" => ignored.push(Wrong::new(&name, "http/json is what is spoken here")),
            _ => {
                let way_out = "http/json is what is spoken here; set it to that, and the endpoint to the port \
                               for HTTP, which is 4318 where that for gRPC is 4317";
                return Err(Wrong::new(&name, way_out));
            }
        }
    }
    Ok(Some(Settings {
        tls: from.tls()?,
        headers: from.headers()?,
        resource: from.resource(&mut ignored),
        timeout: from.duration(from.exporter("TIMEOUT"), TIMEOUT, &mut ignored),
        delay: from.duration(from.named("OTEL_BSP_SCHEDULE_DELAY"), DELAY, &mut ignored),
        endpoint,
        ignored,
    }))
}

/// Where variables are read from.
struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

/// A variable that is set: its name and its value.
type Named = (String, String);

impl Variables<'_> {
    fn named(&self, name: &str) -> Option<Named> {
        (self.get)(name).map(|value| (name.to_owned(), value))
    }

    /// The variable of traces, else the one of every signal.
    fn exporter(&self, name: &str) -> Option<Named> {
        self.named(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| self.named(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn endpoint(&self) -> Result<Option<Endpoint>, Wrong> {
        let (own, of_all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let parse =
            |(name, url): Named| Endpoint::of_server(url.trim()).map_err(|what| Wrong::new(&name, what));
        if let Some(named) = self.named(own) {
            return parse(named).map(Some);
        }
        let Some(named) = self.named(of_all) else { return Ok(None) };
        let mut endpoint = parse(named)?;
        let (path, query) = match endpoint.path_and_query.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (&*endpoint.path_and_query, String::new()),
        };
        endpoint.path_and_query = format!("{}/v1/traces{query}", path.trim_end_matches('/'));
        Ok(Some(endpoint))
    }

    fn tls(&self) -> Result<UpstreamTls, Wrong> {
        let file = |name| self.exporter(name).map(|(name, path)| (name, PathBuf::from(path)));
        let identity = match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
            (Some((_, certificate)), Some((_, key))) => Some((certificate, key)),
            (None, None) => None,
            (Some((name, _)), None) => return Err(Wrong::new(&name, "its CLIENT_KEY is not set")),
            (None, Some((name, _))) => return Err(Wrong::new(&name, "its CLIENT_CERTIFICATE is not set")),
        };
        Ok(UpstreamTls { ca: file("CERTIFICATE").map(|(_, path)| path), identity, server_name: None })
    }

    fn headers(&self) -> Result<HeaderMap, Wrong> {
        let mut headers = HeaderMap::new();
        let Some((variable, list)) = self.exporter("HEADERS") else { return Ok(headers) };
        for (at, (name, value)) in entries(&variable, &list)?.into_iter().enumerate() {
            let wrong = |what: &str| Wrong::new(&variable, format!("entry {}: {what}", at + 1));
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| wrong("what stands before its `=` is no name of a header"))?;
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| wrong("what stands behind its `=` can be no value of a header"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        // How the body is sent is not for a list of secrets to say.
        for ours in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(ours);
        }
        Ok(headers)
    }

    /// A list that is malformed is left out whole, as the specification has it.
    fn resource(&self, ignored: &mut Vec<Wrong>) -> Vec<(String, String)> {
        let list = self.named("OTEL_RESOURCE_ATTRIBUTES");
        let list = list.map_or(Ok(Vec::new()), |(variable, list)| entries(&variable, &list));
        let mut resource = list.unwrap_or_else(|wrong| {
            ignored.push(wrong);
            Vec::new()
        });
        let mut set = |name: &str, value: Option<String>, default: &str| {
            if let Some(value) = value {
                resource.retain(|(key, _)| key != name);
                resource.push((name.to_owned(), value));
            } else if !resource.iter().any(|(key, _)| key == name) {
                resource.push((name.to_owned(), default.to_owned()));
            }
        };
        set("service.name", (self.get)("OTEL_SERVICE_NAME"), "perennial");
        set("service.version", None, env!("CARGO_PKG_VERSION"));
        resource
    }

    /// A number of milliseconds.
    fn duration(&self, named: Option<Named>, default: Duration, ignored: &mut Vec<Wrong>) -> Duration {
        let Some((variable, text)) = named else { return default };
        match text.trim().parse() {
            Ok(millis) => Duration::from_millis(millis).clamp(SHORTEST, LONGEST),
            Err(_) => {
                ignored.push(Wrong::new(&variable, "expected a whole number of milliseconds"));
                default
            }
        }
    }
}

/// `name=value,name=value`, the values percent-encoded.
fn entries(variable: &str, list: &str) -> Result<Vec<(String, String)>, Wrong> {
    if list.len() > MAX_LIST {
        return Err(Wrong::new(variable, format!("it is longer than {MAX_LIST} bytes")));
    }
    let mut entries = Vec::new();
    for (at, entry) in list.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
        let wrong = |what: &str| Wrong::new(variable, format!("entry {}: {what}", at + 1));
        let (name, value) = entry.split_once('=').ok_or_else(|| wrong("expected NAME=VALUE"))?;
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| wrong("it is no UTF-8"))?;
        if name.trim().is_empty() {
            return Err(wrong("expected NAME=VALUE"));
        }
        entries.push((name.trim().to_owned(), value.into_owned()));
        if entries.len() > MAX_ENTRIES {
            return Err(Wrong::new(variable, format!("it has more than {MAX_ENTRIES} entries")));
        }
    }
    Ok(entries)
}
