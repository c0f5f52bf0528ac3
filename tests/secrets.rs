//! No secret shows: not in a log at any level, on a page, in an error, or in the process list.
//!
//! Each secret is a canary, unique and easily found. Sessions succeed and fail in every way that might make
//! somebody say why; then everything that was said is searched, also for other spellings.

use crate::sidecar::Sidecar;
use crate::support::{
    beside,
    http::{Head, ask, handshake},
    plain,
    service::{Asked, Service},
    until,
    ws::{CLOSE, TEXT, Wire, bare, close, masked},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const TOKEN: &str = "can4ry+Token/of=the-endpoint";
const ENDPOINT_KEY: &str = "can4ry+Key/for=the-endpoint";
const ABLY_SECRET: &str = "can4ry+Secret/of=ably";
const GATE: &str = "can4ry+Gate/secret";
const CLIENT_TOKEN: &str = "can4ry+Token/of=the-client";
const CLIENT_AUTH: &str = "can4ry+Basic/of=the-client";
const COOKIE: &str = "can4ry+Cookie/of-the-client";
const ALL: [&str; 7] = [TOKEN, ENDPOINT_KEY, ABLY_SECRET, GATE, CLIENT_TOKEN, CLIENT_AUTH, COOKIE];

/// A place and a canary for each that was found in `said`.
fn found(place: &str, said: &str) -> Vec<String> {
    let decoded = percent_decode_str(said).decode_utf8_lossy();
    let unescaped = said.replace("\\/", "/").replace("\\u002b", "+").replace("\\u003d", "=");
    let mut found = Vec::new();
    for canary in ALL {
        // Wherever it may begin within other encoded bytes: what is encoded of it whatever stands around.
        let shifted = (0..3).map(|shift| {
            let text = BASE64_STANDARD.encode([&vec![b'x'; shift][..], canary.as_bytes()].concat());
            text[4..text.len() - 4].to_owned()
        });
        let url_safe = |text: String| text.replace('+', "-").replace('/', "_");
        let spellings = shifted.flat_map(|text| [url_safe(text.clone()), text]);
        let raw = [said, &decoded, &unescaped].iter().any(|text| text.contains(canary));
        if raw || spellings.into_iter().any(|text| said.contains(&text)) {
            found.push(format!("{canary} in {place}:\n{said}"));
        }
    }
    // A part of one is one too many.
    if found.is_empty() && [said, &decoded].iter().any(|text| text.contains("can4ry")) {
        found.push(format!("a part of a canary in {place}:\n{said}"));
    }
    found
}

/// A token endpoint that fails, quoting all it knows, and then gives the token.
fn endpoint(service: Service) -> u16 {
    let port = service.port;
    beside(async move {
        let quoting = format!("{{\"error\":\"{ENDPOINT_KEY} {TOKEN}\"}}");
        let bad = [
            format!("HTTP/1.1 500 {TOKEN}\r\nContent-Length: {}\r\n\r\n{quoting}", quoting.len()),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{quoting}", quoting.len()),
        ];
        let mut answers = bad.into_iter();
        loop {
            let asked = service.asked().await;
            assert_eq!(asked.head.get("x-key"), Some(ENDPOINT_KEY));
            let good = format!("{{\"token\":\"{TOKEN}\",\"expires_in\":3600}}");
            let good = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{good}", good.len());
            asked.answer(answers.next().unwrap_or(good)).await.rest().await;
        }
    });
    port
}

fn configuration(token_port: u16, port: u16) -> String {
    let ably = plain(port).replace("plain", "ably").replace("\"none\"", "\"ably\"");
    let dead = plain(9).replace("plain", "dead");
    format!(
        "[limits]\nhandshake = \"1s\"\nmessage = \"64KiB\"\n{}[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:{token_port}/token\"\n\
         headers = {{ X-Key = {{ env = \"CANARY_KEY\" }} }}\n\
         [route.handshake]\nquery = \"token\"\nheader = \"X-Token: {{token}}\"\n\
         [route.client]\nsecret = \"{GATE}\"\n\
         [route.http]\nupstream = \"http://127.0.0.1:{port}\"\ntimeout = \"1s\"\n\
         {ably}path = \"/ably\"\n[route.token]\nsource = \"ably-key\"\nkey = \"app.id:{ABLY_SECRET}\"\n\
         {dead}path = \"/dead\"\n[route.token]\nsource = \"static\"\ntoken = \"{TOKEN}\"\n\
         [route.handshake]\nquery = \"token\"\n\
         [route.http]\nupstream = \"http://127.0.0.1:9\"\n",
        plain(port)
    )
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn request(target: &str, gate: &str) -> String {
    let target = format!(
        "{target}?token={}&secret={}&key={}",
        encoded(CLIENT_TOKEN),
        encoded(gate),
        encoded(ABLY_SECRET)
    );
    handshake(&target, &format!("Authorization: Basic {CLIENT_AUTH}\r\nCookie: s={COOKIE}\r\n"))
}

/// The same, as no WebSocket; a POST is not asked again.
fn plain_request(target: &str, gate: &str) -> String {
    let request = request(target, gate).replace("GET", "POST").replace("Upgrade: websocket\r\n", "");
    let request = request.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    request.replace("Connection: Upgrade", "Connection: close")
}

/// One session: what the service answers the handshake, and what each side then says.
async fn play(
    stage: (&Sidecar, &Service),
    request: String,
    answer: impl FnOnce(&Asked) -> String,
    say: impl AsyncFnOnce(&mut Wire, &mut Wire),
) -> String {
    let (sidecar, service) = stage;
    let ((head, mut client), mut theirs) = tokio::join!(ask(sidecar.port, request), async {
        let asked = service.asked().await;
        let answer = answer(&asked);
        asked.answer(answer).await
    });
    if head.status() == 101 {
        say(&mut client, &mut theirs).await;
        return format!("{head:?}\n{:?}", client.ending().await);
    }
    format!("{head:?}\n{}", String::from_utf8_lossy(&client.rest().await))
}

/// What fails before the service is reached.
async fn alone(sidecar: &Sidecar, request: impl AsRef<[u8]>) -> String {
    let (head, mut client): (Head, Wire) = ask(sidecar.port, request).await;
    assert_ne!(head.status(), 101);
    format!("{head:?}\n{}", String::from_utf8_lossy(&client.rest().await))
}

/// The token that the service was shown.
fn shown(asked: &Asked) -> String {
    let (_, query) = asked.head.target().split_once('?').unwrap();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("accessToken=")).unwrap();
    percent_decode_str(token).decode_utf8().unwrap().into_owned()
}

/// An Ably session whose service quotes the very token; which is returned.
async fn lapse((sidecar, service): (&Sidecar, &Service)) -> String {
    let ((head, mut client), asked) = tokio::join!(ask(sidecar.port, request("/ably", "")), async {
        let asked = service.asked().await;
        let jwt = shown(&asked);
        let answer = asked.switching("");
        (jwt, asked.answer(answer).await)
    });
    assert_eq!(head.status(), 101);
    let (jwt, mut theirs) = asked;
    let message = format!("token {jwt} of {ABLY_SECRET} expired");
    let error =
        format!("{{\"action\":9,\"error\":{{\"code\":40142,\"statusCode\":401,\"message\":\"{message}\"}}}}");
    let auth = format!("{{\"action\":17,\"auth\":{{\"accessToken\":\"{CLIENT_TOKEN}\"}}}}");
    client.send(masked(TEXT, auth.as_bytes())).await;
    theirs.send(bare(TEXT, error.as_bytes())).await;
    // The next connection is made with another token, behind the client's back.
    let again = service.asked().await;
    drop((client, again));
    jwt
}

/// Plain requests whose service quotes the token wherever it can; what their clients hear.
async fn plain_requests((sidecar, service): (&Sidecar, &Service)) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let found_elsewhere = format!(
        "HTTP/1.1 302 {TOKEN}\r\nLocation: /?token={}\r\nX-Error: {TOKEN}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        encoded(TOKEN)
    );
    for (what, answer) in [
        ("a plain request", found_elsewhere.clone()),
        ("one that is refused", found_elsewhere.replace("302", "401")),
        ("one that is answered with nonsense", format!("{TOKEN}\r\n\r\n")),
        ("one whose answer breaks off", found_elsewhere.replace("h: 2", "h: 9")),
        ("one that is not answered", String::new()),
    ] {
        let answered = async { drop(service.asked().await.answer(&answer).await) };
        let (said_to_client, ()) = tokio::join!(alone(sidecar, plain_request("/", GATE)), answered);
        said.push((what.into(), said_to_client));
    }
    said
}

