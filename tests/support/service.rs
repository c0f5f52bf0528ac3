//! A service without a mind of its own: it accepts, and the test says what it answers.

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    beside,
    http::Head,
    soon,
    ws::{CLOSE, Wire, bare},
};

/// A listening service.
pub struct Service {
    pub listener: TcpListener,
    tls: Option<TlsAcceptor>,
    pub port: u16,
}

/// A request that has come, and waits for its answer.
pub struct Asked {
    pub head: Head,
    pub wire: Wire,
}

impl Service {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, tls: None, port }
    }

    pub async fn start_tls(tls: TlsAcceptor) -> Self {
        Self { tls: Some(tls), ..Self::start().await }
    }

    /// The same on a listener that is there.
    pub fn on(listener: TcpListener, tls: impl Into<Option<TlsAcceptor>>) -> Self {
        let port = listener.local_addr().unwrap().port();
        Self { listener, tls: tls.into(), port }
    }

    /// The next connection, before anything was read from it. `None`: its TLS handshake failed.
    pub async fn connection(&self) -> Option<Wire> {
        let (tcp, _) = soon("a connection", self.listener.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        match &self.tls {
            None => Some(Wire::new(tcp)),
            Some(tls) => tls.accept(tcp).await.ok().map(Wire::new),
        }
    }

    /// The next request.
    pub async fn asked(&self) -> Asked {
        let mut wire = self.connection().await.unwrap();
        Asked { head: wire.head().await, wire }
    }

    /// From now on, everybody is let in and told what they said.
    pub fn echo(self) -> u16 {
        let port = self.port;
        beside(async move {
            while let Ok((tcp, _)) = self.listener.accept().await {
                beside(async move {
                    let mut wire = Wire::new(tcp);
                    let head = wire.head().await;
                    if head.first.is_empty() {
                        // The one who dialled has changed its mind.
                        return;
                    }
                    let mut wire = Asked { head, wire }.accept("").await;
                    while let Some(frame) = wire.frame().await {
                        let _ = wire.try_send(&bare(frame.opcode(), &frame.payload)).await;
                        if frame.opcode() == CLOSE {
                            break;
                        }
                    }
                });
            }
        });
        port
    }

    /// Has nobody come?
    pub async fn is_alone(&self) -> bool {
        let now = std::future::ready(());
        tokio::select! {
            biased;
            _ = self.listener.accept() => false,
            () = now => true,
        }
    }
}

impl Asked {
    /// What has to stand in `Sec-WebSocket-Accept`.
    pub fn accept_key(&self) -> String {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let key = self.head.get("sec-websocket-key").unwrap();
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        BASE64_STANDARD
            .encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    }

    /// The 101, with more header lines (each with its line break), and its first bytes behind it.
    pub fn switching(&self, more: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n{more}\r\n",
            self.accept_key()
        )
    }

    /// Lets the client in.
    pub async fn accept(mut self, more: &str) -> Wire {
        let answer = self.switching(more);
        let _ = self.wire.try_send(answer.as_bytes()).await;
        self.wire
    }

    /// Answers with these bytes.
    pub async fn answer(mut self, bytes: impl AsRef<[u8]>) -> Wire {
        let _ = self.wire.try_send(bytes.as_ref()).await;
        self.wire
    }
}
