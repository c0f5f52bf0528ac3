//! `use = "once"`: a ticket can be shown once. Each handshake has one of its own, fetched for it, and nothing is
//! scheduled.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    handshake::stage::{down, json, up},
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
        until,
        ws::{CLOSE, bare, close, session_at},
    },
};

/// Tickets that end after a second, `K1`, `K2` and so on; for whom each was given.
async fn office() -> (u16, Arc<Mutex<Vec<String>>>) {
    let (service, given) = (Service::start().await, Arc::new(Mutex::new(Vec::new())));
    let (port, count) = (service.port, Arc::clone(&given));
    beside(async move {
        loop {
            let asked = service.asked().await;
            let number = {
                let mut given = count.lock().unwrap();
                given.push(asked.head.target().to_owned());
                given.len()
            };
            let ticket = format!(r#"{{"token":"K{number}","expires_in":1}}"#);
            asked.answer(json(200, &ticket)).await;
        }
    });
    (port, given)
}

async fn start(service: &Service, tokens: u16, more: &str) -> Sidecar {
    let port = service.port;
    Sidecar::start(&format!(
        "[[route]]\nname = \"t\"\nupstream = \"ws://127.0.0.1:{port}\"\ndialect = \"handshake\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{tokens}/ticket/{{query.user}}\"\nuse = \"once\"\n\
         [route.handshake]\nquery = \"ticket\"\n{more}"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_handshake_has_a_ticket_of_its_own() {
    let (service, (tokens, given)) = (Service::start().await, office().await);
    let sidecar = start(&service, tokens, "").await;
    assert_eq!(given.lock().unwrap().len(), 0, "nothing is fetched before it is needed");
    let comes = async |user: &str| {
        let target = format!("/ws?user={user}");
        let (answer, theirs) = tokio::join!(ask(sidecar.port, handshake(&target, "")), async {
            let asked = service.asked().await;
            (asked.head.target().to_owned(), asked.accept("").await)
        });
        assert_eq!(answer.0.status(), 101);
        (answer.1, theirs)
    };
    let (mut client, (shown, mut theirs)) = comes("a").await;
    assert_eq!(shown, "/ws?user=a&ticket=K1");
    let (_other, (shown, _its)) = comes("a").await;
    assert_eq!(shown, "/ws?user=a&ticket=K2", "the same user, and another handshake");
    // The ticket ends after one second of real time, and the session goes on.
    let ended = "perennial_sessions_closed_total{reason=\"token_expired\",route=\"t\"}";
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    up(&mut client, &mut theirs, "still there").await;
    assert_eq!((sidecar.metric(ended).await, given.lock().unwrap().len()), (0.0, 2));
    // The connection is lost: the next one has a ticket of its own.
    drop(theirs);
    let asked = service.asked().await;
    assert_eq!(asked.head.target(), "/ws?user=a&ticket=K3");
    let mut theirs = asked.accept("").await;
    up(&mut client, &mut theirs, "again").await;
    down(&mut theirs, &mut client, "and back").await;
    assert_eq!(*given.lock().unwrap(), ["/ticket/a", "/ticket/a", "/ticket/a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_may_have_been_seen_is_not_shown_again() {
    let (service, (tokens, given)) = (Service::start().await, office().await);
    let sidecar = start(&service, tokens, "").await;
    let tries = AtomicUsize::new(0);
    let (answer, mut theirs) = tokio::join!(ask(sidecar.port, handshake("/ws?user=a", "")), async {
        // It hangs up, it refuses, and then it lets in.
        drop(service.asked().await);
        service.asked().await.answer("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
        tries.fetch_add(2, Ordering::Relaxed);
        let asked = service.asked().await;
        assert_eq!(asked.head.target(), "/ws?user=a&ticket=K3");
        asked.accept("").await
    });
    let (head, mut client) = answer;
    assert_eq!((head.status(), tries.load(Ordering::Relaxed)), (101, 2));
    // A loss, and two dials that come to nothing: each has its own.
    theirs.send(bare(CLOSE, &close(1012, ""))).await;
    drop(theirs);
    for number in 4..6 {
        let asked = service.asked().await;
        assert_eq!(asked.head.target(), format!("/ws?user=a&ticket=K{number}"));
        drop(asked);
    }
    let asked = service.asked().await;
    assert_eq!(asked.head.target(), "/ws?user=a&ticket=K6");
    let mut theirs = asked.accept("").await;
    up(&mut client, &mut theirs, "again").await;
    assert_eq!(given.lock().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_clients_is_exchanged_for_a_ticket() {
    let (service, (tokens, given)) = (Service::start().await, office().await);
    let more = "[route.client]\ntoken.query = \"token\"\n";
    let sidecar = start(&service, tokens, more).await;
    let (_, _client, _theirs) = session_at(sidecar.port, &service, "/ws?user=a&token=OWN", "").await;
    until("the ticket", async || given.lock().unwrap().len(), |count| *count == 1).await;
    let live = "perennial_sessions{route=\"t\",state=\"live\"}";
    until(live, || sidecar.metric(live), |live| *live == 1.0).await;
}
