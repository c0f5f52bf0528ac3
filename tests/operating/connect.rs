//! `perennial check --connect`: what sources and services say to a configuration.

use std::path::Path;

use perennial::demo::service::{Service as Ably, ServiceHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    ably_client::world::long_lived,
    support::{
        service::Service,
        ws::{CLOSE, bare, close},
    },
};

/// A directory with this configuration in it.
fn written(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("perennial.toml"), text).unwrap();
    directory
}

/// Status, the lines behind the configuration, and what went to stderr.
async fn check(directory: &Path, arguments: &[&str], key: &str) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.args(["check", "--connect"]).args(arguments).current_dir(directory).env("ABLY_KEY", key);
    for name in ["PERENNIAL_CONFIG", "PERENNIAL_LOG"] {
        command.env_remove(name);
    }
    let output = command.kill_on_drop(true).output().await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let lines = out.split_once("\nroute \"").map_or(String::new(), |(_, lines)| format!("route \"{lines}"));
    (output.status.code(), lines, err)
}

/// Without how long a fetch took.
fn timeless(line: &str) -> String {
    match (line.split_once(" in "), line.split_once(" ms;")) {
        (Some((before, _)), Some((_, behind))) => format!("{before};{behind}"),
        (None, _) | (_, None) => line.to_owned(),
    }
}

async fn ably() -> ServiceHandle {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Ably::start(listener, long_lived(), &CancellationToken::new()).unwrap()
}

fn ably_route(service: &ServiceHandle) -> String {
    let at = service.address();
    format!(
        "[[route]]\nname = \"ably\"\nupstream = \"ws://{at}\"\ndialect = \"ably\"\n\
         token = {{ source = \"ably-key\", key = {{ env = \"ABLY_KEY\" }} }}\n"
    )
}

/// The commonest first mistake: a token is made of the wrong key here, and only the service knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_seen_with_the_words_of_the_service() {
    let service = ably().await;
    let directory = written(&ably_route(&service));
    let key = service.key().expose().to_string();
    let (status, lines, err) = check(directory.path(), &[], &key).await;
    assert_eq!((status, &*err), (Some(0), ""), "{lines}");
    assert!(lines.starts_with("route \"ably\": good: a token from ably-key in "), "{lines}");
    assert!(lines.ends_with("; the service answered 101 and then CONNECTED\n"), "{lines}");

    let wrong = format!("{}:wrong", key.split_once(':').unwrap().0);
    let (status, lines, err) = check(directory.path(), &[], &wrong).await;
    assert_eq!((status, &*err), (Some(1), ""), "{lines}");
    assert!(
        lines.starts_with("route \"ably\": bad: ") && lines.contains(" 101 and then ERROR 40101 "),
        "{lines}"
    );
    assert!(!lines.contains(":wrong"), "{lines}");
    service.stop().await;
}

