//! `[route.token]` with `source = "oauth2"`: how it is read.
//!
//! 1. What the grant and the client's proof need and lack is named; what they do not use is refused, since it would
//!    do nothing.
//! 2. No field of the form is said twice.

use toml::de::DeValue;

use super::{
    Address, AuthorizationServer, ClientAuth, Grant, OAuth2Source, SignedAssertion, Signer, TokenExchange,
};
use crate::config::{
    Algorithm, Endpoint, KeyError, PrivateKey, Template,
    client::Names,
    endpoint::Schemes,
    keys::{self, AUTHS, GRANTS},
    raw::{Section, kind},
    route::leg,
    template::{Place, is_scope_byte},
    token::{pairs, source_template},
    value::{one_of, secret, string, unread_secret},
};

/// The types that have a short word, and what stands before it (RFC 8693 §3).
const TYPES: [&str; 6] = ["access_token", "refresh_token", "id_token", "jwt", "saml1", "saml2"];
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// Fields of the form that have a key of their own, or are none of the operator's business.
const FIELDS: [&str; 15] = [
    "actor_token",
    "actor_token_type",
    "assertion",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "grant_type",
    "refresh_token",
    "requested_token_type",
    "resource",
    "scope",
    "subject_token",
    "subject_token_type",
];

/// The words that everything else hangs on.
struct Chosen {
    grant: &'static str,
    auth: &'static str,
    /// Is the grant's assertion signed here?
    signs: bool,
}

/// `None` where there is a problem. `each`: tokens are each client's.
pub(in crate::config) fn oauth2(table: &Section<'_>, names: Names, each: bool) -> Option<OAuth2Source> {
    let server = server(table);
    let chosen = chosen(table)?;
    unused(table, &chosen);
    if each && chosen.grant == "refresh_token" {
        let message = "is one for all, and share = \"client\" asks for one token for each client; write \
                       share = \"route\", or another grant";
        table.problem_at(&table.span_of("grant"), "grant", message);
    }
    let signer = (chosen.signs || chosen.auth == "private_key_jwt").then(|| signer(table, &chosen));
    let signer = signer.flatten();
    let client_id = client_id(table, &chosen);
    let grant = grant(table, &chosen, names, client_id.as_deref(), signer.as_ref());
    let client_auth = client_auth(table, &chosen, signer);
    let scope = table.value("scope", |value| texts(value, |text| scope(text, names)));
    let audience = table.value("audience", |value| texts(value, |text| named(text, names)));
    let resource = table.value("resource", |value| texts(value, |text| resource(text, names)));
    let parameters = table
        .value("parameters", |value| pairs(value, "parameters", |name, value| parameter(name, value, names)));
    let tls = leg(table, &keys::TOKEN_TLS, &server.as_ref()?.address().endpoint);
    Some(OAuth2Source {
        server: server?,
        tls,
        grant: grant?,
        client_id,
        client_auth: client_auth?,
        scope: scope.unwrap_or_default(),
        audience: audience.unwrap_or_default(),
        resource: resource.unwrap_or_default(),
        parameters: parameters.unwrap_or_default(),
    })
}

fn server(table: &Section<'_>) -> Option<AuthorizationServer> {
    match (table.has("token_url"), table.has("issuer")) {
        (true, true) => {
            let message = "issuer finds the endpoint, and token_url is one: keep one of the two";
            table.problem_at(&table.span_of("issuer"), "issuer", message);
            None
        }
        (false, true) => table.value("issuer", issuer).map(AuthorizationServer::Issuer),
        (_, false) => {
            let hint = "token_url = \"https://…\", or issuer = \"https://…\" to have it found";
            let found = table.required("token_url", hint, address)?;
            Some(AuthorizationServer::TokenUrl(found.value))
        }
    }
}

fn address(value: &DeValue<'_>) -> Result<Address, String> {
    let text = string(value)?;
    if Template::parse(&text).names().next().is_some() {
        return Err("a name cannot stand here: a client would choose where secrets go".to_owned());
    }
    let endpoint = Endpoint::parse(&text, Schemes::Http)?;
    Ok(Address { text, endpoint })
}

/// RFC 8414 §2: neither query nor fragment.
fn issuer(value: &DeValue<'_>) -> Result<Address, String> {
    let address = address(value)?;
    if address.text.contains('?') {
        return Err("an issuer has no query; remove \"?…\"".to_owned());
    }
    Ok(address)
}

