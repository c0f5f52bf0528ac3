//! How the service behaves: every number and every leniency that a test may want to turn.

use std::time::Duration;

use super::Key;

/// What the service is like. The default is a strict service whose tokens live for ten seconds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The application's key: it signs JWTs and token requests, and authenticates where `basic`.
    pub key: Key,
    /// May a client authenticate with the key itself?
    pub basic: bool,

    /// How long a token of `GET /token` lives, and one of `requestToken` that asks for no `ttl`.
    pub token_lifetime: Duration,
    /// The `clientId` of such a token where the request names none; `*` stands for any.
    pub token_client_id: Option<String>,
    /// The form in which `GET /token` answers.
    pub token_answer: TokenAnswer,
    /// How long before its expiry a token's holder is asked for another; at once where the token
    /// has less than that left when it is presented; never where that is less than a sixth of it, or
    /// where this is zero.
    pub hint_before: Duration,
    /// How long an AUTH waits for its answer.
    pub auth_delay: Duration,

    /// How long a connection outlives its transport.
    pub connection_state_ttl: Duration,
    /// How long a member outlives its transport.
    pub presence_grace: Duration,
    /// The longest silence that is promised to a client.
    pub max_idle_interval: Duration,
    /// The largest message taken.
    pub max_message_size: usize,
    /// Messages per second that one connection may send; said to the client, and counted.
    pub max_inbound_rate: u32,
    /// Are publishes above `max_inbound_rate` refused, and not only counted?
    pub enforce_inbound_rate: bool,

    /// Does only the newest key of a connection resume it?
    pub newest_key_only: bool,
    /// Is a repeated, already accepted publish acknowledged again?
    pub reack: bool,
    /// May a serial come after a later one? ably-js 2.28 does so if its transport is lost while its presence
    /// re-entries are unacknowledged: these wait for their channels, messages do not. ably-go 1.2 and 1.4 do so
    /// after a resume: a channel sends what it queued from another goroutine than the one that repeats.
    pub late_serials: bool,
    /// How many acknowledgements are sent as one; 1 sends each at once.
    pub ack_batch: usize,
    /// How long an incomplete batch waits.
    pub ack_delay: Duration,

    /// Messages that a channel remembers, for those who attach again.
    pub history: usize,
    /// How long it remembers them.
    pub history_ttl: Duration,
    /// Members in one page of a SYNC.
    pub sync_page: usize,

    /// Resets every live transport this often.
    pub periodic_reset: Option<Duration>,
    /// Publishes that the ledger remembers; older ones are forgotten.
    pub ledger_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: Key::demo(),
            basic: true,
            token_lifetime: Duration::from_secs(10),
            token_client_id: Some("*".into()),
            token_answer: TokenAnswer::Details,
            hint_before: Duration::from_secs(3),
            auth_delay: Duration::from_millis(10),
            connection_state_ttl: Duration::from_secs(120),
            presence_grace: Duration::from_secs(15),
            max_idle_interval: Duration::from_secs(15),
            max_message_size: 65_536,
            max_inbound_rate: 1_000,
            enforce_inbound_rate: false,
            newest_key_only: true,
            reack: true,
            late_serials: false,
            ack_batch: 1,
            ack_delay: Duration::from_millis(20),
            history: 100_000,
            history_ttl: Duration::from_secs(120),
            sync_page: 100,
            periodic_reset: None,
            ledger_limit: 500_000,
        }
    }
}

/// The form in which the token endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenAnswer {
    /// Ably's TokenDetails, as JSON.
    #[default]
    Details,
    /// The bare token, as `text/plain`.
    Bare,
    /// A JWT, as `application/jwt`.
    Jwt,
}
