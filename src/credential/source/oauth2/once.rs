//! What is said in the log once for each change.

use std::sync::{Mutex, PoisonError};

/// Remembers what was said last.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<String>);

impl Once {
    /// Is it another text than the last one? Nothing is what was there at first.
    pub(super) fn is_news(&self, text: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *said != text;
        if news {
            text.clone_into(&mut said);
        }
        news
    }

    /// What was said last.
    #[cfg(test)]
    pub(super) fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_news_once() {
        let once = Once::default();
        let seen = ["", "a", "a", "b", "", "", "b"].map(|text| once.is_news(text));
        assert_eq!(seen, [false, true, false, true, true, false, true]);
    }
}
