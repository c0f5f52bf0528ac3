//! What is said of tokens, and of command lines that do not fit.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

const LOW: &str = "upstream = \"wss://h\"\ndialect = \"ably\"\n";

fn config(text: &str) -> Config {
    Config::parse(text, "p").unwrap_or_else(|errors| panic!("{errors}"))
}

/// Two routes with a token each, and one without.
fn several() -> Config {
    config(&format!(
        "[[route]]\nname = \"one\"\n{LOW}token = {{ source = \"static\", token = \"CANARY\" }}\n\
         [[route]]\nname = \"two\"\npath = \"/two\"\n{LOW}token = {{ source = \"exec\", command = [\"false\"] }}\n\
         [[route]]\nname = \"plain\"\npath = \"/plain\"\nupstream = \"wss://h\"\ndialect = \"none\"\n"
    ))
}

fn asking(route: Option<&str>) -> Wanted<'_> {
    Wanted { route, query: &[], headers: &[], client_token: None }
}

async fn usage(config: &Config, wanted: Wanted<'_>) -> String {
    match fetch(config, wanted).await {
        Err(TokenError::Usage(message)) => message,
        Err(TokenError::Failed(message)) => panic!("not of the command line: {message}"),
        Ok(page) => panic!("{page:?}"),
    }
}

/// The page of a command that prints this, of a route with these keys.
async fn page(output: &str, keys: &str) -> Page {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("output");
    std::fs::write(&path, output).unwrap();
    let path = path.to_str().unwrap();
    let config = config(&format!(
        "[[route]]\n{LOW}[route.token]\nsource = \"exec\"\ncommand = [\"cat\", \"{path}\"]\n{keys}"
    ));
    fetch(&config, asking(None)).await.unwrap_or_else(|error| panic!("{error}"))
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.Q0FOQVJZ", part(&json!({"alg": "RS256", "typ": "JWT", "kid": "CANARY"})), part(claims))
}

fn row<'t>(table: &'t str, name: &str) -> &'t str {
    let line = table.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{table}")).strip_prefix(name).unwrap().trim()
}

#[tokio::test]
async fn a_route_that_is_not_meant_is_told_of() {
    let config = several();
    let none = usage(&config, asking(None)).await;
    assert_eq!(none, "which route? Those with a token are: one, two");
    let unknown = usage(&config, asking(Some("on\u{1b}e"))).await;
    assert_eq!(unknown, "there is no route \"on\\u{1b}e\"; those with a token: one, two");
    let plain = usage(&config, asking(Some("plain"))).await;
    assert_eq!(plain, "route \"plain\" has no token: it has no [route.token]; those with one: one, two");
    assert!(matches!(fetch(&config, asking(Some("one"))).await, Ok(page) if !page.is_expired()));
    let failed = fetch(&config, asking(Some("two"))).await.unwrap_err();
    assert!(
        matches!(&failed, TokenError::Failed(said) if said.starts_with("route \"two\": false ended with status 1"))
    );
    assert!(failed.to_string().contains("it may pass by itself"));
}

#[tokio::test]
async fn a_jwt_is_described_and_not_shown() {
    let end = Now::read().wall.as_secs() + 3600;
    let token = jwt(&json!({
        "iss": "https://issuer.example.com", "aud": ["a", "b"], "sub": "me\u{1b}[2J", "scope": "x".repeat(500),
        "iat": 1_800_000_000, "exp": end, "secret_claim": "CANARY",
    }));
    let page = page(&token, "").await;
    let table = page.table();
    assert_eq!(row(&table, "route"), "ably");
    assert_eq!(row(&table, "source"), "exec cat");
    assert_eq!(row(&table, "kind"), "JWT, alg RS256, typ JWT");
    assert_eq!(row(&table, "length"), format!("{} bytes", token.len()));
    assert!(
        row(&table, "expires").starts_with("in 59m5") || row(&table, "expires").starts_with("in 1h"),
        "{table}"
    );
    assert!(row(&table, "expires").ends_with("Z; told by the token"), "{table}");
    assert_eq!((row(&table, "iss"), row(&table, "aud")), ("https://issuer.example.com", "[\"a\",\"b\"]"));
    assert_eq!((row(&table, "sub"), row(&table, "iat")), ("me\\u{1b}[2J", "2027-01-15T08:00:00Z"));
    assert!(row(&table, "scope").ends_with("xx…") && table.len() < 1500, "{table}");
    assert_eq!(row(&table, "refresh token"), "none came with it");
    let json: Value = serde_json::from_str(&page.json()).unwrap();
    assert_eq!((&json["kind"], &json["alg"]), (&"jwt".into(), &"RS256".into()));
    assert_eq!((&json["expires_told_by"], &json["refresh_token"]), (&"token".into(), &false.into()));
    let left = json["expires_in_s"].as_i64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    for said in [table, page.json(), format!("{page:?}")] {
        assert!(!said.contains("CANARY") && !said.contains("Q0FOQVJZ"), "{said}");
        assert!(!said.contains(&token[..20]), "{said}");
    }
}

