//! The dialects that ship. Each is a file of the language, and has a page in docs/dialects.

use std::sync::{Arc, LazyLock};

use super::{DialectTable, Rules, fits, merged, names};
use crate::config::{
    declare::Declared,
    error::Problems,
    root::ROOT,
    section::{Section, document},
};

/// How far a preset was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// With a real server and its real client.
    Server,
    /// With its real client, and a mock of the service: experimental.
    Mock,
}

impl Proven {
    /// For those who choose one.
    pub fn words(self) -> &'static str {
        match self {
            Self::Server => "run on the real server",
            Self::Mock => "run on a mock of ours: experimental",
        }
    }
}

struct Preset {
    name: &'static str,
    proven: Proven,
    text: &'static str,
}

macro_rules! all {
    ($($name:literal $proven:ident),+ $(,)?) => {
        [$(Preset { name: $name, proven: Proven::$proven, text: include_str!(concat!("presets/", $name, ".toml")) }),+]
    };
}

static ALL: &[Preset] = &all![
    "action-cable" Server,
    "appsync" Mock,
    "deepgram" Mock,
    "graphql-transport-ws" Server,
    "graphql-ws" Server,
    "hasura" Mock,
    "home-assistant" Mock,
    "jupyter" Server,
    "kubernetes" Mock,
    "mattermost" Mock,
    "openai" Mock,
    "phoenix" Mock,
    "signalr" Mock,
    "socketcluster" Server,
    "socketio" Server,
    "supabase" Mock,
];

static READ: LazyLock<Vec<Option<Arc<Rules>>>> =
    LazyLock::new(|| ALL.iter().map(|preset| read(preset).ok().map(Arc::new)).collect());

/// The preset of this name.
pub fn preset(name: &str) -> Option<Arc<Rules>> {
    let at = ALL.iter().position(|preset| preset.name == name)?;
    READ.get(at)?.clone()
}

/// All presets: their names, and how far they were tried.
pub fn presets() -> impl Iterator<Item = (&'static str, Proven)> {
    ALL.iter().map(|preset| (preset.name, preset.proven))
}

/// A preset as it is written.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|preset| preset.name == name).map(|preset| preset.text)
}

/// An error says what is wrong with the file.
fn read(preset: &Preset) -> Result<Rules, String> {
    let written = document(preset.text, preset.name).map_err(|error| error.to_string())?;
    let problems = Problems::of(preset.text);
    let root = Section::root(written.get_ref(), &ROOT, &problems).naming(names());
    let rules = root.named_tables("dialect").into_iter().next().and_then(|(name, section)| {
        section.look();
        let own = DialectTable::read(&section)?;
        let base = own.like.as_deref().and_then(|like| ALL.iter().find(|preset| preset.name == like));
        let base = base.and_then(|base| read(base).ok());
        let rules = merged(&name, (own, Vec::new()), base.as_ref());
        fits::look(&section, &rules).then_some(rules)
    });
    problems.verdict(preset.name).map_err(|error| error.to_string())?;
    rules
        .filter(|rules| rules.name == preset.name)
        .ok_or_else(|| format!("{} is not in its file", preset.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_understood() {
        for preset in ALL {
            read(preset).unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        }
    }
}
