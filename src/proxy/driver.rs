//! The driver: the one loop that turns readiness into events, and actions into IO.
//!
//! ```text
//!   poll: 1 what others said   (a newer token, drain)
//!         2 the deadline       (the core's, the legs')
//!         3 the dial, the turn
//!         4 the service's bytes (of the next connection, of the one that serves)
//!         5 the client's bytes
//!         6 what is to be written          … until nothing moves
//! ```
//!
//! It is a future by hand, not an async function: what it keeps between polls is what an idle session
//! costs, and all of it can be seen in the struct.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Sleep};

use super::{
    leg::Leg,
    parking::Spot,
    report::Report,
    route::RouteContext,
    sessions::{BACK, DRAIN, HOPELESS, Place, TOKEN},
    upstream::{Opened, Refused},
};
use crate::{
    clock::{self, Instant, Now},
    credential::{Credential, Lease, Showing, Subscription, Token},
    net::link::Link,
    session::{Action, Cause, DialFailure, Epoch, Event, Session, Shown},
};

/// Bytes read at once; one buffer for each thread, not for each session.
const SCRATCH: usize = 64 * 1024;
/// How long the client may take to answer the last Close.
const LINGER: Duration = Duration::from_secs(5);
/// Rounds of one poll: then other sessions have their turn.
const ROUNDS: u32 = 64;

/// What a thread lends to the session that it polls.
pub(super) struct Scratch {
    pub(super) read: Box<[u8]>,
    /// A message without its mask.
    pub(super) plain: Vec<u8>,
    pub(super) actions: Vec<Action>,
}

thread_local! {
    static SCRATCH_OF_THREAD: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; SCRATCH].into_boxed_slice(),
        plain: Vec::new(),
        actions: Vec::new(),
    });
}

type DialFuture = Pin<Box<dyn Future<Output = Result<Opened, Refused>> + Send>>;
type TurnFuture = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// A dial that is under way.
pub(super) struct Dialling {
    pub(super) epoch: Epoch,
    pub(super) shown: Option<Shown>,
    pub(super) future: DialFuture,
}

/// A session's place among those that may exchange.
pub(super) enum Turns {
    None,
    Waiting(TurnFuture),
    Mine {
        #[expect(dead_code, reason = "held for its Drop")]
        permit: OwnedSemaphorePermit,
        /// A client's own credential is not refreshed meanwhile.
        #[expect(dead_code, reason = "held for its Drop")]
        showing: Option<Showing>,
    },
}

/// What looking at a leg came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    /// It may not be read now.
    Blocked,
    /// It has nothing; it will wake the session when it has.
    Idle,
    Moved,
}

/// What the last round found.
struct Round {
    upstream: Polled,
    next: Polled,
    client: Polled,
}

/// Whose token a session uses, and how it hears of a newer one.
pub(super) struct Access {
    pub(super) lease: Lease,
    #[expect(dead_code, reason = "held for its Drop: where the credential is the client's own")]
    pub(super) news: Option<Subscription>,
}

/// What a session begins with.
pub(super) struct Beginning {
    pub(super) client: Link,
    pub(super) upstream: Link,
    pub(super) shown: Option<Shown>,
    pub(super) session: Session,
    pub(super) access: Option<Access>,
    /// Where the upstream is kept when the client goes away.
    pub(super) spot: Option<Box<Spot>>,
}

/// One session and its sockets.
pub(super) struct Driver {
    pub(super) client: Link,
    pub(super) upstream: Option<Link>,
    /// The upstream that is to replace it.
    pub(super) next: Option<Box<Link>>,
    pub(super) session: Session,
    pub(super) dial: Option<Box<Dialling>>,
    pub(super) turn: Turns,
    pub(super) route: Arc<RouteContext>,
    pub(super) access: Option<Access>,
    pub(super) spot: Option<Box<Spot>>,
    pub(super) place: Place,
    pub(super) report: Report,
    pub(super) random: fastrand::Rng,
    /// The core is done; the client may still answer a Close until then.
    pub(super) finished: Option<(Cause, Instant)>,
    /// The client's connection is gone.
    pub(super) dropped: bool,
    /// The client is owed no Close: its connection ends as the service's did, once it has all that was said.
    pub(super) wordless: bool,
    /// The client broke the protocol: what it still sends is not read as frames any more.
    pub(super) deaf: bool,
    /// Something other than passing messages has happened: the next round looks at everything.
    pub(super) stirred: bool,
    /// A deadline may have come nearer since the timer was set. Passing messages only move them away.
    pub(super) rearm: bool,
    /// The upstream of a session that is over, while it takes the last that it is owed; until then at most.
    pub(super) parting: Option<Box<(Link, Instant)>>,
    /// The code that the client's last Close carried.
    pub(super) code: Option<u16>,
    /// The one timer, and what it is set to.
    pub(super) sleep: Option<Pin<Box<Sleep>>>,
    pub(super) armed: Option<Instant>,
}

