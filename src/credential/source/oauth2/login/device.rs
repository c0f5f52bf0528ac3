//! The device flow (RFC 8628): a person enters a code, on any machine, while the token endpoint is asked again and again.
//!
//! ```text
//!   device authorization endpoint ──► user_code, verification_uri: shown
//!                                 └─► device_code ──► the token endpoint, every `interval`
//!        authorization_pending: again · slow_down: again, 5 s slower · nobody there: the same, three times in a row
//!        access_denied, expired_token, everything else: the end
//! ```

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use url::Url;

use super::{
    Got, LONGEST, LoginError, Options,
    client::{Client, Failure},
};
use crate::{
    clock::{self, Instant},
    config::{SecretText, duration},
    credential::source::{
        answer::{BadAnswer, Opened},
        mask::Mask,
        oauth2::{TokenEndpoint, asked::Form},
        request::content_type,
        said::Said,
    },
};

const WHOM: &str = "the device authorization endpoint";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How often it is asked if the server does not say it (RFC 8628 §3.2), and by how much that grows (§3.5).
const USUAL: Duration = Duration::from_secs(5);
/// No server is asked more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// So many times in a row there may be no answer.
const MISSES: u32 = 3;
/// Longer texts are no codes and no addresses.
const MAX_TEXT: usize = 4096;

/// A code that waits for a person.
pub struct Device {
    client: Client,
    device_code: SecretText,
    /// Where a person enters the code.
    pub address: String,
    /// The code.
    pub user_code: String,
    /// The address with the code in it, if the server has one.
    pub complete: Option<String>,
    /// How long the code is good.
    pub good_for: Duration,
    ends: Instant,
    pub(super) pace: Pace,
}

/// How often the server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    /// Slower by this.
    pub(super) step: Duration,
}

/// What the server gave.
#[derive(Debug)]
struct Codes {
    device_code: SecretText,
    user_code: String,
    address: String,
    complete: Option<String>,
    good_for: Duration,
    interval: Duration,
}

impl Device {
    /// Asks for a code.
    pub(super) async fn begin(
        client: Client,
        endpoint: &TokenEndpoint,
        options: &Options,
    ) -> Result<Self, LoginError> {
        let mut form = Form::default();
        client.wanted()?.iter().for_each(|(name, value)| form.put(name, value));
        options.parameters.iter().for_each(|(name, value)| form.put(name, value));
        let sent = clock::now();
        let (response, mask) = client.post(endpoint, WHOM, form).await?;
        let codes = codes(&client, &response, &mask, endpoint.url.starts_with("https:"))?;
        let good_for = codes.good_for.min(options.timeout.unwrap_or(LONGEST)).min(LONGEST);
        Ok(Self {
            client,
            device_code: codes.device_code,
            address: codes.address,
            user_code: codes.user_code,
            complete: codes.complete,
            good_for,
            ends: sent + good_for,
            pace: Pace { interval: codes.interval, step: USUAL },
        })
    }

    /// Asks until somebody has decided, or until the code has ended.
    pub(super) async fn finish(mut self) -> Result<Got, LoginError> {
        let mut missed = 0;
        loop {
            let next = clock::now() + self.pace.interval;
            tokio::time::sleep_until(next.min(self.ends)).await;
            if next > self.ends {
                return Err(LoginError::failed(format!(
                    "nobody entered the code within {}; log in again",
                    duration(self.good_for)
                )));
            }
            let failure = match self.client.redeem(self.form()).await {
                Ok(got) => return Ok(got),
                Err(failure) => failure,
            };
            match failure.code.as_deref() {
                Some("authorization_pending") => missed = 0,
                Some("slow_down") => {
                    missed = 0;
                    self.pace.slow_down();
                }
                _ if failure.passes && missed + 1 < MISSES => {
                    missed += 1;
                    // A server that is busy is not to be asked as often (RFC 8628 §3.5).
                    self.pace.slow_down();
                    tracing::warn!(reason = failure.reason, "asking again");
                }
                _ => return Err(failure.into()),
            }
        }
    }

    fn form(&self) -> Form {
        let mut form = Form::default();
        form.put("grant_type", GRANT);
        form.put_secret("device_code", &self.device_code);
        form
    }
}

impl Pace {
    fn slow_down(&mut self) {
        self.interval = self.interval.saturating_add(self.step);
    }
}

