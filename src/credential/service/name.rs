//! Names of secrets: keyed hashes, with a key that lives as long as the process.

use std::sync::OnceLock;

use aws_lc_rs::{hmac, rand};

use crate::credential::hash;

/// Eight hexadecimal digits that stand for a credential in the log. Without the key nobody can try
/// identities until one fits.
pub(super) fn short_name(route: &str, identity: &str) -> String {
    hashed(&[route.as_bytes(), identity.as_bytes()])[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash that only this process can make.
pub(super) fn hashed(parts: &[&[u8]]) -> [u8; 32] {
    hash::hashed(key(), parts)
}

fn key() -> &'static hmac::Key {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        if rand::fill(&mut bytes).is_err() {
            // No entropy at all: names then tell apart what they should, and hide less.
            tracing::warn!("no random bytes: names of credentials can be guessed");
        }
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_apart_and_tells_nothing() {
        let name = short_name("route", "identity");
        assert_eq!(name, short_name("route", "identity"));
        assert_eq!(name.len(), 8);
        assert_ne!(name, short_name("routei", "dentity"));
    }
}
