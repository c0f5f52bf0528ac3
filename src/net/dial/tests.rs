use tokio::net::TcpListener;

use super::*;

fn endpoint(host: &str, port: u16, tls: bool) -> Endpoint {
    Endpoint { tls, host: host.to_owned(), port, path_and_query: "/".to_owned() }
}

fn dialer(host: &str, port: u16) -> Dialer {
    Dialer::new(&endpoint(host, port, false), &UpstreamTls::default()).unwrap()
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn a_connection_is_tuned() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = dialer("127.0.0.1", port).connect(soon()).await.unwrap();
    let tcp = stream.tcp().unwrap();
    assert!(tcp.nodelay().unwrap());
    assert!(SockRef::from(tcp).keepalive().unwrap());
}

#[tokio::test]
async fn a_refusal_names_stage_and_host() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = dialer("127.0.0.1", port).connect(soon()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Connect);
    assert!(error.to_string().starts_with(&format!("connect to 127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said() {
    let error = dialer("nowhere.invalid", 80).connect(soon()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Resolve);
}

#[tokio::test]
async fn a_silent_tls_peer_meets_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_dir, tls) = trusting("localhost");
    let dialer = Dialer::new(&endpoint("127.0.0.1", port, true), &tls).unwrap();
    let error = dialer.connect(clock::now() + Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.stage, error.cause.kind()), (Stage::Tls, io::ErrorKind::TimedOut));
    drop(listener);
}

/// Listeners at two addresses of one port.
async fn twins() -> [TcpListener; 2] {
    loop {
        let one = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(other) = TcpListener::bind(("127.0.0.3", port)).await {
            return [one, other];
        }
    }
}

fn at_both(dialer: Dialer) -> Dialer {
    dialer.known_at(|| vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()])
}

#[tokio::test]
async fn an_address_that_fails_behind_tcp_is_last_at_the_next_dial() {
    let [deaf, _living] = twins().await;
    let (_dir, tls) = trusting("localhost");
    let port = deaf.local_addr().unwrap().port();
    let dialer = at_both(Dialer::new(&endpoint("twins", port, true), &tls).unwrap());
    let mut tried = Vec::new();
    for _ in 0..4 {
        // Neither says a word. The kernel takes the connection all the same.
        let error = dialer.connect(clock::now() + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.stage, Stage::Tls);
        let first = dialer.blamed.turns(
            &["127.0.0.2:1", "127.0.0.3:1"].map(|one| {
                let mut address: SocketAddr = one.parse().unwrap();
                address.set_port(port);
                address
            }),
            clock::now(),
        )[0];
        tried.push(first.address.ip().to_string());
    }
    assert_eq!(tried, ["127.0.0.3", "127.0.0.2", "127.0.0.3", "127.0.0.2"], "they take turns");
}

#[tokio::test]
async fn what_its_user_blames_is_last_for_each_clone() {
    let [deaf, living] = twins().await;
    let port = deaf.local_addr().unwrap().port();
    let dialer = at_both(dialer("twins", port));
    let stream = dialer.connect(soon()).await.unwrap();
    assert_eq!(stream.peer(), Some(deaf.local_addr().unwrap()));
    dialer.clone().blame(stream.peer());
    for same in [dialer.clone(), dialer.at("twins", port, &UpstreamTls::default()).unwrap(), dialer] {
        let stream = same.connect(soon()).await.unwrap();
        assert_eq!(stream.peer(), Some(living.local_addr().unwrap()));
    }
}

/// One authority that is trusted, in a file.
fn trusting(name: &str) -> (tempfile::TempDir, UpstreamTls) {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    (dir, UpstreamTls { ca: Some(ca), ..UpstreamTls::default() })
}

#[test]
fn another_host_has_to_have_its_own_name_or_the_one_that_is_set() {
    let named = |server_name: Option<&str>| {
        let (_dir, tls) = trusting("localhost");
        let tls = UpstreamTls { server_name: server_name.map(str::to_owned), ..tls };
        let one = Dialer::new(&endpoint("one", 1, true), &tls).unwrap();
        assert!(server_name.is_some() || one.at("no name", 2, &tls).is_err());
        let other = one.at("10.0.0.2", 2, &tls).unwrap();
        (other.authority(), other.server_name().unwrap().into_owned())
    };
    assert_eq!(named(None), ("10.0.0.2:2".to_owned(), "10.0.0.2".to_owned()));
    assert_eq!(named(Some("set")), ("10.0.0.2:2".to_owned(), "set".to_owned()));
    let plain = dialer("one", 1).at("no name", 2, &UpstreamTls::default()).unwrap();
    assert_eq!((plain.authority().as_str(), plain.server_name()), ("no name:2", None));
}

#[test]
fn the_authority_is_what_host_says() {
    assert_eq!(dialer("::1", 7370).authority(), "[::1]:7370");
    assert_eq!(dialer("example.com", 80).authority(), "example.com");
}
