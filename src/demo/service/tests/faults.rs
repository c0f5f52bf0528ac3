//! What a test can order of transports.

use super::*;
use crate::demo::service::{Cut, Target};

#[tokio::test]
async fn transports_are_ended_in_each_way() {
    let service = serve(Options::default()).await;
    for cut in [Cut::Reset, Cut::Drop, Cut::Close(1001)] {
        let (mut client, connected) = Client::connect(&service, Format::Json, "bob").await;
        let (mut other, _) = Client::connect(&service, Format::Json, "eve").await;
        let id = connected["connectionId"].as_str().unwrap().to_owned();
        service.faults().cut(&Target::Connection(id), cut);
        match (cut, client.socket.next().await) {
            (Cut::Reset, Some(Err(Error::Io(error)))) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
            (Cut::Drop, Some(Err(Error::Protocol(_)))) => {}
            (Cut::Close(code), Some(Ok(Message::Close(Some(frame))))) => {
                assert_eq!(u16::from(frame.code), code)
            }
            (cut, got) => panic!("{cut:?}: {got:?}"),
        }
        other.attach("a").await;
    }
    clean(&service);
}

#[tokio::test]
async fn handshakes_are_refused_with_a_status() {
    let service = serve(Options::default()).await;
    service.faults().refuse_handshakes(2, 503);
    let query = keyed(&service);
    for _ in 0..2 {
        assert_eq!(Client::try_dial(&service, Format::Json, &query).await.err(), Some(503));
    }
    Client::connect_with(&service, Format::Json, &query).await;
    let counts = service.ledger().counts();
    assert_eq!((counts.dials, counts.refused, counts.connects), (3, 2, 1));
}

#[tokio::test]
async fn a_silenced_transport_says_nothing_until_it_may_speak() {
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    client.attach("a").await;
    service.faults().silence(&Target::All);
    service.publish("a", "server", 1);
    let nothing = tokio::time::timeout(Duration::from_millis(50), client.socket.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    service.faults().speak(&Target::All);
    client.expect(action::MESSAGE).await;
}

#[tokio::test]
async fn a_connection_is_forgotten_on_order() {
    let service = serve(Options::default()).await;
    let (_client, first) = Client::connect(&service, Format::Json, "bob").await;
    service.faults().forget_resumes(1);
    let query = format!("clientId=bob&{}&{}", keyed(&service), resuming(&first));
    let (_client, second) = Client::connect_with(&service, Format::Json, &query).await;
    assert_ne!(second["connectionId"], first["connectionId"]);
    assert_eq!(second["error"]["code"], 80018);
}

#[tokio::test]
async fn transports_are_reset_again_and_again() {
    let service = serve(Options::default()).await;
    service.faults().periodic_reset(Some(Duration::from_millis(20)));
    for _ in 0..3 {
        let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
        client.expect_end().await;
    }
    service.faults().clear();
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    service.faults().hint(&Target::All);
    client.expect(action::AUTH).await;
}

#[tokio::test]
async fn stopping_ends_every_task_also_those_of_silent_and_hanging_clients() {
    use crate::demo::service::TokenFault;
    let service = serve(Options::default()).await;
    let (mut client, _) = Client::connect(&service, Format::Json, "bob").await;
    let (_silent, connected) = Client::connect(&service, Format::Json, "eve").await;
    service.faults().silence(&Target::Connection(connected["connectionId"].as_str().unwrap().into()));
    service.faults().token_endpoint([TokenFault::Hang]);
    let mut hanging = TcpStream::connect(service.address()).await.unwrap();
    hanging.write_all(b"GET /token HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&service, |r| r.counts.token_requests == 1).await;
    tokio::time::timeout(PATIENCE, service.stop()).await.expect("everything ends");
    client.expect_end().await;
}
