//! Plain HTTP through a route, over real sockets: every byte of both peers is the test's own.
//!
//! Broken on purpose, and caught: see the list at each file's head.

mod bodies;
mod failing;
mod framing;
mod heads;
mod staying;

use crate::sidecar::Sidecar;
use crate::support::{
    beside,
    http::{Head, ask},
    service::{Asked, Service},
    soon,
    ws::Wire,
};
use tokio::io::AsyncReadExt;

/// What a client shows that knows nothing of Perennial.
const OWN: &str = "Basic the-clients-own";

/// A service, and the sidecar before it, whose tokens are `token-1`, `token-2` and so on.
struct Stage {
    service: Service,
    sidecar: Sidecar,
}

impl Stage {
    /// `limits`: lines of `[limits]`; `http`: more lines of `[route.http]`.
    async fn start(limits: &str, http: &str) -> Self {
        let service = Service::start().await;
        let text = format!("[limits]\n{limits}\n{}{http}\n", route(service.port, tokens().await));
        Self { sidecar: Sidecar::start_with(&text, "debug").await, service }
    }

    /// One request and the service's view of it; the service's connection is for the test to answer on.
    async fn ask(&self, request: impl AsRef<[u8]>) -> (Wire, Asked) {
        let mut client = Wire::dial(self.sidecar.port).await;
        client.send(request).await;
        (client, self.service.asked().await)
    }

    /// The same, answered with these bytes.
    async fn play(&self, request: impl AsRef<[u8]>, answer: &str) -> (Head, Wire, Asked) {
        let (mut client, mut asked) = self.ask(request).await;
        asked.wire.send(answer).await;
        (client.head().await, client, asked)
    }

    /// A request that the service never sees.
    async fn refused(&self, request: impl AsRef<[u8]>) -> (u16, String) {
        let (head, mut wire) = ask(self.sidecar.port, request).await;
        assert!(self.service.is_alone().await, "the service was asked");
        (head.status(), String::from_utf8(wire.rest().await).unwrap())
    }

    /// The log, which has neither the client's credential nor a token in it.
    async fn end(self) -> String {
        let log = self.sidecar.stop().await;
        assert!(!log.contains("panicked"), "{log}");
        assert!(log.contains("\"DEBUG\"") && !log.contains("the-clients-own"), "{log}");
        assert!(!log.contains("token-1") && !log.contains("token-2"), "{log}");
        log
    }
}

/// A route with `[route.http]` as its last table.
fn route(port: u16, tokens: u16) -> String {
    format!(
        "[[route]]\nname = \"rest\"\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"none\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{tokens}/token\"\n\
         [route.handshake]\nquery = \"token\"\n\
         [route.http]\nupstream = \"http://127.0.0.1:{port}/base\"\n"
    )
}

/// A token endpoint that has another token for everybody who asks.
async fn tokens() -> u16 {
    let endpoint = Service::start().await;
    let port = endpoint.port;
    beside(async move {
        for nth in 1.. {
            let token = format!("{{\"token\":\"token-{nth}\",\"expires_in\":3600}}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{token}", token.len());
            // Anyone who reads the answer may take its time: the next one must not wait for it.
            let (tcp, _) = endpoint.listener.accept().await.unwrap();
            let mut wire = Wire::new(tcp);
            wire.head().await;
            wire.send(answer).await;
        }
    });
    port
}

/// A GET with more header lines (each with its line break).
fn get(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The same, and the service's connection is not used again.
const LAST: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

/// So many bytes, no matter how they come.
async fn take(wire: &mut Wire, count: usize) -> Vec<u8> {
    soon("bytes", async {
        while wire.buffer.len() < count {
            assert_ne!(wire.io.read_buf(&mut wire.buffer).await.unwrap(), 0, "it ended: {:?}", wire.buffer);
        }
    })
    .await;
    wire.buffer.drain(..count).collect()
}

/// The next chunk of a chunked body; empty at its end.
async fn chunk(wire: &mut Wire) -> Vec<u8> {
    let mut size = Vec::new();
    while !size.ends_with(b"\r\n") {
        size.extend(take(wire, 1).await);
    }
    let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
    let mut piece = take(wire, size + 2).await;
    piece.truncate(size);
    piece
}
