//! How single values are read: durations, sizes, addresses, secrets, templates, names.
//!
//! Each reader takes a value of the tree and answers with a type that cannot be wrong, or with what
//! was expected. None quotes the value.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use toml::de::{DeTable, DeValue};

use super::{Secret, Template, raw::kind, template::is_token_byte};

type Read<T> = Result<T, String>;

/// The longest duration, so that a deadline reckoned from it stays on the clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

fn expected<T>(what: &str, value: &DeValue<'_>) -> Read<T> {
    Err(format!("expected {what}, found {}", kind(value)))
}

/// A string that is not empty.
pub(super) fn string(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some("") => Err("must not be empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => expected("a string", value),
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().map_or_else(|| expected("true or false", value), Ok)
}

/// A number of things, at least one.
pub(super) fn count(value: &DeValue<'_>) -> Read<usize> {
    let Some(integer) = value.as_integer() else { return expected("a whole number", value) };
    match usize::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(0) | Err(_) => Err("must be a whole number, 1 or more".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// A duration, zero included: `"30s"`, `"2h30m"`, `"250ms"`.
pub(super) fn duration(value: &DeValue<'_>) -> Read<Duration> {
    let Some(text) = value.as_str() else {
        return expected("a duration such as \"30s\", \"2h30m\" or \"250ms\"", value);
    };
    let parsed = parse_duration(text)
        .ok_or("expected a duration such as \"30s\", \"2h30m\" or \"250ms\"; units are d, h, m, s, ms")?;
    if parsed > LONGEST { Err("must be at most \"3660d\"".to_owned()) } else { Ok(parsed) }
}

/// A duration that is not zero.
pub(super) fn span_of_time(value: &DeValue<'_>) -> Read<Duration> {
    match duration(value)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        longer => Ok(longer),
    }
}

/// The units of a duration, in milliseconds; the longest first, in which order they are written.
pub(super) const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut rest = text;
    let mut last = None;
    while !rest.is_empty() || last.is_none() {
        let (number, after) = digits(rest)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).map_or(after, |end| &after[..end]);
        let place = UNITS.iter().position(|(name, _)| *name == unit)?;
        if last.is_some_and(|last| last >= place) {
            return None;
        }
        total = total.checked_add(number.checked_mul(UNITS[place].1)?)?;
        last = Some(place);
        rest = &after[unit.len()..];
    }
    Some(Duration::from_millis(total))
}

/// A size in bytes, at least one: `"64KiB"`.
pub(super) fn size(value: &DeValue<'_>) -> Read<usize> {
    let what = "a size such as \"64KiB\" or \"1MiB\"";
    let Some(text) = value.as_str() else { return expected(what, value) };
    let bytes = digits(text).and_then(|(number, unit)| {
        let scale: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(scale)
    });
    match bytes {
        None => Err(format!("expected {what}; units are B, KiB, MiB, GiB")),
        Some(0) => Err("must be more than zero".to_owned()),
        Some(bytes) if bytes > 1 << 30 => Err("must be at most \"1GiB\"".to_owned()),
        Some(bytes) => usize::try_from(bytes).map_err(|_| "must be at most \"1GiB\"".to_owned()),
    }
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// An IP address and a port.
pub(super) fn address(value: &DeValue<'_>) -> Read<SocketAddr> {
    let what = "an IP address and a port, such as \"127.0.0.1:7370\"";
    let Some(text) = value.as_str() else { return expected(what, value) };
    text.parse().map_err(|_| {
        let way_out = match text.rsplit_once(':') {
            Some(("localhost", _)) => "; write 127.0.0.1 for localhost",
            Some(("" | "*", _)) => "; write 0.0.0.0 for all interfaces",
            _ => "",
        };
        format!("expected {what}{way_out}")
    })
}

/// A path of a file that can be read now.
pub(super) fn readable(value: &DeValue<'_>) -> Read<PathBuf> {
    let path = PathBuf::from(string(value)?);
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("the file {} cannot be read: {}", path.display(), error.kind())),
    }
}

/// A path of a file that may come later.
pub(super) fn file(value: &DeValue<'_>) -> Read<PathBuf> {
    string(value).map(PathBuf::from)
}

const SECRET: &str = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

/// A secret, which must be there already: a start that fails is better than a session that does.
pub(super) fn secret(value: &DeValue<'_>) -> Read<Secret> {
    let secret = unread_secret(value)?;
    secret.reveal().map_err(|error| error.to_string())?;
    Ok(secret)
}

