//! What is shown of a token: as a table for people, or as JSON.

use std::{fmt::Write, time::Duration};

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::{
    clock::Now,
    config::{self, Route, TokenConfig},
    credential::{
        keeper::Life,
        source::{Issued, answer, jwt::Jwt},
    },
    terminal,
};

/// Claims that are no secret (RFC 7519 §4.1, RFC 8693 §4.2); a few services say `scp` for `scope`.
const CLAIMS: [&str; 6] = ["iss", "aud", "sub", "scope", "scp", "iat"];
/// No more of a claim is shown.
const LONGEST_CLAIM: usize = 200;

/// All that is said of one token.
#[derive(Debug)]
pub struct Page {
    route: String,
    source: &'static str,
    place: Option<String>,
    took: Duration,
    /// `alg` and `typ`, where it is a JWT.
    jwt: Option<(String, String)>,
    bytes: usize,
    /// When it ends, since the Unix epoch, and who said so.
    end: Option<(Duration, Told)>,
    /// At the time of the answer.
    now: Duration,
    claims: Vec<(&'static str, Value)>,
    refresh_token: bool,
    /// The store had it: the source was not asked.
    kept: bool,
    fingerprint: String,
}

/// Who said how long a token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Answer,
    Token,
    Assumed,
}

impl Told {
    fn words(self) -> &'static str {
        match self {
            Self::Answer => "told by the answer",
            Self::Token => "told by the token",
            Self::Assumed => "assumed, by lifetime in [route.token]",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Token => "token",
            Self::Assumed => "lifetime",
        }
    }
}

impl Page {
    /// Looks at a token that was asked for at `sent`.
    pub(super) fn new(
        route: &Route,
        token: &TokenConfig,
        issued: &Issued,
        sent: Now,
        took: Duration,
    ) -> Self {
        let jwt = Jwt::read(&issued.text);
        let told = issued.life.from(sent);
        let by = if answer::jwt_life(&issued.text) == issued.life { Told::Token } else { Told::Answer };
        let end = told.map(|life| (life, by)).or_else(|| Some((token.refresh.lifetime?, Told::Assumed)));
        // One that ended before it was asked for is shown with its own end.
        let end = match issued.life {
            Life::Until { wall, .. } if wall < sent.wall => Some((wall, by)),
            Life::Until { .. } | Life::For(_) | Life::Unknown => {
                end.map(|(life, by)| (sent.wall.saturating_add(life), by))
            }
        };
        let word =
            |jwt: &Jwt, name| jwt.header.get(name).and_then(Value::as_str).unwrap_or("none").to_owned();
        let claims = jwt.as_ref().map(|jwt| {
            CLAIMS.iter().filter_map(|name| Some((*name, jwt.claims.get(*name)?.clone()))).collect()
        });
        let hash = digest::digest(&digest::SHA256, issued.text.as_bytes());
        Self {
            route: route.name.clone(),
            source: token.source.word(),
            place: token.source.place(),
            took,
            jwt: jwt.as_ref().map(|jwt| (word(jwt, "alg"), word(jwt, "typ"))),
            bytes: issued.text.len(),
            end,
            now: sent.wall.saturating_add(took),
            claims: claims.unwrap_or_default(),
            refresh_token: issued.refresh_token.is_some(),
            kept: issued.provenance.taken_over,
            fingerprint: hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Has it ended already? The sidecar would not take it then.
    pub fn is_expired(&self) -> bool {
        self.end.is_some_and(|(end, _)| end <= self.now)
    }

    /// For people: a name and a value a line.
    pub fn table(&self) -> String {
        let mut rows = vec![("route", self.route.clone())];
        let place = self.place.as_ref().map_or_else(String::new, |place| format!(" {}", visible(place)));
        rows.push(("source", format!("{}{place}", self.source)));
        rows.push(("took", format!("{} ms", self.took.as_millis())));
        let kind = self.jwt.as_ref().map_or_else(
            || "opaque".to_owned(),
            |(alg, typ)| format!("JWT, alg {}, typ {}", visible(alg), visible(typ)),
        );
        rows.push(("kind", kind));
        rows.push(("length", format!("{} bytes", self.bytes)));
        rows.push(("expires", self.expires()));
        for (name, value) in &self.claims {
            rows.push((name, claim(name, value)));
        }
        let refresh = match (self.kept, self.refresh_token) {
            (true, _) => "not used: the store had a token that lives, and the source was not asked",
            (false, true) => "came with it (not shown)",
            (false, false) => "none came with it",
        };
        rows.push(("refresh token", refresh.to_owned()));
        let hint = "the first digits of its SHA-256: they tell tokens apart, and do not lead back to one";
        rows.push(("fingerprint", format!("{} ({hint})", self.fingerprint)));
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut table = String::new();
        for (name, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{name:width$}  {value}");
        }
        table
    }

    /// For machines: one object. Times are in RFC 3339, or in the unit that the name says.
    pub fn json(&self) -> String {
        let claims: serde_json::Map<String, Value> =
            self.claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let seconds = |end: Duration| i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
        json!({
            "route": self.route,
            "source": self.source,
            "place": self.place,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "kind": if self.jwt.is_some() { "jwt" } else { "opaque" },
            "alg": self.jwt.as_ref().map(|(alg, _)| alg),
            "typ": self.jwt.as_ref().map(|(_, typ)| typ),
            "length": self.bytes,
            "expires_at": self.end.and_then(|(end, _)| rfc3339(end)),
            "expires_in_s": self.end.map(|(end, _)| seconds(end).saturating_sub(seconds(self.now))),
            "expires_told_by": self.end.map(|(_, told)| told.word()),
            "claims": claims,
            "refresh_token": self.refresh_token,
            "fingerprint": self.fingerprint,
        })
        .to_string()
    }

    fn expires(&self) -> String {
        let Some((end, told)) = self.end else {
            return "nobody told: set lifetime in [route.token] to have it refreshed".to_owned();
        };
        let whole = |time: Duration| config::duration(Duration::from_secs(time.as_secs()));
        let when = match end.checked_sub(self.now) {
            Some(left) if !left.is_zero() => format!("in {}", whole(left)),
            Some(_) | None => format!("{} ago", whole(self.now.saturating_sub(end))),
        };
        let at = rfc3339(end).unwrap_or_else(|| "after the year 9999".to_owned());
        format!("{when}, {at}; {}", told.words())
    }
}

/// A claim on one line.
fn claim(name: &str, value: &Value) -> String {
    let time = Some(value).filter(|_| name == "iat").and_then(Value::as_u64);
    match (time.and_then(|time| rfc3339(Duration::from_secs(time))), value) {
        (Some(time), _) => time,
        (None, Value::String(text)) => visible(text),
        (None, _) => visible(&value.to_string()),
    }
}

/// What others wrote, on one line.
fn visible(text: &str) -> String {
    terminal::visible(text, LONGEST_CLAIM)
}

fn rfc3339(wall: Duration) -> Option<String> {
    let seconds = i64::try_from(wall.as_secs()).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|at| at.to_string())
}
