//! What a fetch knows beside the configuration: the current token, and the client whose credential it is.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    config::{Name, SecretText, Template},
    credential::token::Token,
};

/// The values that the templates of a source name. `Debug` shows none of them.
#[derive(Clone, Default)]
pub struct ClientValues(Vec<(Name, SecretText)>);

/// One fetch's.
#[derive(Clone, Default)]
pub struct Asking {
    pub current: Option<Arc<Token>>,
    pub client: Arc<ClientValues>,
    /// What took the place of the configured refresh token, where one did.
    pub refresh_token: Option<Arc<SecretText>>,
}

impl ClientValues {
    /// Those that are named, as `read` finds them in a client's request.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n Name>, read: impl Fn(&Name) -> Option<String>) -> Self {
        let mut values: Vec<(Name, SecretText)> = Vec::new();
        for name in names {
            if !values.iter().any(|(known, _)| known == name)
                && let Some(value) = read(name)
            {
                values.push((name.clone(), value.into()));
            }
        }
        Self(values)
    }

    /// These, and one more.
    #[must_use]
    pub fn and(&self, name: Name, value: &str) -> Self {
        let more = std::iter::once((name, value.into()));
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// One of them.
    pub fn get(&self, name: &Name) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// What tells this client from others beside its token: its identity, and every value that the source is asked
    /// with. A client that differs in one of them is another.
    pub fn told_apart(&self, identity: &str) -> SecretText {
        let own = self.0.iter().filter(|(name, _)| *name != Name::ClientToken);
        let mut values: Vec<String> =
            own.map(|(name, value)| format!("\n{name}{}:{}", value.len(), value.as_str())).collect();
        values.sort_unstable();
        values.insert(0, format!("{}:{identity}", identity.len()));
        Zeroizing::new(values).concat().into()
    }

    /// The text that `template` becomes with them, for no place in particular.
    pub fn text(&self, template: &Template) -> Option<String> {
        template.expand(crate::config::Place::Text, &|name| self.get(name)).ok()
    }
}

impl Asking {
    /// What a name stands for.
    pub(super) fn value(&self, name: &Name) -> Option<&str> {
        match name {
            Name::Token => self.current.as_ref().map(|token| token.expose()),
            Name::ClientToken | Name::Query(_) | Name::Header(_) | Name::Arg => self.client.get(name),
            Name::Json | Name::RefreshToken | Name::Jwt | Name::Client(_) => None,
        }
    }
}

impl std::fmt::Debug for ClientValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
