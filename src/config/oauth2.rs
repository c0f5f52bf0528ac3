//! `source = "oauth2"` as meant: a grant, a client that proves who it is, and what is asked for.
//!
//! ```text
//!   token_url | issuer ──► where          grant ──► with what        client_auth ──► as whom
//!                          scope, audience, resource, parameters, headers ──► for what
//!                          answer ──► where the token is
//! ```
//!
//! How it comes from the file is the business of `read` and `build`.

mod build;
pub(super) mod read;

use std::fmt;

use http::HeaderName;

use super::{AnswerForm, Endpoint, Secret, Signer, Template, UpstreamTls};
use read::{Auth, GrantWord};

/// `source = "oauth2"` (RFC 6749).
#[derive(Debug, Clone, PartialEq)]
pub struct OAuth2Source {
    /// Where the token endpoint is.
    pub server: AuthorizationServer,
    /// Of the legs to it: `[route.token.tls]`.
    pub tls: UpstreamTls,
    /// With what a token is asked for.
    pub grant: Grant,
    /// There for each way of [`ClientAuth`] but [`ClientAuth::None`], which may do without.
    pub client_id: Option<String>,
    /// How the client proves that it is that one.
    pub client_auth: ClientAuth,
    /// Each expanded for [`super::Place::Scope`]; one may be several, with spaces between them.
    pub scope: Vec<Template>,
    /// RFC 8693 §2.1, and what many servers take with other grants; repeated where there are several.
    pub audience: Vec<Template>,
    /// Absolute URIs (RFC 8707 §2); repeated where there are several.
    pub resource: Vec<Template>,
    /// More fields of the form; none is one of those above.
    pub parameters: Vec<(String, Template)>,
    /// More headers; none is one that the request has anyway.
    pub headers: Vec<(HeaderName, Template)>,
    /// Where in the answer the token is.
    pub answer: AnswerForm,
}

/// Where the token endpoint is.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthorizationServer {
    /// Here.
    TokenUrl(Address),
    /// Where the issuer's own document says (RFC 8414, OpenID Connect Discovery).
    Issuer(Address),
}

/// A URL as it was written, which is how it is compared and signed, and as it is dialled.
#[derive(Clone, PartialEq)]
pub struct Address {
    /// As written.
    pub text: String,
    /// As dialled.
    pub endpoint: Endpoint,
}

/// With what a token is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Grant {
    /// The client's own right (RFC 6749 §4.4).
    ClientCredentials,
    /// A refresh token, which the server may replace at each use (RFC 6749 §6).
    RefreshToken(Secret),
    /// Another token (RFC 8693).
    TokenExchange(Box<TokenExchange>),
    /// A JWT that somebody else signs and keeps fresh (RFC 7523 §2.1).
    Assertion(Secret),
    /// A JWT that is signed here (RFC 7523 §2.1).
    SignedAssertion(Box<SignedAssertion>),
    /// What the server calls so, with `parameters` (RFC 6749 §4.5); `password` is one of them.
    Other(String),
}

/// RFC 8693 §2.1.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenExchange {
    /// Whose token is to be had.
    pub subject_token: Template,
    /// A URI.
    pub subject_token_type: String,
    /// Who acts for the subject: a token and its type.
    pub actor_token: Option<(Template, String)>,
    /// A URI.
    pub requested_token_type: Option<String>,
}

/// What a signed assertion says of whom.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedAssertion {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// With what it is signed.
    pub signer: Signer,
}

/// How the client proves who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientAuth {
    /// It only says who it is, or shows a certificate (RFC 8705).
    None,
    /// In the header (RFC 6749 §2.3.1).
    Basic(Secret),
    /// In the form (RFC 6749 §2.3.1).
    Post(Secret),
    /// By a JWT of its own (RFC 7523 §2.2).
    PrivateKeyJwt(Box<Signer>),
    /// By a JWT that is signed with the secret (OpenID Connect Core §9).
    SecretJwt(Box<Signer>),
    /// By a JWT that somebody else signs and keeps fresh (RFC 7523 §2.2).
    Assertion(Secret),
}

impl OAuth2Source {
    /// With what something is signed here, and so dated by our clock.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        let proof = match &self.client_auth {
            ClientAuth::PrivateKeyJwt(signer) | ClientAuth::SecretJwt(signer) => Some(&**signer),
            ClientAuth::None | ClientAuth::Basic(_) | ClientAuth::Post(_) | ClientAuth::Assertion(_) => None,
        };
        let grant =
            if let Grant::SignedAssertion(assertion) = &self.grant { Some(&assertion.signer) } else { None };
        proof.into_iter().chain(grant)
    }

    /// All that may name what a client's request has.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let exchange = match &self.grant {
            Grant::TokenExchange(exchange) => Some(exchange),
            Grant::ClientCredentials
            | Grant::RefreshToken(_)
            | Grant::Assertion(_)
            | Grant::SignedAssertion(_)
            | Grant::Other(_) => None,
        };
        let tokens = exchange.into_iter().flat_map(|exchange| {
            let actor = exchange.actor_token.as_ref().map(|(token, _)| token);
            std::iter::once(&exchange.subject_token).chain(actor)
        });
        let fields = self.parameters.iter().map(|(_, value)| value);
        let headers = self.headers.iter().map(|(_, value)| value);
        let claims = self.signers().flat_map(Signer::templates);
        tokens
            .chain(&self.scope)
            .chain(&self.audience)
            .chain(&self.resource)
            .chain(fields)
            .chain(headers)
            .chain(claims)
    }
}

impl Grant {
    /// As the configuration names it.
    pub fn word(&self) -> &str {
        match self {
            Self::Other(name) => return name,
            Self::ClientCredentials => GrantWord::ClientCredentials,
            Self::RefreshToken(_) => GrantWord::RefreshToken,
            Self::TokenExchange(_) => GrantWord::TokenExchange,
            Self::Assertion(_) | Self::SignedAssertion(_) => GrantWord::JwtBearer,
        }
        .word()
    }
}

impl ClientAuth {
    /// As the configuration names it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::None => Auth::None,
            Self::Basic(_) => Auth::Basic,
            Self::Post(_) => Auth::Post,
            Self::PrivateKeyJwt(_) => Auth::PrivateKeyJwt,
            Self::SecretJwt(_) => Auth::SecretJwt,
            Self::Assertion(_) => Auth::Assertion,
        }
        .word()
    }
}

impl AuthorizationServer {
    /// What was configured of it.
    pub fn address(&self) -> &Address {
        match self {
            Self::TokenUrl(address) | Self::Issuer(address) => address,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its query may be a secret; an endpoint masks it.
        self.endpoint.fmt(f)
    }
}
