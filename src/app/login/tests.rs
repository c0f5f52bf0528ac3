//! What is refused before anybody is asked.

use super::*;

fn config(refresh_token: &str, more: &str) -> Config {
    let text = format!(
        "[[route]]\nname = \"r\"\nupstream = \"wss://h\"\ndialect = \"handshake\"\nhandshake.query = \"t\"\n\
         [route.token]\nsource = \"oauth2\"\nclient_id = \"me\"\n\
         issuer = \"http://127.0.0.1:9\"\n{refresh_token}\n{more}"
    );
    Config::parse(&text, "t").unwrap_or_else(|errors| panic!("{errors}"))
}

async fn said(config: &Config, name: Option<&str>) -> Result<String, String> {
    match begin(config, name, &Options::default()).await {
        Ok(begun) => panic!("{begun:?}"),
        Err(LoginError::Usage(message)) => Ok(message),
        Err(LoginError::Failed(message)) => Err(message),
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_refused_before_anybody_is_asked() {
    let rotating = "grant = \"refresh_token\"\nrefresh_token = ";
    for (value, place) in [
        ("\"CANARY\"", "stands in the configuration itself"),
        ("{ env = \"CARGO_PKG_NAME\" }", "is in the environment variable CARGO_PKG_NAME"),
    ] {
        let config = config(&format!("{rotating}{value}"), "");
        assert_eq!(
            said(&config, Some("r")).await.unwrap(),
            format!(
                "route \"r\": its refresh_token {place}, which a login cannot change; write refresh_token = {{ file = \
                 \"PATH\" }}"
            )
        );
    }
    let none = config(&format!("{rotating}{{ file = \"/nonexistent/refresh\" }}"), "");
    let message = said(&none, None).await.unwrap_err();
    assert!(message.contains("no file can be made in /nonexistent"), "{message}");
}

#[tokio::test]
async fn a_route_that_no_login_is_for_is_told_of() {
    let plain = config("client_secret = \"x\"", "");
    let message = said(&plain, Some("r")).await.unwrap();
    assert!(
        message.starts_with("route \"r\": it has grant = \"client_credentials\", and a login is for"),
        "{message}"
    );
    assert!(said(&plain, Some("other")).await.unwrap().contains("there is no route \"other\""));
    let text = "[[route]]\nname = \"s\"\nupstream = \"wss://h\"\ndialect = \"ably\"\n\
                token = { source = \"static\", token = \"CANARY\" }";
    let message = said(&Config::parse(text, "t").unwrap(), None).await.unwrap();
    assert!(message.starts_with("route \"s\": it has source = \"static\""), "{message}");
}

#[tokio::test]
async fn a_server_that_is_away_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refresh");
    let config = config(
        &format!("grant = \"refresh_token\"\nrefresh_token = {{ file = \"{}\" }}", path.display()),
        "",
    );
    let message = said(&config, None).await.unwrap_err();
    assert!(message.starts_with("route \"r\": discovery at 127.0.0.1:9: "), "{message}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
