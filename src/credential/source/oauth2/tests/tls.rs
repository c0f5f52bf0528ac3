//! A server by https: one that is who it says, and one that is not.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::{config::ListenTls, credential::keeper::FailureKind::Unreached, net::ServerTls};

/// An authority's certificate, and one of its own for this name, in a directory.
pub(super) fn certificates(name: &str) -> (tempfile::TempDir, ListenTls) {
    let dir = tempfile::tempdir().unwrap();
    let at = |file: &str| dir.path().join(file);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the test's authority");
    let key = KeyPair::generate().unwrap();
    std::fs::write(at("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    std::fs::write(at("certificate"), signed.pem()).unwrap();
    std::fs::write(at("key"), own.serialize_pem()).unwrap();
    let files = ListenTls { certificate: at("certificate"), key: at("key"), client_ca: None };
    (dir, files)
}

/// One fetch from a server whose certificate is for `name`.
async fn from(name: &str, server_name: Option<&str>) -> Result<Issued, SourceError> {
    let (dir, files) = certificates(name);
    let server = ServerTls::load(&files, clock::now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut source = source(port);
    rotates(&mut source);
    source.server = AuthorizationServer::TokenUrl(address(&format!("https://127.0.0.1:{port}/token")));
    source.tls = UpstreamTls {
        ca: Some(dir.path().join("ca")),
        identity: None,
        server_name: server_name.map(str::to_owned),
    };
    let tokens = OAuth2Tokens::new(&source, &Egress::default()).unwrap();
    let asking = Asking::default();
    let serving = async {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = server.accept(tcp, clock::now(), clock::now() + AMPLE).await {
            let request = read_request(&mut stream).await;
            assert!(request.starts_with("POST /token HTTP/1.1"), "{request}");
            reply(&mut stream, port, &ok(TOKEN)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = ask(&tokens, &asking) => result,
        () = serving => unreachable!(),
    }
}

#[tokio::test]
async fn a_certificate_of_the_right_name_is_taken() {
    assert_eq!(from("127.0.0.1", None).await.unwrap().text, "abc");
    assert_eq!(from("auth.test", Some("auth.test")).await.unwrap().text, "abc");
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused_before_anything_is_said() {
    let error = from("other.test", Some("auth.test")).await.unwrap_err();
    assert_eq!(error.kind, Unreached, "the refresh token was not shown");
    assert!(error.reason.starts_with("TLS with 127.0.0.1") && error.reason.contains("auth.test"), "{error}");
}
