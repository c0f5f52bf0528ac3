//! Serials, acknowledgements, repeats.

use super::*;

#[tokio::test]
async fn a_publish_is_acknowledged_and_heard_by_all_in_both_formats() {
    let service = serve(Options::default()).await;
    let (mut bob, connected) = Client::connect(&service, Format::Json, "bob").await;
    let (mut eve, _) = Client::connect(&service, Format::Msgpack, "eve").await;
    bob.attach("a").await;
    eve.attach("a").await;
    for serial in 0..3 {
        bob.publish("a", serial, &serial.to_string()).await;
        let own = bob.expect(action::MESSAGE).await;
        let ack = bob.expect(action::ACK).await;
        assert_eq!((ack["msgSerial"].clone(), ack["count"].clone()), (serial.into(), 1.into()));
        assert_eq!(ack["res"][0]["serials"].as_array().unwrap().len(), 1);
        let heard = eve.expect(action::MESSAGE).await;
        assert_eq!(own, heard);
        assert_eq!(heard["connectionId"], connected["connectionId"]);
        assert_eq!(heard["messages"][0]["data"], serial.to_string());
        assert_eq!(heard["messages"][0]["clientId"], "bob");
    }
    let said: Vec<_> = service.ledger().published().into_iter().map(|p| p.data).collect();
    assert_eq!(said, ["0", "1", "2"]);
    clean(&service);
}

#[tokio::test]
async fn without_echo_ones_own_is_not_heard_and_unattached_nothing() {
    let service = serve(Options::default()).await;
    let query = format!("echo=false&{}", keyed(&service));
    let (mut quiet, _) = Client::connect_with(&service, Format::Json, &query).await;
    quiet.attach("a").await;
    quiet.publish("a", 0, "x").await;
    quiet.expect(action::ACK).await;
    let (mut apart, _) = Client::connect(&service, Format::Json, "bob").await;
    apart.publish("a", 0, "y").await;
    apart.expect(action::ACK).await;
    assert_eq!(quiet.expect(action::MESSAGE).await["messages"][0]["data"], "y");
}

#[tokio::test]
async fn a_repeat_is_dropped_and_acknowledged_again() {
    let service = serve(Options::default()).await;
    let (mut client, first) = Client::connect(&service, Format::Json, "bob").await;
    service.faults().cut_before_ack(1);
    client.publish("a", 0, "x").await;
    client.expect_end().await;
    let query = format!("clientId=bob&{}&{}", keyed(&service), resuming(&first));
    let (mut client, _) = Client::connect_with(&service, Format::Json, &query).await;
    client.publish("a", 0, "x").await;
    client.publish("a", 1, "y").await;
    assert_eq!(client.expect(action::ACK).await["msgSerial"], 0);
    assert_eq!(client.expect(action::ACK).await["msgSerial"], 1);
    assert_eq!(service.ledger().published().len(), 2);
    assert_eq!(service.ledger().counts().repeats, 1);
    clean(&service);
}

#[tokio::test]
async fn a_gap_and_a_serial_used_twice_are_recorded() {
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    client.publish("a", 1, "x").await;
    assert_eq!(client.expect(action::ERROR).await["error"]["code"], 80013);
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    client.publish("a", 0, "x").await;
    client.expect(action::ACK).await;
    client.publish("a", 0, "something else").await;
    client.expect(action::ERROR).await;
    let violations = service.ledger().violations();
    assert!(violations[0].contains("msgSerial 1 where 0 was due"), "{violations:?}");
    assert!(violations[1].contains("used again"), "{violations:?}");
}

#[tokio::test]
async fn a_late_serial_is_taken_once_where_options_let_it() {
    let service = serve(Options { late_serials: true, ..Options::default() }).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    for serial in [2, 0, 1, 1] {
        client.publish("a", serial, &serial.to_string()).await;
        assert_eq!(client.expect(action::ACK).await["msgSerial"], serial);
    }
    let counts = service.ledger().counts();
    assert_eq!((counts.accepted, counts.late, counts.repeats), (3, 2, 1));
    clean(&service);
}

#[tokio::test]
async fn acknowledgements_are_held_and_then_come_as_one() {
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Msgpack, "bob").await;
    service.faults().hold_acks();
    for serial in 0..4 {
        client.publish("a", serial, "x").await;
    }
    until(&service, |r| r.counts.accepted == 4).await;
    service.faults().release_acks();
    let ack = client.expect(action::ACK).await;
    assert_eq!((ack["msgSerial"].clone(), ack["count"].clone()), (0.into(), 4.into()));
    assert_eq!(ack["res"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn acknowledgements_are_batched_and_an_incomplete_batch_does_not_wait_for_ever() {
    let service = serve(Options { ack_batch: 3, ..Options::default() }).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    // Written at once, so that a slow machine does not end the batch by its delay.
    for serial in 0..4 {
        let frame = json!({
            "action": action::MESSAGE, "channel": "a", "msgSerial": serial, "messages": [{"data": "x"}],
        });
        client.socket.feed(client.format.encode(&from_json(frame))).await.unwrap();
    }
    client.socket.flush().await.unwrap();
    let (first, second) = (client.expect(action::ACK).await, client.expect(action::ACK).await);
    assert_eq!((first["count"].clone(), second["count"].clone()), (3.into(), 1.into()));
    assert_eq!(second["msgSerial"], 3);
}

#[tokio::test]
async fn a_rate_is_enforced_where_options_say_so() {
    let options = Options { max_inbound_rate: 2, enforce_inbound_rate: true, ..Options::default() };
    let service = serve(options).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    for serial in 0..3 {
        client.publish("a", serial, "x").await;
    }
    client.expect(action::ACK).await;
    client.expect(action::ACK).await;
    assert_eq!(client.expect(action::NACK).await["error"]["code"], 42911);
    assert_eq!(service.ledger().counts().over_rate, 1);
}
