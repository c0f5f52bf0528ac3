//! How single values are read: durations, sizes, addresses, files, secrets, words, names.
//!
//! Values in which names in braces are filled in are `text`'s; those of one table alone are with the table.

use std::{path::PathBuf, time::Duration};

use toml::de::{DeTable, DeValue};

use super::{
    Secret, SecretError,
    declare::{At, Kind, Value, value},
    error::nearest,
    file,
    section::kind,
    template::is_token_byte,
};

type Read<T> = Result<T, String>;

/// The longest duration, so that a deadline reckoned from it stays on the clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

pub(super) fn expected<T>(what: &str, value: &DeValue<'_>) -> Read<T> {
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

/// A string of certain bytes only.
fn made_of(value: &DeValue<'_>, allowed: fn(u8) -> bool, otherwise: &str) -> Read<String> {
    let text = string(value)?;
    if text.bytes().all(allowed) { Ok(text) } else { Err(otherwise.to_owned()) }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Read<T> {
    let list = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let Some(text) = value.as_str() else { return expected(&format!("one of {list}"), value) };
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    let near = nearest(text, words.iter().map(|(word, _)| *word));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    Err(format!("expected one of {list}{hint}"))
}

value! {
    pub(super) Flag: bool, Kind::Flag, |value, _| {
        value.as_bool().map_or_else(|| expected("true or false", value), Ok)
    }
}

value! {
    /// A number of things, at least one.
    pub(super) Count: usize, Kind::Count, |value, _| {
        let Some(integer) = value.as_integer() else { return expected("a whole number", value) };
        match usize::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(0) | Err(_) => Err("must be a whole number, 1 or more".to_owned()),
            Ok(count) => Ok(count),
        }
    }
}

value! {
    /// A duration, zero included: `"30s"`, `"2h30m"`, `"250ms"`.
    pub(super) Span: Duration, Kind::Span, |value, _| {
        let what = "a duration such as \"30s\", \"2h30m\" or \"250ms\"";
        let Some(text) = value.as_str() else { return expected(what, value) };
        let parsed =
            parse_duration(text).ok_or_else(|| format!("expected {what}; units are d, h, m, s, ms"))?;
        if parsed > LONGEST { Err("must be at most \"3660d\"".to_owned()) } else { Ok(parsed) }
    }
}

value! {
    /// A duration that is not zero.
    pub(super) Time: Duration, Kind::Time, |value, at| match Span::read(value, at)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        longer => Ok(longer),
    }
}

/// The units of a duration, in milliseconds; the longest first, in which order they are written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

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

/// A duration as the configuration writes it: `1h30m`.
pub fn duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            out.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

