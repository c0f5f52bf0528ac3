//! The text of a secret or a token while it is in memory: `Debug` does not show it, and its memory is overwritten when
//! it is dropped.

use std::ops::Deref;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that is shown nowhere. It has no `Display` and no `Serialize`.
#[derive(Debug, Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        // A `String` with room to spare would be copied, and what it was would stay.
        Self::from(&**Zeroizing::new(text))
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

impl Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SecretText {
    fn as_ref(&self) -> &str {
        self
    }
}

/// In constant time: the other may be what somebody presents.
impl<T: AsRef<str> + ?Sized> PartialEq<T> for SecretText {
    fn eq(&self, other: &T) -> bool {
        self.as_bytes().ct_eq(other.as_ref().as_bytes()).into()
    }
}

impl Eq for SecretText {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        let text = SecretText::from("CANARY".to_owned());
        assert_eq!(&*text, "CANARY");
        assert!(!format!("{text:?}").contains("CANARY"));
    }
}
