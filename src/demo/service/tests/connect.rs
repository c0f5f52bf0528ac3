//! Handshakes, credentials, resume.

use super::*;

#[tokio::test]
async fn a_client_connects_in_either_format_and_closes() {
    let service = serve(Options::default()).await;
    for format in BOTH {
        let (mut client, connected) = Client::connect(&service, format, "bob").await;
        assert_eq!(connected["connectionDetails"]["clientId"], "bob");
        assert_eq!(connected["connectionDetails"]["maxIdleInterval"], 15_000);
        client.send(json!({"action": action::HEARTBEAT, "id": "ping-1"})).await;
        assert_eq!(client.expect(action::HEARTBEAT).await["id"], "ping-1");
        client.send(json!({"action": action::CLOSE})).await;
        client.expect(action::CLOSED).await;
        client.expect_end().await;
    }
    until(&service, |r| r.counts.closes == 2).await;
    assert_eq!(service.connections(), []);
    clean(&service);
}

#[tokio::test]
async fn exactly_one_credential_is_taken() {
    let service = serve(Options::default()).await;
    let token = service.issue_token(PATIENCE, None).token;
    let both = format!("accessToken={token}&{}", keyed(&service));
    let twice = format!("accessToken={token}&access_token={token}");
    for query in [both.as_str(), twice.as_str(), ""] {
        let mut client = Client::dial(&service, Format::Json, query).await;
        assert_eq!(client.expect(action::ERROR).await["error"]["code"], 40101);
        client.expect_end().await;
    }
    assert_eq!(service.ledger().violations().len(), 3);
    for query in [format!("accessToken={token}"), format!("access_token={token}"), keyed(&service)] {
        Client::connect_with(&service, Format::Json, &query).await;
    }
}

#[tokio::test]
async fn tokens_are_judged_at_the_handshake() {
    let service = serve(Options::default()).await;
    let dead = service.issue_token(Duration::ZERO, None).token;
    for (token, code) in [(dead.as_str(), 40142), ("demo01.unknown", 40143), ("garbage", 40101)] {
        let mut client = Client::dial(&service, Format::Msgpack, &format!("accessToken={token}")).await;
        let error = client.expect(action::ERROR).await;
        assert_eq!(
            (error["error"]["code"].clone(), error["error"]["statusCode"].clone()),
            (code.into(), 401.into())
        );
        client.expect_end().await;
    }
    let counts = service.ledger().counts();
    assert_eq!((counts.dead_tokens, counts.bad_credentials), (2, 1));
    let bob = service.mint_jwt(PATIENCE, Some("bob")).token;
    let (_, connected) = Client::connect_with(&service, Format::Json, &format!("accessToken={bob}")).await;
    assert_eq!(connected["connectionDetails"]["clientId"], "bob");
    let mut alice = Client::dial(&service, Format::Json, &format!("clientId=alice&accessToken={bob}")).await;
    assert_eq!(alice.expect(action::ERROR).await["error"]["code"], 40102);
}

#[tokio::test]
async fn an_old_protocol_is_refused() {
    let service = serve(Options::default()).await;
    let mut client = Client::dial(&service, Format::Json, &format!("v=1.2&{}", keyed(&service))).await;
    assert_eq!(client.expect(action::ERROR).await["error"]["code"], 80024);
}

#[tokio::test]
async fn a_lost_connection_is_continued_with_its_newest_key_only() {
    let service = serve(Options::default()).await;
    let (client, first) = Client::connect(&service, Format::Json, "bob").await;
    drop(client);
    until(&service, |r| r.counts.losses == 1).await;
    let query = |from: &Json| format!("clientId=bob&{}&{}", keyed(&service), resuming(from));
    let (client, second) = Client::connect_with(&service, Format::Json, &query(&first)).await;
    assert_eq!(second["connectionId"], first["connectionId"]);
    assert_eq!(second.get("error"), None);
    assert_ne!(second["connectionDetails"]["connectionKey"], first["connectionDetails"]["connectionKey"]);
    drop(client);
    until(&service, |r| r.counts.losses == 2).await;
    let (_client, third) = Client::connect_with(&service, Format::Json, &query(&first)).await;
    assert_ne!(third["connectionId"], first["connectionId"]);
    assert_eq!(third["error"]["code"], 80018);
    let counts = service.ledger().counts();
    assert_eq!((counts.resumes, counts.failed_resumes), (1, 1));
}

