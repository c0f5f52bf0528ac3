//! Templates: a text with names in it, expanded for the place it stands in.
//!
//! `{token}`, `{client.token}`, `{query.NAME}` and `{header.NAME}` are names, each with or without filters
//! (`{token|base64url}`, see `filter`); any other brace is a brace, unless it is a slip of the pen ([`Template::slip`]). A
//! template is parsed once, at load. When it is expanded, the operator's own text is taken as written, and each value is
//! escaped for its [`Place`], or refused if a place has no escape: no value can break out of where it was put.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Filters, Secret, SecretError, error::nearest, path};

/// A text with `{names}` in it. `Debug` masks its own text, which may be a password.
#[derive(Clone, Default, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq)]
enum Piece {
    Literal(String),
    Name(Name, Filters),
    Secret(Secret),
    /// `{json}`, and what it went through.
    Json(Box<Template>, Filters),
}

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
    /// `{json}`: the JSON of `[route.handshake]`.
    Json,
    /// `{refresh_token}`: the refresh token of `source = "http"`.
    RefreshToken,
    /// `{jwt}`: a JWT that is signed for this request, by `[route.token.jwt]`.
    Jwt,
}

/// What has a value where a template stands, which depends on whose the tokens are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names {
    /// Tokens are each client's.
    pub(super) each: bool,
    /// Clients show tokens of their own.
    pub(super) own: bool,
    /// The source goes on with a refresh token.
    pub(super) refreshes: bool,
    /// The source signs a JWT for each request.
    pub(super) signs: bool,
}

impl Names {
    /// What asks for a token: it knows of a client if the token is that client's alone.
    pub(super) fn allow_in_source(self, template: &Template) -> Result<(), String> {
        allow(template, Self { own: self.each && self.own, ..self })
    }

    /// What connects a client to the service.
    pub(super) fn allow_in_request(self, template: &Template) -> Result<(), String> {
        allow(template, Self { each: true, own: self.own, ..Self::default() })
    }
}

