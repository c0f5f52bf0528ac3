//! The stage: a sidecar between a service, a token endpoint and clients that are the test's own.
//!
//! ```text
//!   client ──► sidecar ──► service     /ws?jobId=7&token=T0, Sec-WebSocket-Protocol: auth.T0
//!                  └─────► endpoint    {"jobId":"7","oldToken":"T0"} ─► T1, T2, …
//! ```

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::{
    sidecar::Sidecar,
    support::{
        http::{Head, ask, handshake},
        service::{Asked, Service},
        soon,
        ws::{TEXT, Wire, bare, masked},
    },
};

/// A sidecar and what it talks to.
pub struct Stage {
    pub service: Service,
    pub endpoint: Service,
    pub sidecar: Sidecar,
}

/// What a stage is made with, beside what all have in common.
pub struct Plan {
    /// `[route.token]`: when the client's first token is refreshed.
    pub token: &'static str,
    /// `[route.client]`.
    pub client: &'static str,
    /// Tables that follow.
    pub more: &'static str,
}

/// The client's first token is refreshed half a second after it was first seen.
pub const SOON: &str = "lifetime = \"2s\"\nrefresh_before = \"1500ms\"\n";
/// Only where somebody asks for it.
pub const LATER: &str = "lifetime = \"1h\"\n";

impl Default for Plan {
    fn default() -> Self {
        Self { token: SOON, client: "", more: "" }
    }
}

impl Stage {
    pub async fn set(plan: Plan) -> Self {
        Self::set_in("", plan).await
    }

    /// With tables that stand before the route.
    pub async fn set_in(before: &str, plan: Plan) -> Self {
        Self::set_in_at("info", before, plan).await
    }

    /// And with a log at this level.
    pub async fn set_in_at(level: &str, before: &str, plan: Plan) -> Self {
        let (service, endpoint) = (Service::start().await, Service::start().await);
        let Plan { token, client, more } = plan;
        let (at, tokens) = (service.port, endpoint.port);
        let configuration = format!(
            r#"{before}
            [[route]]
            name = "jobs"
            upstream = "ws://127.0.0.1:{at}"
            dialect = "handshake"
            [route.token]
            source = "http"
            url = "http://127.0.0.1:{tokens}/token/refresh"
            json = {{ jobId = "{{query.jobId}}", oldToken = "{{token}}" }}
            share = "client"
            {token}
            [route.client]
            {client}
            token = {{ query = "token", subprotocol = "auth." }}
            {more}"#
        );
        let sidecar = Sidecar::start_with(&configuration, level).await;
        Self { service, endpoint, sidecar }
    }

    /// A client of job 7 that shows this token, and its connection at the service.
    pub async fn client(&self, token: &str) -> (Wire, Wire) {
        let (_, client, theirs) = self.comes(token).await;
        (client, theirs)
    }

    /// The same, with what it was answered.
    pub async fn comes(&self, token: &str) -> (Head, Wire, Wire) {
        self.is_served(token, token).await
    }

    /// A client that shows one token, and is served with another.
    pub async fn is_served(&self, shown: &str, with: &str) -> (Head, Wire, Wire) {
        let ((answer, client), theirs) = tokio::join!(self.asks(shown), self.replaced(with));
        assert_eq!(answer.status(), 101, "{answer:?}");
        // Whatever the service was offered, the client is answered with what it offered itself.
        assert_eq!(answer.get("sec-websocket-protocol"), Some(&*format!("auth.{shown}")));
        (answer, client, theirs)
    }

    /// A client's handshake, by itself.
    pub async fn asks(&self, token: &str) -> (Head, Wire) {
        let more = format!("Sec-WebSocket-Protocol: auth.{token}\r\n");
        ask(self.sidecar.port, handshake(&format!("/ws?jobId=7&token={token}"), &more)).await
    }

    /// A connection that is made with this token, let in.
    pub async fn replaced(&self, token: &str) -> Wire {
        let asked = self.service.asked().await;
        assert_shows(&asked.head, token);
        choose(asked, token).await
    }

    /// A refresh of `old`, answered with `new`, which lives for an hour.
    pub async fn refresh(&self, old: &str, new: &str) {
        self.refreshes(old)
            .await
            .answer(json(200, &format!(r#"{{"token":"{new}","expiresIn":3600}}"#)))
            .await;
    }

    /// A refresh of `old`, to be answered.
    pub async fn refreshes(&self, old: &str) -> Asked {
        let mut asked = self.endpoint.asked().await;
        assert_eq!(body(&mut asked).await, serde_json::json!({ "jobId": "7", "oldToken": old }));
        asked
    }

    /// One series of the sidecar's metrics.
    pub async fn metric(&self, series: &str) -> f64 {
        self.sidecar.metric(series).await
    }
}

/// The JSON that a request brings.
pub async fn body(asked: &mut Asked) -> Value {
    let length: usize = asked.head.get("content-length").unwrap().parse().unwrap();
    soon("a body", async {
        while asked.wire.buffer.len() < length {
            asked.wire.io.read_buf(&mut asked.wire.buffer).await.unwrap();
        }
        serde_json::from_slice(&asked.wire.buffer[..length]).unwrap()
    })
    .await
}

/// Lets a connection in with the subprotocol that it offers.
pub async fn choose(asked: Asked, token: &str) -> Wire {
    asked.accept(&format!("Sec-WebSocket-Protocol: auth.{token}\r\n")).await
}

/// The token stands where the client's stood, and nowhere else does another.
pub fn assert_shows(head: &Head, token: &str) {
    assert_eq!(head.target(), format!("/ws?jobId=7&token={token}"));
    assert_eq!(head.get("sec-websocket-protocol"), Some(&*format!("auth.{token}")));
}

/// An answer of the token endpoint.
pub fn json(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// What one end says, the other hears.
pub async fn up(client: &mut Wire, service: &mut Wire, text: &str) {
    client.send(masked(TEXT, text.as_bytes())).await;
    assert_eq!(service.message().await.text(), text);
}

/// And the other way.
pub async fn down(service: &mut Wire, client: &mut Wire, text: &str) {
    service.send(bare(TEXT, text.as_bytes())).await;
    assert_eq!(client.message().await.text(), text);
}
