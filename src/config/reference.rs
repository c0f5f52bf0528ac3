//! What the declarations of `keys` say to others: a JSON Schema for editors, and the page docs/configuration.md.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, ROOT, Table};

/// The JSON Schema of the file (draft 2020-12). What it accepts `perennial check` may refuse: only that knows what
/// goes together.
pub fn schema() -> Value {
    let mut schema = object(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("perennial.toml");
    schema
}

fn object(table: &Table) -> Value {
    let described = |key: &Key| {
        let mut schema = value(key.kind);
        schema["description"] = json!(key.says);
        (key.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = table.keys.iter().map(described).collect();
    // A key of some owners only is not required of the others.
    let required = table.keys.iter().filter(|key| key.required && key.of.is_empty()).map(|key| key.name);
    json!({
        "type": "object",
        "properties": properties,
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn value(kind: Kind) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let kept = |place: &str| {
        json!({
            "type": "object",
            "properties": { place: text() },
            "required": [place],
            "additionalProperties": false,
        })
    };
    let secret = || json!({ "anyOf": [text(), kept("env"), kept("file")] });
    let code = || json!({ "type": "integer", "minimum": 1000, "maximum": 4999 });
    let several = |one: Value| json!({ "type": "array", "items": one });
    match kind {
        Kind::Text | Kind::Address | Kind::File | Kind::Path => text(),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Duration | Kind::Time => {
            json!({ "type": "string", "minLength": 2, "pattern": DURATION })
        }
        Kind::Size => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
        Kind::Url(schemes) => json!({ "type": "string", "pattern": format!("^({})://", schemes.join("|")) }),
        Kind::Secret | Kind::Template => secret(),
        Kind::Templates => json!({ "anyOf": [text(), several(text())] }),
        Kind::Texts => several(text()),
        Kind::Pairs | Kind::Secrets => json!({ "type": "object", "additionalProperties": secret() }),
        Kind::Json => json!({ "type": ["object", "string"] }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Code => code(),
        Kind::Codes => json!({ "anyOf": [code(), several(code())] }),
        Kind::Table(table) => object(table),
        Kind::Tables(table) => several(object(table)),
    }
}

/// The units in their order, each once at most.
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

const INTRODUCTION: &str = "# Configuration

`perennial schema --page` writes this page from the declarations of the keys. Do not edit it.

The file is TOML. `perennial check` says what it means, with secrets masked, or everything that is wrong with it.
`perennial schema` prints a JSON Schema, with which an editor completes and checks it.

- A duration is `\"30s\"`, `\"2h30m\"` or `\"250ms\"`, with the units d, h, m, s and ms. A size is `\"64KiB\"`, with B, KiB, MiB
  and GiB.
- A secret is a text, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`. A file is read again when it is used.
- A template is a text with names in braces. `{token}` is the current token. With `share = \"client\"` there are also
  `{client.token}`, `{query.NAME}` and `{header.NAME}` of the client's request. Each value is escaped for the place where
  it stands. In most places a secret may stand instead of a template.
- *Reload*: does SIGHUP change it? It changes all or nothing. Sessions live on with the configuration that they began
  with.
";

/// The page docs/configuration.md.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    ROOT.tables().for_each(|table| describe(table, &mut page));
    page
}

fn describe(table: &Table, page: &mut String) {
    // A `String` takes all that is written to it.
    let _ = write!(page, "\n## `{}`\n\n{}\n\n", table.header(), table.says);
    page.push_str("| key | value | default | reload | what it does |\n|---|---|---|---|---|\n");
    for key in table.keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Tables(_))) {
        let Key { name, says, .. } = key;
        let reload = if key.restart { "no" } else { "yes" };
        let owners = owners(table, key);
        let (kind, default) = (words(key.kind), default(key));
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {reload} | {says}{owners} |");
    }
    table.tables().for_each(|table| describe(table, page));
}

fn default(key: &Key) -> String {
    let written = key.default.map(|default| format!("`{default}`"));
    let all: Vec<String> = written.into_iter().chain(key.otherwise.map(str::to_owned)).collect();
    match (key.required, all.is_empty()) {
        (true, _) => "required".to_owned(),
        (false, true) => "none".to_owned(),
        (false, false) => all.join("; "),
    }
}

/// With what it may be written, if not always: a table's first key says which.
fn owners(table: &Table, key: &Key) -> String {
    let Some(first) = table.keys.first().filter(|_| !key.of.is_empty()) else { return String::new() };
    let owners: Vec<String> = key.of.iter().map(|owner| format!("`\"{owner}\"`")).collect();
    format!(" Only with `{}` = {}.", first.name, owners.join(" or "))
}

fn words(kind: Kind) -> String {
    let alternatives = |words: &[&str], quote: &str| {
        words.iter().map(|word| format!("`{quote}{word}{quote}`")).collect::<Vec<_>>().join(", ")
    };
    let fixed = match kind {
        Kind::Word(words) => return alternatives(words, "\""),
        Kind::Url(schemes) => {
            let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://…")).collect();
            let schemes: Vec<&str> = schemes.iter().map(String::as_str).collect();
            return format!("URL: {}", alternatives(&schemes, ""));
        }
        Kind::Text => "text",
        Kind::Flag => "`true` or `false`",
        Kind::Count => "number, 1 or more",
        Kind::Duration => "duration",
        Kind::Time => "duration, not zero",
        Kind::Size => "size",
        Kind::Address => "IP address and port",
        Kind::File => "file, which must be there",
        Kind::Path => "path",
        Kind::Secret => "secret",
        Kind::Template => "template",
        Kind::Templates => "template, or an array of them",
        Kind::Texts => "array of texts",
        Kind::Pairs => "table of templates",
        Kind::Secrets => "table of secrets",
        Kind::Json => "table, as JSON",
        Kind::Code => "Close code",
        Kind::Codes => "Close code, or an array of them",
        Kind::Table(_) | Kind::Tables(_) => "table",
    };
    fixed.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const BASE: &str = r#"
        [listen]
        [admin]
        [limits]
        [state]
        [[route]]
        upstream = "ws://h"
        dialect = "handshake"
        [route.token]
        source = "http"
        url = "http://h/"
        share = "client"
        identity = "{query.a}"
        [route.client]
        token = { query = "t" }
        [route.handshake]
        query = "t"
        [route.session]
        [route.http]
        upstream = "http://h"
    "#;
    const SOURCE: &str = "source = \"http\"\n        url = \"http://h/\"";
    const SHARED: &str = "share = \"client\"\n        identity = \"{query.a}\"";
    const OWN: &str = "[route.client]\n        token = { query = \"t\" }";

    fn without(text: &str, part: &str) -> String {
        assert!(text.contains(part), "{part}");
        text.replace(part, "")
    }

    /// A file in which the key may be written.
    fn base(table: &Table, key: &Key) -> String {
        let source = |source: &str| without(&without(BASE, SHARED), OWN).replace(SOURCE, source);
        match (table.name, key.of, key.name) {
            ("route.token", ["ably-key"], _) => source("source = \"ably-key\"\nkey = \"a.b:c\""),
            ("route.token", ["oauth2"], "grant") => {
                source("source = \"oauth2\"\ntoken_url = \"http://h\"\nclient_id = \"c\"")
            }
            ("route.token", ["oauth2"], _) => source(
                "source = \"oauth2\"\ntoken_url = \"http://h\"\ngrant = \"token_exchange\"\nsubject_token = \"s\"\nactor_token = \"a\"",
            ),
            ("route.token", _, "share") => source(SOURCE),
            ("state", ["disk"], _) => BASE.replace("[state]", "[state]\nstore = \"disk\""),
            ("state", ["redis"], _) => {
                BASE.replace("[state]", "[state]\nstore = \"redis\"\nurl = \"redis://h\"")
            }
            _ => BASE.to_owned(),
        }
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, "t").unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn defaults_hold(table: &Table) -> usize {
        let mut held = 0;
        for key in table.keys {
            let Some(default) = key.default else { continue };
            let text = base(table, key);
            let header = table.header();
            let written = text.replace(&header, &format!("{header}\n{} = {default}\n", key.name));
            assert_ne!(text, written, "{header} is not in the base");
            assert_eq!(parse(&text), parse(&written), "{header} {}", key.name);
            held += 1;
        }
        held + table.tables().map(defaults_hold).sum::<usize>()
    }

    #[test]
    fn a_declared_default_is_what_the_reader_does_without_the_key() {
        let held = defaults_hold(&ROOT);
        assert!(held >= 30, "only {held} were looked at");
    }

    #[test]
    fn the_schema_names_every_key_with_what_it_is_for() {
        fn all(table: &Table, schema: &Value) {
            for key in table.keys {
                let found = &schema["properties"][key.name];
                assert_eq!(found["description"], key.says, "{} {}", table.name, key.name);
                if let Kind::Table(table) = key.kind {
                    all(table, found);
                } else if let Kind::Tables(table) = key.kind {
                    all(table, &found["items"]);
                }
            }
        }
        all(&ROOT, &schema());
    }
}
