//! The sessions of all routes, for an operator: who is there, and who has to leave.

use super::state::State;
use crate::{
    admin::{
        Denied, Listing, Whom,
        done::{Closed, SessionStatus},
    },
    clock,
    proxy::{Meant, Present},
};

impl State {
    pub(super) fn list(&self, route: Option<&str>) -> Result<Listing, Denied> {
        let now = clock::now();
        let rolls: Vec<_> = self
            .named(route)?
            .into_iter()
            .map(|context| {
                let route = context.route.name.clone();
                (context.sessions.roll(now), route)
            })
            .collect();
        let total = rolls.iter().map(|(roll, _)| roll.len()).sum();
        let sessions = rolls.into_iter().flat_map(|(roll, route)| roll.map(move |one| shown(one, &route)));
        Ok(Listing { total, sessions: Box::new(sessions) })
    }

    pub(super) fn close_sessions(&self, whom: Whom<'_>) -> Result<Closed, Denied> {
        let (meant, route) = match whom {
            Whom::Session(name) => (Meant::Session(name), None),
            Whom::Credential { name, route } => (Meant::Credential(name), route),
        };
        let sessions: usize = self.named(route)?.iter().map(|context| context.sessions.close(meant)).sum();
        let (session, credential, none) = match whom {
            Whom::Session(name) => {
                (Some(name), None, "there is no such session; `perennial sessions` lists them")
            }
            Whom::Credential { name, .. } => (
                None,
                Some(name),
                "no session is on such a credential; `perennial sessions` shows whose they are",
            ),
        };
        if sessions == 0 {
            return Err(Denied::Unknown(none.to_owned()));
        }
        tracing::warn!(session, credential, route, sessions, "closed by an operator");
        Ok(Closed { sessions })
    }
}

fn shown(one: Present, route: &str) -> SessionStatus {
    let Present { session, client, credential, age, generation, state, held_bytes, held_for } = one;
    SessionStatus {
        session,
        client: client.to_string(),
        route: route.to_owned(),
        credential: credential.map(|name| name.to_string()),
        age: age.as_secs_f64(),
        generation,
        state: state.to_string(),
        held_bytes,
        held_for: held_for.map(|held| held.as_secs_f64()),
    }
}
