//! What the keys of `source = "oauth2"` come to together.
//!
//! ```text
//!   grant, client_auth ──► chosen ──► what they need is there · what they do not use is not
//! ```
//!
//! 1. What the grant and the client's proof need and lack is named; what they do not use is refused, since it would
//!    do nothing.
//! 2. No field of the form and no header is said twice.

use http::header;

use super::{
    AuthorizationServer, ClientAuth, Grant, OAuth2Source, SignedAssertion, TokenExchange,
    read::{Auth, ExchangeTable, GrantIs, GrantWord, JwtTable, OAuth2Table, RefreshTable},
};
use crate::config::{
    Signer, SigningKey, UpstreamTls, declare::Declared, section::Section, signer::ONE_REQUEST,
};

/// The words that everything else hangs on.
struct Chosen {
    grant: GrantIs,
    auth: Auth,
    /// Is the grant's assertion signed here?
    signs: bool,
}

impl Chosen {
    /// As written, or as what else is written tells.
    fn of(section: &Section<'_>, table: &OAuth2Table) -> Self {
        let grant = table.grant.clone();
        let signs = grant == GrantIs::Known(GrantWord::JwtBearer) && !section.has("assertion");
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
        Self { grant, auth, signs }
    }

    fn is(&self, grant: GrantWord) -> bool {
        self.grant == GrantIs::Known(grant)
    }

    /// Who proves nothing may leave open who it is, if what is shown tells.
    fn needs_an_id(&self) -> bool {
        self.auth != Auth::None || self.is(GrantWord::ClientCredentials) || self.is(GrantWord::RefreshToken)
    }
}

impl OAuth2Source {
    /// `None`: there is a problem, which is noted.
    pub(in crate::config) fn read(section: &Section<'_>) -> Option<Self> {
        let table = OAuth2Table::read(section)?;
        let chosen = Chosen::of(section, &table);
        unused(section, &chosen);
        if section.names.each && chosen.is(GrantWord::RefreshToken) {
            let message = "is one for all, and share = \"client\" asks for one token for each client; write \
                           share = \"route\", or another grant";
            section.refuse("grant", message);
        }
        let server = server(section, &table);
        if !section.has("client_id") && chosen.needs_an_id() {
            section.missing("client_id", "client_id = \"NAME\", as the server knows this client");
        }
        let (grant, client_auth) = (grant(section, &chosen, &table), client_auth(section, &chosen, &table));
        let server = server?;
        headers(section, &chosen, &table);
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
            headers: table.headers,
            answer: table.answer,
        })
    }
}

