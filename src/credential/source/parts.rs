//! All that a source asks with, as one text: parts that are told apart by their lengths, so that no two sources look
//! alike. It is a secret.

use crate::config::{Endpoint, UpstreamTls};

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

    pub(super) fn whole(self) -> Vec<u8> {
        self.0
    }
}
