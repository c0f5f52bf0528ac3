//! The next refresh token in an answer, fit to be kept and sent (RFC 6749, appendix A.17).

use std::time::Duration;

use serde_json::Value;

use super::{super::Rotated, BadAnswer, Opened, life, usual};
use crate::config::{AnswerForm, SecretText};

/// No refresh token is longer.
pub(super) const MAX_REFRESH_TOKEN: usize = 32 * 1024;

/// What an answer says of the refresh token.
#[derive(Default)]
pub(super) struct Next {
    /// `None`: the one before it is still the one.
    pub(super) refresh_token: Option<SecretText>,
    pub(super) life: Option<Duration>,
}

impl Next {
    /// What is to be kept of an answer that is of no other use.
    pub(super) fn rotated(self) -> Option<Rotated> {
        let life = self.life;
        self.refresh_token.map(|refresh_token| Rotated { refresh_token, life })
    }
}

/// Looks where the configuration says, else beside the token, else at the top.
pub(super) fn read(form: &AnswerForm, opened: &Opened<'_>) -> Result<Next, BadAnswer> {
    let places = if let AnswerForm::Fields(places) = form { Some(places) } else { None };
    let beside = places.and_then(|places| opened.beside(&places.token));
    let rooms = || beside.into_iter().chain(opened.object());
    let named = places.and_then(|places| places.refresh_token.as_ref());
    let found = match named {
        Some(place) => opened.at(place),
        None => {
            rooms().find_map(|room| usual::first(room, &["refresh_token"])).map(|(_, value)| value.clone())
        }
    };
    let refresh_token = found.map(fit).transpose()?.flatten();
    Ok(Next { refresh_token, life: rooms().find_map(life::of_refresh_token) })
}

/// An empty one is none.
fn fit(value: Value) -> Result<Option<SecretText>, BadAnswer> {
    let Value::String(text) = value else { return Err(BadAnswer::RefreshToken("is no string")) };
    let text = SecretText::from(text);
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_REFRESH_TOKEN {
        return Err(BadAnswer::RefreshToken("is longer than 32 KiB"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(BadAnswer::RefreshToken("has a line break, a NUL or other than visible ASCII in it"));
    }
    Ok(Some(text))
}
