//! What is OAuth's own in an answer of status 200 (RFC 6749 §5.1, RFC 8693 §2.2.1).
//!
//! ```text
//!   { access_token, expires_in, refresh_token …   as any source's: `source::answer`
//!     token_type, issued_token_type               is it one that can be shown as it is?
//!     scope }                                     what was really granted
//! ```

use http::HeaderMap;
use serde_json::{Map, Value};

use super::super::{
    Issued,
    answer::{Answer, BadAnswer, Opened, Reader, Useless},
};
use crate::config::{AnswerForm, Grant, OAuth2Source};

/// Kinds of token that are of no use without a proof (RFC 9449, and drafts before it).
const BOUND: [&str; 3] = ["DPoP", "MAC", "PoP"];
/// Kinds of token that no service takes as one (RFC 8693 §3).
const NOT_ACCESS: [&str; 3] = ["refresh_token", "saml1", "saml2"];

/// A token, and the scope that it has where the server says so.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) issued: Issued,
    pub(super) scope: Option<String>,
}

/// Understands an answer of status 200. `before`: the token that is to be replaced.
pub(super) fn understood(
    source: &OAuth2Source,
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Granted, Useless> {
    let opened = Opened::new(headers, content_type, body);
    let rotates = matches!(source.grant, Grant::RefreshToken(_));
    let read = Reader { form: &source.answer, before: None, rotates }.understand(&opened)?;
    let Answer::Token(issued) = read else { return Err(BadAnswer::NoToken.into()) };
    let looked_at = match opened.object() {
        Some(fields) => kind(fields, &source.grant),
        None if source.answer == AnswerForm::Auto => Err(BadAnswer::Bare),
        None => Ok(()),
    };
    looked_at.map_err(|bad| Useless::with(bad, &issued))?;
    let scope = opened.object().and_then(|fields| fields.get("scope")?.as_str()).map(str::to_owned);
    Ok(Granted { issued, scope })
}

/// Is the token one that can be shown as it is (RFC 6750)? What is not known by name is: servers have words of their own
/// for it.
fn kind(fields: &Map<String, Value>, grant: &Grant) -> Result<(), BadAnswer> {
    match fields.get("token_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) => {
            if let Some(bound) = BOUND.into_iter().find(|bound| bound.eq_ignore_ascii_case(kind)) {
                return Err(BadAnswer::Bound(bound));
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(BadAnswer::WrongType("token_type"));
        }
    }
    let exchanged = matches!(grant, Grant::TokenExchange(_));
    let issued = fields.get("issued_token_type").and_then(Value::as_str).unwrap_or_default();
    let issued = issued.strip_prefix("urn:ietf:params:oauth:token-type:").unwrap_or_default();
    if exchanged && NOT_ACCESS.contains(&issued) { Err(BadAnswer::NotAccess) } else { Ok(()) }
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

    fn read(body: &str, grant: Grant) -> Result<Granted, Useless> {
        let source = OAuth2Source { grant, ..super::super::tests::source(1) };
        understood(&source, &HeaderMap::new(), Some("application/json"), body.as_bytes())
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
        let granted = read(body, Grant::ClientCredentials).unwrap();
        assert_eq!(
            (granted.issued.text.as_str(), granted.issued.refresh_token),
            ("a", None),
            "not its grant"
        );
        let granted = read(body, rotating()).unwrap();
        assert_eq!(granted.issued.refresh_token.unwrap().as_str(), "r");
    }

    #[test]
    fn each_bad_answer_has_its_message() {
        for (body, said) in [
            ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", BadAnswer::Bare),
            ("\"abc\"", BadAnswer::Bare),
            ("two words", BadAnswer::NotJson),
            ("[]", BadAnswer::NotObject),
            ("", BadAnswer::Empty),
            ("<html>", BadAnswer::Html),
            ("{}", BadAnswer::NoToken),
            (r#"{"keyName":"a.b","mac":"m","nonce":"n"}"#, BadAnswer::NoToken),
            (r#"{"access_token":"a","token_type":"dpop"}"#, BadAnswer::Bound("DPoP")),
            (r#"{"access_token":"a","token_type":1}"#, BadAnswer::WrongType("token_type")),
        ] {
            assert_eq!(read(body, rotating()).unwrap_err().bad, said, "{body}");
        }
    }

    #[test]
    fn an_exchange_may_give_a_token_of_no_type() {
        let body = r#"{"access_token":"a","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}"#;
        assert_eq!(read(body, exchange()).unwrap().issued.text, "a");
        let body = body.replace("type:jwt", "type:saml2");
        assert_eq!(read(&body, exchange()).unwrap_err().bad, BadAnswer::NotAccess);
    }

    #[test]
    fn a_token_of_another_word_is_taken() {
        for word in ["bot", "user", "BearerToken", "N_A", ""] {
            let body = format!(r#"{{"access_token":"a","token_type":"{word}"}}"#);
            assert_eq!(read(&body, rotating()).unwrap().issued.text, "a", "{word}");
        }
    }

    #[test]
    fn the_refresh_token_beside_a_token_of_no_use_is_kept() {
        let useless = read(r#"{"access_token":"a","token_type":"DPoP","refresh_token":"r2"}"#, rotating());
        assert_eq!(useless.unwrap_err().rotated.unwrap().refresh_token.as_str(), "r2");
    }

    #[test]
    fn what_was_not_granted_is_found() {
        let asked = ["a", "b", "ab"].map(str::to_owned);
        assert_eq!(missing(&asked, "ab c"), "a b");
        assert_eq!(missing(&asked, "b a ab"), "");
    }
}
