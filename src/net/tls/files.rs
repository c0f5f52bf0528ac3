//! Certificates and keys, read from their files. An error names the file, and never quotes a key.

use std::{path::Path, time::Duration};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::TlsError;
use crate::config::file;

/// The authorities that a file names.
pub(super) fn authority(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|cause| unusable(path, &cause))?;
    }
    Ok(roots)
}

/// What the system trusts.
pub(super) fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(String::new, |cause| format!(": {cause}"));
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, "holds no PEM certificate")),
        Ok(found) => Ok(found),
        Err(cause) => Err(wrong(path, &format!("not PEM: {cause}"))),
    }
}

/// When the first of these ends, which is the one that is shown; since the Unix epoch.
pub(super) fn end_of(chain: &[CertificateDer<'_>]) -> Option<Duration> {
    let (_, first) = X509Certificate::from_der(chain.first()?).ok()?;
    u64::try_from(first.validity().not_after.timestamp()).ok().map(Duration::from_secs)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|cause| {
        let empty = matches!(cause, pem::Error::NoItemsFound);
        // The cause of any other error may quote a line of the key.
        wrong(path, if empty { "holds no PEM private key" } else { "not a PEM private key" })
    })
}

/// What TLS would not take of a file that was read.
pub(super) fn unusable(path: &Path, cause: &dyn std::error::Error) -> TlsError {
    wrong(path, &cause.to_string())
}

/// Certificates and authorities of a whole system are not more, in bytes.
const MAX_FILE: u64 = 16 << 20;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = file::read(path, MAX_FILE);
    read.map(|(bytes, _)| bytes).map_err(|cause| wrong(path, &cause.to_string()))
}

fn wrong(path: &Path, what: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what: what.to_owned() }
}
