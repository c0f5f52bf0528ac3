//! The configured client as it asks: its requests, and what the token endpoint answers.
//!
//! ```text
//!   fields ──► + proof, parameters, headers ──► POST ──► 200 ──► a refresh token: Got
//!                                                 └────► no, nothing, nonsense: Failure, with what to do about it
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::{Got, LoginError};
use crate::{
    clock::{self, Now},
    config::{OAuth2Source, Template},
    credential::source::{
        SourceError,
        mask::Mask,
        oauth2::{
            TokenEndpoint,
            advice::Shown,
            answer::{self, Granted},
            asked::{self, Asked, Form},
        },
        refusal::{Refused, Sent},
        request::{MAX_ANSWER, content_type, request},
    },
    net::http::{self as net_http, HttpError},
};

/// What the token endpoint is called in an error.
const TOKEN: &str = "the token endpoint";

/// The client of the route.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) source: OAuth2Source,
    pub(super) token: Arc<TokenEndpoint>,
    /// Of each request.
    pub(super) timeout: Duration,
}

/// Why a request gave nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// OAuth's code, if the server gave one.
    pub(super) code: Option<String>,
    /// Is the same worth another try?
    pub(super) passes: bool,
    pub(super) reason: String,
}

impl Client {
    /// The client's name. A grant by refresh token has one: the configuration is refused without.
    pub(super) fn id(&self) -> &str {
        self.source.client_id.as_deref().unwrap_or_default()
    }

    /// For what the configuration asks, as fields of a request.
    pub(super) fn wanted(&self) -> Result<Vec<(&'static str, String)>, SourceError> {
        asked::wanted(&self.source, &|_| None)
    }

    /// Posts a form with the client's proof. What was sent is in the mask.
    pub(super) async fn post(
        &self,
        endpoint: &TokenEndpoint,
        whom: &'static str,
        form: Form,
    ) -> Result<(Response<Bytes>, Mask), Failure> {
        let now = Now::read();
        let asked = asked::proven(&self.source, form, &|_| None, &self.token.url, now);
        let Asked { headers, body, mask, .. } = asked.map_err(|error| Failure::lasting(error.reason))?;
        let request = request(Method::POST, &endpoint.target, headers, body);
        let request = request.map_err(|error| Failure::lasting(error.reason))?;
        let answer =
            net_http::request(&endpoint.dialer, request, MAX_ANSWER, clock::now() + self.timeout).await;
        let response = answer.map_err(|error| Failure {
            code: None,
            passes: !matches!(error, HttpError::TooLarge { .. }),
            reason: format!("{whom}: {error}"),
        })?;
        Ok((response, mask))
    }

    /// Asks the token endpoint.
    pub(super) async fn redeem(&self, form: Form) -> Result<Got, Failure> {
        let (response, mask) = self.post(&self.token, TOKEN, form).await?;
        if !response.status().is_success() {
            return Err(self.refused(TOKEN, &response, &mask));
        }
        let useless = |what: &str| Failure::lasting(format!("{TOKEN}: {what}"));
        let kind = content_type(&response).map_err(useless)?;
        let granted = answer::understood(&self.source, response.headers(), kind, response.body());
        let Granted { issued, .. } = granted.map_err(|bad| match bad.is_refusal(response.body()) {
            // Some servers have no other status.
            true => self.refused(TOKEN, &response, &mask),
            false => useless(&bad.bad.to_string()),
        })?;
        let refresh_token = issued.refresh_token.ok_or_else(|| Failure::lasting(self.none_came()))?;
        let life = issued.provenance.refresh_life;
        Ok(Got { refresh_token, ends: life.and_then(|life| Now::read().wall.checked_add(life)) })
    }

    /// What a server's no means, and what is to be done about it.
    pub(super) fn refused(&self, whom: &'static str, response: &Response<Bytes>, mask: &Mask) -> Failure {
        let signed = self.source.signers().next().is_some();
        let refused = Refused::of(response, mask, signed, Now::read());
        let usual = || Shown { source: &self.source, rotated: false }.advice(&refused);
        let advice = advice(refused.said.code.as_deref(), whom).or_else(|| match refused.status {
            StatusCode::NOT_FOUND if whom != TOKEN => Some("check its address".to_owned()),
            _ => usual(),
        });
        let sent = Sent { whom, speaks_json: true, is_used_up: false };
        let code = refused.said.code.clone();
        let passes = refused.status.is_server_error() || matches!(refused.status.as_u16(), 408 | 425 | 429);
        Failure { code, passes, reason: sent.refused(&refused, advice).reason }
    }

    fn none_came(&self) -> String {
        let scopes: Vec<&str> = self.source.scope.iter().filter_map(Template::as_literal).collect();
        let scopes = scopes.join(" ");
        let way_out = if scopes.split_ascii_whitespace().any(|scope| scope == "offline_access") {
            "the scope offline_access was asked for, so look at the server whether this client may have one"
                .to_owned()
        } else {
            let all = format!("{scopes} offline_access");
            format!("most servers want the scope offline_access: add --scope \"{}\"", all.trim_start())
        };
        format!(
            "{TOKEN} gave an access token, and no refresh token beside it; {way_out}; Google wants --way browser \
             --parameter access_type=offline --parameter prompt=consent"
        )
    }
}

/// What is to be done about codes that mean something else here than at a refresh, or that come only here.
fn advice(code: Option<&str>, whom: &str) -> Option<String> {
    let advice = match code? {
        "invalid_grant" => "the code has ended, or it was used before; log in again",
        "unauthorized_client" | "unsupported_grant_type" => {
            "the server does not let this client log in so; allow it there, or try the other --way"
        }
        "invalid_request" if whom == TOKEN => {
            "the server misses a field, or cannot use one; check client_auth and parameters, and --port"
        }
        "access_denied" => "somebody refused the login, or may not let this client in",
        "expired_token" => "the code has ended before anybody entered it; log in again",
        _ => return None,
    };
    Some(advice.to_owned())
}

impl Failure {
    pub(super) fn lasting(reason: String) -> Self {
        Self { code: None, passes: false, reason }
    }
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.reason)
    }
}
