//! What the service is told of the client: by its handshake, and by plain requests.
//!
//! Broken on purpose, and caught: what a client forged goes on · a trusted proxy's word does not · the origin stays the
//! client's · the route's headers do not reach plain requests.

use crate::{
    sidecar::Sidecar,
    support::{
        http::{Head, ask, handshake},
        plain,
        service::Service,
        ws::session_at,
    },
};

async fn start(listen: &str, route: &str) -> (Service, Sidecar) {
    let service = Service::start().await;
    let http = format!("http.upstream = \"http://127.0.0.1:{}\"\n", service.port);
    let text = format!("[listen]\n{listen}{}{http}{route}", plain(service.port));
    (service, Sidecar::start(&text).await)
}

/// What the service gets of a handshake, and of a plain request with the same headers.
async fn both(service: &Service, sidecar: &Sidecar, more: &str) -> [Head; 2] {
    let (upgrade, ..) = session_at(sidecar.port, service, "/?room=a", more).await;
    let get = format!("GET /?room=a HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let asked = async {
        let asked = service.asked().await;
        let head = asked.head.clone();
        asked.answer(answer).await;
        head
    };
    let ((answered, _), plain) = tokio::join!(ask(sidecar.port, get), asked);
    assert_eq!(answered.status(), 200);
    [upgrade, plain]
}

const FORGED: &str = "X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.9.9.9\r\n\
                      X_Forwarded_For: 10.9.9.9\r\nX-Real-IP: 10.9.9.9\r\n";

#[tokio::test]
async fn who_is_nobodys_proxy_is_the_client() {
    let (service, sidecar) = start("", "").await;
    for head in both(&service, &sidecar, FORGED).await {
        assert!(!format!("{head:?}").contains("10.9.9.9"), "{head:?}");
    }
    let told = "forwarded = \"x-forwarded\"\nheaders = { X-Client = \"{client.scheme} {client.address} {query.room}\" }\n";
    let (service, sidecar) = start("", told).await;
    for head in both(&service, &sidecar, FORGED).await {
        assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(head.get("x-forwarded-proto"), Some("http"));
        assert!(head.get("x-forwarded-host").is_some_and(|host| host.starts_with("127.0.0.1")));
        assert_eq!(head.get("x-client"), Some("http 127.0.0.1 a"));
    }
}

#[tokio::test]
async fn the_client_of_a_trusted_proxy_is_named() {
    let listen = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let (service, sidecar) = start(listen, "forwarded = \"forwarded\"\n").await;
    let more = "Forwarded: for=198.51.100.1;proto=https;host=app.example\r\n";
    for head in both(&service, &sidecar, more).await {
        let told = head.get("forwarded").unwrap();
        assert!(
            told.starts_with("for=198.51.100.1;proto=https;host=app.example, for=127.0.0.1;host="),
            "{told}"
        );
    }
    let log = sidecar.stop().await;
    assert!(log.contains("\"client\":\"198.51.100.1\""), "{log}");
}

/// tornado, gorilla and Rails compare the two.
#[tokio::test]
async fn host_and_origin_agree() {
    let origins = "client.origins = [\"https://app.example\", \"https://other.example\"]\n";
    let from = |host: &str, origin: &str| {
        handshake("/", &format!("Origin: https://{origin}\r\n")).replacen("127.0.0.1", host, 1)
    };
    for (route, origin, host, expected) in [
        ("", "app.example", None, None),
        ("", "other.example", None, Some("https://other.example")),
        ("host = \"client\"\n", "app.example", Some("app.example"), Some("https://app.example")),
    ] {
        let (service, sidecar) = start("", &format!("{origins}{route}")).await;
        let ((answer, _client), asked) =
            tokio::join!(ask(sidecar.port, from("app.example", origin)), async {
                let asked = service.asked().await;
                let head = asked.head.clone();
                (head, asked.accept("").await)
            });
        assert_eq!(answer.status(), 101);
        let own = format!("127.0.0.1:{}", service.port);
        assert_eq!(asked.0.get("host"), Some(host.unwrap_or(&own)), "{route}");
        let own = format!("http://{own}");
        assert_eq!(asked.0.get("origin"), Some(expected.unwrap_or(&own)), "{route} {origin}");
    }
}
