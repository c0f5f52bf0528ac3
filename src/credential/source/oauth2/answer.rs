//! What is OAuth's own in an answer of status 200 (RFC 6749 §5.1, RFC 8693 §2.2.1).
//!
//! ```text
//!   { access_token, token_type: Bearer,   the token as any source's is looked at
//!     expires_in …                        the same
//!     refresh_token                       the next one, for that grant only
//!     scope, issued_token_type }          what was really granted
//! ```
//!
//! Everything else in it (an ID token, what a server adds) is not looked at. The refresh token is looked at first: if
//! the rest is of no use, it is still the only one that the server takes next.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::{
    Issued, Rotated,
    answer::{self, Answer, BadAnswer},
};
use crate::{
    config::{Grant, SecretText},
    credential::keeper::Provenance,
};

/// No refresh token is longer.
const MAX_REFRESH_TOKEN: usize = 32 * 1024;
/// Kinds of token that are of no use without a proof (RFC 9449, and drafts before it).
const BOUND: [&str; 3] = ["DPoP", "MAC", "PoP"];
/// A refresh token that is said to live for longer has no end that matters.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Kinds of token that no service takes as one (RFC 8693 §3).
const NOT_ACCESS: [&str; 3] = ["refresh_token", "saml1", "saml2"];

/// A token, and the scope that it has where the server says so.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) issued: Issued,
    pub(super) scope: Option<String>,
}

/// An answer that is of no use, and the refresh token in it.
#[derive(Debug)]
pub(super) struct Useless {
    pub(super) bad: Bad,
    pub(super) rotated: Option<Rotated>,
}

impl From<Bad> for Useless {
    fn from(bad: Bad) -> Self {
        Self { bad, rotated: None }
    }
}

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    #[error("the answer is a bare token, and OAuth's is a JSON object")]
    Bare,
    #[error("the answer has no `access_token`")]
    NoToken,
    #[error(
        "the token's type is {0}, which needs a proof with each use and is not supported; turn it off for this client"
    )]
    Kind(&'static str),
    #[error("the exchange gave a token of a kind that is no access token (issued_token_type)")]
    Issued,
    #[error("the new refresh token cannot be used: it {0}")]
    RefreshToken(&'static str),
}

/// Understands an answer of status 200.
pub(super) fn understood(content_type: Option<&str>, body: &[u8], grant: &Grant) -> Result<Granted, Useless> {
    let mut fields = object(content_type, body)?;
    let rotated = match grant {
        Grant::RefreshToken(_) => rotated(&mut fields)?,
        Grant::ClientCredentials
        | Grant::TokenExchange(_)
        | Grant::Assertion(_)
        | Grant::SignedAssertion(_) => None,
    };
    let life = refresh_life(&fields);
    match token(&mut fields, grant) {
        Ok(issued) => {
            let scope = fields.get("scope").and_then(Value::as_str).map(str::to_owned);
            let provenance = Provenance { refresh_life: life, ..issued.provenance };
            Ok(Granted { issued: Issued { refresh_token: rotated, provenance, ..issued }, scope })
        }
        Err(bad) => {
            let rotated = rotated.map(|refresh_token| Rotated { refresh_token, life });
            Err(Useless { bad, rotated })
        }
    }
}

fn object(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>, Bad> {
    let text = answer::text(content_type, body)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::String(_)) => Err(Bad::Bare),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            Err(BadAnswer::NotObject.into())
        }
        Err(_) if answer::bare(text).is_ok() && !text.starts_with(['{', '[', '"']) => Err(Bad::Bare),
        Err(_) => Err(BadAnswer::NotJson.into()),
    }
}

/// The access token.
fn token(fields: &mut Map<String, Value>, grant: &Grant) -> Result<Issued, Bad> {
    if fields.get("access_token").is_none_or(Value::is_null) {
        return Err(match fields.get("error").and_then(answer::code) {
            Some(code) => BadAnswer::Error(code).into(),
            None => Bad::NoToken,
        });
    }
    kind(fields, grant)?;
    // Another source's word for a token is nothing here.
    fields.remove("token");
    match answer::object(fields)? {
        Answer::Token(issued) => Ok(issued),
        Answer::TokenRequest { .. } => Err(Bad::NoToken),
    }
}

