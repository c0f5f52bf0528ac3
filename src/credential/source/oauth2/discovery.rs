//! Where an issuer's token endpoint is, by the issuer's own document.
//!
//! ```text
//!   issuer + /.well-known/openid-configuration                  (OpenID Connect Discovery 1.0 §4)
//!      404 ──► /.well-known/oauth-authorization-server + path   (RFC 8414 §3)
//! ```
//!
//! 1. The document has to name the issuer letter by letter as it is configured (RFC 8414 §3.3), or anybody could
//!    stand in for it.
//! 2. From an issuer that is asked by https, secrets never go anywhere by http.
//! 3. With a client certificate, the endpoint is the one that the document has for that (RFC 8705 §5).
//! 4. What was found is kept for an hour, or until nobody answers there as a token endpoint does.
//! 5. A failure passes: nothing was asked for yet.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value};

use super::{
    super::{
        SourceError, answer,
        refusal::is_misplaced,
        request::{MAX_ANSWER, content_type, request, retry_after, usual_headers},
    },
    TokenEndpoint,
    once::Once,
};
use crate::{
    clock::{Instant, Now},
    config::{Address, ClientAuth, Endpoint, UpstreamTls},
    net::{Dialer, Egress, TlsError, http as net_http},
};

/// How long a document is believed.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// No token endpoint has a longer URL.
const MAX_URL: usize = 4096;

/// Finds the endpoint, and remembers it.
pub(super) struct Discovery {
    issuer: Address,
    tls: UpstreamTls,
    egress: Egress,
    dialer: Dialer,
    found: Mutex<Option<Found>>,
    auth_said: Once,
}

struct Found {
    until: Instant,
    endpoint: Arc<TokenEndpoint>,
}

impl Discovery {
    /// Reads the certificates that the issuer needs.
    pub(super) fn new(issuer: &Address, tls: &UpstreamTls, egress: &Egress) -> Result<Self, TlsError> {
        Ok(Self {
            dialer: Dialer::new(&issuer.endpoint, tls)?.by(egress),
            issuer: issuer.clone(),
            tls: tls.clone(),
            egress: egress.clone(),
            found: Mutex::default(),
            auth_said: Once::default(),
        })
    }

    /// The token endpoint, as it was found lately or is found now.
    pub(super) async fn find(
        &self,
        auth: &ClientAuth,
        now: Now,
        deadline: Instant,
    ) -> Result<Arc<TokenEndpoint>, SourceError> {
        let known = self.found().as_ref().filter(|found| now.mono < found.until).map(|f| f.endpoint.clone());
        if let Some(endpoint) = known {
            return Ok(endpoint);
        }
        let document = self.document(now, deadline).await?;
        let endpoint = Arc::new(self.endpoint(&document).map_err(|what| self.failed(&what))?);
        self.look_at_auth(&document, auth);
        *self.found() = Some(Found { until: now.mono + KEPT, endpoint: endpoint.clone() });
        Ok(endpoint)
    }