async fn look(arguments: &[&str], variables: &[(&str, &str)]) {
    let service = Service::start().await;
    let token_port = endpoint(Service::start().await);
    let text = configuration(token_port, service.port);
    let variables = [&[("CANARY_KEY", ENDPOINT_KEY)], variables].concat();
    let sidecar = Sidecar::launch(&text, arguments, &variables).await;
    let mut said = Vec::new();
    let pages = ["/metrics", "/", "/readyz", "/startupz", "/livez", "/nowhere"];
    for page in pages {
        said.push((format!("{page}, early"), sidecar.ask(page).await.1));
    }
    until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;

    let stage = (&sidecar, &service);
    let fine = |asked: &Asked| asked.switching(&format!("Set-Cookie: t={TOKEN}\r\n"));
    let good = || request("/", GATE);
    let refusal = |_: &Asked| {
        format!(
            "HTTP/1.1 401 No {TOKEN}\r\nLocation: /?token={}\r\nX-Error: token {TOKEN} has expired\r\nRetry-After: 1\r\n\
             Content-Length: {}\r\n\r\n{TOKEN}",
            encoded(TOKEN),
            TOKEN.len()
        )
    };
    let relayed = play(stage, good(), fine, async |client, theirs| {
        client.send(masked(TEXT, b"up")).await;
        assert_eq!(theirs.message().await.text(), "up");
        theirs.send(bare(CLOSE, &close(4001, "bye"))).await;
    });
    said.push(("a session".into(), relayed.await));
    // A newer token is asked for, and the endpoint has none: what the service said is the client's to see.
    let refused = play(stage, good(), refusal, async |_, _| {}).await;
    assert!(refused.contains("401") && refused.contains("retry-after"), "{refused}");
    said.push(("a refusal".into(), refused));
    let not101 = |asked: &Asked| asked.switching(&format!("Sec-WebSocket-Protocol: {TOKEN}\r\n"));
    said.push(("a 101 that is none".into(), play(stage, good(), not101, async |_, _| {}).await));
    let broken = play(stage, good(), fine, async |_, theirs| {
        theirs.send([&[0xf1, 60][..], TOKEN.as_bytes()].concat()).await;
    });
    said.push(("a service that breaks the protocol".into(), broken.await));
    let too_big = play(stage, good(), fine, async |client, _| {
        client.send(masked(TEXT, &TOKEN.as_bytes().repeat(5000))).await;
    });
    said.push(("a message that is too large".into(), too_big.await));
    said.extend(plain_requests(stage).await);
    let jwt = lapse(stage).await;
    for (what, bytes) in [
        ("a wrong secret", request("/", &format!("{GATE}-not"))),
        ("a service that is not there", request("/dead", GATE)),
        ("a plain request to it", plain_request("/dead", GATE)),
        ("a plain request with a wrong secret", plain_request("/", "not")),
        ("a header that is none", good().replace("Cookie:", "Cookie :")),
        ("a request that is none", format!("{CLIENT_TOKEN} {GATE}\r\n\r\n")),
        ("another method", good().replace("GET", "POST")),
    ] {
        said.push((what.into(), alone(&sidecar, bytes).await));
    }
    for page in pages {
        said.push((page.into(), sidecar.ask(page).await.1));
    }
    let id = sidecar.id();
    said.push((
        "the process list".into(),
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{id}/cmdline")).unwrap()).into_owned(),
    ));
    let log = sidecar.stop().await;
    assert!(
        log.contains("\"DEBUG\"") && log.contains("token refresh failed"),
        "it is not the whole log:\n{log}"
    );
    said.extend(log.lines().map(|line| ("the log".to_owned(), line.to_owned())));
    assert!(!log.contains(&jwt), "{jwt} in the log:\n{log}");
    let hits: Vec<String> = said.iter().flat_map(|(place, text)| found(place, text)).collect();
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_where_everything_is_logged() {
    look(&["--log-level", "trace"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_where_the_environment_says_trace() {
    look(&[], &[("PERENNIAL_LOG", "trace")]).await;
}

/// A search that finds nothing proves nothing unless it would have found something.
#[test]
fn a_canary_is_found_in_every_spelling() {
    for text in [
        TOKEN.to_owned(),
        encoded(TOKEN),
        BASE64_STANDARD.encode(format!("a:{TOKEN}:b")),
        format!("{{\"t\":\"{}\"}}", TOKEN.replace('/', "\\/")),
    ] {
        assert_eq!(found("here", &format!("before {text} after")).len(), 1, "{text}");
    }
    assert_eq!(found("here", "can4ry+Tok…").len(), 1);
    assert!(found("here", "nothing of it").is_empty());
}
