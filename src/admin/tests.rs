//! The operator's server over real loopback sockets.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

/// Connections at once.
const MOST: usize = 16;

#[derive(Default)]
struct Sidecar {
    ready: AtomicBool,
    started: AtomicBool,
    looked: AtomicUsize,
    secret: Option<Secret>,
}

impl AdminState for Sidecar {
    fn render_metrics(&self) -> String {
        "perennial_build_info 1\n".to_owned()
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Relaxed) { Ok(()) } else { Err("route ably: no token yet".to_owned()) }
    }

    fn started(&self) -> bool {
        self.started.load(Relaxed)
    }

    fn is_host(&self, name: &str) -> bool {
        name == "perennial.internal"
    }

    fn operator_secret(&self) -> Option<Secret> {
        self.secret.clone()
    }

    fn status(&self) -> Status {
        let looked = self.looked.fetch_add(1, Relaxed);
        Status { version: format!("look {looked}"), ..Status::default() }
    }

    fn sessions(&self, route: Option<&str>) -> Result<Listing, Denied> {
        let route = route.unwrap_or("all").to_owned();
        let session = move |nth| SessionStatus {
            session: format!("{nth:08x}"),
            client: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:47110".into(),
            route: route.clone(),
            credential: Some("1a2b3c4d".into()),
            state: "exchanging".into(),
            ..SessionStatus::default()
        };
        Ok(Listing { total: 100_000, sessions: Box::new((0..100_000).map(session)) })
    }

    fn close(&self, whom: Whom<'_>) -> Result<Closed, Denied> {
        match whom {
            Whom::Session("0a0a0a0a") => Ok(Closed { sessions: 1 }),
            Whom::Credential { name: "1a2b3c4d", route: Some("r") } => Ok(Closed { sessions: 7 }),
            Whom::Session(_) | Whom::Credential { .. } => Err(Denied::Unknown("no such session".into())),
        }
    }

    fn reload(&self) -> Result<oneshot::Receiver<Reloaded>, Denied> {
        let (tell, told) = oneshot::channel();
        tell.send(Reloaded::default()).unwrap();
        Ok(told)
    }

    fn rehearse(&self, action: &str, route: Option<&str>, sessions: &str) -> Result<Rehearsed, Denied> {
        match action {
            "drop" => {
                let asked =
                    done::Asked { route: route.unwrap_or("all").to_owned(), asked: 1, of: 2, follow: 0 };
                Ok(Rehearsed { action: format!("drop {sessions}"), routes: vec![asked] })
            }
            _ => Err(Denied::Unknown("no such action".to_owned())),
        }
    }
}

struct Rig {
    address: SocketAddr,
    state: Arc<Sidecar>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn server() -> Rig {
    serving(Sidecar::default()).await
}

async fn serving(sidecar: Sidecar) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(sidecar);
    let stop = CancellationToken::new();
    let listener = Arc::new(Listener::tcp(listener).unwrap());
    let task = TaskTracker::new().spawn(serve(listener, MOST, state.clone(), stop.clone()));
    Rig { address, state, stop, task }
}

impl Rig {
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(CONNECTION_TIMEOUT, stream.read_to_string(&mut answer)).await;
        read.expect("an answer with an end").unwrap();
        answer
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

#[tokio::test]
async fn health_follows_the_state_and_says_what_is_missing() {
    let server = server().await;
    for path in ["/readyz", "/ready", "/startupz", "/startup"] {
        let (status, body) = server.get(path).await;
        assert_eq!(status, 503, "{path}");
        assert!(body.contains("route ably: no token yet") && body.contains("the listener accepts"), "{body}");
    }
    for path in ["/livez", "/live", "/healthz"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    server.state.ready.store(true, Relaxed);
    server.state.started.store(true, Relaxed);
    for path in ["/readyz", "/ready", "/startupz", "/startup"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    server.state.ready.store(false, Relaxed);
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.get("/startupz").await.0, 200, "it was ready once");
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_wants_them() {
    let server = server().await;
    let answer = server.ask("GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nperennial_build_info 1\n"), "{answer}");
}

#[tokio::test]
async fn metrics_are_compressed_for_who_takes_that() {
    let server = server().await;
    for (accepts, is_encoded) in [
        ("gzip", true),
        ("deflate, gzip;q=0.5", true),
        ("GZIP; q=1", true),
        ("gzip;q=0", false),
        ("br", false),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accepts}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.contains("vary: accept-encoding"), "{head}");
        assert_eq!(head.contains("content-encoding: gzip"), is_encoded, "{accepts}: {head}");
        let mut page = String::new();
        let read = if is_encoded {
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&answer[end..]), &mut page)
        } else {
            std::io::Read::read_to_string(&mut &answer[end..], &mut page)
        };
        assert_eq!((read.is_ok(), page.as_str()), (true, "perennial_build_info 1\n"));
    }
}

