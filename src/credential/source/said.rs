//! What a server says of its refusal: a code, and its reason in its own words.
//!
//! The words are for an operator who has to do something about it. At most 200 printable characters of them are shown, and
//! no secret: what was sent is masked wherever it stands, and so is what looks like a secret.

use serde_json::{Map, Value};

use super::super::{answer, mask::Mask};

/// Longer reasons are cut.
const MOST: usize = 200;

/// Where servers put their reason, the first that is there.
const REASONS: [&str; 6] = ["error_description", "message", "errorSummary", "error_summary", "msg", "detail"];

/// Where servers put codes of their own.
const CODES: [&str; 5] = ["error_codes", "suberror", "error_code", "errorCode", "status"];

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// It is a JSON object: the server's own answer, and no page of something before it.
    pub(super) is_json: bool,
    /// OAuth's code.
    pub(super) code: Option<String>,
    /// Everything else, fit to be shown.
    pub(super) reason: Option<String>,
}

impl Said {
    /// Reads an answer; `mask` knows what was sent.
    pub(super) fn of(body: &[u8], mask: &Mask) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let Ok(Value::Object(fields)) = serde_json::from_str(text.trim_start_matches('\u{feff}')) else {
            return Self::default();
        };
        let error = fields.get("error");
        let code = error.filter(|error| error.is_string()).and_then(answer::code);
        let mut words = Vec::new();
        match error {
            Some(Value::Object(inner)) => words_of(inner, &mut words),
            Some(Value::String(text)) if code.is_none() => words.push(text.clone()),
            _ => {}
        }
        words_of(&fields, &mut words);
        let reason = Some(words.join(", ")).filter(|reason| !reason.is_empty());
        Self { is_json: true, code, reason: reason.map(|reason| shown(&reason, mask)) }
    }

    /// Does it speak of this?
    pub(super) fn speaks_of(&self, word: &str) -> bool {
        let all = self.code.iter().chain(&self.reason);
        all.into_iter().any(|text| text.to_ascii_lowercase().contains(word))
    }
}

fn words_of(fields: &Map<String, Value>, words: &mut Vec<String>) {
    let text = |name: &&str| fields.get(*name).and_then(Value::as_str).map(str::trim);
    words.extend(REASONS.iter().filter_map(text).find(|text| !text.is_empty()).map(str::to_owned));
    for value in CODES.iter().filter_map(|name| fields.get(*name)) {
        match value {
            Value::String(word) if !word.is_empty() && !words.contains(word) => words.push(word.clone()),
            Value::Number(number) => words.push(number.to_string()),
            Value::Array(all) => {
                words.extend(all.iter().filter(|one| one.is_number()).map(ToString::to_string))
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
    }
}

/// One line of it.
fn shown(text: &str, mask: &Mask) -> String {
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let cut = line.char_indices().nth(MOST).map(|(at, _)| at);
    mask.line(&line[..cut.unwrap_or(line.len())], cut.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> (Option<String>, Option<String>) {
        let mut mask = Mask::default();
        mask.add("s3cret");
        let said = Said::of(body.as_bytes(), &mask);
        (said.code, said.reason)
    }

    #[test]
    fn each_server_has_its_own_way_to_say_it() {
        for (body, code, reason) in [
            (
                r#"{"error":"invalid_grant","error_description":"Token is not active"}"#,
                Some("invalid_grant"),
                Some("Token is not active"),
            ),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000222: keys are expired.","error_codes":[7000222]}"#,
                Some("invalid_client"),
                Some("AADSTS7000222: keys are expired., 7000222"),
            ),
            (r#"{"error":"Realm does not exist"}"#, None, Some("Realm does not exist")),
            (
                r#"{"error":{"code":400,"message":"TOKEN_EXPIRED","status":"INVALID_ARGUMENT"}}"#,
                None,
                Some("TOKEN_EXPIRED, INVALID_ARGUMENT"),
            ),
            (r#"{"status":400,"message":"Invalid refresh token"}"#, None, Some("Invalid refresh token, 400")),
            (r#"{"ok":false,"error":"invalid_refresh_token"}"#, Some("invalid_refresh_token"), None),
            (r#"{"errorCode":"E0000021","errorSummary":"Bad request"}"#, None, Some("Bad request, E0000021")),
            ("{}", None, None),
        ] {
            assert_eq!(said(body), (code.map(str::to_owned), reason.map(str::to_owned)), "{body}");
        }
        for page in ["<html>", "", "[]", "\"invalid_grant\"", "null", "\u{0}"] {
            let said = Said::of(page.as_bytes(), &Mask::default());
            assert_eq!((said.is_json, said.code, said.reason), (false, None, None), "{page}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line_without_secrets() {
        let long = format!(r#"{{"error_description":"{}"}}"#, "word ".repeat(100));
        let (_, reason) = said(&long);
        assert!(reason.unwrap().chars().count() <= MOST + 4);
        let quoting = r#"{"error_description":"wrong s3cret\nfor\u0007 Bearer abcdefgh1234"}"#;
        let reason = said(quoting).1.unwrap();
        assert!(!reason.contains("s3cret") && !reason.contains("abcdefgh1234"), "{reason}");
        assert!(!reason.contains(['\n', '\u{7}']) && reason.starts_with("wrong ***"), "{reason}");
    }
}
