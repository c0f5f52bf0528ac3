//! The code flow (RFC 6749 §4.1) of a program that has no page of its own (RFC 8252): a browser of this machine brings
//! the code to a port of it.
//!
//! ```text
//!   URL: client_id, scope, state, code_challenge ──► a person opens it ──► the server's pages
//!                                                                               │ code, state
//!   the token endpoint ◄── code, code_verifier ◄── http://127.0.0.1:PORT/callback ◄┘
//! ```
//!
//! 1. `state` tells the answer to this login from what any page can send here. Without the verifier the code is worth
//!    nothing to anyone who sees it on its way (RFC 7636, S256).
//! 2. The code is good for one use. If its exchange fails, somebody has to log in again.

use std::{fmt, net::Ipv4Addr, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::net::TcpListener;
use url::Url;

use super::{
    Got, LONGEST, LoginError, Options,
    client::Client,
    visit::{self, CALLBACK, Expected},
};
use crate::{
    clock::{self, Instant},
    config::SecretText,
    credential::source::{jwt::fresh_id, oauth2::asked::Form},
};

/// How long a person has, if nobody says otherwise.
const USUAL: Duration = Duration::from_secs(10 * 60);
/// What this module puts into the URL, and nobody else.
const OWN: [&str; 9] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "request_uri",
];

/// A URL that waits for a person.
pub struct Browser {
    client: Client,
    listener: TcpListener,
    expected: Expected,
    verifier: SecretText,
    /// What a person opens.
    pub url: String,
    /// Where the browser is sent at the end.
    pub redirect: String,
    /// The port of it.
    pub port: u16,
    /// How long it is waited for.
    pub good_for: Duration,
    ends: Instant,
}

impl Browser {
    /// Listens, and makes the URL.
    pub(super) async fn begin(
        client: Client,
        authorize: &str,
        issuer: Option<String>,
        options: &Options,
    ) -> Result<Self, LoginError> {
        if let Some((name, _)) = options.parameters.iter().find(|(name, _)| OWN.contains(&name.as_str())) {
            let message = format!("--parameter: {name} is set by Perennial; leave it out");
            return Err(LoginError::Usage(message));
        }
        let wanted = options.port.unwrap_or(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await;
        let listener = listener.map_err(|error| {
            LoginError::failed(format!("cannot listen on 127.0.0.1:{wanted}: {}", error.kind()))
        })?;
        let address = listener.local_addr();
        let port = address.map_err(|error| LoginError::failed(error.kind().to_string()))?.port();
        let redirect = format!("http://127.0.0.1:{port}{CALLBACK}");
        // 43 characters are the least (RFC 7636 §4.1), and 256 bits are what it advises.
        let verifier = SecretText::from(format!("{}{}", fresh_id()?, fresh_id()?));
        let state = fresh_id()?;
        let url = url(&client, authorize, &redirect, (&state, &challenge(&verifier)), options)?;
        let good_for = options.timeout.unwrap_or(USUAL).min(LONGEST);
        Ok(Self {
            client,
            listener,
            expected: Expected { state: state.into(), issuer },
            verifier,
            url,
            redirect,
            port,
            good_for,
            ends: clock::now() + good_for,
        })
    }

    /// Waits for the browser, and exchanges what it brings.
    pub(super) async fn finish(self) -> Result<Got, LoginError> {
        let code = visit::wait(self.listener, self.expected, self.ends).await?;
        let mut form = Form::default();
        form.put("grant_type", "authorization_code");
        form.put_secret("code", &code);
        form.put("redirect_uri", &self.redirect);
        form.put_secret("code_verifier", &self.verifier);
        Ok(self.client.redeem(form).await?)
    }
}

/// What stands for the verifier, and does not lead back to it.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

fn url(
    client: &Client,
    authorize: &str,
    redirect: &str,
    (state, challenge): (&str, &str),
    options: &Options,
) -> Result<String, LoginError> {
    let url = Url::parse(authorize);
    let mut url = url.map_err(|error| LoginError::failed(format!("the authorization endpoint: {error}")))?;
    let wanted = client.wanted()?;
    {
        // What its query has stays there (RFC 6749 §3.1).
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code");
        query.append_pair("client_id", client.id());
        query.append_pair("redirect_uri", redirect);
        query.append_pair("state", state);
        query.append_pair("code_challenge", challenge);
        query.append_pair("code_challenge_method", "S256");
        query.extend_pairs(&wanted);
        query.extend_pairs(&options.parameters);
    }
    Ok(url.into())
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
