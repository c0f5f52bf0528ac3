//! Sealing: a successor's text that only the token before it unseals.
//!
//! ```text
//!   salt (random) ─────┐
//!   old token ─────────┼─► HKDF-SHA256 ─► key ─► AES-256-GCM( new token ), bound to both keys
//!   secret of the store┘
//! ```
//!
//! Who reads the memory or the disk has the sealed text and the salt, but neither the old token nor the secret.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    hkdf, rand,
};
use zeroize::Zeroizing;

use super::{StoreError, keys::Sealing};
use crate::{config::SecretText, credential::history::TokenKey};

const SALT: usize = 32;
const PURPOSE: &[&[u8]] = &[b"perennial: the successor of a token"];

/// Seals `new_text` with `old_text`.
pub(super) fn seal(
    sealing: &Sealing,
    old: &TokenKey,
    old_text: &str,
    new: &TokenKey,
    new_text: &str,
) -> Result<Arc<[u8]>, StoreError> {
    let failed = |_: Unspecified| StoreError::NoRandomBytes;
    let mut salt = [0; SALT];
    rand::fill(&mut salt).map_err(failed)?;
    let mut text = Zeroizing::new(new_text.as_bytes().to_vec());
    let tag = key(sealing, &salt, old_text)
        .and_then(|key| key.seal_in_place_separate_tag(nonce(), bound(old, new), &mut text))
        .map_err(failed)?;
    Ok([&salt[..], &text, tag.as_ref()].concat().into())
}

/// The text that was sealed; `None` with any other token, or where a bit of it was changed.
pub(super) fn unseal(
    sealing: &Sealing,
    old: &TokenKey,
    old_text: &str,
    new: &TokenKey,
    sealed: &[u8],
) -> Option<SecretText> {
    let (salt, rest) = sealed.split_at_checked(SALT)?;
    let mut rest = Zeroizing::new(rest.to_vec());
    let text = key(sealing, salt, old_text).ok()?.open_in_place(nonce(), bound(old, new), &mut rest).ok()?;
    std::str::from_utf8(text).ok().map(SecretText::from)
}

fn key(sealing: &Sealing, salt: &[u8], text: &str) -> Result<LessSafeKey, Unspecified> {
    let mut material = Zeroizing::new(text.as_bytes().to_vec());
    material.extend_from_slice(sealing.0.as_ref().map_or(&[][..], |secret| &secret[..]));
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&material);
    Ok(LessSafeKey::new(UnboundKey::from(extracted.expand(PURPOSE, &AES_256_GCM)?)))
}

/// Always the same: each key has a salt of its own, and seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// A sealed text that was moved to another record does not unseal there.
fn bound(old: &TokenKey, new: &TokenKey) -> Aad<[u8; 64]> {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&old.0);
    both[32..].copy_from_slice(&new.0);
    Aad::from(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: TokenKey = TokenKey([1; 32]);
    const NEW: TokenKey = TokenKey([2; 32]);

    fn plain() -> Sealing {
        Sealing::default()
    }

    fn sealed() -> Arc<[u8]> {
        seal(&plain(), &OLD, "old token", &NEW, "CANARY").unwrap()
    }

    #[test]
    fn the_old_token_unseals_and_no_other() {
        let sealed = sealed();
        assert_eq!(unseal(&plain(), &OLD, "old token", &NEW, &sealed).unwrap().as_ref(), "CANARY");
        for wrong in ["old toke", "old token ", "", "CANARY"] {
            assert_eq!(unseal(&plain(), &OLD, wrong, &NEW, &sealed), None, "{wrong}");
        }
    }

    #[test]
    fn it_unseals_in_its_own_record_only() {
        assert_eq!(unseal(&plain(), &NEW, "old token", &NEW, &sealed()), None);
        assert_eq!(unseal(&plain(), &OLD, "old token", &OLD, &sealed()), None);
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let sealed = sealed();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&plain(), &OLD, "old token", &NEW, &changed), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(unseal(&plain(), &OLD, "old token", &NEW, &sealed[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn who_has_the_token_and_not_the_secret_opens_nothing() {
        let with = |byte: u8| Sealing(Some(Zeroizing::new([byte; 32])));
        let sealed = seal(&with(1), &OLD, "old token", &NEW, "CANARY").unwrap();
        let opened = |sealing: &Sealing| unseal(sealing, &OLD, "old token", &NEW, &sealed);
        assert_eq!(opened(&with(1)).unwrap().as_ref(), "CANARY");
        assert_eq!((opened(&with(2)), opened(&plain())), (None, None));
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        assert_ne!(sealed(), sealed());
    }

    #[test]
    fn nothing_shows_the_text() {
        let sealed = sealed();
        assert!(!sealed.windows(6).any(|window| window == b"CANARY"));
        let successor = unseal(&plain(), &OLD, "old token", &NEW, &sealed).unwrap();
        assert!(!format!("{successor:?}").contains("CANARY"));
    }
}
