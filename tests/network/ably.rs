//! The model of an Ably service and its client, on the wire and in every weather.
//!
//! ```text
//!   model client ─ frames ─► proxy ─► one task for each transport ─► model service (tests/simulation)
//! ```
//!
//! The model is strict: what no client may send is a violation. At the end everything is acknowledged, each
//! message was accepted once and in order, and the client has missed none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use perennial::{
    clock::{self, Instant},
    proxy::Practice,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    model_client::Client,
    model_service::{Out, Service, Tid},
    peer::Peer,
    seeds,
    stage::Stage,
    support::{
        beside,
        ws::{BINARY, CLOSE, Frame, PING, TEXT, Wire},
    },
    tcp::{Cable, Terms},
    weather,
};

/// How long the weather lasts, and how long it may then take to come to rest.
const WEATHER: Duration = Duration::from_secs(600);
const REST: Duration = Duration::from_secs(600);
/// Messages on the way to one transport: more than any run has.
const LINE: usize = 65_536;

/// The service, and the ways to its transports.
struct Hub {
    service: Mutex<Service>,
    lines: Mutex<BTreeMap<Tid, mpsc::Sender<Option<Value>>>>,
    began: Instant,
}

/// A service that says it takes so many messages a second.
fn hub(rate: u64) -> Arc<Hub> {
    let mut service = Service::new(rate);
    service.tokens.insert("T0".to_owned(), u64::MAX);
    Arc::new(Hub { service: Mutex::new(service), lines: Mutex::default(), began: clock::now() })
}

impl Hub {
    fn act(self: &Arc<Self>, act: impl FnOnce(&mut Service, u64) -> Vec<Out>) {
        let now = self.began.elapsed().as_micros() as u64;
        let out = act(&mut self.service.lock().unwrap(), now);
        for Out { delay, to, what } in out {
            let Some(line) = self.lines.lock().unwrap().get(&to).cloned() else { continue };
            if delay == 0 {
                let _ = line.try_send(what);
            } else {
                beside(async move {
                    tokio::time::sleep(Duration::from_micros(delay)).await;
                    let _ = line.try_send(what);
                });
            }
        }
    }

    /// One transport, from its handshake to its end.
    async fn serve(self: Arc<Self>, wire: Wire, tid: Tid) {
        let Some((target, mut peer)) = Peer::service(wire).await else { return };
        let format = if target.contains("format=json") { TEXT } else { BINARY };
        let (line, mut said) = mpsc::channel(LINE);
        self.lines.lock().unwrap().insert(tid, line);
        self.act(|service, now| service.dial(tid, &target, now));
        loop {
            tokio::select! {
               biased;
                out = said.recv() => match out.flatten() {
                    Some(message) => {
                        tracing::debug!(tid, %message, at = ?self.began.elapsed(), "from the service");
                        say(&mut peer, format, &message);
                    }
                    None => break,
                },
                frame = peer.next() => match frame {
                    Some(frame) if frame.opcode() == CLOSE => {
                        peer.frame(0x80 | CLOSE, &frame.payload);
                        break;
                    }
                    Some(frame) => {
                        if let Some(message) = read(format, &frame) {
                            tracing::debug!(tid, %message, at = ?self.began.elapsed(), "to the service");
                            self.act(|service, now| service.receive(tid, &message, now));
                        }
                    }
                    None => break,
                },
            }
        }
        self.lines.lock().unwrap().remove(&tid);
        self.service.lock().unwrap().cut(tid);
        let _ = tokio::time::timeout(Duration::from_secs(60), peer.flush()).await;
    }
}

#[test]
fn an_ably_session_in_every_weather() {
    let runs = seeds::each("an_ably_session_in_every_weather", 256, run);
    let sum = runs.iter().fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2));
    println!("{} up, {} down, {} resumes", sum.0, sum.1, sum.2);
    assert!(!seeds::all_ran() || sum.2 > 2000, "there was little to hide: {sum:?}");
}

