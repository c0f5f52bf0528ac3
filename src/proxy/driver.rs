//! The driver: the one loop that turns readiness into events, and actions into IO.
//!
//! ```text
//!   poll: 1 what others said   (a newer token, drain)
//!         2 the core's deadline
//!         3 the dial, the turn
//!         4 the service's bytes (of the next connection, of the one that serves)
//!         5 the client's bytes
//!         6 the legs' deadlines
//!         7 what is to be written          … until nothing moves
//! ```
//!
//! Rules:
//! 1. It is a future by hand, not an async function: what it keeps between polls is what an idle session
//!    costs, and all of it can be seen in the struct.
//! 2. It decides nothing: what happened is said to the core, and what the core wants is performed.
//! 3. One poll has an end, [`WORK`]: other sessions have their turn, too, whatever a peer sends.
//! 4. The driver compares deadlines when it has nothing to do; nothing has to say that one has changed.
//! 5. What a thread lends is as good as new at the start of each poll: a panic in one session ends that one.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Sleep;

use super::{
    dialling::{Dialling, Turns},
    leg::{Leg, Upstream},
    opening::Access,
    outside::Values,
    parking::Spot,
    parting::Parting,
    report::Report,
    route::RouteContext,
    sessions::{BACK, CLOSE, DRAIN, DROP, EXPIRE, HOPELESS, Place, REAUTHENTICATE, THERE, TOKEN, VALUE},
};
use crate::{
    clock::{self, Instant},
    net::link::Link,
    session::{Action, Cause, Event, Phase, Rehearsal, Session},
};

/// Bytes read at once; one buffer for each thread, not for each session.
const SCRATCH: usize = 64 * 1024;
/// What one poll may do: bytes that were read, and what the frames and rounds cost besides.
const WORK: usize = 256 * 1024;
/// What a control frame costs, in bytes of a message that are as much work.
pub(super) const CONTROL: usize = 64;
/// And a round.
const ROUND: usize = 1024;

/// What a thread lends to the session that it polls.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) read: Box<[u8]>,
    /// A message without its mask.
    pub(super) plain: Vec<u8>,
    pub(super) actions: Vec<Action>,
}

impl Scratch {
    /// Rule 5: the session before this one may have ended in the middle.
    fn renew(&mut self) {
        self.actions.clear();
        if self.read.len() != SCRATCH {
            self.read = vec![0; SCRATCH].into_boxed_slice();
        }
    }
}

thread_local! {
    static SCRATCH_OF_THREAD: RefCell<Scratch> = RefCell::default();
}

/// One session and its sockets.
pub(super) struct Driver {
    pub(super) client: Link,
    pub(super) upstream: Option<Upstream>,
    /// The upstream that is to replace it.
    pub(super) next: Option<Box<Upstream>>,
    pub(super) session: Session,
    pub(super) dial: Option<Box<Dialling>>,
    pub(super) turn: Turns,
    pub(super) route: Arc<RouteContext>,
    pub(super) access: Option<Access>,
    /// What its messages take from outside.
    pub(super) values: Option<Box<Values>>,
    pub(super) spot: Option<Box<Spot>>,
    pub(super) place: Place,
    pub(super) report: Report,
    pub(super) random: fastrand::Rng,
    /// The core is done; the client may still answer a Close until then.
    pub(super) finished: Option<(Cause, Instant)>,
    /// The client's connection is gone.
    pub(super) dropped: bool,
    /// The client gets no Close: its connection ends as the service's did, once it has all that was said.
    pub(super) wordless: bool,
    /// The client broke the protocol: what it still sends is not read as frames any more.
    pub(super) deaf: bool,
    /// The upstream connection that was told to end last.
    pub(super) parting: Option<Box<Parting>>,
    /// The code that the client's last Close carried.
    pub(super) code: Option<u16>,
    /// What this poll has done so far ([`WORK`]).
    pub(super) work: usize,
    /// The one timer, and what it is set to.
    pub(super) sleep: Option<Pin<Box<Sleep>>>,
    pub(super) armed: Option<Instant>,
}

impl Driver {
    /// Gives an event to the core, and does what it wants.
    pub(super) fn event(&mut self, event: Event<'_>, now: Instant, actions: &mut Vec<Action>) {
        self.session.on_event(event, now, actions);
        self.perform(actions, now);
    }

    /// One round: has anything moved?
    fn round(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, now: Instant) -> bool {
        let mut moved = self.listen(&mut scratch.actions, now);
        moved |= self.look_at_clock(&mut scratch.actions, now);
        moved |= self.poll_dial(cx, &mut scratch.actions, now);
        moved |= self.poll_turn(cx, &mut scratch.actions, now);
        moved |= self.values.is_some() && self.poll_values(cx, &mut scratch.actions, now);
        // Before the old one: what it said before that one's Close is of the overlap.
        moved |= self.next.is_some() && self.poll_side(cx, Leg::Next, scratch, now);
        moved |= self.poll_side(cx, Leg::Upstream, scratch, now);
        moved |= self.poll_side(cx, Leg::Client, scratch, now);
        moved |= self.look_at_legs(&mut scratch.actions, now);
        moved |= self.write(cx, &mut scratch.actions, now);
        self.part(cx, scratch, now) | moved
    }

    /// Tells the core what others said meanwhile.
    fn listen(&mut self, actions: &mut Vec<Action>, now: Instant) -> bool {
        let said = self.place.handle.heard();
        if said & TOKEN != 0
            && let Some(token) = self.token()
        {
            self.event(Event::Token(&token), now, actions);
        }
        if said & VALUE != 0 {
            self.newer_values(actions, now);
        }
        if said & HOPELESS != 0 {
            self.event(Event::Hopeless, now, actions);
        }
        if said & BACK != 0 {
            self.client_back(actions, now);
        }
        if said & THERE != 0 {
            self.ask_client(now);
        }
        if said & (REAUTHENTICATE | DROP | EXPIRE) != 0 {
            self.practise(said, actions, now);
        }
        if said & DRAIN != 0 {
            self.event(Event::Shutdown, now, actions);
        }
        if said & CLOSE != 0 {
            self.event(Event::Closed, now, actions);
        }
        said != 0
    }

    /// An operator practises; a session that is not live has its own troubles.
    fn practise(&mut self, said: u16, actions: &mut Vec<Action>, now: Instant) {
        for (flag, what) in [(REAUTHENTICATE, Rehearsal::Reauthenticate), (EXPIRE, Rehearsal::Expire)] {
            if said & flag != 0 {
                self.event(Event::Rehearsal(what), now, actions);
            }
        }
        if said & DROP != 0 && self.session.phase() == Phase::Live {
            let epoch = self.epoch(Leg::Upstream);
            self.upstream_gone(epoch, None, "an operator dropped it", actions, now);
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        self.place.handle.waker.register(cx.waker());
        let mut now = clock::now();
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
        }
        self.work = 0;
        while self.work < WORK {
            let moved = self.round(cx, scratch, now);
            self.work += ROUND;
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
            scratch.renew();
            let over = driver.run(cx, scratch);
            if over.is_ready() {
                driver.report.closed(driver.finished.map(|(cause, _)| cause), driver.code, clock::now());
            }
            over
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        let (driver, session, link) = (size_of::<Driver>(), size_of::<Session>(), size_of::<Link>());
        println!("driver {driver}, session {session}, link {link}");
        // A tenth of it is what is known of the two peers' life.
        assert!(driver <= 1600, "driver {driver}, session {session}, link {link}");
    }
}
