//! A sidecar whose only way out is a real proxy, which asks for a password, and which alone knows the names.
//!
//! ```text
//!   client ──► sidecar ═══veth═══ tinyproxy, or microsocks ──► service, token endpoint
//!                                 └───────── a network namespace: its loopback, its hosts file ─────┘
//! ```

use std::{net::Ipv4Addr, process::Child};

use crate::{
    far::namespace::Namespace,
    sidecar::Sidecar,
    support::{
        beside,
        http::{ask, handshake},
        service::Service,
        tls::{Authority, acceptor},
        until,
        ws::{TEXT, bare, masked},
    },
};

const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.1 feed.corp.test auth.corp.test\n";
const PORT: u16 = 3128;

/// The network behind the proxy.
struct Corp {
    namespace: Namespace,
    authority: Authority,
    feed: Service,
    auth: u16,
    proxy: Child,
    directory: tempfile::TempDir,
}

impl Drop for Corp {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

impl Corp {
    async fn open(program: &str) -> Self {
        let namespace = Namespace::with_hosts(HOSTS);
        let authority = Authority::new();
        let loopback = || namespace.listener_at(Ipv4Addr::LOCALHOST);
        let pair = authority.sign(&["feed.corp.test", "auth.corp.test"], |_| {});
        let feed = Service::on(loopback(), acceptor(&pair));
        let auth = Service::on(loopback(), acceptor(&pair));
        let (port, directory) = (auth.port, tempfile::tempdir().unwrap());
        beside(async move {
            loop {
                let token = r#"{"access_token":"T-1","expires_in":3600}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{token}",
                    token.len()
                );
                auth.asked().await.answer(answer).await;
            }
        });
        let address = namespace.address;
        let mut command = namespace.command(program);
        if program == "tinyproxy" {
            let file = directory.path().join("tinyproxy.conf");
            let said = format!(
                "Port {PORT}\nListen {address}\nTimeout 600\nMaxClients 50\nBasicAuth user sesame\nLogLevel Critical\n"
            );
            std::fs::write(&file, said).unwrap();
            command.args(["-d", "-c"]).arg(file);
        } else {
            command.args(["-i", &address.to_string(), "-p", &PORT.to_string(), "-u", "user", "-P", "sesame"]);
        }
        let proxy = command.spawn().unwrap();
        let is_up = || async { tokio::net::TcpStream::connect((address, PORT)).await.is_ok() };
        until("the proxy", is_up, |is_up| *is_up).await;
        Self { namespace, authority, feed, auth: port, proxy, directory }
    }

    fn proxy(&self, scheme: &str, password: &str) -> String {
        format!("{scheme}://user:{password}@{}:{PORT}", self.namespace.address)
    }

    fn routes(&self) -> String {
        let (feed, auth, ca) = (self.feed.port, self.auth, self.authority.ca.display());
        format!(
            "[[route]]\nname = \"corp\"\nupstream = \"wss://feed.corp.test:{feed}\"\ndialect = \"handshake\"\n\
             handshake.header = \"Authorization: Bearer {{token}}\"\n\
             [route.tls]\nca = \"{ca}\"\n\
             [route.token]\nsource = \"http\"\nurl = \"https://auth.corp.test:{auth}/token\"\n\
             [route.token.tls]\nca = \"{ca}\"\n"
        )
    }