/// Has everything that a template names a value? `each`: what the client's request has, has one.
fn allow(template: &Template, Names { each, own, refreshes, signs }: Names) -> Result<(), String> {
    if let Some((word, meant)) = template.slip() {
        return Err(format!("{{{word}}} is no name; did you mean {{{meant}}}?"));
    }
    for name in template.names() {
        match name {
            Name::Token => {}
            Name::ClientToken if own => {}
            Name::ClientToken => {
                return Err(format!("{name} has no value: say in [route.client] where a client's token is"));
            }
            Name::Query(_) | Name::Header(_) | Name::Json if each => {}
            Name::RefreshToken if refreshes => {}
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

/// Where a template stands, which is what its values are escaped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path and a query: percent-encoded. In the path a client's value has to be one segment: what climbs out of it,
    /// also after it was decoded again, is refused.
    Url,
    /// A header's value: control characters are refused.
    Header,
    /// A value of a body in `application/x-www-form-urlencoded`: percent-encoded.
    Form,
    /// Inside a JSON string: escaped as JSON does.
    JsonString,
    /// One offer in `Sec-WebSocket-Protocol`: what a protocol's name cannot have is refused.
    Subprotocol,
    /// A cookie's value: what ends or splits a cookie is refused.
    Cookie,
    /// A scope of OAuth's: what would end it, and begin another, is refused (RFC 6749 §3.3).
    Scope,
    /// Plain text without structure: as it is.
    Text,
}

/// Why a template could not be expanded. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// There is no value of that name (yet).
    #[error("there is no value for {0}")]
    Missing(Name),
    /// The value cannot stand in that place.
    #[error("the value of {0} cannot stand in {1}")]
    Refused(Name, Place),
    /// The secret cannot stand in that place.
    #[error("the secret cannot stand in {0}")]
    RefusedSecret(Place),
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Template {
    /// Parses a text. Every text is a template: what is no name is taken as written.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            let (before, after) = rest.split_at(brace);
            literal.push_str(before);
            if let Some((name, filters, length)) = at_start(after) {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Name(name, filters));
                rest = &after[length..];
            } else {
                literal.push('{');
                rest = &after[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Self { pieces }
    }

    /// A template that is one secret, read when it is expanded.
    pub fn secret(secret: Secret) -> Self {
        Self { pieces: vec![Piece::Secret(secret)] }
    }

    /// A text in which no brace is a name.
    pub(super) fn verbatim(text: &str) -> Self {
        Self { pieces: vec![Piece::Literal(text.to_owned())] }
    }

    /// The same with a JSON text in place of each `{json}`; was there one?
    pub(super) fn with_json(&mut self, json: &Self) -> bool {
        let mut found = false;
        for piece in &mut self.pieces {
            if let Piece::Name(Name::Json, filters) = piece {
                *piece = Piece::Json(Box::new(json.clone()), filters.clone());
                found = true;
            }
        }
        found
    }

    /// Puts another template behind this one.
    pub(super) fn append(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
    }

    /// The secrets in it.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.pieces
            .iter()
            .filter_map(|piece| if let Piece::Secret(secret) = piece { Some(secret) } else { None })
    }

    /// The names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name, _) => Some(name),
            Piece::Literal(_) | Piece::Secret(_) | Piece::Json(..) => None,
        })
    }

    /// Its text, with something else in the place of each name.
    pub(super) fn with_stand_ins(&self, stand_in: impl Fn(usize) -> String) -> (String, Vec<Self>) {
        let (mut text, mut names) = (String::new(), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name(..) | Piece::Secret(_) | Piece::Json(..) => {
                    text.push_str(&stand_in(names.len()));
                    names.push(Self { pieces: vec![piece.clone()] });
                }
            }
        }
        (text, names)
    }

    /// A word in braces that is no name, and the name that it was probably meant to be.
    pub(super) fn slip(&self) -> Option<(&str, String)> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Literal(text) => text.split('{').skip(1).find_map(slip),
            Piece::Name(..) | Piece::Secret(_) | Piece::Json(..) => None,
        })
    }

    /// Words in braces that are no names.
    pub(super) fn unknown_words(&self) -> Vec<String> {
        let word = |after: &str| after[..after.find('}')?].to_owned().into();
        let looks_so = |word: &String| {
            word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.split('.').all(is_name)
        };
        let literals = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text),
            Piece::Name(..) | Piece::Secret(_) | Piece::Json(..) => None,
        });
        literals.flat_map(|text| text.split('{').skip(1).filter_map(word)).filter(looks_so).collect()
    }

    /// Its text, if it names nothing and holds no secret.
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Puts the values in, each escaped for the place.
    pub fn expand<'v>(
        &self,
        place: Place,
        values: &dyn Fn(&Name) -> Option<&'v str>,
    ) -> Result<String, ExpandError> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Name(name, filters) => {
                    let value = values(name).ok_or_else(|| ExpandError::Missing(name.clone()))?;
                    let in_path = place == Place::Url && !out.contains(['?', '#']);
                    let from_client = matches!(name, Name::ClientToken | Name::Query(_) | Name::Header(_));
                    if in_path && from_client && !path::is_segment(value) {
                        return Err(ExpandError::Refused(name.clone(), place));
                    }
                    let put = match filters.is_empty() {
                        true => place.put(value, &mut out),
                        false => place.put(&filters.apply(value), &mut out),
                    };
                    put.map_err(|Refused| ExpandError::Refused(name.clone(), place))?;
                }
                Piece::Json(json, filters) => {
                    let text = filters.apply(&json.expand(Place::JsonString, values)?);
                    place.put(&text, &mut out).map_err(|Refused| ExpandError::Refused(Name::Json, place))?;
                }
                Piece::Secret(secret) => place
                    .put(&secret.reveal()?, &mut out)
                    .map_err(|Refused| ExpandError::RefusedSecret(place))?,
            }
        }
        Ok(out)
    }

    /// As written, where `mask` is false; else with its own text masked, a mere `Bearer ` excepted.
    pub fn shown(&self, mask: bool) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) if !mask || text.eq_ignore_ascii_case("bearer ") => out.push_str(text),
                Piece::Literal(_) | Piece::Secret(_) => out.push_str("***"),
                Piece::Name(name, filters) => out.push_str(&spot(name, filters)),
                Piece::Json(_, filters) => out.push_str(&spot(&Name::Json, filters)),
            }
        }
        out
    }

    /// The secret that it is, where it is one.
    pub fn as_secret(&self) -> Option<&Secret> {
        match self.pieces.as_slice() {
            [Piece::Secret(secret)] => Some(secret),
            _ => None,
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.shown(true))
    }
}

