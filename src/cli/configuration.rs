//! The configuration that a command is about, and the sidecar that runs by it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{USAGE, fail};
use crate::{
    admin::client::{AdminAddress, AdminClient},
    app,
    config::{Config, ConfigErrors},
};

/// Where it is looked for, in this order, if nobody names one.
const USUAL: [&str; 2] = ["./perennial.toml", "/etc/perennial/perennial.toml"];

#[derive(Args, Clone)]
pub(super) struct ConfigFile {
    /// The configuration [default: ./perennial.toml, then /etc/perennial/perennial.toml].
    #[arg(long, env = "PERENNIAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A running sidecar.
#[derive(Args)]
pub(super) struct Sidecar {
    /// Its admin address [default: [admin] of the configuration, then 127.0.0.1:7371].
    #[arg(long, env = "PERENNIAL_ADMIN", value_name = "HOST:PORT")]
    admin: Option<AdminAddress>,
    #[command(flatten)]
    config: ConfigFile,
}

impl Sidecar {
    /// Who asks it. Of the configuration only `[admin]` is read: what else is wrong with it is `check`'s to
    /// say, and a secret that it names may be there for the sidecar alone.
    pub(super) fn client(self) -> Result<AdminClient, String> {
        if let Some(address) = self.admin {
            return Ok(AdminClient::new(address));
        }
        let of = |path: &Path| {
            let admin = Config::load_admin(path)?;
            let client = AdminClient::new(AdminAddress::of_listener(&admin.address));
            Ok(client.with_secret(admin.rehearsal_secret))
        };
        match &self.config.config {
            Some(path) => of(path).map_err(|errors: ConfigErrors| errors.to_string()),
            // One that is not there, or not for us to read, says nothing.
            None => Ok(usual()
                .and_then(|path| of(path).ok())
                .unwrap_or_else(|| AdminClient::new(AdminAddress::default()))),
        }
    }
}

/// Reads the configuration, and goes on with it.
pub(super) fn with_config(file: &ConfigFile, then: impl FnOnce(&Path, Config) -> ExitCode) -> ExitCode {
    let path = match find(file) {
        Ok(path) => path,
        Err(message) => return fail(&message, USAGE),
    };
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(errors) => return fail(&errors.to_string(), USAGE),
    };
    let refused: Vec<String> =
        app::refused(&config).iter().map(|why| format!("{}: {why:#}", path.display())).collect();
    if refused.is_empty() { then(&path, config) } else { fail(&refused.join("\n"), USAGE) }
}

fn find(file: &ConfigFile) -> Result<PathBuf, String> {
    if let Some(path) = &file.config {
        return Ok(path.clone());
    }
    usual().map(Path::to_owned).ok_or_else(|| {
        format!("no configuration: neither {} nor {} exists; name one with --config FILE", USUAL[0], USUAL[1])
    })
}

/// The first that exists.
fn usual() -> Option<&'static Path> {
    USUAL.into_iter().map(Path::new).find(|path| path.exists())
}
