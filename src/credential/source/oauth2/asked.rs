//! What goes to the token endpoint: the form of each grant, and the client's proof.
//!
//! Each value is encoded as a whole, wherever it comes from, so that none breaks out of its field; and a value of a
//! client's cannot begin another scope.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use url::form_urlencoded::Serializer;

use super::{
    super::{
        Asking, SourceError,
        mask::Mask,
        request::{Values, expand, put_headers, reveal, usual_headers},
        signed::signed,
    },
    client_auth,
};
use crate::{
    clock::Now,
    config::{Grant, Name, OAuth2Source, Place, SignedAssertion, Template, TokenExchange},
};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A request as it goes out.
pub(super) struct Asked {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// One by one.
    pub(super) scopes: Vec<String>,
    /// Hides what was sent in what the server says of it.
    pub(super) mask: Mask,
}

/// The fields of a form, in the order in which they are put.
pub(super) struct Form {
    fields: Serializer<'static, String>,
    mask: Mask,
}

impl Default for Form {
    fn default() -> Self {
        Self { fields: Serializer::new(String::new()), mask: Mask::default() }
    }
}

impl Form {
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.fields.append_pair(name, value);
    }

    /// What nobody is to see.
    pub(super) fn put_secret(&mut self, name: &str, value: &str) {
        self.mask.add(value);
        self.put(name, value);
    }

    /// A secret that goes another way.
    pub(super) fn hide(&mut self, secret: &str) {
        self.mask.add(secret);
    }
}

/// A request to the endpoint at `url`.
pub(super) fn asked(
    source: &OAuth2Source,
    asking: &Asking,
    url: &str,
    now: Now,
) -> Result<Asked, SourceError> {
    let values = |name: &Name| asking.value(name);
    let mut form = Form::default();
    grant(&source.grant, asking, url, now, &mut form)?;
    let wanted = wanted(source, &values)?;
    wanted.iter().for_each(|(name, value)| form.put(name, value));
    let scope = wanted.iter().find(|(name, _)| *name == "scope");
    let scopes = scope.map_or("", |(_, scope)| scope).split_ascii_whitespace().map(str::to_owned).collect();
    Ok(Asked { scopes, ..proven(source, form, &values, url, now)? })
}

/// For what a token is asked.
pub(super) fn wanted(
    source: &OAuth2Source,
    values: Values<'_, '_>,
) -> Result<Vec<(&'static str, String)>, SourceError> {
    let scope = source
        .scope
        .iter()
        .map(|scope| expand(scope, Place::Scope, values))
        .collect::<Result<Vec<_>, _>>()?
        .join(" ");
    let mut wanted = Vec::new();
    if !scope.is_empty() {
        wanted.push(("scope", scope));
    }
    for (name, templates) in [("audience", &source.audience), ("resource", &source.resource)] {
        for template in templates {
            wanted.push((name, expand(template, Place::Text, values)?));
        }
    }
    Ok(wanted)
}

/// The form with the client's proof, and with what the configuration adds to every request. `url` is the token
/// endpoint's.
pub(super) fn proven(
    source: &OAuth2Source,
    mut form: Form,
    values: Values<'_, '_>,
    url: &str,
    now: Now,
) -> Result<Asked, SourceError> {
    let mut headers = usual_headers("application/json");
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, form_type);
    client_auth::prove(source, url, values, now, &mut headers, &mut form)?;
    for (name, template) in &source.parameters {
        // Nobody says which of them are secrets.
        form.put_secret(name, &expand(template, Place::Text, values)?);
    }
    put_headers(&source.headers, values, &mut headers)?;
    source
        .headers
        .iter()
        .filter_map(|(name, _)| headers.get(name)?.to_str().ok())
        .for_each(|value| form.hide(value));
    Ok(Asked { headers, body: form.fields.finish().into(), scopes: Vec::new(), mask: form.mask })
}

fn grant(grant: &Grant, asking: &Asking, url: &str, now: Now, form: &mut Form) -> Result<(), SourceError> {
    match grant {
        Grant::ClientCredentials => form.put("grant_type", "client_credentials"),
        Grant::Other(name) => form.put("grant_type", name),
        Grant::RefreshToken(first) => {
            form.put("grant_type", "refresh_token");
            match &asking.refresh_token {
                Some(newer) => {
                    form.put_secret("refresh_token", newer);
                    // The one before it is still somebody's secret.
                    first.reveal().iter().for_each(|first| form.hide(first));
                }
                None => form.put_secret("refresh_token", &reveal(first)?),
            }
        }
        Grant::TokenExchange(exchange) => {
            form.put("grant_type", TOKEN_EXCHANGE);
            token_exchange(exchange, &|name| asking.value(name), form)?;
        }
        Grant::Assertion(assertion) => {
            form.put("grant_type", JWT_BEARER);
            form.put_secret("assertion", &reveal(assertion)?);
        }
        Grant::SignedAssertion(assertion) => {
            let SignedAssertion { issuer, subject, signer } = &**assertion;
            let audience = signer.audience.as_deref().unwrap_or(url);
            form.put("grant_type", JWT_BEARER);
            let usual = [("iss", &**issuer), ("sub", &**subject), ("aud", audience)];
            let jwt = signed(signer, &usual, &|name| asking.value(name), now)?;
            form.put_secret("assertion", &jwt);
        }
    }
    Ok(())
}

fn token_exchange(
    exchange: &TokenExchange,
    values: Values<'_, '_>,
    form: &mut Form,
) -> Result<(), SourceError> {
    let token = |template: &Template| expand(template, Place::Text, values);
    form.put_secret("subject_token", &token(&exchange.subject_token)?);
    form.put("subject_token_type", &exchange.subject_token_type);
    if let Some((actor, kind)) = &exchange.actor_token {
        form.put_secret("actor_token", &token(actor)?);
        form.put("actor_token_type", kind);
    }
    if let Some(kind) = &exchange.requested_token_type {
        form.put("requested_token_type", kind);
    }
    Ok(())
}
