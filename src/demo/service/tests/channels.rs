//! Attaching, and what was missed.

use super::*;

const RESUMED: u64 = 4;

fn flags(attached: &Json) -> u64 {
    attached["flags"].as_u64().unwrap()
}

#[tokio::test]
async fn a_channel_is_attached_and_detached() {
    let service = serve(Options::default()).await;
    for format in BOTH {
        let (mut client, _) = Client::connect(&service, format, "bob").await;
        let attached = client.attach("a").await;
        assert_eq!((flags(&attached), attached["channel"].clone()), (983_040, "a".into()));
        assert_eq!(flags(&client.attach("a").await), 983_044, "in place");
        client.send(json!({"action": action::DETACH, "channel": "a"})).await;
        assert_eq!(client.expect(action::DETACHED).await["channel"], "a");
        service.publish("a", "server", 1);
        client.send(json!({"action": action::HEARTBEAT, "id": "x"})).await;
        client.expect(action::HEARTBEAT).await;
    }
    clean(&service);
}

#[tokio::test]
async fn nothing_is_attached_after_a_loss_and_what_was_missed_comes_once_in_order() {
    let service = serve(Options::default()).await;
    let (mut client, first) = Client::connect(&service, Format::Json, "bob").await;
    client.attach("a").await;
    service.publish("a", "server", 0);
    let last = client.expect(action::MESSAGE).await["channelSerial"].clone();
    service.faults().reset();
    service.publish("a", "server", 1);
    let query = format!("clientId=bob&{}&{}", keyed(&service), resuming(&first));
    let (mut client, _) = Client::connect_with(&service, Format::Msgpack, &query).await;
    service.publish("a", "server", 2);
    client.send(json!({"action": action::HEARTBEAT, "id": "x"})).await;
    client.expect(action::HEARTBEAT).await;
    client.send(json!({"action": action::ATTACH, "channel": "a", "channelSerial": last})).await;
    let attached = client.expect(action::ATTACHED).await;
    assert_eq!(flags(&attached) & RESUMED, RESUMED);
    assert_eq!(attached["channelSerial"], last, "a loss before the backlog must not skip it");
    service.publish("a", "server", 3);
    for n in 1..=3 {
        assert_eq!(client.expect(action::MESSAGE).await["messages"][0]["data"], n);
    }
    clean(&service);
}

#[tokio::test]
async fn without_echo_the_backlog_has_nothing_of_ones_own() {
    let service = serve(Options::default()).await;
    let query = format!("echo=false&clientId=bob&{}", keyed(&service));
    let (mut client, first) = Client::connect_with(&service, Format::Json, &query).await;
    let start = client.attach("a").await["channelSerial"].clone();
    client.publish("a", 0, "own").await;
    client.expect(action::ACK).await;
    service.faults().reset();
    service.publish("a", "server", "other");
    let query = format!("{query}&{}", resuming(&first));
    let (mut client, _) = Client::connect_with(&service, Format::Json, &query).await;
    client.send(json!({"action": action::ATTACH, "channel": "a", "channelSerial": start})).await;
    client.expect(action::ATTACHED).await;
    assert_eq!(client.expect(action::MESSAGE).await["messages"][0]["data"], "other");
}

#[tokio::test]
async fn a_gap_is_told() {
    let service = serve(Options { history: 1, ..Options::default() }).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    let start = client.attach("a").await["channelSerial"].clone();
    let (mut late, _) = Client::connect(&service, Format::Json, "eve").await;
    for n in 0..3 {
        service.publish("a", "server", n);
    }
    late.send(json!({"action": action::ATTACH, "channel": "a", "channelSerial": start})).await;
    let attached = late.expect(action::ATTACHED).await;
    assert_eq!((flags(&attached) & RESUMED, attached["error"]["code"].clone()), (0, 90003.into()));
    let last = attached["channelSerial"].clone();
    service.faults().forget_history("a");
    let (mut later, _) = Client::connect(&service, Format::Json, "eve").await;
    later.send(json!({"action": action::ATTACH, "channel": "a", "channelSerial": last})).await;
    assert_eq!(flags(&later.expect(action::ATTACHED).await) & RESUMED, 0);
}

#[tokio::test]
async fn modes_and_parameters_are_kept() {
    const PUBLISH: u64 = 1 << 17;
    let service = serve(Options::default()).await;
    let (mut deaf, _) = Client::connect(&service, Format::Json, "bob").await;
    deaf.send(json!({"action": action::ATTACH, "channel": "a", "flags": PUBLISH, "params": {"x": "y"}}))
        .await;
    let attached = deaf.expect(action::ATTACHED).await;
    assert_eq!((flags(&attached), attached["params"].clone()), (PUBLISH, json!({"x": "y"})));
    deaf.publish("a", 0, "x").await;
    deaf.expect(action::ACK).await;
    let (mut late, _) = Client::connect(&service, Format::Json, "eve").await;
    late.send(json!({"action": action::ATTACH, "channel": "a", "params": {"rewind": "5"}})).await;
    late.expect(action::ATTACHED).await;
    assert_eq!(late.expect(action::MESSAGE).await["messages"][0]["data"], "x");
}

#[tokio::test]
async fn a_channel_fails_on_order_and_the_connection_stays() {
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    client.attach("a").await;
    service.faults().fail_channel("a", 40160, 401);
    let error = client.expect(action::ERROR).await;
    assert_eq!((error["channel"].clone(), error["error"]["code"].clone()), ("a".into(), 40160.into()));
    client.attach("b").await;
}