/// None is said twice.
fn headers(section: &Section<'_>, chosen: &Chosen, table: &OAuth2Table) {
    let basic = chosen.auth == Auth::Basic;
    let own = |name| name == header::CONTENT_TYPE || basic && name == header::AUTHORIZATION;
    if let Some((name, _)) = table.headers.iter().find(|(name, _)| own(name)) {
        section.refuse("headers", format!("{name} is set by Perennial; remove it"));
    }
    if table.answer.has_refresh_token() && !chosen.is(GrantWord::RefreshToken) {
        section.refuse("answer", "refresh_token has no effect but with grant = \"refresh_token\"; remove it");
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

/// A key that nothing looks at is refused, with the reason.
fn unused(section: &Section<'_>, chosen: &Chosen) {
    let refuse = |keys: &[&str], message: &str| {
        keys.iter().filter(|key| section.has(key)).for_each(|key| section.refuse(key, message));
    };
    let auth = chosen.auth.word();
    if chosen.is(GrantWord::JwtBearer) && !chosen.signs {
        let message = "has no effect: assertion is signed by somebody else; remove one of the two";
        refuse(&["assertion_issuer", "subject"], message);
    }
    if chosen.auth != Auth::Assertion {
        let message = format!("has no effect with client_auth = \"{auth}\"; remove one of the two");
        refuse(&["client_assertion"], &message);
    }
    if !matches!(chosen.auth, Auth::Basic | Auth::Post | Auth::SecretJwt) {
        let message = format!(
            "has no effect: client_auth = \"{auth}\" sends no secret; write \"basic\", or remove this"
        );
        refuse(&["client_secret"], &message);
    }
    let nothing = "has no effect: nothing is signed here but with client_auth = \"private_key_jwt\", or with grant = \
                   \"jwt_bearer\" without assertion; remove it";
    if !chosen.signs && chosen.auth != Auth::PrivateKeyJwt {
        refuse(&["private_key"], nothing);
        if chosen.auth != Auth::SecretJwt {
            refuse(&SIGNING, nothing);
        }
    }
}

/// What is written of a JWT that is signed here, beside its key.
const SIGNING: [&str; 6] =
    ["key_id", "algorithm", "assertion_audience", "assertion_lifetime", "claims", "header"];

fn client_auth(section: &Section<'_>, chosen: &Chosen, table: &OAuth2Table) -> Option<ClientAuth> {
    let secret = || {
        if !section.has("client_secret") {
            section.missing("client_secret", "client_secret = { env = \"NAME\" } or { file = \"PATH\" }");
        }
        table.client_secret.clone()
    };
    match chosen.auth {
        Auth::Basic => secret().map(ClientAuth::Basic),
        Auth::Post => secret().map(ClientAuth::Post),
        Auth::SecretJwt => {
            // With a private key beside it, the algorithm is that one's.
            let algorithm = table.algorithm.filter(|_| !chosen.signs);
            let key = SigningKey { secret: secret()?, is_shared: true, algorithm };
            key.is_sound(section, "client_secret")
                .then(|| ClientAuth::SecretJwt(Box::new(signer(key, table))))
        }
        Auth::Assertion => {
            if !section.has("client_assertion") {
                section.missing("client_assertion", "client_assertion = { file = \"PATH\" }");
            }
            table.client_assertion.clone().map(ClientAuth::Assertion)
        }
        Auth::PrivateKeyJwt => {
            let missing = "private_key = { file = \"PATH\" }";
            private(section, table, missing).map(|signer| ClientAuth::PrivateKeyJwt(Box::new(signer)))
        }
        Auth::None => Some(ClientAuth::None),
    }
}

fn grant(section: &Section<'_>, chosen: &Chosen, table: &OAuth2Table) -> Option<Grant> {
    match &chosen.grant {
        GrantIs::Known(GrantWord::ClientCredentials) => Some(Grant::ClientCredentials),
        GrantIs::Known(GrantWord::RefreshToken) => {
            Some(Grant::RefreshToken(RefreshTable::read(section)?.refresh_token))
        }
        GrantIs::Known(GrantWord::TokenExchange) => {
            let exchange = ExchangeTable::read(section)?;
            Some(Grant::TokenExchange(Box::new(TokenExchange {
                subject_token: exchange.subject_token,
                subject_token_type: exchange.subject_token_type,
                actor_token: exchange.actor_token.map(|actor| (actor, exchange.actor_token_type)),
                requested_token_type: exchange.requested_token_type,
            })))
        }
        GrantIs::Known(GrantWord::JwtBearer) if !chosen.signs => {
            JwtTable::read(section)?.assertion.map(Grant::Assertion)
        }
        GrantIs::Known(GrantWord::JwtBearer) => signed_assertion(section, chosen, table),
        GrantIs::Other(name) => Some(Grant::Other(name.clone())),
    }
}

fn signed_assertion(section: &Section<'_>, chosen: &Chosen, table: &OAuth2Table) -> Option<Grant> {
    let jwt = JwtTable::read(section)?;
    let missing = if chosen.auth == Auth::PrivateKeyJwt {
        "private_key = { file = \"PATH\" }"
    } else {
        "assertion = { file = \"PATH\" }, or private_key = { file = \"PATH\" } to sign one here"
    };
    let signer = private(section, table, missing);
    if !section.has("subject") {
        section.missing("subject", "subject = \"NAME\", who the token is for");
    }
    if !section.has("assertion_issuer") && !section.has("client_id") {
        let hint = "assertion_issuer = \"NAME\", or client_id, which it is else";
        section.missing("assertion_issuer", hint);
    }
    let issuer = jwt.assertion_issuer.or_else(|| table.client_id.clone())?;
    Some(Grant::SignedAssertion(Box::new(SignedAssertion { issuer, subject: jwt.subject?, signer: signer? })))
}

/// With the private key; `missing` is said without one.
fn private(section: &Section<'_>, table: &OAuth2Table, missing: &str) -> Option<Signer> {
    if !section.has("private_key") {
        section.missing("private_key", missing);
    }
    let key = SigningKey { secret: table.private_key.clone()?, is_shared: false, algorithm: table.algorithm };
    key.is_sound(section, "private_key").then(|| signer(key, table))
}

fn signer(key: SigningKey, table: &OAuth2Table) -> Signer {
    Signer {
        key,
        key_id: table.key_id.clone(),
        audience: table.assertion_audience.clone(),
        header: table.header.clone().unwrap_or_default(),
        claims: table.claims.clone(),
        lifetime: table.assertion_lifetime.unwrap_or(ONE_REQUEST),
    }
}
