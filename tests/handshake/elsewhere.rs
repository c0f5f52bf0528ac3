//! A source that says with each token where the service is: the token is the URL.

use crate::{
    handshake::stage::{json, up},
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
    },
};

/// Gives a URL that leads to the service, with a number in it that counts the answers.
async fn office(scheme: &'static str, service: u16) -> u16 {
    let office = Service::start().await;
    let port = office.port;
    beside(async move {
        for nth in 1.. {
            let url = format!("{scheme}://localhost:{service}/link/?ticket=K{nth}");
            office.asked().await.answer(json(200, &format!(r#"{{"ok":true,"url":"{url}"}}"#))).await;
        }
    });
    port
}

/// `upstream` leads nowhere.
async fn start(office: u16) -> Sidecar {
    Sidecar::start(&format!(
        "[[route]]\nname = \"t\"\nupstream = \"ws://127.0.0.1:9\"\ndialect = \"handshake\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{office}/open\"\nuse = \"once\"\n\
         answer = {{ token = \"/url\" }}\n[route.handshake]\nurl = \"{{token}}\"\n"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_goes_where_its_token_says() {
    let service = Service::start().await;
    let sidecar = start(office("ws", service.port).await).await;
    let (answer, asked) = tokio::join!(ask(sidecar.port, handshake("/?debug=1", "")), async {
        let asked = service.asked().await;
        (asked.head.target().to_owned(), asked.head.get("host").map(str::to_owned), asked.accept("").await)
    });
    let (answer, mut client) = answer;
    assert_eq!(answer.status(), 101);
    let (target, host, mut theirs) = asked;
    assert_eq!(target, "/link/?ticket=K1&debug=1");
    assert_eq!(host, Some(format!("localhost:{}", service.port)));
    up(&mut client, &mut theirs, "hello").await;
    // The connection is lost: the next one goes where the next token says.
    drop(theirs);
    let asked = service.asked().await;
    assert_eq!(asked.head.target(), "/link/?ticket=K2&debug=1");
    let mut theirs = asked.accept("").await;
    up(&mut client, &mut theirs, "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_of_another_scheme_is_not_dialled() {
    let service = Service::start().await;
    for scheme in ["wss", "http"] {
        let sidecar = start(office(scheme, service.port).await).await;
        let (answer, _) = ask(sidecar.port, handshake("/", "")).await;
        assert_eq!(answer.status(), 502, "{scheme}");
        assert!(service.is_alone().await);
        let log = sidecar.stop().await;
        assert!(!log.contains("ticket"), "{log}");
    }
}
