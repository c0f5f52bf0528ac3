//! All that a source asks with, as one text: parts that are told apart by their lengths, so that no two sources look
//! alike. It is a secret.

use super::request::Values;
use crate::config::{AnswerForm, Endpoint, Place, Secret, Signer, Template, UpstreamTls};

#[derive(Default)]
pub(super) struct Parts(Vec<u8>);

impl Parts {
    pub(super) fn put(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        // The length keeps `ab`, `c` apart from `a`, `bc`.
        self.0.extend_from_slice(&part.len().to_be_bytes());
        self.0.extend_from_slice(part);
    }

    pub(super) fn put_all<P: AsRef<[u8]>>(&mut self, parts: impl IntoIterator<Item = P>) {
        parts.into_iter().for_each(|part| self.put(part));
    }

    /// However the address is spelled (RFC 3986 §6.2.2).
    pub(super) fn endpoint(&mut self, endpoint: &Endpoint) {
        self.put(if endpoint.tls { "tls" } else { "plain" });
        self.put(endpoint.authority());
        self.put(&endpoint.path_and_query);
    }

    /// The certificate that is shown, by name: one that is renewed is the same client's.
    pub(super) fn identity(&mut self, tls: &UpstreamTls) {
        if let Some((certificate, key)) = &tls.identity {
            self.put_all([certificate, key].map(|path| path.as_os_str().as_encoded_bytes()));
        }
    }

    /// `None`, here and below: it cannot be read.
    pub(super) fn secret(&mut self, secret: &Secret) -> Option<()> {
        self.put(&*secret.reveal().ok()?);
        Some(())
    }

    /// The operator's part of it: what a client's request fills in is the client's.
    pub(super) fn template(&mut self, template: &Template) -> Option<()> {
        let nobodys: Values<'_, '_> = &|_| Some("");
        self.put(&template.expand(Place::Text, nobodys).ok()?);
        Some(())
    }

    /// The key, since each signature differs, and what is signed.
    pub(super) fn signer(&mut self, signer: &Signer) -> Option<()> {
        self.put(&*signer.key.secret.reveal_lines().ok()?);
        self.put(signer.key.algorithm.map_or("", |algorithm| algorithm.word()));
        self.put_all([signer.key_id.as_deref().unwrap_or(""), signer.audience.as_deref().unwrap_or("")]);
        self.put(signer.lifetime.as_millis().to_be_bytes());
        self.put(serde_json::to_vec(&signer.header).ok()?);
        signer.claims.iter().try_for_each(|claims| self.template(claims))
    }

    /// Where the token is looked for.
    pub(super) fn answer(&mut self, answer: &AnswerForm) {
        if *answer != AnswerForm::Auto {
            self.put(format!("{answer:?}"));
        }
    }

    pub(super) fn whole(self) -> Vec<u8> {
        self.0
    }
}
