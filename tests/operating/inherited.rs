//! Sockets that systemd listens on: they are used in the place of the addresses that are the same.
//!
//! Broken on purpose, and caught: an inherited socket is not taken, and its address is in use · one that nobody asked for is
//! kept open.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
    process::Command,
};

use crate::support::{
    free_port,
    http::handshake,
    plain,
    service::Service,
    soon,
    ws::{TEXT, Wire, masked},
};

#[tokio::test]
#[ignore = "needs systemd-socket-activate: tests/deploy/install"]
async fn sockets_of_systemd_take_the_place_of_their_addresses() {
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let (port, stray, path) = (free_port(), free_port(), dir.path().join("clients.sock"));
    let path = path.to_str().unwrap();
    let (file, route) = (dir.path().join("perennial.toml"), plain(service.port));
    let text = format!(
        "[listen]\naddress = [\"127.0.0.1:{port}\", \"unix:{path}\"]\n[admin]\naddress = \"127.0.0.1:0\"\n{route}"
    );
    std::fs::write(&file, text).unwrap();
    let binary =
        std::env::var("PERENNIAL_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_perennial").to_owned());
    let listens = [format!("127.0.0.1:{port}"), path.to_owned(), format!("127.0.0.1:{stray}")];
    let mut activated = Command::new("systemd-socket-activate")
        .args(listens.iter().flat_map(|address| ["-l", address]))
        .args([&binary, "run", "--log-format", "json", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(activated.stderr.take().unwrap()).lines();
    let mut until = async |words: &str| {
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended before it said {words}");
        };
        soon(words, found).await
    };
    until(&format!("Listening on 127.0.0.1:{stray}")).await;
    // The first client starts it, and waits meanwhile.
    let mut first = Wire::dial(port).await;
    first.send(handshake("/", "")).await;
    let warning = until("a socket that was passed on is not in the configuration").await;
    assert!(warning.contains(&format!("127.0.0.1:{stray}")), "{warning}");
    let listening = until("\"listening\"").await;
    assert!(listening.contains(&format!("127.0.0.1:{port},unix:{path}")), "{listening}");
    let mut second = Wire::new(UnixStream::connect(path).await.unwrap());
    second.send(handshake("/", "")).await;
    for client in [&mut first, &mut second] {
        let mut theirs = service.asked().await.accept("").await;
        assert_eq!(client.head().await.status(), 101);
        client.send(masked(TEXT, b"hello")).await;
        assert_eq!(theirs.message().await.text(), "hello");
    }
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", stray)).await.is_err(), "nobody would answer there");
}
