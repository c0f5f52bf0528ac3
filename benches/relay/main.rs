//! What it costs to relay a message: Perennial beside nginx and haproxy, on one machine.
//!
//! ```text
//!   core 1                       core 0                      core 1
//!   load generator ── frames ──► proxy under test ─────────► upstream that echoes
//!                  ◄─────────────                 ◄───────── (plain, TLS, or of Ably's shape)
//! ```
//!
//! The figure is **CPU per message**: what the scheduler says that the proxy's threads ran, over the messages
//! that went through meanwhile, each way counted. It holds on a machine that has other work, where
//! throughput does not. Proxies take turns, A B C A B C, and a ratio is the median of those within one turn.
//!
//! `benches/run` installs what is missing and starts this. The generator and the upstream are this program
//! again, as children.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the output, progress goes beside it"
)]

mod ably;
mod cells;
mod child;
mod connection;
mod figures;
mod load;
mod options;
mod proxies;
mod report;
mod run;
mod upstream;
mod ws;

use anyhow::Result;
use clap::Parser as _;
use options::{Options, Role};

fn main() -> Result<()> {
    let options = Options::parse();
    if options.role.is_none() && !options.bench {
        eprintln!("this is started by benches/run, or by cargo bench --bench relay");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &options.role {
            Some(Role::Upstream { directory }) => upstream::serve(directory).await,
            Some(Role::Load) => load::serve().await,
            None => tokio::select! {
                done = run::run(&options) => done,
                interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| anyhow::bail!("interrupted"))?,
            },
        }
    })
}