/// Is the token one that can be shown as it is (RFC 6750)? What is not known by name is: servers have words of their own
/// for it.
fn kind(fields: &Map<String, Value>, grant: &Grant) -> Result<(), Bad> {
    match fields.get("token_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) => {
            if let Some(bound) = BOUND.into_iter().find(|bound| bound.eq_ignore_ascii_case(kind)) {
                return Err(Bad::Kind(bound));
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(BadAnswer::WrongType("token_type").into());
        }
    }
    let exchanged = matches!(grant, Grant::TokenExchange(_));
    let issued = fields.get("issued_token_type").and_then(Value::as_str).unwrap_or_default();
    let issued = issued.strip_prefix("urn:ietf:params:oauth:token-type:").unwrap_or_default();
    if exchanged && NOT_ACCESS.contains(&issued) { Err(Bad::Issued) } else { Ok(()) }
}

/// How long the refresh token lives, by the name that Keycloak, GitHub or QuickBooks has for it. 0 is "without end".
fn refresh_life(fields: &Map<String, Value>) -> Option<Duration> {
    const NAMES: [&str; 3] = ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"];
    let seconds = NAMES.into_iter().find_map(|name| match fields.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })?;
    Duration::try_from_secs_f64(seconds).ok().filter(|life| !life.is_zero() && *life < LONGEST)
}

