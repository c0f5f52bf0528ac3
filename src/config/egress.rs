//! `[egress]`: how connections leave this machine. The URL of a proxy, read; an error quotes none of it.
//!
//! ```text
//!   proxy = "environment" | "none" | a URL, kept as a secret ──► ProxyAddress, read again at each dial
//! ```

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::{
    Secret,
    declare::{Kind, table, value},
    secret_text::SecretText,
    value::Kept,
};

table! {
    /// How connections to services and token endpoints leave this machine. Redis is always dialled directly.
    pub struct Egress {
        /// The proxy that they go through. `environment`: as the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
        /// `NO_PROXY` say. `none`: no proxy. A URL (`http://`, `https://`, `socks5://` or `socks5h://`, with user and
        /// password if it asks for them): that proxy, but for what `NO_PROXY` names. Loopback is always dialled directly.
        proxy: or Proxy = "\"environment\"";
    }
}

/// Through which proxy connections go.
#[derive(Debug, Clone, PartialEq)]
pub enum EgressProxy {
    /// As the variables of the environment say.
    Environment,
    /// None.
    None,
    /// The proxy at this URL; it was understood once already.
    Url(Secret),
}

/// The words that are no URL.
pub(super) const WORDS: &[&str] = &["environment", "none"];

value! {
    /// A word, or where the URL of a proxy is kept, which is one now.
    pub(super) Proxy: EgressProxy, Kind::Proxy, |value, at| match value.as_str() {
        Some("environment") => Ok(EgressProxy::Environment),
        Some("none") => Ok(EgressProxy::None),
        Some(_) | None => {
            let url = Kept::read(value, at)?;
            ProxyAddress::of_secret(&url).map(|_| EgressProxy::Url(url))
        }
    }
}

/// What the URL of a proxy says. `Debug` and `Display` show neither user nor password.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyAddress {
    /// What it speaks.
    pub scheme: ProxyScheme,
    /// Without brackets, also where it is an IPv6 address.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Who we are there; `None`: it does not ask.
    pub login: Option<ProxyLogin>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// CONNECT (RFC 9110 §9.3.6).
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 5 (RFC 1928), names resolved by the proxy.
    Socks5,
}

/// A user of a proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyLogin {
    /// Not empty, and without a colon (RFC 7617 §2).
    pub user: SecretText,
    /// May be empty.
    pub password: SecretText,
}

const EXPECTED: &str = "expected \"environment\", \"none\", or a URL such as http://proxy.example:3128, https://, socks5:// or \
    socks5h://, with user:password@ in front of the host if the proxy asks for them";
const EXPECTED_URL: &str =
    "expected a URL such as http://user:password@proxy.example:3128, https://, socks5:// or socks5h://";

/// A user and a password of SOCKS 5 are no longer (RFC 1929 §2).
const LONGEST_LOGIN: usize = 255;

impl ProxyAddress {
    /// Reads a URL of the configuration. An error never quotes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let address = Self::of(&url, EXPECTED)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("the URL of a proxy ends with its port: remove what is behind it".to_owned());
        }
        Ok(address)
    }

    /// The same of a URL that is kept as a secret, as it is now.
    pub fn of_secret(url: &Secret) -> Result<Self, String> {
        Self::parse(&url.reveal().map_err(|error| error.to_string())?)
    }

    /// Reads what a variable of the environment says, as other programs do: `http://` may be left out, and a path means
    /// nothing. An error never quotes it.
    pub fn of_variable(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        Self::of(&Url::parse(&whole).map_err(|_| EXPECTED_URL)?, EXPECTED_URL)
    }

    fn of(url: &Url, expected: &str) -> Result<Self, String> {
        let (scheme, usual) = match url.scheme() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            _ => return Err(expected.to_owned()),
        };
        // The parser leaves the host of a scheme that it does not know as it is.
        let host = match url.host_str().map(Host::parse) {
            Some(Ok(Host::Domain(name))) if !name.is_empty() => name,
            Some(Ok(Host::Ipv4(ip))) => ip.to_string(),
            Some(Ok(Host::Ipv6(ip))) => ip.to_string(),
            Some(Ok(Host::Domain(_)) | Err(_)) | None => return Err(expected.to_owned()),
        };
        let port = url.port().unwrap_or(usual);
        if port == 0 {
            return Err("port 0 cannot be dialled".to_owned());
        }
        Ok(Self { scheme, host, port, login: ProxyLogin::of(url)? })
    }

    /// `host:port`, as errors name it.
    pub fn socket(&self) -> String {
        socket(&self.host, self.port)
    }

    /// As `check` shows it in a file: no user, no password.
    pub(super) fn masked(&self) -> String {
        let login = if self.login.is_some() { "***@" } else { "" };
        format!("{}://{login}{}", self.scheme, self.socket())
    }
}

/// `host:port`, an IPv6 address in brackets.
pub fn socket(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl ProxyLogin {
    /// What stands before the `@`.
    fn of(url: &Url) -> Result<Option<Self>, String> {
        let [user, password] = [url.username(), url.password().unwrap_or_default()].map(decoded);
        let (user, password) = (user?, password?);
        if user.is_empty() {
            let wrong = "has a password without a user: add the user, or remove the password".to_owned();
            return if password.is_empty() { Ok(None) } else { Err(wrong) };
        }
        if user.contains(':') {
            return Err("the user has a colon in it, which no proxy can read".to_owned());
        }
        for text in [&user, &password] {
            if text.len() > LONGEST_LOGIN {
                return Err("the user or the password is longer than 255 bytes".to_owned());
            }
            if text.chars().any(char::is_control) {
                return Err("the user or the password has a line break or worse in it".to_owned());
            }
        }
        Ok(Some(Self { user, password }))
    }
}

fn decoded(text: &str) -> Result<SecretText, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned().into())
        .map_err(|_| "the user or the password is not UTF-8 text".to_owned())
}

