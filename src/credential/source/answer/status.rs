//! Kubernetes puts a token into the `status` of an object: a credential plugin of kubectl, and the TokenRequest API.
//!
//! ```text
//!   { "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
//!     "status": { "token": "...", "expirationTimestamp": "2030-01-01T00:00:00Z" } }
//! ```
//!
//! If the end is not told, it is the token's own.

use serde_json::{Map, Value};

use super::{BadAnswer, Issued, life, word};

/// The versions of an ExecCredential whose `status` is as above.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The `status` of such an object; `None`: it is another one.
pub(super) fn of(fields: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, BadAnswer> {
    let version = fields.get("apiVersion").and_then(Value::as_str);
    match fields.get("kind").and_then(Value::as_str) {
        Some("ExecCredential") if !version.is_some_and(|version| VERSIONS.contains(&version)) => {
            return Err(BadAnswer::CredentialVersion);
        }
        Some("ExecCredential" | "TokenRequest") => {}
        Some(_) | None => return Ok(None),
    }
    match fields.get("status") {
        Some(Value::Object(status)) => Ok(Some(status)),
        Some(Value::Null) | None => Err(BadAnswer::NoCredential),
        Some(_) => Err(BadAnswer::WrongType("status")),
    }
}

pub(super) fn token(status: &Map<String, Value>) -> Result<Issued, BadAnswer> {
    let has = |name| status.get(name).is_some_and(|value| !value.is_null());
    let text = match status.get("token") {
        Some(Value::String(text)) if !text.is_empty() => text,
        Some(Value::String(_) | Value::Null) | None if has("clientCertificateData") => {
            return Err(BadAnswer::OnlyCertificate);
        }
        Some(Value::String(_) | Value::Null) | None => return Err(BadAnswer::NoCredential),
        Some(_) => return Err(BadAnswer::WrongType("token")),
    };
    let issued = word(text)?;
    Ok(Issued { life: life::told(status).unwrap_or(issued.life), ..issued })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::{
        config::AnswerForm,
        credential::{
            keeper::Life,
            source::answer::{Answer, Reader},
        },
    };

    fn read(text: &Value) -> Result<Issued, BadAnswer> {
        let read = Reader::of(&AnswerForm::Auto).read(&HeaderMap::new(), None, text.to_string().as_bytes());
        match read.map_err(|useless| useless.bad)? {
            Answer::Token(issued) => Ok(issued),
            Answer::TokenRequest { .. } => panic!("no TokenRequest"),
        }
    }

    fn credential(version: &str, status: &Value) -> Result<Issued, BadAnswer> {
        let api = format!("client.authentication.k8s.io/{version}");
        read(&json!({"kind": "ExecCredential", "apiVersion": api, "spec": {}, "status": status}))
    }

    #[test]
    fn the_token_request_api_answers_alike() {
        let status = json!({"token": "abc", "expirationTimestamp": "2027-01-15T08:00:00Z"});
        let issued = read(
            &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": status}),
        );
        let wall = Duration::from_secs(1_800_000_000);
        assert_eq!(issued, Ok(Issued::new("abc", Life::Until { wall, at_most: None })));
    }

    #[test]
    fn a_token_and_its_end_are_read() {
        for version in ["v1", "v1beta1"] {
            let status = json!({"token": "abc", "expirationTimestamp": "2027-01-15T09:00:00+01:00"});
            let wall = Duration::from_secs(1_800_000_000);
            let issued = credential(version, &status).unwrap();
            assert_eq!((&*issued.text, issued.life), ("abc", Life::Until { wall, at_most: None }));
        }
        // A certificate beside a token is not needed here, and no harm.
        let status = json!({"token": "abc", "clientCertificateData": "x", "expirationTimestamp": null});
        assert_eq!(credential("v1", &status).unwrap().life, Life::Unknown);
        // {"exp":1800000000}
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE4MDAwMDAwMDB9.c2ln";
        let wall = Duration::from_secs(1_800_000_000);
        assert_eq!(
            credential("v1", &json!({"token": jwt})).unwrap().life,
            Life::Until { wall, at_most: None }
        );
    }

    #[test]
    fn everything_else_has_a_reason() {
        let certificate = json!({"clientCertificateData": "CANARY", "clientKeyData": "CANARY"});
        let cases = [
            ("v1alpha1", json!({"token": "abc"}), BadAnswer::CredentialVersion),
            ("v1", Value::Null, BadAnswer::NoCredential),
            ("v1", json!({}), BadAnswer::NoCredential),
            ("v1", json!({"token": ""}), BadAnswer::NoCredential),
            ("v1", json!("CANARY"), BadAnswer::WrongType("status")),
            ("v1", certificate, BadAnswer::OnlyCertificate),
            ("v1", json!({"token": 5, "clientCertificateData": "x"}), BadAnswer::WrongType("token")),
            ("v1", json!({"token": "CANARY\n"}), BadAnswer::Control),
        ];
        for (version, status, reason) in cases {
            let error = credential(version, &status).unwrap_err();
            assert!(!error.to_string().contains("CANARY"));
            assert_eq!(error, reason, "{status}");
        }
    }
}
