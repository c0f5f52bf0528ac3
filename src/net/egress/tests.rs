//! Dials through proxies over real sockets. A proxy here connects nobody: behind its answer it is the target itself.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{config::ListenTls, net::ServerTls};

const CANARY: &str = "CANARY-7f3a";

fn soon() -> Instant {
    clock::now() + Duration::from_secs(10)
}

fn endpoint(tls: bool, host: &str, port: u16) -> Endpoint {
    Endpoint { tls, host: host.to_owned(), port, path_and_query: "/".to_owned() }
}

/// A way out by one proxy.
fn by(url: &str) -> Egress {
    Egress::of(&EgressProxy::Url(Secret::literal(url)), &|_| None).unwrap()
}

fn dialer(host: &str, egress: &Egress) -> Dialer {
    Dialer::new(&endpoint(false, host, 80), &UpstreamTls::default()).unwrap().by(egress)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads a request for a tunnel.
async fn request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const OPENED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Says back what it is told, once.
async fn echo(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    stream.write_all(&said).await.unwrap();
    stream.flush().await.unwrap();
}

async fn echoes(mut stream: Stream) {
    stream.write_all(b"ping").await.unwrap();
    stream.flush().await.unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"ping");
}

#[tokio::test]
async fn a_name_that_only_the_proxy_knows_is_reached() {
    let (listener, port) = listener().await;
    let egress = by(&format!("http://user:{CANARY}@127.0.0.1:{port}"));
    let dialer = dialer("api.invalid", &egress);
    let proxy = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let asked = request(&mut tcp).await;
        tcp.write_all(OPENED).await.unwrap();
        echo(&mut tcp).await;
        asked
    };
    let client = async { echoes(dialer.connect(soon()).await.unwrap()).await };
    let (asked, ()) = tokio::join!(proxy, client);
    assert!(asked.starts_with("CONNECT api.invalid:80 HTTP/1.1\r\nHost: api.invalid:80\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpDQU5BUlktN2YzYQ=="), "{asked}");
    let shown = format!("{egress:?} {dialer:?} {:?}", egress.way(&endpoint(false, "api.invalid", 80)));
    assert!(!shown.contains(CANARY) && !shown.contains("user"), "{shown}");
}

/// What a dial says if the proxy does this with a connection.
async fn said<F: Future<Output = ()>>(
    url: impl Fn(u16) -> String,
    patience: Duration,
    proxy: impl FnOnce(TcpStream) -> F,
) -> (DialError, u16) {
    let (listener, port) = listener().await;
    let dialer = dialer("api.invalid", &by(&url(port)));
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        proxy(tcp).await;
    };
    let dialled = dialer.connect(clock::now() + patience);
    let (opened, ()) = tokio::join!(dialled, server);
    (opened.unwrap_err(), port)
}

fn http(port: u16) -> String {
    format!("http://user:{CANARY}@127.0.0.1:{port}")
}

