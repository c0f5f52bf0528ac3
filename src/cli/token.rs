//! `perennial token`: one token, fetched as the sidecar would, and what it is.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{USAGE, configuration::ConfigFile, fail, running::in_runtime, say};
use crate::{
    app::{
        lifetime::Signals,
        token::{self, TokenError, Wanted},
    },
    config::{Config, Secret},
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The route whose source is asked; it may be left out if only one route has a token.
    route: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    client: Client,
    /// How it is said.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What a client would have.
#[derive(Args)]
pub(super) struct Client {
    /// A parameter of the query that a client would have, if the source or the service is asked with it. Other users of
    /// the machine can see it here: for a secret there is --query-file.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    query: Vec<(String, String)>,
    /// The same, its value in a file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    query_file: Vec<(String, String)>,
    /// A header that a client would send, if the source or the service is asked with it. Other users of the machine can
    /// see it here: for a secret there is --header-file.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// The same, its value in a file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    header_file: Vec<(String, String)>,
    /// A file with a client's own token, if the source or the service is asked with it.
    #[arg(long, value_name = "FILE")]
    pub(super) client_token_file: Option<PathBuf>,
}

impl Client {
    /// Parameters of the query, and headers.
    pub(super) fn read(&self) -> Result<[Vec<(String, String)>; 2], String> {
        Ok([
            with_files(&self.query, "--query-file", &self.query_file)?,
            with_files(&self.header, "--header-file", &self.header_file)?,
        ])
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table, for people.
    Text,
    /// One object, for machines.
    Json,
}

/// Asks for a token, and says what came.
pub(super) fn show(config: &Config, arguments: &Arguments) -> ExitCode {
    let [query, headers] = match arguments.client.read() {
        Ok(read) => read,
        Err(message) => return fail(&message, USAGE),
    };
    let wanted = Wanted {
        route: arguments.route.as_deref(),
        query: &query,
        headers: &headers,
        client_token: arguments.client.client_token_file.as_deref(),
    };
    in_runtime(async {
        let stop = match Signals::listen() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        let page = tokio::select! {
            page = token::fetch(config, wanted) => page,
            // A command that is being asked is killed with its children, and not left behind.
            () = stop.stop() => return fail("ended at once", 1),
        };
        let page = match page {
            Ok(page) => page,
            Err(TokenError::Usage(message)) => return fail(&message, USAGE),
            Err(TokenError::Failed(message)) => return fail(&message, 1),
        };
        let said = say(&match arguments.format {
            Format::Text => page.table(),
            Format::Json => page.json(),
        });
        if page.is_expired() {
            let message =
                "the source gave a token that has already expired: `perennial run` would not take it";
            return fail(message, 1);
        }
        said
    })
}

/// These pairs, and those whose values are in files.
fn with_files(
    pairs: &[(String, String)],
    option: &str,
    files: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    let read = |(name, path): &(String, String)| match Secret::file(path).reveal() {
        Ok(text) => Ok((name.clone(), text.to_string())),
        Err(error) => Err(format!("{option}: {error}")),
    };
    pairs.iter().cloned().map(Ok).chain(files.iter().map(read)).collect()
}

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}
