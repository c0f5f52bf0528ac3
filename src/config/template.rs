//! Templates: a text with names in it, expanded for the place it stands in.
//!
//! `{token}`, `{client.token}`, `{query.NAME}` and `{header.NAME}` are names, each with or without filters
//! (`{token|base64url}`, see `filter`); any other brace is a brace, unless it is a slip of the pen ([`Template::slip`]). A
//! template is parsed once, at load. When it is expanded, the operator's own text is taken as written, and each value is
//! escaped for its [`Place`], or refused if a place has no escape: no value can break out of where it was put.

mod name;
mod place;

use std::fmt;

pub(super) use name::Names;
pub use name::{ClientPart, Name};
use name::{is_name, slip};
use place::Refused;
pub use place::{Place, percent_encoded};
pub(super) use place::{is_scope_byte, is_token_byte};

use super::{Filters, Secret, SecretError, path};

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

    /// Its own text before the first name.
    pub fn beginning(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            Some(Piece::Name(..) | Piece::Secret(_) | Piece::Json(..)) | None => "",
        }
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