#[tokio::test]
async fn an_error_names_the_proxy_and_what_it_answered() {
    let ample = Duration::from_secs(10);
    let (error, port) = said(http, ample, async |mut tcp: TcpStream| {
        let asked = request(&mut tcp).await;
        let answer = format!("HTTP/1.1 407 Proxy Authentication Required\r\nX: {asked}");
        tcp.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let wanted = format!("proxy 127.0.0.1:{port}: it answered 407 to CONNECT api.invalid:80");
    assert_eq!((error.stage, error.to_string()), (Stage::Proxy, wanted));
    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");

    let (error, _) = said(http, ample, async |tcp: TcpStream| drop(tcp)).await;
    assert_eq!(error.stage, Stage::Proxy);
    let (error, _) = said(http, ample, async |mut tcp: TcpStream| {
        tcp.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let _ = tcp.read_u8().await;
    })
    .await;
    assert!(error.to_string().ends_with(": its answer is no HTTP"), "{error}");
    let socks = |port| format!("socks5://user:{CANARY}@127.0.0.1:{port}");
    let (error, _) = said(socks, ample, async |mut tcp: TcpStream| {
        tcp.write_all(&[5, 2, 1, 1]).await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert!(error.to_string().ends_with(": it refused our user and password"), "{error}");

    let (gone, port) = listener().await;
    drop(gone);
    let error = dialer("api.invalid", &by(&http(port))).connect(soon()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("proxy 127.0.0.1:{port}: connect: ")), "{error}");
    let error = dialer("api.example", &by("http://proxy.invalid:3128")).connect(soon()).await.unwrap_err();
    assert!(error.to_string().starts_with("proxy proxy.invalid:3128: resolve: "), "{error}");
}

#[tokio::test]
async fn a_proxy_that_drips_or_keeps_silent_meets_the_deadline() {
    let patience = Duration::from_millis(200);
    let (error, _) = said(http, patience, async |mut tcp: TcpStream| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
        while tcp.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(error.is_late() && error.stage == Stage::Proxy, "{error:?}");
    let socks = |port| format!("socks5h://127.0.0.1:{port}");
    let (error, _) = said(socks, patience, async |mut tcp: TcpStream| {
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert!(error.is_late() && error.stage == Stage::Proxy, "{error:?}");
}

#[tokio::test]
async fn socks_leads_to_the_target() {
    let (listener, port) = listener().await;
    let dialer = dialer("api.invalid", &by(&format!("socks5h://127.0.0.1:{port}")));
    let proxy = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = [0; 3 + 7 + 11];
        tcp.read_exact(&mut asked[..3]).await.unwrap();
        tcp.write_all(&[5, 0]).await.unwrap();
        tcp.read_exact(&mut asked[3..]).await.unwrap();
        tcp.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        echo(&mut tcp).await;
        asked
    };
    let client = async { echoes(dialer.connect(soon()).await.unwrap()).await };
    let (asked, ()) = tokio::join!(proxy, client);
    assert_eq!(&asked[8..19], b"api.invalid", "the name is left to the proxy");
}

/// A certificate for this name, and who trusts it.
fn certified(name: &str) -> (tempfile::TempDir, ServerTls, UpstreamTls) {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("certificate"), dir.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = ListenTls { certificate: certificate.clone(), key, client_ca: None };
    let server = ServerTls::load(&files, clock::now()).unwrap();
    (dir, server, UpstreamTls { ca: Some(certificate), ..UpstreamTls::default() })
}

#[tokio::test]
async fn tls_goes_through_a_proxy_that_is_itself_reached_by_tls() {
    let (listener, port) = listener().await;
    let (_a, outer, trusting_outer) = certified("localhost");
    let (_b, inner, trusting_inner) = certified("api.invalid");
    let egress = by(&format!("https://user:{CANARY}@localhost:{port}"));
    let proxy = egress.0.as_ref().unwrap().secure.as_ref().unwrap();
    // In the place of the system's roots.
    let roots = ClientTls::load(String::new(), &trusting_outer, clock::now()).unwrap();
    let (url, first) = (proxy.url.clone(), proxy.first.clone());
    let proxy = Proxy { tls: OnceLock::from(Arc::new(roots)), ..Proxy::new(url, TABLE, first) };
    let rules = Rules { secure: Some(Arc::new(proxy)), ..Rules::default() };
    let egress = Egress(Some(Arc::new(rules)));
    let dialer = Dialer::new(&endpoint(true, "api.invalid", 443), &trusting_inner).unwrap().by(&egress);
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = outer.accept(tcp, clock::now(), soon()).await.unwrap();
        let asked = request(&mut tls).await;
        tls.write_all(OPENED).await.unwrap();
        tls.flush().await.unwrap();
        let mut target = TlsAcceptor::from(inner.current(clock::now())).accept(tls).await.unwrap();
        echo(&mut target).await;
        asked
    };
    let client = async {
        let stream = dialer.connect(soon()).await.unwrap();
        assert_eq!(stream.peer().unwrap().port(), port, "what is known of the way is that to the proxy");
        assert!(stream.delivery().is_some());
        echoes(stream).await;
    };
    let (asked, ()) = tokio::join!(server, client);
    assert!(asked.starts_with("CONNECT api.invalid:443 HTTP/1.1\r\n"), "{asked}");
}

#[tokio::test]
async fn a_password_that_changed_in_its_file_counts_at_the_next_dial() {
    let (listener, port) = listener().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy");
    let write =
        |password: &str| std::fs::write(&path, format!("http://u:{password}@127.0.0.1:{port}\n")).unwrap();
    write("old");
    let egress = Egress::of(&EgressProxy::Url(Secret::file(&path)), &|_| None).unwrap();
    let dialer = dialer("api.invalid", &egress);
    let tasks = TaskTracker::new();
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    tasks.spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tell.send(request(&mut tcp).await).await.unwrap();
            tcp.write_all(OPENED).await.unwrap();
        }
    });
    // A file is looked at a few times in a second.
    let while_it_is_fresh = Duration::from_millis(300);
    for (password, encoded) in [("old", "dTpvbGQ="), ("new", "dTpuZXc=")] {
        write(password);
        tokio::time::sleep(while_it_is_fresh).await;
        dialer.connect(soon()).await.unwrap();
        let asked = told.recv().await.unwrap();
        assert!(asked.contains(&format!("Basic {encoded}\r\n")), "{password}: {asked}");
    }
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(while_it_is_fresh).await;
    let error = dialer.connect(soon()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("proxy 127.0.0.1:{port}: the file ")), "{error}");
}

