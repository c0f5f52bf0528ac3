//! What a server says of its refusal: a code, and its reason in its own words.
//!
//! The words are for an operator who has to do something about it. At most 200 printable characters of them are shown, and
//! no secret: what was sent is masked wherever it stands, and so is what looks like a secret.

use serde_json::{Map, Value};

use super::{answer, mask::Mask};

/// Longer reasons are cut.
const MOST: usize = 200;

/// Where servers put their reason, the first that is there.
const REASONS: [&str; 9] = [
    "error_description",
    "message",
    "errorSummary",
    "error_summary",
    "msg",
    "err_msg",
    "detail",
    "title",
    "reason",
];

/// Where servers put codes of their own.
const CODES: [&str; 8] =
    ["error_codes", "suberror", "error_code", "errorCode", "err_code", "status", "code", "__type"];

/// How it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object: the server's own answer.
    Json,
    /// Nothing at all, or a few words.
    #[default]
    Words,
    /// For people: it may be of something before the server.
    Page,
}

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) form: Form,
    /// OAuth's code.
    pub(super) code: Option<String>,
    /// Everything else, fit to be shown.
    pub(super) reason: Option<String>,
}

impl Said {
    /// Reads an answer; `mask` knows what was sent.
    pub(super) fn of(body: &[u8], mask: &Mask) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let text = text.trim_start_matches('\u{feff}').trim();
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            if text.starts_with('<') {
                return Self { form: Form::Page, ..Self::default() };
            }
            let reason = Some(text).filter(|text| !text.is_empty()).map(|text| shown(text, mask));
            return Self { reason, ..Self::default() };
        };
        let error = fields.get("error");
        let code = error.filter(|error| error.is_string()).and_then(answer::code);
        let mut words = Vec::new();
        let listed = fields.get("errors").and_then(|errors| errors.get(0));
        for error in [error, listed].into_iter().flatten() {
            match error {
                Value::Object(inner) => words_of(inner, &mut words),
                Value::String(text) if code.is_none() => words.push(text.clone()),
                Value::Array(all) => words.extend(all.iter().filter_map(Value::as_str).map(str::to_owned)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        words_of(&fields, &mut words);
        let reason = Some(words.join(", ")).filter(|reason| !reason.is_empty());
        Self { form: Form::Json, code, reason: reason.map(|reason| shown(&reason, mask)) }
    }

    /// Is an answer of status 200 an error all the same?
    pub(super) fn is_in(body: &[u8]) -> bool {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return false };
        let is = |name: &str, what: fn(&Value) -> bool| fields.get(name).is_some_and(what);
        let no = |value: &Value| *value == Value::Bool(false);
        let some = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(all) => !all.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_) => true,
        };
        let told = ["message", "msg"].iter().any(|name| is(name, Value::is_string));
        ["error", "errors", "error_code", "errorCode"].iter().any(|name| is(name, some))
            || ["ok", "success"].iter().any(|name| is(name, no))
            || is("code", some) && told
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
                Some("TOKEN_EXPIRED, INVALID_ARGUMENT, 400"),
            ),
            (r#"{"status":400,"message":"Invalid refresh token"}"#, None, Some("Invalid refresh token, 400")),
            (r#"{"ok":false,"error":"invalid_refresh_token"}"#, Some("invalid_refresh_token"), None),
            (r#"{"errorCode":"E0000021","errorSummary":"Bad request"}"#, None, Some("Bad request, E0000021")),
            (r#"{"errors":["permission denied"]}"#, None, Some("permission denied")),
            (
                r#"{"__type":"NotAuthorizedException","message":"Refresh Token has expired"}"#,
                None,
                Some("Refresh Token has expired, NotAuthorizedException"),
            ),
            (r#"{"code":"400100","msg":"Parameter Error"}"#, None, Some("Parameter Error, 400100")),
            (r#"{"error":["EAPI:Invalid key"]}"#, None, Some("EAPI:Invalid key")),
            (
                r#"{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}"#,
                None,
                Some("Invalid credentials., INVALID_AUTH"),
            ),
            ("Unauthorized\n", None, Some("Unauthorized")),
            ("{}", None, None),
        ] {
            assert_eq!(said(body), (code.map(str::to_owned), reason.map(str::to_owned)), "{body}");
        }
        for (page, form) in [("<html>", Form::Page), ("", Form::Words), (" ", Form::Words)] {
            let said = Said::of(page.as_bytes(), &Mask::default());
            assert_eq!((said.form, said.code, said.reason), (form, None, None), "{page}");
        }
    }

    #[test]
    fn an_error_may_come_with_status_200() {
        for body in [
            r#"{"ok":false,"error":"invalid_auth"}"#,
            r#"{"error":{"code":1}}"#,
            r#"{"errors":["no"]}"#,
            r#"{"error":["EAPI:Invalid key"]}"#,
            r#"{"success":false}"#,
            r#"{"code":"400100","msg":"Parameter Error"}"#,
        ] {
            assert!(Said::is_in(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"status":"ok"}"#,
            r#"{"error":null}"#,
            r#"{"error":[]}"#,
            r#"{"ok":true}"#,
            "[]",
            "",
            "error",
        ] {
            assert!(!Said::is_in(body.as_bytes()), "{body}");
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
