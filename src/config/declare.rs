//! How a table of the file is declared: each key once, with all that anybody wants to know of it.
//!
//! ```text
//!   table! { struct + keys } ─┬─► the struct          what the program holds
//!                             ├─► Declared::read      the reader
//!                             └─► Declared::TABLE     `perennial schema`, docs/configuration.md, `check`, "did you mean"
//! ```
//!
//! A key is `name: MODE VALUE = given, notes;` below its documentation:
//!
//! | mode | the field is | `given` |
//! |---|---|---|
//! | `or` | what the value becomes | the default, as it is written in the file |
//! | `required` | the same | what an error says to add |
//! | `maybe` | an `Option` of it | |
//! | `within` | a table, whose keys have their defaults without it | |
//! | `perhaps` | an `Option` of a table | |
//! | `each` | a `Vec` of tables, `[[…]]` | |
//! | `keyed` | a `Vec` of tables with the names that the file gives them | |
//!
//! Rules:
//! 1. A key that is not declared cannot be read, and one that is declared is in the schema and in the reference.
//! 2. A default goes through the same reader as what is written.
//! 3. All keys of a table are read before anything is given up, so that each has its problem named.

use toml::de::DeValue;

use super::{section::Section, template::Names};

/// What a value is, for those who do not read it: the schema, the page, `check`.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number, 1 or more.
    Count,
    /// `"30s"`, zero included.
    Span,
    /// A duration longer than zero.
    Time,
    /// `"64KiB"`.
    Size,
    /// `"127.0.0.1:7370"`.
    Address,
    /// A URL that begins with one of these.
    Url(&'static [&'static str]),
    /// The path of a file that can be read when the configuration is.
    File,
    /// The path of a file or a directory that may come later.
    Path,
    /// A text, `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// One of two words, or a secret: the URL of a proxy.
    Proxy,
    /// A text in which names in braces are filled in. What stands beside them may be a secret.
    Template,
    /// A template behind the name of a header.
    Header,
    /// A template without secrets.
    Named,
    /// An array of texts.
    Texts,
    /// A table of texts with names, or of secrets.
    Pairs,
    /// A table that becomes a JSON object; it may hold secrets.
    Body,
    /// A table that becomes a JSON object, without secrets.
    Json,
    /// Any JSON, as TOML writes it.
    Any,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or another one.
    OpenWord(&'static [&'static str]),
    /// Where in an answer the token is.
    Answer,
    /// A Close code.
    Code,
    /// One value, or an array of them.
    Several(&'static Self),
    /// A table of its own.
    Table(&'static Table),
    /// Several tables, `[[…]]`.
    Tables(&'static Table),
    /// Several tables, each with a name that the file gives it.
    Keyed(&'static Table),
}

impl Kind {
    /// The table that a key opens.
    pub(super) fn table(self) -> Option<&'static Table> {
        if let Self::Table(table) | Self::Tables(table) | Self::Keyed(table) = self {
            Some(table)
        } else {
            None
        }
    }
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it is for.
    pub(super) says: &'static str,
    /// As it is written in the file; `None`: without it there is none, or it depends on others.
    pub(super) default: Option<&'static str>,
    /// What stands in the place of the default, if that depends on others.
    pub(super) otherwise: Option<&'static str>,
    /// Without it the table is refused.
    pub(super) required: bool,
    /// Without the table its keys have their defaults.
    pub(super) within: bool,
    /// A reload does not change it.
    pub(super) restart: bool,
    /// The key without which it means nothing.
    pub(super) beside: Option<&'static str>,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, says: &'static str) -> Self {
        let (name, says) = (bare(name), says.trim_ascii_start());
        let (default, otherwise, beside) = (None, None, None);
        Self { name, kind, says, default, otherwise, required: false, within: false, restart: false, beside }
    }

    pub(super) const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn required(self, _hint: &'static str) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn maybe(self) -> Self {
        self
    }

    pub(super) const fn within(self) -> Self {
        Self { within: true, ..self }
    }

    pub(super) const fn perhaps(self) -> Self {
        self
    }

    pub(super) const fn each(self) -> Self {
        self
    }

    pub(super) const fn keyed(self) -> Self {
        self
    }

    /// A note: what holds without it.
    pub(super) const fn otherwise(self, what: &'static str) -> Self {
        Self { otherwise: Some(what), ..self }
    }

    /// A note: it means nothing without another key.
    pub(super) const fn beside(self, other: &'static str) -> Self {
        Self { beside: Some(other), ..self }
    }

    /// A note: a reload does not change it.
    pub(super) const fn restart(self) -> Self {
        Self { restart: true, ..self }
    }
}

/// A key that is a word of Rust's is declared as `r#as`.
pub(super) const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// One table of the file.
pub(super) struct Table {
    /// What it is about.
    pub(super) says: &'static str,
    pub(super) keys: &'static [Key],
    /// The key on whose word it depends which part is there; empty if it has none.
    pub(super) selector: &'static str,
    /// More keys of the same table, each set with one word of the selector.
    pub(super) parts: &'static [(&'static str, &'static Self)],
}

impl Table {
    /// The names of all keys, those of the parts behind those of all.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let own = self.keys.iter().map(|key| key.name);
        own.chain(self.parts.iter().flat_map(|(_, part)| part.names())).collect()
    }

    /// The key of this name, of one part or another.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        let own = self.keys.iter().find(|key| key.name == name);
        own.or_else(|| self.parts.iter().find_map(|(_, part)| part.key(name)))
    }

    /// The words of the selector with which there is such a key.
    pub(super) fn owners(&self, name: &str) -> Vec<&'static str> {
        let having = self.parts.iter().filter(|(_, part)| part.key(name).is_some());
        having.map(|(word, _)| *word).collect()
    }
}

