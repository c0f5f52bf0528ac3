//! Tokens: what they are, when they are fetched, and where they come from.

pub mod token;

pub use token::{Generation, Token};
