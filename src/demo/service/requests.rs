//! The plain requests: tokens, and the time.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value as Json, json};
use std::time::Duration;

use super::{
    connect::millis,
    credential::{Denial, Flaw, Minted},
    faults::TokenFault,
    http::plain,
    hub::Shared,
    options::TokenAnswer,
};
use crate::clock::Now;

/// The longest life that may be asked for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `GET /token`: for `clientId`, for `ttl` milliseconds, where the query says so.
pub(super) async fn token(query: &str, shared: &Shared) -> Response<Full<Bytes>> {
    if let Err(response) = failing(shared).await {
        return response;
    }
    let asked = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    };
    let options = &shared.options;
    let client_id = asked("clientId").or_else(|| options.token_client_id.clone());
    let lifetime =
        asked("ttl").and_then(|t| t.parse().ok()).map_or(options.token_lifetime, Duration::from_millis);
    let wall = Now::read().wall;
    let minted = {
        let mut hub = shared.lock();
        match options.token_answer {
            TokenAnswer::Jwt => hub.issuer.mint(lifetime.min(LONGEST), client_id, wall),
            TokenAnswer::Details | TokenAnswer::Bare => {
                hub.issuer.issue(lifetime.min(LONGEST), client_id, wall)
            }
        }
    };
    shared.ledger.count(|c| c.tokens_issued += 1);
    match options.token_answer {
        TokenAnswer::Details => as_json(StatusCode::OK, &details(&minted, shared.options.key.name())),
        TokenAnswer::Bare => plain(StatusCode::OK, &minted.token),
        TokenAnswer::Jwt => {
            let mut response = plain(StatusCode::OK, &minted.token);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwt"));
            response
        }
    }
}

/// `POST /keys/{keyName}/requestToken`: signed with the key, or authorised by it.
pub(super) async fn request_token(
    name: &str,
    authorization: Option<&str>,
    body: &[u8],
    shared: &Shared,
) -> Response<Full<Bytes>> {
    if let Err(response) = failing(shared).await {
        return response;
    }
    // In the format that the client speaks.
    let json = serde_json::from_slice(body).ok();
    let request: Json = json.or_else(|| rmp_serde::from_slice(body).ok()).unwrap_or_default();
    match grant(name, authorization, &request, shared) {
        Ok(minted) => {
            shared.ledger.count(|c| c.tokens_issued += 1);
            as_json(StatusCode::CREATED, &details(&minted, name))
        }
        Err(denial) => {
            shared.ledger.count(|c| c.bad_credentials += 1);
            let status = StatusCode::from_u16(u16::try_from(denial.status).unwrap_or(400));
            let error = json!({ "error": {
                "code": denial.code, "statusCode": denial.status, "message": denial.message,
            }});
            as_json(status.unwrap_or(StatusCode::BAD_REQUEST), &error)
        }
    }
}

/// `GET /time`.
pub(super) fn time() -> Response<Full<Bytes>> {
    as_json(StatusCode::OK, &json!([millis(Now::read().wall)]))
}

/// Counts a request for a token, and does to it what a fault orders.
async fn failing(shared: &Shared) -> Result<(), Response<Full<Bytes>>> {
    shared.ledger.count(|c| c.token_requests += 1);
    let fault = shared.lock().standing.token.pop_front();
    match fault {
        None => Ok(()),
        Some(TokenFault::Status(status)) => Err(plain(status_of(status), "")),
        Some(TokenFault::RetryAfter(status, seconds)) => {
            let mut response = plain(status_of(status), "");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Err(response)
        }
        Some(TokenFault::Body(body)) => Err(plain(StatusCode::OK, &body)),
        Some(TokenFault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        // The caller's task ends with its connection, or with the service.
        Some(TokenFault::Hang) => std::future::pending().await,
    }
}

fn grant(name: &str, authorization: Option<&str>, request: &Json, shared: &Shared) -> Result<Minted, Denial> {
    let invalid = Denial { code: 40101, status: 401, message: "invalid credentials", flaw: Flaw::Bad };
    let now = Now::read();
    let mut hub = shared.lock();
    if name != hub.issuer.key().name() {
        return Err(Denial { code: 40400, status: 404, message: "no such key", ..invalid });
    }
    if let Some(mac) = request["mac"].as_str() {
        if !hub.issuer.key().signs(&signed_text(request), mac) {
            return Err(invalid);
        }
        let nonce = request["nonce"].as_str().filter(|n| n.len() >= 16).ok_or(invalid)?;
        let timestamp = Duration::from_millis(request["timestamp"].as_u64().unwrap_or(0));
        hub.issuer.takes_nonce(nonce, timestamp, now.wall)?;
    } else {
        let basic = format!("Basic {}", STANDARD.encode(hub.issuer.key().expose()));
        if authorization != Some(basic.as_str()) {
            return Err(invalid);
        }
    }
    let lifetime = request["ttl"].as_u64().map_or(shared.options.token_lifetime, Duration::from_millis);
    if lifetime > LONGEST {
        return Err(Denial { code: 40003, status: 400, message: "ttl too long", flaw: Flaw::Bad });
    }
    let client_id = request["clientId"].as_str().map(str::to_owned);
    Ok(hub.issuer.issue(lifetime, client_id, now.wall))
}

/// What the `mac` of a token request is over: each member on a line of its own, absent ones empty.
fn signed_text(request: &Json) -> String {
    let mut text = String::new();
    for name in ["keyName", "ttl", "capability", "clientId", "timestamp", "nonce"] {
        match &request[name] {
            Json::String(value) => text.push_str(value),
            Json::Number(value) => text.push_str(&value.to_string()),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {}
        }
        text.push('\n');
    }
    text
}

fn details(minted: &Minted, key_name: &str) -> Json {
    let mut details = json!({
        "token": minted.token,
        "keyName": key_name,
        "issued": millis(minted.issued),
        "expires": millis(minted.expires),
        "capability": r#"{"*":["*"]}"#,
    });
    if let (Some(id), Json::Object(details)) = (&minted.client_id, &mut details) {
        details.insert("clientId".into(), id.as_str().into());
    }
    details
}

fn as_json(status: StatusCode, body: &Json) -> Response<Full<Bytes>> {
    let mut response = plain(status, &body.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::service::Key;

    /// The vectors are ably-js's own.
    #[test]
    fn a_token_request_is_signed_over_its_lines() {
        let key = Key::parse("xVLyHw.Dhzg9g:secretsecretsecret").unwrap();
        let bare = json!({"keyName": "xVLyHw.Dhzg9g", "timestamp": 1_700_000_000_000_u64, "nonce": "0123456789abcdef"});
        assert!(key.signs(&signed_text(&bare), "W1+o8EnJ+zwFNghDknhK9j0HyNOfBMrgcdxvDej+/+4="));
        let mut full = bare;
        full["ttl"] = json!(3_600_000);
        full["clientId"] = json!("bob");
        full["capability"] = json!(r#"{"*":["subscribe"],"private":["publish","subscribe"]}"#);
        assert!(key.signs(&signed_text(&full), "efHRDHkUAQen34egED5/xDvxK9n80qZPiHvMYijBRlQ="));
        assert!(!key.signs(&signed_text(&full), "W1+o8EnJ+zwFNghDknhK9j0HyNOfBMrgcdxvDej+/+4="));
    }
}
