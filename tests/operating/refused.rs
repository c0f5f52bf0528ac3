//! A reload that is refused changes nothing at all, and is said to be refused wherever an operator looks.

use crate::{
    operating::reload::{relays, reload, reload_whole},
    sidecar::Sidecar,
    support::{
        plain,
        service::Service,
        ws::{session, session_at},
    },
};

async fn why(sidecar: &Sidecar) -> String {
    let (_, status) = sidecar.ask("/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["reload"]["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_says_nonsense_is_named_and_the_old_one_serves() {
    let service = Service::start().await;
    let sidecar = Sidecar::start(&plain(service.port)).await;
    let (mut client, mut theirs) = session(sidecar.port, &service).await;
    for (wrong, expected) in [
        ("[[route]]\nupstream = \"ws://x\"\nwombat = 1\n", "route.wombat: unknown key"),
        ("= = =", "5:1: unquoted keys"),
        ("", "route"),
    ] {
        assert!(!reload(&sidecar, wrong).await, "{wrong}");
        let why = why(&sidecar).await;
        assert!(why.contains(expected), "{why}");
        assert_eq!(sidecar.metric("perennial_config_last_reload_successful").await, 0.0);
        relays(&mut client, &mut theirs).await;
        let (mut second, mut its) = session(sidecar.port, &service).await;
        relays(&mut second, &mut its).await;
    }
    assert!(reload(&sidecar, &plain(service.port)).await);
    assert_eq!(why(&sidecar).await, "");
    assert_eq!(sidecar.metric("perennial_config_last_reload_successful").await, 1.0);
    let log = sidecar.stop().await;
    assert_eq!(log.matches("not reloaded").count(), 3, "{log}");
}

/// One part cannot be done: no other is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_or_nothing() {
    let (old, new) = (Service::start().await, Service::start().await);
    let sidecar = Sidecar::start(&plain(old.port)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    let second = format!(
        "[[route]]\nname = \"second\"\npath = \"/second\"\nupstream = \"wss://localhost\"\ndialect = \"none\"\n[route.tls]\nca = \"{}\"\n",
        ca.path().display()
    );
    let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let elsewhere = ports.replacen("127.0.0.1:0", &taken.0.to_string(), 1);
    for (whole, expected) in [
        (format!("{ports}{}{second}", plain(new.port)), "holds no PEM certificate"),
        (format!("{elsewhere}{}", plain(new.port)), "cannot be listened on"),
        (
            format!("{ports}[state]\nstore = \"disk\"\npath = \"/nowhere\"\n{}", plain(new.port)),
            "[state] cannot change",
        ),
        (format!("{ports}[limits]\nhistory = \"1MiB\"\n{}", plain(new.port)), "limits.history cannot change"),
    ] {
        assert!(!reload_whole(&sidecar, &whole).await, "{whole}");
        let why = why(&sidecar).await;
        assert!(why.contains(expected), "{why}");
        let (_, mut client, mut theirs) = session_at(sidecar.port, &old, "/", "").await;
        relays(&mut client, &mut theirs).await;
        assert!(new.is_alone().await);
    }
}
