//! What an answer means: every usual shape of a token, and a reason for everything else.
//!
//! ```text
//!   headers, body ──► opened ──┬─► the next refresh token, for a source that rotates     (rotated)
//!                              └─► token ─┬─ plain text, or a JSON string ─► a bare token
//!                                         ├─ an object ─► its usual members (usual), its end (life)
//!                                         ├─ status of an ExecCredential or a TokenRequest of Kubernetes ─► the same
//!                                         └─ keyName, mac, nonce ─► Ably's TokenRequest, yet to be exchanged
//! ```
//!
//! 1. If the configuration says where something is (`answer`), it is looked for there. What it does not say is looked for
//!    by its usual names, beside the token.
//! 2. The refresh token is read first. If the rest is of no use, it is still the only one that the server takes next.
//! 3. An end that cannot be read costs no good token.
//! 4. An error quotes nothing of the answer but fixed words.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::jwt::claims;
use crate::{
    config::{AnswerForm, Part, SecretText},
    credential::keeper::{Life, Provenance},
};

mod bad;
pub(super) mod life;
mod opened;
mod rotated;
mod status;
mod usual;

pub use bad::{BadAnswer, Useless};
pub use life::of_jwt as jwt_life;
pub(super) use opened::{Opened, text};
use rotated::Next;

/// No token is longer (the limit of Ably's own clients).
pub const MAX_TOKEN: usize = 128 * 1024;

/// What a source's answer turned out to be.
#[derive(Debug)]
pub enum Answer {
    Token(Issued),
    /// To be posted, as it is, to this key's `requestToken`.
    TokenRequest {
        key_name: String,
    },
}

/// A token, how long it lives, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub text: SecretText,
    pub life: Life,
    /// From now on the next token is asked for with this one. It cannot be asked for twice.
    pub refresh_token: Option<SecretText>,
    pub provenance: Provenance,
}

impl Issued {
    /// A token with which nothing else came.
    pub fn new(text: impl Into<SecretText>, life: Life) -> Self {
        Self { text: text.into(), life, refresh_token: None, provenance: Provenance::default() }
    }

    fn with(self, next: Next) -> Self {
        let provenance = Provenance { refresh_life: next.life, ..self.provenance };
        Self { refresh_token: next.refresh_token, provenance, ..self }
    }
}

/// How an answer is read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'r> {
    pub form: &'r AnswerForm,
    /// The token that is to be replaced: a word of plain text, such as `maintenance`, does not take its place.
    pub before: Option<&'r str>,
    /// Does the next refresh token come in it?
    pub rotates: bool,
}

impl<'r> Reader<'r> {
    /// For a source that neither rotates nor knows what came before.
    pub fn of(form: &'r AnswerForm) -> Self {
        Self { form, before: None, rotates: false }
    }

    /// Understands an answer of status 200.
    pub fn read(
        self,
        headers: &HeaderMap,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, Useless> {
        self.understand(&Opened::new(headers, content_type, body))
    }

    /// The same of an answer that has been opened.
    pub(super) fn understand(self, opened: &Opened<'_>) -> Result<Answer, Useless> {
        let next = if self.rotates { rotated::read(self.form, opened)? } else { Next::default() };
        match self.token(opened) {
            Ok(Answer::Token(issued)) => Ok(Answer::Token(issued.with(next))),
            // It is posted elsewhere as it came: what is beside it must not be a secret.
            Ok(Answer::TokenRequest { .. }) if next.refresh_token.is_some() => {
                Err(Useless { bad: BadAnswer::NoToken, rotated: next.rotated() })
            }
            Ok(request @ Answer::TokenRequest { .. }) => Ok(request),
            Err(bad) => Err(Useless { bad, rotated: next.rotated() }),
        }
    }

    fn token(self, opened: &Opened<'_>) -> Result<Answer, BadAnswer> {
        match self.form {
            AnswerForm::Auto => match opened.json()? {
                Some(Value::Object(fields)) => object(fields),
                Some(Value::String(token)) => bare(token).map(Answer::Token),
                Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
                    Err(BadAnswer::NotObject)
                }
                None => {
                    let issued = bare(opened.text()?)?;
                    let unlike = self.before.is_some_and(|before| !are_alike(before, &issued.text));
                    if unlike { Err(BadAnswer::Unlike) } else { Ok(Answer::Token(issued)) }
                }
            },
            AnswerForm::Text => bare(opened.text()?).map(Answer::Token),
            AnswerForm::Fields(places) => {
                let token = opened.at(&places.token).ok_or_else(|| opened.without("token"))?;
                let issued = word(token.as_str().ok_or(BadAnswer::WrongType("token"))?)?;
                let named = |place: Option<&Part>, read: fn(&Value) -> Option<Life>| {
                    let value = opened.at(place?)?;
                    read(&value).or_else(|| {
                        life::unread("answer");
                        None
                    })
                };
                let told = named(places.expires_in.as_ref(), life::relative)
                    .or_else(|| named(places.expires_at.as_ref(), life::absolute));
                let own = Some(issued.life).filter(|life| *life != Life::Unknown);
                let beside = || opened.beside(&places.token).and_then(life::told);
                let life = told.or(own).or_else(beside).unwrap_or(Life::Unknown);
                Ok(Answer::Token(Issued { life, ..issued }))
            }
        }
    }
}

