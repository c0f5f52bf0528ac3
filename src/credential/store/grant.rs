//! Grants: what a source gave that the next process, or another sidecar, has to go on with.
//!
//! ```text
//!   all that names the chain (a secret) ──► Lineage ── key ────► where it is kept
//!                                                  └── seal ───► Grant, which only the same secret unseals
//!
//!   lease ──► grant ──► the source is asked ──► keep (durable) ──► the token is used ──► the lease ends
//! ```
//!
//! 1. A refresh token that was exchanged is dead, and the one that came for it exists once. It is kept before the
//!    access token that came with it is used.
//! 2. One asks at a time: the one who has the lease. Its fence says which lease it is; a store that processes share
//!    takes nothing from one that is no longer the last.
//! 3. What is kept is sealed with the secret that the chain began with, as the operator wrote it down, and with the
//!    secret of the store. A new secret of the chain begins a new chain.
//! 4. A grant is never replaced by an earlier one.

use std::{fmt, time::Duration};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{StoreError, hex, keys::Sealing, local::Held, redis::Fence, seal};
use crate::{config::SecretText, credential::history::TokenKey};

/// How long a lease holds unless it is renewed: so long it takes at most until another goes on for one that died.
pub const LEASE: Duration = Duration::from_secs(8);

/// Names a chain of grants, and seals them.
#[derive(Clone, PartialEq, Eq)]
pub struct Lineage {
    pub(super) key: TokenKey,
    seal: SecretText,
    sealing: Sealing,
    /// As it was under the secret of the store before this one.
    before: Option<(TokenKey, Sealing)>,
}

/// The newest of a lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Counts the answers, from 1; 0: none yet.
    pub number: u64,
    /// What the source is to be asked with next; `None`: with what the operator wrote down.
    #[serde(serialize_with = "exposed_if_any", default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretText>,
    /// When that ends, on the wall clock; `None` if nobody told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_ends: Option<Duration>,
    /// The access token that came last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Granted>,
    /// Stands for where its answers come from: a refresh token is shown nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<[u8; 32]>,
    /// The source has been asked since, at this time of the wall clock, and its answer is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Duration>,
}

/// An access token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    #[serde(serialize_with = "exposed")]
    pub text: SecretText,
    /// Stands for all that was asked for: a token for another audience is none for us.
    pub asked_with: [u8; 32],
    /// When it was asked for, on the wall clock.
    pub issued: Duration,
    /// When it ends, on the wall clock; `None` where nobody told.
    pub expires: Option<Duration>,
}

/// Who may ask now.
#[derive(Debug)]
pub enum Leased {
    /// We, until the lease ends or is given back.
    Ours(RefreshLease),
    /// Somebody else, for so long at most unless the lease is renewed.
    Theirs { left: Duration },
}

/// The right to ask the source of one lineage; given back when it is dropped, or when it ends.
#[derive(Debug)]
pub struct RefreshLease {
    /// Keeps the others of this process away.
    _held: Held,
    /// Keeps other processes away, where they share the store.
    fence: Option<Fence>,
}

impl RefreshLease {
    /// One that only others of this process could dispute.
    pub(super) fn local(held: Held) -> Self {
        Self { _held: held, fence: None }
    }

    /// The same, which holds among processes too.
    pub(super) fn shared(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    pub(super) fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }
}

impl Lineage {
    /// `key` is what the store makes of `secret`.
    pub(super) fn new(
        key: TokenKey,
        sealing: Sealing,
        before: Option<(TokenKey, Sealing)>,
        secret: &[u8],
    ) -> Self {
        let digest = digest::digest(&digest::SHA256, secret);
        Self { key, seal: hex(digest.as_ref()).into(), sealing, before }
    }

    /// The same, as it was under the secret of the store before this one.
    pub(super) fn before(&self) -> Option<Self> {
        let (key, sealing) = self.before.clone()?;
        Some(Self { key, sealing, seal: self.seal.clone(), before: None })
    }
}

impl Grant {
    /// As it is kept.
    pub(super) fn sealed(&self, lineage: &Lineage) -> Result<Vec<u8>, StoreError> {
        let json = serde_json::to_string(self).map_err(|_| StoreError::Stopped)?;
        let json = Zeroizing::new(json);
        Ok(seal::seal(&lineage.sealing, &lineage.key, &lineage.seal, &lineage.key, &json)?.to_vec())
    }

    /// What was kept; `None` where another secret sealed it, or where a bit of it was changed.
    pub(super) fn unsealed(lineage: &Lineage, sealed: &[u8]) -> Option<Self> {
        let json = seal::unseal(&lineage.sealing, &lineage.key, &lineage.seal, &lineage.key, sealed)?;
        serde_json::from_str(&json).ok()
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage({:?})", self.key)
    }
}

/// A token is written down sealed only.
fn exposed<S: Serializer>(text: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn exposed_if_any<S: Serializer>(text: &Option<SecretText>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        let token = Granted {
            text: "CANARY-access".into(),
            asked_with: [3; 32],
            issued: Duration::from_millis(1_700_000_000_123),
            expires: Some(Duration::from_secs(1_700_000_600)),
        };
        let refresh_token = Some("CANARY-refresh".into());
        Grant { number: 7, refresh_token, token: Some(token), ..Grant::default() }
    }

    #[test]
    fn the_secret_of_the_chain_unseals_and_no_other() {
        let lineage = Lineage::new(TokenKey([1; 32]), Sealing::default(), None, b"the first refresh token");
        let sealed = grant().sealed(&lineage).unwrap();
        assert_eq!(Grant::unsealed(&lineage, &sealed).unwrap(), grant());
        let other = Lineage::new(TokenKey([1; 32]), Sealing::default(), None, b"another");
        assert_eq!(Grant::unsealed(&other, &sealed), None);
        let elsewhere = Lineage::new(TokenKey([2; 32]), Sealing::default(), None, b"the first refresh token");
        assert_eq!(Grant::unsealed(&elsewhere, &sealed), None);
    }

    #[test]
    fn nothing_shows_a_token() {
        let lineage = Lineage::new(TokenKey([1; 32]), Sealing::default(), None, b"CANARY-first");
        let sealed = grant().sealed(&lineage).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"CANARY"));
        let shown = format!("{:?} {:?} {lineage:?}", grant(), grant().token);
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