/// One seed: messages up and down, and resumes.
async fn run(seed: u64) -> (usize, usize, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let storm = !seed.is_multiple_of(3);
    let far = Terms { rate: 1 << 30, send: 65_536, receive: 65_536, ..weather::terms(&mut random) };
    let format = if seed % 8 < 4 { TEXT } else { BINARY };
    let stage = Stage::set("ably", "reconnect = \"10m\"\nkeepalive = \"10s\"", far);
    let stage = Arc::new(if format == TEXT { stage } else { stage.in_msgpack() });
    let mut dials = random.fork();
    stage.fabric.answer(move |count| weather::answer(&mut dials, storm && count > 0, far));
    let hub = hub(if seed.is_multiple_of(4) { 20 } else { 2000 });
    serve(&stage, &hub);
    let near = Terms { rate: 1 << 30, ..weather::terms(&mut random) };
    let (mut peer, way) = stage.client(near).await;
    let mut client = Client::default();
    tokio::select! {
        biased;
        () = talk(&mut peer, &mut client, format, random.fork()) => {}
        () = publish(&hub, random.fork()) => {}
        () = faults(&stage, &hub, storm, random.fork()) => {}
        () = tokio::time::sleep(WEATHER) => {}
    }
    stage.fabric.cables().iter().for_each(heal);
    let until = clock::now() + REST;
    while clock::now() < until
        && (!client.waits_for().is_empty() || client.received.last() != last(&hub).as_ref())
    {
        hear(&mut peer, &mut client, Duration::from_secs(1)).await;
    }
    stage.is_calm(&format!("seed {seed}"));
    assert!(!way.is_left(), "seed {seed}: the client was cut");
    judge(seed, &hub, &client)
}

/// The way is there again. What the proxy has given up meanwhile comes to nothing: if it reached the service, that
/// would be the failure that `a_dial_that_was_given_up_ends_no_session` shows.
fn heal(cable: &Cable) {
    if cable.is_left() { cable.reset() } else { cable.thaw() }
}

/// The service takes a handshake that comes late for the client's newest connection, and ends the one that serves
/// with 80016.
#[tokio::test(start_paused = true)]
async fn a_dial_that_was_given_up_ends_no_session() {
    let stage = Arc::new(Stage::set("ably", "", Terms::rtt(100)));
    let hub = hub(2000);
    serve(&stage, &hub);
    let (mut peer, way) = stage.client(Terms::rtt(20)).await;
    let mut client = Client::default();
    hear(&mut peer, &mut client, Duration::from_secs(1)).await;
    assert!(client.connected, "setting up: it is connected");
    stage.fabric.newest().reset();
    while stage.fabric.cables().len() < 2 {
        hear(&mut peer, &mut client, Duration::from_millis(10)).await;
    }
    let late = stage.fabric.newest();
    // The connection stands after 100 ms, and the request is on its way.
    hear(&mut peer, &mut client, Duration::from_millis(120)).await;
    late.freeze();
    hear(&mut peer, &mut client, Duration::from_secs(30)).await;
    assert!(stage.fabric.cables().len() > 2 && !way.is_left(), "setting up: another connection serves");
    late.thaw();
    hear(&mut peer, &mut client, Duration::from_secs(30)).await;
    assert!(!way.is_left() && client.wrong.is_empty(), "the client saw {:?}, and was cut", client.wrong);
}