/// The name that `text` begins with, with its filters, braces included, and how long it is there.
fn at_start(text: &str) -> Option<(Name, Filters, usize)> {
    let inner = &text[1..text.find('}')?];
    let (name, filters) = match inner.split_once('|') {
        Some((name, filters)) => (name, Filters::parse(filters)?),
        None => (inner, Filters::default()),
    };
    Some((Name::parse(name)?, filters, inner.len() + 2))
}

/// A name with its filters, as it is written.
fn spot(name: &Name, filters: &Filters) -> String {
    let name = name.to_string();
    format!("{}{filters}}}", name.trim_end_matches('}'))
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None if text == "token" => Some(Self::Token),
            None if text == "json" => Some(Self::Json),
            None if text == "jwt" => Some(Self::Jwt),
            None if text == "refresh_token" => Some(Self::RefreshToken),
            Some(("client", "token")) => Some(Self::ClientToken),
            Some(("query", name)) if is_name(name) => Some(Self::Query(name.to_owned())),
            Some(("header", name)) if is_name(name) => Some(Self::Header(name.to_ascii_lowercase())),
            None | Some(_) => None,
        }
    }
}

/// The same of what follows a brace.
fn slip(after: &str) -> Option<(&str, String)> {
    let word = &after[..after.find('}')?];
    if let Some((name, filters)) = word.split_once('|')
        && Name::parse(name).is_some()
    {
        return Filters::meant(filters).map(|meant| (word, format!("{name}|{meant}")));
    }
    let meant = match word.split_once('.') {
        Some((room, name)) if is_name(name) && nearest(word, ["client.token"]).is_none() => {
            nearest(room, ["query", "header"]).map(|room| format!("{room}.{name}"))
        }
        _ => nearest(word, ["token", "client.token", "refresh_token"]).map(str::to_owned),
    };
    meant.map(|meant| (word, meant))
}