#[tokio::test]
async fn only_what_reads_is_answered() {
    let server = server().await;
    let head = server.ask("HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = server.ask("POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    assert_eq!(server.get("/nowhere").await.0, 404);
    let (status, index) = server.get("/").await;
    assert_eq!(status, 200);
    for path in ["/metrics", "/readyz", "/startupz", "/livez"] {
        assert!(index.contains(path), "{index}");
    }
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_cannot_hold_the_stop() {
    let server = server().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(server.get("/livez").await.0, 200, "others are served meanwhile");
    server.stop.cancel();
    timeout(DRAIN * 5, server.task).await.expect("the stop has an end").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn strangers_that_connect_and_wait_keep_no_probe_out() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut held = Vec::new();
    for nth in 0..3 * MOST {
        let mut stranger = TcpStream::connect(server.address).await.unwrap();
        stranger.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        held.push(stranger);
        if nth % 4 == 0 {
            let probe = timeout(HEADER_TIMEOUT / 5, server.get("/livez")).await;
            assert_eq!(probe.expect("it waits for nobody").0, 200);
        }
    }
    let mut byte = [0];
    assert_eq!(held[0].read(&mut byte).await.unwrap_or(0), 0, "the first had to leave");
    stream.read_exact(&mut byte).await.expect("the page is served on");
}

#[tokio::test]
async fn a_browser_gets_the_page_and_nothing_can_be_run_beside_it() {
    let server = server().await;
    let page = server.ask("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html,*/*;q=0.8\r\n\r\n").await;
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"), "{page}");
    let policy = page.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let mut bytes = page.len();
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let part = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).await;
        assert!(part.contains(&format!("content-type: {kind}; charset=utf-8\r\n")), "{part}");
        assert!(page.contains(path.trim_start_matches('/')), "{path} is not used");
        bytes += part.len();
    }
    assert!(bytes < 100_000, "{bytes}");
}

#[tokio::test]
async fn the_status_comes_once_and_again_and_again() {
    let server = server().await;
    let (status, body) = server.get("/status.json").await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Status>(&body).unwrap().version, "look 0");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let (mut heard, mut part) = (String::new(), [0; 4096]);
    while !heard.contains("look 2") {
        let n = stream.read(&mut part).await.unwrap();
        assert!(n > 0, "it ended: {heard}");
        heard += std::str::from_utf8(&part[..n]).unwrap();
    }
    assert!(heard.contains("content-type: text/event-stream\r\n"), "{heard}");
    assert!(heard.contains("event: status\ndata: {\"version\":\"look 0\""), "what is fresh will do: {heard}");
    server.stop.cancel();
    timeout(DRAIN * 5, server.task).await.expect("a stream cannot hold the stop").unwrap();
}

#[tokio::test]
async fn who_looks_on_is_one_of_a_few() {
    let server = server().await;
    let ask = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(ask).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        streams.push(stream);
    }
    assert_eq!(server.get("/events").await.0, 503);
    assert_eq!(server.get("/status.json").await.0, 200);
}

#[tokio::test]
async fn an_operator_practises_and_a_page_does_not() {
    let server = server().await;
    let ask = |more: &str| {
        format!(
            "POST /rehearse/drop?route=a%20b&sessions=10%25 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{more}\r\n"
        )
    };
    let done = server.ask(&ask("Perennial-Operator: yes\r\n")).await;
    assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
    let done: Rehearsed = serde_json::from_str(done.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&*done.action, &*done.routes[0].route), ("drop 10%", "a b"));
    for more in [
        "",
        "Perennial-Operator: yes\r\nOrigin: http://localhost\r\n",
        "Perennial-Operator: yes\r\nSec-Fetch-Site: none\r\n",
    ] {
        let refused = server.ask(&ask(more)).await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{more}: {refused}");
    }
    let unknown = ask("Perennial-Operator: yes\r\n").replace("/drop", "/dance");
    assert!(server.ask(&unknown).await.starts_with("HTTP/1.1 404 "));
    let (get, _) = server.get("/rehearse/drop").await;
    assert_eq!(get, 405);
}