/// Where a secret is kept, whatever is there.
pub(super) fn unread_secret(value: &DeValue<'_>) -> Read<Secret> {
    match (value.as_str(), value.as_table()) {
        (Some(text), _) => Ok(Secret::literal(text)),
        (None, Some(table)) => kept_elsewhere(table),
        (None, None) => expected(SECRET, value),
    }
}

fn kept_elsewhere(table: &DeTable<'_>) -> Read<Secret> {
    let otherwise = || format!("expected {SECRET}");
    let mut entries = table.iter();
    let (Some((place, name)), None) = (entries.next(), entries.next()) else { return Err(otherwise()) };
    let name = name.get_ref().as_str().ok_or_else(otherwise)?;
    match place.get_ref().as_ref() {
        "env" if is_variable(name) => Ok(Secret::env(name)),
        "env" => Err("env takes the name of a variable, not its value".to_owned()),
        "file" => Ok(Secret::file(name)),
        wrong => {
            let near = super::error::nearest(wrong, ["env", "file"]);
            let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            Err(format!("{}{hint}", otherwise()))
        }
    }
}

/// May a variable of the environment be called so?
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A template, or a secret in its place.
pub(super) fn template(value: &DeValue<'_>) -> Read<Template> {
    match value.as_str() {
        Some(text) => Ok(Template::parse(text)),
        None => secret(value).map(Template::secret),
    }
}

/// One of a few words.
pub(super) fn one_of<'w>(value: &DeValue<'_>, words: &[&'w str], later: &[&str]) -> Read<&'w str> {
    let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let Some(text) = value.as_str() else { return expected(&format!("one of {list}"), value) };
    if let Some(word) = words.iter().find(|word| **word == text) {
        return Ok(word);
    }
    if let Some(word) = later.iter().find(|word| **word == text) {
        return Err(format!("\"{word}\" is not available in this version; expected one of {list}"));
    }
    let near = super::error::nearest(text, words.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    Err(format!("expected one of {list}{hint}"))
}

/// What may label a metric.
pub(super) fn label(value: &DeValue<'_>) -> Read<String> {
    let text = string(value)?;
    if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Ok(text);
    }
    Err("expected 1 to 64 of A-Z, a-z, 0-9, _ and -: it labels metrics and logs".to_owned())
}

/// A path prefix.
pub(super) fn path(value: &DeValue<'_>) -> Read<String> {
    let text = string(value)?;
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#{}\"<>\\^`|".contains(&b);
    if text.starts_with('/') && text.bytes().all(plain) {
        return Ok(text);
    }
    Err("expected a path that begins with \"/\", without query, fragment or spaces".to_owned())
}

/// The name of a cookie, made of what HTTP calls a token.
pub(super) fn http_token(value: &DeValue<'_>) -> Read<String> {
    let text = string(value)?;
    if text.bytes().all(is_token_byte) {
        return Ok(text);
    }
    Err("expected a name, without spaces or separators".to_owned())
}

/// The name of a parameter of a query, which needs no escape.
pub(super) fn parameter(value: &DeValue<'_>) -> Read<String> {
    let text = string(value)?;
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)) {
        return Ok(text);
    }
    Err("expected the name of a parameter, such as \"token\"".to_owned())
}

/// A browser's origin, in lower case and without the scheme's own port, as browsers send it.
pub(super) fn origins(value: &DeValue<'_>) -> Read<Vec<String>> {
    let what = "an array of origins, such as [\"https://app.example.com\"]";
    let Some(entries) = value.as_array() else { return expected(what, value) };
    entries
        .iter()
        .map(|entry| {
            let text = entry.get_ref().as_str().and_then(origin);
            text.ok_or_else(|| format!("expected {what}: scheme://host or scheme://host:port, no path"))
        })
        .collect()
}

fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let host_ok =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !scheme_ok || !host_ok {
        return None;
    }
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = host.strip_suffix(own_port).filter(|_| !own_port.is_empty()).unwrap_or(host);
    Some(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [("30s", 30_000), ("2h30m", 9_000_000), ("250ms", 250), ("1s5ms", 1_005), ("0s", 0)];
        for (text, ms) in good {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        let huge = "99999999999999999999s";
        for bad in ["", "30", "s", "-1s", "1.5s", "1s1h", "1s1s", "1 s", "30S", "1µs", "5s5", huge] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        assert_eq!(origin("HTTPS://App.Example.com:443").unwrap(), "https://app.example.com");
        assert_eq!(origin("http://localhost:3000").unwrap(), "http://localhost:3000");
        assert_eq!(origin("capacitor://localhost").unwrap(), "capacitor://localhost");
        for bad in ["*", "null", "app.example.com", "https://", "https://a/b", "https://a b"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
