//! All that the operator has a source ask with, for the eye that looks for changes.
//!
//! Parts are told apart by their lengths, so that no two sources look alike. What a client's request fills in is the
//! client's, and no part of it; and where an assertion is signed here, the key counts, since each signature differs.

use super::super::request::Values;
use crate::config::{
    AuthorizationServer, ClientAuth, Endpoint, Grant, OAuth2Source, Place, Secret, Signer, Template,
};

#[derive(Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn put(&mut self, part: &str) {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part.as_bytes());
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        self.put(if endpoint.tls { "tls" } else { "plain" });
        self.put(&endpoint.authority());
        self.put(&endpoint.path_and_query);
    }

    fn put_all<'p>(&mut self, parts: impl IntoIterator<Item = &'p str>) {
        parts.into_iter().for_each(|part| self.put(part));
    }

    fn secret(&mut self, secret: &Secret) -> Option<()> {
        self.put(&secret.reveal().ok()?);
        Some(())
    }

    fn template(&mut self, template: &Template) -> Option<()> {
        let nobodys: Values<'_, '_> = &|_| Some("");
        self.put(&template.expand(Place::Text, nobodys).ok()?);
        Some(())
    }

    fn signer(&mut self, signer: &Signer) -> Option<()> {
        self.put(&signer.key.secret.reveal_lines().ok()?);
        self.put(signer.key.algorithm.map_or("", |algorithm| algorithm.word()));
        self.put_all([signer.key_id.as_deref().unwrap_or(""), signer.audience.as_deref().unwrap_or("")]);
        Some(())
    }

    fn grant(&mut self, grant: &Grant) -> Option<()> {
        self.put(grant.word());
        match grant {
            Grant::ClientCredentials => {}
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

/// Everything; `None` where a part of it cannot be read.
pub(super) fn asked_with(source: &OAuth2Source) -> Option<Vec<u8>> {
    let mut parts = Parts::default();
    parts.0.extend(asked_at(source));
    if let Some((certificate, key)) = &source.tls.identity {
        // By name: one that is renewed is the same client's.
        parts.put_all([&*certificate.to_string_lossy(), &*key.to_string_lossy()]);
    }
    parts.grant(&source.grant)?;
    parts.put(source.client_auth.word());
    match &source.client_auth {
        ClientAuth::None => {}
        ClientAuth::Basic(secret) | ClientAuth::Post(secret) => parts.secret(secret)?,
        ClientAuth::PrivateKeyJwt(signer) => parts.signer(signer)?,
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
    Some(parts.0)
}

/// What names the chain of refresh tokens: the first of them.
pub(super) fn lineage(source: &OAuth2Source) -> Option<Vec<u8>> {
    let first = match &source.grant {
        Grant::RefreshToken(first) => first,
        Grant::ClientCredentials
        | Grant::TokenExchange(_)
        | Grant::Assertion(_)
        | Grant::SignedAssertion(_) => return None,
    };
    let mut parts = Parts::default();
    parts.put("refresh token");
    parts.secret(first)?;
    Some(parts.0)
}

/// Where it is asked, and as which client: however the address is spelled (RFC 3986 §6.2.2).
pub(super) fn asked_at(source: &OAuth2Source) -> Vec<u8> {
    let mut parts = Parts::default();
    parts.put(match &source.server {
        AuthorizationServer::TokenUrl(_) => "token_url",
        AuthorizationServer::Issuer(_) => "issuer",
    });
    parts.endpoint(&source.server.address().endpoint);
    parts.put(source.client_id.as_deref().unwrap_or(""));
    parts.0
}