#[test]
fn a_channel_detached_and_attached_in_one_go_stays_attached() {
    seeds::paused(1, &async |_| {
        let stage = Stage::set("ably", "", Terms::rtt(20));
        let (mut client, _, mut service, _) = stage.session(Terms::rtt(20)).await;
        client.text(r#"{"action":10,"channel":"c"}"#);
        client.flush().await;
        service.next().await;
        service.text(r#"{"action":11,"channel":"c","channelSerial":"s0","flags":0}"#);
        tokio::join!(service.flush(), client.listen(Duration::from_secs(1)));
        client.text(r#"{"action":12,"channel":"c"}"#);
        client.text(r#"{"action":10,"channel":"c"}"#);
        client.flush().await;
        service.next().await;
        service.next().await;
        service.text(r#"{"action":13,"channel":"c"}"#);
        service.text(r#"{"action":11,"channel":"c","channelSerial":"s0","flags":0}"#);
        tokio::join!(service.flush(), client.listen(Duration::from_secs(1)));
        drop(service);
        let (mut next, _) = stage.service().await;
        let (said, _) =
            tokio::join!(next.listen(Duration::from_secs(5)), client.listen(Duration::from_secs(5)));
        let said: Vec<&str> = said.iter().map(Frame::text).collect();
        assert!(said.iter().any(|text| text.contains("\"action\":10")), "it attaches to nothing: {said:?}");
    });
}

#[test]
fn a_leave_in_flight_over_a_loss_is_a_leave() {
    seeds::paused(1, &async |_| {
        let stage = Stage::set("ably", "", Terms::rtt(20));
        let (mut client, _, mut service, _) = stage.session(Terms::rtt(20)).await;
        client.text(r#"{"action":10,"channel":"c"}"#);
        client.text(
            r#"{"action":14,"channel":"c","msgSerial":0,"presence":[{"action":2,"clientId":"alice"}]}"#,
        );
        client.flush().await;
        service.next().await;
        service.next().await;
        service.text(r#"{"action":11,"channel":"c","channelSerial":"s0","flags":0}"#);
        service.text(r#"{"action":14,"channel":"c","connectionId":"c1","presence":[{"action":2,"clientId":"alice","connectionId":"c1","id":"c1:0:0"}]}"#);
        service.text(r#"{"action":1,"msgSerial":0,"count":1}"#);
        tokio::join!(service.flush(), client.listen(Duration::from_secs(1)));
        client.text(
            r#"{"action":14,"channel":"c","msgSerial":1,"presence":[{"action":3,"clientId":"alice"}]}"#,
        );
        client.flush().await;
        service.next().await;
        drop(service);
        let (mut next, _) = stage.service().await;
        let serving = async {
            let mut presence = Vec::new();
            while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(5), next.next()).await {
                if frame.text().contains("\"action\":10") {
                    next.text(r#"{"action":11,"channel":"c","channelSerial":"s0","flags":4}"#);
                }
                if frame.text().contains("\"presence\"") {
                    presence.push(frame.text().to_owned());
                }
            }
            presence
        };
        let (presence, _) = tokio::join!(serving, client.listen(Duration::from_secs(10)));
        assert!(!presence.is_empty(), "setting up: the resume sends the LEAVE again");
        let last = presence.last().unwrap();
        assert!(last.contains("\"action\":3"), "the last that others hear of her is {last}");
    });
}

/// Accepts every connection of the proxy's.
fn serve(stage: &Arc<Stage>, hub: &Arc<Hub>) {
    let (stage, hub) = (Arc::clone(stage), Arc::clone(hub));
    beside(async move {
        for tid in 0.. {
            let (end, _) = stage.fabric.accept().await;
            beside(Arc::clone(&hub).serve(Wire::new(end), tid));
        }
    });
}

/// The number that the service published last.
fn last(hub: &Hub) -> Option<u64> {
    Some(hub.service.lock().unwrap().published_numbers).filter(|number| *number > 0)
}

fn judge(seed: u64, hub: &Hub, client: &Client) -> (usize, usize, u64) {
    let service = hub.service.lock().unwrap();
    assert!(service.violations.is_empty(), "seed {seed}: {:?}", service.violations);
    assert!(client.wrong.is_empty(), "seed {seed}: the client saw {:?}", client.wrong);
    let accepted = &service.connections[&client.connection_id].accepted;
    let of = format!("seed {seed}: {} said, {} accepted", client.sent.len(), accepted.len());
    assert_eq!(client.waits_for(), Vec::<String>::new(), "{of}: what the client still waits for");
    assert_eq!(*accepted, client.sent, "seed {seed}: up");
    let from = client.received.first().copied().unwrap_or(service.published_numbers + 1);
    let expected: Vec<u64> = (from..=service.published_numbers).collect();
    assert_eq!(client.received, expected, "seed {seed}: down");
    (accepted.len(), client.received.len(), service.resumes)
}

/// Says a message in a format, which is told by its opcode: JSON, or MessagePack.
fn say(peer: &mut Peer, format: u8, message: &Value) {
    let bytes =
        if format == TEXT { message.to_string().into_bytes() } else { rmp_serde::to_vec(message).unwrap() };
    peer.frame(0x80 | format, &bytes);
}

/// The message of a frame; `None` if it is none of this format.
fn read(format: u8, frame: &Frame) -> Option<Value> {
    match frame.opcode() {
        opcode if opcode != format => None,
        TEXT => serde_json::from_slice(&frame.payload).ok(),
        BINARY => rmp_serde::from_slice(&frame.payload).ok(),
        _ => None,
    }
}

/// The client hears for so long.
async fn hear(peer: &mut Peer, client: &mut Client, time: Duration) {
    let until = clock::now() + time;
    while let Ok(Some(frame)) = tokio::time::timeout_at(until, peer.next()).await {
        if let Some(message) = read(frame.opcode(), &frame) {
            client.receive(&message);
        }
    }
    if peer.end.is_some() {
        tokio::time::sleep_until(until).await;
    }
}

/// The client attaches, and then says what comes to its mind.
async fn talk(peer: &mut Peer, client: &mut Client, format: u8, mut random: fastrand::Rng) {
    while !client.connected {
        hear(peer, client, Duration::from_millis(100)).await;
    }
    let every = [200, 1000, 5000][random.usize(..3)];
    let mut message = client.attach("main");
    loop {
        if let Some(message) = message.take() {
            say(peer, format, &message);
        }
        // Every now and then much is said at once.
        let pause = if random.u8(..4) == 0 { 1 } else { random.u64(..every) };
        hear(peer, client, Duration::from_millis(pause)).await;
        message = match random.u8(..100) {
            _ if peer.waiting() > 4096 => None,
            0..=4 if client.unanswered_pings() < 4 => Some(client.ping()),
            5..=8 => client.attach("options"),
            9..=12 => client.detach("options"),
            13..=14 if client.is_attached_to_main() => Some(client.enter()),
            15 => client.auth(),
            16 => Some(json!({"action": 77, "what": "an action that nobody knows"})),
            17 => {
                peer.frame(0x80 | PING, b"?");
                say(peer, format, &json!({}));
                None
            }
            _ => Some(client.publish()),
        };
    }
}

/// The service says numbers on the channel.
async fn publish(hub: &Arc<Hub>, mut random: fastrand::Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(1..3000))).await;
        hub.act(|service, _| service.publish_next("main"));
    }
}

/// Faults of the way to the service, and the service's own.
async fn faults(stage: &Stage, hub: &Arc<Hub>, storm: bool, mut random: fastrand::Rng) {
    let every = random.u64(2_000..60_000);
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(1..every * 2))).await;
        let cable = stage.fabric.newest();
        let live = hub.service.lock().unwrap().live();
        match (random.u8(..7), live.last()) {
            (0..=1, _) => {
                stage.context.sessions.practise(Practice::Reauthenticate, |all| all);
            }
            (2, Some(tid)) if storm => hub.act(|service, _| service.disconnect(*tid)),
            (3, _) if storm => cable.reset(),
            (4, _) if storm => cable.reset_after(random.usize(..2), random.u64(..3000)),
            (5, _) if storm => cable.freeze(),
            (6, _) if storm => {
                cable.freeze();
                let pause = Duration::from_millis(random.u64(..12_000));
                beside(async move {
                    tokio::time::sleep(pause).await;
                    heal(&cable);
                });
            }
            _ => {}
        }
    }
}
