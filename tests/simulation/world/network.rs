//! The network between sessions and the service.

use super::*;

impl World {
    pub(super) fn dial(&mut self, index: usize, epoch: Epoch) {
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

    pub(super) fn dial_arrives(&mut self, index: usize, epoch: Epoch, tid: Tid, target: &str, shown: Shown) {
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

    pub(super) fn watch_expiry(&mut self, tid: Tid) {
        if let Some((expires, auths)) = self.service.expiry(tid) {
            let hint = expires.saturating_sub(self.plan.lifetime.as_micros() as u64 / 6);
            self.at(hint, Happening::Hint(tid, auths));
            self.at(expires, Happening::Expires(tid, auths));
        }
    }

    pub(super) fn send_up(&mut self, index: usize, message: Value) {
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

    pub(super) fn send_down(&mut self, out: Vec<Out>) {
        for Out { delay, to, what } in out {
            let floor = self.down_until.get(&to).copied().unwrap_or(0);
            let when = (self.now + delay + 200 + self.random.u64(..3_000)).max(floor);
            self.down_until.insert(to, when);
            self.at(when, Happening::ToSidecar(to, what));
        }
    }

    /// Rule 3 is put to the test here: words of connections that were given up arrive all the same.
    pub(super) fn arrives(&mut self, tid: Tid, what: Option<&Value>) {
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

    pub(super) fn cut(&mut self, tid: Tid) {
        if self.service.cut(tid)
            && let Some((index, epoch)) = self.routes.get(&tid).copied()
        {
            self.tell(index, Event::UpstreamClosed(epoch, None, "reset"));
        }
    }
}
