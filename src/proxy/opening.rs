//! How a session begins: with two connections that stand, and with whose token.
//!
//! Rules:
//! 1. What came with the end of a handshake has been read: it counts as bytes, and goes the way of all others.
//! 2. The first that the core hears is that the upstream is open, and which token it was shown.
//! 3. A token is read from its credential at the moment it is used; nobody keeps a copy.

use std::sync::Arc;

use super::{
    dialling::Turns,
    driver::Driver,
    leg::{Leg, Upstream},
    outside::Values,
    parking::Spot,
    report::Report,
    route::RouteContext,
    sessions::Place,
};
use crate::{
    clock::Instant,
    credential::{Credential, Lease, Subscription, Token},
    net::link::Link,
    session::{Epoch, Event, Session, Shown},
};

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
    pub(super) values: Option<Box<Values>>,
    /// Where the upstream is kept when the client goes away.
    pub(super) spot: Option<Box<Spot>>,
}

impl Driver {
    pub(super) fn new(begin: Beginning, route: Arc<RouteContext>, place: Place, now: Instant) -> Self {
        let Beginning { client, upstream, shown, session, access, values, spot } = begin;
        let random = fastrand::Rng::new();
        let report = Report::new(Arc::clone(&route), Arc::clone(&place.handle), now);
        let epoch = Epoch::FIRST;
        let mut driver = Self {
            client,
            upstream: None,
            next: None,
            session,
            dial: None,
            turn: Turns::None,
            route,
            access,
            values,
            spot,
            place,
            report,
            random,
            finished: None,
            dropped: false,
            wordless: false,
            deaf: false,
            work: 0,
            parting: None,
            code: None,
            sleep: None,
            armed: None,
        };
        driver.connect(Upstream { epoch, link: upstream });
        driver.count_early(Leg::Client);
        driver.count_early(Leg::Upstream);
        let mut actions = Vec::new();
        driver.session.on_event(Event::Opened(epoch, shown), now, &mut actions);
        driver.perform(&mut actions, now);
        driver.note_expiry();
        driver
    }

    /// What came with the end of a handshake has been read as well.
    pub(super) fn count_early(&mut self, leg: Leg) {
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
}