    /// A client has a session, with a token from behind the proxy; the sidecar's log then. Both ends last as long as the
    /// sidecar: it would dial again for the one that is left.
    async fn serves(&self, sidecar: Sidecar) -> String {
        until("a token", || sidecar.ask("/readyz"), |(status, _)| *status == 200).await;
        let client = async {
            let (answer, client) = ask(sidecar.port, handshake("/", "")).await;
            if answer.status() == 101 { Ok(client) } else { Err(answer) }
        };
        let service = async {
            let asked = self.feed.asked().await;
            let head = asked.head.clone();
            Ok((head, asked.accept("").await))
        };
        let (mut client, (asked, mut theirs)) = match tokio::try_join!(client, service) {
            Ok(both) => both,
            Err(answer) => panic!("{answer:?}\n{}", sidecar.stop().await),
        };
        assert_eq!(asked.get("authorization"), Some("Bearer T-1"));
        assert_eq!(asked.get("host"), Some(&*format!("feed.corp.test:{}", self.feed.port)));
        client.send(masked(TEXT, b"up")).await;
        assert_eq!(theirs.message().await.text(), "up");
        theirs.send(bare(TEXT, b"down")).await;
        assert_eq!(client.message().await.text(), "down");
        let log = sidecar.stop().await;
        drop((client, theirs));
        log
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2 and tinyproxy: run by tests/all"]
async fn a_service_and_its_token_endpoint_are_reached_through_a_proxy_alone() {
    let corp = Corp::open("tinyproxy").await;
    let routes = corp.routes();
    // By the configuration, from a file; and by the environment.
    let kept = corp.directory.path().join("proxy");
    std::fs::write(&kept, corp.proxy("http", "sesame")).unwrap();
    let table = format!("[egress]\nproxy = {{ file = \"{}\" }}\n", kept.display());
    let url = corp.proxy("http", "sesame");
    for (table, variables) in [(&*table, &[][..]), ("", &[("HTTPS_PROXY", &*url)])] {
        let sidecar = Sidecar::launch(&format!("{table}{routes}"), &[], variables).await;
        let log = corp.serves(sidecar).await;
        let named = format!("http://{}:{PORT}", corp.namespace.address);
        assert!(log.contains("connections go out through a proxy") && log.contains(&named), "{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
    // Nothing but the proxy leads there.
    let none = format!("[egress]\nproxy = \"none\"\n{routes}");
    let sidecar = Sidecar::launch(&none, &[], &[("https_proxy", &url)]).await;
    let (answer, _) = ask(sidecar.port, handshake("/", "")).await;
    assert!((500..600).contains(&answer.status()), "{answer:?}");
    let log = sidecar.stop().await;
    assert!(log.contains("proxy variables are not used") && log.contains("https_proxy"), "{log}");
    assert!(log.contains("resolve auth.corp.test"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2 and tinyproxy: run by tests/all"]
async fn a_password_that_is_added_is_taken_without_a_restart() {
    let corp = Corp::open("tinyproxy").await;
    let kept = corp.directory.path().join("proxy");
    std::fs::write(&kept, format!("http://{}:{PORT}", corp.namespace.address)).unwrap();
    let table = format!("[egress]\nproxy = {{ file = \"{}\" }}\n", kept.display());
    let sidecar = Sidecar::start(&format!("{table}{}", corp.routes())).await;
    let (proxy, auth) = (corp.namespace.address, corp.auth);
    let told = format!("proxy {proxy}:{PORT}: it answered 407 to CONNECT auth.corp.test:{auth}");
    let failed = |line: &str| {
        line.starts_with("perennial_token_refreshes_total")
            && line.contains("\"failed\"")
            && !line.ends_with(" 0")
    };
    until("a refusal", || sidecar.ask("/metrics"), |(_, page)| page.lines().any(failed)).await;
    std::fs::write(&kept, corp.proxy("http", "sesame")).unwrap();
    let log = corp.serves(sidecar).await;
    assert!(log.contains(&told) && !log.contains("sesame"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2 and microsocks: run by tests/all"]
async fn a_reload_takes_another_proxy() {
    let corp = Corp::open("microsocks").await;
    let configured = |proxy: &str| format!("[egress]\nproxy = \"{proxy}\"\n{}", corp.routes());
    // Nobody listens there.
    let sidecar = Sidecar::start(&configured("http://127.0.0.1:9")).await;
    let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    sidecar.configure(&format!("{ports}{}", configured(&corp.proxy("socks5h", "sesame"))));
    let (status, said, error) = sidecar.command(&["reload"]).await;
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(said.contains("[egress]") && !error.contains("sesame"), "{said}{error}");
    let log = corp.serves(sidecar).await;
    assert!(!log.contains("sesame"), "{log}");
}
