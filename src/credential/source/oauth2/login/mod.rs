//! The first refresh token: a person lets the client in, once.
//!
//! ```text
//!   issuer ───► discovery ─┐             ┌─ device:  a code ──► shown ──► the token endpoint, again and again ─┐
//!   token_url, options ────┴─► places ───┤                                                                    ├─► Got
//!                                        └─ browser: a URL ──► shown ──► its answer here ──► the token endpoint ┘
//! ```
//!
//! 1. The client is the configured one: its proof, its headers and its parameters go with every request.
//! 2. What the configuration keeps to itself is in no URL: a browser shows it, and remembers it. So `parameters` are not
//!    in the one that is opened.
//! 3. From a server that is asked by https, neither a secret nor a person goes anywhere by http.
//! 4. Every wait has an end.
//! 5. Nothing is printed here.

mod browser;
mod client;
mod device;
mod places;
mod visit;

use std::time::Duration;

pub use browser::Browser;
pub use device::Device;

use super::{super::SourceError, OAuth2Source};
use crate::{
    clock::Now,
    config::{SecretText, Template},
    net::{Egress, TlsError},
};
use client::Client;
pub use places::Way;
use places::{Found, Places};

/// Nobody waits for a person longer than this.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What an operator says beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// In which way; `None`: the one that the server has.
    pub way: Option<Way>,
    /// The device authorization endpoint.
    pub device_url: Option<String>,
    /// The authorization endpoint.
    pub authorize_url: Option<String>,
    /// In the place of the configured scope.
    pub scope: Option<String>,
    /// More fields of the request that a person answers.
    pub parameters: Vec<(String, String)>,
    /// Where the browser's answer is waited for; `None`: on any port that is free.
    pub port: Option<u16>,
    /// How long a person has.
    pub timeout: Option<Duration>,
}

/// Why there is no refresh token. It says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The command line does not fit the configuration, or the server.
    #[error("{0}")]
    Usage(String),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

/// A login that waits for a person.
#[derive(Debug)]
pub enum Login {
    Device(Device),
    Browser(Browser),
}

/// What a login brought.
#[derive(Debug)]
pub struct Got {
    pub refresh_token: SecretText,
    /// When it ends, if the server says so: since the Unix epoch.
    pub ends: Option<Duration>,
}

impl Login {
    /// Asks the server, by this way out, for all that a person needs. `timeout`: of each request.
    pub async fn begin(
        source: &OAuth2Source,
        options: &Options,
        egress: &Egress,
        timeout: Duration,
    ) -> Result<Self, LoginError> {
        let mut source = source.clone();
        if let Some(scope) = &options.scope {
            source.scope = vec![Template::parse(scope)];
        }
        let now = Now::read();
        let Places { token, way } = places::find(&source, (options, egress), now, now.mono + timeout).await?;
        let client = Client { source, token, timeout };
        match way {
            Found::Device(endpoint) => Device::begin(client, &endpoint, options).await.map(Self::Device),
            Found::Browser { url, issuer } => {
                Browser::begin(client, &url, issuer, options).await.map(Self::Browser)
            }
        }
    }

    /// Waits for the person, and has the token given out.
    pub async fn finish(self) -> Result<Got, LoginError> {
        match self {
            Self::Device(device) => device.finish().await,
            Self::Browser(browser) => browser.finish().await,
        }
    }
}

impl LoginError {
    fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }
}

impl From<SourceError> for LoginError {
    fn from(error: SourceError) -> Self {
        Self::Failed(error.reason)
    }
}

impl From<TlsError> for LoginError {
    fn from(error: TlsError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests;