#[tokio::test]
async fn an_older_key_continues_where_options_let_it() {
    let service = serve(Options { newest_key_only: false, ..Options::default() }).await;
    let (mut client, first) = Client::connect(&service, Format::Json, "*").await;
    let token = service.issue_token(PATIENCE, Some("*")).token;
    client.send(json!({"action": action::AUTH, "auth": {"accessToken": token}})).await;
    client.expect(action::CONNECTED).await;
    let query = format!("clientId=*&{}&{}", keyed(&service), resuming(&first));
    let (_new, second) = Client::connect_with(&service, Format::Json, &query).await;
    assert_eq!(second["connectionId"], first["connectionId"]);
}

#[tokio::test]
async fn a_newer_transport_takes_the_place_of_a_live_one() {
    let service = serve(Options::default()).await;
    let (mut old, first) = Client::connect(&service, Format::Json, "bob").await;
    let query = format!("clientId=bob&{}&{}", keyed(&service), resuming(&first));
    let (mut new, _) = Client::connect_with(&service, Format::Msgpack, &query).await;
    assert_eq!(old.expect(action::DISCONNECTED).await["error"]["code"], 80016);
    old.expect_end().await;
    new.attach("a").await;
    assert_eq!(service.ledger().counts().superseded, 1);
}

#[tokio::test]
async fn a_connection_is_forgotten_after_its_time() {
    let ttl = Duration::from_millis(50);
    let service = serve(Options { connection_state_ttl: ttl, ..Options::default() }).await;
    let (client, first) = Client::connect(&service, Format::Json, "bob").await;
    drop(client);
    until(&service, |r| r.counts.losses == 1).await;
    while !service.connections().is_empty() {
        tokio::task::yield_now().await;
    }
    let query = format!("clientId=bob&{}&{}", keyed(&service), resuming(&first));
    let (_client, second) = Client::connect_with(&service, Format::Json, &query).await;
    assert_eq!(second["error"]["code"], 80018);
}

#[tokio::test]
async fn heartbeats_come_as_the_client_wishes() {
    let idle = Duration::from_millis(40);
    let service = serve(Options { max_idle_interval: idle, ..Options::default() }).await;
    for wish in ["heartbeats=true&", ""] {
        let query = format!("{wish}{}", keyed(&service));
        let (mut client, _) = Client::connect_with(&service, Format::Json, &query).await;
        client.expect(action::HEARTBEAT).await;
        client.expect(action::HEARTBEAT).await;
    }
    let query = format!("heartbeats=false&{}", keyed(&service));
    let (mut client, _) = Client::connect_with(&service, Format::Json, &query).await;
    let message = tokio::time::timeout(PATIENCE, client.socket.next()).await.unwrap().unwrap().unwrap();
    assert!(message.is_ping());
}

#[tokio::test]
async fn what_no_client_may_send_is_recorded_and_the_end() {
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    client.socket.send(Message::binary(vec![0x80])).await.unwrap();
    assert_eq!(client.expect(action::ERROR).await["error"]["code"], 80013);
    client.expect_end().await;
    let (mut client, _) = Client::connect(&service, Format::Msgpack, "bob").await;
    client.send(json!({"action": action::CONNECTED})).await;
    client.expect(action::ERROR).await;
    assert_eq!(service.ledger().violations().len(), 2);
}

#[tokio::test]
async fn a_message_between_two_fragments_is_recorded() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    let part = Frame::message(r#"{"action":"#, OpCode::Data(Data::Text), false);
    client.socket.send(Message::Frame(part)).await.unwrap();
    client.socket.send(Message::text(r#"{"action":0}"#)).await.unwrap();
    until(&service, |r| r.violations.len() == 1).await;
}
