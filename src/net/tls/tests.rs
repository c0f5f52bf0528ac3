//! Certificates made on the spot, a loopback socket, and a handshake that must or must not succeed.

use std::{fs, path::Path, time::Duration};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    clock,
    config::Endpoint,
    net::{DialError, Dialer, dial::Stage},
};

/// An authority with a directory for what it signs.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the test's authority");
        let key = KeyPair::generate().unwrap();
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir, ca }
    }

    /// Writes `name.pem` and `name.key`.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files =
            (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

fn later() -> Instant {
    clock::now() + Duration::from_secs(5)
}

fn listen(files: &(PathBuf, PathBuf), client_ca: Option<PathBuf>) -> ListenTls {
    ListenTls { certificate: files.0.clone(), key: files.1.clone(), client_ca }
}

/// Dials a listener that has `server`; both sides say how it went.
async fn meet(
    server: &ServerTls,
    client: &UpstreamTls,
) -> (Result<Stream, DialError>, Result<Stream, TlsError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port, path_and_query: "/".into() };
    let dialer = Dialer::new(&endpoint, client).unwrap();
    tokio::join!(dialer.connect(later()), async {
        let (tcp, _) = listener.accept().await.unwrap();
        server.accept(tcp, clock::now(), later()).await
    })
}

fn trusting(ca: &Path, name: &str) -> UpstreamTls {
    UpstreamTls { ca: Some(ca.to_owned()), identity: None, server_name: Some(name.to_owned()) }
}

/// What the client said of a server it must not trust.
async fn refusal(files: &(PathBuf, PathBuf), client: &UpstreamTls) -> String {
    let server = ServerTls::load(&listen(files, None), clock::now()).unwrap();
    let error = meet(&server, client).await.0.unwrap_err();
    assert_eq!(error.stage, Stage::Tls);
    error.to_string()
}

#[tokio::test]
async fn a_good_certificate_carries_bytes() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |_| {});
    let server = ServerTls::load(&listen(&files, None), clock::now()).unwrap();
    let (near, far) = meet(&server, &trusting(&authority.ca, "good.test")).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    near.write_all(b"ping").await.unwrap();
    near.flush().await.unwrap();
    let mut read = [0; 4];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |_| {});
    let said = refusal(&files, &trusting(&authority.ca, "other.test")).await;
    assert!(said.contains("other.test"), "{said}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = stranger.sign("good.test", |_| {});
    let said = refusal(&files, &trusting(&authority.ca, "good.test")).await;
    assert!(said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let said = refusal(&files, &trusting(&authority.ca, "good.test")).await;
    assert!(said.to_lowercase().contains("expired"), "{said}");
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_shown() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |_| {});
    let server = ServerTls::load(&listen(&files, Some(authority.ca.clone())), clock::now()).unwrap();
    let mut client = trusting(&authority.ca, "good.test");
    assert!(meet(&server, &client).await.1.is_err(), "nobody without a certificate");
    client.identity = Some(authority.sign("client.test", |_| {}));
    let (near, far) = meet(&server, &client).await;
    assert!(near.is_ok() && far.is_ok(), "{near:?} {far:?}");
}

#[test]
fn a_changed_pair_is_taken_and_a_half_written_one_is_not() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |_| {});
    let start = clock::now();
    let server = ServerTls::load(&listen(&files, None), start).unwrap();
    let first = server.current(start);
    // The certificate is already the new one, the key still the old.
    let old_key = fs::read(&files.1).unwrap();
    authority.sign("good.test", |_| {});
    let new_key = fs::read(&files.1).unwrap();
    fs::write(&files.1, old_key).unwrap();
    assert!(Arc::ptr_eq(&first, &server.current(start + Duration::from_secs(1))), "not looked yet");
    assert!(Arc::ptr_eq(&first, &server.current(start + Duration::from_secs(3))), "not a pair");
    fs::remove_file(&files.1).unwrap();
    fs::write(&files.1, new_key).unwrap();
    assert!(!Arc::ptr_eq(&first, &server.current(start + Duration::from_secs(6))), "reloaded");
}

#[test]
fn an_error_names_the_file_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let tls = UpstreamTls { ca: Some(path.clone()), ..UpstreamTls::default() };
    let say = || ClientTls::load("a service".into(), &tls, clock::now()).unwrap_err().to_string();
    assert!(say().contains("ca.pem: entity not found"), "{}", say());
    fs::write(&path, "hello").unwrap();
    assert!(say().ends_with("ca.pem: holds no PEM certificate"), "{}", say());
    // None of it is used if not all of it is read.
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(say().ends_with("ca.pem: is larger than 16384 KiB"), "{}", say());
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(say().contains("ca.pem: "), "{}", say());
}