/// The grant and the proof: as written, or as what else is written tells.
fn chosen(table: &Section<'_>) -> Option<Chosen> {
    let word = |key, words: &[&'static str], usual: &'static str| {
        let written = table.value(key, |value| one_of(value, words, &[]));
        if table.has(key) { written } else { Some(usual) }
    };
    let grant = word("grant", &GRANTS, "client_credentials")?;
    let signs = grant == "jwt_bearer" && !table.has("assertion");
    let usual = if table.has("client_secret") {
        "basic"
    } else if table.has("private_key") && !signs {
        "private_key_jwt"
    } else {
        "none"
    };
    Some(Chosen { grant, auth: word("client_auth", &AUTHS, usual)?, signs })
}

/// A key that nothing looks at is refused, with the reason.
fn unused(table: &Section<'_>, chosen: &Chosen) {
    let Chosen { grant, auth, signs } = chosen;
    let refuse = |key: &str, message: String| {
        if table.has(key) {
            table.problem_at(&table.span_of(key), key, message);
        }
    };
    let of_grant: [(&str, &[&str]); 3] = [
        ("refresh_token", &["refresh_token"]),
        (
            "token_exchange",
            &[
                "subject_token",
                "subject_token_type",
                "actor_token",
                "actor_token_type",
                "requested_token_type",
            ],
        ),
        ("jwt_bearer", &["assertion", "assertion_issuer", "subject"]),
    ];
    for (owner, keys) in of_grant.into_iter().filter(|(owner, _)| owner != grant) {
        for key in keys {
            refuse(
                key,
                format!(
                    "belongs to grant = \"{owner}\", and this one is \"{grant}\"; change it, or remove this"
                ),
            );
        }
    }
    if *grant == "jwt_bearer" && !signs {
        for key in ["assertion_issuer", "subject"] {
            let message = "has no effect: assertion is signed by somebody else; remove one of the two";
            refuse(key, message.to_owned());
        }
    }
    if table.has("actor_token_type") && !table.has("actor_token") {
        refuse("actor_token_type", "needs actor_token beside it".to_owned());
    }
    if !matches!(*auth, "basic" | "post") {
        let message = format!(
            "has no effect: client_auth = \"{auth}\" sends no secret; write \"basic\", or remove this"
        );
        refuse("client_secret", message);
    }
    if !signs && *auth != "private_key_jwt" {
        for key in ["private_key", "key_id", "algorithm", "assertion_audience"] {
            let message = "has no effect: nothing is signed here but with client_auth = \"private_key_jwt\", or \
                           with grant = \"jwt_bearer\" without assertion; remove it";
            refuse(key, message.to_owned());
        }
    }
}

fn client_id(table: &Section<'_>, chosen: &Chosen) -> Option<String> {
    let read = |value: &DeValue<'_>| plain(value, "client_id");
    // Who proves nothing may leave open who it is, where what is shown tells.
    if chosen.auth == "none" && !matches!(chosen.grant, "client_credentials" | "refresh_token") {
        return table.value("client_id", read);
    }
    let hint = "client_id = \"NAME\", as the server knows this client";
    table.required("client_id", hint, read).map(|found| found.value)
}

fn client_auth(table: &Section<'_>, chosen: &Chosen, signer: Option<Signer>) -> Option<ClientAuth> {
    let secret = || {
        let hint = "client_secret = { env = \"NAME\" } or { file = \"PATH\" }";
        table.required("client_secret", hint, secret).map(|found| found.value)
    };
    match chosen.auth {
        "basic" => secret().map(ClientAuth::Basic),
        "post" => secret().map(ClientAuth::Post),
        "private_key_jwt" => signer.map(|signer| ClientAuth::PrivateKeyJwt(Box::new(signer))),
        _ => Some(ClientAuth::None),
    }
}

fn grant(
    table: &Section<'_>,
    chosen: &Chosen,
    names: Names,
    client_id: Option<&str>,
    signer: Option<&Signer>,
) -> Option<Grant> {
    match chosen.grant {
        "client_credentials" => Some(Grant::ClientCredentials),
        "refresh_token" => {
            let hint = "refresh_token = { file = \"PATH\" } or { env = \"NAME\" }";
            Some(Grant::RefreshToken(table.required("refresh_token", hint, secret)?.value))
        }
        "token_exchange" => exchange(table, names),
        _ if !chosen.signs => table.value("assertion", secret).map(Grant::Assertion),
        _ => {
            let hint = "subject = \"NAME\", whom the token is for";
            let subject = table.required("subject", hint, |value| plain(value, "subject"));
            let issuer = table.value("assertion_issuer", |value| plain(value, "assertion_issuer"));
            if issuer.is_none() && client_id.is_none() {
                let message = "missing; add assertion_issuer = \"NAME\", or client_id, which it is else";
                table.problem_at(&table.span, "assertion_issuer", message);
            }
            let issuer = issuer.or_else(|| client_id.map(str::to_owned));
            Some(Grant::SignedAssertion(Box::new(SignedAssertion {
                issuer: issuer?,
                subject: subject?.value,
                signer: signer?.clone(),
            })))
        }
    }
}

fn exchange(table: &Section<'_>, names: Names) -> Option<Grant> {
    let token = |value: &DeValue<'_>| source_template(value, names);
    let hint = "subject_token = \"{client.token}\" or { file = \"PATH\" }";
    let subject_token = table.required("subject_token", hint, token);
    let kind = |key| table.value(key, token_type);
    let access_token = || format!("{TYPE}access_token");
    let actor_type = kind("actor_token_type").unwrap_or_else(access_token);
    Some(Grant::TokenExchange(Box::new(TokenExchange {
        subject_token_type: kind("subject_token_type").unwrap_or_else(access_token),
        actor_token: table.value("actor_token", token).map(|actor| (actor, actor_type)),
        requested_token_type: kind("requested_token_type"),
        subject_token: subject_token?.value,
    })))
}

/// A short word, or a URI.
fn token_type(value: &DeValue<'_>) -> Result<String, String> {
    let text = string(value)?;
    if TYPES.contains(&text.as_str()) {
        return Ok(format!("{TYPE}{text}"));
    }
    match url::Url::parse(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(format!("expected a type's URI, or a short word: {}", TYPES.join(", "))),
    }
}

fn signer(table: &Section<'_>, chosen: &Chosen) -> Option<Signer> {
    let algorithm = table.value("algorithm", |value| {
        let words = Algorithm::ALL.map(Algorithm::as_str);
        let word = one_of(value, &words, &[])?;
        Ok(Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == word))
    });
    let key_id = table.value("key_id", |value| plain(value, "key_id"));
    let audience = table.value("assertion_audience", |value| plain(value, "assertion_audience"));
    let hint = if chosen.signs && chosen.auth != "private_key_jwt" {
        "assertion = { file = \"PATH\" }, or private_key = { file = \"PATH\" } to sign one here"
    } else {
        "private_key = { file = \"PATH\" }"
    };
    if table.has("algorithm") && algorithm.is_none() {
        return None;
    }
    let key = table.required("private_key", hint, |value| {
        let key = PrivateKey { secret: unread_secret(value)?, algorithm: algorithm.flatten() };
        match key.read() {
            Ok(_) => Ok(key),
            Err(KeyError::Mismatch { kind, algorithm, usual, .. }) => {
                Err(format!("is {kind}, which cannot sign {algorithm}; write algorithm = \"{usual}\""))
            }
            Err(error) => Err(error.to_string()),
        }
    });
    Some(Signer { key: key?.value, key_id, audience })
}

