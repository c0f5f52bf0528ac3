//! Where a login asks, and in which way.
//!
//! ```text
//!   --way, or the option that only one way has ──► that way
//!   device_authorization_endpoint in the metadata ─► device, else browser
//! ```
//!
//! An address on the command line wins over the metadata. The way that is not taken is not looked at: what is wrong with
//! its address harms nobody.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{LoginError, Options};
use crate::{
    clock::{Instant, Now},
    config::{AuthorizationServer, Endpoint, OAuth2Source},
    credential::source::oauth2::{TokenEndpoint, discovery::Discovery},
    net::{Dialer, Egress},
};

const DEVICE: &str = "device_authorization_endpoint";
const BROWSER: &str = "authorization_endpoint";

/// How a person lets the client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a code that is entered anywhere (RFC 8628).
    Device,
    /// By a browser of this machine (RFC 8252, RFC 7636).
    Browser,
}

/// What was found.
pub(super) struct Places {
    pub(super) token: Arc<TokenEndpoint>,
    pub(super) way: Found,
}

/// The way, and where it begins.
pub(super) enum Found {
    Device(TokenEndpoint),
    /// `issuer`: who answers, if that is known.
    Browser {
        url: String,
        issuer: Option<String>,
    },
}

/// Finds them, without a request if the configuration and the command line name all of them.
pub(super) async fn find(
    source: &OAuth2Source,
    (options, egress): (&Options, &Egress),
    now: Now,
    deadline: Instant,
) -> Result<Places, LoginError> {
    let chosen = chosen(options)?;
    match &source.server {
        AuthorizationServer::TokenUrl(address) => {
            let token = TokenEndpoint {
                dialer: Dialer::new(&address.endpoint, &source.tls)?.by(egress),
                target: address.endpoint.path_and_query.clone(),
                url: address.text.clone(),
            };
            let Some(way) = chosen else { return Err(no_address()) };
            let given = given(source, options, egress, way)?.ok_or_else(no_address)?;
            Ok(Places { token: Arc::new(token), way: found(way, given, None) })
        }
        AuthorizationServer::Issuer(issuer) => {
            let discovery = Discovery::new(issuer, &source.tls, egress)?;
            let document = discovery.document(now, deadline).await?;
            let token = discovery.endpoint(&document).map_err(|what| discovery.failed(&what))?;
            discovery.look_at_auth(&document, &source.client_auth);
            let way =
                chosen.unwrap_or_else(|| if has(&document, DEVICE) { Way::Device } else { Way::Browser });
            let address = match given(source, options, egress, way)? {
                Some(given) => given,
                None => of_document(&discovery, &document, way)?,
            };
            Ok(Places { token: Arc::new(token), way: found(way, address, Some(issuer.text.clone())) })
        }
    }
}

fn found(way: Way, endpoint: TokenEndpoint, issuer: Option<String>) -> Found {
    match way {
        Way::Device => Found::Device(endpoint),
        Way::Browser => Found::Browser { url: endpoint.url, issuer },
    }
}

/// The way that the command line means.
fn chosen(options: &Options) -> Result<Option<Way>, LoginError> {
    let device = options.device_url.as_ref().map(|_| "--device-url");
    let browser = options.authorize_url.as_ref().map(|_| "--authorize-url");
    let browser = browser.or_else(|| options.port.map(|_| "--port"));
    let wrong = |option: &str, way: &str| {
        Err(LoginError::Usage(format!("{option} has no effect with --way {way}; leave one of the two out")))
    };
    match (options.way, device, browser) {
        (Some(Way::Device), _, Some(option)) => wrong(option, "device"),
        (Some(Way::Browser), Some(option), _) => wrong(option, "browser"),
        (None, Some(one), Some(other)) => Err(LoginError::Usage(format!(
            "{one} is for the device flow, and {other} for a browser; leave one of the two out"
        ))),
        (Some(way), _, _) => Ok(Some(way)),
        (None, Some(_), None) => Ok(Some(Way::Device)),
        (None, None, Some(_)) => Ok(Some(Way::Browser)),
        (None, None, None) => Ok(None),
    }
}

/// The address of the command line.
fn given(
    source: &OAuth2Source,
    options: &Options,
    egress: &Egress,
    way: Way,
) -> Result<Option<TokenEndpoint>, LoginError> {
    let (option, url) = match way {
        Way::Device => ("--device-url", &options.device_url),
        Way::Browser => ("--authorize-url", &options.authorize_url),
    };
    let Some(url) = url else { return Ok(None) };
    let wrong = |what: &str| LoginError::Usage(format!("{option}: {what}"));
    let endpoint = Endpoint::of_server(url).map_err(|what| wrong(&what))?;
    let server = &source.server.address().endpoint;
    if server.tls && !endpoint.tls {
        return Err(wrong("is not https://, and the server of the configuration is"));
    }
    let mut tls = source.tls.clone();
    if endpoint.host != server.host {
        // That name was meant for the configured server alone.
        tls.server_name = None;
    }
    let dialer = Dialer::new(&endpoint, &tls)?.by(egress);
    Ok(Some(TokenEndpoint { dialer, target: endpoint.path_and_query, url: url.clone() }))
}

fn of_document(
    discovery: &Discovery,
    document: &Map<String, Value>,
    way: Way,
) -> Result<TokenEndpoint, LoginError> {
    let (name, option, other) = match way {
        Way::Device => (DEVICE, "--device-url", "--way browser"),
        Way::Browser => (BROWSER, "--authorize-url", "--way device"),
    };
    discovery.named(document, name).map_err(|what| {
        let failed = discovery.failed(&what).reason;
        LoginError::failed(format!("{failed}; add {option} URL, or try {other}"))
    })
}

fn has(document: &Map<String, Value>, name: &str) -> bool {
    document.get(name).is_some_and(|value| !value.is_null())
}

fn no_address() -> LoginError {
    LoginError::Usage(
        "the configuration has token_url, which names no other address: add --device-url URL or --authorize-url URL, \
         or write issuer in the place of token_url to have them found"
            .to_owned(),
    )
}
