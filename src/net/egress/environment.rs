//! The variables of the environment that name proxies, as other programs read them.
//!
//! | variable | |
//! |---|---|
//! | `HTTPS_PROXY` | for `wss://` and `https://` |
//! | `HTTP_PROXY` | for `ws://` and `http://`; not in a CGI script (`REQUEST_METHOD` is set), where a client may set it |
//! | `ALL_PROXY` | if that one is not set |
//! | `NO_PROXY` | what is dialled directly all the same |
//!
//! Each has a sister in lower case, which goes before it. An empty variable counts as not set. An error names the
//! variable and quotes nothing of it.

use crate::config::{ProxyAddress, Secret};

use super::{EgressError, Proxy, exempt::Exempt};

/// What the variables say.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// For TLS.
    pub(super) secure: Option<Proxy>,
    /// For what goes in the clear.
    pub(super) plain: Option<Proxy>,
}

/// The value of a variable, if it is set and not empty; the error: it is no text.
pub(super) type Get<'g> = &'g dyn Fn(&str) -> Option<Result<String, ()>>;

/// A variable: its name and its value.
type Named = (&'static str, Result<String, ()>);

const HTTPS: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const HTTP: [&str; 2] = ["http_proxy", "HTTP_PROXY"];
const ALL: [&str; 2] = ["all_proxy", "ALL_PROXY"];
const NO: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Which proxies they name.
pub(super) fn read(get: Get<'_>) -> Result<Variables, EgressError> {
    let all = first(get, &ALL);
    let of = |names: &[&'static str]| first(get, names).or_else(|| all.clone()).map(proxy).transpose();
    Ok(Variables { secure: of(&HTTPS)?, plain: of(http(get))? })
}

/// What `NO_PROXY` says.
pub(super) fn exempt(get: Get<'_>) -> Exempt {
    // What is no text names nobody.
    first(get, &NO).and_then(|(_, value)| value.ok()).map_or_else(Exempt::default, |list| Exempt::read(&list))
}

/// The names of those that are set and name a proxy.
pub(super) fn set(get: Get<'_>) -> Vec<&'static str> {
    [&HTTPS[..], http(get), &ALL].into_iter().filter_map(|names| Some(first(get, names)?.0)).collect()
}

/// A CGI script finds a client's header `Proxy` in `HTTP_PROXY`.
fn http(get: Get<'_>) -> &'static [&'static str] {
    if get("REQUEST_METHOD").is_some() { &HTTP[..1] } else { &HTTP }
}

fn first(get: Get<'_>, names: &[&'static str]) -> Option<Named> {
    names.iter().find_map(|name| Some((*name, get(name)?)))
}

fn proxy((name, value): Named) -> Result<Proxy, EgressError> {
    let wrong = |what: String| EgressError { from: format!("the environment variable {name}"), what };
    let value = value.map_err(|()| wrong("is not UTF-8 text".to_owned()))?;
    let address = ProxyAddress::of_variable(&value).map_err(wrong)?;
    Ok(Proxy::new(Secret::literal(&value), name, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said with these variables: of TLS, and of what goes in the clear.
    fn said(variables: &[(&str, &str)]) -> Result<[String; 2], String> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1).filter(|value| !value.is_empty()).map(|value| Ok(value.to_owned()))
        };
        let read = read(&get).map_err(|error| error.to_string())?;
        Ok([read.secure, read.plain].map(|proxy| proxy.map_or_else(String::new, |proxy| proxy.to_string())))
    }

    fn both(secure: &str, plain: &str) -> Result<[String; 2], String> {
        Ok([secure.to_owned(), plain.to_owned()])
    }

    #[test]
    fn the_variables_are_read_as_by_others() {
        assert_eq!(said(&[]), both("", ""));
        assert_eq!(said(&[("HTTPS_PROXY", "http://a:1")]), both("http://a:1 (HTTPS_PROXY)", ""));
        assert_eq!(said(&[("HTTP_PROXY", "a:1")]), both("", "http://a:1 (HTTP_PROXY)"));
        let all = ("ALL_PROXY", "socks5://s");
        let socks = "socks5://s:1080 (ALL_PROXY)";
        assert_eq!(said(&[all]), both(socks, socks));
        assert_eq!(said(&[all, ("HTTP_PROXY", "a")]), both(socks, "http://a:80 (HTTP_PROXY)"));
        let lower = [("https_proxy", "l"), ("HTTPS_PROXY", "u"), ("all_proxy", "m"), ("ALL_PROXY", "v")];
        assert_eq!(said(&lower), both("http://l:80 (https_proxy)", "http://m:80 (all_proxy)"));
        assert_eq!(said(&[("https_proxy", ""), ("HTTPS_PROXY", "u")]), both("http://u:80 (HTTPS_PROXY)", ""));
    }

    #[test]
    fn in_a_cgi_script_a_client_does_not_choose_the_proxy() {
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(said(&[cgi, ("HTTP_PROXY", "evil")]), both("", ""));
        assert_eq!(said(&[cgi, ("http_proxy", "good")]), both("", "http://good:80 (http_proxy)"));
        assert_eq!(said(&[cgi, ("HTTPS_PROXY", "good")]), both("http://good:80 (HTTPS_PROXY)", ""));
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        for value in ["ftp://CANARY@proxy", "http://", "http://u:CANARY@proxy:0"] {
            for name in ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"] {
                let error = said(&[(name, value)]).unwrap_err();
                assert!(error.contains(name) && !error.contains("CANARY"), "{error}");
            }
        }
        let no_text = |name: &str| (name == "HTTPS_PROXY").then_some(Err(()));
        assert_eq!(
            read(&no_text).unwrap_err().to_string(),
            "the environment variable HTTPS_PROXY: is not UTF-8 text"
        );
    }
}
