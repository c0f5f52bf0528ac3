//! The demo: an embedded service, its token endpoint, a legacy client.

pub mod service;
