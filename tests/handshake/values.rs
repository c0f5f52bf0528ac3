//! Values from outside that messages of a declared dialect take: a channel's token, and a signature by a command.

use super::stage::{down, json};
use crate::{
    sidecar::Sidecar,
    support::{
        service::Service,
        until,
        ws::{TEXT, Wire, bare, masked, session, session_at},
    },
};

const DIALECT: &str = r#"
[[dialect.channels.frame]]
name = "subscribe"
match = { "/op" = "sub" }
arg = "{item/channel}"
set = { "/token" = "{token.channel}" }
replay = true
key = "/channel"
answer = [{ "/ok" = "sub", "/channel" = "{key}" }]
[[dialect.channels.exchange]]
for_each = "subscribe"
source = "channel"
send = { op = "renew", channel = "{key}", token = "{token.channel}" }
ok = [{ "/ok" = "renew", "/channel" = "{key}" }]
fail = [{ "/no" = "renew", "/channel" = "{key}" }]
"#;

/// A sidecar whose channels have tokens of this source.
async fn start(service: &Service, source: &str) -> Sidecar {
    start_with(service, source, "2m").await
}

/// The same, with `session.hold`. In two minutes no test has the patience for it.
async fn start_with(service: &Service, source: &str, hold: &str) -> Sidecar {
    let port = service.port;
    Sidecar::start(&format!(
        "[[route]]\nname = \"c\"\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"channels\"\n\
         session = {{ hold = \"{hold}\" }}\n[dialect.channels.source.channel]\n{source}\n{DIALECT}"
    ))
    .await
}

