//! The demo: an embedded service, its token endpoint, a legacy client.

pub mod service;

/// (to come)
#[derive(clap::Args)]
pub struct Arguments {}

/// (to come)
pub async fn run(_arguments: Arguments) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
