//! Where something stands in JSON: a JSON Pointer (RFC 6901). `""` is all of it. Where several values may be meant, a step
//! `*` is each element of an array.

use std::fmt;

use toml::de::DeValue;

use crate::config::declare::{At, Kind, Value};

/// The way to a value, the outermost step first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(pub Vec<Step>);

/// One step: the name of a member; in an array, the place of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: Box<str>,
    /// The same as a number, if it is one.
    pub index: Option<usize>,
}

impl Pointer {
    /// The way to an array, and on from each of its elements; `None`: one value is meant.
    pub fn each(&self) -> Option<(&[Step], &[Step])> {
        let at = self.0.iter().position(|step| &*step.name == "*")?;
        Some((&self.0[..at], &self.0[at + 1..]))
    }

    /// Reads one that means one value.
    pub fn single(text: &str) -> Result<Self, String> {
        let pointer = Self::parse(text)?;
        if pointer.each().is_some() {
            return Err("* is each element of an array, and stands in key and match only".to_owned());
        }
        Ok(pointer)
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = "expected a JSON Pointer, such as \"/payload/token\"; \"\" is the whole message";
        let steps = text.strip_prefix('/').ok_or(wrong)?.split('/');
        let step = |step: &str| {
            let name: Box<str> = step.replace("~1", "/").replace("~0", "~").into();
            let plain = name.len() == 1 || !name.starts_with('0');
            Step { index: if plain { name.parse().ok() } else { None }, name }
        };
        Ok(Self(steps.map(step).collect()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "/{}", step.name.replace('~', "~0").replace('/', "~1")))
    }
}

impl Value for Pointer {
    type Is = Self;
    const KIND: Kind = Kind::Text;

    fn read(value: &DeValue<'_>, _: At) -> Result<Self, String> {
        Self::parse(value.as_str().ok_or("expected a JSON Pointer, such as \"/payload/token\"")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_written_as_it_was_read() {
        for text in ["", "/", "/a", "/a~1b/~0/0/01"] {
            assert_eq!(Pointer::parse(text).unwrap().to_string(), text);
        }
        let steps = Pointer::parse("/a~1b/7/01").unwrap().0;
        let steps: Vec<_> = steps.iter().map(|step| (&*step.name, step.index)).collect();
        assert_eq!(steps, [("a/b", None), ("7", Some(7)), ("01", None)]);
        assert!(Pointer::parse("a").is_err());
    }
}
