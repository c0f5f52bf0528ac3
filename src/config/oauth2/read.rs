//! `[route.token]` with `source = "oauth2"`: its keys, and how each is read. What they come to together is in `build`.

use super::Address;
use crate::config::{
    Algorithm, Endpoint, Template,
    declare::{Kind, table, value, words},
    endpoint::Schemes,
    json::Members,
    route::Tls,
    signer::Claims,
    template::{Place, is_scope_byte},
    text::{Filled, Headers, Named, Plain, pairs},
    token::Answer,
    value::{Awaited, Kept, Several, Time, Unread, string},
};

table! {
    /// An authorization server (RFC 6749).
    pub(in crate::config) struct OAuth2Table {
        /// The token endpoint.
        token_url: maybe ServerUrl;
        /// The issuer, whose metadata names the token endpoint (RFC 8414, OpenID Connect).
        issuer: maybe Issuer;
        /// With what a token is asked for. Another name is sent as it is, with `parameters`: `password`,
        /// `account_credentials`, a URI.
        grant: or GrantName = "\"client_credentials\"";
        /// The client's name, as the server knows it.
        client_id: maybe Plain;
        /// How the client proves who it is.
        client_auth: maybe Auth,
            otherwise(
                "`basic` with `client_secret`, `client_assertion` with `client_assertion`, `private_key_jwt` with \
                 `private_key`, else `none`"
            );
        /// The client's secret.
        client_secret: maybe Kept;
        /// A JWT that proves who the client is, and that another program keeps fresh: a projected token of Kubernetes
        /// (Azure Workload Identity), a JWT-SVID of SPIFFE.
        client_assertion: maybe Kept;
        /// A private key in PEM, which signs assertions.
        private_key: maybe Unread;
        /// The `kid` of the assertion.
        key_id: maybe Plain;
        /// How the assertion is signed.
        algorithm: maybe Algorithm, otherwise("what is usual for the key");
        /// The `aud` of the assertion.
        assertion_audience: maybe Plain, otherwise("the token endpoint, or the issuer");
        /// How long an assertion lives.
        assertion_lifetime: maybe Time, otherwise("`\"5m\"`");
        /// More claims of the assertion, as JSON. `iat`, `exp` and `jti` are set by Perennial.
        claims: maybe Claims;
        /// More members of the assertion's header, as JSON.
        header: maybe Members;
        /// What a token is to allow.
        scope: maybe Several<Scope>;
        /// The services that a token is for, by name.
        audience: maybe Several<Named>;
        /// The services that a token is for, by URI (RFC 8707).
        resource: maybe Several<Resource>;
        /// More fields of the form.
        parameters: or Parameters = "{}";
        /// More headers of the request.
        headers: or Headers = "{}";
        /// Where in the answer the token is. `auto`: where OAuth has it. `text`: all of it is the token. A table: JSON
        /// Pointers (RFC 6901) or `header:NAME`, of `token`, `expires_in` (seconds) or `expires_at`, and
        /// `refresh_token`.
        answer: or Answer = "\"auto\"";
        /// TLS to the authorization server.
        tls: perhaps Tls;
    }
    parts "grant" {
        "refresh_token" => RefreshTable,
        "token_exchange" => ExchangeTable,
        "jwt_bearer" => JwtTable,
    }
}

table! {
    /// A refresh token, which the server may replace at each use (RFC 6749 §6).
    pub(in crate::config) struct RefreshTable {
        /// The first refresh token. Its successors are kept in `[state]`. The file may come later: `perennial login` writes
        /// it.
        refresh_token: required Awaited = "refresh_token = { file = \"PATH\" } or { env = \"NAME\" }";
    }
}

table! {
    /// Another token (RFC 8693).
    pub(in crate::config) struct ExchangeTable {
        /// The token that is exchanged: it says who the new one is for.
        subject_token: required Filled = "subject_token = \"{client.token}\" or { file = \"PATH\" }";
        /// Its type: a short word or a URI.
        subject_token_type: or TokenType = "\"access_token\"";
        /// Who acts.
        actor_token: maybe Filled;
        /// Its type: a short word or a URI.
        actor_token_type: or TokenType = "\"access_token\"", beside("actor_token");
        /// The type that is asked for: a short word or a URI.
        requested_token_type: maybe TokenType;
    }
}

table! {
    /// A JWT (RFC 7523 §2.1).
    pub(in crate::config) struct JwtTable {
        /// An assertion that another program signs.
        assertion: maybe Kept;
        /// The `iss` of an assertion that is signed here.
        assertion_issuer: maybe Plain, otherwise("`client_id`");
        /// The `sub` of an assertion that is signed here.
        subject: maybe Plain;
    }
}

