//! `perennial sessions` and `perennial close` against a sidecar at work.

use perennial::admin::done::{Listed, SessionStatus};

use super::reload::relays;
use crate::{
    ably_client::{
        Format, action,
        world::{World, long_lived},
    },
    sidecar::Sidecar,
    support::{
        http::{ask, handshake},
        plain,
        service::Service,
        until,
        ws::{CLOSE, bare, close, masked, session},
    },
};

async fn listed(sidecar: &Sidecar, more: &[&str]) -> Vec<SessionStatus> {
    let arguments = [&["sessions", "--json"], more].concat();
    let (status, out, err) = sidecar.command(&arguments).await;
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    serde_json::from_str::<Listed>(&out).unwrap().sessions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_that_is_named_is_closed_and_no_other_notices() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    assert_eq!(sidecar.command(&["sessions"]).await.1, "There is no session.\n");
    let (mut first, mut its) = session(sidecar.port, &service).await;
    let (mut second, mut theirs) = session(sidecar.port, &service).await;
    let both = listed(&sidecar, &["--route", "plain"]).await;
    let [one, other] = &both[..] else { panic!("{both:?}") };
    for one in &both {
        assert_eq!((&*one.route, &*one.state, &one.credential), ("plain", "live", &None));
        assert!(one.client.starts_with("127.0.0.1:") && one.age < 60.0, "{one:?}");
    }
    let (_, table, _) = sidecar.command(&["sessions"]).await;
    assert!(table.starts_with("SESSION ") && table.contains(&format!("\n{} ", one.session)), "{table}");

    let (status, out, err) = sidecar.command(&["close", &one.session]).await;
    assert_eq!((status, &*out, &*err), (Some(0), "1 session closed.\n", ""));
    let reason = "an operator closed the session".to_owned();
    assert_eq!(first.ending().await, Some((1001, reason)));
    first.send(masked(CLOSE, &close(1001, ""))).await;
    assert_eq!(its.ending().await.map(|(code, _)| code), Some(1000));
    its.send(bare(CLOSE, &close(1000, ""))).await;
    relays(&mut second, &mut theirs).await;
    until("it to be gone", || listed(&sidecar, &[]), |left| left.len() == 1).await;
    assert_eq!(listed(&sidecar, &[]).await[0].session, other.session);
    let closed = "perennial_sessions_closed_total{reason=\"operator\",route=\"plain\"}";
    assert_eq!(sidecar.metric(closed).await, 1.0);

    for (arguments, words) in [
        (&["close", &*one.session][..], "there is no such session"),
        (&["close", "nonsense"], "there is no such session"),
        (&["close", "--credential", "00000000"], "no session is on such a credential"),
        (&["close", "--credential", "00000000", "--route", "nowhere"], "no such route; there are: plain"),
        (&["sessions", "--route", "nowhere"], "no such route; there are: plain"),
    ] {
        let (status, out, err) = sidecar.command(arguments).await;
        assert_eq!((status, &*out), (Some(1), ""), "{arguments:?}");
        assert!(err.contains("refuses (404)") && err.contains(words), "{arguments:?}: {err}");
    }
    for wrong in [&["close"][..], &["close", "x", "--credential", "y"], &["close", "x", "--route", "y"]] {
        assert_eq!(sidecar.command(wrong).await.0, Some(64), "{wrong:?}");
    }
    drop((second, theirs));
    let log = sidecar.stop().await;
    let opened = format!("\"session\":\"{}\"", one.session);
    let of_it: Vec<&str> = log.lines().filter(|line| line.contains(&opened)).collect();
    assert!(
        of_it.iter().any(|line| line.contains("WARN") && line.contains("closed by an operator")),
        "{log}"
    );
    assert!(of_it.iter().any(|line| line.contains("session closed") && line.contains("operator")), "{log}");
}

