//! What a refused handshake means, and whom it concerns.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    handshake::stage::json,
    sidecar::Sidecar,
    support::{
        beside,
        http::{Head, ask, handshake},
        service::Service,
        ws::{TEXT, Wire, bare, masked},
    },
};

/// A service that lets everybody in, but for two paths: what it lets in hears itself; and a token endpoint. Both count.
struct World {
    sidecar: Sidecar,
    /// Connections that the service let in, and tokens that were fetched.
    let_in: Arc<AtomicUsize>,
    fetched: Arc<AtomicUsize>,
}

impl World {
    async fn new() -> Self {
        let (service, tokens) = (Service::start().await, Service::start().await);
        let (at, endpoint) = (service.port, tokens.port);
        let (let_in, fetched) = (Arc::default(), Arc::default());
        beside(serve(service, Arc::clone(&let_in)));
        beside(give_tokens(tokens, Arc::clone(&fetched)));
        let sidecar = Sidecar::start(&format!(
            "[[route]]\nname = \"rooms\"\nupstream = \"ws://127.0.0.1:{at}\"\ndialect = \"handshake\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{endpoint}/token\"\n\
             [route.handshake]\nheader = \"Authorization: Bearer {{token}}\"\n\
             [route.session]\nkeepalive = \"10m\"\n\
             [route.http]\nupstream = \"http://127.0.0.1:{at}\"\n"
        ))
        .await;
        Self { sidecar, let_in, fetched }
    }

    async fn asks(&self, target: &str) -> (Head, Wire) {
        ask(self.sidecar.port, handshake(target, "")).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.let_in.load(Ordering::SeqCst), self.fetched.load(Ordering::SeqCst))
    }
}

async fn serve(service: Service, let_in: Arc<AtomicUsize>) {
    loop {
        let asked = service.asked().await;
        let refusal = match asked.head.target() {
            "/forbidden" => Some("403 Forbidden"),
            "/unauthorized" => Some("401 Unauthorized"),
            "/gone" => Some("410 Gone"),
            _ => None,
        };
        if let Some(status) = refusal {
            asked.answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nX-Why: this room\r\n\r\n")).await;
            continue;
        }
        let_in.fetch_add(1, Ordering::SeqCst);
        beside(async move {
            let mut wire = asked.accept("").await;
            while let Some(frame) = wire.frame().await {
                let _ = wire.try_send(&bare(frame.opcode(), &frame.payload)).await;
            }
        });
    }
}

async fn give_tokens(endpoint: Service, fetched: Arc<AtomicUsize>) {
    loop {
        let asked = endpoint.asked().await;
        let nth = fetched.fetch_add(1, Ordering::SeqCst) + 1;
        asked.answer(json(200, &format!(r#"{{"token":"T{nth}","expires_in":3600}}"#))).await;
    }
}

async fn hears_itself(client: &mut Wire) {
    client.send(masked(TEXT, b"here")).await;
    assert_eq!(client.message().await.text(), "here");
}

#[tokio::test]
async fn a_client_that_asks_for_a_forbidden_room_costs_the_others_nothing() {
    let world = World::new().await;
    let mut neighbours = Vec::new();
    for _ in 0..5 {
        let (answer, client) = world.asks("/room").await;
        assert_eq!(answer.status(), 101);
        neighbours.push(client);
    }
    for (target, status) in [("/forbidden", 403), ("/unauthorized", 401), ("/gone", 410)] {
        for _ in 0..10 {
            let (answer, _) = world.asks(target).await;
            assert_eq!((answer.status(), answer.get("x-why")), (status, Some("this room")));
        }
    }
    // A plain request that is refused does not cost them their token either.
    let plain = "GET /unauthorized HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(world.sidecar.port, plain).await.0.status(), 401);
    for client in &mut neighbours {
        hears_itself(client).await;
    }
    assert_eq!(world.counts(), (5, 1), "each has its first connection, on the first token");
}

#[tokio::test]
async fn a_refusal_that_a_fresh_token_gets_too_is_passed_on() {
    let world = World::new().await;
    let (answer, _) = world.asks("/forbidden").await;
    assert_eq!((answer.status(), answer.get("x-why")), (403, Some("this room")));
    // Nobody was let in with the first token: it could be to blame, once.
    assert_eq!(world.counts(), (0, 2));
}