impl fmt::Display for ProxyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        })
    }
}

/// For people: a URL without user and password.
impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.socket())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const CANARY: &str = "CANARY-7f3a";

    #[test]
    fn a_url_becomes_an_address() {
        let of = |text| ProxyAddress::parse(text).unwrap();
        for (text, shown) in [
            ("http://proxy.corp:3128", "http://proxy.corp:3128"),
            ("http://Proxy.Corp", "http://proxy.corp:80"),
            ("https://proxy.corp/", "https://proxy.corp:443"),
            ("socks5h://proxy.corp", "socks5://proxy.corp:1080"),
            ("socks5://[fd00::1]:9", "socks5://[fd00::1]:9"),
            ("http://u:p@10.0.0.1:80", "http://10.0.0.1:80"),
        ] {
            assert_eq!(of(text).to_string(), shown);
        }
        let login = of("http://u%40corp:p%3A%2F@proxy:1").login.unwrap();
        assert_eq!((&*login.user, &*login.password), ("u@corp", "p:/"));
        assert_eq!(&*of("socks5://u@proxy").login.unwrap().password, "");
        assert_eq!(of("http://u:p@proxy").masked(), "http://***@proxy:80");
    }

    #[test]
    fn a_variable_may_say_less() {
        let of = |text: &str| ProxyAddress::of_variable(text).map(|address| address.to_string());
        assert_eq!(of("proxy.corp:3128").as_deref(), Ok("http://proxy.corp:3128"));
        assert_eq!(of(" u:p@proxy.corp ").as_deref(), Ok("http://proxy.corp:80"));
        assert_eq!(of("http://proxy.corp/path").as_deref(), Ok("http://proxy.corp:80"));
        assert!(of("socks4://proxy").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_and_not_quoted() {
        for text in [
            "",
            "proxy.corp:3128",
            "CANARY-7f3a",
            "ftp://u:CANARY-7f3a@proxy",
            "http://u:CANARY-7f3a@",
            "http://u:CANARY-7f3a@proxy:0",
            "http://u:CANARY-7f3a@proxy:99999",
            "http://u:CANARY-7f3a@proxy/x",
            "http://u:CANARY-7f3a@proxy?x",
            "http://:CANARY-7f3a@proxy",
            "http://u%3Ab:CANARY-7f3a@proxy",
            "http://u:CANARY-7f3a%0A@proxy",
            "http://u:CANARY-7f3a%ff@proxy",
            &format!("socks5://u:CANARY-7f3a{}@proxy", "x".repeat(250)),
        ] {
            let error = ProxyAddress::parse(text).unwrap_err();
            assert!(!error.contains(CANARY), "{error}");
            let error = Config::parse(&file(&format!("\"{text}\"")), "t").unwrap_err().to_string();
            assert!(error.starts_with("t:2:9: egress.proxy: "), "{text}: {error}");
            assert!(!error.contains(CANARY), "{error}");
        }
        // Without a scheme, what stands before the colon looks like one.
        assert!(ProxyAddress::parse("proxy.corp:3128").unwrap_err().contains("http://proxy.example:3128"));
        let shown = format!("{:?}", ProxyAddress::parse("http://CANARY-7f3a:CANARY-7f3a@proxy").unwrap());
        assert!(!shown.contains(CANARY), "{shown}");
    }

    fn file(proxy: &str) -> String {
        format!("[egress]\nproxy = {proxy}\n[[route]]\nupstream = \"wss://h.example\"\ndialect = \"none\"")
    }

    #[test]
    fn the_table_takes_words_and_urls_from_anywhere_secrets_are() {
        let of = |proxy: &str| Config::parse(&file(proxy), "t").map(|config| config.egress.proxy);
        assert_eq!(of("\"environment\""), Ok(EgressProxy::Environment));
        assert_eq!(of("\"none\""), Ok(EgressProxy::None));
        let without = Config::parse("[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"", "t").unwrap();
        assert_eq!(without.egress.proxy, EgressProxy::Environment);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy");
        std::fs::write(&path, "http://u:p@proxy.corp\n").unwrap();
        let written = format!("{{ file = '{}' }}", path.display());
        assert_eq!(of(&written), Ok(EgressProxy::Url(Secret::file(&path))));
        let error = of("{ env = \"CARGO_PKG_NAME\" }").unwrap_err().to_string();
        assert!(error.contains("egress.proxy: expected \"environment\""), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(of(&written).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn the_page_shows_the_proxy_and_no_password() {
        let page = Config::effective_text(&file("\"http://u:CANARY-7f3a@proxy:3128\""), "t").unwrap();
        assert!(page.contains("proxy = \"http://***@proxy:3128\""), "{page}");
        assert!(!page.contains(CANARY), "{page}");
        let page = Config::effective_text(&file("\"none\""), "t").unwrap();
        assert!(page.contains("proxy = \"none\""), "{page}");
    }
}
