//! The configuration: the file as written, and as meant.
//!
//! - `keys` declares every key; `reference` makes the schema and the page of them.
//! - `raw`, `value` read the file: every value has its place.
//! - `general`, `redis`, `route`, `close`, `token`, `oauth2` make of it what [`model`](Config) can hold: types that cannot be
//!   wrong, so that nobody checks again.
//! - [`ConfigErrors`] names all that is wrong at once, with line, column, key and the way out.
//! - [`Secret`] and [`Template`] are read and expanded when they are used; nothing shows a secret.
//!
//! The room is pure, but for reading the file, the secrets and the files that it names.

mod client;
mod close;
mod endpoint;
mod error;
mod exec;
mod general;
mod keys;
mod masked;
mod model;
mod oauth2;
mod private_key;
mod raw;
mod redis;
pub mod reference;
mod route;
mod secret;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod token;
mod value;

use std::path::Path;

pub use close::{CloseMeans, CloseRule};
pub use error::{ConfigErrors, Problem};
pub use masked::duration;
pub use model::*;
pub use oauth2::{
    Address, AuthorizationServer, ClientAuth, Grant, OAuth2Source, SignedAssertion, Signer, TokenExchange,
};
pub use private_key::{Algorithm, KeyError, KeyPair, PrivateKey};
pub use secret::{MAX_SECRET, Revealed, Secret, SecretError};
pub use template::{ExpandError, Name, Place, Template};

use error::Problems;
use raw::Section;

impl Config {
    /// Reads and understands the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::parse(&text_of(path)?, &path.display().to_string())
    }

    /// Reads no more of the file than where the admin server is. Nothing else of it has to be right, nor has its
    /// syntax: whoever asks a running sidecar does not want to hear of it.
    pub fn load_admin(path: &Path) -> Result<Admin, ConfigErrors> {
        let text = text_of(path)?;
        let (document, _) = toml::de::DeTable::parse_recoverable(&text);
        let problems = Problems::of(&text);
        Ok(general::admin(&Section::open(document.get_ref(), &keys::ROOT, 0..0, &problems)))
    }

    /// Understands a text; `file_name` is what its errors are headed with.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        let document = raw::document(text, file_name)?;
        let problems = Problems::of(text);
        let root = Section::open(document.get_ref(), &keys::ROOT, 0..0, &problems);
        let listen = general::listen(&root);
        let admin = general::admin(&root);
        let limits = general::limits(&root);
        let state = general::state(&root);
        let routes = route::routes(&root);
        general::gate(&root, &listen, &routes);
        problems.verdict(file_name)?;
        Ok(Self { listen: listen.value, admin, limits, state, routes })
    }
}

fn text_of(path: &Path) -> Result<String, ConfigErrors> {
    let wrong = |message: String| ConfigErrors::of_file(&path.display().to_string(), message);
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {}", error.kind())))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("line {line} is not UTF-8; save the file as UTF-8"))
    })
}
