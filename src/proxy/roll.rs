//! The roll of a route's sessions: what an operator is shown of each, and how one is picked out by its name.
//!
//! A roll is called without holding anybody up: the lock is held to copy pointers, and each session is looked at when its
//! line is asked for. So two lines may be of moments that differ by a little.

use std::{collections::HashSet, str::FromStr, sync::Arc, time::Duration};

use super::{
    caller::SessionId,
    sessions::{CLOSE, Handle, Sessions},
};
use crate::{clock::Instant, net::Peer, telemetry::SessionState};

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its name in the log.
    pub session: String,
    /// Where its client first connected from.
    pub client: Peer,
    /// The name of its credential, if it has one.
    pub credential: Option<Arc<str>>,
    pub age: Duration,
    /// Of the token that the upstream was last authenticated with; 0 for none.
    pub generation: u64,
    pub state: SessionState,
    /// Bytes held, in both directions.
    pub held_bytes: u64,
    /// How long its client's messages have been held, if they are.
    pub held_for: Option<Duration>,
}

/// Which sessions are meant.
#[derive(Debug, Clone, Copy)]
pub enum Meant<'a> {
    /// The one of this name.
    Session(&'a str),
    /// All of the credential of this name.
    Credential(&'a str),
}

impl Sessions {
    /// Each session that is there now.
    pub fn roll(self: &Arc<Self>, now: Instant) -> impl ExactSizeIterator<Item = Present> + Send + use<> {
        let sessions = Arc::clone(self);
        self.all().into_iter().map(move |handle| sessions.present(&handle, now))
    }

    /// How many sessions are on these credentials.
    pub fn on(&self, credentials: &HashSet<&str>) -> usize {
        let is_on = |handle: &&Arc<Handle>| {
            handle.credential.as_deref().is_some_and(|name| credentials.contains(name))
        };
        self.all().iter().filter(is_on).count()
    }

    /// Closes the sessions that are meant; how many.
    pub fn close(&self, meant: Meant<'_>) -> usize {
        let is_meant: Box<dyn Fn(&Handle) -> bool + '_> = match meant {
            Meant::Session(name) => {
                let Ok(wanted) = SessionId::from_str(name) else { return 0 };
                Box::new(move |handle| handle.caller.session == wanted)
            }
            Meant::Credential(name) => Box::new(move |handle| handle.credential.as_deref() == Some(name)),
        };
        self.all().iter().filter(|handle| is_meant(handle)).map(|handle| handle.say(CLOSE)).count()
    }

    fn present(&self, handle: &Handle, now: Instant) -> Present {
        use std::sync::atomic::Ordering::Relaxed;
        Present {
            session: handle.caller.session.to_string(),
            client: handle.caller.client,
            credential: handle.credential.clone(),
            age: now.saturating_duration_since(handle.opened),
            generation: handle.generation.load(Relaxed),
            state: handle.state(),
            held_bytes: handle.held.load(Relaxed),
            held_for: self.holds_for(handle, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{
        clock,
        proxy::{Crowd, Places, caller::Caller, places::Permit},
    };

    fn sessions(credentials: &[&str]) -> (Arc<Sessions>, Vec<super::super::sessions::Place>) {
        let sessions = Arc::<Sessions>::default();
        let (places, crowd) = (Arc::<Places>::default(), Arc::<Crowd>::default());
        let client = Peer::from(SocketAddr::from(([10, 0, 0, 7], 4711)));
        let enter = |name: &&str| {
            let permit = Permit(places.take(100).unwrap(), crowd.enter(client.ip(), None).unwrap());
            sessions.enter(Handle::new(Caller::new(client), Some((*name).into()), clock::now()), permit)
        };
        let places = credentials.iter().map(enter).collect();
        (sessions, places)
    }

    #[test]
    fn the_one_that_is_named_is_closed_and_no_other() {
        let (sessions, places) = sessions(&["aa", "aa", "bb"]);
        let told = || places.iter().map(|place| place.handle.heard() == CLOSE).collect::<Vec<_>>();
        let roll: Vec<Present> = sessions.roll(clock::now()).collect();
        assert_eq!(roll.len(), 3);
        assert_eq!(sessions.close(Meant::Session(&roll[1].session)), 1);
        assert_eq!(told(), [false, true, false]);
        for nobody in ["", "aa", "ffffffffff", "+1234567", "ABCDEFGH"] {
            assert_eq!(sessions.close(Meant::Session(nobody)), 0, "{nobody}");
        }
        assert_eq!(sessions.close(Meant::Credential("aa")), 2);
        assert_eq!(told(), [true, true, false]);
        assert_eq!(sessions.close(Meant::Credential("cc")), 0);
        drop(places);
        assert_eq!((sessions.close(Meant::Credential("bb")), sessions.roll(clock::now()).len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_waits_with_is_on_the_roll() {
        let (sessions, places) = sessions(&["aa"]);
        let [place] = &places[..] else { panic!("one") };
        let began = clock::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        let held = clock::now();
        place.handle.held.store(300, std::sync::atomic::Ordering::Relaxed);
        place.handle.holds_since.store(sessions.stamp(held), std::sync::atomic::Ordering::Relaxed);
        place.handle.set_state(SessionState::Resuming);
        tokio::time::advance(Duration::from_secs(2)).await;
        let now = clock::now();
        let roll: Vec<Present> = sessions.roll(now).collect();
        let expected = Present {
            session: place.handle.caller.session.to_string(),
            client: SocketAddr::from(([10, 0, 0, 7], 4711)).into(),
            credential: Some("aa".into()),
            age: now - began,
            generation: 0,
            state: SessionState::Resuming,
            held_bytes: 300,
            held_for: Some(Duration::from_secs(2)),
        };
        assert_eq!(roll, [expected]);
    }
}
