//! Clients' own tokens, swaps and parking: what is understood, and what is refused and how.

use super::*;

const JOBS: &str = r#"
[[route]]
upstream = "wss://jobs.test"
dialect = "handshake"
[route.token]
source = "http"
url = "https://jobs.test/{query.jobId}/refresh?by={header.X-User}"
json = { old = "{token}", first = "{client.token}" }
share = "client"
identity = "{query.jobId}"
[route.client]
token = { query = "token", subprotocol = "auth.", header = "Authorization", cookie = "session" }
grace = "1m"
revoke_for = "1h"
[route.handshake]
header = "X-Token: {token}"
greeting = { type = "reconnected", again = true }
[route.session]
park = "30s"
overlap = "discard"
swap = "break"
"#;

fn refused(text: &str) -> String {
    Config::parse(text, "p").expect_err(text).to_string()
}

#[test]
fn a_service_with_tokens_of_its_clients_is_understood() {
    let config = parse(JOBS);
    let route = &config.routes[0];
    assert_eq!(route.dialect, DialectKind::Handshake);
    let token = route.token.as_ref().unwrap();
    let Share::Client { identity: Some(identity) } = &token.share else { panic!("{token:?}") };
    assert_eq!(identity.shown(true), "{query.jobId}");
    let SourceConfig::Http(http) = &token.source else { panic!("{token:?}") };
    assert_eq!(http.endpoint.host, "jobs.test");
    let values = |name: &Name| Some(if *name == Name::Query("jobId".into()) { "7 8" } else { "a&b" });
    assert_eq!(http.target.expand(Place::Url, &values).unwrap(), "/7%208/refresh?by=a%26b");
    for climbs in ["..", "../admin", "7/8", "%2e%2e", "..%252fadmin"] {
        assert!(http.target.expand(Place::Url, &|_| Some(climbs)).is_err(), "{climbs}");
    }
    let places = route.client.token.as_ref().unwrap();
    let (name, before) = places.header.as_ref().unwrap();
    assert_eq!((name.as_str(), &*before.before), ("authorization", "Bearer "));
    assert_eq!(
        (places.query.as_deref(), places.subprotocol.as_ref().map(|carried| &*carried.before)),
        (Some("token"), Some("auth."))
    );
    assert_eq!(places.cookie.as_deref(), Some("session"));
    let minute = Duration::from_secs(60);
    assert_eq!((route.client.grace, route.client.revoke_for), (minute, 60 * minute));
    let greeting = route.handshake.greeting.as_ref().unwrap();
    assert_eq!(serde_json::to_string(greeting).unwrap(), r#"{"again":true,"type":"reconnected"}"#);
    let SessionPolicy { park, overlap, swap, .. } = route.session;
    assert_eq!((park, overlap, swap), (minute / 2, Overlap::Discard, Swap::Break));
}

#[test]
fn what_is_shown_of_it_is_the_same_again() {
    let printed = again(JOBS);
    assert!(printed.contains("json = { first = \"{client.token}\", old = \"{token}\" }"), "{printed}");
}

#[test]
fn an_identity_that_is_the_token_alone_needs_no_words() {
    let own = JOBS.replace("identity = \"{query.jobId}\"", "identity = \"{client.token}\"");
    let token = parse(&own).routes[0].token.clone().unwrap();
    assert!(matches!(token.share, Share::Client { identity: None }));
}

#[test]
fn what_does_not_go_together_is_said() {
    for (from, to, said) in [
        ("grace = \"1m\"", "grace = \"2h\"", "route.client.revoke_for: must be at least as long as grace"),
        (
            "share = \"client\"\nidentity = \"{query.jobId}\"\n",
            "",
            "{query.jobId} has no value: the token is the route's",
        ),
        (
            "{query.jobId}\"\n[route.client]",
            "7\"\n[route.client]",
            "route.token.identity: names nothing of the request",
        ),
        (
            "{query.jobId}\"\n[route.client]",
            "{token}\"\n[route.client]",
            "write {client.token} for what the client shows",
        ),
        ("https://jobs.test/", "https://{query.host}/", "a name cannot stand in the host"),
        (
            "subprotocol = \"auth.\"",
            "subprotocol = \"auth.{query.x}\"",
            "expected what stands before the token",
        ),
        ("header = \"Authorization\"", "header = \"X-A: {token}, b\"", "with the token at its end"),
        ("header = \"Authorization\"", "header = \"Upgrade\"", "belongs to the connection"),
        (
            "greeting = { type = \"reconnected\", again = true }",
            "greeting = {}",
            "expected members of a JSON object",
        ),
        ("swap = \"break\"", "swap = \"brek\"", "did you mean \"break\"?"),
        ("dialect = \"handshake\"", "dialect = \"none\"", "route.session.park: has no effect"),
    ] {
        assert!(JOBS.contains(from), "{from}");
        let refusal = refused(&JOBS.replace(from, to));
        assert!(refusal.contains(said), "{to}\nsaid: {refusal}");
    }
    let everybodys =
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\n[route.handshake]\nquery = \"t\"\n";
    for (more, said) in [
        (
            "[route.token]\nsource = \"file\"\npath = \"/x\"\nshare = \"client\"\nidentity = \"{query.id}\"",
            "needs a source that can tell clients apart",
        ),
        (
            "[route.token]\nsource = \"http\"\nurl = \"https://h\"\nshare = \"client\"",
            "needs to know whose a token is",
        ),
        (
            "[route.token]\nsource = \"http\"\nurl = \"https://h\"\n[route.client]\ngrace = \"1m\"",
            "route.client.grace: has no effect",
        ),
        (
            "[route.token]\nsource = \"http\"\nurl = \"https://h\"\n[route.session]\npark = \"1m\"",
            "nothing else tells whose the upstream is",
        ),
    ] {
        let refusal = refused(&format!("{everybodys}{more}"));
        assert!(refusal.contains(said), "{more}\nsaid: {refusal}");
    }
}

#[test]
fn a_token_of_a_clients_own_closes_a_listener_beyond_loopback() {
    let open = |text: &str| format!("[listen]\naddress = \"0.0.0.0:7370\"\n{text}");
    parse(&open(JOBS));
    let shared = "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\n[route.token]\nsource = \"http\"\n\
                  url = \"https://h\"\n[route.client]\ntoken = { query = \"token\" }\n";
    // Nobody looks at what a client shows where all are served with the same.
    assert!(refused(&open(shared)).contains("lets anyone in"));
}
