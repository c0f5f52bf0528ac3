//! What is traced of sessions: the handshake, the refresh that it waited for, a swap, an outage.

use crate::{
    otlp::collector::{Collector, Span},
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        service::Service,
        ws::{CLOSE, bare, close},
    },
};

/// A sidecar whose clients each have a token, of a name in their query.
struct Stage {
    service: Service,
    tokens: Service,
    sidecar: Sidecar,
    collector: Collector,
}

impl Stage {
    async fn start() -> Self {
        let (service, tokens, collector) =
            (Service::start().await, Service::start().await, Collector::start().await);
        let configuration = format!(
            "[limits]\ndrain = \"200ms\"\n[[route]]\nname = \"gate\"\nupstream = \"ws://127.0.0.1:{}\"\n\
             dialect = \"handshake\"\nsession.keepalive = \"10m\"\n[route.handshake]\nquery = \"token\"\n\
             [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{}/token\"\nshare = \"client\"\n\
             identity = \"{{query.user}}\"\n",
            service.port, tokens.port
        );
        let endpoint = format!("http://127.0.0.1:{}", collector.port);
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "30")];
        let sidecar = Sidecar::launch(&configuration, &[], &variables).await;
        Self { service, tokens, sidecar, collector }
    }

    /// The token endpoint gives this one.
    async fn give(&self, token: &str) {
        let body = format!("{{\"token\":\"{token}\",\"expires_in\":3600}}");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
        self.tokens.asked().await.answer(format!("{head}: {}\r\n\r\n{body}", body.len())).await;
    }

    async fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        self.collector.span(what, is_it).await
    }

    /// The dial below that span that was answered so.
    async fn dial(&self, below: &Span, status: &str) -> Span {
        let is_it = |span: &Span| {
            span.is("dial") && span.is_below(below) && span.attribute("http.response.status_code") == status
        };
        let dial = self.span("a dial", is_it).await;
        assert_eq!((dial.0.kind, dial.attribute("server.address").as_str()), (3, "127.0.0.1"));
        assert_eq!(dial.attribute("server.port"), self.service.port.to_string());
        let (failed, error) = (status != "101", dial.attribute("error.type"));
        assert_eq!((dial.status(), &*error), if failed { (2, status) } else { (0, "") });
        dial
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_traced_from_its_handshake_to_its_last_outage() {
    let stage = Stage::start().await;
    let port = stage.sidecar.port;
    // The handshake waits for the token.
    let ((answer, client), (), mut old) =
        tokio::join!(ask(port, handshake("/?user=alice", "")), stage.give("can4ry-one"), async {
            let asked = stage.service.asked().await;
            assert!(asked.head.target().contains("token=can4ry-one"), "{:?}", asked.head);
            asked.accept("").await
        });
    assert_eq!(answer.status(), 101);
    let came = stage.span("the handshake", |span| span.is("handshake")).await;
    assert_eq!(
        (came.0.kind, came.get("route").as_str(), came.get("outcome").as_str()),
        (2, "gate", "accepted")
    );
    assert_eq!(came.attribute("http.response.status_code"), "101");
    assert_eq!((came.status(), came.attribute("error.type").as_str()), (0, ""));
    let refresh = stage.span("its refresh", |span| span.is("token refresh")).await;
    assert!(came.is_linked_to(&refresh), "{came:?}");
    stage.dial(&came, "101").await;

    // A new token is a new connection.
    stage.sidecar.refresh().await;
    stage.give("can4ry-two").await;
    let new = stage.service.asked().await.accept("").await;
    assert_eq!(old.message().await.opcode(), CLOSE);
    old.send(bare(CLOSE, &close(1000, ""))).await;
    let swap = stage.span("the swap", |span| span.is("swap")).await;
    assert_eq!((swap.get("outcome").as_str(), swap.get("generation").as_str()), ("ok", "2"));
    let second = |span: &Span| span.is("token refresh") && span.get("generation") == "2";
    assert!(swap.is_below(&stage.span("its refresh", second).await), "{swap:?}");
    stage.dial(&swap, "101").await;

    // Its service goes away, and is back at the second dial.
    drop((old, new));
    stage.service.asked().await.answer("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n").await;
    let last = stage.service.asked().await.accept("").await;
    let outage = stage.span("the outage", |span| span.is("outage")).await;
    assert_eq!((outage.get("outcome").as_str(), outage.status()), ("ok", 0));
    assert_eq!(outage.get("session"), swap.get("session"));
    let [failed, made] = [stage.dial(&outage, "503").await, stage.dial(&outage, "101").await];
    assert!(failed.0.start_time_unix_nano < made.0.start_time_unix_nano);

    // The next one lasts until the client leaves.
    drop(last);
    let unanswered = stage.service.asked().await;
    drop(client);
    let is_last = |span: &Span| span.is("outage") && span.attribute("error.type") == "client";
    assert_eq!(stage.span("the last outage", is_last).await.status(), 2);
    drop(unanswered);
    let log = stage.sidecar.stop().await;
    for (line, span) in [
        ("re-authenticated", &swap),
        ("upstream lost", &outage),
        ("upstream not reached", &outage),
        ("upstream resumed", &outage),
    ] {
        let trace = format!("\"trace_id\":\"{}\"", span.trace());
        assert!(
            log.lines().any(|said| said.contains(line) && said.contains(&trace)),
            "{line} {trace}: {log}"
        );
    }
    for taken in stage.collector.taken() {
        let body = String::from_utf8_lossy(&taken.body);
        assert!(!body.contains("can4ry") && !body.contains("alice"), "{body}");
    }
    assert!(!log.contains("can4ry"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_the_service_does_not_want_is_traced_too() {
    let stage = Stage::start().await;
    let ((answer, _client), (), _) =
        tokio::join!(ask(stage.sidecar.port, handshake("/?user=bob", "")), stage.give("can4ry-one"), async {
            stage.service.asked().await.answer("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n").await
        });
    assert_eq!(answer.status(), 404);
    let came = stage.span("the handshake", |span| span.is("handshake")).await;
    assert_eq!(came.get("outcome"), "upstream_rejected");
    assert_eq!(came.attribute("http.response.status_code"), "404");
    // It is the client's error, and the service's: not one of this server.
    assert_eq!((came.status(), came.attribute("error.type").as_str()), (0, "upstream_rejected"));
    stage.dial(&came, "404").await;
    let log = stage.sidecar.stop().await;
    let trace = format!("\"trace_id\":\"{}\"", came.trace());
    assert!(log.lines().any(|said| said.contains("upstream not reached") && said.contains(&trace)), "{log}");
}
