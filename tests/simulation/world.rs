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

mod faults;
mod invariants;
mod keeping;
mod network;
mod sessions;

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
    session::{Action, Cause, DialFailure, Epoch, Event, Needs, Note, Phase, Policy, Session, Shown},
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
                Policy { session: session_policy(), opening: Duration::from_secs(10), needs: Needs::Token };
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

    /// The story of a single seed, for anyone who looks into it.
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
                    self.tell(index, Event::Turn(Some(&token)));
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
        stateless: false,
    }
}
