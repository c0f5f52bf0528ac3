//! The rooms and who may name whom: the picture of `src/lib.rs`, read off the `use` lines.
//!
//! A line of test code counts like any other, but for a room's own `tests` modules, which may use what
//! they need to play the outside world.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path};

/// Who may name whom. An arrow that is not here does not exist.
const ARROWS: [(&str, &[&str]); 15] = [
    ("main", &["cli"]),
    ("cli", &["admin", "app", "clock", "config", "demo", "telemetry", "terminal"]),
    ("app", &["admin", "clock", "config", "credential", "net", "proxy", "telemetry", "terminal"]),
    ("demo", &["app", "clock", "config", "credential", "net", "telemetry", "terminal"]),
    ("admin", &["clock", "config", "net"]),
    ("proxy", &["clock", "config", "credential", "dialect", "net", "session", "telemetry", "wire"]),
    ("telemetry", &["clock", "config", "net"]),
    ("terminal", &[]),
    ("net", &["clock", "config", "wire"]),
    ("session", &["clock", "config", "credential", "dialect", "wire"]),
    ("dialect", &["clock", "config", "credential", "wire"]),
    ("credential", &["clock", "config", "net"]),
    ("wire", &[]),
    ("config", &["clock"]),
    ("clock", &[]),
];

/// Rooms of the inner ring, and what none of their files may touch.
const PURE: [&str; 5] = ["wire", "dialect", "session", "credential/keeper", "credential/history"];
const IO: [&str; 8] =
    ["tokio::", "std::net", "std::fs", "std::thread", "Instant::now", "SystemTime", "hyper", "tracing::"];

fn files(under: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// The part of a file that is not its tests, without comments.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test(file: &str) -> bool {
    file.contains("tests") || file.contains("random.rs")
}

/// The rooms that a text names: `crate::room`, and the first words inside `use crate::{…}`.
fn named(text: &str) -> BTreeSet<String> {
    let first_word =
        |item: &str| item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(items(list).into_iter().map(first_word)),
            None => {
                rooms.insert(first_word(rest));
            }
        }
    }
    rooms.remove("");
    rooms
}

/// The items of a list up to its closing brace; braces inside an item belong to it.
fn items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn every_arrow_is_in_the_picture() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let room = file.split(['/', '.']).next().unwrap().to_owned();
        if room == "lib" || is_test(&file) {
            continue;
        }
        let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("src/{file}: a room that the picture does not have"));
            continue;
        };
        for other in named(&code(&text)) {
            if other != room && rooms.contains(&*other) && !may.contains(&&*other) {
                wrong.push(format!("src/{file}: {room} names {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_inner_ring_is_pure() {
    let mut wrong = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !is_test(file)) {
        if !PURE.iter().any(|room| file.starts_with(room)) {
            continue;
        }
        let code = code(&text);
        wrong.extend(IO.iter().filter(|io| code.contains(**io)).map(|io| format!("src/{file} touches {io}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_use_lines_reads_them() {
    let text = "use crate::{\n    clock::{self, Now},\n    net::Stream,\n};\nlet x = crate::proxy::serve;";
    let expected: BTreeSet<String> = ["clock", "net", "proxy"].map(str::to_owned).into();
    assert_eq!(named(text), expected);
}

/// A message as the list has it: up to its first colon or semicolon.
fn listed(message: &str) -> String {
    let one_line = message.replace("\\\n", " ");
    let words: Vec<&str> = one_line.split_whitespace().collect();
    words.join(" ").split([':', ';']).next().unwrap_or_default().to_owned()
}

/// The messages of events, each with its level; `None`: the level is decided when it is said.
fn events(text: &str) -> Vec<(Option<&str>, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("tracing::") {
        let rest = &text[at + "tracing::".len()..];
        let Some((level, body)) = rest.split_once("!(") else { continue };
        let level = match level {
            "debug" => continue,
            "info" | "warn" | "error" => Some(level),
            "$level" => None,
            _ => continue,
        };
        let mut depth = 1;
        let (mut quoted, mut escaped, mut last, mut begin) = (false, false, "", 0);
        for (at, c) in body.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' if quoted => (quoted, last) = (false, &body[begin..at]),
                '"' => (quoted, begin) = (true, at + 1),
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        if !last.starts_with('{') {
            found.push((level, listed(last)));
        }
    }
    found
}

#[test]
fn each_event_of_the_log_is_in_its_list() {
    let page = include_str!("../docs/logs.md");
    let list = page.split_once("## All events").unwrap().1;
    let rows: BTreeSet<(String, String)> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"))
        .filter_map(|(levels, rest)| Some((levels, rest.split_once('`')?.0)))
        .flat_map(|(levels, message)| {
            levels.split(", ").map(move |level| (message.to_owned(), level.to_lowercase()))
        })
        .collect();
    let files: Vec<_> =
        sources().into_iter().filter(|(file, _)| !is_test(file) && !file.starts_with("demo")).collect();
    let mut said = BTreeSet::new();
    for (file, text) in &files {
        for (level, message) in events(&code(text)) {
            let levels: Vec<&str> = match level {
                Some(level) => vec![level],
                // Said with the levels that the list has for it.
                None => ["info", "warn", "error"]
                    .into_iter()
                    .filter(|level| rows.contains(&(message.clone(), (*level).to_owned())))
                    .collect(),
            };
            assert!(!levels.is_empty(), "{file}: \"{message}\" is not in docs/logs.md");
            said.extend(levels.into_iter().map(|level| (message.clone(), level.to_owned())));
        }
    }
    assert!(said.len() > 80, "events are found: {}", said.len());
    let missing: Vec<_> = said.difference(&rows).collect();
    assert!(missing.is_empty(), "not in docs/logs.md: {missing:#?}");
    let gone: Vec<_> = rows.difference(&said).collect();
    assert!(gone.is_empty(), "in docs/logs.md, and never said: {gone:#?}");
}
