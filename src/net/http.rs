//! One request over a connection of its own.
//!
//! 1. One deadline covers everything, from the name lookup to the last byte of the body: a server that
//!    drips does not get more time.
//! 2. The body has a limit; beyond it the connection is dropped, unread.
//! 3. A redirect is an answer like any other: following it would carry a secret to another host.

use std::{error::Error as _, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{DialError, Dialer, Stream, trace::Asked};
use crate::clock::{Instant, Now};

/// The head of an answer may be this long.
const MAX_HEAD: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("HTTP with {host}: {cause}")]
    Exchange { host: String, cause: String },
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no complete answer in time")]
    Late,
}

impl HttpError {
    /// Can the server have read the request, and have acted on it?
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Dial(_) => false,
            Self::Exchange { .. } | Self::TooLarge { .. } | Self::Late => true,
        }
    }

    /// One word for it, as a span has it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Dial(error) if error.is_late() => "timeout",
            Self::Dial(error) => error.stage.word(),
            Self::Exchange { .. } => "broken_off",
            Self::TooLarge { .. } => "too_large",
            Self::Late => "timeout",
        }
    }
}

/// What follows the scheme `Bearer`, which has no case (RFC 9110 §11.1).
pub fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = authorization.as_bytes().trim_ascii_start().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// When the server wants to be asked again (RFC 9110 §10.2.3): seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: Now) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is long enough.
        return Some(Duration::from_secs(text.parse().unwrap_or(TEN_YEARS)));
    }
    Some(since_epoch(text)?.saturating_sub(now.wall))
}

/// For how long a server that was asked too often does not want to be asked, if it says so: by `Retry-After`, or by the
/// time at which its count starts again, as Okta, Auth0 and GitHub do (`X-Rate-Limit-Reset`, in seconds since the Unix epoch, or
/// from now).
pub fn rate_limited_for(headers: &HeaderMap, now: Now) -> Option<Duration> {
    let reset = || {
        let names = ["x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset"];
        let value = names.into_iter().find_map(|name| headers.get(name))?;
        let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
        let seconds = if seconds >= A_TIME { seconds.saturating_sub(now.wall.as_secs()) } else { seconds };
        Some(Duration::from_secs(seconds)).filter(|wait| !wait.is_zero())
    };
    retry_after(headers, now).or_else(reset)
}

/// The server's clock, since the Unix epoch (RFC 9110 §6.6.1).
pub fn date(headers: &HeaderMap) -> Option<Duration> {
    since_epoch(headers.get(header::DATE)?.to_str().ok()?)
}

fn since_epoch(date: &str) -> Option<Duration> {
    Some(Duration::from_millis(u64::try_from(http_date(date)?.as_millisecond()).ok()?))
}

/// No wait is as long as this; no time since the Unix epoch is as early.
const A_TIME: u64 = 1_000_000_000;
const TEN_YEARS: u64 = 10 * 365 * 24 * 60 * 60;

/// A date in one of the three forms that a recipient has to take (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<jiff::Timestamp> {
    let usual = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    let obsolete = |form: &str, text: &str| {
        let time = jiff::fmt::strtime::parse(form, text).ok()?.to_datetime().ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    usual
        .ok()
        .or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT", text))
        .or_else(|| obsolete("%a %b %e %H:%M:%S %Y", text))
}

/// Sends `request` (its URI in origin form) and reads the whole answer, at most `limit` bytes of body.
///
/// `Host` is the dialer's, unless the request has one.
pub async fn request(
    dialer: &Dialer,
    request: Request<Bytes>,
    limit: usize,
    deadline: Instant,
) -> Result<Response<Bytes>, HttpError> {
    let asked = Asked::begin(method_name(request.method()), dialer);
    let answer = answer(dialer, request, limit, deadline).await;
    asked.end(answer.as_ref().map(Response::status).map_err(HttpError::kind));
    answer
}

async fn answer(
    dialer: &Dialer,
    request: Request<Bytes>,
    limit: usize,
    deadline: Instant,
) -> Result<Response<Bytes>, HttpError> {
    let stream = dialer.connect(deadline).await?;
    let (host, peer) = (dialer.authority(), stream.peer());
    let answer = tokio::time::timeout_at(deadline, exchange(stream, &host, request, limit)).await;
    let answer = answer.unwrap_or(Err(HttpError::Late));
    if matches!(answer, Err(HttpError::Exchange { .. } | HttpError::Late)) {
        dialer.blame(peer);
    }
    answer
}

/// The name of a request's span.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "HTTP",
    }
}