async fn says(client: &mut Wire, text: &str) {
    client.send(masked(TEXT, text.as_bytes())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_has_a_token_of_its_own_which_is_renewed_in_band() {
    let (service, office) = (Service::start().await, Service::start().await);
    let source = format!(
        "source = \"http\"\nurl = \"http://127.0.0.1:{}/token?channel={{arg}}\"\nrefresh_before = \"1500ms\"",
        office.port
    );
    let sidecar = start(&service, &source).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    says(&mut client, r#"{"op":"sub","channel":"a b","token":"mine"}"#).await;
    says(&mut client, r#"{"op":"pub"}"#).await;
    let asked = office.asked().await;
    assert_eq!(asked.head.target(), "/token?channel=a%20b");
    asked.answer(json(200, r#"{"token":"C1","expires_in":2}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"a b","token":"C1"}"#);
    assert_eq!(theirs.message().await.text(), r#"{"op":"pub"}"#);
    down(&mut theirs, &mut client, r#"{"ok":"sub","channel":"a b"}"#).await;
    // Half a second later it is fetched again, and shown without a word to the client.
    office.asked().await.answer(json(200, r#"{"token":"C2","expires_in":3600}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"channel":"a b","op":"renew","token":"C2"}"#);
    theirs.send(bare(TEXT, br#"{"ok":"renew","channel":"a b"}"#)).await;
    down(&mut theirs, &mut client, r#"{"op":"news"}"#).await;
    // The next connection hears the newest one.
    drop(theirs);
    let mut theirs = service.asked().await.accept("").await;
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"a b","token":"C2"}"#);
    theirs.send(bare(TEXT, br#"{"ok":"sub","channel":"a b"}"#)).await;
    down(&mut theirs, &mut client, r#"{"op":"more"}"#).await;
    let renewed = "perennial_reauthentications_total{method=\"exchange\",outcome=\"ok\",route=\"c\"}";
    until(renewed, || sidecar.metric(renewed), |count| *count == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_share_what_a_source_gives_for_the_same() {
    let (service, office) = (Service::start().await, Service::start().await);
    let source =
        format!("source = \"http\"\nurl = \"http://127.0.0.1:{}/{{arg}}\"\nlifetime = \"1h\"", office.port);
    let sidecar = start(&service, &source).await;
    let mut sessions = Vec::new();
    for nth in 0..2 {
        let (mut client, mut theirs) = session(sidecar.port, &service).await;
        says(&mut client, r#"{"op":"sub","channel":"a"}"#).await;
        if nth == 0 {
            office.asked().await.answer(json(200, r#"{"token":"C1"}"#)).await;
        }
        assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"a","token":"C1"}"#);
        sessions.push((client, theirs));
    }
    // Another one is another's.
    let (client, theirs) = &mut sessions[1];
    says(client, r#"{"op":"sub","channel":"b"}"#).await;
    let asked = office.asked().await;
    assert_eq!(asked.head.target(), "/b");
    asked.answer(json(200, r#"{"token":"C2"}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"b","token":"C2"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_refused_holds_nobody_up() {
    let (service, office) = (Service::start().await, Service::start().await);
    let source = format!("source = \"http\"\nurl = \"http://127.0.0.1:{}/{{arg}}\"", office.port);
    let sidecar = start(&service, &source).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    says(&mut client, r#"{"op":"sub","channel":"a","token":"mine"}"#).await;
    office.asked().await.answer(json(403, r#"{"error":"forbidden"}"#)).await;
    // The service judges what the client itself has.
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"a","token":"mine"}"#);
    let log = sidecar.stop().await;
    assert!(log.contains("no value for a message"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_signs_what_it_is_asked_for() {
    let service = Service::start().await;
    let source = "source = \"exec\"\nuse = \"once\"\ncommand = [\"sh\", \"-c\", \"printf %s signed-$PERENNIAL_ARG\"]\n\
                  answer = \"text\"";
    let sidecar = start(&service, source).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    for channel in ["n1", "n2"] {
        says(&mut client, &format!(r#"{{"op":"sub","channel":"{channel}"}}"#)).await;
        let expected = format!(r#"{{"op":"sub","channel":"{channel}","token":"signed-{channel}"}}"#);
        assert_eq!(theirs.message().await.text(), expected);
        down(&mut theirs, &mut client, &format!(r#"{{"ok":"sub","channel":"{channel}"}}"#)).await;
    }
}

/// The end of a channel's token is no end of the route's token: alerts look at that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_value_is_not_the_end_of_the_token() {
    let (service, office) = (Service::start().await, Service::start().await);
    let (port, tokens) = (service.port, office.port);
    let configuration = format!(
        "[[route]]\nname = \"c\"\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"channels\"\n\
         token = {{ source = \"static\", token = {{ env = \"T\" }} }}\nhandshake = {{ query = \"token\" }}\n\
         [dialect.channels.source.channel]\nsource = \"http\"\nurl = \"http://127.0.0.1:{tokens}/{{arg}}\"\n{DIALECT}"
    );
    let sidecar = Sidecar::launch(&configuration, &[], &[("T", "route's")]).await;
    let ends = "perennial_token_expiration_timestamp_seconds{route=\"c\"}";
    let before = sidecar.metric(ends).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    says(&mut client, r#"{"op":"sub","channel":"a"}"#).await;
    office.asked().await.answer(json(200, r#"{"token":"C1","expires_in":3600}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"a","token":"C1"}"#);
    assert_eq!(sidecar.metric(ends).await, before);
    let fetched = "perennial_token_refreshes_total{outcome=\"ok\",route=\"c\",trigger=\"start\"}";
    assert_eq!(sidecar.metric(fetched).await, 2.0, "the route's and the channel's");
}

/// A value may be for its client alone: who asks otherwise is asked for apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_of_whom_the_source_is_told_do_not_share() {
    let (service, office) = (Service::start().await, Service::start().await);
    let url = format!("http://127.0.0.1:{}/{{query.user}}/{{arg}}", office.port);
    let sidecar = start(&service, &format!("source = \"http\"\nurl = \"{url}\"\nlifetime = \"1h\"")).await;
    let mut sessions = Vec::new();
    for user in ["ann", "bob"] {
        let target = format!("/?user={user}");
        let (_, mut client, mut theirs) = session_at(sidecar.port, &service, &target, "").await;
        says(&mut client, r#"{"op":"sub","channel":"a"}"#).await;
        let asked = office.asked().await;
        assert_eq!(asked.head.target(), format!("/{user}/a"));
        asked.answer(json(200, &format!(r#"{{"token":"{user}s"}}"#))).await;
        let expected = format!(r#"{{"op":"sub","channel":"a","token":"{user}s"}}"#);
        assert_eq!(theirs.message().await.text(), expected);
        sessions.push((client, theirs));
    }
}

/// The source does not answer at all: a message waits for `hold`. A value that the service refused is replaced as soon as
/// there is another, though that comes later than anybody waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_silent_costs_hold_and_no_more() {
    let (service, office) = (Service::start().await, Service::start().await);
    let source = format!(
        "source = \"http\"\nurl = \"http://127.0.0.1:{}/{{arg}}\"\nrefresh_before = \"1500ms\"",
        office.port
    );
    let sidecar = start_with(&service, &source, "500ms").await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    says(&mut client, r#"{"op":"sub","channel":"a"}"#).await;
    office.asked().await.answer(json(200, r#"{"token":"A1","expires_in":2}"#)).await;
    theirs.message().await;
    down(&mut theirs, &mut client, r#"{"ok":"sub","channel":"a"}"#).await;
    office.asked().await.answer(json(200, r#"{"token":"A2","expires_in":3600}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"channel":"a","op":"renew","token":"A2"}"#);
    theirs.send(bare(TEXT, br#"{"no":"renew","channel":"a"}"#)).await;
    let refused = office.asked().await;
    assert_eq!(refused.head.target(), "/a");
    // Asked for later, given up later: when this one goes on, nobody waits for the other any more.
    says(&mut client, r#"{"op":"sub","channel":"b","token":"mine"}"#).await;
    let silent = office.asked().await;
    assert_eq!(theirs.message().await.text(), r#"{"op":"sub","channel":"b","token":"mine"}"#);
    refused.answer(json(200, r#"{"token":"A3","expires_in":3600}"#)).await;
    assert_eq!(theirs.message().await.text(), r#"{"channel":"a","op":"renew","token":"A3"}"#);
    drop(silent);
}
