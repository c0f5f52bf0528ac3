//! What clients do, and what goes wrong.

use super::*;

impl World {
    pub(super) fn acts(&mut self, index: usize) {
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

    pub(super) fn give(&mut self, index: usize, message: &Value) {
        self.sides[index].published += 1;
        let bytes = message.to_string();
        self.tell(index, Event::Client(Message { kind: Kind::Text, payload: bytes.as_bytes() }));
    }

    pub(super) fn fault(&mut self) {
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
}
