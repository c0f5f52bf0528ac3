//! Perennial's own AUTH, and every answer that a service may have for it.

use std::time::Duration;

use perennial::demo::service::{Refusal, Target, TokenAnswer, TokenFault};

use crate::ably_client::{
    Format,
    wire::FORMATS,
    world::{World, long_lived, short_lived},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_behind_the_clients_back() {
    let refusals = [
        Refusal { code: 40101, status: 401, disconnected: false },
        Refusal { code: 40142, status: 401, disconnected: false },
        Refusal { code: 40142, status: 401, disconnected: true },
        Refusal { code: 40102, status: 401, disconnected: false },
    ];
    for (format, refusal) in FORMATS.into_iter().flat_map(|format| refusals.map(|refusal| (format, refusal)))
    {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().refuse_auths(1, refusal);
        world.faults().hint(&Target::All);
        world.talk_until(&client, "one", |counts| counts.resumes == 1).await;
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.auths, counts.auths_accepted, counts.failed_resumes), (1, 0, 0), "{refusal:?}");
        // An ERROR answers the AUTH: that token will not do. A DISCONNECTED may be about the old one.
        let generations = if refusal.disconnected { 2 } else { 3 };
        assert_eq!(world.generation(), generations, "{refusal:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_without_an_answer_is_given_up_after_hold() {
    for format in FORMATS {
        let world = World::start(long_lived(), "hold = \"400ms\"").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().swallow_auths(1);
        world.faults().hint(&Target::All);
        world.talk_until(&client, "one", |counts| counts.resumes == 1).await;
        world.whole(&client, "one").await;
        assert_eq!(world.generation(), 2, "nobody said that the token is bad");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_hint_is_answered_and_not_shown() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        for exchanges in 1..=3 {
            world.faults().hint(&Target::All);
            world.talk_until(&client, "one", |counts| counts.auths_accepted == exchanges).await;
        }
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.connects, counts.overlapping_auths, counts.hints), (1, 0, 3));
        assert_eq!((counts.token_requests, world.generation()), (4, 4));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_says_waits_for_the_answer_and_what_it_hears_does_not() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.faults().delay_auths(1, Duration::from_secs(1));
        world.faults().hint(&Target::All);
        world.until("the exchange", |counts| counts.auths == 1).await;
        for _ in 0..3 {
            client.publish("one").await;
        }
        client.ping("meanwhile").await;
        world.speak("one", 3);
        client.until("an answer", |seen| seen.pongs == ["meanwhile"]).await;
        client.heard("one", 3).await;
        let counts = world.counts();
        assert_eq!((counts.accepted, counts.auths_accepted), (0, 0), "all of that in the exchange");
        world.whole(&client, "one").await;
        assert_eq!(world.metric("perennial_messages_held_total{direction=\"up\",route=\"ably\"}"), 3.0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lapsed_under_the_connection_is_replaced() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        world.talk_until(&client, "one", |counts| counts.accepted >= 5).await;
        world.faults().expire(&Target::Connection(client.id()));
        world.talk_until(&client, "one", |counts| counts.resumes == 1).await;
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.revoked_tokens, counts.dead_tokens, world.generation()), (0, 0, 2));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_token_may_end_while_the_new_one_is_on_its_way() {
    // The token endpoint takes longer than the token has left: the service ends the connection first.
    let lifetime = Duration::from_secs(2);
    let world = World::start(short_lived(lifetime), "").await;
    let client = world.client(Format::Msgpack, "c").await;
    client.attach("one").await;
    world.faults().token_endpoint([TokenFault::Delay(lifetime)]);
    world.talk_until(&client, "one", |counts| counts.expiry_disconnects == 1 && counts.resumes == 1).await;
    world.whole(&client, "one").await;
    assert_eq!(world.counts().dead_tokens, 0, "nothing dead was dialled with meanwhile");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_is_down_for_three_lifetimes_closes_nobody() {
    // The service's tokens live on: it is Perennial that takes them to be short-lived.
    let options = perennial::demo::service::Options { token_answer: TokenAnswer::Bare, ..long_lived() };
    let world = World::start_with(options, "lifetime = \"1s\"", "").await;
    let clients = [world.client(Format::Json, "a").await, world.client(Format::Msgpack, "b").await];
    for client in &clients {
        client.attach(&client.dial.name).await;
    }
    let down = std::iter::repeat_n(TokenFault::Status(503), 5);
    world.faults().token_endpoint(down);
    let before = world.counts().auths_accepted;
    world.talk_until(&clients[0], "a", |counts| counts.token_requests >= 6).await;
    // Back to fresh: everybody is shown a token of after the outage.
    world.talk_until(&clients[1], "b", |counts| counts.auths_accepted >= before + 4).await;
    for client in &clients {
        world.whole(client, &client.dial.name).await;
    }
    assert_eq!((world.sessions_closed(), world.counts().connects), (0.0, 2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_is_down_is_waited_for_where_the_service_is_strict() {
    let world = World::start(short_lived(Duration::from_secs(1)), "").await;
    let client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    world.faults().token_endpoint(std::iter::repeat_n(TokenFault::Status(500), 4));
    world.talk_until(&client, "one", |counts| counts.expiry_disconnects >= 1 && counts.resumes >= 1).await;
    world.whole(&client, "one").await;
    assert_eq!(world.counts().dead_tokens, 0);
    world.end().await;
}
