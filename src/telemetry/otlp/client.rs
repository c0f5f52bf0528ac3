//! The HTTP client of the exporter: one POST through our own dialer, again if that may help.
//!
//! | answer | |
//! |---|---|
//! | 200 | taken, except for the spans that it says were refused |
//! | 429, 502, 503, 504, or none | the same bytes again later, after `Retry-After` if there is one, for five minutes |
//! | anything else | this request will never be taken |
//!
//! A request that may have arrived is sent again all the same: its spans have the same identifiers, so that a collector can
//! tell.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{environment::Settings, losses::Losses};
use crate::{
    clock::{self, Instant, Now},
    net::{Dialer, Egress, http as net_http},
};

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The waits between two tries: from the first, twice as long each time. What the collector asks for is kept within the
/// bounds.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A request that was not taken for so long is dropped.
const GIVE_UP: Duration = Duration::from_secs(300);
/// What is left at the end is sent within this.
const LAST: Duration = Duration::from_secs(2);

/// Sends to one collector.
#[derive(Debug)]
pub(super) struct Client {
    dialer: Dialer,
    target: Uri,
    /// For one try.
    timeout: Duration,
    losses: Arc<Losses>,
    stop: CancellationToken,
    /// After `stop`, nothing is sent any more from this time on.
    last: OnceLock<Instant>,
}

impl Client {
    /// Reads the certificates that the endpoint needs.
    pub(super) fn new(
        settings: &Settings,
        egress: &Egress,
        losses: Arc<Losses>,
        stop: CancellationToken,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self {
            dialer: Dialer::new(&settings.endpoint, &settings.tls)?.by(egress),
            target: settings.endpoint.path_and_query.parse()?,
            timeout: settings.timeout,
            losses,
            stop,
            last: OnceLock::new(),
        })
    }

    async fn post(&self, request: Request<Bytes>, deadline: Instant) -> Result<Response<Bytes>, HttpError> {
        match net_http::request(&self.dialer, request, MAX_ANSWER, deadline).await {
            Err(net_http::HttpError::TooLarge { .. }) => Err(ResponseBodyTooLarge::new().into()),
            answer => Ok(answer?),
        }
    }

    /// Notes what an answer means. How long to wait for the next try, if there should be one?
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>, wait: Duration) -> Option<Duration> {
        let (why, again) = match answer {
            Ok(answer) if answer.status().is_success() => {
                self.taken(answer.body());
                return None;
            }
            Ok(answer) => {
                let status = answer.status();
                let again = is_passing(status).then(|| net_http::retry_after(answer.headers(), Now::read()));
                (format!("the collector answered {}", status.as_u16()), again)
            }
            Err(error) => (error.to_string(), (!error.is::<ResponseBodyTooLarge>()).then_some(None)),
        };
        if self.losses.failed(why.clone()) && again.is_some() && !self.stop.is_cancelled() {
            tracing::warn!(error = why, "collector unavailable, retrying");
        }
        let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        again.map(|named| named.unwrap_or(jittered).clamp(SHORTEST_WAIT, LONGEST_WAIT))
    }

    fn taken(&self, answer: &Bytes) {
        let refused = ExportTraceServiceResponse::decode(&**answer).ok().and_then(|it| it.partial_success);
        let refused = refused.map_or(0, |partial| partial.rejected_spans);
        self.losses.lost(u64::try_from(refused).unwrap_or(0));
        if self.losses.went_well() {
            let dropped = self.losses.take();
            tracing::info!(dropped, "collector available again");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.target.clone();
        // A list of secret headers does not decide how the body is read.
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let request = Request::from_parts(parts, body);
        let (give_up, mut wait) = (clock::now() + GIVE_UP, FIRST_WAIT);
        let tries = async {
            loop {
                let answer = self.post(request.clone(), clock::now() + self.timeout).await;
                match self.note(&answer, wait) {
                    Some(pause) if clock::now() + pause < give_up => {
                        self.losses.say(clock::now(), false);
                        tokio::time::sleep(pause).await;
                    }
                    Some(_) | None => return answer,
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        };
        if let Some(answer) = self.stop.run_until_cancelled(Box::pin(tries)).await {
            return answer;
        }
        let last = *self.last.get_or_init(|| clock::now() + LAST);
        if clock::now() >= last {
            return Err("there was no time left".into());
        }
        let answer = self.post(request, last).await;
        self.note(&answer, wait);
        answer
    }
}

/// May it go better later?
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
