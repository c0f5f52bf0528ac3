//! The dashboards, the rules and the runbook: what is checked in, and what it says of a sidecar under load.
//!
//! ```text
//!   dashboards/perennial.jsonnet ──► *.json ──► Grafana's schema (tsc), promtool
//!                                   │
//!   clients ──► sidecar ──► services, which fail on order (stage)
//!                  ▲                │
//!              Prometheus (server) ◄┘ every query of every panel, every rule (queries)
//!                  │
//!             Alertmanager ──► pager: who is told of an outage, when, and of what (delivery)
//! ```
//!
//! No Grafana can be had as a package, so none renders the dashboards here; `draw.mjs` draws their panels from the
//! same queries into a page that a person can look at: `target/tmp/perennial-*.html`.

mod delivery;
mod pager;
mod queries;
mod server;
mod stage;
mod written;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The two dashboards.
const DASHBOARDS: [&str; 2] = ["perennial-fleet.json", "perennial-sidecar.json"];

/// A file of the checkout.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap()
}

/// Runs a program in the checkout: whether it was content, and all that it said.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    run_with(program, arguments, Stdio::null())
}

fn run_with(program: &str, arguments: &[&str], input: Stdio) -> (bool, String) {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(input)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/all installs it"));
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (done.status.success(), said)
}
