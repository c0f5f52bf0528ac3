//! What `deploy/` has, read by the tools that exist for it, and held against the program and its configuration.
//!
//! - `image`: the Dockerfile, and what is sent to its builder;
//! - `kubernetes`, `helm`: the manifests, and those that the chart renders; `pod`: what both have to hold;
//! - `compose`: the file, as the second major version of Compose reads it;
//! - `systemd`: the unit, verified, weighed, and run by a real systemd in a container;
//! - `scratch`: the program alone in a root like the image's.
//!
//! Each needs `tests/deploy/install`; `tests/all` does that, and runs them with the release binary.

mod compose;
mod helm;
mod image;
mod kubernetes;
mod pod;
mod scratch;
mod systemd;
mod tools;