/// One guard for all of them.
#[tokio::test]
async fn whatever_an_operator_asks_for_no_page_and_no_stranger_gets() {
    let server = serving(Sidecar { secret: Some(Secret::literal("s3cret")), ..Sidecar::default() }).await;
    const OPERATOR: &str = "Perennial-Operator: yes\r\nAuthorization: Bearer s3cret\r\n";
    for (method, wrong_method, path) in [
        ("GET", "POST", "/sessions.json"),
        ("POST", "GET", "/close?session=0a0a0a0a"),
        ("POST", "GET", "/close?credential=1a2b3c4d&route=r"),
        ("POST", "GET", "/reload"),
        ("POST", "GET", "/rehearse/drop"),
    ] {
        let ask = async |method: &str, host: &str, more: &str| {
            let usual = format!("Host: {host}\r\nContent-Length: 0");
            let answer = server.ask(&format!("{method} {path} HTTP/1.1\r\n{usual}\r\n{more}\r\n")).await;
            answer[9..12].parse::<u16>().unwrap()
        };
        assert_eq!(ask(method, "localhost", OPERATOR).await, 200, "{path}");
        assert_eq!(ask(wrong_method, "localhost", OPERATOR).await, 405, "{path}");
        assert_eq!(ask(method, "localhost", "Perennial-Operator: yes\r\n").await, 401, "{path}");
        assert_eq!(ask(method, "localhost", "Authorization: Bearer s3cret\r\n").await, 403, "{path}");
        assert_eq!(ask(method, "perennial.internal", OPERATOR).await, 403, "{path}");
        let page = format!("{OPERATOR}Origin: http://localhost\r\n");
        assert_eq!(ask(method, "localhost", &page).await, 403, "{path}");
    }
    for (path, status) in [
        ("/close", 400),
        ("/close?session=0a0a0a0a&credential=1a2b3c4d", 400),
        ("/close?session=ffffffff", 404),
        ("/close?credential=1a2b3c4d", 404),
    ] {
        let ask = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{OPERATOR}\r\n");
        let answer = server.ask(&ask).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

/// As many as are listed, with the longest names, are an answer that the client takes.
#[tokio::test]
async fn the_longest_list_is_read() {
    let server = server().await;
    let client = client::AdminClient::new(client::AdminAddress::of_listener(&server.address.into()));
    let route = "r".repeat(200);
    let answer = client.list(&format!("/sessions.json?route={route}")).await.unwrap();
    let listed: done::Listed = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((listed.total, listed.sessions.len()), (100_000, 10_000));
    assert_eq!(listed.sessions[9_999].route, route);
}

#[tokio::test]
async fn of_many_on_a_machine_the_operator_is_who_shows_the_secret() {
    let ask = |more: &str| {
        let usual = "Host: localhost\r\nPerennial-Operator: yes\r\nContent-Length: 0";
        format!("POST /rehearse/drop HTTP/1.1\r\n{usual}\r\n{more}\r\n")
    };
    let server = serving(Sidecar { secret: Some(Secret::literal("s3cret")), ..Sidecar::default() }).await;
    for right in ["Authorization: Bearer s3cret\r\n", "authorization: bearer  s3cret\r\n"] {
        let done = server.ask(&ask(right)).await;
        assert!(done.starts_with("HTTP/1.1 200 "), "{right}: {done}");
    }
    for wrong in [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3crets\r\n",
        "Authorization: Bearer s3creT\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Basic s3cret\r\n",
        "X-Perennial-Secret: s3cret\r\n",
    ] {
        let refused = server.ask(&ask(wrong)).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{wrong}: {refused}");
        assert!(refused.contains("www-authenticate: Bearer\r\n") && !refused.contains("s3c"), "{refused}");
    }
    let page = server.ask(&ask("Authorization: Bearer s3cret\r\nOrigin: http://localhost\r\n")).await;
    assert!(page.starts_with("HTTP/1.1 403 "), "the secret makes no operator of a page: {page}");
    assert_eq!(server.get("/status.json").await.0, 200, "to look takes no secret");
    // What cannot be read was shown by nobody.
    let lost = Some(Secret::file("/nonexistent/secret"));
    let refused = serving(Sidecar { secret: lost, ..Sidecar::default() }).await.ask(&ask("")).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("/nonexistent/secret"), "{refused}");
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_sees_nothing_of_the_inside() {
    let server = server().await;
    server.state.ready.store(true, Relaxed);
    for (host, path, status) in [
        ("evil.example:7371", "/status.json", 403),
        ("evil.example", "/events", 403),
        ("evil.example", "/", 403),
        ("", "/status.json", 403),
        ("evil.example", "/metrics", 200),
        ("evil.example", "/readyz", 200),
        ("evil.example", "/livez", 200),
        ("perennial.internal:7371", "/status.json", 200),
        ("10.0.0.7:7371", "/status.json", 200),
        ("[::1]:7371", "/status.json", 200),
        ("LocalHost", "/", 200),
    ] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {path}: {answer}");
    }
    server.stop.cancel();
}