/// What a reader may want to know of the place.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// The key whose value it reads.
    pub(super) key: &'static str,
    /// What a template may name there.
    pub(super) names: Names,
}

/// A kind of value, and how it is read. An answer cannot be wrong; an error says what was expected, and never quotes
/// the value, which may be a secret.
pub(super) trait Value {
    /// What it becomes.
    type Is;
    const KIND: Kind;
    fn read(value: &DeValue<'_>, at: At) -> Result<Self::Is, String>;
}

/// A table that [`table!`] declared.
pub(super) trait Declared: Sized {
    const TABLE: &'static Table;
    /// `None`: there is a problem, which is noted.
    fn read(section: &Section<'_>) -> Option<Self>;
}

/// Declares a table: its struct, its keys, its reader.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derived:ident),+)])?
        $vis:vis struct $Name:ident {
            $($(#[doc = $says:literal])+ $key:ident: $mode:ident $Type:ty $(= $given:literal)? $(, $note:ident($($arg:expr)?))*;)+
        }
        $(parts $selector:literal { $($word:literal => $Part:ty),+ $(,)? })?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq $(, $($derived),+)?)]
        #[allow(private_interfaces, reason = "a field is written by its reader, and is the public type that it makes")]
        $vis struct $Name {
            $($(#[doc = $says])+ pub $key: $crate::config::declare::held!($mode $Type),)+
        }

        impl $crate::config::declare::Declared for $Name {
            const TABLE: &'static $crate::config::declare::Table = &$crate::config::declare::Table {
                says: concat!($($about),+).trim_ascii_start(),
                keys: &[$(
                    $crate::config::declare::Key::new(
                        stringify!($key),
                        $crate::config::declare::kind!($mode $Type),
                        concat!($($says),+),
                    ).$mode($($given)?)$(.$note($($arg)?))*
                ),+],
                selector: concat!($($selector)?),
                parts: &[$($(($word, <$Part as $crate::config::declare::Declared>::TABLE)),+)?],
            };

            fn read(section: &$crate::config::section::Section<'_>) -> Option<Self> {
                $(let $key = section.$mode::<$Type>($crate::config::declare::bare(stringify!($key)) $(, $given)?);)+
                Some(Self { $($key: $crate::config::declare::taken!($mode $key)),+ })
            }
        }
    };
}

/// What the field of a key is.
macro_rules! held {
    (or $Type:ty) => { <$Type as $crate::config::declare::Value>::Is };
    (required $Type:ty) => { <$Type as $crate::config::declare::Value>::Is };
    (maybe $Type:ty) => { Option<<$Type as $crate::config::declare::Value>::Is> };
    (within $Type:ty) => { $Type };
    (perhaps $Type:ty) => { Option<$Type> };
    (each $Type:ty) => { Vec<$Type> };
    (keyed $Type:ty) => { Vec<(String, $Type)> };
}

macro_rules! kind {
    (within $Type:ty) => {
        $crate::config::declare::Kind::Table(<$Type as $crate::config::declare::Declared>::TABLE)
    };
    (perhaps $Type:ty) => {
        $crate::config::declare::Kind::Table(<$Type as $crate::config::declare::Declared>::TABLE)
    };
    (each $Type:ty) => {
        $crate::config::declare::Kind::Tables(<$Type as $crate::config::declare::Declared>::TABLE)
    };
    (keyed $Type:ty) => {
        $crate::config::declare::Kind::Keyed(<$Type as $crate::config::declare::Declared>::TABLE)
    };
    ($mode:ident $Type:ty) => {
        <$Type as $crate::config::declare::Value>::KIND
    };
}

/// What was read of a key, if the table cannot be without it.
macro_rules! taken {
    (maybe $key:ident) => {
        $key
    };
    (perhaps $key:ident) => {
        $key
    };
    (each $key:ident) => {
        $key
    };
    (keyed $key:ident) => {
        $key
    };
    ($mode:ident $key:ident) => {
        $key?
    };
}

/// Declares a kind of value by its reader.
macro_rules! value {
    ($(#[doc = $says:literal])* $vis:vis $Name:ident: $Is:ty, $kind:expr, $read:expr) => {
        $(#[doc = $says])*
        $vis enum $Name {}

        impl $crate::config::declare::Value for $Name {
            type Is = $Is;
            const KIND: $crate::config::declare::Kind = $kind;

            fn read(
                value: &toml::de::DeValue<'_>,
                at: $crate::config::declare::At,
            ) -> Result<$Is, String> {
                let read: fn(&toml::de::DeValue<'_>, $crate::config::declare::At) -> Result<$Is, String> = $read;
                read(value, at)
            }
        }
    };
}

/// Declares a value that is one of a few words.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        $vis:vis enum $Name:ident { $($(#[doc = $says:literal])+ $Variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $Name { $($(#[doc = $says])+ $Variant),+ }

        impl $Name {
            /// Every word.
            #[allow(dead_code, reason = "for those that take others too")]
            $vis const WORDS: &[&str] = &[$($word),+];

            /// The variant of this word.
            #[allow(dead_code, reason = "for those that take others too")]
            $vis fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$Variant),)+ _ => None }
            }

            /// As the configuration writes it.
            $vis fn word(self) -> &'static str {
                match self { $(Self::$Variant => $word),+ }
            }
        }

        impl $crate::config::declare::Value for $Name {
            type Is = Self;
            const KIND: $crate::config::declare::Kind = $crate::config::declare::Kind::Word(Self::WORDS);

            fn read(value: &toml::de::DeValue<'_>, _: $crate::config::declare::At) -> Result<Self, String> {
                $crate::config::value::one_of(value, &[$(($word, Self::$Variant)),+])
            }
        }
    };
}

pub(super) use {held, kind, table, taken, value, words};
