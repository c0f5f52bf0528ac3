//! `perennial login`: a person lets the route's client in, and its first refresh token is put into its file.
//!
//! ```text
//!   arguments ──► app::login::begin ──► what to open, and the code: stdout ──► finish ──► where the token is: stdout
//!                                                                  Ctrl-C ──► the end, status 1
//! ```
//!
//! 1. Nothing is asked of anybody if the command line or the configuration is wrong: status 64.
//! 2. What a server says is shown without what could drive a terminal.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{USAGE, configuration::ConfigFile, fail, running::in_one_thread, say, token::pair};
use crate::{
    app::{
        lifetime::Signals,
        login::{self, Begun, Done, LoginError, Options, Shown},
    },
    clock::Now,
    config::{self, Config},
    terminal::visible,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The route that a refresh token is for; it may be left out if only one route has a token.
    route: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// How a person lets the client in [default: device, if the server has it; else browser].
    #[arg(long, value_enum)]
    way: Option<Way>,
    /// The device authorization endpoint, if no metadata of the server names it.
    #[arg(long, value_name = "URL")]
    device_url: Option<String>,
    /// The authorization endpoint, if no metadata of the server names it.
    #[arg(long, value_name = "URL")]
    authorize_url: Option<String>,
    /// What to ask for, in the place of `scope` of the configuration. Most servers give a refresh token only with
    /// offline_access in it.
    #[arg(long, value_name = "SCOPES", value_parser = scope)]
    scope: Option<String>,
    /// A field to add to the request that a person answers, such as prompt=consent. It is in the address that the
    /// browser opens.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    parameter: Vec<(String, String)>,
    /// The port of 127.0.0.1 on which the browser's answer is waited for [default: one that is free].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// For how many minutes a person is waited for [default: 10 for a browser, as long as the code is good for a device].
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(1..=60))]
    timeout: Option<u16>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Way {
    /// A code, which is entered on any machine (RFC 8628).
    Device,
    /// A browser of this machine (authorization code with PKCE).
    Browser,
}

/// Has somebody log in, and says where the refresh token is.
pub(super) fn run(config: &Config, arguments: Arguments) -> ExitCode {
    let route = arguments.route.clone();
    let options = options(arguments);
    in_one_thread(async {
        let stop = match Signals::listen() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("signals cannot be listened for: {error}"), 1),
        };
        tokio::select! {
            done = log_in(config, route.as_deref(), &options) => match done {
                Ok(done) => say(&after(&done)),
                Err(LoginError::Usage(message)) => fail(&message, USAGE),
                Err(LoginError::Failed(message)) => fail(&message, 1),
            },
            () = stop.stop() => fail("ended at once; nothing was written", 1),
        }
    })
}

async fn log_in(config: &Config, route: Option<&str>, options: &Options) -> Result<Done, LoginError> {
    let begun = login::begin(config, route, options).await?;
    if say(&before(&begun)) != ExitCode::SUCCESS {
        return Err(LoginError::Failed("what to open cannot be printed".to_owned()));
    }
    begun.finish().await
}

fn options(arguments: Arguments) -> Options {
    Options {
        way: arguments.way.map(|way| match way {
            Way::Device => login::Way::Device,
            Way::Browser => login::Way::Browser,
        }),
        device_url: arguments.device_url,
        authorize_url: arguments.authorize_url,
        scope: arguments.scope,
        parameters: arguments.parameter,
        port: arguments.port,
        timeout: arguments.timeout.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
    }
}

/// What a person has to do.
fn before(begun: &Begun) -> String {
    const LONGEST: usize = 8192;
    let shown = |text: &str| visible(text, LONGEST);
    match begun.shown() {
        Shown::Device { address, code, complete, good_for } => {
            let complete = complete.map_or_else(String::new, |url| {
                format!("\nThe same with the code in it:\n\n    {}\n", shown(url))
            });
            format!(
                "Open this address, on any machine:\n\n    {}\n\nand enter this code:\n\n    {}\n{complete}\n\
                 The code is good for {}. Waiting; Ctrl-C gives up.",
                shown(address),
                shown(code),
                whole(good_for)
            )
        }
        Shown::Browser { url, redirect, port, good_for } => format!(
            "Open this address in a browser of this machine:\n\n    {}\n\n\
             If the browser is on another machine, run there first: ssh -N -L {port}:127.0.0.1:{port} THIS_MACHINE\n\
             The browser comes back to {redirect}, which the server has to allow.\n\
             Waiting for {}; Ctrl-C gives up.",
            shown(url),
            whole(good_for)
        ),
    }
}

/// What came of it.
fn after(done: &Done) -> String {
    let ends = done.ends.map_or_else(String::new, |ends| {
        let at = i64::try_from(ends.as_secs()).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        let at = at.map_or_else(|| "after the year 9999".to_owned(), |at| at.to_string());
        format!(" It ends in {}, {at}.", whole(ends.saturating_sub(Now::read().wall)))
    });
    format!(
        "\nThe refresh token is in {}.{ends}\nA sidecar that runs uses it within seconds.",
        done.path.display()
    )
}

fn whole(time: Duration) -> String {
    config::duration(Duration::from_secs(time.saturating_add(Duration::from_millis(500)).as_secs()))
}

/// Scopes with spaces between them (RFC 6749 §3.3).
fn scope(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !b"\"\\{}".contains(&byte);
    if text.trim().is_empty() || !text.bytes().all(fits) {
        return Err("expected scopes with spaces between them".to_owned());
    }
    Ok(text.to_owned())
}
