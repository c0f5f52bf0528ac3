//! An authorization server that rotates its refresh tokens, played in memory: for tests of what asks it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Asking, Issued, Rotated, SourceError};
use crate::{
    clock::{self, Instant},
    credential::keeper::Life,
};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::credential) enum Fault {
    /// It is answered, and the answer is lost.
    AnswerLost,
    /// It is lost itself.
    RequestLost,
    /// 503.
    Busy,
    /// It is answered when the test says so.
    Held,
    /// It is answered, and the answer is of no use, but for the refresh token in it.
    Useless,
}

/// The server, and what the configuration of the one who asks says.
#[derive(Clone)]
pub struct Played(Arc<Inner>);

struct Inner {
    server: Mutex<Server>,
    /// Lets a held request go on.
    go: Semaphore,
    /// Requests that are held.
    arrived: Semaphore,
}

struct Server {
    /// What the operator wrote down.
    configured: String,
    scope: String,
    /// The number of the newest refresh token, "r0" to begin with.
    newest: u64,
    rotated: Option<Instant>,
    /// How long the one before is still taken.
    grace: Duration,
    revoked: bool,
    faults: VecDeque<Fault>,
    /// The refresh tokens that came, in their order.
    requests: Vec<String>,
}

impl Played {
    /// A server that begins with "r0" and takes no token twice.
    pub(in crate::credential) fn new() -> Self {
        let server = Server {
            configured: "r0".to_owned(),
            scope: String::new(),
            newest: 0,
            rotated: None,
            grace: Duration::ZERO,
            revoked: false,
            faults: VecDeque::new(),
            requests: Vec::new(),
        };
        let (go, arrived) = (Semaphore::new(0), Semaphore::new(0));
        Self(Arc::new(Inner { server: Mutex::new(server), go, arrived }))
    }

    pub(in crate::credential) fn with_grace(self, grace: Duration) -> Self {
        self.server().grace = grace;
        self
    }

    /// The next request meets this.
    pub(in crate::credential) fn fault(&self, fault: Fault) {
        self.server().faults.push_back(fault);
    }

    /// The operator puts another refresh token in its place, which the server takes.
    pub(in crate::credential) fn answer_from(&self, first: u64) {
        let mut server = self.server();
        (server.configured, server.newest, server.revoked) = (format!("r{first}"), first, false);
    }

    /// The operator asks for another scope from now on.
    pub(in crate::credential) fn ask_for(&self, scope: &str) {
        scope.clone_into(&mut self.server().scope);
    }

    /// The refresh tokens that came, in their order.
    pub(in crate::credential) fn requests(&self) -> Vec<String> {
        self.server().requests.clone()
    }

    pub(in crate::credential) fn is_revoked(&self) -> bool {
        self.server().revoked
    }

    /// Waits until a held request is there.
    pub(in crate::credential) async fn held(&self) {
        self.0.arrived.acquire().await.unwrap().forget();
    }

    pub(in crate::credential) fn go(&self) {
        self.0.go.add_permits(1);
    }

    pub(super) fn asked_with(&self) -> Vec<u8> {
        let server = self.server();
        format!("{}\n{}", server.configured, server.scope).into_bytes()
    }

    pub(super) fn lineage(&self) -> Vec<u8> {
        self.server().configured.clone().into_bytes()
    }

    pub(super) async fn fetch(&self, asking: &Asking) -> Result<Issued, SourceError> {
        let shown = asking
            .refresh_token
            .as_ref()
            .map_or_else(|| self.server().configured.clone(), |token| token.to_string());
        let fault = self.server().faults.pop_front();
        self.server().requests.push(shown.clone());
        match fault {
            Some(Fault::RequestLost) => return Err(SourceError::lost("no complete answer in time")),
            Some(Fault::Busy) => return Err(SourceError::passing("the source answered 503")),
            Some(Fault::Held) => {
                self.0.arrived.add_permits(1);
                self.0.go.acquire().await.unwrap().forget();
            }
            Some(Fault::AnswerLost | Fault::Useless) | None => {}
        }
        let answer = self.server().judge(&shown);
        match fault {
            Some(Fault::AnswerLost) => Err(SourceError::lost("the connection broke")),
            Some(Fault::Useless) => {
                let rotated =
                    answer?.refresh_token.map(|refresh_token| Rotated { refresh_token, life: None });
                Err(SourceError { rotated, ..SourceError::passing("the token's type is odd") })
            }
            Some(Fault::RequestLost | Fault::Busy | Fault::Held) | None => answer,
        }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.server.lock().unwrap()
    }
}

impl Server {
    /// Reuse ends the family, as RFC 9700 §4.14.2 has it.
    fn judge(&mut self, shown: &str) -> Result<Issued, SourceError> {
        let graced = self.rotated.is_some_and(|at| clock::now() < at + self.grace);
        let before = format!("r{}", self.newest.wrapping_sub(1));
        let known = *shown == format!("r{}", self.newest) || (graced && shown == before);
        if self.revoked || !known {
            self.revoked = true;
            return Err(SourceError::terminal("the source answered 400 Bad Request (invalid_grant)"));
        }
        self.newest += 1;
        self.rotated = Some(clock::now());
        let life = Life::For(Duration::from_secs(600));
        let refresh_token = Some(format!("r{}", self.newest).into());
        Ok(Issued { refresh_token, ..Issued::new(format!("a{}{}", self.newest, self.scope), life) })
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played")
    }
}
