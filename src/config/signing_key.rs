//! A key that signs JWTs: named in the configuration, read when it is used, never shown.
//!
//! ```text
//!   PEM ──► PKCS#8, PKCS#1 or SEC 1 ──► RSA · P-256 · P-384 · Ed25519 ──► the algorithms that fit it
//!   a secret that the server has too ─────────────────────────────────► HS256 · HS384 · HS512
//! ```
//!
//! 1. The kind of a key is found by trying: a label of PEM says little, and is often wrong.
//! 2. An algorithm that does not fit the key is refused when the configuration is read, and again at each use,
//!    since the file may have changed.
//! 3. An error says what is wrong and which key it is, and quotes none of it.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RsaKeyPair,
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{Secret, SecretError, SecretText, declare::words};

words! {
    /// How a JWT is signed (RFC 7518 §3.1, RFC 8037 §3.1).
    pub enum Algorithm {
        /// RSA, PKCS#1 v1.5, SHA-256.
        Rs256 = "RS256",
        /// RSA, PKCS#1 v1.5, SHA-384.
        Rs384 = "RS384",
        /// RSA, PKCS#1 v1.5, SHA-512.
        Rs512 = "RS512",
        /// RSA, PSS, SHA-256.
        Ps256 = "PS256",
        /// RSA, PSS, SHA-384.
        Ps384 = "PS384",
        /// RSA, PSS, SHA-512.
        Ps512 = "PS512",
        /// P-256, SHA-256.
        Es256 = "ES256",
        /// P-384, SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// A shared secret, SHA-256.
        Hs256 = "HS256",
        /// A shared secret, SHA-384.
        Hs384 = "HS384",
        /// A shared secret, SHA-512.
        Hs512 = "HS512",
    }
}

/// A key, and how it signs.
#[derive(Debug, Clone, PartialEq)]
pub struct SigningKey {
    /// PEM, or the shared secret.
    pub secret: Secret,
    /// Does the server have the same secret?
    pub is_shared: bool,
    /// `None`: what is usual for the key.
    pub algorithm: Option<Algorithm>,
}

/// A key as it was read. `Debug` says its kind only.
pub enum KeyPair {
    /// 2048 bits or more.
    Rsa(RsaKeyPair),
    /// ECDSA on P-256.
    P256(EcdsaKeyPair),
    /// ECDSA on P-384.
    P384(EcdsaKeyPair),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
    /// No pair: one key for both sides (HMAC).
    Shared(SecretText),
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A passphrase would be needed.
    #[error("the private key in {0} is encrypted; write it without its passphrase (openssl pkey)")]
    Encrypted(String),
    /// No key in it.
    #[error("{0} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")]
    NotPem(String),
    /// A key that nothing here can sign with.
    #[error("the private key in {0} cannot be used: RSA of 2048 bits or more, P-256, P-384 or Ed25519 can")]
    Unusable(String),
    /// The algorithm is of other keys.
    #[error("the key in {place} is {kind}, which cannot sign {algorithm}; write {usual}")]
    Mismatch {
        /// Where the key is kept.
        place: String,
        /// What it is.
        kind: &'static str,
        /// What was configured.
        algorithm: Algorithm,
        /// What would fit.
        usual: Algorithm,
    },
}

impl SigningKey {
    /// A private key in PEM.
    pub fn private(secret: Secret) -> Self {
        Self { secret, is_shared: false, algorithm: None }
    }

    /// A secret that the server has too.
    pub fn shared(secret: Secret) -> Self {
        Self { secret, is_shared: true, algorithm: None }
    }

    /// Reads the key now, and says how it signs.
    pub fn read(&self) -> Result<(KeyPair, Algorithm), KeyError> {
        let place = || self.secret.place();
        let pair = if self.is_shared { KeyPair::Shared(self.secret.reveal()?) } else { self.pair()? };
        let usual = pair.usual();
        match self.algorithm {
            None => Ok((pair, usual)),
            Some(algorithm) if pair.can(algorithm) => Ok((pair, algorithm)),
            Some(algorithm) => {
                Err(KeyError::Mismatch { place: place(), kind: pair.kind(), algorithm, usual })
            }
        }
    }
}

impl SigningKey {
    fn pair(&self) -> Result<KeyPair, KeyError> {
        let text = self.secret.reveal_lines()?;
        let place = || self.secret.place();
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted(place()));
        }
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::NotPem(place()))?;
        KeyPair::of(&Zeroizing::new(der)).ok_or_else(|| KeyError::Unusable(place()))
    }
}

