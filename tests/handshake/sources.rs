//! Each source that docs/tokens.md shows, run as it is there. Only addresses and paths are replaced.

use std::{collections::BTreeSet, path::Path};

use crate::{
    handshake::stage::json,
    sidecar::Sidecar,
    support::{beside, service::Service, until},
};

const TOKENS: &str = include_str!("../../docs/tokens.md");

/// The blocks of TOML that name a source.
fn blocks() -> impl Iterator<Item = &'static str> {
    let blocks = TOKENS.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("\nsource = "))
}

/// An authorization server that is content with whatever it is asked.
async fn endpoint() -> u16 {
    let service = Service::start().await;
    let port = service.port;
    beside(async move {
        loop {
            let asked = service.asked().await;
            let document = format!(
                r#"{{"issuer":"http://127.0.0.1:{port}/realms/main","token_endpoint":"http://127.0.0.1:{port}/token"}}"#
            );
            let token = r#"{"access_token":"T1","token_type":"Bearer","expires_in":3600,"refresh_token":"R1",
                            "session":{"id":"T1","seconds":3600},"data":{"accessToken":"T1","refreshToken":"R1"}}"#;
            let body = if asked.head.target().contains("/.well-known/") { &document } else { token };
            asked.answer(json(200, body)).await;
        }
    });
    port
}

fn secrets(directory: &Path) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    for (name, text) in [
        ("backend", "s"),
        ("state", "sixteen characters"),
        ("client", "s"),
        ("token", "T0"),
        ("refresh", "R0"),
        ("service", "T0"),
        ("jwt", "s"),
        ("robot.pem", &key.serialize_pem()),
        ("app.pem", &key.serialize_pem()),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn each_source_of_the_page_gives_a_token() {
    let endpoint = endpoint().await;
    let mut sources = BTreeSet::new();
    for block in blocks() {
        let directory = tempfile::tempdir().unwrap();
        secrets(directory.path());
        let at = directory.path().to_str().unwrap();
        let route = "[[route]]\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"handshake\"\n\
                     handshake = { header = \"Authorization: Bearer {token}\" }\n";
        let route = if block.starts_with("[state]") { "" } else { route };
        let configuration = format!("{route}{block}")
            .replace("https://auth.example.com", &format!("http://127.0.0.1:{endpoint}"))
            .replace("https://api.example.com/app", &format!("http://127.0.0.1:{endpoint}/app"))
            .replace("wss://feed.example.com", "ws://127.0.0.1:9")
            .replace("/var/run/secrets/tokens", at)
            .replace("/run/secrets", at)
            .replace("/var/lib/perennial", &format!("{at}/kept"))
            .replace(r#""gcloud", "auth", "print-access-token""#, r#""echo", "T0""#);
        let key = [("ABLY_KEY", "appId.keyId:secret")];
        let sidecar = Sidecar::launch(&configuration, &["--log-level", "info"], &key).await;
        until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;
        let log = sidecar.stop().await;
        assert!(log.contains("\"message\":\"token refreshed\""), "{block}\n{log}");
        let word = |key: &str| {
            let line = configuration.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
            line.map(|rest| rest.split('"').next().unwrap().to_owned())
        };
        sources.insert(word("grant").or_else(|| word("source")).unwrap());
    }
    let all = [
        "ably-key",
        "account_credentials",
        "exec",
        "file",
        "http",
        "jwt",
        "jwt_bearer",
        "oauth2",
        "refresh_token",
        "static",
        "token_exchange",
    ];
    assert_eq!(sources, all.map(str::to_owned).into());
}
