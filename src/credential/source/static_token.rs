//! A token that somebody wrote down. It cannot be renewed, but its secret may change.

use super::{Issued, SourceError, answer};
use crate::config::Secret;

/// `source = "static"`.
#[derive(Debug)]
pub struct StaticToken {
    token: Secret,
}

impl StaticToken {
    pub(super) fn new(token: &Secret) -> Self {
        Self { token: token.clone() }
    }

    pub(super) fn fetch(&self) -> Result<Issued, SourceError> {
        let text = self.token.reveal().map_err(|error| SourceError::passing(error.to_string()))?;
        Ok(answer::bare(&text)?)
    }

    pub(super) fn asked_with(&self) -> Option<Vec<u8>> {
        self.token.reveal().ok().map(|secret| secret.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::keeper::Life;

    #[test]
    fn it_is_what_was_written() {
        let issued = StaticToken::new(&Secret::literal(" abc ")).fetch().unwrap();
        assert_eq!((issued.text.as_str(), issued.life), ("abc", Life::Unknown));
        assert!(StaticToken::new(&Secret::literal("")).fetch().is_err());
    }
}
