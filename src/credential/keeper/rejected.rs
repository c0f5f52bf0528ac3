//! Tokens that the service turned down: none of them is to be taken again.

use std::{collections::VecDeque, fmt};

use crate::config::SecretText;

/// So many are remembered; a source that goes round in a larger circle is beyond help.
pub(super) const REMEMBERED: usize = 16;

/// The texts, oldest first.
#[derive(Default)]
pub(super) struct Rejected(VecDeque<SecretText>);

impl Rejected {
    pub(super) fn add(&mut self, text: &str) {
        if self.has(text) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(text.into());
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.0.iter().any(|known| **known == *text)
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rejected", self.0.len())
    }
}
