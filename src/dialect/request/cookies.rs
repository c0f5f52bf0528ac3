//! Cookies as bytes: those that a client shows, and those that the service set at the handshake of this session.
//!
//! A balancer says in a cookie of its 101 which of its servers has the state of this client. A browser shows it at
//! its next handshake, so Perennial does, too. The bytes of a cookie are free (RFC 6265 §4.1.1 forbids those beyond
//! ASCII, browsers send them): nothing here asks for text.

use http::{HeaderMap, HeaderValue, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// What is kept for one session at most: cookies, bytes of one, bytes of all.
const MAX_COOKIES: usize = 16;
const MAX_BYTES: usize = 4 * 1024;
const MAX_ALL: usize = 16 * 1024;
/// An end before this day is past, whatever the time is.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// The pairs of all `Cookie` headers, `name=value`.
pub(in crate::dialect) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lists = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    lists
        .flat_map(|list| list.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// Name and value of a pair. One without `=` is a value without a name.
pub(in crate::dialect) fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (b"", pair),
    }
}

/// One `Cookie` header of these pairs in place of all; none if there are none.
pub(in crate::dialect) fn put<'p>(
    headers: &mut HeaderMap,
    pairs: impl IntoIterator<Item = &'p [u8]>,
) -> Result<(), String> {
    let line = pairs.into_iter().collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(header::COOKIE);
    if !line.is_empty() {
        let mut value =
            HeaderValue::from_bytes(&line).map_err(|_| "the token does not fit into a cookie".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::COOKIE, value);
    }
    Ok(())
}

/// The cookies that a service set. `Debug` shows none.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Jar(Vec<Cookie>);

#[derive(Clone, PartialEq)]
struct Cookie {
    name: Box<[u8]>,
    /// `name=value`; `None`: the service has removed it.
    pair: Option<Box<[u8]>>,
}

impl Cookie {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.pair.as_ref().map_or(0, |pair| pair.len())
    }
}

impl Jar {
    /// Takes the cookies of an answer: each in place of an older one of its name, as far as there is room.
    pub(super) fn remember(&mut self, answer: &HeaderMap) {
        let date = answer.get(header::DATE).and_then(|date| moment(date.as_bytes()));
        for line in answer.get_all(header::SET_COOKIE) {
            let Some(cookie) = read(line.as_bytes(), date) else { continue };
            self.0.retain(|other| other.name != cookie.name);
            let kept: usize = self.0.iter().map(Cookie::bytes).sum();
            let fits = self.0.len() < MAX_COOKIES && cookie.bytes() <= MAX_BYTES;
            if fits && kept + cookie.bytes() <= MAX_ALL {
                self.0.push(cookie);
            }
        }
        self.0.shrink_to_fit();
    }

    /// Shows them beside the client's own, or in place of one of the same name.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let own = headers.clone();
        let is_free = |pair: &&[u8]| self.0.iter().all(|cookie| *cookie.name != *split(pair).0);
        let kept = self.0.iter().filter_map(|cookie| cookie.pair.as_deref());
        // Every byte of them stood in a header before, so that they fit into one.
        let _ = put(headers, pairs(&own).filter(is_free).chain(kept));
    }
}

impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jar({})", self.0.len())
    }
}

/// A line of `Set-Cookie` (RFC 6265 §5.2), of whose attributes only those count that remove the cookie: `Max-Age`
/// before `Expires`.
fn read(line: &[u8], date: Option<Timestamp>) -> Option<Cookie> {
    let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let (name, value) = split(parts.next()?);
    let (name, value) = (name.trim_ascii(), value.trim_ascii());
    if name.is_empty() {
        return None;
    }
    let (mut age, mut expires) = (None, None);
    for (attribute, value) in parts.map(split) {
        let text = std::str::from_utf8(value).unwrap_or_default().trim();
        match attribute.trim_ascii() {
            name if name.eq_ignore_ascii_case(b"max-age") => age = text.parse::<i64>().ok().or(age),
            name if name.eq_ignore_ascii_case(b"expires") => expires = moment(text.as_bytes()).or(expires),
            _ => {}
        }
    }
    let now = date.or_else(|| LONG_AGO.parse().ok());
    let removed = match (age, expires, now) {
        (Some(age), ..) => age <= 0,
        (None, Some(expires), Some(now)) => expires <= now,
        (None, ..) => false,
    };
    let pair = (!removed).then(|| [name, b"=", value].concat().into());
    Some(Cookie { name: name.into(), pair })
}

