//! The sessions: what the driver would tell them, and do for them.

use super::*;

impl World {
    pub(super) fn tell(&mut self, index: usize, event: Event<'_>) {
        let now = self.instant();
        let mut actions = Vec::new();
        let message = match &event {
            Event::Client(message) => Some((true, message.payload.to_vec())),
            Event::Upstream(_, message) => Some((false, message.payload.to_vec())),
            _ => None,
        };
        let was_over = self.sides[index].finished.is_some();
        let session = &mut self.sides[index].session;
        if self.forks.u8(..8) == 0 {
            // The session is a value: a copy goes on as it would.
            let copy = session.clone();
            assert!(copy == *session, "seed {}: a copy differs: {copy:?} {session:?}", self.plan.seed);
            *session = copy;
        }
        session.on_event(event, now, &mut actions);
        assert!(
            !was_over || actions.is_empty(),
            "seed {}: it acts after its end: {actions:?}",
            self.plan.seed
        );
        for (at, action) in actions.iter().enumerate() {
            assert!(*action != Action::Forward || at == 0, "seed {}: Forward stands first", self.plan.seed);
        }
        for action in actions {
            self.perform(index, action, message.as_ref());
        }
        self.arm(index);
    }

    /// Sets the timer of a session as the driver does.
    pub(super) fn arm(&mut self, index: usize) {
        let now = self.instant();
        let side = &mut self.sides[index];
        if let Some((number, at)) = side.alarm.set(side.session.deadline(), now) {
            let when = self.micros(at);
            self.at(when, Happening::Timer(index, number));
        }
    }

    pub(super) fn wakes(&mut self, index: usize, number: u64) {
        let now = self.instant();
        let side = &mut self.sides[index];
        if side.alarm.rings(number) && side.session.deadline().is_some_and(|at| at <= now) {
            self.tell(index, Event::Timer);
            let next = self.sides[index].session.deadline();
            assert!(
                next.is_none_or(|at| at > now),
                "seed {}: a timer was handled, and the next deadline has passed already",
                self.plan.seed
            );
        }
        self.arm(index);
    }

    pub(super) fn perform(&mut self, index: usize, action: Action, message: Option<&(bool, Vec<u8>)>) {
        match action {
            Action::Forward => {
                let (up, bytes) = message.unwrap();
                let value = serde_json::from_slice(bytes).unwrap();
                if *up { self.send_up(index, value) } else { self.show(index, &value) }
            }
            Action::ToClient(payload) => self.show(index, &serde_json::from_slice(&payload.bytes).unwrap()),
            Action::ToUpstream(_, payload) => {
                self.send_up(index, serde_json::from_slice(&payload.bytes).unwrap())
            }
            Action::Dial(epoch) => self.dial(index, epoch),
            Action::HangUp(epoch) => {
                let side = &mut self.sides[index];
                side.dial = side.dial.filter(|dial| *dial != epoch);
                let of_epoch = |tid: &mut Tid| self.routes.get(tid).is_some_and(|(_, of)| *of == epoch);
                if let Some(tid) = side.transport.take_if(of_epoch) {
                    // What was written before may still arrive, or not.
                    let delay = self.random.u64(..20_000);
                    self.after(delay, Happening::Cut(tid));
                }
            }
            Action::CloseUpstream(..) | Action::DropClient => {}
            Action::PingUpstream(..) | Action::PingClient(_) | Action::Park | Action::Fetch(..) => {
                unreachable!("Ably's connections are not swapped")
            }
            Action::CloseClient(close) => self.sides[index].client.closed = Some(close.code.unwrap_or(1005)),
            Action::Demand(demand) => {
                self.keep(keeper::Event::Demanded { rejected: demand.rejected, trigger: Trigger::Expiry });
            }
            Action::AskTurn => {
                self.turns += 1;
                let turn = self.turns;
                self.sides[index].turn = Some(turn);
                let delay = self.random.u64(..30_000);
                self.after(delay, Happening::Turn(index, turn));
            }
            Action::EndTurn => self.sides[index].turn = None,
            Action::Note(Note::Reauthenticated { .. }) => self.tally.exchanges += 1,
            Action::Note(note) => self.say(|| format!("session {index}: {note:?}")),
            Action::Finished(cause) => self.sides[index].finished = Some(cause),
        }
    }

    pub(super) fn show(&mut self, index: usize, message: &Value) {
        let client = &mut self.sides[index].client;
        client.receive(message);
        assert!(client.wrong.is_empty(), "seed {}: client {index} saw {:?}", self.plan.seed, client.wrong);
    }
}
