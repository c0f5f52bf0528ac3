//! Swaps under a seeded simulation: new tokens, refused and slow handshakes, lost connections, services that
//! answer a Close late or never, clients that go away and come back.
//!
//! The client numbers what it says, and so does the service: what is lost, doubled or out of order shows in
//! the numbers. A message between two ends takes its time, and none overtakes another on its connection.

#![allow(unreachable_pub, reason = "shared by the files of this test")]

mod driver;
mod invariants;
mod peers;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use perennial::{
    clock::{self, Instant, Now},
    config::{Config, Route},
    credential::{Generation, Token},
    dialect::{Dialects, Request},
    session::{Action, DialFailure, Epoch, Event, Needs, Note, Phase, Policy, Session, Shown},
    wire::{Close, Direction, Kind, Message},
};

use crate::alarm::{self, Alarm};

/// What may go wrong, and how the service and the route are.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub seed: u64,
    /// Handshakes are refused now and then, connections cut, Closes not answered.
    pub storm: bool,
    /// The service speaks to every connection, and not to the newest one only.
    pub to_all: bool,
    pub discard: bool,
    pub break_first: bool,
    /// The client goes away now and then.
    pub wanders: bool,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub swaps: u64,
    pub doubts: u64,
    pub kept: u64,
    pub discarded: u64,
    pub returns: u64,
    pub up: u64,
    pub down: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    ClientSays,
    ServiceSays,
    NewToken,
    Renewed,
    /// The timer of this number fires.
    Wake(u64),
    Dialled(u32),
    Up(u32, Said),
    Down(u32, Said),
    Turn,
    Cut,
    Wanders,
    ClientReads(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Number(u64),
    /// A Ping or its Pong, with the number of messages before it.
    Ping(u64),
    Close(u16),
}

/// One connection to the service, at both of its ends.
#[derive(Debug, Default)]
struct Connection {
    epoch: Epoch,
    shown: Shown,
    /// The service has let it in, and has not closed it.
    open: bool,
    /// The sidecar has said Close, and must say no more.
    told: bool,
    cut: bool,
    up_until: u64,
    down_until: u64,
}

pub struct World {
    weather: Weather,
    random: fastrand::Rng,
    /// When the session is copied.
    forks: fastrand::Rng,
    begun: Now,
    now: u64,
    happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    order: u64,
    session: Session,
    alarm: Alarm,
    connections: BTreeMap<u32, Connection>,
    upstream: Option<u32>,
    next: Option<u32>,
    dial: Option<u32>,
    /// The connection that the service let in last.
    newest: Option<u32>,
    generation: u64,
    /// The newest generation that the service refused.
    refused: u64,
    /// Numbers the client has said, and those that the service heard.
    said: u64,
    heard: Vec<u64>,
    /// Numbers the service has said, and those that the client heard.
    pushed: u64,
    got: Vec<u64>,
    here: bool,
    calm: bool,
    finished: bool,
    tally: Tally,
}

const SECOND: u64 = 1_000_000;

