//! What an operator asks for, beside looking.
//!
//! | request | what is done |
//! |---|---|
//! | GET `/sessions.json?route=R` | every session is listed |
//! | POST `/close?session=ID`, `/close?credential=NAME&route=R` | one session is closed, or all of a credential |
//! | POST `/reload` | the configuration is read again, and how that came out is told |
//! | POST `/rehearse/ACTION?route=R&sessions=N` | sessions practise |
//!
//! Rules:
//! 1. One guard stands before all of them ([`operator::check`]): addresses of clients are no more for everybody than an
//!    action is.
//! 2. A long list is written in parts, and others have their turn between two of them.

use http::{Method, Response, request::Parts};
use serde::Serialize;

use super::{
    AdminState, Denied, Listing, Whom,
    answer::{Body, only, refused, typed},
    operator,
};
use crate::net::Peer;

/// Sessions of one part of a list.
const PART: usize = 256;
/// More are not listed: a client of this port reads no longer answer.
const LISTED: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action<'p> {
    Sessions,
    Close,
    Reload,
    Rehearse(&'p str),
}

impl<'p> Action<'p> {
    /// The action of a path; `None`: it is of none.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        match path {
            "/sessions.json" => Some(Self::Sessions),
            "/close" => Some(Self::Close),
            "/reload" => Some(Self::Reload),
            _ => path.strip_prefix("/rehearse/").map(Self::Rehearse),
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Sessions => Method::GET,
            Self::Close | Self::Reload | Self::Rehearse(_) => Method::POST,
        }
    }
}

/// Answers it.
pub(super) async fn answer(
    action: Action<'_>,
    request: &Parts,
    peer: Peer,
    state: &dyn AdminState,
) -> Response<Body> {
    if request.method != action.method() {
        return only(if action.method() == Method::GET { "GET" } else { "POST" });
    }
    let done = match operator::check(&request.headers, &peer, state.operator_secret().as_ref()) {
        Ok(()) => perform(action, request, state).await,
        Err(denied) => Err(denied),
    };
    done.map_or_else(|denied| refused(&denied), |body| typed("application/json", body))
}

async fn perform(action: Action<'_>, request: &Parts, state: &dyn AdminState) -> Result<Vec<u8>, Denied> {
    let query = request.uri.query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let route = value("route");
    match action {
        Action::Sessions => Ok(listed(state.sessions(route.as_deref())?).await),
        Action::Close => match (value("session"), value("credential")) {
            (Some(session), None) => state.close(Whom::Session(&session)).map(|done| json(&done)),
            (None, Some(credential)) => {
                let whom = Whom::Credential { name: &credential, route: route.as_deref() };
                state.close(whom).map(|done| json(&done))
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(Denied::Bad("name a session, or a credential: ?session=ID or ?credential=NAME".into()))
            }
        },
        Action::Reload => {
            let done = state.reload()?.await;
            let done = done.map_err(|_| Denied::Forbidden("not reloaded: the sidecar ends".to_owned()))?;
            Ok(json(&done))
        }
        Action::Rehearse(what) => {
            let sessions = value("sessions").unwrap_or_else(|| "1".to_owned());
            state.rehearse(what, route.as_deref(), &sessions).map(|done| json(&done))
        }
    }
}

fn json(done: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(done).unwrap_or_default()
}

/// [`super::done::Listed`], in parts (rule 2).
async fn listed(Listing { total, sessions }: Listing) -> Vec<u8> {
    let mut text = format!("{{\"total\":{total},\"sessions\":[").into_bytes();
    for (nth, session) in sessions.take(LISTED).enumerate() {
        if nth > 0 {
            text.push(b',');
        }
        text.extend(json(&session));
        if nth % PART == PART - 1 {
            tokio::task::yield_now().await;
        }
    }
    text.extend_from_slice(b"]}");
    text
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;
    use crate::admin::done::{Listed, SessionStatus};

    #[tokio::test]
    async fn a_long_list_is_cut_and_lets_others_have_their_turn() {
        for (total, shown, turns) in [(0, 0, 0), (1, 1, 0), (1_000, 1_000, 3), (12_000, 10_000, 39)] {
            let sessions =
                (0..total).map(|nth| SessionStatus { generation: nth, ..SessionStatus::default() });
            let total = usize::try_from(total).unwrap();
            let mut list = pin!(listed(Listing { total, sessions: Box::new(sessions) }));
            let mut waits = 0;
            let text = loop {
                match poll!(&mut list) {
                    std::task::Poll::Ready(text) => break text,
                    std::task::Poll::Pending => waits += 1,
                }
            };
            let listed: Listed = serde_json::from_slice(&text).unwrap();
            let generations: Vec<u64> = listed.sessions.iter().map(|one| one.generation).collect();
            assert_eq!((listed.total, generations), (total, (0..shown).collect()));
            assert_eq!(waits, turns, "{total}");
        }
    }
}
