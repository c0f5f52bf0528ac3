//! What the declarations of the keys say to others: a JSON Schema for editors, the page docs/configuration.md, and a
//! file with every key in it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    declare::{Key, Kind, Table},
    egress,
    root::{ROOT, tables},
    token::PARTS,
};

/// The JSON Schema of the file (draft 2020-12). What it accepts `perennial check` may refuse: only that knows what
/// goes together.
pub fn schema() -> Value {
    let mut schema = object(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("perennial.toml");
    schema
}

fn object(table: &Table) -> Value {
    let mut properties = Map::new();
    properties_of(table, &mut properties);
    let beside = |key: &Key| Some((key.name.to_owned(), json!([key.beside?])));
    let beside: Map<String, Value> = every_key(table).into_iter().filter_map(beside).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": required(table),
        "additionalProperties": false,
    });
    if !beside.is_empty() {
        schema["dependentRequired"] = Value::Object(beside);
    }
    let mut conditions = Vec::new();
    conditions_of(table, &mut conditions);
    if !conditions.is_empty() {
        schema["allOf"] = Value::Array(conditions);
    }
    schema
}

/// The keys of a table and of all its parts.
fn every_key(table: &Table) -> Vec<&'static Key> {
    table.keys.iter().chain(table.parts.iter().flat_map(|(_, part)| every_key(part))).collect()
}

fn properties_of(table: &Table, properties: &mut Map<String, Value>) {
    for key in every_key(table) {
        let mut schema = value(key.kind);
        schema["description"] = json!(key.says);
        properties.entry(key.name).or_insert(schema);
    }
}

fn required(table: &Table) -> Vec<&'static str> {
    table.keys.iter().filter(|key| key.required).map(|key| key.name).collect()
}

/// What a part requires, it requires with its own word of the selector only.
fn conditions_of(table: &Table, conditions: &mut Vec<Value>) {
    for (word, part) in table.parts {
        if !required(part).is_empty() {
            let selected =
                json!({ "properties": { table.selector: { "const": word } }, "required": [table.selector] });
            conditions.push(json!({ "if": selected, "then": { "required": required(part) } }));
        }
        conditions_of(part, conditions);
    }
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
        Kind::Text | Kind::Address | Kind::File | Kind::Path | Kind::Header | Kind::Named => text(),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Span | Kind::Time => {
            json!({ "type": "string", "minLength": 2, "pattern": DURATION })
        }
        Kind::Size => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
        Kind::Url(schemes) => json!({ "type": "string", "pattern": format!("^({})://", schemes.join("|")) }),
        Kind::Secret | Kind::Template => secret(),
        Kind::Proxy => {
            let url = json!({ "type": "string", "pattern": "^(http|https|socks5|socks5h)://" });
            json!({ "anyOf": [{ "enum": egress::WORDS }, url, kept("env"), kept("file")] })
        }
        Kind::Texts => several(text()),
        Kind::Pairs => json!({ "type": "object", "additionalProperties": secret() }),
        Kind::Body => json!({ "type": "object" }),
        Kind::Json => json!({ "type": ["object", "string"] }),
        Kind::Any => json!({}),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::OpenWord(words) => json!({ "anyOf": [{ "enum": words }, text()] }),
        Kind::Answer => {
            let fields: Map<String, Value> = PARTS.iter().map(|part| ((*part).to_owned(), text())).collect();
            let fields = json!({ "type": "object", "properties": fields, "required": ["token"], "additionalProperties": false });
            json!({ "anyOf": [{ "enum": ["auto", "text"] }, fields] })
        }
        Kind::Code => code(),
        Kind::Several(one) => json!({ "anyOf": [value(*one), several(value(*one))] }),
        Kind::Table(table) => object(table),
        Kind::Tables(table) => several(object(table)),
        Kind::Keyed(table) => json!({ "type": "object", "additionalProperties": object(table) }),
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
  `{client.token}`, `{query.NAME}` and `{header.NAME}` of the client's request. A filter says what a value goes through
  first: `{token|base64url}`, `{token|base64}`, `{token|prefix:TEXT}`; several are applied from left to right. Each value
  is escaped for the place where it stands. In most places a secret may stand instead of a template.
- *Reload*: does SIGHUP change it? It changes all or nothing. Sessions live on with the configuration that they began
  with.
";

/// The page docs/configuration.md.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    describe(&ROOT, "", &mut page);
    page
}

