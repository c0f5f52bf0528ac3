//! Perennial: WebSocket connections that outlive their tokens.
//!
//! A library with a thin binary, in two rings. The inner one is pure: it has no socket, no clock and
//! no task, and is handed everything it needs. The outer one does IO. An arrow points at what a room
//! may name:
//!
//! ```text
//!   main ─► cli ─► app      cli also names admin (its client), clock, config, demo, telemetry, terminal
//!                   │
//!      ┌────────────┼──────────────┬──────────────────┐
//!      ▼            ▼              ▼                  ▼
//!    admin        proxy        credential::service   telemetry      outer ring
//!      │            │            │ clients, source, store  │ otlp
//!      └────► net ◄─┴────────────┴─────────────────────────┘
//!                   ▼                               terminal: lines and a screen, for cli, app and demo
//!                session ─► dialect ─► credential::{token, keeper, history} ─► wire ─► config   inner ring
//! ```
//!
//! `tests/architecture.rs` reads the `use` lines and says where an arrow is missing.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod demo;
pub mod dialect;
pub mod net;
pub mod proxy;
pub mod session;
pub mod telemetry;
pub mod terminal;
pub mod wire;
