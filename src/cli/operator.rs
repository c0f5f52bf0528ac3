//! What the commands have in common that have something done by a running sidecar: whom they ask, what they show, and how
//! its answer is read.

use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;

use super::configuration::Sidecar;
use crate::{
    admin::client::{AdminClient, Answer},
    config::Secret,
    terminal::visible,
};

/// The variable with the operator's secret.
const SECRET: &str = "PERENNIAL_REHEARSAL_SECRET";
/// No more of an answer is shown.
const LONGEST: usize = 300;

#[derive(Args)]
pub(super) struct Operator {
    /// A file with the operator's secret, if the sidecar wants one [default: the environment variable
    /// PERENNIAL_REHEARSAL_SECRET, then rehearsal_secret of the configuration].
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    sidecar: Sidecar,
}

impl Operator {
    /// Who asks.
    pub(super) fn client(self) -> Result<AdminClient, String> {
        let in_variable = std::env::var_os(SECRET).map(|_| Secret::env(SECRET));
        let shown = self.secret_file.map(Secret::file).or(in_variable);
        self.sidecar.client().map(|client| client.with_secret(shown))
    }
}

/// What was done, or why it was not.
pub(super) fn done<T: DeserializeOwned>(client: &AdminClient, answer: &Answer) -> Result<T, String> {
    if answer.status != 200 {
        let why = visible(&answer.first_line(), LONGEST);
        return Err(format!("{} refuses ({}): {why}", client.address(), answer.status));
    }
    let wrong = |_| client.not_ours("its answer is not understood: another version of it?").to_string();
    serde_json::from_slice(&answer.body).map_err(wrong)
}

/// A path with its parameters, as far as they have a value.
pub(super) fn target(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
