//! What some thirty-five services answer, by their public documentation, played to the sources that docs/providers configures.
//! Values are made up, and the services themselves are not asked.
//!
//! ```text
//!   docs/providers/slack.md ── block ── addresses replaced ──► Config ─► Source ── asks ──► played server
//!   services.toml ── [[slack]] ── body ────────────────────────────────────────────────────────┘
//!                        └─────── token, its end, the next refresh token │ kind, words ◄── answer
//! ```
//!
//! A row of the tables:
//!
//! | key | |
//! |---|---|
//! | `[[page]]` | a page of docs/providers; `[[usual]]` is usual.md, for services without a page |
//! | `block` | which block of the page is asked; by default the first |
//! | `from` | the service, and where its documentation has the answer |
//! | `asks` | what has to stand in the request, or in the claims of a JWT in it |
//! | `status`, `type`, `header`, `body` | the answer; `{jwt:N}` is a JWT that ends at N |
//! | `token` | the token that comes of it |
//! | `lives`, `ends` | seconds, or the time of its end; with neither, `lifetime` of the block counts |
//! | `next`, `next_lives` | the next refresh token, and how many seconds it lives |
//! | `kind` | if there is no token: `terminal`, `passing` or `lost`, as `credential::source::refusal` has it |
//! | `words`, `retry` | what the reason tells the operator, and after how many seconds to come again |
//! | `worse` | what a user would expect instead: the row says what happens today |

mod played;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use perennial::{
    clock::{self, Now},
    config::SourceConfig,
    credential::{
        ClientValues,
        keeper::{FailureKind, Life},
        source::{Asking, Issued, Source, SourceError},
    },
    net::Egress,
};
use serde::Deserialize;

use played::{Played, Stage, blocks};

/// 17 March 2030, 17:46:40: when every row is asked.
const WALL: Duration = Duration::from_secs(1_900_000_000);

type Table = BTreeMap<String, Vec<Row>>;

/// One answer, and what is to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default = "first")]
    block: usize,
    from: String,
    #[serde(default)]
    asks: Vec<String>,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default = "json", rename = "type")]
    content_type: String,
    header: Option<String>,
    body: String,
    token: Option<String>,
    lives: Option<u64>,
    ends: Option<u64>,
    next: Option<String>,
    next_lives: Option<u64>,
    kind: Option<String>,
    #[serde(default)]
    words: Vec<String>,
    retry: Option<u64>,
    worse: Option<String>,
}

fn first() -> usize {
    1
}

fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json".to_owned()
}

/// All rows, by their pages.
fn table() -> Table {
    let tables = [
        include_str!("identity.toml"),
        include_str!("clouds.toml"),
        include_str!("services.toml"),
        include_str!("usual.toml"),
    ];
    // The `Debug` of an error is the whole table.
    let read = |table| toml::from_str::<Table>(&with_jwts(table)).unwrap_or_else(|error| panic!("{error}"));
    tables.into_iter().flat_map(read).collect()
}