/// One after the other, whatever becomes of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_tried_and_says_what_it_was_answered() {
    let (service, endpoint) = (Service::start().await, Service::start().await);
    let (at, tokens) = (service.port, endpoint.port);
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"ws://127.0.0.1:{at}\"\n{more}\n"
        )
    };
    let handshake = "dialect = \"handshake\"\nhandshake.query = \"t\"\n[route.token]\n";
    let text = [
        route("bare", "dialect = \"none\""),
        route("deny", &format!("{handshake}source = \"static\"\ntoken = \"s3cret-token\"")),
        route("late", &format!("{handshake}source = \"static\"\ntoken = \"s3cret-token\"")),
        route("lost", &format!("{handshake}source = \"http\"\nurl = \"http://127.0.0.1:{tokens}/wrong\"")),
        route("user", &format!("{handshake}source = \"http\"\nurl = \"http://127.0.0.1:{tokens}/{{query.user}}\"\nshare = \"client\"\nidentity = \"{{query.user}}\"")),
        route("mine", "dialect = \"handshake\"\n[route.token]\nsource = \"http\"\nurl = \"http://127.0.0.1:9/{token}\"\nshare = \"client\"\n[route.client]\ntoken = { header = \"Authorization\" }"),
        route("once", &format!("{handshake}source = \"oauth2\"\ntoken_url = \"http://127.0.0.1:{tokens}/\"\nclient_id = \"c\"\ngrant = \"refresh_token\"\nrefresh_token = \"s3cret-refresh\"")),
    ]
    .concat();
    let directory = written(&text);
    let served = async {
        let asked = service.asked().await;
        assert_eq!(asked.head.target(), "/bare");
        let mut open = asked.accept("").await;
        assert_eq!(open.ending().await.map(|(code, _)| code), Some(1000), "it is told goodbye");
        drop(open);
        let denied = service.asked().await;
        assert_eq!(denied.head.target(), "/deny?t=s3cret-token");
        denied.answer(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
        let mut late = service.asked().await.accept("").await;
        late.send(bare(CLOSE, &close(4401, "s3cret-token is over"))).await;
        assert_eq!(late.ending().await.map(|(code, _)| code), Some(1000));
        drop(late);
        endpoint.asked().await.answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
    };
    let (said, ()) = tokio::join!(check(directory.path(), &[], ""), served);
    let (status, lines, _) = said;
    let expected = [
        "route \"bare\": good: no token; the service answered 101",
        "route \"deny\": bad: a token from static; the service answered 401 Unauthorized",
        "route \"late\": bad: a token from static; the service answered 101 and then Close 4401 […] is over",
        "route \"lost\": bad: no token: the source answered 404 Not Found",
        "           asking again does not fix it: is `url` in [route.token] right? If the token has another name in the answer, say it in `answer`",
        "route \"user\": skipped: its source is asked with {query.user}, which a client would have; add --query user=VALUE, or --query-file user=FILE",
        "route \"mine\": skipped: its clients show a token of their own; add --client-token-file FILE",
        "route \"once\": skipped: asking would use up its refresh token, and nothing would keep what comes for it: set store = \"disk\" in [state]",
    ];
    assert_eq!(lines.lines().map(timeless).collect::<Vec<_>>(), expected);
    assert_eq!(status, Some(1));
    assert!(service.is_alone().await && endpoint.is_alone().await, "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_would_have_is_shown_as_a_client_does() {
    let service = Service::start().await;
    let at = service.port;
    let directory = written(&format!(
        "[[route]]\nname = \"own\"\nupstream = \"ws://127.0.0.1:{at}/base\"\ndialect = \"handshake\"\n[route.token]\n\
         source = \"http\"\nurl = \"http://127.0.0.1:9/{{token}}\"\nshare = \"client\"\n\
         [route.client]\ntoken = {{ header = \"Authorization\" }}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"ws://127.0.0.1:{at}\"\ndialect = \"none\"\n"
    ));
    std::fs::write(directory.path().join("token"), "s3cret-own\n").unwrap();
    let arguments = [
        "--route",
        "own",
        "--path",
        "/ws?a=1",
        "--query",
        "jobId=7",
        "--header",
        "X-Who=me",
        "--client-token-file",
        "token",
    ];
    let served = async {
        let asked = service.asked().await;
        assert_eq!(asked.head.target(), "/base/ws?a=1&jobId=7");
        assert_eq!(asked.head.get("authorization"), Some("Bearer s3cret-own"));
        assert_eq!(asked.head.get("x-who"), Some("me"));
        asked.accept("").await.ending().await
    };
    let ((status, lines, err), ending) = tokio::join!(check(directory.path(), &arguments, ""), served);
    let good = "route \"own\": good: the client's token; the service answered 101\n";
    assert_eq!((status, &*lines, &*err), (Some(0), good, ""));
    assert_eq!(ending.map(|(code, _)| code), Some(1000));
    for wrong in [&["--route", "nowhere"][..], &["--path", "ws"], &["--header-file", "a=nowhere"]] {
        let (status, lines, err) = check(directory.path(), wrong, "").await;
        assert_eq!((status, &*lines), (Some(64), ""), "{err}");
    }
}
