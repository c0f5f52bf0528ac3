//! What somebody has to do about a refusal, by what the server says and how it was asked.

use http::StatusCode;

use super::super::{
    refusal::{Refused, Sent},
    said::Said,
};
use crate::config::{ClientAuth, Grant, OAuth2Source, Secret};

/// What was shown to the server, as far as an error speaks of it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'s> {
    pub(super) source: &'s OAuth2Source,
    /// Was it a refresh token that took the configured one's place?
    pub(super) rotated: bool,
}

impl Shown<'_> {
    /// How its failure is judged.
    pub(super) fn sent(self) -> Sent {
        let is_used_up = matches!(self.source.grant, Grant::RefreshToken(_));
        Sent { whom: "the token endpoint", speaks_json: true, is_used_up }
    }

    /// What is to be done, if that is known.
    pub(super) fn advice(self, refused: &Refused) -> Option<String> {
        self.way_out(refused.status, &refused.said)
    }

    fn way_out(self, status: StatusCode, said: &Said) -> Option<String> {
        if said.speaks_of("dpop") {
            return Some(
                "the server wants DPoP, which is not supported; turn it off for this client".to_owned(),
            );
        }
        Some(match said.code.as_deref() {
            None if status == StatusCode::NOT_FOUND => {
                "there is no token endpoint at this address; check token_url, or issuer".to_owned()
            }
            None => return None,
            Some("invalid_grant") if said.speaks_of("issuer") => {
                "the refresh token was issued under another address of the server; ask at that one".to_owned()
            }
            Some(code) => return self.way_out_of(code, status, said),
        })
    }

    fn way_out_of(self, code: &str, status: StatusCode, said: &Said) -> Option<String> {
        Some(match code {
            "invalid_grant" => return self.another_grant(),
            // GitHub's and Slack's words.
            "bad_refresh_token" | "invalid_refresh_token" => return self.another_grant(),
            "invalid_client" | "incorrect_client_credentials" | "bad_client_secret" => self.another_proof(),
            // Auth0's.
            "access_denied" if status == StatusCode::UNAUTHORIZED => self.another_proof(),
            // Keycloak's word for a wrong secret, and Entra's for a client that it does not know.
            "unauthorized_client" if status == StatusCode::UNAUTHORIZED || said.speaks_of("not found") => {
                self.another_proof()
            }
            "unauthorized_client" => {
                format!("the server does not let this client use grant = \"{}\"", self.source.grant.word())
            }
            "unsupported_grant_type" => {
                format!("the server has no grant = \"{}\"", self.source.grant.word())
            }
            "invalid_scope" => "the server does not grant this scope to this client; check scope".to_owned(),
            "invalid_target" => "the server issues no token for that; check audience and resource".to_owned(),
            // RFC 8693 §2.2.2 wants this word for a token that was refused.
            "invalid_request" if matches!(self.source.grant, Grant::TokenExchange(_)) => {
                "the server misses a field, or does not take subject_token: has it ended?".to_owned()
            }
            "invalid_request" => {
                "the server misses a field, or cannot use one; check client_auth, scope, audience, resource and \
                 parameters"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// What to do about a grant that was refused.
    fn another_grant(self) -> Option<String> {
        let spent = "expired, revoked or already used";
        Some(match &self.source.grant {
            Grant::ClientCredentials => return None,
            Grant::Other(name) => format!("what was shown for {name} was refused; check parameters"),
            Grant::RefreshToken(first) => {
                let which = if self.rotated {
                    "the refresh token that the server gave last"
                } else {
                    "the refresh token"
                };
                format!("{which} was refused: {spent}; put a new one in {}", place(first, "refresh_token"))
            }
            Grant::Assertion(assertion) => {
                format!(
                    "the assertion was refused: {spent}; put a new one in {}",
                    place(assertion, "assertion")
                )
            }
            Grant::SignedAssertion(assertion) => format!(
                "the assertion was refused; check the key in {}, assertion_issuer, subject, assertion_audience and \
                 the clock",
                place(&assertion.signer.key.secret, "private_key")
            ),
            Grant::TokenExchange(exchange) => {
                let kept = exchange.subject_token.as_secret();
                let way_out = kept.map_or_else(String::new, |secret| {
                    format!("; put a new one in {}", place(secret, "subject_token"))
                });
                format!("the subject's token, or the actor's, was refused: {spent}{way_out}")
            }
        })
    }

    /// What to do about a client that was refused.
    fn another_proof(self) -> String {
        let with = match &self.source.client_auth {
            ClientAuth::None => "client_id, and whether the server wants a client_secret".to_owned(),
            ClientAuth::Basic(secret) | ClientAuth::Post(secret) => {
                format!("client_id, client_auth and the secret in {}", place(secret, "client_secret"))
            }
            ClientAuth::SecretJwt(signer) => {
                format!(
                    "client_id, the clock and the secret in {}",
                    place(&signer.key.secret, "client_secret")
                )
            }
            ClientAuth::Assertion(assertion) => {
                format!(
                    "client_id, and the assertion in {}: has it ended?",
                    place(assertion, "client_assertion")
                )
            }
            ClientAuth::PrivateKeyJwt(signer) => format!(
                "client_id, key_id, assertion_audience, the clock and the key in {}",
                place(&signer.key.secret, "private_key")
            ),
        };
        format!("the client was refused; check {with}")
    }
}

/// Where somebody puts a new one.
fn place(secret: &Secret, key: &str) -> String {
    if secret.is_literal() { format!("{key} of the configuration") } else { secret.place() }
}