async fn exchange(
    stream: Stream,
    host: &str,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Response<Bytes>, HttpError> {
    let failed = |cause: &hyper::Error| HttpError::Exchange { host: host.to_owned(), cause: chain(cause) };
    let (mut parts, body) = request.into_parts();
    if let (false, Ok(value)) = (parts.headers.contains_key(header::HOST), HeaderValue::from_str(host)) {
        parts.headers.insert(header::HOST, value);
    }
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let request = Request::from_parts(parts, Full::new(body));

    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|cause| failed(&cause))?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await.map_err(|cause| failed(&cause))?.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|cause| {
            if cause.is::<LengthLimitError>() {
                return HttpError::TooLarge { limit };
            }
            match cause.downcast_ref::<hyper::Error>() {
                Some(cause) => failed(cause),
                None => HttpError::Exchange { host: host.to_owned(), cause: "the body broke off".to_owned() },
            }
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    // hyper's connection does the reading and writing. It is driven here and not in a task of its own, so
    // that nothing outlives the request.
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            // Its error reaches the answer as well.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// hyper says only the outermost cause by itself.
fn chain(error: &hyper::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        clock,
        config::{Endpoint, UpstreamTls},
    };

    /// Asks a server that reads a head, says `answer`, and then, if told so, goes on saying `more` for ever.
    async fn ask(
        answer: &'static str,
        more: Option<&'static str>,
    ) -> (Result<Response<Bytes>, HttpError>, String) {
        ask_within(Duration::from_secs(20), answer, more).await
    }

    async fn ask_within(
        timeout: Duration,
        answer: &'static str,
        more: Option<&'static str>,
    ) -> (Result<Response<Bytes>, HttpError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            tcp.write_all(answer.as_bytes()).await.unwrap();
            while let Some(more) = more {
                if tcp.write_all(more.as_bytes()).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            String::from_utf8(head).unwrap()
        };
        let endpoint =
            Endpoint { tls: false, host: "127.0.0.1".to_owned(), port, path_and_query: "/".to_owned() };
        let dialer = Dialer::new(&endpoint, &UpstreamTls::default()).unwrap();
        let client = async {
            let req = Request::get("/t?a=1").body(Bytes::new()).unwrap();
            request(&dialer, req, 1024, clock::now() + timeout).await
        };
        tokio::join!(client, server)
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let (answer, head) =
            ask("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nok", None).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (302, &b"ok"[..]), "not followed");
        assert!(head.starts_with("GET /t?a=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: 127.0.0.1:") && head.contains("connection: close"), "{head}");
    }

    #[tokio::test]
    async fn an_endless_body_stops_at_the_limit() {
        let (answer, _) = ask("HTTP/1.1 200 OK\r\n\r\n", Some("0123456789abcdef0123456789abcdef")).await;
        assert!(matches!(answer, Err(HttpError::TooLarge { limit: 1024 })), "{answer:?}");
    }

    #[tokio::test]
    async fn a_drip_meets_the_deadline() {
        let drip = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
        let (answer, _) = ask_within(Duration::from_millis(200), drip, Some("x")).await;
        assert!(matches!(answer, Err(HttpError::Late)), "{answer:?}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let (answer, _) = ask("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", None).await;
        assert!(matches!(answer, Err(HttpError::Exchange { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn garbage_is_an_error() {
        let (answer, _) = ask("SSH-2.0-OpenSSH_9.6\r\n\r\n", None).await;
        assert!(matches!(answer, Err(HttpError::Exchange { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn an_address_that_takes_the_request_and_does_not_answer_is_asked_last() {
        for closes in [true, false] {
            let (bad, good) = loop {
                let bad = TcpListener::bind("127.0.0.2:0").await.unwrap();
                let port = bad.local_addr().unwrap().port();
                if let Ok(good) = TcpListener::bind(("127.0.0.3", port)).await {
                    break (bad, good);
                }
            };
            let port = good.local_addr().unwrap().port();
            let endpoint =
                Endpoint { tls: false, host: "twins".to_owned(), port, path_and_query: "/".to_owned() };
            let both = || ["127.0.0.2", "127.0.0.3"].map(|one| one.parse().unwrap()).to_vec();
            let dialer = Dialer::new(&endpoint, &UpstreamTls::default()).unwrap().known_at(both);
            let ask = async |timeout: u64| {
                let asked = Request::get("/").body(Bytes::new()).unwrap();
                request(&dialer, asked, 1024, clock::now() + Duration::from_millis(timeout)).await
            };
            let serve = async {
                let (mut tcp, _) = bad.accept().await.unwrap();
                if !closes {
                    // Until the other end has had enough.
                    let _ = tcp.read_to_end(&mut Vec::new()).await;
                }
            };
            let (error, ()) = tokio::join!(ask(if closes { 20_000 } else { 100 }), serve);
            assert!(error.unwrap_err().may_have_arrived());
            let serve = async {
                let (mut tcp, _) = good.accept().await.unwrap();
                tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                let _ = tcp.read_to_end(&mut Vec::new()).await;
            };
            let both = async { tokio::join!(ask(20_000), serve) };
            let (answer, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
            assert_eq!(answer.unwrap().status(), 204, "closes: {closes}");
        }
    }

    #[test]
    fn a_limit_says_when_its_count_starts_again() {
        let now = Now { wall: Duration::from_secs(1_800_000_000), ..Now::read() };
        let wait = |lines: &[(&'static str, &str)]| {
            let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            rate_limited_for(&HeaderMap::from_iter(lines), now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&[("x-rate-limit-reset", "1800000030")]), Some(30));
        assert_eq!(wait(&[("x-ratelimit-reset", "1799999999")]), None, "its count has started again");
        assert_eq!(wait(&[("ratelimit-reset", "7")]), Some(7));
        assert_eq!(wait(&[("retry-after", "5"), ("x-rate-limit-reset", "1800000030")]), Some(5));
        assert_eq!(wait(&[("x-rate-limit-reset", "soon")]), None);
    }

    #[test]
    fn a_time_to_wait_comes_in_seconds_and_in_three_forms_of_dates() {
        let now = Now { wall: Duration::from_secs(784_111_777 - 97), ..Now::read() };
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(wait(date), Some(97), "{date}");
        }
        assert_eq!((wait("7"), wait(" 0 ")), (Some(7), Some(0)));
        assert!(wait("99999999999999999999999").is_some_and(|wait| wait > 1_000_000));
        for bad in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }
}
