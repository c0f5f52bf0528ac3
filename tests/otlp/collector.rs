//! A collector: it takes requests, and answers as the test wants.

use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{beside, soon};

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A collector that listens.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    changed: watch::Sender<()>,
}

impl Collector {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            .await
    }

    /// One that answers each request with these bytes; with none, it says nothing and keeps the connection.
    pub(crate) async fn answering(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self { port, taken: Arc::default(), changed: watch::Sender::default() };
        let (own, answer) = (collector.clone(), answer.to_owned());
        beside(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (own, answer) = (own.clone(), answer.clone());
                beside(async move { own.serve(tcp, &answer).await });
            }
        });
        collector
    }

    async fn serve(&self, mut tcp: TcpStream, answer: &str) {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(tcp.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let length: usize = length.parse().unwrap();
        while bytes.len() < end + length {
            if !matches!(tcp.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        }
        let body = String::from_utf8(bytes[end..].to_vec()).unwrap();
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
        let bodies = self.taken().into_iter().map(|taken| serde_json::from_str::<Json>(&taken.body).unwrap());
        bodies
            .flat_map(|body| {
                let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
                spans.as_array().unwrap().iter().cloned().map(Span).collect::<Vec<_>>()
            })
            .collect()
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
pub(crate) struct Span(pub(crate) Json);

impl Span {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0["name"] == name
    }

    /// An attribute `perennial.…`; empty where it has none.
    pub(crate) fn get(&self, name: &str) -> String {
        let key = format!("perennial.{name}");
        let all = self.0["attributes"].as_array().unwrap();
        let value = all.iter().find(|attribute| attribute["key"] == key.as_str());
        let value = value.map(|attribute| &attribute["value"]);
        let text =
            value.and_then(|value| value["stringValue"].as_str().or_else(|| value["intValue"].as_str()));
        text.unwrap_or_default().to_owned()
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn time(&self, name: &str) -> u128 {
        self.0[name].as_str().unwrap().parse().unwrap()
    }
}
