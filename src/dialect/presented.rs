//! A client's own token: where it shows it, and what takes its place.
//!
//! ```text
//!   /ws?jobId=7&token=T0                        /ws?jobId=7&token=T1
//!   Sec-WebSocket-Protocol: app, auth.T0   ─►   Sec-WebSocket-Protocol: app, auth.T1
//!   Cookie: a=1; session=T0                     Cookie: a=1; session=T1
//! ```
//!
//! Rules: it is looked for in every place that the route names, and every one found has to be the same;
//! what takes its place stands exactly where it stood. The client is answered with what it offered.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use subtle::ConstantTimeEq;

use super::{
    Outgoing, Request,
    placement::sensitive,
    request::{cookies, encode_parameter, join_target},
};
use crate::config::{Carried, TokenPlaces};

/// Why it is not clear which token a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error("Token missing")]
    Missing,
    #[error("Tokens disagree")]
    Disagree,
}

/// What a client shows, and how it is to be answered. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Presented {
    pub token: Box<str>,
    /// The offer of a subprotocol that carried it, and whether there was no other.
    offer: Option<(HeaderValue, bool)>,
    /// What stands before a token in such an offer, where there was one.
    before: Option<Box<str>>,
}

impl Presented {
    /// Looks for the token in every place.
    pub fn find(request: &Request, places: &TokenPlaces) -> Result<Self, Unclear> {
        let token = find(request, places)?;
        let carries = |offer: &&str| {
            places.subprotocol.as_ref().is_some_and(|carried| offer.starts_with(&carried.before))
        };
        let carrying = offers(&request.headers).find(carries);
        let only = offers(&request.headers).all(|offer| carries(&offer));
        let offer = carrying.and_then(|offer| Some((sensitive(offer).ok()?, only)));
        let before = places.subprotocol.as_ref().filter(|_| offer.is_some());
        let before = before.map(|carried| carried.before.as_str().into());
        Ok(Self { token: token.into(), offer, before })
    }

    /// Is a subprotocol that was chosen once one that carried a token of this client's?
    pub fn carried(&self, chosen: &str) -> bool {
        self.before.as_ref().is_some_and(|before| chosen.starts_with(&**before))
    }

    /// What the client is answered where the service chose `chosen`: its own offer, where that carried its token.
    /// A strict client takes no answer for a refusal where it made one offer.
    pub fn answer(&self, chosen: Option<&str>) -> Option<&HeaderValue> {
        let (offer, only) = self.offer.as_ref()?;
        chosen.map_or(*only, |chosen| self.carried(chosen)).then_some(offer)
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(***)")
    }
}

/// The token of a request, where it has one, and one only.
pub(super) fn find(request: &Request, places: &TokenPlaces) -> Result<String, Unclear> {
    let mut found: Option<String> = None;
    for token in all(request, places) {
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        match &found {
            _ if !fits => return Err(Unclear::Missing),
            Some(known) if !bool::from(known.as_bytes().ct_eq(token.as_bytes())) => {
                return Err(Unclear::Disagree);
            }
            Some(_) => {}
            None => found = Some(token),
        }
    }
    found.ok_or(Unclear::Missing)
}

fn all(request: &Request, places: &TokenPlaces) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(name) = &places.query {
        found.extend(request.parameters().filter(|p| p.name == *name).map(|p| p.value()));
    }
    if let Some(Carried { before, filters }) = &places.subprotocol {
        let carried = offers(&request.headers).filter_map(|offer| offer.strip_prefix(&**before));
        // One that is written in another way is nobody's token.
        found.extend(carried.map(|text| filters.undo(text).unwrap_or_default()));
    }
    if let Some(after) = &places.after {
        let names: Vec<&str> = offers(&request.headers).collect();
        found.extend(names.windows(2).filter(|pair| pair[0] == after).map(|pair| pair[1].to_owned()));
    }
    if let Some((name, Carried { before, filters })) = &places.header {
        let values = request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let carried = values.filter_map(|value| behind(value, before));
        found.extend(carried.map(|text| filters.undo(text).unwrap_or_default()));
    }
    if let Some(name) = &places.cookie {
        let pairs = cookies::pairs(&request.headers).map(cookies::split);
        let named = pairs.filter(|(pair, _)| *pair == name.as_bytes());
        found.extend(named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()));
    }
    found
}

