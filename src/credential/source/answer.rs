//! What an answer means: every common shape of a token, and a reason for everything else.
//!
//! ```text
//!   text ───────────────────────────► a bare token; its end from `exp` if it is a JWT
//!   JSON string ────────────────────► the same
//!   { token | access_token | accessToken,
//!     expires_in | expiresIn,  expires | expires_at | expiresAt,  else `exp` } ─► a token
//!   { keyName, mac | nonce, ... } ──► Ably's TokenRequest, which is yet to be exchanged
//!   { kind: ExecCredential, ... } ──► what plugins of kubectl print: `exec_credential`
//! ```
//!
//! If the configuration says where the token is (`answer`), that is looked at and nothing else: [`read`].
//!
//! A time that is relative wins over an absolute one: it holds whatever our clock says.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::jwt::claims;
use crate::{
    config::{AnswerFields, AnswerForm, Part, SecretText},
    credential::keeper::{Life, Provenance},
};

mod exec_credential;

/// No token is longer (the limit of Ably's own clients).
pub const MAX_TOKEN: usize = 128 * 1024;
/// The end of the year 9999: nobody means a later one.
const ABSURD: f64 = 253_402_300_800.0;
/// Absolute times from here on are milliseconds: as seconds it would be the year 5138, and as milliseconds
/// it was 1973.
const MILLISECONDS: f64 = 1e11;

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
}

/// Why an answer is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is not UTF-8")]
    NotText,
    #[error("the answer is HTML: a login or an error page?")]
    Html,
    #[error("the answer is neither JSON nor a token")]
    NotJson,
    #[error("the answer is JSON but no object")]
    NotObject,
    #[error("the answer names no token (`token`, `access_token` or `accessToken`)")]
    NoToken,
    #[error(
        "the answer is plain text that does not look like the token before it; if it is a token, write \
         answer = \"text\""
    )]
    Unlike,
    #[error("the answer has no `{0}` at the place that `answer` names")]
    NotThere(&'static str),
    #[error("the ExecCredential is of none of the versions v1 and v1beta1 of client.authentication.k8s.io")]
    CredentialVersion,
    #[error("the ExecCredential has no token in its `status`")]
    NoCredential,
    #[error(
        "the ExecCredential has a client certificate and no token, and only a token can be used; have the \
         command ask for one"
    )]
    OnlyCertificate,
    #[error("`{0}` has the wrong type")]
    WrongType(&'static str),
    #[error("`{0}` is negative")]
    Negative(&'static str),
    #[error("`{0}` is absurdly large")]
    Absurd(&'static str),
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the token has a line break, a NUL, white space or another control character in it")]
    Control,
    #[error("the token has other than ASCII characters in it")]
    NotAscii,
    #[error("the TokenRequest is not signed")]
    Unsigned,
    #[error("`keyName` is no key's name")]
    BadKeyName,
    /// A code of OAuth's or Ably's, which names a kind of error and nothing else.
    #[error("the source answered with the error {0}")]
    Error(String),
}

impl BadAnswer {
    /// Will it be the same if it is repeated?
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Error(code) if is_refusal(code))
    }
}

/// An OAuth error that somebody has to do something about (RFC 6749 §5.2).
pub fn is_refusal(code: &str) -> bool {
    ["invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"]
        .contains(&code)
}

/// Understands an answer of status 200, in the form that the configuration says. `before`: the token that is to be
/// replaced: a word of plain text, such as `maintenance`, does not take its place.
pub fn read(
    form: &AnswerForm,
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &[u8],
    before: Option<&str>,
) -> Result<Answer, BadAnswer> {
    match form {
        AnswerForm::Auto => match parse(content_type, body)? {
            Answer::Token(issued)
                if is_plain(body) && before.is_some_and(|before| !are_alike(before, &issued.text)) =>
            {
                Err(BadAnswer::Unlike)
            }
            answer @ (Answer::Token(_) | Answer::TokenRequest { .. }) => Ok(answer),
        },
        AnswerForm::Text => bare(text(content_type, body)?).map(Answer::Token),
        AnswerForm::Fields(places) => fields(places, headers, content_type, body).map(Answer::Token),
    }
}

