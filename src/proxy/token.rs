//! Which token a plain request goes on with.

use std::sync::Arc;

use http::StatusCode;

use super::{
    answer::{Answer, refuse},
    route::RouteContext,
};
use crate::{
    clock::Instant,
    credential::{Credential, Token},
    dialect::Request as Asked,
};

/// The credential that this request is served with and its token, `None` where the route has none, or why
/// it is not served. What the client showed in its place is taken out of `_asked`: nothing so far, since
/// its `Authorization` is replaced wherever there is a token.
pub(super) async fn token_for(
    route: &RouteContext,
    _asked: &mut Asked,
    deadline: Instant,
) -> Result<Option<(Arc<Credential>, Arc<Token>)>, Box<Answer>> {
    let Some(credential) = route.credential() else { return Ok(None) };
    match credential.usable(deadline).await {
        Some(token) => Ok(Some((Arc::clone(credential), token))),
        None => Err(Box::new(refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "no token could be fetched in time; see the log",
        ))),
    }
}