/// The text with a JWT in each place of `{jwt:N}`.
fn with_jwts(text: &str) -> String {
    let mut parts = text.split("{jwt:");
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let (end, rest) = part.split_once('}').unwrap();
        let claims = format!(r#"{{"exp":{end}}}"#);
        let [header, claims] =
            [r#"{"alg":"RS256"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        whole.push_str(&format!("{header}.{claims}.c2lnbmF0dXJl{rest}"));
    }
    whole
}

impl Row {
    fn is_granted(&self) -> bool {
        self.token.is_some()
    }

    /// What is not as it should be.
    fn wrong(&self, played: &Played) -> Vec<String> {
        let missing = self.asks.iter().filter(|part| !played.request.contains(*part));
        let mut wrong: Vec<_> =
            missing.map(|part| format!("asked without {part:?}: {}", played.request)).collect();
        wrong.extend(match (&self.token, &played.result) {
            (Some(token), Ok(issued)) => self.wrong_token(token, issued, played.has_lifetime),
            (None, Err(error)) => self.wrong_error(error),
            (Some(_), Err(error)) => vec![format!("no token: {error}")],
            (None, Ok(issued)) => vec![format!("the token {}", &*issued.text)],
        });
        wrong
    }

    fn wrong_token(&self, token: &str, issued: &Issued, has_lifetime: bool) -> Vec<String> {
        let life = match (self.lives, self.ends) {
            (Some(lives), None) => Life::For(Duration::from_secs(lives)),
            (None, Some(ends)) => Life::Until { wall: Duration::from_secs(ends), at_most: None },
            (None, None) => Life::Unknown,
            (Some(_), Some(_)) => panic!("lives or ends: {}", self.from),
        };
        // How long it was to live when it was issued is another's test.
        let came = match issued.life {
            Life::Until { wall, .. } => Life::Until { wall, at_most: None },
            life @ (Life::For(_) | Life::Unknown) => life,
        };
        let next = issued.refresh_token.as_deref();
        let next_life = issued.provenance.refresh_life;
        let mut wrong = Vec::new();
        differ(&mut wrong, "token", &issued.text.as_str(), &token);
        differ(&mut wrong, "end", &came, &life);
        differ(&mut wrong, "next refresh token", &next, &self.next.as_deref());
        differ(&mut wrong, "its end", &next_life, &self.next_lives.map(Duration::from_secs));
        if life == Life::Unknown && !has_lifetime {
            wrong.push("nobody says when it ends: the block needs `lifetime`".to_owned());
        }
        wrong
    }

    fn wrong_error(&self, error: &SourceError) -> Vec<String> {
        let kind = match error.kind {
            FailureKind::Terminal => "terminal",
            FailureKind::Passing => "passing",
            FailureKind::Lost => "lost",
            FailureKind::Unreached => "unreached",
            FailureKind::Elsewhere => "elsewhere",
        };
        let mut wrong = Vec::new();
        differ(&mut wrong, "kind", &kind, &self.kind.as_deref().unwrap());
        differ(&mut wrong, "retry", &error.retry_after, &self.retry.map(Duration::from_secs));
        let missing = self.words.iter().filter(|words| !error.reason.contains(*words));
        wrong.extend(missing.map(|words| format!("without {words:?}: {error}")));
        wrong
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(wrong: &mut Vec<String>, what: &str, came: &T, expected: &T) {
    if came != expected {
        wrong.push(format!("{what}: {came:?} instead of {expected:?}"));
    }
}

fn now() -> Now {
    Now { mono: clock::now(), wall: WALL }
}

/// Plays rows; everything that came out in another way.
async fn play(which: fn(&Row) -> bool) -> String {
    let (stage, table) = (Stage::new(), table());
    let rows = table.iter().flat_map(|(page, rows)| rows.iter().map(move |row| (page, row)));
    let mut wrong = String::new();
    for (page, row) in rows.filter(|(_, row)| which(row)) {
        for what in row.wrong(&stage.play(page, row).await) {
            wrong.push_str(&format!("{page}, block {}: {}\n    {what}\n", row.block, row.from));
        }
    }
    wrong
}

#[tokio::test]
async fn each_answer_with_a_token_is_understood() {
    let wrong = play(Row::is_granted).await;
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_leads_somewhere() {
    let wrong = play(|row| !row.is_granted()).await;
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_tables_are_whole() {
    let table = table();
    let rows = || table.values().flatten();
    for row in rows() {
        let is_refused = row.kind.is_some() && !row.words.is_empty();
        assert_ne!(row.is_granted(), is_refused, "{row:?}");
    }
    let service = |row: &Row| row.from.split([',', ':']).next().unwrap().to_owned();
    let services: BTreeSet<_> = rows().map(service).collect();
    let granted = rows().filter(|row| row.is_granted()).count();
    let worse: Vec<_> = rows().filter(|row| row.worse.is_some()).map(|row| &row.from).collect();
    let refused = rows().count() - granted;
    println!("{granted} + {refused} rows, {} services; {} worse: {worse:#?}", services.len(), worse.len());
    assert!(granted >= 50 && refused >= 60 && services.len() >= 36, "{services:#?}");
}

/// A block without a row is a promise that nobody holds.
#[test]
fn each_block_that_asks_somebody_has_an_answer_with_a_token() {
    let table = table();
    for page in played::pages() {
        for (nth, block) in blocks(&page).iter().enumerate() {
            let is = |sources: &[&str]| {
                sources.iter().any(|source| block.contains(&format!("source = \"{source}\"")))
            };
            let rows = table.get(&page).into_iter().flatten();
            let rows: Vec<_> = rows.filter(|row| row.block == nth + 1 && row.is_granted()).collect();
            assert_eq!(rows.is_empty(), is(&["ably-key", "jwt"]), "{page}, block {}", nth + 1);
            let is_asked = rows.iter().any(|row| !row.asks.is_empty());
            assert_eq!(is_asked, is(&["http", "oauth2"]), "{page}, block {}", nth + 1);
        }
    }
}

#[tokio::test]
async fn what_is_signed_for_livekit_is_a_token_of_livekits() {
    let config = Stage::new().config("livekit", 1, 9);
    let SourceConfig::Jwt(signer) = &config.source else { panic!("{:?}", config.source) };
    let names = signer.templates().flat_map(|template| template.names());
    let client = ClientValues::of(names, |name| Some(format!("a client's {name}")));
    let asking = Asking { client: client.into(), ..Asking::default() };
    let (now, source) = (now(), Source::new(&config.source, &Egress::default()).unwrap());
    let issued = source.fetch(&asking, now, now.mono + Duration::from_secs(5)).await.unwrap();
    let claims = issued.text.split('.').nth(1).unwrap();
    let claims: serde_json::Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((&claims["iss"], &claims["sub"]), (&"API_KEY".into(), &"a client's {query.identity}".into()));
    assert_eq!(claims["video"], serde_json::json!({"room": "lobby", "roomJoin": true}));
    let [issued, end] = ["iat", "exp"].map(|name| claims[name].as_u64().unwrap());
    assert!(issued <= WALL.as_secs() && end == issued + 600, "{claims}");
}
