//! Channels over a loss: attached again as they were, from where they were.

use perennial::demo::service::Target;
use serde_json::json;

use crate::ably_client::{
    Format, action,
    wire::FORMATS,
    world::{World, long_lived},
};

const PUBLISH: u64 = 1 << 17;
const SUBSCRIBE: u64 = 1 << 18;
const HAS_PRESENCE: u64 = 1;
const RESUMED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_comes_once_and_in_order() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        for channel in ["one", "two"] {
            client.attach(channel).await;
            world.speak(channel, 5);
            client.heard(channel, 5).await;
        }
        world.away().await;
        world.speak("one", 7);
        world.speak("two", 9);
        client.publish("two").await;
        world.faults().clear();
        world.whole(&client, "one").await;
        world.whole(&client, "two").await;
        let counts = world.counts();
        assert_eq!((counts.attaches, counts.continued), (4, 2), "both went on from their serials");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn params_and_modes_are_those_of_the_clients_attach() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        world.speak("rewound", 4);
        let client = world.client(format, "c").await;
        // One that does not hear, and one that asked for the past when it came.
        client.attach_with(json!({"action": action::ATTACH, "channel": "deaf", "flags": PUBLISH})).await;
        let rewind = json!({"action": action::ATTACH, "channel": "rewound", "params": {"rewind": "4", "delta": "vcdiff"}});
        client.attach_with(rewind).await;
        client.heard("rewound", 4).await;
        for _ in 0..2 {
            world.reset().await;
            world.speak("deaf", 2);
            world.speak("rewound", 2);
        }
        world.whole(&client, "rewound").await;
        // The service shows modes and params again to anyone who attaches; a gap makes it visible.
        for channel in ["deaf", "rewound"] {
            world.faults().forget_history(channel);
            client.expect(action::ATTACHED);
        }
        world.reset().await;
        client.until("both gaps", |seen| seen.of(action::ATTACHED).count() == 4).await;
        client.seen(|seen| {
            let of = |name: &str| seen.of(action::ATTACHED).rfind(|f| f["channel"] == name).unwrap().clone();
            assert_eq!(of("deaf")["flags"].as_u64().unwrap() & (SUBSCRIBE | PUBLISH), PUBLISH);
            assert_eq!(of("rewound")["params"], json!({"rewind": "4", "delta": "vcdiff"}));
            assert_eq!(seen.heard("deaf", "service"), 0);
        });
        client.calm();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_shown_and_the_channel_goes_on() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        client.attach("two").await;
        world.speak("one", 3);
        client.heard("one", 3).await;
        world.away().await;
        world.faults().forget_history("one");
        client.expect(action::ATTACHED);
        world.faults().clear();
        client.until("the gap", |seen| seen.of(action::ATTACHED).count() == 3).await;
        client.seen(|seen| {
            let gap = seen.of(action::ATTACHED).last().unwrap();
            assert_eq!((&gap["channel"], &gap["error"]["code"]), (&json!("one"), &json!(90003)));
            assert_eq!(gap["flags"].as_u64().unwrap() & (RESUMED | HAS_PRESENCE), 0);
        });
        client.publish("one").await;
        world.speak("one", 3);
        world.speak("two", 3);
        world.whole(&client, "one").await;
        // From its new serial it goes on without another gap.
        world.reset().await;
        world.speak("one", 3);
        world.whole(&client, "one").await;
        world.whole(&client, "two").await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_failed_is_shown_to_have_and_not_attached_again() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("good").await;
        client.attach("bad").await;
        client.expect(action::ERROR);
        world.faults().fail_channel("bad", 40160, 401);
        client.until("the error", |seen| !seen.is_attached("bad")).await;
        world.reset().await;
        world.speak("good", 3);
        world.whole(&client, "good").await;
        assert_eq!(world.service.connections()[0].attached, ["good"]);
        // Nor does it hurt the connection while a token is exchanged.
        client.attach("bad").await;
        client.expect(action::ERROR);
        world.faults().delay_auths(1, std::time::Duration::from_millis(100));
        world.faults().hint(&Target::All);
        world.until("the exchange", |counts| counts.auths == 1).await;
        world.faults().fail_channel("bad", 40160, 401);
        world.talk_until(&client, "good", |counts| counts.auths_accepted == 1).await;
        world.whole(&client, "good").await;
        assert_eq!(world.counts().connects, 2);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_channel_stays_detached() {
    let world = World::start(long_lived(), "").await;
    let client = world.client(Format::Msgpack, "c").await;
    client.attach("one").await;
    client.attach("two").await;
    client.send(json!({"action": action::DETACH, "channel": "one"})).await;
    client.until("it is detached", |seen| !seen.is_attached("one")).await;
    world.reset().await;
    world.speak("two", 3);
    world.whole(&client, "two").await;
    assert_eq!(
        (world.counts().attaches, &world.service.connections()[0].attached),
        (3, &vec!["two".to_owned()])
    );
    world.end().await;
}