impl KeyPair {
    fn of(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let bytes = der.secret_der();
        let rsa = RsaKeyPair::from_pkcs8(bytes).or_else(|_| RsaKeyPair::from_der(bytes));
        let curve = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_der(algorithm, bytes).ok()
        };
        rsa.ok()
            .map(Self::Rsa)
            .or_else(|| curve(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::P256))
            .or_else(|| curve(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::P384))
            .or_else(|| Ed25519KeyPair::from_pkcs8(bytes).ok().map(Self::Ed25519))
    }

    fn usual(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::P384(_) => Algorithm::Es384,
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::Shared(_) => Algorithm::Hs256,
        }
    }

    fn can(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match algorithm {
            Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => matches!(self, Self::Rsa(_)),
            Es256 => matches!(self, Self::P256(_)),
            Es384 => matches!(self, Self::P384(_)),
            EdDsa => matches!(self, Self::Ed25519(_)),
            Hs256 | Hs384 | Hs512 => matches!(self, Self::Shared(_)),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::Ed25519(_) => "Ed25519",
            Self::Shared(_) => "a shared secret",
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.kind())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        KeyPair as Made, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
        SignatureAlgorithm,
    };

    use super::*;

    use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

    const ALL: [Algorithm; 12] =
        [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, EdDsa, Hs256, Hs384, Hs512];

    fn pem(of: &'static SignatureAlgorithm) -> String {
        Made::generate_for(of).unwrap().serialize_pem()
    }

    fn read(pem: &str, algorithm: Option<Algorithm>) -> Result<(KeyPair, Algorithm), KeyError> {
        SigningKey { algorithm, ..SigningKey::private(Secret::literal(pem)) }.read()
    }

    #[test]
    fn each_kind_is_found_and_signs_as_is_usual() {
        for (of, kind, usual, all) in [
            (&PKCS_RSA_SHA256, "RSA", Rs256, "RS256 RS384 RS512 PS256 PS384 PS512"),
            (&PKCS_ECDSA_P256_SHA256, "P-256", Es256, "ES256"),
            (&PKCS_ECDSA_P384_SHA384, "P-384", Es384, "ES384"),
            (&PKCS_ED25519, "Ed25519", EdDsa, "EdDSA"),
        ] {
            let pem = pem(of);
            let (pair, algorithm) = read(&pem, None).unwrap();
            assert_eq!((pair.kind(), algorithm), (kind, usual));
            let fits = ALL.into_iter().filter(|algorithm| read(&pem, Some(*algorithm)).is_ok());
            assert_eq!(fits.map(Algorithm::word).collect::<Vec<_>>().join(" "), all, "{kind}");
        }
    }

    #[test]
    fn an_algorithm_of_another_key_is_refused_with_the_one_that_fits() {
        let error = read(&pem(&PKCS_ED25519), Some(Rs256)).unwrap_err().to_string();
        let want = "the key in the secret is Ed25519, which cannot sign RS256; write EdDSA";
        assert_eq!(error, want);
    }

    #[test]
    fn a_shared_secret_signs_by_itself() {
        let key = |algorithm| SigningKey { algorithm, ..SigningKey::shared(Secret::literal("s")) };
        assert_eq!(key(None).read().unwrap().1, Hs256);
        assert_eq!(key(Some(Hs512)).read().unwrap().1, Hs512);
        let error = key(Some(Rs256)).read().unwrap_err().to_string();
        assert_eq!(error, "the key in the secret is a shared secret, which cannot sign RS256; write HS256");
        assert!(read(&pem(&PKCS_ED25519), Some(Hs256)).is_err());
    }

    #[test]
    fn what_is_no_key_is_said_and_not_shown() {
        let wrapped = |label: &str| format!("-----BEGIN {label}-----\nQ0FOQVJZ\n-----END {label}-----\n");
        for (text, said) in [
            ("CANARY".to_owned(), "holds no private key"),
            (wrapped("PUBLIC KEY"), "holds no private key"),
            (wrapped("CERTIFICATE"), "holds no private key"),
            ("-----BEGIN PRIVATE KEY-----\nCANARY!\n-----END PRIVATE KEY-----".to_owned(), "no private key"),
            (wrapped("ENCRYPTED PRIVATE KEY"), "is encrypted"),
            (wrapped("PRIVATE KEY"), "cannot be used"),
            (wrapped("RSA PRIVATE KEY"), "cannot be used"),
            (wrapped("EC PRIVATE KEY"), "cannot be used"),
        ] {
            let error = read(&text, None).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("CANARY") && !shown.contains("Q0FOQVJZ"), "{shown}");
        }
        let error = SigningKey::private(Secret::file("/nonexistent"));
        let error = error.read().unwrap_err();
        assert!(error.to_string().contains("/nonexistent cannot be read"), "{error}");
    }

    #[test]
    fn debug_says_the_kind_only() {
        let pem = pem(&PKCS_ECDSA_P256_SHA256);
        let key = SigningKey::private(Secret::literal(&pem));
        let inner = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?} {:?}", key.read().unwrap()).contains(inner));
    }
}