/// Does one token look like another of the same source? A JWT is followed by a JWT; anything else by what is about as
/// long, and has digits if the one before has.
fn are_alike(before: &str, text: &str) -> bool {
    let digits = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    let (old, new) = (before.len(), text.len());
    match (claims(before).is_some(), claims(text).is_some()) {
        (true, true) => true,
        (true, false) => false,
        // A source may begin to give JWTs.
        (false, true) => true,
        (false, false) => new * 3 >= old * 2 && new * 2 <= old * 3 && (digits(text) || !digits(before)),
    }
}

/// A token that stands alone; its end is told by itself or not at all.
pub fn bare(text: &str) -> Result<Issued, BadAnswer> {
    let text = text.trim();
    if text.is_empty() || text == "null" || text == "undefined" {
        return Err(BadAnswer::Empty);
    }
    word(text)
}

/// A token goes into a header, a URL or a frame: it must be one visible word.
fn word(text: &str) -> Result<Issued, BadAnswer> {
    if text.is_empty() {
        return Err(BadAnswer::Empty);
    }
    if text.len() > MAX_TOKEN {
        return Err(BadAnswer::TooLong);
    }
    if !text.is_ascii() {
        return Err(BadAnswer::NotAscii);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadAnswer::Control);
    }
    Ok(Issued::new(text.to_owned(), jwt_life(text)))
}

/// Understands the members of an answer that is a JSON object.
fn object(fields: &Map<String, Value>) -> Result<Answer, BadAnswer> {
    if let Some(status) = status::of(fields)? {
        return status::token(status).map(Answer::Token);
    }
    let Some((name, value)) = usual::token(fields) else {
        if fields.contains_key("keyName") {
            return token_request(fields);
        }
        return Err(match fields.get("error").and_then(code) {
            Some(code) => BadAnswer::Error(code),
            None => BadAnswer::NoToken,
        });
    };
    let Value::String(text) = value else { return Err(BadAnswer::WrongType(name)) };
    let issued = word(text)?;
    let life = life::told(fields).unwrap_or(issued.life);
    Ok(Answer::Token(Issued { life, ..issued }))
}

fn token_request(fields: &Map<String, Value>) -> Result<Answer, BadAnswer> {
    let text = |name: &'static str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::Null) | None => Err(BadAnswer::Unsigned),
        Some(_) => Err(BadAnswer::WrongType(name)),
    };
    text("mac")?;
    text("nonce")?;
    let key_name = text("keyName")?;
    // It becomes part of a path.
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match key_name.split_once('.') {
        Some((app, id)) if word(app) && word(id) && key_name.len() <= 256 => {
            Ok(Answer::TokenRequest { key_name: key_name.clone() })
        }
        Some(_) | None => Err(BadAnswer::BadKeyName),
    }
}

/// A code and nothing that could be a secret: OAuth's word, or Ably's number.
pub(super) fn code(error: &Value) -> Option<String> {
    match error {
        Value::String(word)
            if word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
        {
            Some(word.clone())
        }
        Value::Object(fields) => match fields.get("code")? {
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        },
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests;
