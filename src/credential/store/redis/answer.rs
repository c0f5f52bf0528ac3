//! What a Redis answers, read: each kind by its name, and nothing of its text.

use redis::{ServerErrorKind, Value};

use super::StoreError;

/// The longest code of a refusal that is repeated.
const CODE: usize = 16;

/// The code of a refusal, and whether the connection is no use any more.
pub(super) fn refusal(value: &Value) -> Option<(&str, bool)> {
    let Value::ServerError(error) = value else { return None };
    let last = error.kind().is_some_and(|kind| {
        matches!(
            kind,
            ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
        )
    });
    // A script's own refusal wraps that of the command in it.
    Some((error.code(), last || error.code() == "NOAUTH"))
}

/// An error that says the code, if it is one, and the way out.
pub(super) fn refused(host: &str, code: &str) -> StoreError {
    let checked =
        !code.is_empty() && code.len() <= CODE && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if checked { code } else { "ERR" };
    let hint = match code {
        "WRONGPASS" | "NOAUTH" => "look at the user and the password of url in [state]",
        "NOPERM" => {
            "let the user run GET, MGET, EVAL, INFO, PING and what the scripts call on keys of the prefix"
        }
        "OOM" => "it is full: raise maxmemory; what is there must not be evicted",
        "READONLY" => "it is a replica: let url in [state] name the primary",
        "LOADING" => "it has just started, and reads its data",
        "MOVED" | "CROSSSLOT" | "CLUSTERDOWN" => {
            "it is a part of a cluster: let url in [state] name a single one"
        }
        "MISCONF" => "it cannot write to its disk: look at its log",
        "WRONGTYPE" => "somebody else uses these keys: choose another prefix in [state]",
        _ => "look at its version (6.2 or newer) and its log",
    };
    StoreError::Refused { host: host.to_owned(), code: code.to_owned(), hint }
}

/// Which process it is, out of `INFO server`.
pub(super) fn run_id(value: &Value) -> Option<String> {
    let text = std::str::from_utf8(string(value)?).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .then(|| id.to_owned())
}

pub(super) fn is_pong(value: &Value) -> bool {
    matches!(value, Value::SimpleString(text) if text == "PONG")
}

pub(super) fn string(value: &Value) -> Option<&[u8]> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

/// A string, or that there is none.
pub(super) fn maybe(value: Value) -> Option<Option<Vec<u8>>> {
    if value == Value::Nil {
        return Some(None);
    }
    if let Value::BulkString(bytes) = value { Some(Some(bytes)) } else { None }
}

pub(super) fn integer(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { Some(*number) } else { None }
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}
