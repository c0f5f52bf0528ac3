//! Who is let in, over what, and what is left there to be read.

use std::path::Path;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        grants::{grant, keep, kept, lease},
        nonsense::{config, open},
        server::RedisServer,
        *,
    },
    at, until,
};
use crate::config::{RedisConfig, Secret, UpstreamTls};

/// What is said when it was dialled.
pub(super) async fn said(store: &Store) -> String {
    let lineage = store.lineage("jobs", b"CANARY");
    until("an answer", async || {
        !matches!(&store.grant(&lineage).await, Err(StoreError::Away { why, .. }) if why == "it is being dialled")
    })
    .await;
    match store.grant(&lineage).await {
        Ok(grant) => format!("{grant:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_unix_socket_is_a_door_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let server = RedisServer::with(&["--unixsocket", path, "--requirepass", "right-CANARY"]).await;
    let at = |options: &str| open(config(&format!("unix://{path}?db=3{options}")));
    for (options, code) in [("", "NOAUTH"), ("&pass=wrong-CANARY", "WRONGPASS")] {
        let error = said(&at(options)).await;
        assert!(error.contains(&format!("{path} refuses ({code})")) && !error.contains("CANARY"), "{error}");
    }
    let store = at("&user=default&pass=right-CANARY");
    keep(&store, &store.lineage("jobs", b"first"), 1).await;
    let mut passing_by = server.connection_as(":right-CANARY@");
    let space: String = ::redis::cmd("INFO").arg("keyspace").query(&mut passing_by).unwrap();
    assert!(space.contains("db3:keys=2") && !space.contains("db0"), "{space}");
    let nobody = said(&open(config(&format!("unix://{path}.nobody")))).await;
    assert!(nobody.contains(".nobody") && nobody.contains("No such file"), "{nobody}");
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn who_has_the_wrong_password_is_told_so_and_a_new_one_counts() {
    let server = RedisServer::with(&["--requirepass", "right-CANARY"]).await;
    let at = |who: &str| format!("redis://{who}127.0.0.1:{}/3", server.port);
    for who in ["", ":wrong-CANARY@", "nobody:right-CANARY@"] {
        let error = said(&open(config(&at(who)))).await;
        let code = if who.is_empty() { "NOAUTH" } else { "WRONGPASS" };
        assert!(error.contains(&format!("refuses ({code}): look at the user and the password")), "{error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), at(":wrong-CANARY@")).unwrap();
    let store = open(RedisConfig { url: Secret::file(file.path()), ..config("") });
    assert!(said(&store).await.contains("WRONGPASS"));
    std::fs::write(file.path(), at("default:right-CANARY@")).unwrap();
    until("a connection", async || store.is_up()).await;
    let lineage = store.lineage("jobs", b"first");
    keep(&store, &lineage, 1).await;
    let mut passing_by = server.connection_as(":right-CANARY@");
    let space: String = ::redis::cmd("INFO").arg("keyspace").query(&mut passing_by).unwrap();
    assert!(space.contains("db3:keys=2") && !space.contains("db0"), "{space}");
}

/// The rights that docs/tokens.md names.
const RIGHTS: &str = "~{test}:* +get +mget +eval +info +ping +select +set +del +exists +incr +pexpire +pttl +hget +hset \
                      +hmget +time";

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_user_with_the_rights_of_the_page_can_do_everything_and_with_less_it_is_said() {
    let page = std::fs::read_to_string("docs/tokens.md").unwrap();
    assert!(page.contains(&RIGHTS.replace("{test}", "{perennial}")), "{RIGHTS}");
    let server = RedisServer::start().await;
    let mut operator = server.connection();
    let mut user = |rights: &str| {
        let mut command = ::redis::cmd("ACL");
        command.arg("SETUSER").arg("sidecar").arg("reset").arg("on").arg(">pw");
        command.arg(rights.split(' ').collect::<Vec<_>>());
        command.exec(&mut operator).unwrap();
    };
    user(RIGHTS);
    let store = open(config(&format!("redis://sidecar:pw@127.0.0.1:{}", server.port)));
    until("a connection", async || store.is_up()).await;
    let lineage = store.lineage("jobs", b"first");
    keep(&store, &lineage, 1).await;
    assert_eq!(kept(&store, &lineage).await, Some(1));
    user(&RIGHTS.replace("{test}", "test"));
    until("that it does not write", async || !store.is_up()).await;
    let error = store.error().unwrap().to_string();
    assert!(error.contains("refuses (NOPERM)") && error.contains("docs/tokens.md"), "{error}");
    user(RIGHTS);
    until("that it writes again", async || store.is_up()).await;
    assert_eq!(store.error(), None);
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_store_that_answers_and_does_not_write_is_not_up() {
    let server = RedisServer::start().await;
    let mut operator = server.connection();
    let mut set = |name: &str, value: &str| {
        ::redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut operator).unwrap();
    };
    let store = open(config(&server.url()));
    until("a connection", async || store.is_up()).await;
    set("maxmemory", "1");
    until("that it is full", async || !store.is_up()).await;
    assert!(store.error().unwrap().to_string().contains("refuses (OOM): it is full"), "{:?}", store.error());
    set("maxmemory", "0");
    until("room", async || store.is_up()).await;
    let mut operator = server.connection();
    ::redis::cmd("REPLICAOF").arg("127.0.0.1").arg("9").exec(&mut operator).unwrap();
    until("that it is a replica", async || !store.is_up()).await;
    until("the reason", async || {
        store.error().is_some_and(|error| error.to_string().contains("(READONLY): it is a replica"))
    })
    .await;
    ::redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut operator).unwrap();
    until("that it is a primary", async || store.is_up()).await;
}

/// TLS before a Redis that has none.
pub(super) async fn tls_front(behind: u16, certificate: &Path, key: &Path) -> u16 {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    // It would not shake hands with who proposes http/1.1 alone.
    config.alpn_protocols = vec![b"redis".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = TaskTracker::new();
    let each = tasks.clone();
    tasks.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            each.spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut to = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut to).await;
            });
        }
    });
    port
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn a_certificate_is_verified_by_authority_and_name() {
    let server = RedisServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["redis.internal".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("redis.pem"), directory.path().join("redis.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = tls_front(server.port, &certificate, &key).await;
    let with = |ca: Option<&Path>, name: Option<&str>| {
        let (ca, server_name) = (ca.map(Path::to_owned), name.map(str::to_owned));
        let tls = UpstreamTls { ca, server_name, ..UpstreamTls::default() };
        open(RedisConfig { tls, ..config(&format!("rediss://:CANARY@127.0.0.1:{port}")) })
    };
    for (ca, name) in [(Some(&*certificate), None), (Some(&*certificate), Some("another.internal"))] {
        let error = said(&with(ca, name)).await;
        assert!(error.contains("is away: TLS with 127.0.0.1") && error.contains("certificate"), "{error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
    let plain = open(config(&format!("redis://127.0.0.1:{port}")));
    assert!(said(&plain).await.contains("127.0.0.1"), "and no TLS at all is no connection");
    assert!(!plain.is_up());
    let tls = UpstreamTls {
        ca: Some(certificate.clone()),
        server_name: Some("redis.internal".to_owned()),
        ..UpstreamTls::default()
    };
    let store = open(RedisConfig { tls, ..config(&format!("rediss://127.0.0.1:{port}")) });
    let lineage = store.lineage("jobs", b"first");
    keep(&store, &lineage, 1).await;
    assert_eq!(kept(&store, &lineage).await, Some(1));
}

#[tokio::test]
#[ignore = "needs redis-server, which tests/all installs"]
async fn nothing_in_redis_is_a_token_or_a_secret() {
    let server = RedisServer::durable().await;
    let rig = Rig::of(at(&server));
    for generation in 1..=20 {
        rig.supersede("a", generation).await.unwrap();
    }
    let lineage = rig.store.lineage("jobs", b"secret-CANARY");
    let held = lease(&rig.store, &lineage).await;
    let mut grant = grant(1);
    grant.refresh_token = Some("refresh-CANARY".into());
    rig.store.keep(&lineage, &held, &grant, rig.now).await.unwrap();
    assert_eq!(rig.store.grant(&lineage).await.unwrap(), Some(grant));
    let all = super::keys(&server, "*");
    assert_eq!(all.len(), 21 + 3, "{all:?}");
    let mut text = all.join("\n").into_bytes();
    for key in &all {
        text.extend(server.ask::<Vec<u8>>(&format!("DUMP {key}")));
    }
    // And in the file, each command as it came.
    let directory = server.directory().join("appendonlydir");
    for file in std::fs::read_dir(directory).unwrap() {
        text.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    assert!(has(b"{test}:t:") && has(b"sealed"), "the search finds what is there");
    assert!(!has(b"CANARY"));
    let shown = format!("{:?} {held:?} {lineage:?}", rig.store);
    assert!(!shown.contains("CANARY"), "{shown}");
}
