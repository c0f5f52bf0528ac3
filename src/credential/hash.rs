//! A keyed hash of several parts: what stands for a secret where the secret itself must not be.

use aws_lc_rs::hmac;

/// The hash of `parts`, which only the holder of `key` can make.
pub(super) fn hashed(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        // The length keeps `ab`, `c` apart from `a`, `bc`.
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_and_keys_too() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        assert_eq!(hashed(&key, &[b"ab", b"c"]), hashed(&key, &[b"ab", b"c"]));
        assert_ne!(hashed(&key, &[b"ab", b"c"]), hashed(&key, &[b"a", b"bc"]));
        assert_ne!(hashed(&key, &[b"ab", b""]), hashed(&key, &[b"ab"]));
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]);
        assert_ne!(hashed(&key, &[b"a"]), hashed(&other, &[b"a"]));
    }
}