    /// The next one who asks has it found again.
    pub(super) fn forget(&self) {
        *self.found() = None;
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the issuer says of itself; that it is this issuer is for [`Self::endpoint`] to see.
    pub(super) async fn document(
        &self,
        now: Now,
        deadline: Instant,
    ) -> Result<Map<String, Value>, SourceError> {
        let path = self.issuer.endpoint.path_and_query.trim_end_matches('/');
        let mut response = self.ask(&format!("{path}/.well-known/openid-configuration"), deadline).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let other = format!("/.well-known/oauth-authorization-server{path}");
            response = self.ask(&other, deadline).await?;
        }
        let status = response.status();
        if status != StatusCode::OK {
            let redirect = if status.is_redirection() { ", and a redirect is not followed" } else { "" };
            let failure = self.failed(&format!("it answered {status}{redirect}"));
            let misplaced = is_misplaced(status);
            return Err(SourceError {
                retry_after: retry_after(response.headers(), now),
                misplaced,
                ..failure
            });
        }
        let kind = content_type(&response).map_err(|what| self.failed(what))?;
        let text = answer::text(kind, response.body()).map_err(|bad| self.failed(&bad.to_string()))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(document)) => Ok(document),
            Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_))
            | Err(_) => Err(SourceError { misplaced: true, ..self.failed("the answer is no JSON object") }),
        }
    }

    async fn ask(&self, path: &str, deadline: Instant) -> Result<Response<Bytes>, SourceError> {
        let request = request(Method::GET, path, usual_headers("application/json"), Bytes::new())?;
        net_http::request(&self.dialer, request, MAX_ANSWER, deadline)
            .await
            .map_err(|error| self.failed(&error.to_string()))
    }

    /// What the document says of the token endpoint; the error says what is wrong with it, and quotes none of it.
    pub(super) fn endpoint(&self, document: &Map<String, Value>) -> Result<TokenEndpoint, String> {
        match document.get("issuer").and_then(Value::as_str) {
            Some(issuer) if issuer == self.issuer.text => {}
            Some(_) => {
                return Err(
                    "its document is of another issuer; write issuer exactly as the server does, the \
                            slash at its end included"
                        .to_owned(),
                );
            }
            None => return Err("its document names no `issuer`".to_owned()),
        }
        self.named(document, "token_endpoint")
    }

    /// An endpoint that the document of this issuer names.
    pub(super) fn named(&self, document: &Map<String, Value>, name: &str) -> Result<TokenEndpoint, String> {
        // Who shows a certificate may have to do so at another address (RFC 8705 §5).
        let alias = document.get("mtls_endpoint_aliases").filter(|_| self.tls.identity.is_some());
        let alias = alias.and_then(|aliases| aliases.get(name)?.as_str());
        let url = alias.or_else(|| document.get(name)?.as_str());
        let url = url.ok_or_else(|| format!("its document names no `{name}`"))?;
        if url.len() > MAX_URL {
            return Err(format!("its `{name}` is longer than 4 KiB"));
        }
        let endpoint =
            Endpoint::of_server(url).map_err(|what| format!("its `{name}` cannot be used: {what}"))?;
        if self.issuer.endpoint.tls && !endpoint.tls {
            return Err(format!("its `{name}` is not https://, and the issuer is"));
        }
        let mut tls = self.tls.clone();
        if endpoint.host != self.issuer.endpoint.host {
            // That name was meant for the issuer alone.
            tls.server_name = None;
        }
        let dialer = Dialer::new(&endpoint, &tls).map_err(|error| error.to_string())?;
        let dialer = dialer.by(&self.egress);
        Ok(TokenEndpoint { dialer, target: endpoint.path_and_query, url: url.to_owned() })
    }

    /// A server that says which proofs it takes, and not this one, will refuse; it may also be wrong about itself.
    /// Says whether that was said.
    pub(super) fn look_at_auth(&self, document: &Map<String, Value>, auth: &ClientAuth) -> bool {
        let ours = match auth {
            ClientAuth::None => "none",
            ClientAuth::Basic(_) => "client_secret_basic",
            ClientAuth::Post(_) => "client_secret_post",
            ClientAuth::PrivateKeyJwt(_) | ClientAuth::Assertion(_) => "private_key_jwt",
            ClientAuth::SecretJwt(_) => "client_secret_jwt",
        };
        // A certificate is shown beside a client_id that stands alone (RFC 8705 §2).
        let certificate = matches!(auth, ClientAuth::None) && self.tls.identity.is_some();
        let fits = |method: &Value| {
            method == ours
                || certificate && (method == "tls_client_auth" || method == "self_signed_tls_client_auth")
        };
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let said = if methods.is_some_and(|methods| !methods.iter().any(fits)) { ours } else { "" };
        let news = self.auth_said.is_news(said) && !said.is_empty();
        if news {
            tracing::warn!(
                issuer = self.issuer.endpoint.authority(),
                client_auth = auth.word(),
                "the issuer's document does not list this client_auth"
            );
        }
        news
    }

    pub(super) fn failed(&self, what: &str) -> SourceError {
        SourceError::passing(format!("discovery at {}: {what}", self.issuer.endpoint.authority()))
    }
}