impl Driver {
    pub(super) fn new(begin: Beginning, route: Arc<RouteContext>, place: Place, now: Instant) -> Self {
        let Beginning { client, upstream, shown, session, access, spot } = begin;
        let random = fastrand::Rng::new();
        let report = Report::new(Arc::clone(&route), now);
        let mut driver = Self {
            client,
            upstream: Some(upstream),
            next: None,
            session,
            dial: None,
            turn: Turns::None,
            route,
            access,
            spot,
            place,
            report,
            random,
            finished: None,
            dropped: false,
            wordless: false,
            deaf: false,
            stirred: true,
            rearm: true,
            parting: None,
            code: None,
            sleep: None,
            armed: None,
        };
        driver.count_early(Leg::Client);
        driver.count_early(Leg::Upstream);
        let mut actions = Vec::new();
        let epoch = driver.session.epoch();
        driver.session.on_event(Event::Opened(epoch, shown), now, &mut actions);
        driver.perform(&mut actions, now);
        driver.note_expiry();
        driver
    }

    /// Gives an event to the core, and does what it wants.
    pub(super) fn event(&mut self, event: Event<'_>, now: Instant, actions: &mut Vec<Action>) {
        self.session.on_event(event, now, actions);
        self.perform(actions, now);
    }

    /// One round. After one in which messages only passed, nothing but the leg they came from can have
    /// more to give: the rest is left alone.
    fn turn_once(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
        last: &mut Round,
    ) -> bool {
        let stirred = std::mem::take(&mut self.stirred);
        let mut moved = false;
        if stirred {
            moved |= self.listen(&mut scratch.actions, now);
            moved |= self.look_at_clock(&mut scratch.actions, now);
            moved |= self.poll_dial(cx, &mut scratch.actions, now);
            moved |= self.poll_turn(cx, &mut scratch.actions, now);
            self.rearm |= moved;
        }
        // Before the old one: what it said before that one's Close is of the overlap.
        if self.next.is_some() && (stirred || last.next != Polled::Idle) {
            last.next = self.poll_side(cx, Leg::Next, scratch, now);
            moved |= last.next == Polled::Moved;
        }
        if stirred || last.upstream != Polled::Idle {
            last.upstream = self.poll_side(cx, Leg::Upstream, scratch, now);
            moved |= last.upstream == Polled::Moved;
        }
        if stirred || last.client != Polled::Idle {
            last.client = self.poll_side(cx, Leg::Client, scratch, now);
            moved |= last.client == Polled::Moved;
        }
        if self.write(cx, &mut scratch.actions, now) {
            self.stirred = true;
        }
        moved | self.stirred
    }

    fn listen(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        let said = self.place.handle.heard();
        if said & TOKEN != 0
            && let Some(token) = self.token()
        {
            self.event(Event::Token(Shown::from(&*token)), now, actions);
        }
        if said & HOPELESS != 0 {
            self.event(Event::Hopeless, now, actions);
        }
        if said & BACK != 0 {
            self.client_back(actions, now);
        }
        if said & DRAIN != 0 {
            self.event(Event::Drain, now, actions);
        }
        said != 0
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, actions: &mut Vec<Action>, now: Instant) -> bool {
        let Some(dial) = &mut self.dial else { return false };
        let Poll::Ready(result) = dial.future.as_mut().poll(cx) else { return false };
        let (epoch, shown) = (dial.epoch, dial.shown);
        self.dial = None;
        match result {
            Ok(opened) => {
                let leg = if self.session.next_epoch() == Some(epoch) {
                    self.next = Some(Box::new(opened.link));
                    Leg::Next
                } else {
                    self.upstream = Some(opened.link);
                    Leg::Upstream
                };
                self.count_early(leg);
                self.event(Event::Opened(epoch, shown), now, actions);
                self.note_expiry();
            }
            Err(refused) => {
                let failure = self.failure(&refused, shown);
                self.event(Event::DialFailed(epoch, failure), now, actions);
            }
        }
        true
    }