fn describe(table: &Table, path: &str, page: &mut String) {
    for (header, path, table) in tables(table, path) {
        // A `String` takes all that is written to it.
        let _ = write!(page, "\n## `{header}`\n\n{}\n", table.says);
        rows(table, page);
        describe(table, &path, page);
    }
}

fn rows(table: &Table, page: &mut String) {
    page.push_str("\n| key | value | default | reload | what it does |\n|---|---|---|---|---|\n");
    for key in table.keys.iter().filter(|key| key.kind.table().is_none()) {
        let reload = if key.restart { "no" } else { "yes" };
        // A bar would end the cell.
        let (name, says) = (key.name, key.says.replace('|', "\\|"));
        let (kind, default) = (words(key.kind), default(key));
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {reload} | {says} |");
    }
    for (word, part) in table.parts {
        let _ = write!(page, "\n### `{} = \"{word}\"`\n\n{}\n", table.selector, part.says);
        rows(part, page);
    }
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

fn words(kind: Kind) -> String {
    let alternatives = |words: &[&str], quote: &str| {
        words.iter().map(|word| format!("`{quote}{word}{quote}`")).collect::<Vec<_>>().join(", ")
    };
    let fixed = match kind {
        Kind::Word(words) => return alternatives(words, "\""),
        Kind::Proxy => return format!("{}, or a secret: a URL", alternatives(egress::WORDS, "\"")),
        Kind::OpenWord(words) => return format!("{}, or another name", alternatives(words, "\"")),
        Kind::Several(one) => return format!("{}, or an array of them", words(*one)),
        Kind::Url(schemes) => {
            let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://…")).collect();
            let schemes: Vec<&str> = schemes.iter().map(String::as_str).collect();
            return format!("URL: {}", alternatives(&schemes, ""));
        }
        Kind::Text => "text",
        Kind::Flag => "`true` or `false`",
        Kind::Count => "number, 1 or more",
        Kind::Span => "duration",
        Kind::Time => "duration, not zero",
        Kind::Size => "size",
        Kind::Address => "address and port, or `unix:` and a path",
        Kind::File => "file, which must be there",
        Kind::Path => "path",
        Kind::Secret => "secret",
        Kind::Template => "template, or a secret",
        Kind::Header => "header, with a template",
        Kind::Named => "template",
        Kind::Texts => "array of texts",
        Kind::Pairs => "table of templates",
        Kind::Body | Kind::Json => "table, as JSON",
        Kind::Any => "JSON, as TOML writes it",
        Kind::Answer => "`\"auto\"`, `\"text\"` or `{ token = \"/path\", … }`",
        Kind::Code => "Close code",
        Kind::Table(_) | Kind::Tables(_) | Kind::Keyed(_) => "table",
    };
    fixed.to_owned()
}

const ABOUT_THE_FILE: &str = "#:schema ./perennial.schema.json
#
# Every key of the configuration. Those that must be there are set; each of the others stands behind a # with its
# default, or with the form of its value. `perennial schema --file` writes this file.
";

/// A file with every key in it, which `check` accepts.
pub fn file() -> String {
    let mut file = ABOUT_THE_FILE.to_owned();
    example(&ROOT, "", &mut file);
    file
}

fn example(table: &Table, path: &str, file: &mut String) {
    for (header, path, table) in tables(table, path) {
        let _ = write!(file, "\n{}", comment(table.says));
        // Below a header that is not in effect no key is.
        let hash = if path == "route" { "" } else { "#" };
        let _ = writeln!(file, "{hash}{header}");
        examples(table, hash.is_empty(), file);
        example(table, &path, file);
    }
}

fn examples(table: &Table, in_effect: bool, file: &mut String) {
    for key in table.keys.iter().filter(|key| key.kind.table().is_none()) {
        let hash = if in_effect && key.required { "" } else { "#" };
        let value = key.default.map_or_else(|| form(key), str::to_owned);
        let otherwise =
            key.otherwise.map_or_else(String::new, |otherwise| format!(" Without it: {otherwise}."));
        let _ =
            write!(file, "\n{}{hash}{} = {value}\n", comment(&format!("{}{otherwise}", key.says)), key.name);
    }
    for (word, part) in table.parts {
        let _ = write!(file, "\n# With {} = \"{word}\":\n", table.selector);
        examples(part, false, file);
    }
}

/// Lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = String::from("#");
    let mut width = 1;
    for word in text.split(' ') {
        if width + 1 + word.len() > 100 {
            lines.push_str("\n#");
            width = 1;
        }
        lines.push(' ');
        lines.push_str(word);
        width += 1 + word.len();
    }
    lines + "\n"
}

