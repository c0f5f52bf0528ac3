//! The configuration: the file as written, and as meant.

mod model;

pub use model::*;

/// A secret of the configuration, read when it is used.
#[derive(Debug, Clone)]
pub struct Secret;

/// A text with `{names}` in it.
#[derive(Debug, Clone)]
pub struct Template;

/// stand-in
pub enum Place { Header }
/// stand-in
pub enum Name { Token, ClientToken, Query(String), Header(String) }
impl Template {
    /// stand-in
    pub fn expand(&self, _place: Place, _values: &dyn Fn(&Name) -> Option<String>) -> Result<String, std::fmt::Error> {
        Err(std::fmt::Error)
    }
}