fn fields(
    places: &AnswerFields,
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Issued, BadAnswer> {
    // Without a pointer the body may be anything.
    let json: Option<Value> = text(content_type, body).and_then(parsed).ok();
    let find = |place: &Part| match place {
        Part::Pointer(pointer) => json.as_ref()?.pointer(pointer).filter(|value| !value.is_null()).cloned(),
        Part::Header(name) => Some(Value::from(headers.get(name)?.to_str().ok()?)),
    };
    let Value::String(token) = find(&places.token).ok_or(BadAnswer::NotThere("token"))? else {
        return Err(BadAnswer::WrongType("token"));
    };
    let issued = bare(&token)?;
    let Some(value) = places.expires_in.as_ref().and_then(find) else { return Ok(issued) };
    let life = Life::For(seconds("expires_in", number("expires_in", &value)?)?);
    Ok(Issued { life, ..issued })
}

/// Is it no JSON?
fn is_plain(body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    !first.is_some_and(|byte| b"{[\"".contains(byte))
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

fn parsed(text: &str) -> Result<Value, BadAnswer> {
    serde_json::from_str(text).map_err(|_| BadAnswer::NotJson)
}

/// Understands an answer of one of the common shapes.
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Answer, BadAnswer> {
    let kind = essence(content_type);
    let text = text(content_type, body)?;
    if text.starts_with(['{', '[', '"']) {
        return match parsed(text)? {
            Value::Object(fields) => object(&fields),
            Value::String(token) => bare(&token).map(Answer::Token),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(BadAnswer::NotObject),
        };
    }
    // A JWT cannot be anything else, whatever the server calls it.
    if kind.eq_ignore_ascii_case("application/json") && claims(text).is_none() {
        return match text {
            "null" => Err(BadAnswer::Empty),
            _ => Err(BadAnswer::NotJson),
        };
    }
    bare(text).map(Answer::Token)
}

fn essence(content_type: Option<&str>) -> &str {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// The text of an answer that is not empty and no page for people.
pub(super) fn text<'b>(content_type: Option<&str>, body: &'b [u8]) -> Result<&'b str, BadAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(BadAnswer::Empty);
    }
    if text.starts_with('<') || essence(content_type).eq_ignore_ascii_case("text/html") {
        return Err(BadAnswer::Html);
    }
    Ok(text)
}

/// A token that stands alone; its end is told by itself or not at all.
pub fn bare(text: &str) -> Result<Issued, BadAnswer> {
    let text = text.trim();
    if text.is_empty() || text == "null" || text == "undefined" {
        return Err(BadAnswer::Empty);
    }
    sound(text)?;
    Ok(Issued::new(text.to_owned(), jwt_life(text)))
}

/// The code of an error that came with a status of its own, if it is one that may be shown.
pub fn error_code(body: &[u8]) -> Option<String> {
    let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
    code(fields.get("error")?)
}

