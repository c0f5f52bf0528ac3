//! `perennial login ROUTE`: the first refresh token of a route, got with the help of a person, and put where the
//! configuration looks for it.
//!
//! ```text
//!   the route ─► is there a file for it? can it be written? ─► begin ── Begun: to be shown ──► finish ─► the file
//!                  no: nobody is asked                                                                  │
//!                                                        a sidecar that runs looks every five seconds ◄─┘
//! ```
//!
//! 1. What would be in vain is refused before anybody is asked: a place that cannot be written to costs no login.
//! 2. The file is there as a whole or not at all, and nobody else can read it.
//! 3. Neither the token nor a part of it is said.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{Config, Grant, OAuth2Source, Secret, SourceConfig},
    credential::source::login::{Browser, Device, Login},
    net::Egress,
};

mod draft;

pub use crate::credential::source::login::{LoginError, Options, Way};
use draft::Draft;

/// A login that waits for a person.
#[derive(Debug)]
pub struct Begun {
    login: Login,
    draft: Draft,
}

/// What a person has to know.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// To be opened anywhere.
    Device { address: &'a str, code: &'a str, complete: Option<&'a str>, good_for: Duration },
    /// To be opened by a browser that reaches `redirect`.
    Browser { url: &'a str, redirect: &'a str, port: u16, good_for: Duration },
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// The file that the refresh token is in.
    pub path: PathBuf,
    /// When it ends, if the server says so: since the Unix epoch.
    pub ends: Option<Duration>,
}

/// Looks at the route, and asks its server for what a person needs.
pub async fn begin(config: &Config, name: Option<&str>, options: &Options) -> Result<Begun, LoginError> {
    let (route, token) =
        super::token::route(config, name).map_err(|error| LoginError::Usage(error.to_string()))?;
    let in_route = |error: LoginError| {
        let say = |message: String| format!("route \"{}\": {message}", route.name);
        match error {
            LoginError::Usage(message) => LoginError::Usage(say(message)),
            LoginError::Failed(message) => LoginError::Failed(say(message)),
        }
    };
    let (source, first) = rotating(&token.source).map_err(in_route)?;
    let path = first.path().ok_or_else(|| in_route(no_file(first)))?;
    let draft = Draft::new(path).map_err(|why| in_route(LoginError::Failed(why)))?;
    let egress = Egress::new(&config.egress.proxy).map_err(|error| LoginError::Usage(error.to_string()))?;
    let login = Login::begin(source, options, &egress, token.refresh.timeout).await.map_err(in_route)?;
    Ok(Begun { login, draft })
}

/// The source, and the first refresh token that it takes.
fn rotating(source: &SourceConfig) -> Result<(&OAuth2Source, &Secret), LoginError> {
    let wrong = |what: String| {
        LoginError::Usage(format!(
            "{what}, and a login is for source = \"oauth2\" with grant = \"refresh_token\""
        ))
    };
    let SourceConfig::OAuth2(oauth2) = source else {
        return Err(wrong(format!("it has source = \"{}\"", source.word())));
    };
    match &oauth2.grant {
        Grant::RefreshToken(first) => Ok((oauth2, first)),
        Grant::ClientCredentials
        | Grant::TokenExchange(_)
        | Grant::Assertion(_)
        | Grant::SignedAssertion(_)
        | Grant::Other(_) => Err(wrong(format!("it has grant = \"{}\"", oauth2.grant.word()))),
    }
}

fn no_file(first: &Secret) -> LoginError {
    let place = match first.variable() {
        Some(name) => format!("is in the environment variable {name}"),
        None => "stands in the configuration itself".to_owned(),
    };
    LoginError::Usage(format!(
        "its refresh_token {place}, which a login cannot change; write refresh_token = {{ file = \"PATH\" }}"
    ))
}

impl Begun {
    /// What is to be shown now.
    pub fn shown(&self) -> Shown<'_> {
        match &self.login {
            Login::Device(Device { address, user_code, complete, good_for, .. }) => {
                Shown::Device { address, code: user_code, complete: complete.as_deref(), good_for: *good_for }
            }
            Login::Browser(Browser { url, redirect, port, good_for, .. }) => {
                Shown::Browser { url, redirect, port: *port, good_for: *good_for }
            }
        }
    }

    /// Waits for the person, and writes the refresh token down.
    pub async fn finish(self) -> Result<Done, LoginError> {
        let got = self.login.finish().await?;
        let path = self.draft.keep(&got.refresh_token).map_err(LoginError::Failed)?;
        Ok(Done { path, ends: got.ends })
    }
}

#[cfg(test)]
mod tests;
