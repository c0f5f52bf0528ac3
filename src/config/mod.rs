//! The configuration: the file as written, and as meant.

mod model;

pub use model::*;

/// A secret of the configuration, read when it is used.
#[derive(Debug, Clone)]
pub struct Secret;

/// A text with `{names}` in it.
#[derive(Debug, Clone)]
pub struct Template;
