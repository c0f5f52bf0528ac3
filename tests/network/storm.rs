//! Plain services and clients in every weather: `none`, `handshake`, and one that rebuilds its client's state.
//!
//! ```text
//!   client ── numbers up ──► proxy ──► service: one task for each connection
//!          ◄─ numbers down ──      ◄──
//!   faults ── on the ways of both sides          then it is quiet, and everything is added up
//! ```

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use perennial::{clock::Instant, proxy::Practice, telemetry::Direction};

use crate::{
    ledger::Ledger,
    peer::Peer,
    seeds,
    stage::{RESTORE, RESTORED, RESTORING, Stage},
    support::{
        beside,
        ws::{CLOSE, CONTINUATION, PING, TEXT, Wire},
    },
    tcp::{Cable, Terms},
    weather::{self, Habit},
};

/// How long the weather lasts.
const WEATHER: Duration = Duration::from_secs(600);
/// How long it may then take until everything has come to rest: the slowest way with full buffers.
const REST: Duration = Duration::from_secs(3000);

/// What a seed came to.
#[derive(Debug, Default)]
pub struct Tally {
    up: u64,
    down: u64,
    lost: u64,
    dials: usize,
    ended: u64,
}

/// One session of one client.
struct Run {
    stage: Arc<Stage>,
    ledger: Arc<Mutex<Ledger>>,
    random: fastrand::Rng,
    storm: bool,
    seed: u64,
    keepalive: Duration,
    /// The weather is over: services say nothing more of their own.
    quiet: Arc<AtomicBool>,
}

#[test]
fn a_plain_session_in_every_weather() {
    sum(seeds::each("a_plain_session_in_every_weather", 256, async |seed| run("none", seed).await));
}

/// The way to the client fails as well: order holds for what arrives, and everything comes to its end.
#[test]
fn a_client_in_every_weather() {
    let sum = sum(seeds::each("a_client_in_every_weather", 60, async |seed| wander("handshake", seed).await));
    assert!(!seeds::all_ran() || sum.ended > 10, "clients that were cut: {sum:?}");
}

/// The same seed is the same run: what it prints to replay a failure is worth something.
#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let tally =
            seeds::one("the_same_seed_is_the_same_run", seed, &async |seed| run("handshake", seed).await);
        (tally.up, tally.down, tally.lost, tally.dials)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_session_of_handshakes_in_every_weather() {
    let test = "a_session_of_handshakes_in_every_weather";
    let sum = sum(seeds::each(test, 256, async |seed| run("handshake", seed).await));
    assert!(!seeds::all_ran() || sum.dials > 2000, "there was little to hide: {sum:?}");
}

#[test]
fn a_session_that_is_restored_in_every_weather() {
    let test = "a_session_that_is_restored_in_every_weather";
    let sum = sum(seeds::each(test, 256, async |seed| run(RESTORING, seed).await));
    assert!(!seeds::all_ran() || sum.dials > 2000, "there was little to restore: {sum:?}");
}

fn sum(tallies: Vec<Tally>) -> Tally {
    let sum = tallies.into_iter().fold(Tally::default(), |sum, one| Tally {
        up: sum.up + one.up,
        down: sum.down + one.down,
        lost: sum.lost + one.lost,
        dials: sum.dials + one.dials,
        ended: sum.ended + one.ended,
    });
    println!("{sum:?}");
    sum
}

/// One seed.
pub async fn run(dialect: &'static str, seed: u64) -> Tally {
    let (mut run, near) = begin(dialect, seed);
    let (client, cable) = run.stage.client(near).await;
    run.session(client, cable, None).await
}

/// One seed with faults of the client's way.
async fn wander(dialect: &'static str, seed: u64) -> Tally {
    let (mut run, near) = begin(dialect, seed);
    let (client, cable) = run.stage.client(near).await;
    let when = Duration::from_millis(run.random.u64(1..1_000_000));
    run.session(client, cable, Some(when)).await
}

