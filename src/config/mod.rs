//! The configuration: the file as written, and as meant.

mod model;

use std::fmt;

pub use model::*;

/// A secret of the configuration, read when it is used.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A secret written in the file itself.
    pub fn literal(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret as it is now.
    pub fn reveal(&self) -> Result<String, SecretError> {
        Ok(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error("a secret could not be read")]
pub struct SecretError;

/// A text with `{names}` in it.
#[derive(Debug, Clone)]
pub struct Template(String);

impl Template {
    /// A text without names.
    pub fn literal(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text with its names replaced.
    pub fn expand(&self, _: Place, _: &dyn Fn(&Name) -> Option<&str>) -> Result<String, TemplateError> {
        Ok(self.0.clone())
    }
}

/// What a template stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Url,
    Header,
    Form,
    JsonString,
    Text,
}

/// A name in a template.
#[derive(Debug)]
pub struct Name;

/// Why a template could not be expanded.
#[derive(Debug, thiserror::Error)]
#[error("a template could not be expanded")]
pub struct TemplateError;