fn codes(client: &Client, response: &Response<Bytes>, mask: &Mask, is_https: bool) -> Result<Codes, Failure> {
    if !response.status().is_success() {
        return Err(client.refused(WHOM, response, mask));
    }
    let useless = |what: &dyn fmt::Display| Failure::lasting(format!("{WHOM}: {what}"));
    let kind = content_type(response).map_err(|what| useless(&what))?;
    let opened = Opened::new(response.headers(), kind, response.body());
    opened.json().map_err(|bad| useless(&bad))?;
    let fields = opened.object().ok_or_else(|| useless(&BadAnswer::NotObject))?;
    if !fields.contains_key("device_code") && Said::is_in(response.body()) {
        // Some servers have no other status.
        return Err(client.refused(WHOM, response, mask));
    }
    read(fields, is_https).map_err(|what| useless(&what))
}

/// RFC 8628 §3.2. An error quotes nothing of it.
fn read(fields: &Map<String, Value>, is_https: bool) -> Result<Codes, String> {
    // Google's name for it is older than the standard.
    let address =
        if fields.contains_key("verification_uri") { "verification_uri" } else { "verification_url" };
    let complete = fields.get("verification_uri_complete").and_then(Value::as_str);
    let user_code = text(fields, "user_code")?;
    if user_code.chars().count() > 64 || user_code.chars().any(char::is_control) {
        return Err("`user_code` is nothing that a person could enter".to_owned());
    }
    Ok(Codes {
        device_code: text(fields, "device_code")?.into(),
        user_code: user_code.to_owned(),
        address: web(
            text(fields, address).map_err(|_| missing("verification_uri", fields.get(address)))?,
            is_https,
        )
        .ok_or("`verification_uri` is no address that a person could be sent to")?
        .to_owned(),
        complete: complete.and_then(|url| web(url, is_https)).map(str::to_owned),
        good_for: seconds(fields, "expires_in")?.ok_or_else(|| missing("expires_in", None))?,
        interval: seconds(fields, "interval")?.unwrap_or(USUAL).max(SHORTEST),
    })
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    let value = fields.get(name);
    let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| missing(name, value))?;
    if text.len() > MAX_TEXT { Err(format!("`{name}` is longer than 4 KiB")) } else { Ok(text) }
}

fn missing(name: &str, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => format!("the answer has no `{name}`"),
        Some(Value::String(_)) => format!("`{name}` is empty"),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            format!("`{name}` has the wrong type")
        }
    }
}

/// A number of seconds, also one that was written as a string, as some servers do.
fn seconds(fields: &Map<String, Value>, name: &str) -> Result<Option<Duration>, String> {
    let number = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let read = number.and_then(|number| Duration::try_from_secs_f64(number.min(1e9)).ok());
    read.map(Some).ok_or_else(|| format!("`{name}` has the wrong type"))
}

/// An address that a browser opens.
fn web(text: &str, is_https: bool) -> Option<&str> {
    let url = Url::parse(text).ok().filter(Url::has_host)?;
    let fits = url.scheme() == "https" || url.scheme() == "http" && !is_https;
    let shown = text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic());
    (fits && shown).then_some(text)
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str, is_https: bool) -> Result<Codes, String> {
        let Value::Object(fields) = serde_json::json!({
            "device_code": "d", "user_code": "u", "verification_url": address,
            "verification_uri_complete": "http://h/c", "expires_in": "900",
        }) else {
            unreachable!("an object")
        };
        read(&fields, is_https)
    }

    #[test]
    fn names_and_numbers_of_older_servers_are_read() {
        let codes = of("https://h/device", false).unwrap();
        assert_eq!((&*codes.address, codes.complete.as_deref()), ("https://h/device", Some("http://h/c")));
        assert_eq!((codes.good_for, codes.interval), (Duration::from_secs(900), USUAL));
    }

    #[test]
    fn from_https_nobody_is_sent_to_http() {
        assert_eq!(of("https://h/device", true).unwrap().complete, None, "the one with the code is by http");
        assert!(of("http://h/device", true).unwrap_err().starts_with("`verification_uri` is no address"));
        for bad in ["https:", "file:///etc/passwd", "https://h/\u{202e}", "", "device"] {
            assert!(of(bad, false).is_err(), "{bad}");
        }
    }
}