fn begin(dialect: &'static str, seed: u64) -> (Run, Terms) {
    let mut random = fastrand::Rng::with_seed(seed);
    let storm = !seed.is_multiple_of(3);
    let far = weather::terms(&mut random);
    // Half of it is the time for an answer: more than the longest round trip.
    let keepalive = if far.latency < Duration::from_millis(500) { [5, 10][random.usize(..2)] } else { 10 };
    let stage = Arc::new(Stage::set(dialect, &format!("keepalive = \"{keepalive}s\""), far));
    let mut dials = random.fork();
    stage.fabric.answer(move |count| weather::answer(&mut dials, storm && count > 0, far));
    let keepalive = Duration::from_secs(keepalive);
    let mut run =
        Run { stage, ledger: Arc::default(), random, storm, seed, keepalive, quiet: Arc::default() };
    run.serve();
    let near = weather::terms(&mut run.random);
    tracing::debug!(dialect, seed, storm, ?keepalive, ?far, ?near, "the weather");
    (run, near)
}

impl Run {
    /// Accepts, and is a service of some habit on each connection.
    fn serve(&mut self) {
        let (stage, ledger, storm) = (Arc::clone(&self.stage), Arc::clone(&self.ledger), self.storm);
        let (mut random, quiet, keepalive) = (self.random.fork(), Arc::clone(&self.quiet), self.keepalive);
        beside(async move {
            for number in 0.. {
                let (end, _) = stage.fabric.accept().await;
                let habit = Habit::of(&mut random, storm && number > 0);
                let waits = stage.dialect == RESTORING;
                let connection = (number, habit, waits, keepalive, Arc::clone(&ledger), Arc::clone(&quiet));
                beside(service(Wire::new(end), connection, random.fork()));
            }
        });
    }

    /// The client talks through the weather, and then waits until it is quiet.
    async fn session(&mut self, mut client: Peer, near: Cable, cut: Option<Duration>) -> Tally {
        client.pace = if self.random.u8(..4) == 0 { self.random.u64(2_000..50_000) } else { 0 };
        let talks = self.random.fork();
        tokio::select! {
            biased;
            () = talk(&mut client, self.stage.dialect, &self.ledger, talks) => {}
            () = faults(&self.stage, self.storm, self.random.fork()) => {}
            () = cuts(&near, cut, self.random.fork()) => {}
            () = tokio::time::sleep(WEATHER) => {}
        }
        self.quiet.store(true, Ordering::Relaxed);
        self.stage.is_calm(&format!("seed {}", self.seed));
        self.calms_down(&mut client, &near).await;
        let ended = client.end.is_some() || near.is_left();
        let flood = flooded(client.pings, 0, self.stage.began, self.keepalive);
        assert_eq!(flood, None, "seed {}: the client", self.seed);
        let tally = self.add_up((ended, cut.is_some()), &near);
        if !ended {
            client.frame(0x80 | CLOSE, &[3, 232]);
            hear(&mut client, &self.ledger, REST).await;
        }
        drop(client);
        self.is_over().await;
        tally
    }

    /// What was said arrives, or the session ends.
    async fn calms_down(&self, client: &mut Peer, near: &Cable) {
        for cable in self.stage.fabric.cables() {
            cable.thaw();
        }
        // A client whose way is dead is not told; this is the end of what it waits for.
        near.reset_if_frozen();
        let until = perennial::clock::now() + REST;
        let mut before = (0, 0, 0);
        while client.end.is_none() && perennial::clock::now() < until {
            hear(client, &self.ledger, Duration::from_secs(100)).await;
            let ledger = self.ledger.lock().unwrap();
            let now = (ledger.missing_up(), ledger.missing_down(), client.waiting());
            if now == (0, 0, 0) || (now == before && client.waiting() == 0) {
                break;
            }
            before = now;
        }
    }

    /// The ledger is right, and what is missing was counted.
    fn add_up(&self, (ended, cut): (bool, bool), near: &Cable) -> Tally {
        let seed = self.seed;
        let ledger = self.ledger.lock().unwrap();
        assert_eq!(ledger.wrong(), None, "seed {seed}");
        assert!(ledger.restored <= 1, "seed {seed}: the client heard of {} restorings", ledger.restored);
        let counts = self.stage.metrics.counts();
        let (up, down) = (counts.lost(Direction::Up), counts.lost(Direction::Down));
        let of = format!("seed {seed}: {ledger:?}, counted as lost: {up} up, {down} down");
        let counted = ledger.missing_up() <= up && (ledger.missing_down() == 0 || down > 0);
        assert!(ended || counted, "{of}");
        assert!(self.storm || cut || !ended, "{of}: it ended in fair weather");
        let said = ledger.said - ledger.missing_up();
        let heard: u64 = ledger.down.values().map(|heard| heard.len() as u64).sum();
        let dials = self.stage.fabric.dials().len();
        let polls: u64 = self.stage.fabric.cables().iter().chain([near]).map(|cable| cable.polls(0)).sum();
        let enough = 100 * (said + heard + self.stage.elapsed().as_secs() + 20);
        assert!(polls < enough, "{of}: the ways were asked {polls} times");
        Tally { up: said, down: heard, lost: up + down, dials, ended: ended.into() }
    }

