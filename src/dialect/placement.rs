//! Where the upstream takes the token: what the route says, or else where the client's own stood.
//!
//! Rules: the client's credential is replaced wherever it stood, and never goes on beside the new one.
//! Everything else goes on in its order and its spelling.

use http::{HeaderMap, HeaderValue, header};

use super::{
    Outgoing, Request,
    presented::{self, find, offers},
    request::{cookies, encode_parameter, join_target},
};
use crate::{
    config::{Endpoint, Name, Place, Placement, Route, Template},
    credential::Token,
};

/// The upstream's handshake: the client's, with this token in it; without one, as the client wrote it.
pub(super) fn outgoing(request: &Request, route: &Route, token: Option<&Token>) -> Result<Outgoing, String> {
    let shown = route.client.token.as_ref().and_then(|places| find(request, places).ok());
    // Before the token is put in its place, which may be a cookie.
    let mut request = request.with_cookies();
    let Some(token) = token else { return Ok(request.into()) };
    let placed = route.handshake.places();
    if let Some(places) = &route.client.token {
        presented::replace(&mut request, places, (!placed).then(|| token.expose()))?;
    }
    if placed { place(&request, &route.handshake, token, shown.as_deref()) } else { Ok(request.into()) }
}

/// The same for a request that is no handshake: the client's credential is replaced where it stood, and the
/// token stands where `placement` says besides.
pub fn beside(
    request: &Request,
    route: &Route,
    placement: &Placement,
    token: &Token,
) -> Result<Outgoing, String> {
    let shown = route.client.token.as_ref().and_then(|places| find(request, places).ok());
    let mut request = request.clone();
    if let Some(places) = &route.client.token {
        presented::replace(&mut request, places, Some(token.expose()))?;
    }
    // The service is not to choose between two.
    request.headers.remove(header::AUTHORIZATION);
    place(&request, placement, token, shown.as_deref())
}

/// Puts the token where the route says, in place of what stood there.
fn place(
    request: &Request,
    placement: &Placement,
    token: &Token,
    shown: Option<&str>,
) -> Result<Outgoing, String> {
    let mut out = Outgoing::from(request.clone());
    // A query's value is decoded, which needs a place of its own for as long as it is looked at.
    let queries: Vec<(String, String)> = request.parameters().map(|p| (p.name.clone(), p.value())).collect();
    let values = |name: &Name| match name {
        Name::Token => Some(token.expose()),
        Name::Query(query) => queries.iter().find(|(name, _)| name == query).map(|(_, value)| &**value),
        Name::Header(header) => request.headers.get(header.as_str()).and_then(|value| value.to_str().ok()),
        Name::ClientToken => shown,
        // It has been put in.
        Name::Arg | Name::Json | Name::RefreshToken | Name::Jwt | Name::Client(_) => None,
    };
    if let Some(name) = &placement.query {
        let mut pairs: Vec<String> =
            request.parameters().filter(|p| p.name != *name).map(|p| p.raw.to_owned()).collect();
        pairs.push(encode_parameter(name, token.expose()));
        out.target = join_target(request.path(), &pairs);
    }
    if let Some(template) = &placement.path {
        let path = template.expand(Place::Url, &values).map_err(|e| e.to_string())?;
        let query = out.target.split_once('?').map_or_else(String::new, |(_, query)| format!("?{query}"));
        out.target = format!("{path}{query}");
    }
    if let Some(template) = &placement.url {
        let url = template.expand(Place::Text, &values).map_err(|e| e.to_string())?;
        let endpoint = Endpoint::of_token(&url)?;
        let (path, own) = endpoint.path_and_query.split_once('?').unwrap_or((&endpoint.path_and_query, ""));
        let added = out.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let pairs: Vec<String> =
            [own, added].into_iter().filter(|query| !query.is_empty()).map(str::to_owned).collect();
        out.target = join_target(path, &pairs);
        out.elsewhere = Some(endpoint);
    }
    if let Some((name, template)) = &placement.header {
        let text = template.expand(Place::Header, &values).map_err(|e| e.to_string())?;
        out.headers.insert(name.clone(), sensitive(&text)?);
    }
    if placement.subprotocol.is_some() || placement.after.is_some() {
        let alone = Template::parse("{token}");
        let template = placement.subprotocol.as_ref().unwrap_or(&alone);
        let text = template.expand(Place::Subprotocol, &values).map_err(|e| e.to_string())?;
        let (mut names, at) = others(&request.headers, placement);
        names.splice(at..at, placement.after.clone().into_iter().chain([text]));
        out.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, sensitive(&names.join(", "))?);
    }
    if let Some(name) = &placement.cookie {
        let others =
            cookies::pairs(&request.headers).filter(|pair| cookies::split(pair).0 != name.as_bytes());
        let own = format!("{name}={}", token.expose());
        cookies::put(&mut out.headers, others.chain([own.as_bytes()]))?;
    }
    Ok(out)
}

/// The client's offers without the one that is written as the token is: its own, which may have ended. And where that
/// stood, or else the end.
fn others(headers: &HeaderMap, placement: &Placement) -> (Vec<String>, usize) {
    let before = placement.subprotocol.as_ref().map(Template::beginning).filter(|before| !before.is_empty());
    let offers: Vec<&str> = offers(headers).collect();
    let own = offers.iter().enumerate().position(|(nth, offer)| match (&placement.after, before) {
        (Some(after), _) => offer == after && nth + 1 < offers.len(),
        (None, Some(before)) => offer.starts_with(before),
        (None, None) => false,
    });
    let length = if placement.after.is_some() { 2 } else { 1 };
    let at = own.unwrap_or(offers.len());
    let kept = offers.iter().take(at).chain(offers.iter().skip(at + length));
    (kept.map(|offer| (*offer).to_owned()).collect(), at)
}

