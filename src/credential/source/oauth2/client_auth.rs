//! How the client proves who it is (RFC 6749 §2.3, RFC 7523 §2.2).

use http::{HeaderMap, header};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::{
    super::{
        SourceError,
        request::{Values, basic, reveal},
        signed::signed,
    },
    asked::Form,
};
use crate::{
    clock::Now,
    config::{AuthorizationServer, ClientAuth, OAuth2Source},
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Puts the proof where it belongs. `url` is the token endpoint's.
pub(super) fn prove(
    source: &OAuth2Source,
    url: &str,
    values: Values<'_, '_>,
    now: Now,
    headers: &mut HeaderMap,
    form: &mut Form,
) -> Result<(), SourceError> {
    // Without an id there is nobody to prove to be, which the configuration allows for `None` alone.
    let Some(id) = source.client_id.as_deref() else { return Ok(()) };
    let audience = match &source.server {
        AuthorizationServer::Issuer(issuer) => &issuer.text,
        AuthorizationServer::TokenUrl(_) => url,
    };
    match &source.client_auth {
        ClientAuth::None => form.put("client_id", id),
        ClientAuth::Basic(secret) => {
            let secret = reveal(secret)?;
            // Both are form-encoded before they are put together (RFC 6749 §2.3.1): a colon in one of them needs that.
            let encode = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
            headers.insert(header::AUTHORIZATION, basic(&encode(id), &encode(&secret))?);
            form.hide(&secret);
        }
        ClientAuth::Post(secret) => {
            form.put("client_id", id);
            form.put_secret("client_secret", &reveal(secret)?);
        }
        ClientAuth::PrivateKeyJwt(signer) | ClientAuth::SecretJwt(signer) => {
            let audience = signer.audience.as_deref().unwrap_or(audience);
            let jwt = signed(signer, &[("iss", id), ("sub", id), ("aud", audience)], values, now)?;
            assert_by(form, id, &jwt);
            // A shared secret is one that the server could say.
            signer.key.secret.reveal_lines().iter().for_each(|secret| form.hide(secret));
        }
        ClientAuth::Assertion(assertion) => assert_by(form, id, &reveal(assertion)?),
    }
    Ok(())
}

fn assert_by(form: &mut Form, id: &str, assertion: &str) {
    form.put("client_id", id);
    form.put("client_assertion_type", ASSERTION_TYPE);
    form.put_secret("client_assertion", assertion);
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::config::Secret;

    fn said(id: &str, secret: &str) -> String {
        let source = OAuth2Source {
            client_id: Some(id.to_owned()),
            client_auth: ClientAuth::Basic(Secret::literal(secret)),
            ..super::super::tests::source(1)
        };
        let (mut headers, mut form) = (HeaderMap::new(), Form::default());
        let now = Now::read();
        prove(&source, "", &|_| None, now, &mut headers, &mut form).unwrap();
        let value = &headers[header::AUTHORIZATION];
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn it_is_the_example_of_rfc_6749() {
        assert_eq!(
            said("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"),
            "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
        );
        assert_eq!(said("s6BhdRkqt3", "gX1fBat3bV"), "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
    }

    #[test]
    fn what_is_special_is_encoded_first() {
        let said = said("a:b c", "p%&+é ü");
        let pair = STANDARD.decode(said.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "a%3Ab+c:p%25%26%2B%C3%A9+%C3%BC");
    }
}
