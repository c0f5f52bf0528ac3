//! The keys of a store: what its names and its seals are made with.
//!
//! ```text
//!   base ─── the prefix in Redis, a number in the file, or random ─┐
//!   [state] secret ────────────────────────────────────────────────┴─► names (HMAC) · seals (AES-GCM, with the token)
//! ```
//!
//! 1. Who lacks the secret of `[state]` opens nothing and can test no guess, even if the whole store is at hand.
//! 2. With two secrets everything is written under the first, and what was written under the second is still found.
//! 3. Without a secret (in memory, on disk) names are keyed with the base, and a seal is as good as the token in it.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{StoreError, index::StoreKey};
use crate::{config::Secret, credential::hash::hashed};

/// What is added to each seal; nothing, if there is no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Sealing(pub(super) Option<Zeroizing<[u8; 32]>>);

/// One secret's keys.
pub(super) struct Pair {
    pub(super) names: hmac::Key,
    pub(super) sealing: Sealing,
}

/// The keys that things are written under, and those that some were written under before.
pub(super) struct Keys {
    pub(super) now: Pair,
    pub(super) before: Option<Pair>,
}

impl Keys {
    /// Reads the secrets.
    pub(super) fn of(base: &StoreKey, secrets: &[Secret]) -> Result<Self, StoreError> {
        let pair = |secret: &Secret| -> Result<Pair, StoreError> {
            let text = secret.reveal().map_err(|error| StoreError::Secret(error.to_string()))?;
            Ok(Pair::of(base, text.as_bytes()))
        };
        match secrets {
            [] => Ok(Self::without_secret(base)),
            [now, before @ ..] => Ok(Self { now: pair(now)?, before: before.first().map(pair).transpose()? }),
        }
    }

    pub(super) fn without_secret(base: &StoreKey) -> Self {
        let names = hmac::Key::new(hmac::HMAC_SHA256, base);
        Self { now: Pair { names, sealing: Sealing::default() }, before: None }
    }
}

impl Pair {
    fn of(base: &StoreKey, secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let names = Zeroizing::new(hashed(&root, &[b"names", base]));
        let sealing = Zeroizing::new(hashed(&root, &[b"seals", base]));
        Self { names: hmac::Key::new(hmac::HMAC_SHA256, &*names), sealing: Sealing(Some(sealing)) }
    }
}
