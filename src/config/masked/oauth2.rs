//! `source = "oauth2"`, as an operator reads it.

use super::{Page, Schemes, quoted, templates};
use crate::config::{AuthorizationServer, ClientAuth, Grant, OAuth2Source, Signer, Template, TokenExchange};

impl Page {
    pub(super) fn oauth2(&mut self, source: &OAuth2Source) {
        let shown = || source.server.address().endpoint.shown(Schemes::Http);
        match &source.server {
            AuthorizationServer::TokenUrl(_) => self.text("token_url", shown()),
            // It is compared letter by letter, and has no query.
            AuthorizationServer::Issuer(issuer) => self.text("issuer", &issuer.text),
        }
        self.text("grant", source.grant.word());
        self.grant(&source.grant);
        if let Some(id) = &source.client_id {
            self.text("client_id", id);
        }
        self.text("client_auth", source.client_auth.word());
        match &source.client_auth {
            ClientAuth::None => {}
            ClientAuth::Basic(secret) | ClientAuth::Post(secret) => {
                self.raw("client_secret", secret.masked());
            }
            ClientAuth::PrivateKeyJwt(signer) => {
                // The same key signs the assertion of the grant, and was shown there.
                if !matches!(source.grant, Grant::SignedAssertion(_)) {
                    self.signer(signer);
                }
            }
        }
        self.list("scope", &source.scope);
        self.list("audience", &source.audience);
        self.list("resource", &source.resource);
        if !source.parameters.is_empty() {
            let fields = source.parameters.iter().map(|(name, value)| (name.as_str(), value));
            self.raw("parameters", templates(fields));
        }
        self.tls("[route.token.tls]", &source.tls);
    }

    fn grant(&mut self, grant: &Grant) {
        match grant {
            Grant::ClientCredentials => {}
            Grant::RefreshToken(token) => self.raw("refresh_token", token.masked()),
            Grant::TokenExchange(exchange) => self.exchange(exchange),
            Grant::Assertion(assertion) => self.raw("assertion", assertion.masked()),
            Grant::SignedAssertion(assertion) => {
                self.text("assertion_issuer", &assertion.issuer);
                self.text("subject", &assertion.subject);
                self.signer(&assertion.signer);
            }
        }
    }

    fn exchange(&mut self, exchange: &TokenExchange) {
        self.shown_token("subject_token", &exchange.subject_token);
        self.text("subject_token_type", &exchange.subject_token_type);
        if let Some((actor, kind)) = &exchange.actor_token {
            self.shown_token("actor_token", actor);
            self.text("actor_token_type", kind);
        }
        if let Some(kind) = &exchange.requested_token_type {
            self.text("requested_token_type", kind);
        }
    }

    fn signer(&mut self, signer: &Signer) {
        self.raw("private_key", signer.key.secret.masked());
        if let Some(id) = &signer.key_id {
            self.text("key_id", id);
        }
        if let Some(algorithm) = signer.key.algorithm {
            self.text("algorithm", algorithm);
        }
        if let Some(audience) = &signer.audience {
            self.text("assertion_audience", audience);
        }
    }

    fn shown_token(&mut self, key: &str, token: &Template) {
        let shown = token.as_secret().map_or_else(|| quoted(&token.shown(true)), |secret| secret.masked());
        self.raw(key, shown);
    }

    /// Nothing that is a secret.
    fn list(&mut self, key: &str, texts: &[Template]) {
        if texts.is_empty() {
            return;
        }
        let texts: Vec<_> = texts.iter().map(|text| quoted(&text.shown(false))).collect();
        self.raw(key, format_args!("[{}]", texts.join(", ")));
    }
}
