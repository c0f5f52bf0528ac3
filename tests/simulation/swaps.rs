//! Swaps under a seeded simulation: new tokens, refused and slow handshakes, lost connections, services that
//! answer a Close late or never, clients that go away and come back.
//!
//! The client numbers what it says, and so does the service: what is lost, doubled or out of order shows in
//! the numbers. A message between two ends takes its time, and none overtakes another on its connection.

#![allow(unreachable_pub, reason = "shared by the files of this test")]

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
    session::{Action, DialFailure, Epoch, Event, Note, Phase, Policy, Session, Shown},
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
        let policy = Policy { session: route.session, opening: Duration::from_secs(10), needs_token: true };
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
                self.tell(Event::Turn(&token), None);
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
        let shown = self.shown();
        self.tell(Event::Token(shown), None);
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

    // ----- the client's side

    fn client_says(&mut self, number: u64) {
        if self.session.passes(Direction::Up) {
            self.session.passed(Direction::Up, 1);
            return self.send_up(self.upstream.unwrap(), Said::Number(number));
        }
        let text = number.to_string();
        let message = Message { kind: Kind::Text, payload: text.as_bytes() };
        self.tell(Event::Client(message), Some((Direction::Up, number)));
    }

    fn sidecar_hears(&mut self, id: u32, said: Said) {
        let connection = &self.connections[&id];
        if connection.cut || ![self.upstream, self.next].contains(&Some(id)) {
            return;
        }
        let epoch = connection.epoch;
        match said {
            Said::Number(number) if self.upstream == Some(id) && self.session.passes(Direction::Down) => {
                self.session.passed(Direction::Down, 1);
                self.show(number);
            }
            Said::Number(number) => {
                let text = number.to_string();
                let message = Message { kind: Kind::Text, payload: text.as_bytes() };
                self.tell(Event::Upstream(epoch, message), Some((Direction::Down, number)));
            }
            Said::Ping(messages) => self.tell(Event::UpstreamRead(epoch, messages), None),
            Said::Close(code) => {
                self.tell(Event::UpstreamClosed(epoch, Some(Close::new(code, "")), "closed"), None);
            }
        }
    }

    fn show(&mut self, number: u64) {
        assert!(self.here, "{:?}: said to a client that is away", self.weather);
        self.got.push(number);
    }

    // ----- the service's side

    fn service_hears(&mut self, id: u32, said: Said) {
        let mute = self.weather.storm && !self.calm && self.random.u8(..100) < 10;
        let connection = self.connections.get_mut(&id).unwrap();
        if connection.cut || !connection.open {
            return;
        }
        match said {
            Said::Number(number) => self.heard.push(number),
            // One service in four answers no Ping either.
            Said::Ping(_) if self.weather.seed % 4 == 1 => {}
            Said::Ping(messages) => self.send_down(id, Said::Ping(messages)),
            Said::Close(_) => {
                connection.open = false;
                if self.newest == Some(id) {
                    self.newest = None;
                }
                if !mute {
                    self.send_down(id, Said::Close(1000));
                }
            }
        }
    }

    fn service_says(&mut self) {
        let open: Vec<u32> =
            self.connections.iter().filter(|(_, c)| c.open && !c.cut).map(|(id, _)| *id).collect();
        let to: Vec<u32> = if self.weather.to_all {
            open
        } else {
            open.into_iter().filter(|id| self.newest == Some(*id)).collect()
        };
        if to.is_empty() {
            return;
        }
        self.pushed += 1;
        for id in to {
            self.send_down(id, Said::Number(self.pushed));
        }
    }

    fn cut(&mut self, id: u32) {
        let connection = self.connections.get_mut(&id).unwrap();
        (connection.cut, connection.open) = (true, false);
        let epoch = connection.epoch;
        if self.newest == Some(id) {
            self.newest = None;
        }
        self.tell(Event::UpstreamClosed(epoch, None, "cut"), None);
    }

    fn fresh(&mut self, epoch: Epoch) -> u32 {
        let id = self.connections.len() as u32;
        self.connections.insert(id, Connection { epoch, shown: self.shown(), ..Connection::default() });
        id
    }

    fn let_in(&mut self, id: u32) {
        self.connections.get_mut(&id).unwrap().open = true;
        self.newest = Some(id);
    }

    fn dialled(&mut self, id: u32) {
        if self.dial != Some(id) {
            return;
        }
        self.dial = None;
        let Connection { epoch, shown, .. } = self.connections[&id];
        let fate = self.random.u8(..100);
        if self.weather.storm && !self.calm && fate < 30 {
            // A fresh token is taken after one that was refused: a second refusal would be a verdict.
            let failure = if fate < 10 && shown.generation.0 > self.refused + 4 {
                self.refused = shown.generation.0;
                DialFailure::Token(shown.generation, 401)
            } else {
                let retry_after = (fate < 12).then_some(Duration::from_secs(1));
                DialFailure::Passing { why: "not now".into(), retry_after }
            };
            self.connections.get_mut(&id).unwrap().cut = true;
            return self.tell(Event::DialFailed(epoch, failure), None);
        }
        self.let_in(id);
        if self.upstream.is_some() {
            self.next = Some(id);
        } else {
            self.upstream = Some(id);
        }
        self.tell(Event::Opened(epoch, Some(shown)), None);
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

    // ----- the sidecar

    fn tell(&mut self, event: Event<'_>, said: Option<(Direction, u64)>) {
        let mut out = Vec::new();
        if self.forks.u8(..8) == 0 {
            // The session is a value: a copy goes on as it would.
            let copy = self.session.clone();
            assert!(copy == self.session, "{:?}: a copy differs: {copy:?}", self.weather);
            self.session = copy;
        }
        self.session.on_event(event, self.instant(), &mut out);
        for action in out {
            self.perform(action, said);
        }
        self.arm();
    }

    /// Sets the timer as the driver does.
    fn arm(&mut self) {
        let now = self.instant();
        if let Some((number, at)) = self.alarm.set(self.session.deadline(), now) {
            // A microsecond later, because instants are rounded down here.
            let at = (at - self.begun.mono).as_micros() as u64 + 1;
            self.at(at.max(self.now), Happening::Wake(number));
        }
    }

    fn perform(&mut self, action: Action, said: Option<(Direction, u64)>) {
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse().unwrap();
        match action {
            Action::Forward => match said.unwrap() {
                (Direction::Down, number) => self.show(number),
                (Direction::Up, number) => self.send_up(self.upstream.unwrap(), Said::Number(number)),
            },
            Action::ToClient(payload) => self.show(number(&payload.bytes)),
            Action::ToUpstream(epoch, payload) => {
                self.send_up(self.of(epoch).unwrap(), Said::Number(number(&payload.bytes)));
            }
            Action::Dial(epoch) => {
                let id = self.fresh(epoch);
                self.dial = Some(id);
                let slow = if self.weather.storm && self.random.u8(..100) < 5 { 12 * SECOND } else { 0 };
                let wait = self.random.u64(1_000..200_000) + slow;
                self.after(wait, Happening::Dialled(id));
            }
            Action::HangUp(epoch) => self.hang_up(epoch),
            Action::PingUpstream(epoch, messages) => {
                self.send_up(self.of(epoch).unwrap(), Said::Ping(messages))
            }
            Action::CloseUpstream(epoch, close) => {
                self.send_up(self.of(epoch).unwrap(), Said::Close(close.code.unwrap_or(1005)));
            }
            Action::AskTurn => self.after(SECOND / 100, Happening::Turn),
            Action::Demand(_) => {
                let wait = self.random.u64(10_000..SECOND);
                self.after(wait, Happening::Renewed);
            }
            Action::Note(note) => self.note(&note),
            Action::Finished(cause) => {
                self.finished = true;
                panic!("{:?} at {} s: the session ended: {cause:?}", self.weather, self.now / SECOND);
            }
            Action::PingClient(messages) => self.after(0, Happening::ClientReads(messages)),
            Action::EndTurn | Action::Park | Action::CloseClient(_) | Action::DropClient => {}
        }
    }

    /// The connection of this epoch, if it is open.
    fn of(&self, epoch: Epoch) -> Option<u32> {
        [self.upstream, self.next].into_iter().flatten().find(|id| self.connections[id].epoch == epoch)
    }

    fn hang_up(&mut self, epoch: Epoch) {
        self.dial = self.dial.filter(|id| self.connections[id].epoch != epoch);
        let Some(id) = self.of(epoch) else { return };
        // What was written before still arrives; the end of it is a Close, unless one was said.
        if !self.connections[&id].told && !self.connections[&id].cut {
            self.send_up(id, Said::Close(1000));
        }
        self.disconnect(id);
    }

    /// As in the driver, the next connection stands in the place of one that is gone.
    fn disconnect(&mut self, id: u32) {
        let next = self.next.take().filter(|next| *next != id);
        if self.upstream == Some(id) {
            self.upstream = next;
        } else {
            self.next = next;
        }
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Reauthenticated { .. } => self.tally.swaps += 1,
            Note::Gap => self.tally.doubts += 1,
            Note::Overlapped { kept: true } => self.tally.kept += 1,
            Note::Overlapped { kept: false } => self.tally.discarded += 1,
            _ => {}
        }
    }

    // ----- what must be so

    /// After every step.
    fn stands(&self) {
        let in_order = |numbers: &[u64]| numbers.last_chunk::<2>().is_none_or(|[a, b]| a < b);
        assert!(in_order(&self.heard), "{:?}: the service heard {:?}", self.weather, tail(&self.heard));
        let once = !self.weather.to_all;
        assert!(!once || in_order(&self.got), "{:?}: the client heard {:?}", self.weather, tail(&self.got));
        assert!(self.session.held_bytes() <= 3 * self.bound(), "{:?}", self.session);
        let late = self.session.deadline().is_some_and(|at| at + alarm::SLACK < self.instant());
        assert!(!late, "{:?}: nothing wakes the core: {:?}", self.weather, self.session);
    }

    fn bound(&self) -> usize {
        (1 << 20) + 1024
    }

    /// At the end: nothing is missing that no doubt was cast on, and nothing is heard twice unseen.
    fn judge(&self) {
        assert!(self.is_quiet(), "{:?}: not quiet at the end: {:?}", self.weather, self.session);
        if self.tally.doubts == 0 {
            let all: Vec<u64> = (1..=self.said).collect();
            assert_eq!(self.heard, all, "{:?}: the service misses some", self.weather);
        }
        let gaps = gaps(&self.got);
        let discarded = self.tally.discarded;
        assert!(
            self.tally.doubts > 0 || gaps <= discarded,
            "{:?}: the client misses {gaps} messages, {discarded} of them counted",
            self.weather
        );
        let twice = self.got.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64;
        // What is still on its way on the new connection when the old one has ended is the new one's.
        let most = if self.weather.discard {
            self.tally.swaps + self.tally.doubts
        } else {
            self.tally.kept + self.tally.swaps
        };
        assert!(twice <= most, "{:?}: {twice} turns back, {:?}", self.weather, self.tally);
    }
}

/// Numbers that never came.
fn gaps(got: &[u64]) -> u64 {
    let seen: std::collections::BTreeSet<u64> = got.iter().copied().collect();
    seen.last().map_or(0, |last| last - seen.len() as u64)
}

fn tail(numbers: &[u64]) -> &[u64] {
    &numbers[numbers.len().saturating_sub(6)..]
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
