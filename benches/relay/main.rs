//! What it costs to relay a message, to open a connection, to keep one idle: Perennial beside nginx and
//! HAProxy, on one machine.
//!
//! ```text
//!   core 1                       core 0                      core 1
//!   load generator ── frames ──► proxy under test ─────────► upstream that echoes, pushes, speaks Ably's
//!                  ◄─────────────                 ◄─────────  protocol, or serves plain HTTP
//!          TLS on this leg,                TLS on this leg,
//!          if the cell says so             if the cell says so
//! ```
//!
//! The figure is **CPU per message**: what the scheduler says that the proxy's threads ran, over the messages
//! that went through meanwhile, each way counted. It holds on a machine that has other work, where
//! throughput does not. Proxies take turns, A B C C B A, and a ratio is the median of those within one turn.
//! The generator knows what must come back, and a cell in which something is lost or changed fails.
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
mod chart;
mod child;
mod connection;
mod connects;
mod dial;
mod docs;
mod figures;
mod head;
mod http;
mod idle;
mod load;
mod machine;
mod options;
mod proxies;
mod report;
mod rig;
mod run;
mod script;
mod spread;
mod text;
mod tls;
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
            Some(Role::Load { directory }) => load::serve(directory).await,
            None => tokio::select! {
                done = run::run(&options) => done,
                interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| anyhow::bail!("interrupted"))?,
            },
        }
    })
}
