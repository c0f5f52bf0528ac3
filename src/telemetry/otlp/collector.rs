//! The collector: one POST, and what its answer means.
//!
//! | answer | |
//! |---|---|
//! | 200 | taken, but for the spans that `partialSuccess` says were refused |
//! | 429, 502, 503, 504, or none | the same again later, after `Retry-After` where there is one |
//! | anything else | this request will never be taken |

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::{environment::Settings, json::Answer};
use crate::{
    clock,
    clock::Instant,
    net::{
        Dialer, TlsError,
        http::{self as net_http, HttpError},
    },
};

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;

/// Where spans are sent.
pub(super) struct Collector {
    dialer: Dialer,
    target: String,
    headers: HeaderMap,
    timeout: Duration,
}

/// Why spans were not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// For the log; of a peer's own words there is none in it.
    pub(super) why: String,
    /// May it go better later?
    pub(super) again: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Collector {
    /// Reads the certificates that the endpoint needs.
    pub(super) fn new(settings: &Settings) -> Result<Self, TlsError> {
        Ok(Self {
            dialer: Dialer::new(&settings.endpoint, &settings.tls)?,
            target: settings.endpoint.path_and_query.clone(),
            headers: settings.headers.clone(),
            timeout: settings.timeout,
        })
    }

    /// Sends a request, until `last` at the most: how many of its spans were refused.
    pub(super) async fn post(&self, body: Bytes, last: Option<Instant>) -> Result<u64, Refused> {
        let until = clock::now() + self.timeout;
        let deadline = last.map_or(until, |last| last.min(until));
        let never = |why: String| Refused { why, again: false, retry_after: None };
        let mut request =
            Request::post(&*self.target).body(body).map_err(|_| never("its path cannot be sent".into()))?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = match net_http::request(&self.dialer, request, MAX_ANSWER, deadline).await {
            Ok(answer) => answer,
            // It was answered, at length.
            Err(error @ HttpError::TooLarge { .. }) => return Err(never(error.to_string())),
            Err(error @ (HttpError::Dial(_) | HttpError::Exchange { .. } | HttpError::Late)) => {
                return Err(Refused { why: error.to_string(), again: true, retry_after: None });
            }
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(Answer::rejected(answer.body()));
        }
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let seconds =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Refused {
            why: format!("the collector answered {}", status.as_u16()),
            again,
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}
