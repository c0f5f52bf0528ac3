//! The keeper's side: what happens is told to it, what it wants is done.

use super::*;

impl World {
    pub(super) fn keep(&mut self, event: keeper::Event) {
        let mut actions = Vec::new();
        self.keeper.on_event(event, self.clocks(), &mut actions);
        self.keeper_acts(actions);
    }

    pub(super) fn keeper_acts(&mut self, actions: Vec<keeper::Action>) {
        for action in actions {
            match action {
                keeper::Action::Fetch { ticket, .. } => {
                    self.tally.fetches += 1;
                    let stormy = self.plan.faults.is_some();
                    let slow = if stormy && self.random.u8(..20) == 0 { 3_000_000 } else { 50_000 };
                    let delay = 1_000 + self.random.u64(..slow);
                    let result = if self.endpoint_down {
                        Err(FetchFailure::passing("down"))
                    } else {
                        Ok(String::new())
                    };
                    self.after(delay, Happening::Fetched(ticket, result));
                }
                keeper::Action::Publish(token) => self.publish_token(token),
                keeper::Action::Hopeless => {}
                keeper::Action::Report(report) => self.say(|| format!("{report:?}")),
            }
        }
        self.keeper_armed = self.keeper.deadline();
        if let Some(at) = self.keeper_armed {
            let when = self.micros(at);
            self.at(when, Happening::Keeper);
        }
    }

    pub(super) fn fetched(&mut self, ticket: u64, result: Result<String, FetchFailure>) {
        let event = match result {
            Err(failure) => keeper::Event::Failed { ticket, failure },
            Ok(_) => {
                // The service counts from the answer; the keeper from the question, and may not know how long.
                let lifetime = self.plan.lifetime;
                let text = self.service.issue(self.now + lifetime.as_micros() as u64);
                keeper::Event::Fetched {
                    ticket,
                    fetched: Fetched {
                        text: text.into(),
                        life: Life::For(lifetime),
                        provenance: keeper::Provenance::default(),
                    },
                }
            }
        };
        self.keep(event);
    }

    pub(super) fn publish_token(&mut self, token: Token) {
        let now = self.clocks();
        assert!(!token.is_expired(now), "seed {}: a dead token was published", self.plan.seed);
        if let Some(old) = &self.current {
            assert!(old.generation <= token.generation, "seed {}: generations go back", self.plan.seed);
        }
        self.tally.generations = token.generation.0;
        let token = Arc::new(token);
        self.current = Some(Arc::clone(&token));
        for index in 0..self.sides.len() {
            self.tell(index, Event::Token(&token));
        }
    }
}
