//! Entering, leaving, graces.

use super::*;

const HAS_PRESENCE: u64 = 1;

async fn enter(client: &mut Client, serial: u64, id: Option<&str>) -> Json {
    let mut item = json!({"action": 2, "data": "here"});
    if let Some(id) = id {
        item["id"] = id.into();
    }
    let presence = json!([item]);
    client
        .send(json!({"action": action::PRESENCE, "channel": "a", "msgSerial": serial, "presence": presence}))
        .await;
    let heard = client.expect(action::PRESENCE).await;
    client.expect(action::ACK).await;
    heard
}

#[tokio::test]
async fn a_newcomer_is_told_page_by_page_who_is_present() {
    let service = serve(Options { sync_page: 2, ..Options::default() }).await;
    let (mut crowd, _) = Client::connect(&service, Format::Json, "*").await;
    crowd.attach("a").await;
    let presence = json!(["p", "q", "r"].map(|name| json!({"action": 2, "clientId": name})));
    crowd
        .send(json!({"action": action::PRESENCE, "channel": "a", "msgSerial": 0, "presence": presence}))
        .await;
    crowd.expect(action::PRESENCE).await;
    let (mut eve, _) = Client::connect(&service, Format::Msgpack, "eve").await;
    assert_eq!(flags_of(&eve.attach("a").await) & HAS_PRESENCE, HAS_PRESENCE);
    let pages = [eve.expect(action::SYNC).await, eve.expect(action::SYNC).await];
    let names: Vec<_> = pages.iter().flat_map(|p| p["presence"].as_array().unwrap()).collect();
    assert_eq!(names.iter().map(|m| m["clientId"].as_str().unwrap()).collect::<Vec<_>>(), ["p", "q", "r"]);
    assert!(names.iter().all(|m| m["action"] == 1), "each is present, and has not just entered");
    let cursors = pages.map(|p| p["channelSerial"].as_str().unwrap().ends_with(':'));
    assert_eq!(cursors, [false, true]);
}

#[tokio::test]
async fn a_member_is_heard_and_leaves_with_its_close() {
    let service = serve(Options::default()).await;
    let (mut eve, _) = Client::connect(&service, Format::Msgpack, "eve").await;
    eve.attach("a").await;
    let (mut bob, connected) = Client::connect(&service, Format::Json, "bob").await;
    bob.attach("a").await;
    let heard = enter(&mut bob, 0, None).await;
    let id = format!("{}:0:0", connected["connectionId"].as_str().unwrap());
    assert_eq!(
        (heard["presence"][0]["clientId"].clone(), heard["presence"][0]["id"].clone()),
        ("bob".into(), id.into())
    );
    assert_eq!(eve.expect(action::PRESENCE).await["presence"][0]["action"], 2);
    bob.send(json!({"action": action::CLOSE})).await;
    let left = eve.expect(action::PRESENCE).await;
    assert_eq!(
        (left["presence"][0]["action"].clone(), left["presence"][0]["clientId"].clone()),
        (3.into(), "bob".into())
    );
    assert!(service.present("a").is_empty());
    clean(&service);
}

#[tokio::test]
async fn a_member_stays_if_its_connection_resumes_and_enters_again() {
    let service = serve(Options { presence_grace: Duration::from_millis(600), ..Options::default() }).await;
    let (mut bob, first) = Client::connect(&service, Format::Json, "bob").await;
    bob.attach("a").await;
    let heard = enter(&mut bob, 0, None).await;
    let id = heard["presence"][0]["id"].clone();
    let (mut carol, _) = Client::connect(&service, Format::Json, "carol").await;
    carol.attach("a").await;
    carol.expect(action::SYNC).await;
    enter(&mut carol, 0, None).await;
    let (mut eve, _) = Client::connect(&service, Format::Json, "eve").await;
    eve.attach("a").await;
    eve.expect(action::SYNC).await;

    drop(bob);
    until(&service, |r| r.counts.losses == 1).await;
    drop(carol);
    until(&service, |r| r.counts.losses == 2).await;
    let bob_is = format!("clientId=bob&{}", keyed(&service));
    let query = format!("{bob_is}&{}", resuming(&first));
    let (mut bob, second) = Client::connect_with(&service, Format::Json, &query).await;
    assert_eq!(flags_of(&bob.attach("a").await) & HAS_PRESENCE, HAS_PRESENCE);
    let told = bob.expect(action::SYNC).await;
    assert_eq!(told["presence"].as_array().unwrap().len(), 2, "those in their grace are present");
    enter(&mut bob, 1, id.as_str()).await;
    assert_eq!(eve.expect(action::PRESENCE).await["presence"][0]["id"], id);
    // She was lost after him, so that his grace is over when hers is.
    let left = eve.expect(action::PRESENCE).await;
    assert_eq!(
        (&left["presence"][0]["action"], &left["presence"][0]["clientId"]),
        (&json!(3), &json!("carol"))
    );
    assert_eq!(service.present("a"), ["bob"]);

    // Now he resumes and does not enter: the grace ends with a leave.
    drop(bob);
    until(&service, |r| r.counts.losses == 3).await;
    let query = format!("{bob_is}&{}", resuming(&second));
    let (_bob, _) = Client::connect_with(&service, Format::Json, &query).await;
    let left = eve.expect(action::PRESENCE).await;
    assert_eq!(
        (&left["presence"][0]["action"], &left["presence"][0]["clientId"]),
        (&json!(3), &json!("bob"))
    );
    clean(&service);
}

#[tokio::test]
async fn presence_without_attaching_is_refused_and_recorded() {
    let service = serve(Options::default()).await;
    let (mut bob, _) = Client::connect(&service, Format::Json, "bob").await;
    let presence = json!([{"action": 2}]);
    bob.send(json!({"action": action::PRESENCE, "channel": "a", "msgSerial": 0, "presence": presence})).await;
    assert_eq!(bob.expect(action::NACK).await["error"]["code"], 90001);
    assert_eq!(service.ledger().violations().len(), 1);
}

fn flags_of(attached: &Json) -> u64 {
    attached["flags"].as_u64().unwrap()
}
