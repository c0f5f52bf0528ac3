//! Re-authentication, hints and expiries.

use super::*;
use crate::demo::service::Refusal;

async fn tokened(service: &ServiceHandle, lifetime: Duration, format: Format) -> (Client, Json) {
    let token = service.issue_token(lifetime, Some("bob")).token;
    Client::connect_with(service, format, &format!("accessToken={token}")).await
}

fn auth(token: &str) -> Json {
    json!({"action": action::AUTH, "auth": {"accessToken": token}})
}

#[tokio::test]
async fn a_token_is_asked_for_and_then_ends() {
    let service = serve(Options { hint_before: Duration::from_millis(100), ..Options::default() }).await;
    for format in BOTH {
        let (mut client, _) = tokened(&service, Duration::from_millis(700), format).await;
        let hint = client.expect(action::AUTH).await;
        assert_eq!(hint.get("auth"), None);
        assert_eq!(client.expect(action::DISCONNECTED).await["error"]["code"], 40142);
        client.expect_end().await;
    }
    assert_eq!(service.ledger().counts().expiry_disconnects, 2);
    clean(&service);
}

#[tokio::test]
async fn a_connection_outlives_its_token_when_it_is_given_another() {
    let service = serve(Options { hint_before: Duration::from_millis(600), ..Options::default() }).await;
    let (mut client, first) = tokened(&service, Duration::from_secs(1), Format::Msgpack).await;
    let mut keys = vec![first["connectionDetails"]["connectionKey"].clone()];
    for _ in 0..3 {
        client.expect(action::AUTH).await;
        client.send(auth(&service.mint_jwt(Duration::from_millis(1001), Some("bob")).token)).await;
        let again = client.expect(action::CONNECTED).await;
        assert_eq!(again["connectionId"], first["connectionId"]);
        keys.push(again["connectionDetails"]["connectionKey"].clone());
    }
    keys.dedup();
    assert_eq!(keys.len(), 4, "each CONNECTED has a key of its own");
    let record = service.ledger().read(Clone::clone);
    assert_eq!((record.counts.auths_accepted, record.counts.expiry_disconnects), (3, 0));
    assert_eq!(record.margins.len(), 3);
    assert!(record.smallest_margin().unwrap() <= Duration::from_millis(600));
    clean(&service);
}

#[tokio::test]
async fn a_bad_token_ends_the_transport_and_the_connection_can_be_continued() {
    let service = serve(Options::default()).await;
    let dead = service.issue_token(Duration::ZERO, Some("bob")).token;
    let others = service.issue_token(PATIENCE, Some("alice")).token;
    for (token, code) in [(dead.as_str(), 40142), (others.as_str(), 40102), ("garbage", 40101)] {
        let (mut client, first) = tokened(&service, PATIENCE, Format::Json).await;
        client.send(auth(token)).await;
        let error = client.expect(action::ERROR).await;
        assert_eq!(error["error"]["code"], code);
        assert_eq!(error.get("channel"), None);
        client.expect_end().await;
        let token = service.issue_token(PATIENCE, Some("bob")).token;
        let query = format!("accessToken={token}&{}", resuming(&first));
        let (_, second) = Client::connect_with(&service, Format::Json, &query).await;
        assert_eq!(second["connectionId"], first["connectionId"]);
    }
    assert_eq!(service.ledger().counts().dead_tokens, 1);
}

#[tokio::test]
async fn overlapping_auths_are_answered_in_order_and_counted() {
    let service = serve(Options::default()).await;
    let (mut client, _) = tokened(&service, PATIENCE, Format::Json).await;
    service.faults().delay_auths(1, Duration::from_millis(50));
    client.send(auth(&service.issue_token(PATIENCE, Some("bob")).token)).await;
    client.send(auth(&service.issue_token(PATIENCE, Some("*")).token)).await;
    client.expect(action::CONNECTED).await;
    client.expect(action::CONNECTED).await;
    assert_eq!(service.ledger().counts().overlapping_auths, 1);
}

#[tokio::test]
async fn an_auth_is_swallowed_or_refused_on_order() {
    let service = serve(Options::default()).await;
    let refusal = Refusal { code: 40140, status: 401, disconnected: true };
    service.faults().swallow_auths(1);
    service.faults().refuse_auths(1, refusal);
    let (mut client, _) = tokened(&service, PATIENCE, Format::Json).await;
    let good = service.issue_token(PATIENCE, Some("bob")).token;
    client.send(auth(&good)).await;
    client.send(auth(&good)).await;
    assert_eq!(client.expect(action::DISCONNECTED).await["error"]["code"], 40140);
    client.expect_end().await;
    let counts = service.ledger().counts();
    assert_eq!((counts.auths, counts.auths_accepted), (2, 0));
}

#[tokio::test]
async fn tokens_end_on_order() {
    let service = serve(Options::default()).await;
    let spare = service.issue_token(PATIENCE, Some("bob")).token;
    let (mut client, _) = tokened(&service, PATIENCE, Format::Json).await;
    service.faults().expire(&super::super::Target::All);
    assert_eq!(client.expect(action::DISCONNECTED).await["error"]["code"], 40142);
    client.expect_end().await;
    let mut client = Client::dial(&service, Format::Json, &format!("accessToken={spare}")).await;
    assert_eq!(client.expect(action::ERROR).await["error"]["code"], 40142);
    let counts = service.ledger().counts();
    assert_eq!((counts.revoked_tokens, counts.dead_tokens), (1, 0), "nobody could know");
}

#[tokio::test]
async fn the_token_endpoint_gives_tokens_and_fails_on_order() {
    use crate::demo::service::TokenFault;
    let service = serve(Options::default()).await;
    let (status, body) = request(&service, "GET", "/token?clientId=bob&ttl=60000", "").await;
    let details: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((status, details["clientId"].as_str()), (200, Some("bob")));
    assert_eq!(details["expires"].as_u64().unwrap() - details["issued"].as_u64().unwrap(), 60_000);
    let query = format!("accessToken={}", details["token"].as_str().unwrap());
    Client::connect_with(&service, Format::Json, &query).await;
    service.faults().token_endpoint([TokenFault::Status(503), TokenFault::Body("{".into())]);
    assert_eq!(request(&service, "GET", "/token", "").await, (503, String::new()));
    assert_eq!(request(&service, "GET", "/token", "").await, (200, "{".into()));
    assert_eq!(request(&service, "GET", "/token", "").await.0, 200);
    let (status, _) = request(&service, "POST", "/keys/demo01.key001/requestToken", "{}").await;
    assert_eq!(status, 401);
    let counts = service.ledger().counts();
    assert_eq!((counts.token_requests, counts.tokens_issued), (5, 2));
}
