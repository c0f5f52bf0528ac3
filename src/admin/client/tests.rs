//! The client against servers that are not what they should be.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Asks a server that reads a head, says `answer`, and goes on saying `more` for as long as it is heard.
async fn ask(
    post: bool,
    answer: &'static [u8],
    more: &'static [u8],
) -> (Result<Answer, ClientError>, String, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let _ = tcp.write_all(answer).await;
        while !more.is_empty() && tcp.write_all(more).await.is_ok() {
            // So that the deadline has its turn.
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        String::from_utf8(head).unwrap()
    };
    let mut client = AdminClient::new(AdminAddress::of_listener(&address.into()));
    client.timeout = Duration::from_millis(if more == b"." { 300 } else { 20_000 });
    let asking =
        async { if post { client.post("/rehearse/drop").await } else { client.get("/a?b=c").await } };
    let (answer, head) = tokio::join!(asking, server);
    (answer, head, address)
}

#[test]
fn an_address_is_read_as_people_write_it() {
    let shown = |text: &str| text.parse::<AdminAddress>().map(|address| address.to_string());
    for (text, means) in [
        ("127.0.0.1:7371", "127.0.0.1:7371"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("[::1]:1", "[::1]:1"),
        ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
        ("perennial:7371", "perennial:7371"),
        ("http://127.0.0.1:7371/", "127.0.0.1:7371"),
        ("http://localhost:7371", "localhost:7371"),
    ] {
        assert_eq!(shown(text).as_deref(), Ok(means), "{text}");
    }
    for text in
        ["", ":", ":7371", "localhost", "127.0.0.1", "a:b", "a:65536", "a b:1", "::1", "a:1/x", "u@h:1"]
    {
        assert!(shown(text).is_err_and(|why| why.contains("127.0.0.1:7371")), "{text}");
    }
    assert!(shown("127.0.0.1:0").is_err_and(|why| why.contains("listening")));
    assert_eq!(AdminAddress::default().to_string(), "127.0.0.1:7371");
}

#[tokio::test]
async fn an_operator_says_so_where_something_is_to_happen() {
    let (answer, head, address) = ask(false, b"HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\na\nb\n", b"").await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.first_line().as_str()), (503, "a"));
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n") && !head.contains("perennial-operator"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "a server on loopback judges it: {head}");
    let (_, head, _) = ask(true, b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n", b"").await;
    assert!(head.starts_with("POST /rehearse/drop HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("perennial-operator: yes\r\n") && head.contains("content-length: 0\r\n"), "{head}");
    assert!(!head.contains("origin") && !head.contains("sec-fetch"), "{head}");
}

#[test]
fn the_secret_does_not_leave_the_machine() {
    for (address, stays) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("localhost:1", true),
        ("10.0.0.7:1", false),
        ("sidecar:1", false),
    ] {
        let client = AdminClient::new(address.parse().unwrap()).with_secret(Some(Secret::literal("s3cret")));
        assert_eq!(client.shown(), Ok(stays.then(|| b"Bearer s3cret".to_vec())), "{address}");
        assert!(!format!("{client:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn each_failure_names_the_address_and_the_way_out() {
    static FILL: [u8; 65536] = [b'x'; 65536];
    let cases: [(&[u8], &[u8], &str); 4] = [
        (b"SSH-2.0-OpenSSH_9.6 \x1b[2J\r\n\r\n", b"", "not as perennial does"),
        (b"HTTP/1.1 200 OK\r\n\r\n", &FILL, "larger than 8 MiB"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b".", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", b"", "not as perennial does"),
    ];
    for (says, more, words) in cases {
        let (answer, _, address) = ask(false, says, more).await;
        let said = answer.unwrap_err().to_string();
        assert!(said.contains(words) && said.contains(&address.to_string()), "{said}");
        assert!(
            said.contains("--admin HOST:PORT") && !said.contains('\x1b') && !said.contains("SSH"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn nobody_is_said_to_be_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = AdminClient::new(AdminAddress::of_listener(&address.into())).get("/").await.unwrap_err();
    assert!(matches!(error, ClientError::Nobody(_)), "{error}");
    let way_out = format!("nothing listens on {address}; is perennial running? --admin");
    assert!(error.to_string().starts_with(&way_out), "{error}");
    let nowhere = AdminAddress::of_listener(&SocketAddr::from(([127, 0, 0, 1], 0)).into());
    assert!(matches!(AdminClient::new(nowhere).get("/").await, Err(ClientError::NoPort)));
}
