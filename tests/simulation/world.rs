//! The world: a keeper, sessions, a service and a network, in made-up time and from one seed.
//!
//! ```text
//!   clients ─► Session (the real core, the real Ably dialect) ─► network ─► service
//!                 ▲                                                │
//!   Keeper ───────┘ tokens        (latency, losses, late words) ◄──┘
//! ```
//!
//! The keeper and the sessions are the product's own; everything else is here. After each step the
//! invariants are checked that can be seen at any moment; at the end, those of the whole run.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use perennial::{
    clock::{Instant, Now},
    config::Config,
    credential::{
        Token, Trigger,
        keeper::{self, FetchFailure, Fetched, Keeper, Life},
    },
    dialect::{Dialects, Request},
    session::{Action, Cause, DialFailure, Epoch, Event, Note, Phase, Policy, Session, Shown},
    wire::{Kind, Message},
};
use serde_json::Value;

use crate::{
    alarm::{self, Alarm},
    client::Client,
    service::{Out, Service, Tid},
};

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) sessions: usize,
    /// Simulated time, and the quiet time at its end in which everything has to come to rest.
    pub(crate) length: Duration,
    pub(crate) lifetime: Duration,
    /// Mean time between messages, each way and for each session.
    pub(crate) every: Duration,
    /// Mean time between faults; none where `None`.
    pub(crate) faults: Option<Duration>,
}

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) exchanges: u64,
    pub(crate) resumes: u64,
    pub(crate) generations: u64,
    pub(crate) fetches: u64,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) faults: u64,
    /// A hash of everything that happened, in its order.
    pub(crate) trace: u64,
}

#[derive(Debug)]
enum Happening {
    Timer(usize, u64),
    Keeper,
    Fetched(u64, Result<String, FetchFailure>),
    DialArrives(usize, Epoch, Tid, String, Shown),
    DialDone(usize, Epoch, Tid, Result<Shown, DialFailure>),
    ToService(Tid, Value),
    ToSidecar(Tid, Option<Value>),
    Turn(usize, u64),
    Acts(usize),
    Publishes,
    Hint(Tid, u32),
    Expires(Tid, u32),
    Cut(Tid),
    Fault,
    EndpointBack,
}

struct Side {
    session: Session,
    client: Client,
    /// The transport of the newest epoch.
    transport: Option<Tid>,
    /// The dial that is under way.
    dial: Option<Epoch>,
    alarm: Alarm,
    turn: Option<u64>,
    bound: usize,
    finished: Option<Cause>,
    /// Messages that the core was given, and those that it let through or was heard to send.
    published: u64,
}

pub(crate) struct World {
    plan: Plan,
    random: fastrand::Rng,
    /// When the session is copied.
    forks: fastrand::Rng,
    base: Instant,
    /// µs since the start.
    now: u64,
    /// The sidecar's wall clock is off by this, µs.
    skew: i64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: BTreeMap<usize, Happening>,
    keeper: Keeper,
    keeper_armed: Option<Instant>,
    current: Option<Arc<Token>>,
    sides: Vec<Side>,
    routes: BTreeMap<Tid, (usize, Epoch)>,
    /// When the last message of a direction arrives: TCP keeps the order.
    up_until: BTreeMap<Tid, u64>,
    down_until: BTreeMap<Tid, u64>,
    service: Service,
    dialects: Dialects,
    endpoint_down: bool,
    /// No outage begins before this, µs.
    endpoint_spared: u64,
    tids: Tid,
    turns: u64,
    pub(crate) tally: Tally,
}

/// One for all runs of a process: instants are told apart from run to run by nothing else.
static BASE: OnceLock<Instant> = OnceLock::new();

