//! No token of a client's shows in a log, at any level, nor on a page, nor on disk.

use crate::{
    handshake::stage::{Plan, Stage, down, json, up},
    sidecar::ask,
    support::ws::{CLOSE, TEXT, bare, close, masked},
};

#[tokio::test]
async fn no_token_of_a_clients_shows() {
    let directory = tempfile::tempdir().unwrap();
    let state = format!("[state]\nstore = \"disk\"\npath = \"{}\"\n", directory.path().display());
    let plan = Plan { client: "grace = \"0s\"", more: "[route.session]\npark = \"1m\"", ..Plan::default() };
    let stage = Stage::set_in_at("trace", &state, plan).await;
    let (mut client, mut old) = stage.client("CANARY-0").await;
    // A refresh that fails and quotes, one that works, a swap, a token that is refused, a client turned away.
    stage.refreshes("CANARY-0").await.answer(json(500, r#"{"error":"CANARY-0"}"#)).await;
    stage.refresh("CANARY-0", "CANARY-1").await;
    stage
        .service
        .asked()
        .await
        .answer("HTTP/1.1 403 CANARY-1\r\nX-Why: CANARY-1\r\nContent-Length: 0\r\n\r\n")
        .await;
    stage.refresh("CANARY-1", "CANARY-2").await;
    let mut new = stage.replaced("CANARY-2").await;
    assert_eq!(old.message().await.opcode(), CLOSE);
    old.send(bare(CLOSE, &close(1000, "CANARY-1"))).await;
    up(&mut client, &mut new, "of the client").await;
    down(&mut new, &mut client, "of the service").await;
    new.send(bare(CLOSE, &close(1008, "Token expired: CANARY-2-and-so-on"))).await;
    stage.refresh("CANARY-2", "CANARY-3").await;
    let mut newest = stage.replaced("CANARY-3").await;
    client.send(masked(TEXT, b"on")).await;
    assert_eq!(newest.message().await.text(), "on");
    for shown in ["CANARY-0", "CANARY-2"] {
        let (_, mut turned_away) = stage.asks(shown).await;
        assert_eq!(turned_away.ending().await, Some((1008, "Token expired".to_owned())));
    }
    let (_, page) = ask(stage.sidecar.admin, "/metrics").await;
    drop(client);
    let log = stage.sidecar.stop().await;
    assert!(
        log.contains("token revoked") && log.contains("re-authenticated") && log.contains("TRACE")
            || log.contains("DEBUG"),
        "{log}"
    );
    let file = std::fs::read(directory.path().join("perennial.redb")).unwrap();
    for (place, said) in
        [("the log", log), ("the metrics", page), ("the store", String::from_utf8_lossy(&file).into())]
    {
        assert!(!said.contains("CANARY"), "in {place}:\n{said}");
    }
}