#[tokio::test]
async fn who_told_of_the_end_is_said() {
    let answer = page(r#"{"access_token":"CANARY","expires_in":7200}"#, "").await;
    let table = answer.table();
    assert_eq!(row(&table, "kind"), "opaque");
    assert!(row(&table, "expires").starts_with("in 1h59m5") || row(&table, "expires").starts_with("in 2h,"));
    assert!(table.contains("told by the answer"), "{table}");
    // printf CANARY | sha256sum
    assert!(row(&table, "fingerprint").starts_with("fe0344af "), "{table}");
    let assumed = page("CANARY", "lifetime = \"1h\"\n").await.table();
    assert!(row(&assumed, "expires").ends_with("assumed, by lifetime in [route.token]"), "{assumed}");
    let nobody = page("CANARY", "").await;
    assert!(row(&nobody.table(), "expires").starts_with("nobody told"));
    let json: Value = serde_json::from_str(&nobody.json()).unwrap();
    assert_eq!((&json["expires_at"], &json["expires_told_by"]), (&Value::Null, &Value::Null));
    let dead = page(&jwt(&json!({"exp": 1_000_000_000})), "").await;
    assert!(dead.is_expired() && dead.table().contains(" ago, 2001-09-09T01:46:40Z; told by the token"));
}

#[tokio::test]
async fn what_a_client_would_have_is_asked_for_by_its_option() {
    let text = format!(
        "[[route]]\n{}[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:9/{{query.user}}\"\n\
         form = {{ a = \"{{query.kind}}\", e = \"{{query.kind}}\", b = \"{{client.token}}\", c = \"{{header.X-Who}}\", d = \"{{token}}\" }}\n\
         share = \"client\"\nidentity = \"{{query.tab}}\"\n[route.client]\ntoken = {{ query = \"t\" }}\n\
         [route.handshake]\nquery = \"t\"\n",
        LOW.replace("ably", "none")
    );
    let config = config(&text);
    let said = usage(&config, asking(None)).await;
    for way_out in [
        "{query.user}",
        "--query user=VALUE",
        "--query kind=VALUE",
        "--client-token-file FILE",
        "--header x-who=VALUE",
    ] {
        assert_eq!(said.matches(way_out).count(), 1, "{way_out} in {said}");
    }
    assert!(!said.contains("{token}") && !said.contains("tab"), "{said}");
    let pair = |name: &str| vec![(name.to_owned(), "CANARY".to_owned())];
    let (query, headers) = (pair("usr"), pair("X-Who"));
    let said = usage(&config, Wanted { query: &query, headers: &headers, ..asking(None) }).await;
    assert!(said.contains("--query: nothing in [route.token] names {query.usr}; leave it out"), "{said}");
    assert!(!said.contains("x-who") && !said.contains("CANARY"), "{said}");
    let missing = Wanted { client_token: Some(Path::new("/nonexistent/token")), ..asking(None) };
    let said = usage(&config, missing).await;
    assert!(said.contains("--client-token-file: the file /nonexistent/token cannot be read"), "{said}");
}

#[tokio::test]
async fn a_refresh_token_is_not_asked_with_where_nothing_keeps_what_comes_of_it() {
    let rotating = "source = \"oauth2\"\ntoken_url = \"http://127.0.0.1:9/token\"\ngrant = \"refresh_token\"\n\
                    client_id = \"sidecar\"\nrefresh_token = \"CANARY\"\n";
    let rotating = config(&format!("[[route]]\nname = \"one\"\n{LOW}[route.token]\n{rotating}"));
    let said = usage(&rotating, asking(None)).await;
    assert!(said.contains("would use up its refresh token") && said.contains("store = \"disk\""), "{said}");
}

/// What is said of a source that answers so: by HTTP, in full.
async fn said_of(answer: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let config = config(&format!("[[route]]\n{LOW}[route.token]\nsource = \"http\"\nurl = \"{url}\"\n"));
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let (failed, ()) = tokio::join!(fetch(&config, asking(None)), serve);
    failed.unwrap_err().to_string()
}

#[tokio::test]
async fn a_wrong_address_is_told_from_a_fault_that_passes() {
    const WRONG: &str = "asking again does not fix it: is `url` in [route.token] right?";
    const PASSES: &str = "it may pass by itself: `perennial run` asks again";
    for (answer, way_out) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", WRONG),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 22\r\n\r\n{\"error\":\"no such path\"}", WRONG),
        ("HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n", WRONG),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", WRONG),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>", WRONG),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"foo\":1}", WRONG),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]", WRONG),
        ("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", PASSES),
        ("HTTP/1.1 404 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", PASSES),
        ("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", PASSES),
        ("", PASSES),
        ("HTTP/1.1 401 X\r\ncontent-length: 2\r\n\r\nno", "at the secrets it names"),
    ] {
        let said = Box::pin(said_of(answer)).await;
        assert!(said.contains(way_out) && !said.contains("mend"), "{answer}\n{said}");
        assert_eq!(said.matches("asking again").count() + said.matches("it may pass").count(), 1, "{said}");
    }
    let command = |output: &str| {
        config(&format!(
            "[[route]]\n{LOW}[route.token]\nsource = \"exec\"\ncommand = [\"echo\", '{output}']\n"
        ))
    };
    let said = fetch(&command(r#"{"foo":1}"#), asking(None)).await.unwrap_err().to_string();
    assert!(said.contains("does not fix it: look at what the command prints"), "{said}");
    let nobody =
        config(&format!("[[route]]\n{LOW}token = {{ source = \"http\", url = \"http://127.0.0.1:9/\" }}\n"));
    let said = fetch(&nobody, asking(None)).await.unwrap_err().to_string();
    assert!(said.contains(PASSES), "{said}");
}
