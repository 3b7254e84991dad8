//! Cursors of lists: the last link of a page, signed, so that nobody makes one up or uses it with another filter.
//!
//! `base64url(JSON [domain, code]) "." base64url(first 16 bytes of HMAC-SHA-256(key, filter 0x00 JSON))`

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{api::http::problem::Problem, catalog::change::LinkName};

const MAC_LEN: usize = 16;

/// Signs and checks the cursors of one filter.
pub(super) struct CursorSigner<'a> {
    pub(super) key: &'a str,
    /// The filter as text: a cursor is good for the same one alone.
    pub(super) filter: String,
}

impl CursorSigner<'_> {
    /// The cursor behind a link.
    pub(super) fn sign(&self, last: &LinkName) -> String {
        let payload = serde_json::json!([last.domain, last.code]).to_string();
        let mac = self.mac_of(payload.as_bytes()).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(&mac[..MAC_LEN]))
    }

    /// The link that a cursor stands behind.
    ///
    /// # Errors
    /// The cursor was altered, or made for another filter.
    pub(super) fn verify(&self, cursor: &str) -> Result<LinkName, Problem> {
        self.try_verify(cursor)
            .ok_or_else(|| Problem::of_parameter("cursor", "is none that this list gave; begin again without a cursor"))
    }

    fn try_verify(&self, cursor: &str) -> Option<LinkName> {
        let (payload, mac) = cursor.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok().filter(|mac| mac.len() == MAC_LEN)?;
        self.mac_of(&payload).verify_truncated_left(&mac).ok()?;
        let (domain, code) = serde_json::from_slice(&payload).ok()?;
        Some(LinkName { domain, code })
    }

    fn mac_of(&self, payload: &[u8]) -> Hmac<Sha256> {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        mac.update(self.filter.as_bytes());
        mac.update(&[0]);
        mac.update(payload);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_as_it_was_given_and_for_its_filter() {
        let signer = |filter: &str| CursorSigner { key: "k", filter: filter.to_owned() };
        let last = LinkName { domain: "*".to_owned(), code: "mug".to_owned() };
        let cursor = signer("creator=c_1").sign(&last);
        assert_eq!(signer("creator=c_1").verify(&cursor).unwrap(), last);
        assert!(signer("creator=c_2").verify(&cursor).is_err());
        for at in 0..cursor.len() {
            let mut altered = cursor.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(signer("creator=c_1").verify(str::from_utf8(&altered).unwrap()).is_err(), "{at}");
        }
        assert!(signer("creator=c_1").verify("").is_err());
    }
}
