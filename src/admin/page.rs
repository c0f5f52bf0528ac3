//! The status page: three files in the binary, and a policy by which nothing else is ever loaded or run.

use http::{HeaderName, HeaderValue, Response, header};

use super::answer::{Body, typed};

const INDEX: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// Of this origin's files alone; no inline script, no frame around it, nowhere to send a form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub(super) fn index() -> Response<Body> {
    let mut page = typed("text/html; charset=utf-8", INDEX);
    for (name, value) in HEADERS {
        page.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    page
}

pub(super) fn css() -> Response<Body> {
    typed("text/css; charset=utf-8", CSS)
}

pub(super) fn js() -> Response<Body> {
    typed("text/javascript; charset=utf-8", JS)
}
