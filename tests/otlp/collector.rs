//! A collector: it takes requests, and answers as the test wants. Spans are read with the types of OpenTelemetry's own.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span as Proto,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{beside, soon};

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) head: String,
    /// Not compressed any more.
    pub(crate) body: Vec<u8>,
}

impl Taken {
    pub(crate) fn request(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*self.body).unwrap()
    }

    /// Who sent it: an attribute of the resource.
    pub(crate) fn sender(&self, key: &str) -> String {
        text(&self.request().resource_spans[0].resource.as_ref().unwrap().attributes, key)
    }
}

/// A collector that listens.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) port: u16,
    /// What it answers, in turn; the last one for ever.
    answers: Arc<Mutex<VecDeque<String>>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    changed: watch::Sender<()>,
}

impl Collector {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(TAKEN).await
    }

    /// One that answers each request with these bytes; with none, it says nothing and keeps the connection.
    pub(crate) async fn answering(answer: &str) -> Self {
        Self::in_turn(&[answer]).await
    }

    /// One that is away first: it answers so, and then takes everything.
    pub(crate) async fn away(answers: &[&str]) -> Self {
        Self::in_turn(&[answers, &[TAKEN]].concat()).await
    }

    async fn in_turn(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(Mutex::new(answers.iter().map(|&answer| answer.to_owned()).collect()));
        let collector = Self { port, answers, taken: Arc::default(), changed: watch::Sender::default() };
        let own = collector.clone();
        beside(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let own = own.clone();
                beside(async move { own.serve(tcp).await });
            }
        });
        collector
    }

    async fn serve(&self, mut tcp: TcpStream) {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(tcp.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let length: usize = length.parse().unwrap();
        while bytes.len() < end + length {
            if !matches!(tcp.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        }
        let mut body = bytes[end..].to_vec();
        if head.contains("content-encoding: gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            body = plain;
        }
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        };
        self.taken.lock().unwrap().push(Taken { head, body });
        self.changed.send_replace(());
        if answer.is_empty() {
            // Until the other side has had enough.
            let _ = tcp.read(&mut [0]).await;
        }
        let _ = tcp.write_all(answer.as_bytes()).await;
    }

    /// What has come so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The spans that have come so far, in their order.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.taken().into_iter().flat_map(|taken| taken.request().resource_spans);
        resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans).map(Span).collect()
    }

    /// Waits for requests of which this is true.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        soon(what, async {
            while !is_so(self) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits for the first span of which this is true.
    pub(crate) async fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        self.until(what, |collector| collector.spans().iter().any(&is_it)).await;
        self.spans().into_iter().find(is_it).unwrap()
    }
}

/// A span, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Span(pub(crate) Proto);

impl Span {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.name == name
    }

    /// An attribute as text; empty if it has none.
    pub(crate) fn attribute(&self, key: &str) -> String {
        text(&self.0.attributes, key)
    }

    /// An attribute `perennial.…`.
    pub(crate) fn get(&self, name: &str) -> String {
        self.attribute(&format!("perennial.{name}"))
    }

    pub(crate) fn is_below(&self, parent: &Self) -> bool {
        self.0.trace_id == parent.0.trace_id && self.0.parent_span_id == parent.0.span_id
    }

    pub(crate) fn is_linked_to(&self, other: &Self) -> bool {
        self.0.links.iter().any(|link| link.span_id == other.0.span_id && link.trace_id == other.0.trace_id)
    }

    /// 0: not set, 1: well, 2: an error.
    pub(crate) fn status(&self) -> i32 {
        self.0.status.as_ref().map_or(0, |status| status.code)
    }

    /// Its trace, as the log names it.
    pub(crate) fn trace(&self) -> String {
        self.0.trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()) {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text.clone(),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        Some(other) => panic!("{key}: {other:?}"),
        None => String::new(),
    }
}
