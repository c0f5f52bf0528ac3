//! A client that comes back, by its own doing or because it had to be told.

use std::time::Duration;

use perennial::demo::service::{Options, Target};

use crate::ably_client::{
    Client, Format, action,
    wire::FORMATS,
    world::{World, long_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_continued_is_told_and_the_client_starts_over() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let mut client = world.client(format, "c").await;
        client.attach("one").await;
        client.publish("one").await;
        client.settled().await;
        world.exchange().await;
        let (id, key) = (client.id(), client.key());
        world.faults().forget_resumes(1);
        client.expect(action::DISCONNECTED);
        client.expect_end();
        world.away().await;
        // Held, and never sent: the client knows that it has no ACK.
        client.publish("one").await;
        world.speak("one", 3);
        world.faults().clear();
        world.faults().forget_resumes(1);
        client.until("it is told", |seen| seen.ended.is_some()).await;
        client.seen(|seen| {
            assert_eq!(seen.of(action::DISCONNECTED).next().unwrap()["error"]["code"], 80003);
        });
        client.come_back(&key).await;
        assert_ne!(client.id(), id, "nobody may go on counting on the old one");
        assert_eq!(client.seen(|seen| seen.error["code"].clone()), 80018);
        client.publish("one").await;
        world.whole(&client, "one").await;
        let told = "perennial_sessions_closed_total{reason=\"discontinued\",route=\"ably\"}";
        world.until_metric(told, 1.0).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_with_the_key_it_was_first_shown() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let mut client = world.client(format, "c").await;
        client.attach("one").await;
        let (id, key) = (client.id(), client.key());
        for returns in 1..=3 {
            world.exchange().await;
            world.reset().await;
            let resumes = world.counts().resumes;
            world.talk_until(&client, "one", |counts| counts.accepted > returns * 10).await;
            // The first key each time: no SDK learns those of later CONNECTEDs that it did not see.
            client.come_back(&key).await;
            assert_eq!((client.id(), client.seen(|seen| seen.error.is_null())), (id.clone(), true));
            world.until("it was resumed", |counts| counts.resumes == resumes + 1).await;
        }
        client.publish("one").await;
        world.whole(&client, "one").await;
        assert_eq!(world.counts().failed_resumes, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_countings_stay_apart_when_it_comes_back() {
    for format in FORMATS {
        let options = Options { presence_grace: Duration::from_secs(60), ..long_lived() };
        let world = World::start(options, "").await;
        let mut client = Client::connect(world.dial(format, "alice").with("clientId", "alice")).await;
        client.attach("room").await;
        client.enter("room", "here").await;
        client.settled().await;
        let key = client.key();
        // Twice Perennial enters in its place.
        world.reset().await;
        client.publish("room").await;
        client.settled().await;
        world.reset().await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        client.come_back(&key).await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        world.reset().await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_before_it_has_said_anything_spoils_no_counting() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let mut client = Client::connect(world.dial(format, "alice").with("clientId", "alice")).await;
        client.attach("room").await;
        client.enter("room", "here").await;
        client.publish("room").await;
        client.settled().await;
        let key = client.key();
        client.come_back(&key).await;
        // The member is shown to be there still, and the client has nothing to say yet.
        client.until("the members", |seen| seen.of(action::SYNC).count() > 0).await;
        world.reset().await;
        client.publish("room").await;
        world.whole(&client, "room").await;
        assert_eq!(world.service.present("room"), ["alice"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_knows_starts_a_new_connection_and_says_so() {
    for (format, how) in FORMATS.into_iter().zip(["resume", "recover"]) {
        let world = World::start(long_lived(), "").await;
        // One that the service would know, but Perennial does not: its serials may not be what they seem.
        let stranger = world.witness().await;
        let client = Client::connect(world.dial(format, "c").with(how, &stranger.key())).await;
        assert_ne!(client.id(), stranger.id());
        assert_eq!(client.seen(|seen| seen.error["code"].clone()), 80018);
        client.attach("one").await;
        client.publish("one").await;
        world.whole(&client, "one").await;
        stranger.calm();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_twice_at_once_is_served_where_it_came_last() {
    let world = World::start(long_lived(), "").await;
    let first = world.client(Format::Json, "c").await;
    let key = first.key();
    first.expect(action::DISCONNECTED);
    first.expect_end();
    let second = Client::connect(world.dial(Format::Json, "d").with("resume", &key)).await;
    first.until("it is told that another took its place", |seen| seen.ended.is_some()).await;
    first.calm();
    first.seen(|seen| assert_eq!(seen.of(action::DISCONNECTED).next().unwrap()["error"]["code"], 80016));
    assert_eq!(second.id(), first.id());
    second.attach("one").await;
    world.faults().hint(&Target::All);
    world.talk_until(&second, "one", |counts| counts.auths_accepted == 1).await;
    world.whole(&second, "one").await;
    assert_eq!(world.counts().superseded, 1, "and it does not fight");
    world.end().await;
}