value! {
    /// A size in bytes, at least one: `"64KiB"`.
    pub(super) Size: usize, Kind::Size, |value, _| {
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
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

value! {
    /// The path of a file that can be read now.
    pub(super) File: PathBuf, Kind::File, |value, _| {
        let path = PathBuf::from(string(value)?);
        match file::open(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(format!("the file {} cannot be read: {error}", path.display())),
        }
    }
}

value! {
    /// The path of a file or a directory that may come later.
    pub(super) Path: PathBuf, Kind::Path, |value, _| string(value).map(PathBuf::from)
}

const SECRET: &str = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

value! {
    /// A secret, which must be there already: a start that fails is better than a session that does.
    pub(super) Kept: Secret, Kind::Secret, |value, at| {
        let secret = Unread::read(value, at)?;
        secret.reveal().map_err(|error| error.to_string())?;
        Ok(secret)
    }
}

value! {
    /// A secret, as [`Kept`]; if it is kept in a file, the file may come later.
    pub(super) Awaited: Secret, Kind::Secret, |value, at| {
        let secret = Unread::read(value, at)?;
        match secret.reveal() {
            Ok(_) | Err(SecretError::NotThere(_)) => Ok(secret),
            Err(error) => Err(error.to_string()),
        }
    }
}

value! {
    /// Where a secret is kept, whatever is there.
    pub(super) Unread: Secret, Kind::Secret, |value, _| match (value.as_str(), value.as_table()) {
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
            let near = nearest(wrong, ["env", "file"]);
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

/// One value, or an array of them.
pub(super) struct Several<T>(std::marker::PhantomData<T>);

impl<T: Value> Value for Several<T> {
    type Is = Vec<T::Is>;
    const KIND: Kind = Kind::Several(&T::KIND);

    fn read(value: &DeValue<'_>, at: At) -> Read<Vec<T::Is>> {
        match value.as_array() {
            None => Ok(vec![T::read(value, at)?]),
            Some(entries) if entries.is_empty() => {
                Err("is an empty array; write a value, or remove it".to_owned())
            }
            Some(entries) => entries.iter().map(|entry| T::read(entry.get_ref(), at)).collect(),
        }
    }
}

value! {
    /// What may label a metric.
    pub(super) Label: String, Kind::Text, |value, _| {
        let text = string(value)?;
        if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Ok(text);
        }
        Err("expected 1 to 64 of A-Z, a-z, 0-9, _ and -: it labels metrics and logs".to_owned())
    }
}

value! {
    /// A prefix of paths.
    pub(super) Prefix: String, Kind::Text, |value, _| {
        let text = string(value)?;
        let plain = |b: u8| b.is_ascii_graphic() && !b"?#{}\"<>\\^`|".contains(&b);
        if text.starts_with('/') && text.bytes().all(plain) {
            return Ok(text);
        }
        Err("expected a path that begins with \"/\", without query, fragment or spaces".to_owned())
    }
}

value! {
    /// What HTTP calls a token: the name of a subprotocol.
    pub(super) Token: String, Kind::Text, |value, _| {
        made_of(value, is_token_byte, "expected a name, without spaces or separators")
    }
}

value! {
    /// The name of a cookie, made of what HTTP calls a token.
    pub(super) Cookie: String, Kind::Text, |value, _| {
        made_of(value, is_token_byte, "expected a name, without spaces or separators")
    }
}

value! {
    /// The name of a parameter of a query, which needs no escape.
    pub(super) Parameter: String, Kind::Text, |value, _| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        made_of(value, plain, "expected the name of a parameter, such as \"token\"")
    }
}

value! {
    /// The name of a host.
    pub(super) Host: String, Kind::Text, |value, _| {
        let text = string(value)?;
        match url::Host::parse(&text) {
            Ok(_) if !text.starts_with('[') => Ok(text),
            Ok(_) | Err(_) => Err("expected the name of a host, such as \"example.com\"".to_owned()),
        }
    }
}

value! {
    /// Origins of browsers, in lower case and without the scheme's own port, as browsers send them.
    pub(super) Origins: Vec<String>, Kind::Texts, |value, _| {
        let what = "an array of origins, such as [\"https://app.example.com\"]";
        let Some(entries) = value.as_array() else { return expected(what, value) };
        let read = |entry: &toml::Spanned<DeValue<'_>>| {
            let text = entry.get_ref().as_str().and_then(origin);
            text.ok_or_else(|| format!("expected {what}: scheme://host or scheme://host:port, no path"))
        };
        entries.iter().map(read).collect()
    }
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
    use crate::config::template::Names;

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

    /// What a value written so is read as.
    fn read<T: Value>(text: &str) -> Read<T::Is> {
        let text = format!("x = {text}");
        let document = DeTable::parse(&text).unwrap();
        T::read(document.get_ref()["x"].get_ref(), At { key: "x", names: Names::default() })
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1B", 1), ("64KiB", 64 << 10), ("5MiB", 5 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(read::<Size>(&format!("\"{text}\"")), Ok(bytes));
        }
        for bad in ["\"0B\"", "\"2GiB\"", "\"64\"", "\"64KB\"", "\"-1B\"", "\"\"", "64"] {
            assert!(read::<Size>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_value_or_several() {
        assert_eq!(read::<Several<Count>>("5"), Ok(vec![5]));
        assert_eq!(read::<Several<Count>>("[5, 6]"), Ok(vec![5, 6]));
        for bad in ["[]", "[5, 0]", "\"5\"", "[[5]]"] {
            assert!(read::<Several<Count>>(bad).is_err(), "{bad}");
        }
        let secrets = read::<Several<Kept>>("[\"new\", { env = \"CARGO_PKG_NAME\" }]").unwrap();
        let shown: Vec<String> = secrets.iter().map(Secret::masked).collect();
        assert_eq!(shown, ["\"***\"", "{ env = \"CARGO_PKG_NAME\" }"]);
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
