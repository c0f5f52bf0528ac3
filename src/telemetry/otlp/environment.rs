//! The variables that the OpenTelemetry specification names ("OpenTelemetry Protocol Exporter", "Environment Variable
//! Specification"), as far as they are understood here.
//!
//! | variable | |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `/v1/traces` is appended; nothing is exported without it or the next |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | taken as it is |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | `name=value,…`: a secret, never shown; the exporter reads it, and it is only checked here |
//! | `OTEL_EXPORTER_OTLP_COMPRESSION` | `gzip` or `none`; the same |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` | milliseconds for one try, 10000 |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE`, `_CLIENT_KEY` | files, as in `[route.tls]` |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf` is what is spoken |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who it is that traces |
//! | `OTEL_BSP_SCHEDULE_DELAY` | milliseconds that a batch gathers, 5000 |
//! | `OTEL_TRACES_SAMPLER`, `_ARG` | which traces are kept; the SDK reads them |
//! | `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` | `true` and `none`: nothing is exported |
//!
//! Each `OTEL_EXPORTER_OTLP_…` has a sister `OTEL_EXPORTER_OTLP_TRACES_…` that goes before it. An empty variable counts as not
//! set. An error names the variable and quotes nothing of it.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
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
    /// `service.name` among them.
    pub(super) resource: Vec<(String, String)>,
    /// For one try.
    pub(super) timeout: Duration,
    /// How long a batch gathers.
    pub(super) delay: Duration,
    /// What could not be used and does no harm.
    pub(super) ignored: Vec<Wrong>,
}

impl Settings {
    /// The endpoint, as a URL.
    pub(super) fn url(&self) -> String {
        let Endpoint { tls, path_and_query, .. } = &self.endpoint;
        let scheme = if *tls { "https" } else { "http" };
        format!("{scheme}://{}{path_and_query}", self.endpoint.authority())
    }
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

/// The samplers that the SDK has.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Reads the variables; `None` if nothing is to be exported.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, Wrong> {
    let from = Variables { get: &|name| variable(name).filter(|value| !value.trim().is_empty()) };
    let is = |name: &str, value: &str| (from.get)(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    let Some(endpoint) = from.endpoint()? else { return Ok(None) };
    let mut ignored = Vec::new();
    from.protocol(&mut ignored)?;
    from.compression()?;
    from.check_headers()?;
    from.unknown("OTEL_TRACES_EXPORTER", &["otlp"], &mut ignored);
    from.unknown("OTEL_TRACES_SAMPLER", &SAMPLERS, &mut ignored);
    Ok(Some(Settings {
        tls: from.tls()?,
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

    fn protocol(&self, ignored: &mut Vec<Wrong>) -> Result<(), Wrong> {
        let Some((name, protocol)) = self.exporter("PROTOCOL") else { return Ok(()) };
        match protocol.as_str() {
            "http/protobuf" => Ok(()),
            // A collector takes both, at the same address.
            "http/json" => {
                ignored.push(Wrong::new(&name, "http/protobuf is spoken here"));
                Ok(())
            }
            _ => {
                let way_out = "http/protobuf is spoken here; set it to that, and the endpoint to the port for HTTP \
                               (4318 if the port for gRPC is 4317)";
                Err(Wrong::new(&name, way_out))
            }
        }
    }

    fn compression(&self) -> Result<(), Wrong> {
        match self.exporter("COMPRESSION") {
            Some((name, value)) if !matches!(value.as_str(), "gzip" | "none") => {
                Err(Wrong::new(&name, "expected gzip or none"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The exporter leaves out what it cannot read, and says nothing.
    fn check_headers(&self) -> Result<(), Wrong> {
        let Some((variable, list)) = self.exporter("HEADERS") else { return Ok(()) };
        for (at, (name, value)) in entries(&variable, &list)?.into_iter().enumerate() {
            let wrong = |what: &str| Wrong::new(&variable, format!("entry {}: {what}", at + 1));
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| wrong("this cannot be the name of a header"))?;
            HeaderValue::from_str(&value).map_err(|_| wrong("this cannot be the value of a header"))?;
        }
        Ok(())
    }

    /// A variable with a value that is not one of these is ignored.
    fn unknown(&self, name: &str, known: &[&str], ignored: &mut Vec<Wrong>) {
        if (self.get)(name).is_some_and(|value| !known.contains(&value.trim())) {
            ignored.push(Wrong::new(name, format!("expected {}", known.join(", "))));
        }
    }

    /// A malformed list is left out as a whole, as the specification says.
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
        set("service.instance.id", None, &instance());
        set("telemetry.sdk.name", None, "opentelemetry");
        set("telemetry.sdk.language", None, "rust");
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

/// A name that no other process has: a random UUID (RFC 9562).
fn instance() -> String {
    let id = format!("{:032x}", fastrand::u128(..) & !(0xf000_c000 << 48) | (0x4000_8000 << 48));
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
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