/// A value of the kind.
fn form(key: &Key) -> String {
    match key.kind {
        Kind::OpenWord(words) | Kind::Word(words) => format!("\"{}\"", words[0]),
        Kind::Several(one) => form(&Key::new(key.name, *one, "")),
        Kind::Url(schemes) => format!("\"{}://service.example.com\"", schemes[0]),
        Kind::Flag => "true".to_owned(),
        Kind::Count => "1".to_owned(),
        Kind::Span | Kind::Time => "\"30s\"".to_owned(),
        Kind::Size => "\"64KiB\"".to_owned(),
        Kind::Address => "\"127.0.0.1:7370\"".to_owned(),
        Kind::File | Kind::Path => "\"/path/of/it\"".to_owned(),
        Kind::Proxy => format!("\"{}\"", egress::WORDS[0]),
        Kind::Secret => "{ file = \"/run/secrets/name\" }".to_owned(),
        Kind::Template | Kind::Named => "\"{token}\"".to_owned(),
        Kind::Header => "\"Authorization: Bearer {token}\"".to_owned(),
        Kind::Texts => "[\"one\", \"two\"]".to_owned(),
        Kind::Pairs | Kind::Body | Kind::Json => "{ name = \"value\" }".to_owned(),
        Kind::Answer => "{ token = \"/auth/token\" }".to_owned(),
        Kind::Code => "4001".to_owned(),
        Kind::Text | Kind::Any | Kind::Table(_) | Kind::Tables(_) | Kind::Keyed(_) => "\"name\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_schema_names_every_key_with_what_it_is_for() {
        fn all(table: &Table, schema: &Value) {
            for key in every_key(table) {
                let found = &schema["properties"][key.name];
                assert!(found["description"].is_string(), "{}", key.name);
                let is_keyed = matches!(key.kind, Kind::Keyed(_));
                let place = if is_keyed { "additionalProperties" } else { "items" };
                let inner =
                    if is_keyed || matches!(key.kind, Kind::Tables(_)) { &found[place] } else { found };
                key.kind.table().into_iter().for_each(|table| all(table, inner));
            }
        }
        all(&ROOT, &schema());
    }

    #[test]
    fn the_file_has_every_key_and_is_accepted() {
        let file = file();
        Config::parse(&file, "t").unwrap_or_else(|error| panic!("{error}\n{file}"));
        fn all(table: &Table, file: &str) {
            for key in every_key(table) {
                let written = file.contains(&format!("{} = ", key.name));
                assert!(written || key.kind.table().is_some(), "{}", key.name);
                key.kind.table().into_iter().for_each(|table| all(table, file));
            }
        }
        all(&ROOT, &file);
    }

    #[test]
    fn each_line_of_the_file_is_toml_without_its_hash() {
        let is_key = |line: &&str| !line.starts_with([' ', ':', '[']) && !line.is_empty();
        let file = file();
        let lines = file.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
        let keys: Vec<&str> = lines.filter(is_key).collect();
        assert!(keys.len() > 80, "{}", keys.len());
        for line in keys {
            toml::from_str::<toml::Table>(line).unwrap_or_else(|error| panic!("{error}\n{line}"));
        }
    }
}
