//! Why an answer is of no use.

use super::{
    super::{Rotated, refusal, said::Said},
    Issued, MAX_TOKEN,
};

/// Why an answer is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is not UTF-8")]
    NotText,
    #[error("the answer is HTML: a login or an error page?")]
    Html,
    #[error("the answer is neither JSON nor a token")]
    NotJson,
    #[error("the answer is JSON but no object")]
    NotObject,
    #[error(
        "the answer has no token under a usual name (`access_token`, `token`, `id_token`); say in `answer` where it is"
    )]
    NoToken,
    #[error(
        "the answer is plain text that does not look like the token before it; if it is a token, write \
         answer = \"text\""
    )]
    Unlike,
    #[error(
        "the answer is a bare token, and OAuth's is a JSON object; if it is right, write answer = \"text\""
    )]
    Bare,
    #[error("the answer has no `{0}` at the place that `answer` names")]
    NotThere(&'static str),
    #[error("the ExecCredential is of none of the versions v1 and v1beta1 of client.authentication.k8s.io")]
    CredentialVersion,
    #[error("the answer has no token in its `status`")]
    NoCredential,
    #[error(
        "the ExecCredential has a client certificate and no token, and only a token can be used; have the \
         command ask for one"
    )]
    OnlyCertificate,
    #[error("`{0}` has the wrong type")]
    WrongType(&'static str),
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the token has a line break, a NUL, white space or another control character in it")]
    Control,
    #[error("the token has other than ASCII characters in it")]
    NotAscii,
    #[error("the TokenRequest is not signed")]
    Unsigned,
    #[error("`keyName` is no key's name")]
    BadKeyName,
    #[error("the new refresh token cannot be used: it {0}")]
    RefreshToken(&'static str),
    #[error(
        "the token's type is {0}, which needs a proof with each use and is not supported; turn it off for this client"
    )]
    Bound(&'static str),
    #[error("the exchange gave a token of a kind that is no access token (issued_token_type)")]
    NotAccess,
    /// A code of OAuth's or Ably's, which names a kind of error and nothing else.
    #[error("the source answered with the error {0}")]
    Error(String),
}

impl BadAnswer {
    /// Is the next answer bound to be the same?
    pub fn stays(&self) -> bool {
        if let Self::Error(code) = self {
            return refusal::stays(code);
        }
        matches!(self, Self::Bound(_) | Self::NotAccess)
    }

    /// Does the answer look like one of something else than a source of tokens?
    pub fn is_misplaced(&self) -> bool {
        matches!(
            self,
            Self::Html
                | Self::NotJson
                | Self::NotObject
                | Self::NoToken
                | Self::NotThere(_)
                | Self::NoCredential
                | Self::WrongType(_)
        )
    }
}

/// An answer that is of no use, and what it says of the refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Useless {
    pub bad: BadAnswer,
    pub rotated: Option<Rotated>,
}

impl Useless {
    /// Does the answer say in place of a token why there is none?
    pub(in crate::credential::source) fn is_refusal(&self, body: &[u8]) -> bool {
        let missing =
            matches!(self.bad, BadAnswer::Error(_) | BadAnswer::NoToken | BadAnswer::NotThere("token"));
        missing && self.rotated.is_none() && Said::is_in(body)
    }

    /// A token that is of no use after all.
    pub(in crate::credential::source) fn with(bad: BadAnswer, issued: &Issued) -> Self {
        let life = issued.provenance.refresh_life;
        let refresh_token = issued.refresh_token.clone();
        Self { bad, rotated: refresh_token.map(|refresh_token| Rotated { refresh_token, life }) }
    }
}

impl From<BadAnswer> for Useless {
    fn from(bad: BadAnswer) -> Self {
        Self { bad, rotated: None }
    }
}