/// What a parameter or a header may be called in a template: what needs no escape anywhere.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("{token}"),
            Self::ClientToken => f.write_str("{client.token}"),
            Self::Json => f.write_str("{json}"),
            Self::RefreshToken => f.write_str("{refresh_token}"),
            Self::Jwt => f.write_str("{jwt}"),
            Self::Query(name) => write!(f, "{{query.{name}}}"),
            Self::Header(name) => write!(f, "{{header.{name}}}"),
        }
    }
}

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as a URL and a form have it.
pub fn percent_encoded(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

struct Refused;

impl Place {
    fn put(self, value: &str, out: &mut String) -> Result<(), Refused> {
        match self {
            // A dot segment would climb out of its path, and stays one when it is percent-encoded.
            Self::Url if matches!(value, "." | "..") => return Err(Refused),
            Self::Url | Self::Form => out.extend(utf8_percent_encode(value, ESCAPED)),
            Self::Header => {
                if value.chars().any(|c| c.is_control() && c != '\t') {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::JsonString => {
                let quoted = serde_json::to_string(value).map_err(|_| Refused)?;
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Subprotocol => {
                if !value.bytes().all(is_token_byte) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Cookie => {
                if !value.bytes().all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b)) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Scope => {
                if !value.bytes().all(is_scope_byte) {
                    return Err(Refused);
                }
                out.push_str(value);
            }
            Self::Text => out.push_str(value),
        }
        Ok(())
    }
}

/// Is it a `tchar` of RFC 9110: what a header's name, a cookie's name and a subprotocol are made of?
pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Is it one that a scope is made of (`NQCHAR` of RFC 6749)?
pub(super) fn is_scope_byte(b: u8) -> bool {
    b.is_ascii_graphic() && b != b'"' && b != b'\\'
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "a URL",
            Self::Header => "a header",
            Self::Form => "a form",
            Self::JsonString => "a JSON string",
            Self::Subprotocol => "a subprotocol",
            Self::Cookie => "a cookie",
            Self::Scope => "a scope",
            Self::Text => "a text",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, place: Place, value: &str) -> Result<String, ExpandError> {
        Template::parse(template).expand(place, &|_| Some(value))
    }

    #[test]
    fn only_the_four_names_are_names() {
        let text = r#"{token}{client.token}{query.user-id}{header.X-User} {} {tokens} {client.id} {query.} {{"a":1} {"#;
        let template = Template::parse(text);
        let names: Vec<_> = template.names().cloned().collect();
        assert_eq!(
            names,
            [Name::Token, Name::ClientToken, Name::Query("user-id".into()), Name::Header("x-user".into())]
        );
        let expanded = template.expand(Place::Text, &|_| Some("v")).unwrap();
        assert_eq!(expanded, r#"vvvv {} {tokens} {client.id} {query.} {{"a":1} {"#);
    }

    #[test]
    fn a_name_may_follow_a_loose_brace() {
        assert_eq!(expand("{{token}}", Place::Text, "v").unwrap(), "{v}");
        assert_eq!(expand("{é{token}", Place::Text, "v").unwrap(), "{év");
        assert_eq!(expand("{token}", Place::Text, "{token}").unwrap(), "{token}", "once only");
    }

    #[test]
    fn each_place_escapes_or_refuses() {
        let cases = [
            (Place::Url, "a/b?c&d#é", Some("a%2Fb%3Fc%26d%23%C3%A9")),
            (Place::Url, "..", None),
            (Place::Form, "a b&c=d", Some("a%20b%26c%3Dd")),
            (Place::JsonString, "a\"\\\n", Some("a\\\"\\\\\\n")),
            (Place::Header, "a b", Some("a b")),
            (Place::Header, "a\r\nb", None),
            (Place::Header, "a\0", None),
            (Place::Subprotocol, "ey.J-_", Some("ey.J-_")),
            (Place::Subprotocol, "a, b", None),
            (Place::Cookie, "a=b", Some("a=b")),
            (Place::Cookie, "a; b", None),
            (Place::Scope, "read:a/b", Some("read:a/b")),
            (Place::Scope, "a admin", None),
            (Place::Scope, "a\\", None),
        ];
        for (place, value, want) in cases {
            assert_eq!(expand("{token}", place, value).ok().as_deref(), want, "{place:?} {value:?}");
        }
    }

    #[test]
    fn a_slip_is_told_from_a_brace() {
        for (text, expected) in [
            ("Bearer {tokn}", Some(("tokn", "token"))),
            ("{Token}", Some(("Token", "token"))),
            ("{client.tokn}", Some(("client.tokn", "client.token"))),
            ("{token}{querry.id}", Some(("querry.id", "query.id"))),
            ("{headers.x-id}", Some(("headers.x-id", "header.x-id"))),
            ("{token} {query.id}", None),
            ("{\"a\":\"{id}\"}", None),
            ("{ {tok", None),
        ] {
            let template = Template::parse(text);
            let slip = template.slip();
            assert_eq!(slip.as_ref().map(|(word, meant)| (*word, &**meant)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_a_value_never_shown() {
        let template = Template::parse("Bearer {token}");
        let error = template.expand(Place::Header, &|_| None).unwrap_err();
        assert_eq!(error.to_string(), "there is no value for {token}");
        let error = expand("Bearer {token}", Place::Header, "CANARY\n").unwrap_err();
        assert_eq!(error.to_string(), "the value of {token} cannot stand in a header");
        assert!(!format!("{error:?}").contains("CANARY"));
    }

    #[test]
    fn debug_masks_its_own_text() {
        assert_eq!(format!("{:?}", Template::parse("key CANARY {token}")), r#"Template("***{token}")"#);
        assert_eq!(Template::parse("Bearer {token}").shown(true), "Bearer {token}");
    }

    #[test]
    fn a_secret_is_read_when_expanded() {
        let template = Template::secret(Secret::env("CARGO_PKG_NAME"));
        assert_eq!(template.expand(Place::Header, &|_| None).unwrap(), "perennial");
        let template = Template::secret(Secret::env("PERENNIAL_NOT_SET"));
        assert!(matches!(template.expand(Place::Text, &|_| None), Err(ExpandError::Secret(_))));
    }
}