/// The names that are offered in `Sec-WebSocket-Protocol`.
pub(super) fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|offer| !offer.is_empty())
}

/// The value behind what stands before it; the scheme of `Authorization` has no case (RFC 9110 §11.1).
fn behind<'v>(value: &'v str, before: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(before.len())?;
    head.eq_ignore_ascii_case(before).then(|| rest.trim())
}

/// Shows a token as a client of the route does: in the first place that is named.
pub fn present(request: &mut Request, places: &TokenPlaces, token: &str) -> Result<(), String> {
    // What stands for it, and is then replaced.
    const ANY: &str = "x";
    let offer = |headers: &mut HeaderMap, text: &str| put(headers, &header::SEC_WEBSOCKET_PROTOCOL, text);
    if let Some(name) = &places.query {
        let others = request.parameters().filter(|p| p.name != *name).map(|p| p.raw.to_owned());
        let pairs: Vec<String> = others.chain([encode_parameter(name, ANY)]).collect();
        request.target = join_target(request.path(), &pairs);
    } else if let Some((name, Carried { before, .. })) = &places.header {
        put(&mut request.headers, name, &format!("{before}{ANY}"))?;
    } else if let Some(Carried { before, .. }) = &places.subprotocol {
        offer(&mut request.headers, &format!("{before}{ANY}"))?;
    } else if let Some(after) = &places.after {
        offer(&mut request.headers, &format!("{after}, {ANY}"))?;
    } else if let Some(name) = &places.cookie {
        put(&mut request.headers, &header::COOKIE, &format!("{name}={ANY}"))?;
    }
    replace(request, places, Some(token))
}

/// Puts another token in its places, or takes it out of them.
pub(super) fn replace(
    request: &mut Request,
    places: &TokenPlaces,
    token: Option<&str>,
) -> Result<(), String> {
    if let Some(name) = &places.query {
        let pairs = request.parameters().filter_map(|p| match token {
            _ if p.name != *name => Some(p.raw.to_owned()),
            // As the client wrote it, where it is the same.
            Some(token) if p.value() == token => Some(p.raw.to_owned()),
            Some(token) => Some(encode_parameter(name, token)),
            None => None,
        });
        request.target = join_target(request.path(), &pairs.collect::<Vec<_>>());
    }
    let headers = &mut request.headers;
    if let Some(Carried { before, filters }) = &places.subprotocol {
        let offers = offers(headers).filter_map(|offer| match (offer.strip_prefix(&**before), token) {
            (None, _) => Some(offer.to_owned()),
            (Some(shown), Some(token)) => Some(format!("{before}{}", filters.replaced(shown, token))),
            (Some(_), None) => None,
        });
        let offers: Vec<_> = offers.collect();
        put(headers, &header::SEC_WEBSOCKET_PROTOCOL, &offers.join(", "))?;
    }
    if let Some(after) = &places.after {
        let mut follows = false;
        let offers = offers(headers).filter_map(|offer| {
            let is_it = std::mem::replace(&mut follows, offer == after);
            if is_it { token.map(str::to_owned) } else { Some(offer.to_owned()) }
        });
        let offers: Vec<_> = offers.collect();
        put(headers, &header::SEC_WEBSOCKET_PROTOCOL, &offers.join(", "))?;
    }
    if let Some(name) = &places.cookie {
        let shown = headers.clone();
        let own = token.map(|token| format!("{name}={token}"));
        let pairs = cookies::pairs(&shown).filter_map(|pair| {
            let is_it = cookies::split(pair).0 == name.as_bytes();
            if is_it { own.as_ref().map(String::as_bytes) } else { Some(pair) }
        });
        cookies::put(headers, pairs)?;
    }
    if let Some((name, Carried { before, filters })) = &places.header {
        let mut token = token;
        let all: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
        headers.remove(name);
        for value in all {
            // At the first place where it stood, and at no other.
            let value = match (value.to_str().ok().and_then(|text| behind(text, before)), token) {
                (None, _) => value,
                (Some(shown), Some(new)) => {
                    token = None;
                    sensitive(&format!("{before}{}", filters.replaced(shown, new)))?
                }
                (Some(_), None) => continue,
            };
            headers.append(name.clone(), value);
        }
    }
    Ok(())
}

/// One header in place of all of its name; none, where nothing is left to say.
fn put(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), String> {
    headers.remove(name);
    if !text.is_empty() {
        headers.insert(name.clone(), sensitive(text)?);
    }
    Ok(())
}

