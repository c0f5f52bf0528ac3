//! Everything over real sockets: the sidecar in this process or as its own, its peers played or real. One program,
//! because each program of tests costs a build of twenty seconds.
//!
//! ```text
//!   helpers   support (raw peers) · sidecar (the process) · ably_client · jobs · sdk · provider · wire_proxy
//!   tests     every other module, one folder or file for each thing that a user relies on
//! ```
//!
//! `cargo test --all-features --test sockets -- relay::` runs one module. The other programs are `network` (the
//! real driver in a simulated network), `simulation` (the core alone) and `architecture` (who may name whom).

#![allow(unreachable_pub, reason = "modules of one program")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, says what it saw, and spawns and times as it likes"
)]

mod ably_client;
mod jobs;
mod provider;
mod sdk;
mod sidecar;
mod support;
mod wire_proxy;

mod bounds;
mod command_line;
mod dashboards;
mod demo;
mod deploy;
mod dialects;
mod django_provider;
mod examples;
mod exchanges;
mod far;
mod handshake;
mod hostile;
mod http;
mod ingress;
mod invariants;
mod jobs_sidecar;
mod jupyter;
mod keycloak;
mod logs;
mod metrics;
mod oauth_sidecar;
mod operating;
mod operator;
mod origins;
mod otlp;
mod page;
mod providers;
mod recipe;
mod redis;
mod relay;
mod sdk_rough;
mod sdk_sidecar;
mod secrets;
mod service_jobs;
mod service_sdk;
