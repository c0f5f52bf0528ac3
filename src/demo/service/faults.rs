//! What a test can order: everything that goes wrong with a service, when the test says so.
//!
//! An order is either *now* (`reset`, `silence`, `hint`, `expire`, …), for one connection or all, or
//! stands *for the next N* of its kind, no matter who comes (`refuse_handshakes`, `swallow_auths`, …).

use std::{collections::VecDeque, time::Duration};

use super::{connection::TransportId, hub::Shared, transport::Control};

/// Whom an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every live transport.
    All,
    /// The live transport of this connection.
    Connection(String),
}

/// How a transport is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A TCP reset: what is on its way is lost.
    Reset,
    /// The TCP connection ends, without a WebSocket close.
    Drop,
    /// A WebSocket close with this code.
    Close(u16),
}

/// How an AUTH is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The error's code.
    pub code: u64,
    /// The error's status.
    pub status: u64,
    /// With a DISCONNECTED? Else with an ERROR.
    pub disconnected: bool,
}

/// How the token endpoint fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFault {
    /// It answers this status, with an empty body.
    Status(u16),
    /// It answers this status, with `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// It answers 200 with this body.
    Body(String),
    /// It answers, but this much later.
    Delay(Duration),
    /// It takes the request and never answers.
    Hang,
}

/// The orders that stand.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) refuse: VecDeque<u16>,
    pub(super) swallow_auths: usize,
    pub(super) refuse_auths: VecDeque<Refusal>,
    pub(super) delay_auths: VecDeque<Duration>,
    pub(super) hold_acks: bool,
    pub(super) cut_before_ack: usize,
    pub(super) forget_resumes: usize,
    pub(super) token: VecDeque<TokenFault>,
    pub(super) periodic_reset: Option<Duration>,
    /// Tells the timer of an older period from that of this one.
    pub(super) period: u64,
}

/// Gives orders.
#[derive(Clone)]
pub struct Faults {
    pub(super) shared: Shared,
}

impl Faults {
    /// Ends transports now.
    pub fn cut(&self, target: &Target, cut: Cut) {
        self.each(target, |hub, id| hub.cut(id, cut));
    }

    /// Resets all transports now.
    pub fn reset(&self) {
        self.cut(&Target::All, Cut::Reset);
    }

    /// Neither reads nor writes any more on these transports; they stay open.
    pub fn silence(&self, target: &Target) {
        self.each(target, |hub, id| hub.order(id, Control::Silence));
    }

    /// Reads and writes again on transports that were silenced.
    pub fn speak(&self, target: &Target) {
        self.each(target, |hub, id| hub.order(id, Control::Speak));
    }

    /// Answers the next `attempts` handshakes with this HTTP status.
    pub fn refuse_handshakes(&self, attempts: usize, status: u16) {
        self.stand(|s| s.refuse.extend(std::iter::repeat_n(status, attempts)));
    }

    /// Leaves the next `count` AUTHs without answer or effect.
    pub fn swallow_auths(&self, count: usize) {
        self.stand(|s| s.swallow_auths += count);
    }

    /// Refuses the next `count` AUTHs, whatever they carry, and ends their transports.
    pub fn refuse_auths(&self, count: usize, refusal: Refusal) {
        self.stand(|s| s.refuse_auths.extend(std::iter::repeat_n(refusal, count)));
    }

    /// Answers the next `count` AUTHs this late, in place of `auth_delay`.
    pub fn delay_auths(&self, count: usize, delay: Duration) {
        self.stand(|s| s.delay_auths.extend(std::iter::repeat_n(delay, count)));
    }

    /// Accepts publishes, but does not acknowledge them until `release_acks`.
    pub fn hold_acks(&self) {
        self.stand(|s| s.hold_acks = true);
    }

    /// Acknowledges what was held, in as few ACKs as it takes.
    pub fn release_acks(&self) {
        let mut hub = self.shared.lock();
        hub.standing.hold_acks = false;
        for id in hub.transport_ids() {
            hub.flush_acks(id);
        }
    }

    /// Accepts each of the next `count` publishes, then resets its transport before the ACK is sent.
    pub fn cut_before_ack(&self, count: usize) {
        self.stand(|s| s.cut_before_ack += count);
    }

    /// Answers the next `count` resumes as if their connections were unknown.
    pub fn forget_resumes(&self, count: usize) {
        self.stand(|s| s.forget_resumes += count);
    }

    /// Asks for re-authentication now.
    pub fn hint(&self, target: &Target) {
        self.each(target, |hub, id| hub.hint(id));
    }

    /// Ends the tokens of these connections now, before their time; with `Target::All` also all that
    /// were issued and are not in use.
    pub fn expire(&self, target: &Target) {
        if *target == Target::All {
            self.shared.lock().issuer.revoke_issued();
        }
        self.each(target, |hub, id| hub.revoke(id));
    }

    /// The next requests for a token fail like this, in this order.
    pub fn token_endpoint(&self, faults: impl IntoIterator<Item = TokenFault>) {
        self.stand(|s| s.token.extend(faults));
    }

    /// Resets all transports this often from now on; `None` ends it.
    pub fn periodic_reset(&self, period: Option<Duration>) {
        self.shared.lock().start_periodic_reset(period);
    }

    /// Ends a channel for all who are attached to it, with this error; they stay connected.
    pub fn fail_channel(&self, channel: &str, code: u64, status: u64) {
        self.shared.lock().fail_channel(channel, code, status);
    }

    /// Forgets what a channel remembers: who attaches again finds a gap.
    pub fn forget_history(&self, channel: &str) {
        self.shared.lock().forget_history(channel);
    }

    /// Withdraws all that stands.
    pub fn clear(&self) {
        self.stand(|s| *s = Standing { period: s.period + 1, ..Standing::default() });
        self.release_acks();
    }

    fn stand(&self, order: impl FnOnce(&mut Standing)) {
        order(&mut self.shared.lock().standing);
    }

    fn each(&self, target: &Target, act: impl Fn(&mut super::hub::Hub, TransportId)) {
        let mut hub = self.shared.lock();
        let ids = match target {
            Target::All => hub.transport_ids(),
            Target::Connection(id) => hub.transport_of(id).into_iter().collect(),
        };
        for id in ids {
            act(&mut hub, id);
        }
    }
}
