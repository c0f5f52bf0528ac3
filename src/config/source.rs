//! What can be said of a configuration: what a store and a source are called, where a source is, and what its templates
//! name.

use super::{
    Name, Share, SourceConfig, StateConfig, Template,
    endpoint::Schemes,
    general::Store,
    token::{Source, Whose},
};

impl StateConfig {
    /// As it is written in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Memory => Store::Memory,
            Self::Disk { .. } => Store::Disk,
            Self::Redis(_) => Store::Redis,
        }
        .word()
    }
}

impl Share {
    /// As it is written in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Route => Whose::Route,
            Self::Client { .. } => Whose::Client,
        }
        .word()
    }
}

impl SourceConfig {
    /// As it is written in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => Source::Http,
            Self::AblyKey(_) => Source::AblyKey,
            Self::Static { .. } => Source::Static,
            Self::File { .. } => Source::File,
            Self::Exec(_) => Source::Exec,
            Self::OAuth2(_) => Source::OAuth2,
            Self::Jwt(_) => Source::Jwt,
        }
        .word()
    }

    /// Where tokens come from: a URL without its query, a path, a program. `None` where there is no such place.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Http(http) => Some(http.endpoint.shown(Schemes::Http)),
            Self::AblyKey(_) | Self::Jwt(_) => None,
            Self::Static { token } => token.path().map(|path| path.display().to_string()),
            Self::File { path, .. } => Some(path.display().to_string()),
            Self::Exec(exec) => Some(exec.program.clone()),
            Self::OAuth2(oauth2) => Some(oauth2.server.address().endpoint.shown(Schemes::Http)),
        }
    }

    /// What it is asked with that differs from client to client, in order; a name may come more than once.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        let templates: Vec<&Template> = match self {
            Self::OAuth2(oauth2) => oauth2.templates().collect(),
            Self::Http(http) => http.templates().collect(),
            Self::Jwt(signer) => signer.templates().collect(),
            Self::AblyKey(_) | Self::Static { .. } | Self::File { .. } | Self::Exec(_) => Vec::new(),
        };
        templates.into_iter().flat_map(Template::names)
    }
}