/// A header that no log will print.
pub(super) fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the token does not fit into a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;

    use super::*;
    use crate::{clock::Now, config::Config, credential::Generation};

    /// A route whose token is a cookie called `session`: as `[route.handshake]` or `[route.client.token]` says.
    fn route(table: &str) -> Arc<Route> {
        let text = format!(
            "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n\
             token = {{ source = \"file\", path = \"/t\" }}\n[{table}]\ncookie = \"session\""
        );
        Arc::clone(&Config::parse(&text, "p").unwrap().routes[0])
    }

    fn request(cookie: &str, answer: &[&'static str]) -> Request {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        let mut request = Request::new("/", &headers);
        let mut headers = HeaderMap::new();
        for line in answer {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(line));
        }
        request.remember_cookies(&headers);
        request
    }

    #[test]
    fn a_token_in_a_cookie_stands_among_all_other_cookies_whatever_their_bytes() {
        let token = Token::new("T1", Generation(1), Now::read(), None);
        let (placed, replaced) = (route("route.handshake"), route("route.client.token"));
        for (route, own, answer, expected) in [
            (&placed, "a=ü; session=T0; b=2", &[][..], "a=ü; b=2; session=T1"),
            (&replaced, "a=ü; session=T0; b=2", &[], "a=ü; session=T1; b=2"),
            // The service's own cookies are shown as well, but none in place of the token.
            (&placed, "a=ü; session=T0", &["lb=1; Path=/", "session=S"], "a=ü; lb=1; session=T1"),
            (&replaced, "a=ü; session=T0", &["lb=1; Path=/", "a=2"], "session=T1; lb=1; a=2"),
            (&replaced, "session=T0", &["session=S"], "session=T1"),
        ] {
            let out = outgoing(&request(own, answer), route, Some(&token)).unwrap();
            assert_eq!(out.headers[header::COOKIE].as_bytes(), expected.as_bytes(), "{own} {answer:?}");
        }
    }

    #[test]
    fn a_token_is_placed_in_the_spelling_of_the_service() {
        let placed = |lines: &str| {
            let text = format!(
                "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n\
                 token = {{ source = \"file\", path = \"/t\" }}\n[route.handshake]\n{lines}"
            );
            let config = Config::parse(&text, "p").unwrap_or_else(|error| panic!("{error}"));
            let token = Token::new("T1/?", Generation(1), Now::read(), None);
            let mut headers = HeaderMap::new();
            headers.append("sec-websocket-protocol", HeaderValue::from_static("app"));
            let out = outgoing(&Request::new("/ws?a=1", &headers), &config.routes[0], Some(&token)).unwrap();
            let header = |name: &str| out.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            (out.target.clone(), header("sec-websocket-protocol").unwrap(), header("authorization"))
        };
        let text = |text: &str| text.to_owned();
        for (lines, target, offers, authorization) in [
            ("subprotocol = \"k8s.{token|base64url}\"", "/ws?a=1", "app, k8s.VDEvPw", None),
            ("path = \"/v1/{token}/stream\"", "/v1/T1%2F%3F/stream?a=1", "app", None),
            (
                "header = \"Authorization: Basic {token|prefix:user:|base64}\"",
                "/ws?a=1",
                "app",
                Some("Basic dXNlcjpUMS8/"),
            ),
            (
                "subprotocol = \"header-{json|base64url}\"\njson = { host = \"a\", Authorization = \"{token}\" }",
                "/ws?a=1",
                "app, header-eyJBdXRob3JpemF0aW9uIjoiVDEvPyIsImhvc3QiOiJhIn0",
                None,
            ),
            ("after = \"token\"\nsubprotocol = \"{token|base64url}\"", "/ws?a=1", "app, token, VDEvPw", None),
        ] {
            assert_eq!(placed(lines), (text(target), text(offers), authorization.map(text)), "{lines}");
        }
    }

    #[test]
    fn what_the_client_offered_in_the_same_way_is_replaced_where_it_stood() {
        let placed = |lines: &str, offered: &'static str| {
            let text = format!(
                "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n\
                 token = {{ source = \"file\", path = \"/t\" }}\n[route.handshake]\n{lines}"
            );
            let config = Config::parse(&text, "p").unwrap_or_else(|error| panic!("{error}"));
            let token = Token::new("T1", Generation(1), Now::read(), None);
            let mut headers = HeaderMap::new();
            headers.append("sec-websocket-protocol", HeaderValue::from_static(offered));
            let out = outgoing(&Request::new("/ws", &headers), &config.routes[0], Some(&token)).unwrap();
            out.headers["sec-websocket-protocol"].to_str().unwrap().to_owned()
        };
        for (lines, offered, expected) in [
            ("after = \"token\"", "token, T0, id, 7", "token, T1, id, 7"),
            ("after = \"token\"", "a, token", "a, token, token, T1"),
            ("after = \"token\"", "a", "a, token, T1"),
            ("subprotocol = \"auth.{token}\"", "a, auth.T0, b", "a, auth.T1, b"),
            ("subprotocol = \"auth.{token}\"", "authority", "authority, auth.T1"),
        ] {
            assert_eq!(placed(lines, offered), expected, "{lines} {offered}");
        }
    }

    #[test]
    fn a_route_without_a_token_shows_the_cookies_of_the_service() {
        let text = "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"";
        let plain = Arc::clone(&Config::parse(text, "p").unwrap().routes[0]);
        let out = outgoing(&request("a=1", &["lb=1"]), &plain, None).unwrap();
        assert_eq!(out.headers[header::COOKIE], "a=1; lb=1");
    }
}
