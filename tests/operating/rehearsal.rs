//! What an operator practises happens in earnest: the client notices nothing of it, and all of it is counted.

use std::net::SocketAddr;

use crate::{
    ably_client::{
        Format,
        world::{World, long_lived},
    },
    sidecar::Sidecar,
    support::{
        http::{Head, ask},
        plain,
        service::Service,
        ws::session,
    },
};

async fn rehearse(admin: SocketAddr, action: &str, more: &str) -> (Head, String) {
    let request = format!(
        "POST /rehearse/{action} HTTP/1.1\r\nHost: localhost\r\nPerennial-Operator: yes\r\nContent-Length: 0\r\n{more}\r\n"
    );
    let (head, mut wire) = ask(admin.port(), request).await;
    (head, String::from_utf8(wire.rest().await).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_notices_nothing_of_any_of_them() {
    for (action, resumes, generations, connects) in
        [("reauthenticate", 0, 1, 1), ("drop", 1, 1, 2), ("expire", 1, 2, 2), ("refresh", 0, 2, 1)]
    {
        let world = World::start(long_lived(), "").await;
        let client = world.client(Format::Json, "c").await;
        client.attach("one").await;
        client.publish("one").await;
        let (head, said) =
            rehearse(world.app.admin(), &format!("{action}?route=ably&sessions=100%25"), "").await;
        assert_eq!(head.status(), 200, "{said}");
        assert!(said.contains("\"asked\":1,\"of\":1"), "{said}");
        let done = |counts: &perennial::demo::service::Counts| match action {
            "drop" | "expire" => counts.resumes == resumes,
            _ => counts.auths_accepted == 1,
        };
        world.talk_until(&client, "one", done).await;
        world.whole(&client, "one").await;
        let counts = world.counts();
        assert_eq!((counts.connects, counts.resumes), (connects, resumes), "{action}");
        assert_eq!((world.generation(), counts.dead_tokens), (generations, 0), "{action}");
        assert_eq!(world.sessions_closed(), 0.0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_sessions_is_a_part() {
    let world = World::start(long_lived(), "").await;
    let mut clients = Vec::new();
    for nth in 0..10 {
        clients.push(world.client(Format::Json, &format!("c{nth}")).await);
    }
    let (_, said) = rehearse(world.app.admin(), "drop?sessions=30%25", "").await;
    assert!(said.contains("\"asked\":3,\"of\":10"), "{said}");
    world.until("three resumes", |counts| counts.resumes == 3).await;
    world.until_metric("perennial_sessions{route=\"ably\",state=\"live\"}", 10.0).await;
    assert_eq!(world.counts().resumes, 3, "and no more");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_said_to_make_none() {
    let world = World::start(long_lived(), "").await;
    let admin = world.app.admin();
    for (action, status, expected) in [
        ("dance", 404, "an action is refresh"),
        ("drop?route=nowhere", 404, "there are: ably"),
        ("drop?sessions=none", 400, "10%"),
        ("drop?sessions=0", 400, "10%"),
    ] {
        let (head, said) = rehearse(admin, action, "").await;
        assert_eq!(head.status(), status, "{action}");
        assert!(said.contains(expected), "{said}");
    }
    let (head, _) = rehearse(admin, "drop", "Origin: http://localhost\r\n").await;
    assert_eq!(head.status(), 403);
    let reload =
        "POST /reload HTTP/1.1\r\nHost: localhost\r\nPerennial-Operator: yes\r\nContent-Length: 0\r\n\r\n";
    let (head, mut wire) = ask(admin.port(), reload).await;
    let said = String::from_utf8(wire.rest().await).unwrap();
    assert!(head.status() == 403 && said.contains("without a configuration file"), "{said}");
    assert_eq!(world.counts().resumes, 0);
    world.end().await;

    let service = Service::start().await;
    let off = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\nrehearsal = false\n{}",
        plain(service.port)
    );
    let app =
        perennial::app::App::start(&perennial::config::Config::parse(&off, "test").unwrap()).await.unwrap();
    let (_client, _theirs) = session(app.address().port(), &service).await;
    let (head, said) = rehearse(app.admin(), "drop", "").await;
    assert_eq!(head.status(), 403);
    assert!(said.contains("rehearsal = false"), "{said}");
    app.stop().await;
}

/// Who tries to is in the log, and what they tried is not.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_show_the_secret_is_refused_and_named() {
    let route = "[[route]]\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"none\"\n";
    let sidecar = Sidecar::start(&format!("rehearsal_secret = \"open-sesame\"\n{route}")).await;
    let admin = ([127, 0, 0, 1], sidecar.admin).into();
    let (head, said) = rehearse(admin, "drop", "Authorization: Bearer open-says-me\r\n").await;
    assert_eq!((head.status(), head.get("www-authenticate")), (401, Some("Bearer")), "{said}");
    let (head, said) = rehearse(admin, "drop", "Authorization: Bearer open-sesame\r\n").await;
    assert_eq!(head.status(), 200, "{said}");
    let log = sidecar.stop().await;
    let line = log.lines().find(|line| line.contains("an operator's action was refused"));
    assert!(line.is_some_and(|line| line.contains("WARN") && line.contains("127.0.0.1:")), "{log}");
    assert!(!log.contains("open-s"), "{log}");
}

/// Exchanges are spread over ten seconds: they are waited for, however few there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_over_when_each_session_has_re_authenticated() {
    let world = World::start(long_lived(), "").await;
    let mut clients = Vec::new();
    for nth in 0..8 {
        clients.push(world.client(Format::Json, &format!("c{nth}")).await);
    }
    let admin = world.app.admin().to_string();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
    let output = command.args(["rehearse", "refresh", "--admin", &admin]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("1 of 1 credential of route \"ably\" fetches a new token now.\n"), "{said}");
    assert!(said.contains("re-authenticated  8 by exchange\n") && said.contains("All live again"), "{said}");
    assert_eq!(world.counts().auths_accepted, 8);
    world.end().await;
}