/// A text that is sent as it is written.
fn plain(value: &DeValue<'_>, key: &str) -> Result<String, String> {
    let text = string(value)?;
    if Template::parse(&text).names().next().is_some() {
        return Err(format!("a name in {key} is not available in this version; write it out"));
    }
    if text.chars().any(char::is_control) {
        return Err("must have no line breaks or control characters".to_owned());
    }
    Ok(text)
}

/// One text, or an array of them.
fn texts(
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<Template, String>,
) -> Result<Vec<Template>, String> {
    let what = "expected a string or an array of strings";
    match (value.as_str(), value.as_array()) {
        (Some(_), _) => read(&string(value)?).map(|text| vec![text]),
        (None, Some(entries)) if entries.is_empty() => Err(format!("{what}, found none; remove it")),
        (None, Some(entries)) => entries
            .iter()
            .map(|entry| match entry.get_ref().as_str() {
                Some(_) => read(&string(entry.get_ref())?),
                None => Err(format!("{what}, found {} in it", kind(entry.get_ref()))),
            })
            .collect(),
        (None, None) => Err(format!("{what}, found {}", kind(value))),
    }
}

fn named(text: &str, names: Names) -> Result<Template, String> {
    let template = Template::parse(text);
    names.allow(&template)?;
    Ok(template)
}

/// RFC 6749 §3.3.
fn scope(text: &str, names: Names) -> Result<Template, String> {
    let template = named(text, names)?;
    let plain = template.expand(Place::Scope, &|_| Some("x")).map_err(|error| error.to_string())?;
    if plain.bytes().all(|b| b == b' ' || is_scope_byte(b)) && !plain.trim().is_empty() {
        return Ok(template);
    }
    Err("expected scopes with spaces between them: visible ASCII without \" and \\".to_owned())
}

/// RFC 8707 §2: an absolute URI without a fragment.
fn resource(text: &str, names: Names) -> Result<Template, String> {
    let template = named(text, names)?;
    let plain = template.expand(Place::Text, &|_| Some("x")).map_err(|error| error.to_string())?;
    // A name at the beginning may be the whole of it.
    let absolute = text.starts_with('{') || url::Url::parse(&plain).is_ok();
    if absolute && !plain.contains('#') {
        return Ok(template);
    }
    Err("expected an absolute URI without a fragment, such as \"https://api.example.com\"".to_owned())
}

fn parameter(name: &str, value: &DeValue<'_>, names: Names) -> Result<(String, Template), String> {
    if FIELDS.contains(&name) {
        return Err(
            "is a field that Perennial sets itself; there is a key for it beside parameters".to_owned()
        );
    }
    Ok((name.to_owned(), source_template(value, names)?))
}
