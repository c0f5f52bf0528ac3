//! Presence over a loss: the same member to everyone, and a counting that the client knows nothing of.

use perennial::demo::service::Target;
use serde_json::json;

use crate::ably_client::{
    Client, Format, Seen, action,
    wire::FORMATS,
    world::{World, long_lived},
};

async fn alice(world: &World, format: Format) -> Client {
    let client = Client::connect(world.dial(format, "alice").with("clientId", "alice")).await;
    client.attach("room").await;
    client.enter("room", "here").await;
    client.settled().await;
    client
}

/// Ids of the members of `room` as the witness was told of them.
fn told(seen: &Seen) -> Vec<(u64, String, String)> {
    let items = seen.of(action::PRESENCE).flat_map(|frame| frame["presence"].as_array().unwrap());
    let text = |item: &serde_json::Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    items.map(|item| (item["action"].as_u64().unwrap(), text(item, "id"), text(item, "data"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_entered_again_as_who_it_was() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let witness = world.witness().await;
        witness.attach("room").await;
        let client = alice(&world, format).await;
        for nth in 1..=3 {
            world.faults().cut(&Target::Connection(client.id()), perennial::demo::service::Cut::Reset);
            witness.until("it is entered again", |seen| told(seen).len() == 1 + nth).await;
        }
        let told = witness.seen(told);
        assert!(told.iter().all(|member| *member == told[0]), "one and the same, to everyone: {told:?}");
        assert_eq!((told[0].0, &*told[0].2), (2, "here"));
        assert_eq!(world.service.present("room"), ["alice"]);
        // Its ACK is nobody's: the client's own counting goes on as if nothing had been between.
        for _ in 0..5 {
            client.publish("room").await;
        }
        world.whole(&client, "room").await;
        witness.calm();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_cover_both_countings_are_taken_apart() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = alice(&world, format).await;
        client.attach("other").await;
        client.enter("other", "there too").await;
        client.settled().await;
        for _ in 0..3 {
            world.faults().hold_acks();
            let before = world.counts().accepted;
            for _ in 0..3 {
                client.publish("room").await;
            }
            world.until("they are taken", |counts| counts.accepted == before + 3).await;
            let accepted = world.counts().accepted;
            world.reset().await;
            for _ in 0..5 {
                client.publish("room").await;
            }
            // One ACK covers what was sent again, the two members of Perennial's own, and what came after.
            world.until("all of it", |counts| counts.accepted == accepted + 2 + 5).await;
            world.faults().release_acks();
            world.whole(&client, "room").await;
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_of_the_clients_own_number() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = alice(&world, format).await;
        world.reset().await;
        client.publish("room").await;
        let presence = json!([{"action": 2, "clientId": "somebody-else"}]);
        client.expect(action::NACK);
        client.send(json!({"action": action::PRESENCE, "channel": "room", "presence": presence})).await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        client.seen(|seen| {
            assert_eq!(
                (&seen.nacks[0]["msgSerial"], &seen.nacks[0]["error"]["code"]),
                (&json!(2), &json!(40012))
            );
        });
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_was_not_acknowledged_waits_for_its_channel() {
    for format in FORMATS {
        let world = World::start(long_lived(), "keepalive = \"200ms\"").await;
        let client = alice(&world, format).await;
        world.faults().silence(&Target::All);
        client.publish("room").await;
        client.enter("room", "changed").await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        assert_eq!(world.service.present("room"), ["alice"]);
        assert_eq!(world.counts().nacks, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_not_entered_again() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let witness = world.witness().await;
        witness.attach("room").await;
        let client = alice(&world, format).await;
        let leave = json!([{"action": 3}]);
        client.send(json!({"action": action::PRESENCE, "channel": "room", "presence": leave})).await;
        client.settled().await;
        witness.until("it left", |seen| told(seen).len() == 2).await;
        world.reset().await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        assert_eq!((witness.seen(told).len(), world.service.present("room").len()), (2, 0));
        world.end().await;
    }
}