impl From<Request> for Outgoing {
    fn from(Request { target, headers, .. }: Request) -> Self {
        Self { target, headers, elsewhere: None }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::config::Config;

    /// The places that a configuration names.
    fn configured(token: &str) -> TokenPlaces {
        let text = format!(
            "[[route]]\nupstream = \"ws://h\"\ndialect = \"handshake\"\n[route.token]\nsource = \"file\"\npath = \"/t\"\n\
             [route.client]\ntoken = {{ {token} }}"
        );
        let config = Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}"));
        config.routes[0].client.token.clone().unwrap()
    }

    fn places() -> TokenPlaces {
        configured(
            "query = \"token\", subprotocol = \"app-auth.\", header = \"Authorization\", cookie = \"session\"",
        )
    }

    fn asked(target: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Request::new(target, &map)
    }

    #[test]
    fn a_token_in_json_is_replaced_and_the_rest_of_the_json_stays() {
        let places = configured("subprotocol = \"header-{token|json:/Authorization|base64url}\"");
        let shown = "graphql-ws, header-eyJob3N0IjoiYSIsIkF1dGhvcml6YXRpb24iOiJUMCJ9";
        let mut request = asked("/", &[("sec-websocket-protocol", shown)]);
        assert_eq!(find(&request, &places).unwrap(), "T0");
        replace(&mut request, &places, Some("T1")).unwrap();
        let offers: Vec<String> = offers(&request.headers).map(str::to_owned).collect();
        let [first, second] = &*offers else { panic!("{offers:?}") };
        let json = URL_SAFE_NO_PAD.decode(second.strip_prefix("header-").unwrap()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected = serde_json::json!({ "host": "a", "Authorization": "T1" });
        assert_eq!((first.as_str(), json), ("graphql-ws", expected));
    }

    #[test]
    fn a_token_is_found_in_every_place_and_has_to_be_one() {
        type Case<'c> = (&'c str, &'c [(&'static str, &'c str)], Result<&'c str, Unclear>);
        let all: &[Case<'_>] = &[
            ("/?a=1&token=T%2D0", &[], Ok("T-0")),
            ("/", &[("sec-websocket-protocol", "app,app-auth.T0")], Ok("T0")),
            ("/", &[("authorization", "bearer  T0")], Ok("T0")),
            ("/", &[("cookie", "a=1; session=T0"), ("cookie", "b=2")], Ok("T0")),
            ("/?token=T0", &[("sec-websocket-protocol", "app-auth.T0"), ("cookie", "session=T0")], Ok("T0")),
            ("/?token=T0", &[("sec-websocket-protocol", "app-auth.T1")], Err(Unclear::Disagree)),
            ("/?token=T0&token=T1", &[], Err(Unclear::Disagree)),
            ("/?token=", &[], Err(Unclear::Missing)),
            ("/?token=a%0Ab", &[], Err(Unclear::Missing)),
            (
                "/?jeton=T0",
                &[("authorization", "Basic T0"), ("cookie", "sessions=T0")],
                Err(Unclear::Missing),
            ),
        ];
        for (target, headers, expected) in all {
            let found = find(&asked(target, headers), &places());
            assert_eq!(found.as_deref(), expected.as_ref().map(|token| *token), "{target} {headers:?}");
        }
    }

    #[test]
    fn another_token_stands_exactly_where_it_stood() {
        let request = asked(
            "/ws?jobId=7&token=T0&x=%20y",
            &[
                ("sec-websocket-protocol", "app, app-auth.T0, other"),
                ("authorization", "Bearer T0"),
                ("cookie", "a=1; session=T0; b=2"),
                ("user-agent", "old"),
            ],
        );
        let shown = |request: &Request| {
            let header = |name: &str| request.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            let names = ["sec-websocket-protocol", "authorization", "cookie", "user-agent"];
            (request.target.clone(), names.map(header))
        };
        let text = |text: &str| Some(text.to_owned());
        let mut other = request.clone();
        replace(&mut other, &places(), Some("T1")).unwrap();
        let expected =
            [text("app, app-auth.T1, other"), text("Bearer T1"), text("a=1; session=T1; b=2"), text("old")];
        assert_eq!(shown(&other), ("/ws?jobId=7&token=T1&x=%20y".to_owned(), expected));
        let mut none = request.clone();
        replace(&mut none, &places(), None).unwrap();
        let expected = [text("app, other"), None, text("a=1; b=2"), text("old")];
        assert_eq!(shown(&none), ("/ws?jobId=7&x=%20y".to_owned(), expected));
        let mut same = request.clone();
        replace(&mut same, &places(), Some("T0")).unwrap();
        assert_eq!(shown(&same), shown(&request));
    }