const WALL: u64 = 1_800_000_000_000_000;

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let text = "[[route]]\nupstream = \"ws://127.0.0.1:1\"\ndialect = \"ably\"\n[route.token]\nsource = \"static\"\ntoken = \"x\"\n";
        let config = Config::parse(text, "simulation").unwrap();
        let route = Arc::clone(&config.routes[0]);
        let mut random = fastrand::Rng::with_seed(plan.seed);
        let refresh = route.token.as_ref().unwrap().refresh.clone();
        let keeper = Keeper::new(refresh, random.u64(..));
        let mut world = Self {
            base: *BASE.get_or_init(perennial::clock::now),
            now: 0,
            skew: 0,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            keeper,
            keeper_armed: None,
            current: None,
            sides: Vec::new(),
            routes: BTreeMap::new(),
            up_until: BTreeMap::new(),
            down_until: BTreeMap::new(),
            service: Service::new(if plan.seed.is_multiple_of(3) { 20 } else { 2000 }),
            dialects: Dialects::new(route, 1000),
            endpoint_down: false,
            endpoint_spared: 0,
            tids: 0,
            turns: 0,
            tally: Tally::default(),
            random,
            forks: fastrand::Rng::with_seed(plan.seed),
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let mut actions = Vec::new();
        self.keeper.on_event(keeper::Event::Started, self.clocks(), &mut actions);
        self.keeper_acts(actions);
        for index in 0..self.plan.sessions {
            let policy =
                Policy { session: session_policy(), opening: Duration::from_secs(10), needs_token: true };
            let headers = http::HeaderMap::new();
            let request = Request::new("/?key=app.key%3Asecret&format=json&v=2&heartbeats=true", &headers);
            let now = self.instant();
            let dialect = self.dialects.open(request, now);
            let session = Session::new(dialect, policy, None, self.random.u64(..), now);
            self.sides.push(Side {
                session,
                client: Client::default(),
                transport: None,
                dial: None,
                alarm: Alarm::default(),
                turn: None,
                bound: policy.session.queue,
                finished: None,
                published: 0,
            });
            // The first dial is the upgrade's business; here it fails once, and the core takes over.
            self.tell(index, Event::DialFailed(Epoch(1), DialFailure::NoToken));
            self.after(0, Happening::Acts(index));
        }
        self.after(0, Happening::Publishes);
        if self.plan.faults.is_some() {
            self.after(1_000_000, Happening::Fault);
        }
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    fn clocks(&self) -> Now {
        let wall = (WALL + self.now).saturating_add_signed(self.skew);
        Now { mono: self.instant(), wall: Duration::from_micros(wall) }
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.base).as_micros() as u64 + 1
    }

    fn at(&mut self, when: u64, what: Happening) {
        self.order += 1;
        let key = self.order as usize;
        self.queue.push(Reverse((when.max(self.now), self.order, key)));
        self.happenings.insert(key, what);
    }

    fn after(&mut self, delay: u64, what: Happening) {
        self.at(self.now + delay, what);
    }

    /// Half to one and a half times the mean.
    fn about(&mut self, mean: Duration) -> u64 {
        let mean = mean.as_micros() as u64;
        mean / 2 + self.random.u64(..mean.max(1))
    }

    /// Runs to the end. Panics, with the seed, where an invariant is broken.
    pub(crate) fn run(mut self) -> Tally {
        let end = self.plan.length.as_micros() as u64;
        let rest = end + 90_000_000;
        while let Some(Reverse((when, _, key))) = self.queue.pop() {
            if when > rest {
                break;
            }
            self.now = when;
            let Some(happening) = self.happenings.remove(&key) else { continue };
            let quiet = self.now > end;
            if quiet && matches!(happening, Happening::Acts(_) | Happening::Publishes | Happening::Fault) {
                continue;
            }
            self.trace(&happening);
            self.step(happening);
            self.check();
        }
        self.finish();
        self.tally
    }

    /// The story of a single seed, for whoever looks into it.
    fn say(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("PERENNIAL_SEED").is_some() {
            println!("{:>12.6} {}", self.now as f64 / 1e6, what());
        }
    }

    fn trace(&mut self, happening: &Happening) {
        for byte in format!("{} {happening:?}", self.now).bytes() {
            self.tally.trace = (self.tally.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Timer(index, number) => self.wakes(index, number),
            Happening::Keeper => {
                self.keeper_armed = None;
                self.keep(keeper::Event::Timer);
            }
            Happening::Fetched(ticket, result) => self.fetched(ticket, result),
            Happening::DialArrives(index, epoch, tid, target, shown) => {
                self.dial_arrives(index, epoch, tid, &target, shown)
            }
            Happening::DialDone(index, epoch, tid, result) => match result {
                Ok(shown) => {
                    if self.sides[index].dial.take_if(|dial| *dial == epoch).is_some() {
                        self.sides[index].transport = Some(tid);
                    }
                    self.tell(index, Event::Opened(epoch, Some(shown)));
                }
                Err(failure) => self.tell(index, Event::DialFailed(epoch, failure)),
            },
            Happening::ToService(tid, message) => {
                let out = self.service.receive(tid, &message, self.now);
                self.watch_expiry(tid);
                self.send_down(out);
            }
            Happening::ToSidecar(tid, what) => self.arrives(tid, what.as_ref()),
            Happening::Turn(index, number) => {
                if self.sides[index].turn.take_if(|turn| *turn == number).is_some()
                    && let Some(token) = self.current.clone().filter(|token| !token.is_expired(self.clocks()))
                {
                    self.tell(index, Event::Turn(&token));
                }
            }
            Happening::Acts(index) => self.acts(index),
            Happening::Publishes => {
                let out = self.service.publish_next("main");
                self.send_down(out);
                let next = self.about(self.plan.every);
                self.after(next, Happening::Publishes);
            }
            Happening::Hint(tid, auths) => {
                let out = self.service.hint(tid, auths);
                self.send_down(out);
            }
            Happening::Expires(tid, auths) => {
                let out = self.service.expire(tid, auths);
                self.send_down(out);
            }
            Happening::Cut(tid) => self.cut(tid),
            Happening::Fault => self.fault(),
            Happening::EndpointBack => self.endpoint_down = false,
        }
    }

    // ----- the keeper

    fn keep(&mut self, event: keeper::Event) {
        let mut actions = Vec::new();
        self.keeper.on_event(event, self.clocks(), &mut actions);
        self.keeper_acts(actions);
    }

    fn keeper_acts(&mut self, actions: Vec<keeper::Action>) {
        for action in actions {
            match action {
                keeper::Action::Fetch { ticket, .. } => {
                    self.tally.fetches += 1;
                    let stormy = self.plan.faults.is_some();
                    let slow = if stormy && self.random.u8(..20) == 0 { 3_000_000 } else { 50_000 };
                    let delay = 1_000 + self.random.u64(..slow);
                    let result = if self.endpoint_down {
                        Err(FetchFailure::passing("down"))
                    } else {
                        Ok(String::new())
                    };
                    self.after(delay, Happening::Fetched(ticket, result));
                }
                keeper::Action::Publish(token) => self.publish_token(token),
                keeper::Action::Hopeless => {}
                keeper::Action::Report(report) => self.say(|| format!("{report:?}")),
            }
        }
        self.keeper_armed = self.keeper.deadline();
        if let Some(at) = self.keeper_armed {
            let when = self.micros(at);
            self.at(when, Happening::Keeper);
        }
    }

    fn fetched(&mut self, ticket: u64, result: Result<String, FetchFailure>) {
        let event = match result {
            Err(failure) => keeper::Event::Failed { ticket, failure },
            Ok(_) => {
                // The service counts from the answer; the keeper from the question, and may not know how long.
                let lifetime = self.plan.lifetime;
                let text = self.service.issue(self.now + lifetime.as_micros() as u64);
                keeper::Event::Fetched {
                    ticket,
                    fetched: Fetched { text, life: Life::For(lifetime), taken_over: false },
                }
            }
        };
        self.keep(event);
    }

    fn publish_token(&mut self, token: Token) {
        let now = self.clocks();
        assert!(!token.is_expired(now), "seed {}: a dead token was published", self.plan.seed);
        if let Some(old) = &self.current {
            assert!(old.generation <= token.generation, "seed {}: generations go back", self.plan.seed);
        }
        self.tally.generations = token.generation.0;
        let token = Arc::new(token);
        self.current = Some(Arc::clone(&token));
        for index in 0..self.sides.len() {
            self.tell(index, Event::Token(Shown::from(&*token)));
        }
    }

    // ----- sessions

    fn tell(&mut self, index: usize, event: Event<'_>) {
        let now = self.instant();
        let mut actions = Vec::new();
        let message = match &event {
            Event::Client(message) => Some((true, message.payload.to_vec())),
            Event::Upstream(_, message) => Some((false, message.payload.to_vec())),
            _ => None,
        };
        let was_over = self.sides[index].finished.is_some();
        let session = &mut self.sides[index].session;
        if self.forks.u8(..8) == 0 {
            // The session is a value: a copy goes on as it would.
            let copy = session.clone();
            assert!(copy == *session, "seed {}: a copy differs: {copy:?} {session:?}", self.plan.seed);
            *session = copy;
        }
        session.on_event(event, now, &mut actions);
        assert!(
            !was_over || actions.is_empty(),
            "seed {}: it acts after its end: {actions:?}",
            self.plan.seed
        );
        for (at, action) in actions.iter().enumerate() {
            assert!(*action != Action::Forward || at == 0, "seed {}: Forward stands first", self.plan.seed);
        }
        for action in actions {
            self.perform(index, action, message.as_ref());
        }
        self.arm(index);
    }

    /// Sets the timer of a session as the driver does.
    fn arm(&mut self, index: usize) {
        let now = self.instant();
        let side = &mut self.sides[index];
        if let Some((number, at)) = side.alarm.set(side.session.deadline(), now) {
            let when = self.micros(at);
            self.at(when, Happening::Timer(index, number));
        }
    }

    fn wakes(&mut self, index: usize, number: u64) {
        let now = self.instant();
        let side = &mut self.sides[index];
        if side.alarm.rings(number) && side.session.deadline().is_some_and(|at| at <= now) {
            self.tell(index, Event::Timer);
            let next = self.sides[index].session.deadline();
            assert!(
                next.is_none_or(|at| at > now),
                "seed {}: a timer was handled, and the next deadline has passed already",
                self.plan.seed
            );
        }
        self.arm(index);
    }

    fn perform(&mut self, index: usize, action: Action, message: Option<&(bool, Vec<u8>)>) {
        match action {
            Action::Forward => {
                let (up, bytes) = message.unwrap();
                let value = serde_json::from_slice(bytes).unwrap();
                if *up { self.send_up(index, value) } else { self.show(index, &value) }
            }
            Action::ToClient(payload) => self.show(index, &serde_json::from_slice(&payload.bytes).unwrap()),
            Action::ToUpstream(_, payload) => {
                self.send_up(index, serde_json::from_slice(&payload.bytes).unwrap())
            }
            Action::Dial(epoch) => self.dial(index, epoch),
            Action::HangUp(epoch) => {
                let side = &mut self.sides[index];
                side.dial = side.dial.filter(|dial| *dial != epoch);
                let of_epoch = |tid: &mut Tid| self.routes.get(tid).is_some_and(|(_, of)| *of == epoch);
                if let Some(tid) = side.transport.take_if(of_epoch) {
                    // What was written before may still arrive, or not.
                    let delay = self.random.u64(..20_000);
                    self.after(delay, Happening::Cut(tid));
                }
            }
            Action::CloseUpstream(..) | Action::DropClient => {}
            Action::PingUpstream(..) | Action::PingClient(_) | Action::Park => {
                unreachable!("Ably's connections are not swapped")
            }
            Action::CloseClient(close) => self.sides[index].client.closed = Some(close.code.unwrap_or(1005)),
            Action::Demand(demand) => {
                self.keep(keeper::Event::Demanded { rejected: demand.rejected, trigger: Trigger::Expiry });
            }
            Action::AskTurn => {
                self.turns += 1;
                let turn = self.turns;
                self.sides[index].turn = Some(turn);
                let delay = self.random.u64(..30_000);
                self.after(delay, Happening::Turn(index, turn));
            }
            Action::EndTurn => self.sides[index].turn = None,
            Action::Note(Note::Reauthenticated { .. }) => self.tally.exchanges += 1,
            Action::Note(note) => self.say(|| format!("session {index}: {note:?}")),
            Action::Finished(cause) => self.sides[index].finished = Some(cause),
        }
    }

    fn show(&mut self, index: usize, message: &Value) {
        let client = &mut self.sides[index].client;
        client.receive(message);
        assert!(client.wrong.is_empty(), "seed {}: client {index} saw {:?}", self.plan.seed, client.wrong);
    }

    // ----- the network

    fn dial(&mut self, index: usize, epoch: Epoch) {
        let now = self.clocks();
        let Some(token) = self.current.clone().filter(|token| !token.is_expired(now)) else {
            return self.tell(index, Event::DialFailed(epoch, DialFailure::NoToken));
        };
        self.tids += 1;
        let tid = self.tids;
        self.sides[index].dial = Some(epoch);
        let outgoing = self.sides[index].session.handshake(Some(&token)).unwrap();
        self.routes.insert(tid, (index, epoch));
        let delay = 500 + self.random.u64(..20_000);
        self.after(delay, Happening::DialArrives(index, epoch, tid, outgoing.target, Shown::from(&*token)));
    }

    fn dial_arrives(&mut self, index: usize, epoch: Epoch, tid: Tid, target: &str, shown: Shown) {
        if self.plan.faults.is_some() && self.random.u8(..10) == 0 {
            let failure = DialFailure::Passing { why: "refused".into(), retry_after: None };
            return self.after(1_000, Happening::DialDone(index, epoch, tid, Err(failure)));
        }
        self.after(500, Happening::DialDone(index, epoch, tid, Ok(shown)));
        let mut out = self.service.dial(tid, target, self.now);
        out.iter_mut().for_each(|out| out.delay += 600);
        self.watch_expiry(tid);
        self.send_down(out);
    }

    fn watch_expiry(&mut self, tid: Tid) {
        if let Some((expires, auths)) = self.service.expiry(tid) {
            let hint = expires.saturating_sub(self.plan.lifetime.as_micros() as u64 / 6);
            self.at(hint, Happening::Hint(tid, auths));
            self.at(expires, Happening::Expires(tid, auths));
        }
    }

    fn send_up(&mut self, index: usize, message: Value) {
        let Some(tid) = self.sides[index].transport else { return };
        if message["action"] == 17 {
            let token = message["auth"]["accessToken"].as_str().unwrap();
            let lives = self.service.tokens.get(token).is_some_and(|expires| *expires > self.now);
            assert!(lives, "seed {}: a dead token was injected", self.plan.seed);
        }
        let floor = self.up_until.get(&tid).copied().unwrap_or(0);
        let when = (self.now + 200 + self.random.u64(..3_000)).max(floor);
        self.up_until.insert(tid, when);
        self.at(when, Happening::ToService(tid, message));
    }

    fn send_down(&mut self, out: Vec<Out>) {
        for Out { delay, to, what } in out {
            let floor = self.down_until.get(&to).copied().unwrap_or(0);
            let when = (self.now + delay + 200 + self.random.u64(..3_000)).max(floor);
            self.down_until.insert(to, when);
            self.at(when, Happening::ToSidecar(to, what));
        }
    }

    /// Rule 3 is put to the test here: words of connections that were given up arrive all the same.
    fn arrives(&mut self, tid: Tid, what: Option<&Value>) {
        let Some((index, epoch)) = self.routes.get(&tid).copied() else { return };
        match what {
            Some(message) => {
                if self.sides[index].transport == Some(tid) {
                    self.service.seen(message);
                }
                let bytes = message.to_string();
                let message = Message { kind: Kind::Text, payload: bytes.as_bytes() };
                self.tell(index, Event::Upstream(epoch, message));
            }
            None => self.tell(index, Event::UpstreamClosed(epoch, None, "ended")),
        }
    }

    fn cut(&mut self, tid: Tid) {
        if self.service.cut(tid)
            && let Some((index, epoch)) = self.routes.get(&tid).copied()
        {
            self.tell(index, Event::UpstreamClosed(epoch, None, "reset"));
        }
    }

    // ----- what happens

    fn acts(&mut self, index: usize) {
        let next = self.about(self.plan.every);
        self.after(next, Happening::Acts(index));
        let dice = self.random.u8(..100);
        let side = &mut self.sides[index];
        if !side.client.connected || !side.session.wants_client() || side.finished.is_some() {
            return;
        }
        let first = side.client.sent.is_empty();
        let message = match dice {
            _ if first => {
                side.client.sent.push(0);
                side.client.sent.clear();
                side.client.attach("main")
            }
            0..=2 => Some(side.client.ping()),
            3..=4 => side.client.attach("options"),
            5..=6 => side.client.detach("options"),
            7 if index.is_multiple_of(3) => Some(side.client.enter()),
            8 if index.is_multiple_of(4) => side.client.auth(),
            _ => Some(side.client.publish()),
        };
        if let Some(message) = message {
            self.give(index, &message);
            if first {
                let message = self.sides[index].client.publish();
                self.give(index, &message);
            }
        }
    }

    fn give(&mut self, index: usize, message: &Value) {
        self.sides[index].published += 1;
        let bytes = message.to_string();
        self.tell(index, Event::Client(Message { kind: Kind::Text, payload: bytes.as_bytes() }));
    }

    fn fault(&mut self) {
        let mean = self.plan.faults.unwrap_or_default();
        let next = self.about(mean);
        self.after(next, Happening::Fault);
        self.tally.faults += 1;
        self.say(|| "fault".to_owned());
        let live = self.service.live();
        let one = (!live.is_empty()).then(|| live[self.random.usize(..live.len())]);
        match (self.random.u8(..9), one) {
            (0..=2, Some(tid)) => self.cut(tid),
            (3, Some(tid)) => {
                let out = self.service.disconnect(tid);
                self.send_down(out);
            }
            (4, _) => self.service.swallow += 1,
            (5, _) => self.service.reject += 1,
            // An outage of the endpoint ends well within what is hidden: the backoff may wait for 30 s after it.
            (6, _) if self.now >= self.endpoint_spared => {
                self.endpoint_spared = self.now + 60_000_000;
                self.endpoint_down = true;
                let back = self.random.u64(..15_000_000);
                self.after(back, Happening::EndpointBack);
            }
            (7, _) => self.service.ack_delay = self.random.u64(..200_000),
            // The wall clock steps, forwards or back, by up to an hour.
            (8, _) => self.skew = self.random.i64(-3_600_000_000..3_600_000_000),
            _ => live.into_iter().for_each(|tid| self.cut(tid)),
        }
    }

    // ----- the invariants

    fn check(&self) {
        let seed = self.plan.seed;
        assert!(self.service.violations.is_empty(), "seed {seed}: {:?}", self.service.violations);
        assert!(self.keeper.deadline().is_some(), "seed {seed}: the keeper waits for nothing");
        for side in &self.sides {
            let session = &side.session;
            assert_eq!(
                side.finished, None,
                "seed {seed}: {session:?} ended, the client saw {:?}",
                side.client.closed
            );
            let waits = session.deadline().is_some() || session.phase() == Phase::Live;
            assert!(waits, "seed {seed}: {session:?} has no deadline");
            assert!(session.held_bytes() <= side.bound + 4096, "seed {seed}: too much is held");
            let late = session.deadline().is_some_and(|at| at + alarm::SLACK < self.instant());
            assert!(!late, "seed {seed}: nothing wakes the core: {session:?}");
        }
    }

    fn finish(&mut self) {
        let seed = self.plan.seed;
        for (index, side) in self.sides.iter().enumerate() {
            let client = &side.client;
            let owed = client.waits_for();
            assert!(
                owed.is_empty(),
                "seed {seed}: client {index} still waits for {owed:?} {:?}",
                side.session
            );
            assert_eq!(side.session.held_messages(), 0, "seed {seed}");
            let accepted = &self.service.connections[&client.connection_id].accepted;
            assert_eq!(*accepted, client.sent, "seed {seed}: up, client {index}");
            let from = client.received.first().copied().unwrap_or(self.service.published_numbers + 1);
            let expected: Vec<u64> = (from..=self.service.published_numbers).collect();
            assert_eq!(client.received, expected, "seed {seed}: down, client {index}");
            self.tally.up += accepted.len() as u64;
            self.tally.down += client.received.len() as u64;
        }
        self.tally.resumes = self.service.resumes;
    }
}

fn session_policy() -> perennial::config::SessionPolicy {
    perennial::config::SessionPolicy {
        queue: 1 << 20,
        hold: Duration::from_secs(10),
        reconnect: Duration::from_secs(60),
        keepalive: Duration::from_secs(10),
        park: Duration::ZERO,
        overlap: perennial::config::Overlap::Keep,
        swap: perennial::config::Swap::Make,
    }
}
