//! The proxy itself: what it is told to do to a line, it does, and nothing else.

use std::time::Duration;

use perennial::clock;
use tokio::{net::TcpSocket, time::timeout};

use crate::{
    far::peers,
    support::{
        http::{ask, handshake},
        service::Service,
        ws::{BINARY, CLOSE, PING, PONG, TEXT, Wire, masked},
    },
    wire_proxy::{Action, Conditions, Cut, Direction, Fault, Kind, WireProxy},
};

const SOON: Duration = Duration::from_secs(20);

/// A line to a service that answers, and a client on it.
async fn line(conditions: Conditions, faults: &[Fault]) -> (WireProxy, Wire) {
    let proxy = WireProxy::start(peers::answering(Service::start().await), conditions);
    faults.iter().for_each(|fault| proxy.inject(*fault));
    let (answer, wire) = ask(proxy.port, handshake("/", "")).await;
    assert_eq!(answer.status(), 101);
    (proxy, wire)
}

#[tokio::test]
async fn an_answer_takes_a_round_trip_and_each_frame_is_counted() {
    let (proxy, mut wire) = line(Conditions::round_trip(300), &[]).await;
    let began = clock::now();
    wire.send([masked(TEXT, b"hello"), masked(PING, b"?"), masked(BINARY, &[7; 70_000])].concat()).await;
    assert_eq!(wire.frame().await.unwrap().text(), "hello");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(wire.frame().await.unwrap().opcode(), PONG);
    assert_eq!(wire.frame().await.unwrap().payload, [7; 70_000]);
    let passed = |direction, kinds: [Kind; 5]| kinds.map(|kind| proxy.count(direction, kind));
    let kinds = [Kind::Head, Kind::Text, Kind::Ping, Kind::Pong, Kind::Binary];
    assert_eq!(passed(Direction::Up, kinds), [1, 1, 1, 0, 1]);
    assert_eq!(passed(Direction::Down, kinds), [1, 1, 0, 1, 1]);
}

/// 60 kB at 20 kB/s: what the buffers do not hold has to be waited for, by who sends too.
#[tokio::test]
async fn a_slow_line_is_felt_by_who_sends_into_it() {
    let slow = Conditions { up: Some(20_000), buffer: 4 * 1024, ..Conditions::default() };
    let proxy = WireProxy::start(peers::answering(Service::start().await), slow);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4 * 1024).unwrap();
    let mut wire = Wire::new(socket.connect(([127, 0, 0, 1], proxy.port).into()).await.unwrap());
    wire.send(handshake("/", "")).await;
    assert_eq!(wire.head().await.status(), 101);
    let began = clock::now();
    wire.send(masked(BINARY, &[7; 60_000])).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "it was taken after {:?}", began.elapsed());
    assert_eq!(wire.frame().await.unwrap().payload, [7; 60_000]);
    assert!(began.elapsed() >= Duration::from_millis(2_500), "it was there after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_frame_is_dropped_or_delayed_by_its_kind_and_its_number() {
    let faults = [
        Fault::next(Direction::Up, Kind::Ping, Action::Drop).after(1),
        Fault::next(Direction::Down, Kind::Text, Action::Delay(Duration::from_millis(300))),
    ];
    let (proxy, mut wire) = line(Conditions::default(), &faults).await;
    let began = clock::now();
    wire.send([masked(PING, b"1"), masked(PING, b"2"), masked(PING, b"3"), masked(TEXT, b"last")].concat())
        .await;
    for expected in ["1", "3", "last"] {
        assert_eq!(wire.frame().await.unwrap().text(), expected);
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((proxy.count(Direction::Up, Kind::Ping), proxy.count(Direction::Down, Kind::Pong)), (3, 2));
}

#[tokio::test]
async fn a_connection_is_refused_cut_or_stalled() {
    let refused = Fault::next(Direction::Up, Kind::Connection, Action::Cut(Cut::Reset)).after(1);
    let (proxy, mut wire) = line(Conditions::default(), &[refused]).await;
    assert_eq!(ask(proxy.port, handshake("/", "")).await.0.status(), 0, "refused");

    proxy.inject(Fault::next(Direction::Up, Kind::Text, Action::Cut(Cut::Reset)));
    wire.send(masked(TEXT, b"never arrives")).await;
    wire.end().await;
    proxy.until("both have ended", SOON, |seen| seen.ended == 2).await;

    let (_, mut wire) = ask(proxy.port, handshake("/", "")).await;
    proxy.cut(Cut::Fin);
    wire.end().await;

    let (_, mut wire) = ask(proxy.port, handshake("/", "")).await;
    proxy.inject(Fault::next(Direction::Down, Kind::Close, Action::Stall));
    wire.send([masked(TEXT, b"hello"), masked(CLOSE, b"")].concat()).await;
    assert_eq!(wire.frame().await.unwrap().text(), "hello");
    let more = timeout(Duration::from_millis(300), wire.frame()).await;
    assert!(more.is_err(), "it is stalled, and not ended: {more:?}");
    assert_eq!(proxy.seen(|seen| seen.connections()), 4);
}