fn named(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<Result<String, ()>> {
    |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok((*value).to_owned()))
}

#[test]
fn loopback_and_what_no_proxy_names_is_dialled_directly() {
    let variables = named(&[("HTTPS_PROXY", "http://u:CANARY-7f3a@p:1"), ("NO_PROXY", ".corp,10.0.0.0/8")]);
    let egress = Egress::of(&EgressProxy::Environment, &variables).unwrap();
    let way = |tls, host| egress.way(&endpoint(tls, host, 443));
    assert_eq!(way(true, "api.example"), Way::Through("http://p:1 (HTTPS_PROXY)".to_owned()));
    assert_eq!(way(false, "api.example"), Way::Direct("no proxy"));
    assert_eq!(way(true, "git.corp"), Way::Direct("NO_PROXY"));
    assert_eq!(way(true, "10.1.2.3"), Way::Direct("NO_PROXY"));
    assert_eq!(way(true, "localhost"), Way::Direct("loopback"));
    assert_eq!(way(true, "::1"), Way::Direct("loopback"));
    // A proxy of the configuration is used for both, but for the same exceptions.
    let url = EgressProxy::Url(Secret::literal("socks5://q"));
    let egress = Egress::of(&url, &variables).unwrap();
    let through = Way::Through("socks5://q:1080 ([egress] proxy)".to_owned());
    for tls in [true, false] {
        assert_eq!(egress.way(&endpoint(tls, "api.example", 443)), through);
        assert_eq!(egress.way(&endpoint(tls, "git.corp", 443)), Way::Direct("NO_PROXY"));
    }
    assert_eq!(egress.proxies(), ["socks5://q:1080 ([egress] proxy)"]);
}

#[test]
fn variables_that_do_not_count_are_known() {
    let variables = named(&[("https_proxy", "nonsense://"), ("ALL_PROXY", "p"), ("NO_PROXY", "*")]);
    let egress = Egress::of(&EgressProxy::None, &variables).unwrap();
    assert_eq!(egress.unused(), ["https_proxy", "ALL_PROXY"]);
    assert_eq!(egress.way(&endpoint(true, "api.example", 443)), Way::Direct("no proxy"));
    let error = Egress::of(&EgressProxy::Environment, &variables).unwrap_err().to_string();
    assert!(error.starts_with("the environment variable https_proxy: expected a URL"), "{error}");
    assert!(Egress::of(&EgressProxy::None, &|_| None).unwrap().unused().is_empty());
}

#[test]
fn a_dialer_is_direct_by_itself() {
    assert_eq!(Egress::default().way(&endpoint(true, "api.example", 443)), Way::Direct("no proxy"));
    assert!(Egress::default().is(&Egress::default()));
    let one = by("http://p");
    assert!(one.is(&one.clone()) && !one.is(&by("http://p")) && !one.is(&Egress::default()));
}
