//! The service is away: what the client does meanwhile, what keeps it calm, and where hiding ends.

use std::time::Duration;

use perennial::demo::service::Options;
use serde_json::json;

use crate::ably_client::{
    action,
    wire::FORMATS,
    world::{World, long_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_with_its_id() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.ping("there").await;
        client.until("an answer", |seen| seen.pongs == ["there"]).await;
        world.away().await;
        client.ping("away").await;
        client.until("an answer all the same", |seen| seen.pongs == ["there", "away"]).await;
        assert_eq!(world.counts().resumes, 0, "it was Perennial's");
        client.calm();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_on() {
    for format in FORMATS {
        let options = Options { max_idle_interval: Duration::from_millis(450), ..long_lived() };
        let world = World::start(options, "").await;
        let client = world.client(format, "c").await;
        world.away().await;
        let before = client.seen(|seen| seen.heartbeats);
        client.until("heartbeats", |seen| seen.heartbeats >= before + 4).await;
        assert_eq!(world.counts().resumes, 0);
        client.calm();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_meanwhile_is_asked_when_the_service_is_back() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        for channel in ["kept", "left", "again"] {
            client.attach(channel).await;
        }
        world.away().await;
        client.publish("kept").await;
        client.send(json!({"action": action::DETACH, "channel": "left"})).await;
        client.send(json!({"action": action::ATTACH, "channel": "new"})).await;
        client.send(json!({"action": action::DETACH, "channel": "again"})).await;
        client.send(json!({"action": action::ATTACH, "channel": "again"})).await;
        client.publish("kept").await;
        world.faults().clear();
        let attached =
            |channel: &'static str| move |seen: &crate::ably_client::Seen| seen.is_attached(channel);
        client.until("it is detached", |seen| !seen.is_attached("left")).await;
        client.until("it is attached", attached("new")).await;
        client.until("it is attached again", attached("again")).await;
        for channel in ["kept", "new", "again"] {
            world.speak(channel, 3);
            client.publish(channel).await;
            world.whole(&client, channel).await;
        }
        let mut now = world.service.connections()[0].attached.clone();
        now.sort();
        assert_eq!(now, ["again", "kept", "new"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_and_a_detach_without_an_answer_are_asked_again() {
    for format in FORMATS {
        let world = World::start(long_lived(), "keepalive = \"200ms\"").await;
        let client = world.client(format, "c").await;
        client.attach("old").await;
        world.faults().silence(&perennial::demo::service::Target::All);
        client.send(json!({"action": action::ATTACH, "channel": "new"})).await;
        client.send(json!({"action": action::DETACH, "channel": "old"})).await;
        client.until("answers", |seen| seen.is_attached("new") && !seen.is_attached("old")).await;
        world.speak("new", 3);
        world.whole(&client, "new").await;
        assert_eq!(world.service.connections()[0].attached, ["new"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_is_too_long_is_told() {
    for format in FORMATS {
        let world = World::start(long_lived(), "reconnect = \"1s\"").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        client.expect(action::DISCONNECTED);
        client.expect_end();
        world.away().await;
        client.publish("one").await;
        client.until("the end", |seen| seen.ended.is_some()).await;
        client.calm();
        client.seen(|seen| {
            assert_eq!(seen.ended.as_ref().unwrap().0, 1000, "{:?}", seen.ended);
            let told = seen.of(action::DISCONNECTED).next().unwrap();
            assert_eq!(told["error"]["code"], 80003, "{told}");
        });
        world.until_metric("perennial_sessions_closed_total{reason=\"outage\",route=\"ably\"}", 1.0).await;
        // The client knows what was not acknowledged, and sends it again where it is let in again.
        world.faults().clear();
        let mut client = client;
        let key = client.key();
        client.come_back(&key).await;
        client.publish("one").await;
        world.speak("one", 2);
        world.whole(&client, "one").await;
        assert_eq!((world.counts().resumes, world.counts().failed_resumes), (1, 0));
        world.end().await;
    }
}
