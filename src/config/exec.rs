//! `source = "exec"`: the command, what it finds in its environment, and where it runs.

use toml::de::DeValue;

use super::{
    ExecSource,
    raw::{Section, kind},
    token::pairs,
    value::{file, is_variable, secret},
};

/// The keys of a command.
pub(super) fn exec(table: &Section<'_>) -> Option<ExecSource> {
    let command = table.required("command", "command = [\"program\", \"argument\"]", command);
    let env = table.value("env", |value| {
        pairs(value, "env", |name, value| {
            if !is_variable(name) {
                return Err("expected the name of a variable: A-Z, a-z, 0-9 and _".to_owned());
            }
            Ok((name.to_owned(), secret(value)?))
        })
    });
    let directory = table.value("directory", file);
    let (program, arguments) = command?.value;
    Some(ExecSource { program, arguments, env: env.unwrap_or_default(), directory })
}

/// The program and its arguments.
fn command(value: &DeValue<'_>) -> Result<(String, Vec<String>), String> {
    let Some(entries) = value.as_array() else {
        let found = kind(value);
        let shell = if value.is_str() { "; there is no shell that would take it apart" } else { "" };
        return Err(format!("expected an array, such as [\"program\", \"argument\"], found {found}{shell}"));
    };
    let mut words = entries.iter().map(|entry| word(entry.get_ref()));
    match words.next().transpose()? {
        Some(program) if !program.is_empty() => Ok((program, words.collect::<Result<_, _>>()?)),
        Some(_) | None => Err("names no program; write [\"program\", \"argument\"]".to_owned()),
    }
}

fn word(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.contains('\0') => Err("an argument cannot hold a NUL".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None if value.is_table() => Err(
            "a secret cannot stand in an argument: process lists show it to everybody; put it in env, where \
             the command finds it in its environment"
                .to_owned(),
        ),
        None => Err(format!("expected strings only, found {}", kind(value))),
    }
}
