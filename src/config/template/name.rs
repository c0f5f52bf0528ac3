//! The names that a template may have in it, and which of them has a value in which place.

use std::fmt;

use super::Template;
use crate::config::{Filters, error::nearest};

/// What a template may name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// `{token}`: the credential's current token.
    Token,
    /// `{client.token}`: the token that the client itself presented.
    ClientToken,
    /// `{query.NAME}`: a parameter of the client's query, by its exact name.
    Query(String),
    /// `{header.NAME}`: a header of the client's handshake; the name in lower case.
    Header(String),
    /// `{client.address}`, `{client.host}` or `{client.scheme}`.
    Client(ClientPart),
    /// `{json}`: the JSON of `[route.handshake]`.
    Json,
    /// `{refresh_token}`: the refresh token of `source = "http"`.
    RefreshToken,
    /// `{arg}`: what a value of a declared dialect is asked for.
    Arg,
    /// `{jwt}`: a JWT that is signed for this request, by `[route.token.jwt]`.
    Jwt,
}

/// What is known of a client that did not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPart {
    /// Where it connects from: an IP address.
    Address,
    /// The host that it asked for.
    Host,
    /// `https`, or `http`.
    Scheme,
}

/// What has a value where a template stands, which depends on whose the tokens are.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::config) struct Names {
    /// Tokens are each client's.
    pub(in crate::config) each: bool,
    /// Clients show tokens of their own.
    pub(in crate::config) own: bool,
    /// The source goes on with a refresh token.
    pub(in crate::config) refreshes: bool,
    /// The source signs a JWT for each request.
    pub(in crate::config) signs: bool,
    /// It is said who the client is.
    pub(in crate::config) tells: bool,
    /// The source is a declared dialect's, and is asked for something.
    pub(in crate::config) arg: bool,
}

impl Names {
    /// What asks for a token: it knows of a client if the token is that client's alone.
    pub(in crate::config) fn allow_in_source(self, template: &Template) -> Result<(), String> {
        allow(template, Self { own: self.each && self.own, ..self })
    }

    /// What connects a client to the service.
    pub(in crate::config) fn allow_in_request(self, template: &Template) -> Result<(), String> {
        allow(template, Self { each: true, own: self.own, ..Self::default() })
    }

    /// What tells a service of its client.
    pub(in crate::config) fn allow_in_client_header(self, template: &Template) -> Result<(), String> {
        let unknown =
            template.names().find(|name| matches!(name, Name::Token | Name::ClientToken | Name::Json));
        if let Some(name) = unknown {
            return Err(format!("{name} has no value here: tokens go where [route.handshake] says"));
        }
        allow(template, Self { each: true, tells: true, ..Self::default() })
    }
}

/// Has everything that a template names a value? `each`: what the client's request has, has one.
fn allow(
    template: &Template,
    Names { each, own, refreshes, signs, tells, arg }: Names,
) -> Result<(), String> {
    if let Some((word, meant)) = template.slip() {
        return Err(format!("{{{word}}} is no name; did you mean {{{meant}}}?"));
    }
    for name in template.names() {
        match name {
            Name::Token => {}
            Name::ClientToken if own => {}
            Name::ClientToken if arg => {
                return Err(format!("{name} has no value here; write {{query.NAME}} or {{header.NAME}}"));
            }
            Name::ClientToken => {
                return Err(format!("{name} has no value: say in [route.client] where a client's token is"));
            }
            Name::Query(_) | Name::Header(_) | Name::Json if each => {}
            Name::Client(_) if tells => {}
            Name::Client(_) => {
                return Err(format!("{name} has a value in headers of [[route]] only"));
            }
            Name::RefreshToken if refreshes => {}
            Name::Arg if arg => {}
            Name::Arg => return Err(format!("{name} has a value in [dialect.NAME.source.SUB] only")),
            Name::Jwt if signs => {}
            Name::RefreshToken => {
                return Err(format!(
                    "{name} has a value with source = \"http\" only, if refresh_token says where the first one is"
                ));
            }
            Name::Jwt => {
                return Err(format!(
                    "{name} has a value with source = \"http\" only; say in [route.token.jwt] how it is signed"
                ));
            }
            Name::Json => return Err(format!("{name} has a value in [route.handshake] only")),
            Name::Query(_) | Name::Header(_) => {
                return Err(format!("{name} has no value: the token is the route's; add share = \"client\""));
            }
        }
    }
    Ok(())
}

impl Name {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None if text == "token" => Some(Self::Token),
            None if text == "json" => Some(Self::Json),
            None if text == "arg" => Some(Self::Arg),
            None if text == "jwt" => Some(Self::Jwt),
            None if text == "refresh_token" => Some(Self::RefreshToken),
            Some(("client", "token")) => Some(Self::ClientToken),
            Some(("client", "address")) => Some(Self::Client(ClientPart::Address)),
            Some(("client", "host")) => Some(Self::Client(ClientPart::Host)),
            Some(("client", "scheme")) => Some(Self::Client(ClientPart::Scheme)),
            Some(("query", name)) if is_name(name) => Some(Self::Query(name.to_owned())),
            Some(("header", name)) if is_name(name) => Some(Self::Header(name.to_ascii_lowercase())),
            None | Some(_) => None,
        }
    }
}

const OF_A_CLIENT: [&str; 4] = ["client.token", "client.address", "client.host", "client.scheme"];

/// The same of what follows a brace.
pub(super) fn slip(after: &str) -> Option<(&str, String)> {
    let word = &after[..after.find('}')?];
    if let Some((name, filters)) = word.split_once('|')
        && Name::parse(name).is_some()
    {
        return Filters::meant(filters).map(|meant| (word, format!("{name}|{meant}")));
    }
    let meant = match word.split_once('.') {
        Some((room, name)) if is_name(name) && nearest(word, OF_A_CLIENT).is_none() => {
            nearest(room, ["query", "header"]).map(|room| format!("{room}.{name}"))
        }
        Some(_) => nearest(word, OF_A_CLIENT).map(str::to_owned),
        None => nearest(word, ["token", "client.token", "refresh_token"]).map(str::to_owned),
    };
    meant.map(|meant| (word, meant))
}

/// What a parameter or a header may be called in a template: what needs no escape anywhere.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("{token}"),
            Self::ClientToken => f.write_str("{client.token}"),
            Self::Client(ClientPart::Address) => f.write_str("{client.address}"),
            Self::Client(ClientPart::Host) => f.write_str("{client.host}"),
            Self::Client(ClientPart::Scheme) => f.write_str("{client.scheme}"),
            Self::Arg => f.write_str("{arg}"),
            Self::Json => f.write_str("{json}"),
            Self::RefreshToken => f.write_str("{refresh_token}"),
            Self::Jwt => f.write_str("{jwt}"),
            Self::Query(name) => write!(f, "{{query.{name}}}"),
            Self::Header(name) => write!(f, "{{header.{name}}}"),
        }
    }
}
