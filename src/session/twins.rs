//! What both connections of a swap say, byte for byte: the client is to hear it once.
//!
//! ```text
//!   old   a b c d │Close         said by the old one and not by the new one yet: a b, then c d
//!   new       c d  e f           c is found: it and what is older go; e is the new one's own
//! ```
//!
//! Rules:
//! 1. A message of the new one's is the copy of the newest equal one that the old one said; what the old one said before
//!    that, the new one will not say any more.
//! 2. A message that the new one said first goes when the old one says it.
//! 3. It is looked at for a while after the old one's end as well: copies may come late.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::wire::Message;

/// The most messages of the old one's that are remembered.
const MOST: usize = 1024;

/// Messages of the old one's that the new one has not said, the oldest first.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Twins(VecDeque<u64>);

impl Twins {
    /// Rule 3; `None`: there is nothing to look for.
    pub(super) fn for_a_while(self) -> Option<Box<Self>> {
        (!self.0.is_empty()).then(|| Box::new(self))
    }

    /// The old one says it, and the new one has not yet.
    pub(super) fn old_says(&mut self, message: Message<'_>) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(mark(message));
    }

    /// The new one says it: is it a copy?
    pub(super) fn is_copy(&mut self, message: Message<'_>) -> bool {
        let mark = mark(message);
        let found = self.0.iter().rposition(|said| *said == mark);
        found.map(|at| self.0.drain(..=at)).is_some()
    }
}

fn mark(message: Message<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.payload.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    fn message(text: &str) -> Message<'_> {
        Message { kind: Kind::Text, payload: text.as_bytes() }
    }

    fn copies(old: &[&str], new: &[&str]) -> Vec<bool> {
        let mut twins = Twins::default();
        old.iter().for_each(|text| twins.old_says(message(text)));
        new.iter().map(|text| twins.is_copy(message(text))).collect()
    }

    #[test]
    fn a_copy_is_found_and_what_came_before_it_is_over() {
        assert_eq!(copies(&["a", "b", "c", "d"], &["c", "d", "e"]), [true, true, false]);
        assert_eq!(copies(&["a", "b", "c"], &["c", "b"]), [true, false], "what is older is a new one");
        // Of a stream that always says the same, no more than what both said is left out.
        assert_eq!(copies(&["x", "x", "x"], &["x", "x", "x"]), [true, false, false]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut twins = Twins::default();
        (0..2 * MOST).for_each(|nth| twins.old_says(message(&nth.to_string())));
        assert!(twins.0.len() <= MOST);
        assert!(!twins.is_copy(message("0")));
        assert!(twins.is_copy(message(&MOST.to_string())));
    }
}