impl World {
    pub fn new(weather: Weather) -> Self {
        let begun = Now { mono: clock::now(), wall: Duration::from_secs(1) };
        let random = fastrand::Rng::with_seed(weather.seed);
        let route = route(weather);
        let dialects = Dialects::new(Arc::clone(&route), 10);
        let dialect = dialects.open(Request::new("/ws?token=T0", &http::HeaderMap::new()), begun.mono);
        let policy = Policy { session: route.session, opening: Duration::from_secs(10), needs: Needs::Token };
        let session = Session::new(dialect, policy, None, weather.seed, begun.mono);
        let mut world = Self {
            weather,
            random,
            forks: fastrand::Rng::with_seed(weather.seed),
            begun,
            now: 0,
            happenings: BinaryHeap::new(),
            order: 0,
            session,
            alarm: Alarm::default(),
            connections: BTreeMap::new(),
            upstream: None,
            next: None,
            dial: None,
            newest: None,
            generation: 1,
            refused: 0,
            said: 0,
            heard: Vec::new(),
            pushed: 0,
            got: Vec::new(),
            here: true,
            calm: false,
            finished: false,
            tally: Tally::default(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let (id, epoch) = (self.fresh(Epoch(1)), Epoch(1));
        self.let_in(id);
        self.upstream = Some(id);
        let shown = self.connections[&id].shown;
        self.tell(Event::Opened(epoch, Some(shown)), None);
        for first in [Happening::ClientSays, Happening::ServiceSays, Happening::NewToken] {
            self.after(SECOND / 10, first);
        }
        if self.weather.storm {
            self.after(SECOND, Happening::Cut);
        }
        if self.weather.wanders {
            self.after(SECOND, Happening::Wanders);
        }
    }

    /// Ten minutes of weather, and one of calm in which everything comes to its end.
    pub fn run(mut self) -> Tally {
        while let Some(Reverse((at, _, happening))) = self.happenings.pop() {
            self.now = at;
            self.calm = at > 600 * SECOND;
            if at > 900 * SECOND || at > 660 * SECOND && self.is_quiet() {
                break;
            }
            self.happens(happening);
            self.stands();
            if self.finished {
                break;
            }
        }
        self.judge();
        self.tally.up = self.heard.len() as u64;
        self.tally.down = self.got.len() as u64;
        self.tally
    }

    fn is_quiet(&self) -> bool {
        let newest = self.session.authenticated_with().generation.0 == self.generation;
        self.session.phase() == Phase::Live && self.session.held_bytes() == 0 && newest
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::ClientSays => {
                self.again(SECOND / 20, happening);
                if self.here && self.session.wants_client() && !self.calm {
                    self.said += 1;
                    self.client_says(self.said);
                }
            }
            Happening::ServiceSays => {
                self.again(SECOND / 15, happening);
                if !self.calm {
                    self.service_says();
                }
            }
            Happening::NewToken => {
                self.again(30 * SECOND, happening);
                if !self.calm {
                    self.renewed();
                }
            }
            Happening::Renewed => self.renewed(),
            Happening::Wake(number) => {
                if self.alarm.rings(number) && self.session.deadline().is_some_and(|at| at <= self.instant())
                {
                    self.tell(Event::Timer, None);
                    assert!(
                        self.session.deadline().is_none_or(|at| at > self.instant()),
                        "{:?}: a timer was handled, and the next deadline has passed already",
                        self.weather
                    );
                }
                self.arm();
            }
            Happening::Turn => {
                let token = self.token();
                self.tell(Event::Turn(Some(&token)), None);
            }
            Happening::ClientReads(messages) => self.tell(Event::ClientRead(messages), None),
            Happening::Dialled(id) => self.dialled(id),
            Happening::Up(id, said) => self.service_hears(id, said),
            Happening::Down(id, said) => self.sidecar_hears(id, said),
            Happening::Cut => {
                self.again(90 * SECOND, happening);
                if let (false, Some(id)) = (self.calm, self.upstream) {
                    self.cut(id);
                }
            }
            Happening::Wanders => {
                self.again(25 * SECOND, happening);
                self.wanders();
            }
        }
    }

    fn renewed(&mut self) {
        self.generation += 1;
        let token = self.token();
        self.tell(Event::Token(&token), None);
    }

    fn wanders(&mut self) {
        if self.here && !self.calm {
            self.here = false;
            self.tell(Event::ClientClosed(None), None);
        } else if !self.here {
            self.here = true;
            self.tally.returns += 1;
            self.tell(Event::ClientBack, None);
        }
    }

    // ----- the network, and the clock

    fn send_up(&mut self, id: u32, said: Said) {
        let connection = self.connections.get_mut(&id).unwrap();
        assert!(!connection.told, "{:?}: {said:?} goes to a connection that was told to end", self.weather);
        connection.told = matches!(said, Said::Close(_));
        connection.up_until = (connection.up_until + 1).max(self.now + self.random.u64(1_000..30_000));
        let at = connection.up_until;
        self.at(at, Happening::Up(id, said));
    }

    fn send_down(&mut self, id: u32, said: Said) {
        let connection = self.connections.get_mut(&id).unwrap();
        connection.down_until = (connection.down_until + 1).max(self.now + self.random.u64(1_000..30_000));
        let at = connection.down_until;
        self.at(at, Happening::Down(id, said));
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.happenings.push(Reverse((at, self.order, happening)));
    }

    fn after(&mut self, wait: u64, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    /// About every `mean`.
    fn again(&mut self, mean: u64, happening: Happening) {
        let wait = self.random.u64(mean / 2..mean * 3 / 2);
        self.after(wait, happening);
    }

    fn instant(&self) -> Instant {
        self.begun.mono + Duration::from_micros(self.now)
    }

    fn token(&self) -> Token {
        let now = Now { mono: self.instant(), wall: self.begun.wall + Duration::from_micros(self.now) };
        Token::new("T", Generation(self.generation), now, Some(Duration::from_secs(120)))
    }

    fn shown(&self) -> Shown {
        Shown::from(&self.token())
    }
}

fn route(weather: Weather) -> Arc<Route> {
    let (overlap, swap) = (
        if weather.discard { "discard" } else { "keep" },
        if weather.break_first { "break" } else { "make" },
    );
    let park = if weather.wanders { "30m" } else { "0s" };
    let text = format!(
        r#"
        [[route]]
        upstream = "ws://h"
        dialect = "handshake"
        [route.token]
        source = "http"
        url = "http://h/"
        share = "client"
        [route.client]
        token = {{ query = "token" }}
        [route.session]
        overlap = "{overlap}"
        swap = "{swap}"
        park = "{park}"
        reconnect = "10m""#
    );
    Arc::clone(&Config::parse(&text, "swaps").unwrap().routes[0])
}
