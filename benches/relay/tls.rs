//! TLS of a run: one authority, one certificate for all that listen, and the trust of those that dial.

use std::{fs, path::Path, sync::Arc};

use anyhow::Result;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    },
};

/// The authority that signed the certificate, in the directory of the run.
pub(crate) const CA_FILE: &str = "ca.pem";
/// The certificate that the proxies show to clients, and its key.
pub(crate) const CERTIFICATE_FILE: &str = "server.pem";
pub(crate) const KEY_FILE: &str = "server.key";
/// Both in one file: HAProxy takes them so.
pub(crate) const PAIR_FILE: &str = "server-pair.pem";

/// Makes the authority and the certificate, writes their files, and accepts with the certificate.
pub(crate) fn issue(directory: &Path) -> Result<TlsAcceptor> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    // OpenSSL takes a certificate for self-signed whose issuer has its own name.
    authority.distinguished_name.push(rcgen::DnType::CommonName, "the benchmark's authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let key = rcgen::KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let certificate = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    fs::write(directory.join(CA_FILE), authority_certificate.pem())?;
    fs::write(directory.join(CERTIFICATE_FILE), certificate.pem())?;
    fs::write(directory.join(KEY_FILE), key.serialize_pem())?;
    fs::write(directory.join(PAIR_FILE), certificate.pem() + &key.serialize_pem())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Dials with trust in that authority. No session is resumed: each handshake is a full one.
pub(crate) fn connector(directory: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join(CA_FILE))?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
