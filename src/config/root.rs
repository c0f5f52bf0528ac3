//! The file as a whole: its tables, and what to say of a key that none of them has.

use super::{
    declare::{Declared, Key, Kind, Table},
    dialect::DialectTable,
    egress::Egress,
    error::nearest,
    general::{Admin, Limits, ListenTable, StateTable},
    route::RouteTable,
};

/// The tables of the file.
pub(super) static ROOT: Table = Table {
    says: "The tables of the file.",
    keys: &[
        Key::new("listen", Kind::Table(ListenTable::TABLE), "Where clients connect.").within(),
        Key::new("admin", Kind::Table(Admin::TABLE), "Where operators look.").within(),
        Key::new("limits", Kind::Table(Limits::TABLE), "What bounds the process.").within(),
        Key::new("egress", Kind::Table(Egress::TABLE), "How connections leave this machine.").within(),
        Key::new("route", Kind::Tables(RouteTable::TABLE), "One service, and how its clients come to it.")
            .required(NO_ROUTE),
        Key::new(
            "dialect",
            Kind::Keyed(DialectTable::TABLE),
            "How a service speaks of tokens, in a small language.",
        ),
        Key::new("state", Kind::Table(StateTable::TABLE), "What is kept when the process ends.").within(),
    ],
    selector: "",
    parts: &[],
};

pub(super) const NO_ROUTE: &str = "a [[route]] with an upstream and a dialect";

/// What to say of a key that a table does not have: the nearest that it has, else where it belongs, else all that
/// it has.
pub(super) fn unknown(table: &Table, name: &str) -> String {
    let known = table.names();
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("unknown key; did you mean \"{near}\"?");
    }
    // A key after the header of a subtable lands in that subtable: TOML's commonest trap. If several tables have the
    // key, the first is its likeliest home.
    if let Some(home) = home(&ROOT, name) {
        return format!("unknown key here; it belongs to {home}");
    }
    format!("unknown key; known here are: {}", known.join(", "))
}

/// The header of the first table that has the key.
fn home(table: &Table, name: &str) -> Option<String> {
    let (mut path, several) = home_of(table, name)?;
    path.reverse();
    let path = path.join(".");
    Some(if several { format!("[[{path}]]") } else { format!("[{path}]") })
}

/// The keys that lead there, the last first, and whether the last opens several tables.
fn home_of(table: &Table, name: &str) -> Option<(Vec<&'static str>, bool)> {
    let parts = table.parts.iter().map(|(_, part)| *part);
    let openers = table.keys.iter().chain(parts.flat_map(|part| part.keys));
    openers.filter_map(|key| Some((key, key.kind.table()?))).find_map(|(key, inner)| {
        let here = inner.key(name).is_some_and(|key| key.kind.table().is_none());
        if here {
            return Some((vec![key.name], matches!(key.kind, Kind::Tables(_))));
        }
        let (mut path, several) = home_of(inner, name)?;
        path.push(key.name);
        Some((path, several))
    })
}

/// The tables in a table whose path is `path`: their headers, `[limits]` or `[[route]]`, their paths, and they.
pub(super) fn tables(table: &Table, path: &str) -> Vec<(String, String, &'static Table)> {
    let in_it = |key: &'static Key| {
        let table = key.kind.table()?;
        let name = if matches!(key.kind, Kind::Keyed(_)) { ".NAME" } else { "" };
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) } + name;
        let header =
            if matches!(key.kind, Kind::Tables(_)) { format!("[[{path}]]") } else { format!("[{path}]") };
        Some((header, path, table))
    };
    let mut all: Vec<_> = table.keys.iter().filter_map(in_it).collect();
    // A table of several parts is one table.
    for (_, part) in table.parts {
        let more = tables(part, path);
        all.extend(more.into_iter().filter(|(header, ..)| !all_has(&all, header)).collect::<Vec<_>>());
    }
    all
}

fn all_has(all: &[(String, String, &'static Table)], header: &str) -> bool {
    all.iter().any(|(known, ..)| known == header)
}
