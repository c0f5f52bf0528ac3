//! The last words: a client that is to come back hears DISCONNECTED, one that is at fault hears an ERROR, and no Close
//! says more than 1000.

use perennial::demo::service::TokenFault;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::ably_client::{
    Client, Format, action,
    wire::FORMATS,
    world::{World, long_lived},
};

/// The last thing that the client is told: action, error code, Close code.
async fn last_words(client: &Client) -> (u64, u64, u16) {
    client.until("the end", |seen| seen.ended.is_some()).await;
    client.calm();
    client.seen(|seen| {
        let said = [action::DISCONNECTED, action::ERROR].into_iter().flat_map(|action| seen.of(action));
        let said: Vec<_> = said.collect();
        assert!(said.len() < 2, "{}", seen.story());
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let (action, code) =
            said.first().map_or((0, 0), |said| (number(&said["action"]), number(&said["error"]["code"])));
        (action, code, seen.ended.as_ref().unwrap().0)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_stops_lets_its_clients_come_back() {
    for format in FORMATS {
        let world = World::start(long_lived(), "").await;
        let client = world.client(format, "c").await;
        client.attach("one").await;
        client.expect(action::DISCONNECTED);
        client.expect_end();
        let stopping = tokio::spawn(world.app.stop());
        assert_eq!(last_words(&client).await, (6, 80003, 1000), "{format:?}");
        stopping.await.unwrap();
        world.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_at_fault_is_told_what_it_did() {
    let reserved = || Message::Frame(Frame::message("what", OpCode::Data(Data::Reserved(3)), true));
    let unread = || Message::text(r#"{"Action":17,"auth":{"accessToken":"FORGED"}}"#);
    let large = || Message::binary(vec![b'{'; 2 << 20]);
    for format in FORMATS {
        for (what, expected) in
            [(reserved(), (9, 40000, 1000)), (unread(), (9, 40000, 1000)), (large(), (0, 0, 1009))]
        {
            let world = World::start(long_lived(), "").await;
            let client = world.client(format, "c").await;
            client.expect(action::ERROR);
            client.expect_end();
            client.say(what).await;
            assert_eq!(last_words(&client).await, expected, "{format:?}");
            world.end().await;
        }
    }
}

/// Before there is a session, as well: nobody gives this client's token.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_token_nobody_gives_is_told_so() {
    let own = "share = \"client\"\nidentity = \"{query.clientId}\"";
    for format in [Format::Json, Format::Msgpack] {
        let world = World::start_with(long_lived(), own, "").await;
        world.faults().token_endpoint(vec![TokenFault::Status(403); 100]);
        let dial = world.dial(format, "c").with("clientId", "alice").turned_away();
        let client = Client::open(dial).await.unwrap();
        assert_eq!(last_words(&client).await, (9, 40142, 1000), "{format:?}");
        world.end().await;
    }
}