/// Each client has a credential of its own: one is closed although its client is away, the other's stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_credential_are_closed_also_one_whose_client_is_away() {
    let (service, endpoint) = (Service::start().await, Service::start().await);
    let (at, tokens) = (service.port, endpoint.port);
    let sidecar = Sidecar::start(&format!(
        "rehearsal_secret = \"open-sesame\"\n[[route]]\nname = \"jobs\"\nupstream = \"ws://127.0.0.1:{at}\"\n\
         dialect = \"handshake\"\nsession.park = \"10m\"\n[route.token]\nsource = \"http\"\n\
         url = \"http://127.0.0.1:{tokens}/\"\njson = {{ old = \"{{token}}\" }}\nshare = \"client\"\nlifetime = \"1h\"\n\
         [route.client]\ntoken = {{ query = \"token\" }}\n"
    ))
    .await;
    let come = async |target: &'static str| {
        let ((answer, client), theirs) = tokio::join!(ask(sidecar.port, handshake(target, "")), async {
            service.asked().await.accept("").await
        });
        assert_eq!(answer.status(), 101);
        (client, theirs)
    };
    let (away, mut its) = come("/a?token=one").await;
    let (mut here, mut theirs) = come("/b?token=one").await;
    let (mut other, mut others) = come("/a?token=two").await;
    drop(away);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "open-sesame").unwrap();
    let shown = ["--secret-file", secret.path().to_str().unwrap()];
    let parked = |all: &Vec<SessionStatus>| all.iter().any(|one| one.state == "parked");
    let all = until("it to be parked", || listed(&sidecar, &shown), parked).await;
    let name = all.iter().find(|one| one.state == "parked").unwrap().credential.clone().unwrap();
    assert_eq!(all.iter().filter(|one| one.credential.as_ref() == Some(&name)).count(), 2, "{all:?}");
    assert!(all.iter().all(|one| one.generation == 1), "{all:?}");

    let whom = ["close", "--credential", &name, "--route", "jobs"];
    let (status, _, err) = sidecar.command(&whom).await;
    assert!(status == Some(1) && err.contains("refuses (401)"), "without the secret: {status:?} {err}");
    let (status, out, _) = sidecar.command(&[&whom[..], &shown].concat()).await;
    assert_eq!((status, &*out), (Some(0), "2 sessions closed.\n"));
    assert_eq!(here.ending().await.map(|(code, _)| code), Some(1001));
    assert_eq!(its.ending().await, None, "its client said no Close");
    assert_eq!(theirs.ending().await.map(|(code, _)| code), Some(1000));
    relays(&mut other, &mut others).await;
}

/// An SDK is told as at a drain: it comes back at once, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_ably_client_comes_back() {
    let world = World::start(long_lived(), "").await;
    let mut client = world.client(Format::Json, "c").await;
    client.attach("one").await;
    client.expect(action::DISCONNECTED);
    client.expect_end();
    let admin = world.app.admin().port();
    let operator = "Host: localhost\r\nPerennial-Operator: yes\r\nContent-Length: 0\r\n\r\n";
    let (_, mut wire) = ask(admin, format!("GET /sessions.json HTTP/1.1\r\n{operator}")).await;
    let list: Listed = serde_json::from_slice(&wire.rest().await).unwrap();
    let close = format!("POST /close?session={} HTTP/1.1\r\n{operator}", list.sessions[0].session);
    assert_eq!(ask(admin, close).await.0.status(), 200);
    client.until("the end", |seen| seen.ended.is_some()).await;
    client.calm();
    client.seen(|seen| {
        let error = &seen.of(action::DISCONNECTED).next().unwrap()["error"];
        assert_eq!(
            (&error["code"], &error["message"]),
            (&80003.into(), &"an operator closed the session".into())
        );
        assert_eq!(seen.ended.as_ref().unwrap().0, 1000);
    });
    let key = client.key();
    client.come_back(&key).await;
    client.publish("one").await;
    world.whole(&client, "one").await;
    world.end().await;
}