/// Understands the members of an answer that is a JSON object.
pub(super) fn object(fields: &Map<String, Value>) -> Result<Answer, BadAnswer> {
    if exec_credential::is_one(fields) {
        return exec_credential::read(fields).map(Answer::Token);
    }
    let Some((name, value)) = first(fields, ["token", "access_token", "accessToken"]) else {
        if fields.contains_key("keyName") {
            return token_request(fields);
        }
        return Err(match fields.get("error").and_then(code) {
            Some(code) => BadAnswer::Error(code),
            None => BadAnswer::NoToken,
        });
    };
    let Value::String(text) = value else { return Err(BadAnswer::WrongType(name)) };
    if text.is_empty() {
        return Err(BadAnswer::Empty);
    }
    sound(text)?;
    Ok(Answer::Token(Issued::new(text.clone(), life(fields)?.unwrap_or_else(|| jwt_life(text)))))
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

/// What the answer says of its end. A time beyond all times, or a word such as `never`, is none, and a good token is not
/// thrown away for it.
fn life(fields: &Map<String, Value>) -> Result<Option<Life>, BadAnswer> {
    let no_number = |name| {
        let texts = [first(fields, [name])].into_iter().flatten();
        texts.map(|(_, value)| value).any(Value::is_string)
    };
    match told_life(fields) {
        Err(BadAnswer::Absurd(name)) => {
            tracing::warn!(
                name,
                "the end of a token is absurdly far; `lifetime` of [route.token] is assumed"
            );
            Ok(None)
        }
        Err(BadAnswer::WrongType(name)) if no_number(name) => {
            tracing::warn!(name, "the end of a token is no time; `lifetime` of [route.token] is assumed");
            Ok(None)
        }
        life => life,
    }
}

fn told_life(fields: &Map<String, Value>) -> Result<Option<Life>, BadAnswer> {
    if let Some((name, value)) = first(fields, ["expires_in", "expiresIn"]) {
        return Ok(Some(Life::For(seconds(name, number(name, value)?)?)));
    }
    let Some((name, value)) = first(fields, ["expires", "expires_at", "expiresAt"]) else { return Ok(None) };
    let wall = moment(name, value)?;
    let issued = match fields.get("issued") {
        Some(value) => moment("issued", value).ok(),
        None => None,
    };
    Ok(Some(Life::Until { wall, at_most: issued.and_then(|issued| wall.checked_sub(issued)) }))
}

/// A point in time: a number of seconds or milliseconds, or RFC 3339.
fn moment(name: &'static str, value: &Value) -> Result<Duration, BadAnswer> {
    if let Value::String(text) = value
        && let Ok(at) = text.trim().parse::<jiff::Timestamp>()
    {
        let millis = u64::try_from(at.as_millisecond()).map_err(|_| BadAnswer::Negative(name))?;
        return Ok(Duration::from_millis(millis));
    }
    let number = number(name, value)?;
    seconds(name, if number >= MILLISECONDS { number / 1000.0 } else { number })
}

/// A number, or one that was written as a string.
fn number(name: &'static str, value: &Value) -> Result<f64, BadAnswer> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite()).ok_or(BadAnswer::WrongType(name))
}

fn seconds(name: &'static str, number: f64) -> Result<Duration, BadAnswer> {
    if number < 0.0 {
        return Err(BadAnswer::Negative(name));
    }
    if number >= ABSURD {
        return Err(BadAnswer::Absurd(name));
    }
    Duration::try_from_secs_f64(number).map_err(|_| BadAnswer::Absurd(name))
}

/// The first of these fields that is there and not null.
fn first<'a, const N: usize>(
    fields: &'a Map<String, Value>,
    names: [&'static str; N],
) -> Option<(&'static str, &'a Value)> {
    names.into_iter().find_map(|name| fields.get(name).filter(|v| !v.is_null()).map(|v| (name, v)))
}

/// A token goes into a header, a URL or a frame: it must be one visible word.
fn sound(text: &str) -> Result<(), BadAnswer> {
    if text.len() > MAX_TOKEN {
        return Err(BadAnswer::TooLong);
    }
    if !text.is_ascii() {
        return Err(BadAnswer::NotAscii);
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(()) } else { Err(BadAnswer::Control) }
}

/// What a JWT says of its own end. Its signature is the service's to verify.
pub fn jwt_life(token: &str) -> Life {
    let Some(claims) = claims(token) else { return Life::Unknown };
    let at = |name| claims.get(name).and_then(|v| number("exp", v).ok()).and_then(|n| seconds("exp", n).ok());
    match (at("exp"), at("iat")) {
        (Some(wall), issued) => {
            Life::Until { wall, at_most: issued.and_then(|issued| wall.checked_sub(issued)) }
        }
        (None, _) => Life::Unknown,
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
