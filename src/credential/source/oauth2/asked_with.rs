//! All that the operator has a source ask with, for the eye that looks for changes.
//!
//! What a client's request fills in is the client's, and no part of it; and if an assertion is signed here, the key
//! counts, since each signature differs.

use super::super::parts::Parts;
use crate::config::{AuthorizationServer, ClientAuth, Grant, OAuth2Source};

impl Parts {
    fn grant(&mut self, grant: &Grant) -> Option<()> {
        self.put(grant.word());
        match grant {
            Grant::ClientCredentials | Grant::Other(_) => {}
            Grant::RefreshToken(secret) | Grant::Assertion(secret) => self.secret(secret)?,
            Grant::TokenExchange(exchange) => {
                self.template(&exchange.subject_token)?;
                self.put(&exchange.subject_token_type);
                if let Some((actor, kind)) = &exchange.actor_token {
                    self.put("actor");
                    self.template(actor)?;
                    self.put(kind);
                }
                self.put(exchange.requested_token_type.as_deref().unwrap_or(""));
            }
            Grant::SignedAssertion(assertion) => {
                self.put_all([&*assertion.issuer, &*assertion.subject]);
                self.signer(&assertion.signer)?;
            }
        }
        Some(())
    }
}

/// Everything; `None` if a part of it cannot be read.
pub(super) fn asked_with(source: &OAuth2Source) -> Option<Vec<u8>> {
    let mut parts = Parts::default();
    parts.put(asked_at(source));
    parts.identity(&source.tls);
    parts.grant(&source.grant)?;
    parts.put(source.client_auth.word());
    match &source.client_auth {
        ClientAuth::None => {}
        ClientAuth::Basic(secret) | ClientAuth::Post(secret) => parts.secret(secret)?,
        // It is replaced all the time, and is the same client's.
        ClientAuth::Assertion(assertion) => parts.put(assertion.place()),
        ClientAuth::PrivateKeyJwt(signer) | ClientAuth::SecretJwt(signer) => parts.signer(signer)?,
    }
    for (name, templates) in
        [("scope", &source.scope), ("audience", &source.audience), ("resource", &source.resource)]
    {
        for template in templates {
            parts.put(name);
            parts.template(template)?;
        }
    }
    for (name, template) in &source.parameters {
        parts.put(name);
        parts.template(template)?;
    }
    for (name, template) in &source.headers {
        parts.put("header");
        parts.put(name);
        parts.template(template)?;
    }
    parts.answer(&source.answer);
    Some(parts.whole())
}

/// Where it is asked, and as which client.
pub(super) fn asked_at(source: &OAuth2Source) -> Vec<u8> {
    let mut parts = Parts::default();
    parts.put(match &source.server {
        AuthorizationServer::TokenUrl(_) => "token_url",
        AuthorizationServer::Issuer(_) => "issuer",
    });
    parts.endpoint(&source.server.address().endpoint);
    parts.put(source.client_id.as_deref().unwrap_or(""));
    parts.whole()
}
