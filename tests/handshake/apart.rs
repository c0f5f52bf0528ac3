//! Credentials do not mix: what one client, one route or one command has is no other's.

use crate::{
    handshake::stage::json,
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
        until,
    },
};

/// An endpoint that gives who asks for whom a token of that name, if the password is right.
async fn endpoint() -> u16 {
    let endpoint = Service::start().await;
    let port = endpoint.port;
    beside(async move {
        loop {
            let asked = endpoint.asked().await;
            let answer = match asked.head.get("authorization") {
                Some("right") => json(200, r#"{"token":"TOKEN-OF-ALICE","expires_in":3600}"#),
                _ => json(401, "{}"),
            };
            asked.answer(answer).await;
        }
    });
    port
}

/// Who names another client's identity, and not the rest that its token is asked for with, has no part in its token.
#[tokio::test]
async fn a_client_joins_no_other_with_other_values() {
    let (service, tokens) = (Service::start().await, endpoint().await);
    let sidecar = Sidecar::start(&format!(
        "[limits]\nhandshake = \"2s\"\n[[route]]\nname = \"r\"\nupstream = \"ws://127.0.0.1:{}\"\ndialect = \"handshake\"\n\
         [route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{tokens}/token\"\nshare = \"client\"\n\
         identity = \"{{query.user}}\"\nheaders = {{ Authorization = \"{{header.x-backend-auth}}\" }}\n\
         [route.handshake]\nheader = \"Authorization: Bearer {{token}}\"\n",
        service.port
    ))
    .await;
    let comes = |auth: &str| {
        let request = handshake("/ws?user=alice", &format!("X-Backend-Auth: {auth}\r\n"));
        ask(sidecar.port, request)
    };
    let ((answer, alice), theirs) = tokio::join!(comes("right"), async {
        let asked = service.asked().await;
        assert_eq!(asked.head.get("authorization"), Some("Bearer TOKEN-OF-ALICE"));
        asked.accept("").await
    });
    assert_eq!(answer.status(), 101);
    let (_, mut mallory) = comes("wrong").await;
    assert_eq!(mallory.ending().await, Some((1008, "Token expired".to_owned())));
    assert!(service.is_alone().await, "the service was dialled for mallory");
    drop((alice, theirs));
}

/// A command has its own secrets in its environment and no other, and cannot show what it should not know.
#[tokio::test]
async fn a_command_knows_its_own_secrets_only() {
    let service = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    let file = directory.path().join("secret");
    std::fs::write(&file, "canary-in-a-file\n").unwrap();
    let script = format!(
        "env >'{}'; echo \"I am $GATE and $(cat '{}')\" >&2; echo T0",
        seen.display(),
        file.display()
    );
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"ws://127.0.0.1:{}\"\n{more}",
            service.port
        )
    };
    let own = route(
        "own",
        &format!(
            "dialect = \"handshake\"\n[route.token]\nsource = \"exec\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n\
             env = {{ OWN = {{ env = \"OWN_SECRET\" }} }}\n[route.handshake]\nquery = \"t\"\n"
        ),
    );
    let other = route(
        "other",
        &format!(
            "dialect = \"none\"\n[route.client]\nsecret = {{ env = \"GATE\" }}\n{}dialect = \"none\"\n[route.client]\n\
             secret = {{ file = '{}' }}\n",
            route("third", ""),
            file.display()
        ),
    );
    let variables = [
        ("GATE", "canary-of-the-gate"),
        ("OWN_SECRET", "its-own"),
        ("NOTIFY_SOCKET", "@none"),
        ("PLAIN", "p"),
    ];
    let sidecar = Sidecar::launch(&format!("{own}{other}"), &["--log-level", "debug"], &variables).await;
    until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("OWN=its-own") && seen.contains("PLAIN=p"), "{seen}");
    for canary in ["canary-of-the-gate", "GATE=", "OWN_SECRET=", "NOTIFY_SOCKET"] {
        assert!(!seen.contains(canary), "the command sees {canary}:\n{seen}");
    }
    let status = sidecar.ask("/status.json").await.1;
    let log = sidecar.stop().await;
    assert!(log.contains("I am"), "{log}");
    assert!(!log.contains("canary") && !status.contains("canary"), "{log}\n{status}");
}