    /// What came with the end of a handshake has been read as well.
    fn count_early(&mut self, leg: Leg) {
        let early = self.link(leg).map_or(0, |link| link.partial.len());
        self.report.bytes(leg.direction(), early);
    }

    /// The credential whose token the session uses.
    pub(super) fn credential(&self) -> Option<&Arc<Credential>> {
        self.access.as_ref().map(|access| access.lease.credential())
    }

    /// The token that is current at this moment.
    pub(super) fn token(&self) -> Option<Arc<Token>> {
        self.credential()?.current()
    }

    fn failure(&self, refused: &Refused, shown: Option<Shown>) -> DialFailure {
        match (refused, shown) {
            (Refused::Status(status, _), Some(shown)) if matches!(status.as_u16(), 401 | 403) => {
                DialFailure::Token(shown.generation)
            }
            _ => DialFailure::Passing(refused.to_string()),
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, actions: &mut Vec<Action>, now: Instant) -> bool {
        let Turns::Waiting(future) = &mut self.turn else { return false };
        let Poll::Ready(permit) = future.as_mut().poll(cx) else { return false };
        let own = self.access.as_ref().map(|access| &access.lease).filter(|lease| lease.is_own());
        let showing = own.map(|lease| lease.credential().showing());
        self.turn = permit.map_or(Turns::None, |permit| Turns::Mine { permit, showing });
        match self.token().filter(|token| !token.is_expired(Now::read())) {
            Some(token) => self.event(Event::Turn(&token), now, actions),
            None => self.event(Event::NoTurn, now, actions),
        }
        true
    }

    /// Gives the upstream of a session that is over what it is owed, and lets it go.
    pub(super) fn part(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(parting) = &mut self.parting else { return false };
        let (upstream, until) = &mut **parting;
        let done = upstream.poll_flush(cx, now).is_ready();
        if done || *until <= now {
            let _ = upstream.poll_shutdown(cx);
            self.parting = None;
        }
        done
    }

    /// The client's connection is over, without a Close.
    pub(super) fn client_gone(&mut self, actions: &mut Vec<Action>, now: Instant) {
        self.dropped = true;
        self.event(Event::ClientClosed(None), now, actions);
    }

    /// The client that went away has come back, on another connection.
    fn client_back(&mut self, actions: &mut Vec<Action>, now: Instant) {
        let Some(link) = self.place.handle.take_returned() else { return };
        self.client = *link;
        if let Some(spot) = &mut self.spot {
            spot.leave();
        }
        self.dropped = false;
        self.deaf = false;
        self.count_early(Leg::Client);
        self.event(Event::ClientBack, now, actions);
    }

    /// Has everybody heard everything?
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.finished.is_none() || self.parting.is_some() {
            return false;
        }
        if self.dropped || self.client.owed() > 0 {
            return self.dropped;
        }
        if self.wordless {
            // The socket is not closed under what the client has yet to read: it ends its side, or is late.
            let _ = self.client.poll_shutdown(cx);
        }
        !self.wordless && self.client.close_sent && self.client.close_received
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        self.place.handle.waker.register(cx.waker());
        let mut now = clock::now();
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
        }
        // Whatever woke it, the first round looks at everything.
        self.stirred = true;
        let mut last = Round { upstream: Polled::Moved, next: Polled::Moved, client: Polled::Moved };
        for _ in 0..ROUNDS {
            let moved = self.turn_once(cx, scratch, now, &mut last);
            self.report.phase(self.session.phase(), now);
            if self.is_over(cx) {
                let _ = self.client.poll_shutdown(cx);
                return Poll::Ready(());
            }
            if !moved {
                if !self.sleep_until(cx) {
                    return Poll::Pending;
                }
                now = clock::now();
                self.stirred = true;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        SCRATCH_OF_THREAD.with_borrow_mut(|scratch| {
            let over = driver.run(cx, scratch);
            if over.is_ready() {
                driver.report.closed(driver.finished.map(|(cause, _)| cause), driver.code, clock::now());
            }
            over
        })
    }
}

/// The deadline for the client's last word.
pub(super) fn linger(now: Instant) -> Instant {
    now + LINGER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        let (driver, session, link) = (size_of::<Driver>(), size_of::<Session>(), size_of::<Link>());
        println!("driver {driver}, session {session}, link {link}");
        assert!(driver <= 1536, "driver {driver}, session {session}, link {link}");
    }
}
