//! `[route.token]` with `source = "oauth2"`: how it is read.
//!
//! 1. What the grant and the client's proof need and lack is named; what they do not use is refused, since it would
//!    do nothing.
//! 2. No field of the form is said twice.

use super::{
    Address, AuthorizationServer, ClientAuth, Grant, OAuth2Source, SignedAssertion, Signer, TokenExchange,
};
use crate::config::{
    Algorithm, Endpoint, KeyError, PrivateKey, Template, UpstreamTls,
    declare::{Declared, Kind, table, value, words},
    endpoint::Schemes,
    route::Tls,
    section::Section,
    template::{Place, is_scope_byte},
    text::{Filled, Named, Plain, pairs},
    value::{Kept, Several, Unread, string},
};

table! {
    /// An authorization server (RFC 6749).
    pub(in crate::config) struct OAuth2Table {
        /// The token endpoint.
        token_url: maybe ServerUrl;
        /// The issuer, whose metadata names the token endpoint (RFC 8414, OpenID Connect).
        issuer: maybe Issuer;
        /// With what a token is asked for.
        grant: or GrantWord = "\"client_credentials\"";
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
        /// What a token is to allow.
        scope: maybe Several<Scope>;
        /// The services that a token is for, by name.
        audience: maybe Several<Named>;
        /// The services that a token is for, by URI (RFC 8707).
        resource: maybe Several<Resource>;
        /// More fields of the form.
        parameters: or Parameters = "{}";
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
        /// The first refresh token. Its successors are kept in `[state]`.
        refresh_token: required Kept = "refresh_token = { file = \"PATH\" } or { env = \"NAME\" }";
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

/// The words that everything else hangs on.
struct Chosen {
    grant: GrantWord,
    auth: Auth,
    /// Is the grant's assertion signed here?
    signs: bool,
}

impl OAuth2Source {
    /// `None`: there is a problem, which is noted.
    pub(in crate::config) fn read(section: &Section<'_>) -> Option<Self> {
        let table = OAuth2Table::read(section)?;
        let chosen = chosen(section, &table);
        unused(section, &chosen);
        if section.names.each && chosen.grant == GrantWord::RefreshToken {
            let message = "is one for all, and share = \"client\" asks for one token for each client; write \
                           share = \"route\", or another grant";
            section.refuse("grant", message);
        }
        let server = server(section, &table);
        // Who proves nothing may leave open who it is, if what is shown tells.
        let tells = !matches!(chosen.grant, GrantWord::ClientCredentials | GrantWord::RefreshToken);
        let nameless = chosen.auth == Auth::None && tells;
        if !section.has("client_id") && !nameless {
            section.missing("client_id", "client_id = \"NAME\", as the server knows this client");
        }
        let proves = chosen.signs || chosen.auth == Auth::PrivateKeyJwt;
        let signer = if proves { signer(section, &chosen, &table) } else { None };
        let grant = grant(section, &chosen, &table, signer.as_ref());
        let client_auth = client_auth(section, chosen.auth, &table, signer);
        let server = server?;
        let tls = UpstreamTls::of_leg(section, table.tls, &server.address().endpoint);
        Some(Self {
            server,
            tls,
            grant: grant?,
            client_id: table.client_id,
            client_auth: client_auth?,
            scope: table.scope.unwrap_or_default(),
            audience: table.audience.unwrap_or_default(),
            resource: table.resource.unwrap_or_default(),
            parameters: table.parameters,
        })
    }
}

fn server(section: &Section<'_>, table: &OAuth2Table) -> Option<AuthorizationServer> {
    match (section.has("token_url"), section.has("issuer")) {
        (true, true) => {
            section.refuse("issuer", "issuer finds the endpoint, and token_url is one: keep one of the two");
        }
        (false, false) => {
            section.missing(
                "token_url",
                "token_url = \"https://…\", or issuer = \"https://…\" to have it found",
            );
        }
        (true, false) | (false, true) => {}
    }
    let token_url = table.token_url.clone().map(AuthorizationServer::TokenUrl);
    token_url.or_else(|| table.issuer.clone().map(AuthorizationServer::Issuer))
}

/// The grant and the proof: as written, or as what else is written tells.
fn chosen(section: &Section<'_>, table: &OAuth2Table) -> Chosen {
    let grant = table.grant;
    let signs = grant == GrantWord::JwtBearer && !section.has("assertion");
    let auth = table.client_auth.unwrap_or_else(|| {
        let usual = if section.has("client_secret") {
            Auth::Basic
        } else if section.has("client_assertion") {
            Auth::Assertion
        } else if section.has("private_key") && !signs {
            Auth::PrivateKeyJwt
        } else {
            Auth::None
        };
        section.means("client_auth", format!("\"{}\"", usual.word()));
        usual
    });
    Chosen { grant, auth, signs }
}

/// A key that nothing looks at is refused, with the reason.
fn unused(section: &Section<'_>, chosen: &Chosen) {
    let refuse = |key: &str, message: &str| {
        if section.has(key) {
            section.refuse(key, message);
        }
    };
    if chosen.grant == GrantWord::JwtBearer && !chosen.signs {
        for key in ["assertion_issuer", "subject"] {
            refuse(key, "has no effect: assertion is signed by somebody else; remove one of the two");
        }
    }
    if chosen.auth != Auth::Assertion {
        let auth = chosen.auth.word();
        refuse(
            "client_assertion",
            &format!("has no effect with client_auth = \"{auth}\"; remove one of the two"),
        );
    }
    if !matches!(chosen.auth, Auth::Basic | Auth::Post | Auth::SecretJwt) {
        let auth = chosen.auth.word();
        let message = format!(
            "has no effect: client_auth = \"{auth}\" sends no secret; write \"basic\", or remove this"
        );
        refuse("client_secret", &message);
    }
    if !chosen.signs && chosen.auth != Auth::PrivateKeyJwt {
        for key in ["private_key", "key_id", "algorithm", "assertion_audience"] {
            let message = "has no effect: nothing is signed here but with client_auth = \"private_key_jwt\", or \
                           with grant = \"jwt_bearer\" without assertion; remove it";
            refuse(key, message);
        }
    }
}

fn client_auth(
    section: &Section<'_>,
    auth: Auth,
    table: &OAuth2Table,
    signer: Option<Signer>,
) -> Option<ClientAuth> {
    let secret = || {
        if !section.has("client_secret") {
            section.missing("client_secret", "client_secret = { env = \"NAME\" } or { file = \"PATH\" }");
        }
        table.client_secret.clone()
    };
    match auth {
        Auth::Basic => secret().map(ClientAuth::Basic),
        Auth::Post => secret().map(ClientAuth::Post),
        Auth::SecretJwt => secret().map(ClientAuth::SecretJwt),
        Auth::Assertion => {
            if !section.has("client_assertion") {
                section.missing("client_assertion", "client_assertion = { file = \"PATH\" }");
            }
            table.client_assertion.clone().map(ClientAuth::Assertion)
        }
        Auth::PrivateKeyJwt => signer.map(|signer| ClientAuth::PrivateKeyJwt(Box::new(signer))),
        Auth::None => Some(ClientAuth::None),
    }
}

fn grant(
    section: &Section<'_>,
    chosen: &Chosen,
    table: &OAuth2Table,
    signer: Option<&Signer>,
) -> Option<Grant> {
    match chosen.grant {
        GrantWord::ClientCredentials => Some(Grant::ClientCredentials),
        GrantWord::RefreshToken => Some(Grant::RefreshToken(RefreshTable::read(section)?.refresh_token)),
        GrantWord::TokenExchange => {
            let exchange = ExchangeTable::read(section)?;
            Some(Grant::TokenExchange(Box::new(TokenExchange {
                subject_token: exchange.subject_token,
                subject_token_type: exchange.subject_token_type,
                actor_token: exchange.actor_token.map(|actor| (actor, exchange.actor_token_type)),
                requested_token_type: exchange.requested_token_type,
            })))
        }
        GrantWord::JwtBearer => {
            let jwt = JwtTable::read(section)?;
            if !chosen.signs {
                return jwt.assertion.map(Grant::Assertion);
            }
            if !section.has("subject") {
                section.missing("subject", "subject = \"NAME\", who the token is for");
            }
            if !section.has("assertion_issuer") && !section.has("client_id") {
                let hint = "assertion_issuer = \"NAME\", or client_id, which it is else";
                section.missing("assertion_issuer", hint);
            }
            let (issuer, signer) =
                (jwt.assertion_issuer.or_else(|| table.client_id.clone())?, signer?.clone());
            Some(Grant::SignedAssertion(Box::new(SignedAssertion { issuer, subject: jwt.subject?, signer })))
        }
    }
}

fn signer(section: &Section<'_>, chosen: &Chosen, table: &OAuth2Table) -> Option<Signer> {
    if !section.has("private_key") {
        section.missing(
            "private_key",
            if chosen.signs && chosen.auth != Auth::PrivateKeyJwt {
                "assertion = { file = \"PATH\" }, or private_key = { file = \"PATH\" } to sign one here"
            } else {
                "private_key = { file = \"PATH\" }"
            },
        );
    }
    let key = PrivateKey { secret: table.private_key.clone()?, algorithm: table.algorithm };
    // An algorithm that is no word has been named already.
    if let Err(error) = key.read()
        && section.has("algorithm") == table.algorithm.is_some()
    {
        let message = if let KeyError::Mismatch { kind, algorithm, usual, .. } = &error {
            format!("is {kind}, which cannot sign {algorithm}; write algorithm = \"{usual}\"")
        } else {
            error.to_string()
        };
        section.refuse("private_key", message);
        return None;
    }
    Some(Signer { key, key_id: table.key_id.clone(), audience: table.assertion_audience.clone() })
}
