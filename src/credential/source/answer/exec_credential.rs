//! What the credential plugins of kubectl print (Kubernetes, `client.authentication.k8s.io`).
//!
//! ```text
//!   { "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
//!     "status": { "token": "...", "expirationTimestamp": "2030-01-01T00:00:00Z" } }
//! ```
//!
//! Where the end is not told, it is the token's own.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{BadAnswer, Issued, jwt_life, sound};
use crate::credential::keeper::Life;

/// The versions whose `status` is as above.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

pub(super) fn is_one(fields: &Map<String, Value>) -> bool {
    fields.get("kind").is_some_and(|kind| kind == "ExecCredential")
}

pub(super) fn read(fields: &Map<String, Value>) -> Result<Issued, BadAnswer> {
    let version = fields.get("apiVersion").and_then(Value::as_str);
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Err(BadAnswer::CredentialVersion);
    }
    let status = match fields.get("status") {
        Some(Value::Object(status)) => status,
        Some(Value::Null) | None => return Err(BadAnswer::NoCredential),
        Some(_) => return Err(BadAnswer::WrongType("status")),
    };
    let has = |name| status.get(name).is_some_and(|value| !value.is_null());
    let text = match status.get("token") {
        Some(Value::String(text)) if !text.is_empty() => text,
        Some(Value::String(_) | Value::Null) | None if has("clientCertificateData") => {
            return Err(BadAnswer::OnlyCertificate);
        }
        Some(Value::String(_) | Value::Null) | None => return Err(BadAnswer::NoCredential),
        Some(_) => return Err(BadAnswer::WrongType("token")),
    };
    sound(text)?;
    let life = match status.get("expirationTimestamp") {
        Some(Value::Null) | None => jwt_life(text),
        Some(value) => Life::Until { wall: moment(value)?, at_most: None },
    };
    Ok(Issued::new(text.clone(), life))
}

/// RFC 3339 and nothing else, since the Unix epoch.
fn moment(value: &Value) -> Result<Duration, BadAnswer> {
    let name = "expirationTimestamp";
    let at: jiff::Timestamp =
        value.as_str().and_then(|text| text.parse().ok()).ok_or(BadAnswer::WrongType(name))?;
    u64::try_from(at.as_millisecond()).map(Duration::from_millis).map_err(|_| BadAnswer::Negative(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credential::source::answer::{Answer, parse};

    fn credential(version: &str, status: &Value) -> Result<Issued, BadAnswer> {
        let api = format!("client.authentication.k8s.io/{version}");
        let text = json!({"kind": "ExecCredential", "apiVersion": api, "spec": {}, "status": status});
        match parse(None, text.to_string().as_bytes())? {
            Answer::Token(issued) => Ok(issued),
            Answer::TokenRequest { .. } => panic!("no TokenRequest"),
        }
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
        let end = |value: Value| json!({"token": "abc", "expirationTimestamp": value});
        let cases = [
            ("v1alpha1", json!({"token": "abc"}), BadAnswer::CredentialVersion),
            ("v1", Value::Null, BadAnswer::NoCredential),
            ("v1", json!({}), BadAnswer::NoCredential),
            ("v1", json!({"token": ""}), BadAnswer::NoCredential),
            ("v1", json!("CANARY"), BadAnswer::WrongType("status")),
            ("v1", certificate, BadAnswer::OnlyCertificate),
            ("v1", json!({"token": 5, "clientCertificateData": "x"}), BadAnswer::WrongType("token")),
            ("v1", json!({"token": "CANARY\n"}), BadAnswer::Control),
            ("v1", end(json!("soon")), BadAnswer::WrongType("expirationTimestamp")),
            ("v1", end(json!(1_800_000_000)), BadAnswer::WrongType("expirationTimestamp")),
            ("v1", end(json!("1969-01-01T00:00:00Z")), BadAnswer::Negative("expirationTimestamp")),
        ];
        for (version, status, reason) in cases {
            let error = credential(version, &status).unwrap_err();
            assert!(!error.to_string().contains("CANARY"));
            assert_eq!(error, reason, "{status}");
        }
    }
}