    #[test]
    fn a_token_is_found_and_replaced_in_the_spelling_of_the_service() {
        let offer = |text: &'static str| ("sec-websocket-protocol", text);
        for (token, shown, replaced) in [
            // Kubernetes, openHAB: base64url of the token.
            (
                "subprotocol = \"base64url.bearer.authorization.k8s.io.{token|base64url}\"",
                offer("base64url.bearer.authorization.k8s.io.VDA_Pw, v4.channel.k8s.io"),
                "base64url.bearer.authorization.k8s.io.VDE_Pw, v4.channel.k8s.io",
            ),
            // Deepgram, and browsers in general: the offer behind a name.
            (
                "after = \"access_token\"",
                offer("app, access_token, T0??, other"),
                "app, access_token, T1??, other",
            ),
            // Basic: a user before the token.
            (
                "header = \"Authorization: Basic {token|prefix:user:|base64}\"",
                ("authorization", "basic dXNlcjpUMD8/"),
                "Basic dXNlcjpUMT8/",
            ),
        ] {
            let places = configured(token);
            let mut request = asked("/", &[shown]);
            assert_eq!(find(&request, &places).as_deref(), Ok("T0??").as_ref().map(|text| *text), "{token}");
            replace(&mut request, &places, Some("T1??")).unwrap();
            assert_eq!(request.headers[shown.0], replaced, "{token}");
        }
        let places = configured("subprotocol = \"auth.{token|base64url}\"");
        let wrong = asked("/", &[offer("auth.no base64")]);
        assert_eq!(find(&wrong, &places), Err(Unclear::Missing), "written in another way");
    }

    #[test]
    fn no_token_of_the_clients_own_stays_beside_the_new_one() {
        let mut request = asked(
            "/?token=T0&token=T0",
            &[("authorization", "Basic zzz"), ("authorization", "Bearer T0"), ("authorization", "bearer T0")],
        );
        let all = |request: &Request| {
            let values = request.headers.get_all("authorization").iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut none = request.clone();
        replace(&mut request, &places(), Some("T1")).unwrap();
        assert_eq!(all(&request), ["Basic zzz", "Bearer T1"]);
        replace(&mut none, &places(), None).unwrap();
        assert_eq!((all(&none), none.target.as_str()), (vec!["Basic zzz".to_owned()], "/"));
    }

    #[test]
    fn a_client_is_answered_with_what_it_offered() {
        for (offered, chosen, expected) in [
            ("app, app-auth.T0", Some("app"), None),
            ("app, app-auth.T0", Some("app-auth.T1"), Some("app-auth.T0")),
            ("app, app-auth.T0", None, None),
            ("app-auth.T0", None, Some("app-auth.T0")),
            ("app", Some("app"), None),
        ] {
            let presented =
                Presented::find(&asked("/?token=T0", &[("sec-websocket-protocol", offered)]), &places())
                    .unwrap();
            let got = presented.answer(chosen).map(|value| value.to_str().unwrap());
            assert_eq!(got, expected, "{offered} {chosen:?}");
        }
        assert_eq!(
            format!("{:?}", Presented::find(&asked("/?token=CANARY", &[]), &places())),
            "Ok(Presented(***))"
        );
    }

    #[test]
    fn a_token_is_presented_where_it_is_found() {
        for token in [
            "query = \"t\"",
            "header = \"Authorization\"",
            "header = \"X-Token: Key {token|base64}\"",
            "subprotocol = \"auth.{token|base64url}\"",
            "after = \"access_token\"",
            "cookie = \"session\"",
            "query = \"t\", cookie = \"session\"",
        ] {
            let places = configured(token);
            let mut request = Request::new("/ws?a=1", &HeaderMap::new());
            present(&mut request, &places, "T0").unwrap();
            assert_eq!(find(&request, &places).as_deref(), Ok("T0"), "{token}");
            assert!(request.target.starts_with("/ws?a=1"), "{}", request.target);
        }
    }
}
