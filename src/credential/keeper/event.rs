//! What happens to a keeper, and what it wants done.

use std::time::Duration;

use crate::{
    clock::Now,
    config::SecretText,
    credential::token::{Generation, Token},
};

/// What a keeper is told.
#[derive(Debug)]
pub enum Event {
    /// Begin: fetch the first token.
    Started,
    /// Begin with a token that is there already: a client's own.
    Adopted { fetched: Fetched, generation: Generation },
    /// Is anybody on the credential? Where not, nothing is fetched.
    Active(bool),
    /// Is a token of it being shown to a service at this moment? A refresh that is due waits for that.
    Busy(bool),
    /// The fetch with this ticket brought an answer.
    Fetched { ticket: u64, fetched: Fetched },
    /// Another process has fetched this one; nobody here had to ask.
    Offered(Fetched),
    /// The fetch with this ticket brought none.
    Failed { ticket: u64, failure: FetchFailure },
    /// Somebody wants a newer token. `rejected` is the one that was turned down, or that the service hinted
    /// at: where it is no longer the current one, nothing is to be done.
    Demanded { rejected: Option<Generation>, trigger: Trigger },
    /// What the source is asked with, or the file it reads, is not what it was.
    SecretChanged,
    /// The deadline, or any other wake-up: look at the clocks.
    Timer,
}

/// What a keeper wants done.
#[derive(Debug)]
pub enum Action {
    /// Ask the source, and bring the answer back with this ticket.
    Fetch { ticket: u64, trigger: Trigger },
    /// From now on this is the token.
    Publish(Token),
    /// The source has refused for good, and no token is left.
    Hopeless,
    /// Say it in the log and count it.
    Report(Report),
}

/// The answer of a source.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub text: SecretText,
    pub life: Life,
    pub provenance: Provenance,
}

/// Where an answer comes from, and what is known of it besides. By default: straight from the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Another process asked for it, or this one before it was started again.
    pub taken_over: bool,
    /// How long it has been kept since it was issued.
    pub age: Duration,
    /// How long the refresh token lives that the next one is asked for with, from when this was issued.
    pub refresh_life: Option<Duration>,
    /// The source has been asked since, and its answer was lost: it is to be asked again while it forgives that.
    pub in_doubt: bool,
}

/// How long a token lives, as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nobody told.
    Unknown,
    /// From the moment it was asked for.
    For(Duration),
    /// Until a moment on the wall clock, since the Unix epoch. Where its issue was told too, `at_most` is the
    /// time between: a clock of ours that is slow does not make it live longer.
    Until { wall: Duration, at_most: Option<Duration> },
}

impl Life {
    /// The lifetime of a token that was asked for at `sent`; nothing at all where it ended before.
    pub fn from(self, sent: Now) -> Option<Duration> {
        match self {
            Self::Unknown => None,
            Self::For(life) => Some(life),
            Self::Until { wall, at_most } => {
                let left = wall.saturating_sub(sent.wall);
                Some(at_most.map_or(left, |most| left.min(most)))
            }
        }
    }
}

/// Why a fetch brought no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFailure {
    pub kind: FailureKind,
    /// As the server asked.
    pub retry_after: Option<Duration>,
    /// For people; without secrets.
    pub reason: String,
}

impl FetchFailure {
    /// A failure that may pass by itself.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Passing, retry_after: None, reason: reason.into() }
    }
}

/// Whether repeating may fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    Passing,
    /// Nobody was there to be asked.
    Unreached,
    /// The answer may have been given and lost on its way, with a refresh token in it that nobody has now. A server
    /// that allows for this does so for seconds only.
    Lost,
    /// Another process is asking at this moment: its answer will be ours.
    Elsewhere,
    /// `invalid_client`, `invalid_grant`, 401, 403: somebody has to change something.
    Terminal,
}

/// Why a token is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// It was due.
    Schedule,
    /// The service asked for a new one.
    Hint,
    /// It was rejected or had expired.
    Expiry,
    /// A client asked.
    Client,
    /// An operator asked, or changed a secret.
    Operator,
    /// The first one.
    Start,
}

impl Trigger {
    /// All of them, so that each series can stand at zero from the start.
    pub const ALL: [Self; 6] =
        [Self::Schedule, Self::Hint, Self::Expiry, Self::Client, Self::Operator, Self::Start];

    /// As in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Hint => "hint",
            Self::Expiry => "expiry",
            Self::Client => "client",
            Self::Operator => "operator",
            Self::Start => "start",
        }
    }
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// The source gave the current token again, which is not late yet.
    Unchanged,
    /// It may pass.
    Failed,
    /// The source refused, and repeating will not change its mind.
    Rejected,
}

/// What an operator is told.
#[derive(Debug, Clone)]
pub enum Report {
    Refreshed {
        generation: Generation,
        trigger: Trigger,
        took: Duration,
        expires_in: Option<Duration>,
        next_refresh_in: Option<Duration>,
    },
    /// Another process has refreshed it.
    TakenOver { generation: Generation, expires_in: Option<Duration>, next_refresh_in: Option<Duration> },
    /// The source still has the current token, and that is fine.
    Unchanged { generation: Generation, trigger: Trigger, took: Duration },
    Failed {
        trigger: Trigger,
        /// Somebody has to change something.
        terminal: bool,
        reason: String,
        took: Duration,
        retry_in: Duration,
        /// Zero where there is no valid token; `None` where it has no known end.
        still_valid_for: Option<Duration>,
    },
}
