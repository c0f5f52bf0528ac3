//! Where the upstream takes the token: what the route says, or else where the client's own stood.
//!
//! Rules: the client's credential is replaced wherever it stood, and never goes on beside the new one.
//! Everything else goes on in its order and its spelling.

use http::{HeaderValue, header};

use super::{
    Outgoing, Request,
    presented::{self, find, offers},
    request::{encode_parameter, join_target},
};
use crate::{
    config::{Name, Place, Placement, Route},
    credential::Token,
};

/// The upstream's handshake: the client's, with this token in it; without one, as the client wrote it.
pub(super) fn outgoing(request: &Request, route: &Route, token: Option<&Token>) -> Result<Outgoing, String> {
    let Some(token) = token else {
        return Ok(Outgoing { target: request.target.clone(), headers: request.headers.clone() });
    };
    let shown = route.client.token.as_ref().and_then(|places| find(request, places).ok());
    let placed = route.handshake.places();
    let mut request = request.clone();
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
    let mut out = Outgoing { target: request.target.clone(), headers: request.headers.clone() };
    // A query's value is decoded, which needs a place of its own for as long as it is looked at.
    let queries: Vec<(String, String)> = request.parameters().map(|p| (p.name.clone(), p.value())).collect();
    let values = |name: &Name| match name {
        Name::Token => Some(token.expose()),
        Name::Query(query) => queries.iter().find(|(name, _)| name == query).map(|(_, value)| &**value),
        Name::Header(header) => request.headers.get(header.as_str()).and_then(|value| value.to_str().ok()),
        Name::ClientToken => shown,
    };
    if let Some(name) = &placement.query {
        let mut pairs: Vec<String> =
            request.parameters().filter(|p| p.name != *name).map(|p| p.raw.to_owned()).collect();
        pairs.push(encode_parameter(name, token.expose()));
        out.target = join_target(request.path(), &pairs);
    }
    if let Some((name, template)) = &placement.header {
        let text = template.expand(Place::Header, &values).map_err(|e| e.to_string())?;
        out.headers.insert(name.clone(), sensitive(&text)?);
    }
    if let Some(template) = &placement.subprotocol {
        let text = template.expand(Place::Subprotocol, &values).map_err(|e| e.to_string())?;
        let mut names: Vec<String> = offers(&request.headers).map(str::to_owned).collect();
        names.push(text);
        out.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, sensitive(&names.join(", "))?);
    }
    if let Some(name) = &placement.cookie {
        let others = out.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let mut pairs: Vec<String> = others
            .flat_map(|v| v.split(';'))
            .map(|pair| pair.trim().to_owned())
            .filter(|pair| !pair.is_empty() && pair.split_once('=').is_none_or(|(n, _)| n != name))
            .collect();
        pairs.push(format!("{name}={}", token.expose()));
        out.headers.insert(header::COOKIE, sensitive(&pairs.join("; "))?);
    }
    Ok(out)
}

/// A header that no log will print.
pub(super) fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the token does not fit into a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
