//! The configuration: the file as written, and as meant.
//!
//! ```text
//!   declare ── a table is declared once: general, egress, route, client, close, token, oauth2, redis
//!      │          its keys are read by: value, text, json, endpoint
//!      ├─► section    the file, table by table, every value with its place ──► Config
//!      ├─► reference  the schema, docs/configuration.md, the reference file
//!      └─► effective  what `check` prints: each value, and where it comes from
//! ```
//!
//! - The result holds types that cannot be wrong, so that nobody checks again.
//! - [`ConfigErrors`] names all that is wrong at once, with line, column, key and the way out.
//! - [`Secret`] and [`Template`] are read and expanded when they are used; nothing shows a secret.
//!
//! The room is pure, but for reading the file, the secrets and the files that it names.

mod client;
mod close;
mod declare;
pub mod dialect;
mod effective;
mod egress;
mod endpoint;
mod error;
mod exposed;
pub mod file;
mod filter;
mod general;
mod json;
mod listen_address;
pub mod look;
mod model;
mod modes;
mod networks;
mod oauth2;
mod path;
mod random;
mod redis;
pub mod reference;
mod root;
mod route;
mod secret;
mod secret_file;
mod secret_text;
mod section;
mod signer;
mod signing_key;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod value;
mod warnings;

use std::path::Path;

pub use client::{Carried, ClientGate, TokenPlaces};
pub use close::{CloseMeans, CloseRule, Pattern};
pub use egress::{Egress, EgressProxy, ProxyAddress, ProxyLogin, ProxyScheme, socket};
pub use error::{ConfigErrors, Problem};
pub use filter::Filters;
pub use general::{Admin, Limits};
pub use listen_address::ListenAddress;
pub use model::*;
pub use modes::SecretFiles;
pub use networks::Networks;
pub use oauth2::{
    Address, AuthorizationServer, ClientAuth, Grant, OAuth2Source, SignedAssertion, TokenExchange,
};
pub use path::meant;
pub use random::looks_random;
pub use route::{DialectKind, ForwardedBy, HostSeen, Overlap, Placement, SessionPolicy, Swap};
pub use secret::{MAX_SECRET, Secret, SecretError};
pub use secret_text::SecretText;
pub use signer::Signer;
pub use signing_key::{Algorithm, KeyError, KeyPair, SigningKey};
pub use template::{ClientPart, ExpandError, Name, Place, Template, percent_encoded};
pub use token::{AblyKeySource, AnswerFields, AnswerForm, Composed, ExecSource, Part};
pub use value::duration;

use error::Problems;
use root::ROOT;
use section::Section;

impl Config {
    /// Reads and understands the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let mut config = Self::parse(&text_of(path)?, &path.display().to_string())?;
        config.files.own = Some(path.to_owned());
        Ok(config)
    }

    /// Reads no more of the file than where the admin server is. Nothing else of it has to be right, nor has its
    /// syntax: anyone who asks a running sidecar does not want to hear of it.
    pub fn load_admin(path: &Path) -> Result<Admin, ConfigErrors> {
        let text = text_of(path)?;
        let (document, _) = toml::de::DeTable::parse_recoverable(&text);
        let problems = Problems::of(&text);
        let admin = Section::root(document.get_ref(), &ROOT, &problems).within("admin");
        admin.ok_or_else(|| unread(&path.display().to_string()))
    }

    /// Understands a text; `file_name` is what its errors are headed with.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        understand(text, file_name, |config, _, _| config)
    }

    /// The file at `path` with its defaults, each value with where it comes from, and no secret: TOML.
    pub fn effective(path: &Path) -> Result<String, ConfigErrors> {
        Self::effective_text(&text_of(path)?, &path.display().to_string())
    }

    /// The same of a text.
    pub fn effective_text(text: &str, file_name: &str) -> Result<String, ConfigErrors> {
        understand(text, file_name, |_, document, problems| effective::page(document, problems))
    }
}

fn understand<T>(
    text: &str,
    file_name: &str,
    then: impl FnOnce(Config, &toml::de::DeTable<'_>, &Problems<'_>) -> T,
) -> Result<T, ConfigErrors> {
    let document = section::document(text, file_name)?;
    let problems = Problems::of(text).with_secrets(document.get_ref());
    let config = config(&Section::root(document.get_ref(), &ROOT, &problems));
    problems.verdict(file_name)?;
    // What could not be read has been noted.
    config.map(|config| then(config, document.get_ref(), &problems)).ok_or_else(|| unread(file_name))
}

/// Every table is read before anything is given up, so that each has its problems named.
fn config(root: &Section<'_>) -> Option<Config> {
    root.look();
    let listen = general::listen(root);
    let admin = general::admin(root);
    let limits = root.within("limits");
    let egress = root.within("egress");
    let state = general::state(root);
    let dialects = dialect::Dialects::read(root);
    let routes = route::routes(root, &dialects);
    let (listen, place) = listen?;
    general::gate(root, &listen, &place, &routes);
    let state = state?;
    general::named_commands(root, &state, &routes);
    let files = SecretFiles {
        own: None,
        in_own: root.problems.has_literals(),
        named: root.problems.secrets().iter().filter_map(Secret::path).map(Path::to_owned).collect(),
        state: if let StateConfig::Disk { path, .. } = &state { Some(path.clone()) } else { None },
    };
    Some(Config { listen, admin: admin?, limits: limits?, egress: egress?, state, routes, files })
}

fn unread(file_name: &str) -> ConfigErrors {
    ConfigErrors::of_file(file_name, "cannot be understood".to_owned())
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
