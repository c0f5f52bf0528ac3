//! Token sources against Keycloak: what it rotates, ends, exchanges and refuses is its own doing.
//!
//! ```text
//!   sidecar ──► Front ──► Keycloak (java, H2 in memory)
//!                 │          └ realms, each from realm.json with a few changes
//!                 └ keeps an answer back, while the sidecar is killed
//! ```
//!
//! - `kills`: `kill -9` costs no family of refresh tokens;
//! - `lasting`: a family outlives its idle time, and an exchange goes on after the client's own token has ended;
//! - `proofs`: each way in which a client proves who it is, also if its clock is wrong;
//! - `refusals`: the log has Keycloak's reason, and advice that fits.
//!
//! `tests/keycloak/install` installs it, and `tests/all --services` runs these. It takes half a minute to start, so
//! each test is a group of checks that share one.

mod rig;

mod services {
    mod kills;
    mod lasting;
    mod proofs;
    mod refusals;
}
