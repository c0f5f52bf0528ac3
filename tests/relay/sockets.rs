//! Where clients connect, and where the service is: several addresses, and Unix sockets.
//!
//! Broken on purpose, and caught: the first upstream alone is dialled · a host that failed is dialled first again · the
//! origin is the first host's · a Unix socket is open to all.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::{
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        plain,
        service::Service,
        soon,
        ws::{TEXT, Wire, bare, masked},
    },
};

/// Says hello to a service through this connection to the sidecar.
async fn greets(client: &mut Wire, service: &Service) {
    client.send(handshake("/", "")).await;
    let mut theirs = service.asked().await.accept("").await;
    assert_eq!(client.head().await.status(), 101);
    client.send(masked(TEXT, b"hello")).await;
    assert_eq!(theirs.message().await.text(), "hello");
}

#[tokio::test]
async fn clients_come_by_several_addresses_and_by_a_unix_socket() {
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("clients.sock");
    let listen = format!("address = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:{}\"]\n", path.display());
    let route = plain(service.port) + "forwarded = \"forwarded\"\n";
    let sidecar = Sidecar::start(&format!("[listen]\n{listen}{route}")).await;
    greets(&mut Wire::dial(sidecar.port).await, &service).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut local = Wire::new(UnixStream::connect(&path).await.unwrap());
    greets(&mut local, &service).await;
    let log = sidecar.stop().await;
    let line = log.lines().find(|line| line.contains("\"listening\"")).unwrap();
    assert!(line.contains("[::1]:") && line.contains(&format!("unix:{}", path.display())), "{line}");
    let own =
        format!("\"client\":\"unix:uid={},pid={}\"", rustix::process::getuid().as_raw(), std::process::id());
    assert!(log.contains(&own), "{log}");
    assert!(!path.exists(), "the file goes with it");
}

#[tokio::test]
async fn an_operator_asks_by_a_unix_socket() {
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("admin.sock");
    let admin = format!("[admin]\naddress = \"unix:{}\"\n", path.display());
    let sidecar = Sidecar::start(&(admin + &plain(service.port))).await;
    greets(&mut Wire::dial(sidecar.port).await, &service).await;
    for arguments in [&["probe", "live"][..], &["sessions"], &["reload"], &["status"]] {
        let at = format!("unix:{}", path.display());
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_perennial"))
            .args(arguments)
            .args(["--admin", &at])
            .kill_on_drop(true)
            .output();
        let output = soon("a command", output).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let gone = tokio::process::Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(["probe", "live", "--admin", &format!("unix:{}/none", dir.path().display())])
        .output();
    let said = String::from_utf8(soon("a command", gone).await.unwrap().stderr).unwrap();
    assert!(said.contains("nothing listens on unix:"), "{said}");
}

#[tokio::test]
async fn the_service_may_be_at_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let service = UnixListener::bind(&path).unwrap();
    let route = plain(9).replace("ws://127.0.0.1:9", "ws://app.example/base");
    let sidecar = Sidecar::start(&format!("{route}socket = \"{}\"\n", path.display())).await;
    let mut client = Wire::dial(sidecar.port).await;
    client.send(handshake("/a", "")).await;
    let mut theirs = Wire::new(soon("the sidecar", service.accept()).await.unwrap().0);
    let head = theirs.head().await;
    assert_eq!((head.target(), head.get("host")), ("/base/a", Some("app.example")));
    drop((client, theirs));
}

/// A reload opens and closes addresses; sessions of a closed one live on.
#[tokio::test]
async fn a_reload_changes_the_addresses() {
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let (old, new) = (dir.path().join("old.sock"), dir.path().join("new.sock"));
    let text = |path: &Path| {
        format!("[listen]\naddress = [\"127.0.0.1:0\", \"unix:{}\"]\n{}", path.display(), plain(service.port))
    };
    let sidecar = Sidecar::start(&text(&old)).await;
    let mut live = Wire::new(UnixStream::connect(&old).await.unwrap());
    live.send(handshake("/", "")).await;
    let mut theirs = service.asked().await.accept("").await;
    assert_eq!(live.head().await.status(), 101);
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n";
    sidecar.configure(&format!("{}{admin}", text(&new)));
    let (status, out, err) = sidecar.command(&["reload"]).await;
    assert_eq!(status, Some(0), "{out}{err}");
    greets(&mut Wire::new(UnixStream::connect(&new).await.unwrap()), &service).await;
    assert!(!old.exists());
    theirs.send(bare(TEXT, b"still here")).await;
    assert_eq!(live.message().await.text(), "still here");
}

/// A list of upstreams: as an SDK's fallback hosts. The one that failed is asked last for a while.
#[tokio::test]
async fn upstreams_are_tried_in_their_order() {
    let (first, second) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Service::start().await);
    let port = first.local_addr().unwrap().port();
    let list = format!("[\"ws://127.0.0.1:{port}\", \"ws://127.0.0.1:{}\"]", second.port);
    let route = plain(9).replace("\"ws://127.0.0.1:9\"", &list);
    let sidecar = Sidecar::start(&route).await;
    // It answers, and is not well.
    let times = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&times);
    beside(async move {
        loop {
            let mut wire = Wire::new(first.accept().await.unwrap().0);
            wire.head().await;
            count.fetch_add(1, Ordering::SeqCst);
            wire.send("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let origin = format!("Origin: http://127.0.0.1:{}\r\n", sidecar.port);
    let page = |more: &str| {
        handshake("/", more).replacen("Host: 127.0.0.1", &format!("Host: 127.0.0.1:{}", sidecar.port), 1)
    };
    for nth in 0..3 {
        let ((answer, _client), asked) = tokio::join!(ask(sidecar.port, page(&origin)), async {
            let asked = second.asked().await;
            let own = format!("http://127.0.0.1:{}", second.port);
            assert_eq!(asked.head.get("origin"), Some(&*own), "of the host that is asked");
            asked.accept("").await
        });
        assert_eq!(answer.status(), 101, "{nth}");
        drop(asked);
    }
    assert_eq!(times.load(Ordering::SeqCst), 1, "not again for a while");
    let log = sidecar.stop().await;
    assert!(log.contains("not reached at one address; trying the next"), "{log}");
}
