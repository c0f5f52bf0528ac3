//! When a token ends, by what is told of it.
//!
//! 1. A time that is relative wins over an absolute one: it holds whatever our clock says.
//! 2. What cannot be read (a word such as `never`, a number beyond all times, less than nothing) is no end, and 0 is none
//!    either: services write it for "without end". Then the token says its end itself, or `lifetime` is assumed.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{super::jwt::claims, usual};
use crate::credential::keeper::Life;

/// The end of the year 9999: nobody means a later one.
const ABSURD: f64 = 253_402_300_800.0;
/// Absolute times from here on are milliseconds: as seconds it would be the year 5138, and as milliseconds
/// it was 1973.
const MILLISECONDS: f64 = 1e11;
/// Numbers below are no times but spans (ten years): nobody speaks of the seventies. Kraken has `expires` so, and Tuya
/// `expire_time`.
const SPANS: f64 = 315_360_000.0;
/// A refresh token that is said to live for longer has no end that matters.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const RELATIVE: [&str; 2] = ["expires_in", "expires_in_seconds"];
const ABSOLUTE: [&str; 8] = [
    "expires",
    "expires_at",
    "expires_on",
    "expire_time",
    "expiration_timestamp",
    "expiration_time",
    "expiration",
    "expiry",
];
/// Less sure than those above: some services have milliseconds here, beside a time that is absolute.
const SPAN: [&str; 2] = ["ttl", "lease_duration"];
/// Of the refresh token: Keycloak's name, GitHub's, QuickBooks'.
const REFRESH: [&str; 3] = ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"];

/// What an object says of the end of the token in it.
pub(super) fn told(object: &Map<String, Value>) -> Option<Life> {
    let find = |names, read: fn(&Value) -> Option<Life>| {
        usual::each(object, names).find_map(|(_, value)| read(value))
    };
    let issued = object.get("issued").and_then(moment);
    let until = |life| match (life, issued) {
        (Life::Until { wall, .. }, Some(issued)) => Life::Until { wall, at_most: wall.checked_sub(issued) },
        (life, _) => life,
    };
    let life = find(&RELATIVE, relative)
        .or_else(|| find(&ABSOLUTE, absolute).map(until))
        .or_else(|| find(&SPAN, relative));
    if life.is_none() {
        let names: [&[&str]; 3] = [&RELATIVE, &ABSOLUTE, &SPAN];
        names
            .into_iter()
            .find_map(|names| usual::first(object, names))
            .into_iter()
            .for_each(|(name, _)| unread(name));
    }
    life
}

/// Says that an end cannot be read.
pub(super) fn unread(name: &str) {
    tracing::warn!(
        name,
        "the end of a token cannot be read; if the token does not say it, `lifetime` of [route.token] is assumed"
    );
}

/// Seconds from when it was asked for.
pub(super) fn relative(value: &Value) -> Option<Life> {
    number(value).and_then(seconds).filter(|life| !life.is_zero()).map(Life::For)
}

/// A point in time, or seconds from when it was asked for.
pub(super) fn absolute(value: &Value) -> Option<Life> {
    if number(value).is_some_and(|number| number < SPANS) {
        return relative(value);
    }
    moment(value).map(|wall| Life::Until { wall, at_most: None })
}

/// How long the refresh token lives.
pub(super) fn of_refresh_token(object: &Map<String, Value>) -> Option<Duration> {
    let (_, value) = usual::first(object, &REFRESH)?;
    number(value).and_then(seconds).filter(|life| !life.is_zero() && *life < LONGEST)
}

/// What a JWT says of its own end. Its signature is the service's to verify.
pub fn of_jwt(token: &str) -> Life {
    let Some(claims) = claims(token) else { return Life::Unknown };
    let at = |name| claims.get(name).and_then(number).and_then(seconds);
    match (at("exp"), at("iat")) {
        (Some(wall), issued) => {
            Life::Until { wall, at_most: issued.and_then(|issued| wall.checked_sub(issued)) }
        }
        (None, _) => Life::Unknown,
    }
}

/// A number of seconds or milliseconds since the Unix epoch, or RFC 3339.
fn moment(value: &Value) -> Option<Duration> {
    if let Value::String(text) = value
        && let Ok(at) = text.trim().parse::<jiff::Timestamp>()
    {
        return u64::try_from(at.as_millisecond()).ok().map(Duration::from_millis);
    }
    let number = number(value)?;
    seconds(if number >= MILLISECONDS { number / 1000.0 } else { number })
}

/// A number, or one that was written as a string: `"3600"`, and `"3600s"` as Google has it.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_end_matches('s').parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn seconds(number: f64) -> Option<Duration> {
    // No number is not less than another.
    if number < ABSURD { Duration::try_from_secs_f64(number).ok() } else { None }
}
