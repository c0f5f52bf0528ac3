//! A client's own token, exchanged for another at an authorization server, issuer's document first.

use tokio::io::AsyncReadExt;

use crate::{
    handshake::stage::{Stage, json},
    sidecar::Sidecar,
    support::{
        service::{Asked, Service},
        soon,
    },
};

/// `subject`: the token that is exchanged.
async fn stage(subject: &str) -> Stage {
    let (service, endpoint) = (Service::start().await, Service::start().await);
    let (at, issuer) = (service.port, endpoint.port);
    let configuration = format!(
        r#"
        [[route]]
        name = "jobs"
        upstream = "ws://127.0.0.1:{at}"
        dialect = "handshake"
        [route.token]
        source = "oauth2"
        issuer = "http://127.0.0.1:{issuer}"
        grant = "token_exchange"
        client_id = "sidecar"
        client_secret = "s:e"
        share = "client"
        subject_token = "{subject}"
        scope = "job:{{query.jobId}}"
        lifetime = "2s"
        refresh_before = "1500ms"
        [route.client]
        token = {{ query = "token", subprotocol = "auth." }}"#
    );
    let sidecar = Sidecar::start_with(&configuration, "info").await;
    Stage { service, endpoint, sidecar }
}

/// The body of a request, whole.
async fn body(asked: &mut Asked) -> String {
    let length: usize = asked.head.get("content-length").unwrap().parse().unwrap();
    soon("a body", async {
        while asked.wire.buffer.len() < length {
            asked.wire.io.read_buf(&mut asked.wire.buffer).await.unwrap();
        }
    })
    .await;
    String::from_utf8(asked.wire.buffer[..length].to_vec()).unwrap()
}

/// The issuer's document is asked for first.
async fn discovered(stage: &Stage) {
    let asked = stage.endpoint.asked().await;
    assert_eq!(asked.head.target(), "/.well-known/openid-configuration");
    let issuer = format!("http://127.0.0.1:{}", stage.endpoint.port);
    asked
        .answer(json(200, &format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/exchange"}}"#)))
        .await;
}

#[tokio::test]
async fn what_a_client_shows_is_exchanged_and_its_session_goes_on() {
    let stage = stage("{client.token}").await;
    let (_client, mut theirs) = stage.client("T0").await;
    discovered(&stage).await;
    let mut asked = stage.endpoint.asked().await;
    assert_eq!(asked.head.target(), "/exchange");
    // "sidecar:s%3Ae"
    assert_eq!(asked.head.get("authorization"), Some("Basic c2lkZWNhcjpzJTNBZQ=="));
    assert_eq!(
        body(&mut asked).await,
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=T0&\
         subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&scope=job%3A7"
    );
    asked.answer(json(200, r#"{"access_token":"T1","token_type":"Bearer","expires_in":3600}"#)).await;
    let _new = stage.replaced("T1").await;
    assert_eq!(theirs.message().await.opcode(), crate::support::ws::CLOSE);
}

/// With `{client.token}` each exchange has the first token, which ends; with `{token}` the one that was issued last.
#[tokio::test]
async fn the_token_that_an_exchange_gave_is_exchanged_next() {
    for (subject, second) in [("{client.token}", "T0"), ("{token}", "T1")] {
        let stage = stage(subject).await;
        let (_client, _theirs) = stage.client("T0").await;
        discovered(&stage).await;
        for token in ["T0", second] {
            let mut asked = stage.endpoint.asked().await;
            let body = body(&mut asked).await;
            assert!(body.contains(&format!("&subject_token={token}&")), "{subject}: {body}");
            asked.answer(json(200, r#"{"access_token":"T1","token_type":"Bearer","expires_in":2}"#)).await;
        }
    }
}
