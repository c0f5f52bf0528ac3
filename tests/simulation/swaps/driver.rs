//! The sidecar's driver: what it tells the core, and does for it.

use super::*;

impl World {
    pub(super) fn tell(&mut self, event: Event<'_>, said: Option<(Direction, u64)>) {
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
    pub(super) fn arm(&mut self) {
        let now = self.instant();
        if let Some((number, at)) = self.alarm.set(self.session.deadline(), now) {
            // A microsecond later, because instants are rounded down here.
            let at = (at - self.begun.mono).as_micros() as u64 + 1;
            self.at(at.max(self.now), Happening::Wake(number));
        }
    }

    pub(super) fn perform(&mut self, action: Action, said: Option<(Direction, u64)>) {
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
            Action::EndTurn
            | Action::Park
            | Action::CloseClient(_)
            | Action::DropClient
            | Action::Fetch(..) => {}
        }
    }

    /// The connection of this epoch, if it is open.
    pub(super) fn of(&self, epoch: Epoch) -> Option<u32> {
        [self.upstream, self.next].into_iter().flatten().find(|id| self.connections[id].epoch == epoch)
    }

    pub(super) fn hang_up(&mut self, epoch: Epoch) {
        self.dial = self.dial.filter(|id| self.connections[id].epoch != epoch);
        let Some(id) = self.of(epoch) else { return };
        // What was written before still arrives; the end of it is a Close, unless one was said.
        if !self.connections[&id].told && !self.connections[&id].cut {
            self.send_up(id, Said::Close(1000));
        }
        self.disconnect(id);
    }

    /// As in the driver, the next connection stands in the place of one that is gone.
    pub(super) fn disconnect(&mut self, id: u32) {
        let next = self.next.take().filter(|next| *next != id);
        if self.upstream == Some(id) {
            self.upstream = next;
        } else {
            self.next = next;
        }
    }

    pub(super) fn note(&mut self, note: &Note) {
        match note {
            Note::Reauthenticated { .. } => self.tally.swaps += 1,
            Note::Gap => self.tally.doubts += 1,
            Note::Overlapped { kept: true } => self.tally.kept += 1,
            Note::Overlapped { kept: false } => self.tally.discarded += 1,
            _ => {}
        }
    }
}
