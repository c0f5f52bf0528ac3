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

/// The code, if it is one.
pub(super) fn code(code: &str) -> &str {
    let checked =
        !code.is_empty() && code.len() <= CODE && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if checked { code } else { "ERR" }
}

/// An error that says the code, if it is one, and the way out.
pub(super) fn refused(host: &str, code: &str) -> StoreError {
    let code = self::code(code);
    let hint = match code {
        "WRONGPASS" | "NOAUTH" => "look at the user and the password of url in [state]",
        "NOPERM" => {
            "give the user the rights of docs/tokens.md: ~{PREFIX}:*, braces included, and the commands listed there"
        }
        "OOM" => "it is full: raise maxmemory; what is there must not be evicted",
        "READONLY" => "it is a replica: let url in [state] name the primary, or its sentinels",
        "NOREPLICAS" => "it has fewer replicas than min-replicas-to-write: look at them",
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

/// Does it say that it is a primary, out of `INFO replication`?
pub(super) fn is_primary(value: &Value) -> bool {
    let text = string(value).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    text.lines().any(|line| line.trim() == "role:master")
}

/// What may cost tokens there, out of `INFO`; one line each.
pub(super) fn risks(value: &Value) -> impl Iterator<Item = &'static str> {
    let text = string(value).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let setting = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let evicts = setting("maxmemory_policy:").is_some_and(|policy| policy != "noeviction")
        && setting("maxmemory:").is_some_and(|most| most != "0");
    let forgets = setting("aof_enabled:") == Some("0");
    let evicts = evicts.then_some(
        "the store may throw refresh tokens away when it is full: set maxmemory-policy to noeviction",
    );
    let forgets = forgets.then_some(
        "the store may lose the last refresh tokens if it is killed: set appendonly yes, and appendfsync always",
    );
    evicts.into_iter().chain(forgets)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_may_cost_tokens_are_found() {
        let risks = |text: &str| {
            let found: Vec<_> = risks(&Value::BulkString(text.as_bytes().to_vec())).collect();
            found.into_iter().map(|risk| risk.split(' ').nth_back(0).unwrap()).collect::<Vec<_>>()
        };
        for (info, expected) in [
            ("maxmemory:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n", vec![]),
            ("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n", vec!["noeviction"]),
            ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n", vec!["always"]),
            ("# Server\r\nrun_id:a\r\n", vec![]),
        ] {
            assert_eq!(risks(info), expected, "{info}");
        }
    }
}
