//! Who is told of alerts: a pager, which is told by a webhook, and a channel of Slack. Both are one HTTP server here.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Longer than any alert takes, at the intervals that are checked in.
const PATIENCE: Duration = Duration::from_secs(150);

/// One message.
#[derive(Debug)]
pub(super) struct Told {
    /// Where it was posted.
    target: String,
    /// The key that it came with.
    pub(super) authorization: String,
    pub(super) body: Json,
}

/// Everything that was told so far.
pub(super) struct Pager {
    pub(super) port: u16,
    coming: UnboundedReceiver<Told>,
    pub(super) pages: Vec<Told>,
    pub(super) posts: Vec<Told>,
}

impl Pager {
    /// The paths by which the two are told.
    pub(super) const PAGES: &str = "/alerts";
    pub(super) const POSTS: &str = "/slack";

    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, coming) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(hear(socket, told.clone()));
            }
        });
        Self { port, coming, pages: Vec::new(), posts: Vec::new() }
    }

    /// Waits until somebody is woken with this alert in this status.
    pub(super) async fn is_told(&mut self, alert: &str, status: &str) -> Json {
        let hearing = async {
            loop {
                if let Some(told) = self.alerts(alert, status).next() {
                    return told.clone();
                }
                self.hear().await;
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("{alert} is never {status}"))
    }

    /// Waits until the channel is told something with these words in it.
    pub(super) async fn is_posted(&mut self, words: &str) {
        let hearing = async {
            while !self.posts.iter().any(|post| post.body.to_string().contains(words)) {
                self.hear().await;
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("{words}: never posted"));
    }

    /// What the pager was told of this alert in this status.
    pub(super) fn alerts(&self, alert: &str, status: &str) -> impl Iterator<Item = &Json> {
        let all = self.pages.iter().flat_map(|page| page.body["alerts"].as_array().unwrap());
        all.filter(move |one| one["labels"]["alertname"] == alert && one["status"] == status)
    }

    async fn hear(&mut self) {
        let told = self.coming.recv().await.unwrap();
        match &*told.target {
            Self::PAGES => self.pages.push(told),
            Self::POSTS => self.posts.push(told),
            other => panic!("nobody is there: {other}"),
        }
    }
}

/// The requests of one connection.
async fn hear(socket: TcpStream, told: UnboundedSender<Told>) {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut target, mut authorization, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("POST ") {
                target = rest.split(' ').next().unwrap().to_owned();
            } else if let Some((name, value)) = line.split_once(": ") {
                match &*name.to_ascii_lowercase() {
                    "authorization" => value.clone_into(&mut authorization),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
            } else {
                break;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        // The test may have ended.
        let _ = told.send(Told { target, authorization, body });
        if socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}
