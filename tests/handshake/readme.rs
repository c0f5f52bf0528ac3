//! The configurations that the README and docs/services.md show for this kind of service, run as they are there. Only
//! the addresses of the services are replaced.

use crate::{
    handshake::stage::json,
    sidecar::{Sidecar, ask},
    support::{
        http,
        service::Service,
        soon,
        ws::{TEXT, masked},
    },
};

const README: &str = include_str!("../../README.md");
const SERVICES: &str = include_str!("../../docs/services.md");

/// The block of TOML of a page that begins with this line.
fn block(page: &'static str, first: &str) -> &'static str {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.starts_with(first)).expect("the page has it")
}

#[tokio::test]
async fn the_job_service_of_the_readme_is_served() {
    let (service, requests) = (Service::start().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    let configuration = block(README, "[state]")
        .replace("/var/lib/perennial", directory.path().to_str().unwrap())
        .replace("wss://jobs.example.com", &format!("ws://127.0.0.1:{}", service.port))
        .replace("https://jobs.example.com", &format!("http://127.0.0.1:{}", requests.port));
    assert!(!configuration.contains("example.com"));
    let sidecar = Sidecar::start(&configuration).await;
    let protocol = "Sec-WebSocket-Protocol: bookstrack-auth.T0\r\n";
    let asking = http::ask(sidecar.port, http::handshake("/ws?jobId=7&token=T0", protocol));
    let ((answer, mut client), mut theirs) = tokio::join!(asking, async {
        service.asked().await.accept("Sec-WebSocket-Protocol: bookstrack-auth.T0\r\n").await
    });
    assert_eq!(answer.status(), 101, "{answer:?}");
    client.send(masked(TEXT, b"work")).await;
    assert_eq!(theirs.message().await.text(), "work");
    let plain = async { requests.asked().await.answer(json(200, "{}")).await };
    let ((status, _), _) =
        soon("a plain request", async { tokio::join!(ask(sidecar.port, "/jobs/7"), plain) }).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_route_with_one_token_for_all_clients_is_served() {
    let (service, tokens) = (Service::start().await, Service::start().await);
    let configuration = block(SERVICES, "[[route]]\nupstream = \"wss://feed.example.com\"")
        .replace("wss://feed.example.com", &format!("ws://127.0.0.1:{}", service.port))
        .replace("https://auth.example.com", &format!("http://127.0.0.1:{}", tokens.port));
    let sidecar = Sidecar::start(&configuration).await;
    tokens.asked().await.answer(json(200, r#"{"access_token":"T1","expires_in":3600}"#)).await;
    let asking = http::ask(sidecar.port, http::handshake("/feed", "Authorization: Bearer of-the-client\r\n"));
    let ((answer, _client), head) = tokio::join!(asking, async {
        let asked = service.asked().await;
        let head = asked.head.clone();
        asked.accept("").await;
        head
    });
    assert_eq!((answer.status(), head.get("authorization")), (101, Some("Bearer T1")));
}