/// The next refresh token, fit to be kept and sent (RFC 6749, appendix A.17). An empty one is none.
fn rotated(fields: &mut Map<String, Value>) -> Result<Option<SecretText>, Bad> {
    let text = match fields.remove("refresh_token") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => SecretText::from(text),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Bad::RefreshToken("is no string"));
        }
    };
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_REFRESH_TOKEN {
        return Err(Bad::RefreshToken("is longer than 32 KiB"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(Bad::RefreshToken("has a line break, a NUL or other than visible ASCII in it"));
    }
    Ok(Some(text))
}

/// The scopes that were asked for and not granted.
pub(super) fn missing(asked: &[String], granted: &str) -> String {
    let missing: Vec<_> = asked
        .iter()
        .filter(|scope| !granted.split_ascii_whitespace().any(|one| one == scope.as_str()))
        .map(String::as_str)
        .collect();
    missing.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Template, TokenExchange};

    fn read(body: &str, grant: &Grant) -> Result<Granted, String> {
        understood(Some("application/json"), body.as_bytes(), grant)
            .map_err(|useless| useless.bad.to_string())
    }

    fn rotating() -> Grant {
        Grant::RefreshToken(Secret::literal("x"))
    }

    fn exchange() -> Grant {
        Grant::TokenExchange(Box::new(TokenExchange {
            subject_token: Template::parse("x"),
            subject_token_type: String::new(),
            actor_token: None,
            requested_token_type: None,
        }))
    }

    #[test]
    fn the_access_token_is_the_one_that_counts() {
        let body =
            r#"{"token":"other","access_token":"a","token_type":"bEaReR","id_token":7,"refresh_token":"r"}"#;
        let granted = read(body, &Grant::ClientCredentials).unwrap();
        assert_eq!(
            (granted.issued.text.as_str(), granted.issued.refresh_token),
            ("a", None),
            "not its grant"
        );
        let granted = read(body, &rotating()).unwrap();
        assert_eq!(granted.issued.refresh_token.unwrap().as_str(), "r");
        for none in
            [r#"{"access_token":"a","refresh_token":null}"#, r#"{"access_token":"a","refresh_token":""}"#]
        {
            assert_eq!(read(none, &rotating()).unwrap().issued.refresh_token, None);
        }
    }

    #[test]
    fn each_bad_answer_has_its_message() {
        let long =
            format!(r#"{{"access_token":"a","refresh_token":"{}"}}"#, "r".repeat(MAX_REFRESH_TOKEN + 1));
        for (body, said) in [
            ("abc", "the answer is a bare token, and OAuth's is a JSON object"),
            ("\"abc\"", "the answer is a bare token, and OAuth's is a JSON object"),
            ("{\"access_token\":\"ab", "the answer is neither JSON nor a token"),
            ("two words", "the answer is neither JSON nor a token"),
            ("[]", "the answer is JSON but no object"),
            ("", "the answer is empty"),
            ("<html>", "the answer is HTML: a login or an error page?"),
            ("{}", "the answer has no `access_token`"),
            (r#"{"token":"a"}"#, "the answer has no `access_token`"),
            (r#"{"keyName":"a.b","mac":"m","nonce":"n"}"#, "the answer has no `access_token`"),
            (r#"{"access_token":null}"#, "the answer has no `access_token`"),
            (r#"{"access_token":5}"#, "`access_token` has the wrong type"),
            (r#"{"error":"slow_down"}"#, "the source answered with the error slow_down"),
            (
                r#"{"access_token":"a","token_type":"dpop"}"#,
                "the token's type is DPoP, which needs a proof with each use and is not supported; turn it off for this client",
            ),
            (r#"{"access_token":"a","token_type":1}"#, "`token_type` has the wrong type"),
            (r#"{"access_token":"a","expires_in":-1}"#, "`expires_in` is negative"),
            (r#"{"access_token":"a","expires_in":[]}"#, "`expires_in` has the wrong type"),
            (
                r#"{"access_token":"CANARY\r\nX: 1"}"#,
                "the token has a line break, a NUL, white space or another control character in it",
            ),
            (
                r#"{"access_token":"CANARY\u0000"}"#,
                "the token has a line break, a NUL, white space or another control character in it",
            ),
            (
                r#"{"access_token":"a","refresh_token":"CANARY\n"}"#,
                "the new refresh token cannot be used: it has a line break, a NUL or other than visible ASCII in it",
            ),
            (
                r#"{"access_token":"a","refresh_token":"CANARY\u0000"}"#,
                "the new refresh token cannot be used: it has a line break, a NUL or other than visible ASCII in it",
            ),
            (
                r#"{"access_token":"a","refresh_token":{}}"#,
                "the new refresh token cannot be used: it is no string",
            ),
            (&long, "the new refresh token cannot be used: it is longer than 32 KiB"),
        ] {
            assert_eq!(read(body, &rotating()).unwrap_err(), said, "{body}");
        }
    }

    #[test]
    fn an_exchange_may_give_a_token_of_no_type() {
        let body = r#"{"access_token":"a","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}"#;
        assert_eq!(read(body, &exchange()).unwrap().issued.text, "a");
        let body = body.replace("type:jwt", "type:saml2");
        assert!(read(&body, &exchange()).unwrap_err().contains("issued_token_type"));
    }

    #[test]
    fn a_token_of_another_word_is_taken() {
        for word in ["bot", "user", "BearerToken", "N_A", ""] {
            let body = format!(r#"{{"access_token":"a","token_type":"{word}"}}"#);
            assert_eq!(read(&body, &rotating()).unwrap().issued.text, "a", "{word}");
        }
    }

    #[test]
    fn the_refresh_token_of_a_useless_answer_is_not_lost() {
        let useless = |body: &str| understood(None, body.as_bytes(), &rotating()).unwrap_err().rotated;
        for rest in [
            r#""access_token":5"#,
            r#""access_token":"a b""#,
            r#""access_token":"a","token_type":"DPoP""#,
            r#""access_token":"a","expires_in":[]"#,
            r#""no_token":"a""#,
        ] {
            let rotated = useless(&format!(r#"{{"refresh_token":"r2","refresh_expires_in":60,{rest}}}"#));
            let rotated = rotated.unwrap_or_else(|| panic!("{rest}"));
            assert_eq!((rotated.refresh_token.as_str(), rotated.life), ("r2", Some(Duration::from_secs(60))));
        }
        assert_eq!(useless(r#"{"access_token":5}"#), None);
        // What cannot be sent again is none.
        assert_eq!(useless(r#"{"access_token":"a","refresh_token":"r\n"}"#), None);
    }

    #[test]
    fn the_end_of_a_refresh_token_is_read() {
        for (told, life) in [
            (r#""refresh_expires_in":20"#, Some(20)),
            (r#""refresh_token_expires_in":"15897600""#, Some(15_897_600)),
            (r#""x_refresh_token_expires_in":8726400"#, Some(8_726_400)),
            (r#""refresh_expires_in":0"#, None),
            (r#""refresh_expires_in":-1"#, None),
            (r#""refresh_expires_in":"never""#, None),
            (r#""refresh_expires_in":1e300"#, None),
        ] {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r",{told}}}"#);
            let granted = read(&body, &rotating()).unwrap();
            assert_eq!(granted.issued.provenance.refresh_life, life.map(Duration::from_secs), "{told}");
        }
    }

    #[test]
    fn what_was_not_granted_is_found() {
        let asked = ["a", "b", "ab"].map(str::to_owned);
        assert_eq!(missing(&asked, "ab c"), "a b");
        assert_eq!(missing(&asked, "b a ab"), "");
    }
}