    /// Nothing is left of a session that is over.
    async fn is_over(&self) {
        let until = perennial::clock::now() + REST;
        while !self.stage.context.sessions.is_empty() {
            assert!(perennial::clock::now() < until, "seed {}: the session never ends", self.seed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.stage.is_calm(&format!("seed {}", self.seed));
    }
}

/// Its number, what the service is like on it, whether it says nothing before the client's state is restored, its
/// keepalive, the ledger, and whether it is quiet now.
type Connection = (usize, Habit, bool, Duration, Arc<Mutex<Ledger>>, Arc<AtomicBool>);

/// One connection of the service's.
async fn service(wire: Wire, connection: Connection, mut random: fastrand::Rng) {
    let (number, habit, mut waits, keepalive, ledger, quiet) = connection;
    let began = perennial::clock::now();
    let Some((_, mut service)) = Peer::service(wire).await else { return };
    ledger.lock().unwrap().up.entry(number).or_default();
    match habit {
        Habit::Slow(pace) => service.pace = pace,
        Habit::Mute => service.mute = true,
        Habit::Silent => return std::future::pending().await,
        Habit::Greets => {
            tell(&mut service, number, &ledger, &mut random);
            service.flush().await;
            return;
        }
        Habit::Fair => {}
    }
    let mut restored: Option<Instant> = None;
    loop {
        let mut pause = Duration::from_millis(random.u64(1..3000));
        if let Some(at) = restored {
            pause = pause.min(at.saturating_duration_since(perennial::clock::now()));
            if pause.is_zero() {
                service.text(RESTORED);
                (waits, restored) = (false, None);
            }
        }
        if let Some(flood) = flooded(service.pings, service.said, began, keepalive) {
            ledger.lock().unwrap().faults.push(format!("connection {number}: {flood}"));
        }
        match tokio::time::timeout(pause, service.next()).await {
            Err(_) => {
                if service.waiting() == 0 && !waits && !quiet.load(Ordering::Relaxed) {
                    tell(&mut service, number, &ledger, &mut random);
                }
            }
            Ok(None) => return,
            Ok(Some(frame)) if frame.opcode() == CLOSE => {
                service.frame(0x80 | CLOSE, &frame.payload);
                service.flush().await;
                // A server ends the connection first (RFC 6455 §7.1.1).
                return;
            }
            Ok(Some(frame)) if frame.payload.starts_with(RESTORE.as_bytes()) => {
                restored = Some(perennial::clock::now() + Duration::from_millis(random.u64(..1000)));
            }
            Ok(Some(frame)) => {
                let mut ledger = ledger.lock().unwrap();
                note(ledger.up.entry(number).or_default(), &frame.payload);
                if waits {
                    ledger.faults.push(format!("connection {number} was used before it was restored"));
                }
            }
        }
    }
}

/// Invariant 11: a silent peer is asked once in each keepalive, and once more at the beginning and the end of its
/// connection by a swap; one that speaks at most once for each thing it said.
fn flooded(pings: u64, said: u64, began: Instant, keepalive: Duration) -> Option<String> {
    let elapsed = began.elapsed();
    let most = elapsed.as_secs() / keepalive.as_secs() + 3 + said;
    (pings > most).then(|| format!("{pings} Pings in {elapsed:?}, keepalive {keepalive:?}"))
}

/// The service says the next number of this connection.
fn tell(service: &mut Peer, connection: usize, ledger: &Mutex<Ledger>, random: &mut fastrand::Rng) {
    let mut ledger = ledger.lock().unwrap();
    let told = ledger.told.entry(connection).or_default();
    let pad = "d".repeat(random.usize(..2000));
    service.text(&format!("{told} {connection} {pad}"));
    *told += 1;
}

/// The number that a message begins with; what has none means nothing.
fn note(heard: &mut Vec<u64>, payload: &[u8]) {
    let text = std::str::from_utf8(payload).unwrap();
    heard.extend(text.split(' ').next().and_then(|number| number.parse::<u64>().ok()));
}

/// The client hears for so long. What it heard is noted at once: this future may be dropped.
async fn hear(client: &mut Peer, ledger: &Mutex<Ledger>, time: Duration) {
    let until = perennial::clock::now() + time;
    while let Ok(Some(frame)) = tokio::time::timeout_at(until, client.next()).await {
        if frame.opcode() != TEXT {
            continue;
        }
        ledger.lock().unwrap().restored += u64::from(frame.text() == RESTORED);
        let connection = frame.text().split(' ').nth(1).and_then(|number| number.parse().ok());
        if let Some(connection) = connection {
            note(ledger.lock().unwrap().down.entry(connection).or_default(), &frame.payload);
        }
    }
    if client.end.is_some() {
        tokio::time::sleep_until(until).await;
    }
}

/// The client says numbers, and much that means nothing.
async fn talk(client: &mut Peer, dialect: &str, ledger: &Mutex<Ledger>, mut random: fastrand::Rng) {
    if dialect == RESTORING {
        client.text(RESTORE);
        while client.end.is_none() && ledger.lock().unwrap().restored == 0 {
            hear(client, ledger, Duration::from_millis(100)).await;
        }
    }
    let every = [200, 1000, 5000][random.usize(..3)];
    while client.end.is_none() {
        if client.waiting() < 4096 {
            match random.u8(..10) {
                0 => client.frame(0x80 | PING, b"anybody?"),
                1 => client.frame(0x80 | TEXT, b""),
                2 => say_in_pieces(client, ledger, &mut random),
                _ => {
                    let text = next(ledger, &mut random);
                    client.text(&text);
                }
            }
        }
        // Every now and then much is said at once.
        if random.u8(..4) != 0 {
            hear(client, ledger, Duration::from_millis(random.u64(..every))).await;
        }
    }
}

fn next(ledger: &Mutex<Ledger>, random: &mut fastrand::Rng) -> String {
    let mut ledger = ledger.lock().unwrap();
    let size = if random.u8(..20) == 0 { random.usize(..20_000) } else { random.usize(..200) };
    ledger.said += 1;
    format!("{} {}", ledger.said - 1, "u".repeat(size))
}

/// One message in three frames, with a Ping between them.
fn say_in_pieces(client: &mut Peer, ledger: &Mutex<Ledger>, random: &mut fastrand::Rng) {
    let text = next(ledger, random);
    let (head, tail) = text.split_at(text.find(' ').map_or(0, |at| at + 1));
    client.frame(TEXT, head.as_bytes());
    client.frame(0x80 | PING, b"");
    client.frame(CONTINUATION, tail.as_bytes());
    client.frame(0x80 | CONTINUATION, b"");
}

/// After a while the client's way fails, in one way or another.
async fn cuts(near: &Cable, cut: Option<Duration>, mut random: fastrand::Rng) {
    if let Some(when) = cut {
        tokio::time::sleep(when).await;
        match random.u8(..3) {
            0 => near.reset(),
            1 => near.reset_after(random.usize(..2), random.u64(..3000)),
            _ => near.freeze(),
        }
    }
    std::future::pending().await
}

/// Faults of the way to the service, and refreshes.
async fn faults(stage: &Stage, storm: bool, mut random: fastrand::Rng) {
    let every = random.u64(2_000..120_000);
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(1..every * 2))).await;
        let cable = stage.fabric.newest();
        match random.u8(..8) {
            0..3 => {
                stage.context.sessions.practise(Practice::Reauthenticate, |all| all);
            }
            3 if storm => cable.reset(),
            4 if storm => cable.reset_after(random.usize(..2), random.u64(..3000)),
            5 if storm => cable.freeze(),
            6 if storm => {
                cable.freeze();
                let pause = Duration::from_millis(random.u64(..20_000));
                beside(async move {
                    tokio::time::sleep(pause).await;
                    cable.thaw();
                });
            }
            _ => {}
        }
    }
}