/// A date of HTTP; also with hyphens, as the first description of cookies had it.
fn moment(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.replace('-', " ");
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or(("set-cookie", line));
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// What is shown beside the client's own cookies after answers with these lines.
    fn shown(own: &[&str], answers: &[&[&str]]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for own in own {
            headers.append(header::COOKIE, HeaderValue::from_bytes(own.as_bytes()).unwrap());
        }
        let mut jar = Jar::default();
        for lines in answers {
            jar.remember(&answer(lines));
        }
        jar.show(&mut headers);
        assert!(headers.get_all(header::COOKIE).iter().count() <= own.len().max(1));
        headers.get(header::COOKIE).map(|value| value.as_bytes().to_vec()).unwrap_or_default()
    }

    #[test]
    fn a_cookie_of_the_service_stands_beside_the_clients_or_in_its_place() {
        let date = "date: Sat, 28 Nov 2026 12:00:00 GMT";
        for (own, answers, expected) in [
            (&["a=1; b=2"][..], &[&["b=3; Path=/; HttpOnly", "c=4"][..]][..], "a=1; b=3; c=4"),
            (&["a=1", "b=2"], &[&["c=x=y"]], "a=1; b=2; c=x=y"),
            (&[], &[&["a=1"], &["a=2", "b=3"]], "a=2; b=3"),
            (&["flag; a=1"], &[&["b=2"]], "flag; a=1; b=2"),
            (&["ü=ö"], &[&["a=ä"]], "ü=ö; a=ä"),
            (&["a=1"], &[&["nonsense", "=2", ""]], "a=1"),
            // Removed, the client's own of that name as well.
            (&["a=1; b=2"], &[&["c=3"], &["b=; Max-Age=0", "c=; max-age=-5"]], "a=1"),
            (&["a=1"], &[&["a=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]], ""),
            (&["a=1"], &[&["a=2; Expires=Thu, 01-Jan-1970 00:00:01 GMT"]], ""),
            (&[], &[&[date, "a=1; Expires=Sat, 28 Nov 2026 11:59:59 GMT"]], ""),
            (&[], &[&[date, "a=1; Expires=Sat, 28 Nov 2026 12:00:01 GMT"]], "a=1"),
            (&[], &[&["a=1; Expires=Sat, 28 Nov 2026 11:59:59 GMT"]], "a=1"),
            (&[], &[&["a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]], "a=1"),
            (&[], &[&["a=1; Max-Age=soon; Expires=some day"]], "a=1"),
            // Removed, and set again.
            (&[], &[&["a=1"], &["a=; Max-Age=0"], &["a=3"]], "a=3"),
        ] {
            let shown = shown(own, answers);
            assert_eq!(String::from_utf8_lossy(&shown), expected, "{own:?} {answers:?}");
        }
    }

    #[test]
    fn what_a_service_sets_is_bounded() {
        let long = |name: &str, bytes: usize| format!("{name}={}", "x".repeat(bytes));
        let mut jar = Jar::default();
        for nth in 0..100 {
            jar.remember(&answer(&[&long(&format!("n{nth}"), 40)]));
        }
        assert_eq!(jar.0.len(), MAX_COOKIES);
        let mut jar = Jar::default();
        for nth in 0..100 {
            jar.remember(&answer(&[&long(&format!("n{nth}"), 3_900)]));
        }
        let kept: usize = jar.0.iter().map(Cookie::bytes).sum();
        assert!((MAX_ALL - MAX_BYTES..=MAX_ALL).contains(&kept), "{kept}");
        // One that is too large is not kept, and the old one of its name is not shown for it.
        let mut jar = Jar::default();
        jar.remember(&answer(&["a=1", "b=2"]));
        jar.remember(&answer(&[&long("a", MAX_BYTES)]));
        let mut headers = HeaderMap::new();
        jar.show(&mut headers);
        assert_eq!(headers["cookie"], "b=2");
        assert_eq!(format!("{jar:?} {headers:?}"), "Jar(1) {\"cookie\": Sensitive}");
    }
}