words! {
    /// With what a token is asked for.
    pub(in crate::config) enum GrantWord {
        /// The client's own right.
        ClientCredentials = "client_credentials",
        /// A refresh token.
        RefreshToken = "refresh_token",
        /// Another token.
        TokenExchange = "token_exchange",
        /// A JWT.
        JwtBearer = "jwt_bearer",
    }
}

words! {
    /// How the client proves who it is.
    pub(in crate::config) enum Auth {
        /// In the header.
        Basic = "basic",
        /// In the form.
        Post = "post",
        /// By a JWT of its own.
        PrivateKeyJwt = "private_key_jwt",
        /// By a JWT that is signed with the secret.
        SecretJwt = "client_secret_jwt",
        /// By a JWT that another program keeps fresh.
        Assertion = "client_assertion",
        /// Not at all, or by its certificate.
        None = "none",
    }
}

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

/// A grant by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum GrantIs {
    Known(GrantWord),
    Other(String),
}

value! {
    /// A grant of ours, or one that only the server knows.
    pub(in crate::config) GrantName: GrantIs, Kind::OpenWord(GrantWord::WORDS), |value, at| {
        let text = Plain::read(value, at)?;
        if let Some(known) = GrantWord::of(&text) {
            return Ok(GrantIs::Known(known));
        }
        // `account_credentials` is a grant of Zoom's, and no slip of `client_credentials`.
        let slip = |word: &&&str| strsim::damerau_levenshtein(&text, word) <= 2;
        match GrantWord::WORDS.iter().find(slip) {
            Some(near) => Err(format!("no grant is called so; did you mean \"{near}\"?")),
            None => Ok(GrantIs::Other(text)),
        }
    }
}

value! {
    pub(in crate::config) ServerUrl: Address, Kind::Url(&["https", "http"]), |value, _| {
        let text = string(value)?;
        if Template::parse(&text).names().next().is_some() {
            return Err("a name cannot stand here: a client would choose where secrets go".to_owned());
        }
        let endpoint = Endpoint::parse(&text, Schemes::Http)?;
        Ok(Address { text, endpoint })
    }
}

value! {
    /// RFC 8414 §2: neither query nor fragment.
    pub(in crate::config) Issuer: Address, Kind::Url(&["https", "http"]), |value, at| {
        let address = ServerUrl::read(value, at)?;
        if address.text.contains('?') {
            return Err("an issuer has no query; remove \"?…\"".to_owned());
        }
        Ok(address)
    }
}

value! {
    /// A short word, or a URI.
    pub(in crate::config) TokenType: String, Kind::Text, |value, _| {
        let text = string(value)?;
        if TYPES.contains(&text.as_str()) {
            return Ok(format!("{TYPE}{text}"));
        }
        match url::Url::parse(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(format!("expected a type's URI, or a short word: {}", TYPES.join(", "))),
        }
    }
}

value! {
    /// RFC 6749 §3.3.
    pub(in crate::config) Scope: Template, Kind::Named, |value, at| {
        let template = Named::read(value, at)?;
        let plain = template.expand(Place::Scope, &|_| Some("x")).map_err(|error| error.to_string())?;
        if plain.bytes().all(|b| b == b' ' || is_scope_byte(b)) && !plain.trim().is_empty() {
            return Ok(template);
        }
        Err("expected scopes with spaces between them: visible ASCII without \" and \\".to_owned())
    }
}

value! {
    /// RFC 8707 §2: an absolute URI without a fragment.
    pub(in crate::config) Resource: Template, Kind::Named, |value, at| {
        let template = Named::read(value, at)?;
        let plain = template.expand(Place::Text, &|_| Some("x")).map_err(|error| error.to_string())?;
        // A name at the beginning may be the whole of it.
        let named = value.as_str().is_some_and(|text| text.starts_with('{'));
        if (named || url::Url::parse(&plain).is_ok()) && !plain.contains('#') {
            return Ok(template);
        }
        Err("expected an absolute URI without a fragment, such as \"https://api.example.com\"".to_owned())
    }
}

value! {
    /// More fields of the form.
    pub(in crate::config) Parameters: Vec<(String, Template)>, Kind::Pairs, |value, at| {
        pairs(value, at, |name, value| {
            if FIELDS.contains(&name) {
                return Err(
                    "is a field that Perennial sets itself; there is a key for it beside parameters".to_owned()
                );
            }
            Ok((name.to_owned(), Filled::read(value, at)?))
        })
    }
}