#[test]
fn a_key_of_another_certificate_is_an_error_that_quotes_nothing() {
    let authority = Authority::new();
    let one = authority.sign("one.test", |_| {});
    let other = authority.sign("other.test", |_| {});
    let crossed = (one.0, other.1.clone());
    let error = ServerTls::load(&listen(&crossed, None), clock::now()).unwrap_err().to_string();
    assert!(error.contains("one.test.pem"), "{error}");
    fs::write(&other.1, "-----BEGIN PRIVATE KEY-----\nCANARY!\n-----END PRIVATE KEY-----\n").unwrap();
    let error = ServerTls::load(&listen(&crossed, None), clock::now()).unwrap_err().to_string();
    assert!(error.contains("other.test.key") && !error.contains("CANARY"), "{error}");
}

/// An endless wait for two seconds to pass, made short: the clock goes on from where it then is.
async fn look_is_due() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::time::resume();
}

/// A listener whose TLS changes from connection to connection, and the dialer that keeps coming back.
struct Visits {
    listener: TcpListener,
    endpoint: Endpoint,
}

impl Visits {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port, path_and_query: "/".into() };
        Self { listener, endpoint }
    }

    /// How a handshake went, as both sides saw it.
    async fn visit(&self, dialer: &Dialer, files: &ListenTls) -> bool {
        let server = ServerTls::load(files, clock::now()).unwrap();
        let (near, far) = tokio::join!(dialer.connect(later()), async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            server.accept(tcp, clock::now(), later()).await
        });
        near.is_ok() && far.is_ok()
    }
}

#[tokio::test]
async fn a_dialer_takes_a_changed_authority_and_its_clones_do_too() {
    let (old, new) = (Authority::new(), Authority::new());
    let [of_old, of_new] = [&old, &new].map(|authority| listen(&authority.sign("good.test", |_| {}), None));
    let visits = Visits::new().await;
    let dialer = Dialer::new(&visits.endpoint, &trusting(&old.ca, "good.test")).unwrap();
    let others = [dialer.clone(), dialer.clone().without_http()];
    assert!(visits.visit(&dialer, &of_old).await && !visits.visit(&dialer, &of_new).await);
    fs::copy(&new.ca, &old.ca).unwrap();
    look_is_due().await;
    assert!(visits.visit(&dialer, &of_new).await, "the new authority is trusted");
    assert!(!visits.visit(&dialer, &of_old).await, "the old one no longer is, nor its session resumed");
    for other in &others {
        assert!(visits.visit(other, &of_new).await, "clones share the files");
    }
}

#[tokio::test]
async fn a_dialer_shows_a_new_pair_and_stays_with_the_old_while_it_is_half_written() {
    let (server, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let from_server = server.sign("good.test", |_| {});
    let [of_old, of_new] = [&old, &new].map(|authority| listen(&from_server, Some(authority.ca.clone())));
    let shown = old.sign("client.test", |_| {});
    let next = new.sign("client.test", |_| {});
    let mut tls = trusting(&server.ca, "good.test");
    tls.identity = Some(shown.clone());
    let visits = Visits::new().await;
    let dialer = Dialer::new(&visits.endpoint, &tls).unwrap();
    assert!(visits.visit(&dialer, &of_old).await && !visits.visit(&dialer, &of_new).await);
    // The certificate is already the new one, the key still the old.
    fs::copy(&next.0, &shown.0).unwrap();
    look_is_due().await;
    assert!(visits.visit(&dialer, &of_old).await, "the old pair is still shown");
    // Cut off in the middle, as who writes in place leaves it for a moment.
    let key = fs::read(&next.1).unwrap();
    fs::write(&shown.1, &key[..key.len() / 2]).unwrap();
    look_is_due().await;
    assert!(visits.visit(&dialer, &of_old).await, "the old pair is still shown");
    fs::write(&shown.1, key).unwrap();
    look_is_due().await;
    // A look that takes its time holds no connection up: then the next one shows it.
    let mut looks = 0;
    while !visits.visit(&dialer, &of_new).await {
        looks += 1;
        assert!(looks < 100, "the new pair is shown");
    }
    assert!(!visits.visit(&dialer, &of_old).await, "and the old one is not");
}

#[tokio::test]
async fn a_dialer_proposes_http_unless_it_was_told_not_to() {
    let authority = Authority::new();
    let files = authority.sign("good.test", |_| {});
    let server = ServerTls::load(&listen(&files, None), clock::now()).unwrap();
    let visits = Visits::new().await;
    let http = Dialer::new(&visits.endpoint, &trusting(&authority.ca, "good.test")).unwrap();
    let other = http.clone().without_http();
    for (dialer, agreed) in [(http, Some(HTTP)), (other, None)] {
        let (near, far) = tokio::join!(dialer.connect(later()), async {
            let (tcp, _) = visits.listener.accept().await.unwrap();
            server.accept(tcp, clock::now(), later()).await
        });
        let Stream::TlsServer(far) = far.unwrap() else { panic!("no TLS") };
        assert_eq!(far.get_ref().1.alpn_protocol(), agreed);
        drop(near);
    }
}
