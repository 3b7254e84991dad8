//! The signature of a next hop: shows that an operator of this server allowed the URL behind a short link.
//!
//! ```text
//!   key id, 8 characters | "." | base64url of the first 16 bytes of
//!   HMAC-SHA-256(key, domain 0x00 code 0x00 URL)
//! ```
//!
//! Neither a domain nor a code has a zero byte, so no two signed texts are equal. A signature has no end of its own: it
//! holds while its key verifies, until 14 days after the key's `retired_at`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;

use crate::attribution::keyring::{KeyId, Keyring, Mac, MasterKey, mac_with_key};

/// The bytes of the MAC that a signature keeps.
const MAC_LEN: usize = 16;

/// What a signature of a next hop covers.
#[derive(Clone, Copy, Debug)]
pub struct SignedNextHop<'a> {
    /// The link's domain: a configured host, or `*`.
    pub domain: &'a str,
    /// The link's own code.
    pub code: &'a [u8],
    /// The URL, decoded.
    pub url: &'a str,
}

impl SignedNextHop<'_> {
    fn mac(self, key: &MasterKey) -> Mac {
        let parts = [self.domain.as_bytes(), &[0], self.code, &[0], self.url.as_bytes()];
        parts.into_iter().fold(mac_with_key(&key.derive_next_hop_key()), |mac, part| mac.chain_update(part))
    }
}

impl Keyring {
    /// Signs a next hop with the key that signs at `now_ms`, milliseconds since the epoch. The text is base64url and a
    /// dot: nothing in it needs percent-encoding.
    pub fn sign_next_hop(&self, now_ms: u64, next_hop: SignedNextHop<'_>) -> String {
        let key = self.signing_key(now_ms);
        let mac = next_hop.mac(key).finalize().into_bytes();
        format!("{}.{}", String::from_utf8_lossy(&key.id), URL_SAFE_NO_PAD.encode(&mac[..MAC_LEN]))
    }

    /// Whether a key that still verifies at `now_ms` made this signature of the next hop.
    pub fn is_signature_of_next_hop(&self, now_ms: u64, signature: &[u8], next_hop: SignedNextHop<'_>) -> bool {
        let Some((id, rest)) = signature.split_first_chunk::<{ size_of::<KeyId>() }>() else { return false };
        let Some(encoded) = rest.strip_prefix(b".") else { return false };
        let Some(key) = self.find_verifying_key(id, now_ms) else { return false };
        let mac = URL_SAFE_NO_PAD.decode(encoded).ok().filter(|mac| mac.len() == MAC_LEN);
        mac.is_some_and(|mac| next_hop.mac(key).verify_truncated_left(&mac).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::secret::Secret;

    const DAY_MS: u64 = 86_400_000;
    const NEXT_HOP: SignedNextHop<'static> =
        SignedNextHop { domain: "go.example.com", code: b"mug", url: "https://shop.example.com/mug?a=b" };

    fn ring(keys: &[(u8, u64, Option<u64>)]) -> Keyring {
        let key = |&(byte, not_before_ms, retired_at_ms): &(u8, u64, Option<u64>)| {
            MasterKey::new(Secret::new(vec![byte; 32]), not_before_ms, retired_at_ms)
        };
        Keyring::new(keys.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn a_signature_covers_domain_code_and_url_and_its_text_never_changes() {
        let ring = ring(&[(7, 0, None)]);
        let signature = ring.sign_next_hop(0, NEXT_HOP);
        assert_eq!(signature, "mUK4QSe_.pgBpwE_c7ssqrmjqPgnceA");
        let is_good = |next_hop| ring.is_signature_of_next_hop(0, signature.as_bytes(), next_hop);
        assert!(is_good(NEXT_HOP));
        assert!(!is_good(SignedNextHop { domain: "go2.example.com", ..NEXT_HOP }));
        assert!(!is_good(SignedNextHop { code: b"mugs", ..NEXT_HOP }));
        assert!(!is_good(SignedNextHop { url: "https://shop.example.com/mug?a=c", ..NEXT_HOP }));
    }

    #[test]
    fn a_damaged_signature_is_none() {
        let ring = ring(&[(7, 0, None)]);
        let good = ring.sign_next_hop(0, NEXT_HOP);
        let cut = (0..good.len()).map(|len| good[..len].to_owned());
        let changed = (0..good.len()).map(|at| {
            let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &good[..at], &good[at + 1..])
        });
        let longer = ["A", ".", "=", "AA"].map(|tail| format!("{good}{tail}"));
        for bad in cut.chain(changed).chain(longer) {
            assert!(!ring.is_signature_of_next_hop(0, bad.as_bytes(), NEXT_HOP), "{bad}");
        }
    }

    #[test]
    fn a_signature_holds_until_14_days_after_its_key_is_retired() {
        let signature = ring(&[(7, 0, None)]).sign_next_hop(0, NEXT_HOP);
        let rotated = ring(&[(7, 0, Some(DAY_MS)), (8, DAY_MS, None)]);
        let holds_at = |now_ms| rotated.is_signature_of_next_hop(now_ms, signature.as_bytes(), NEXT_HOP);
        assert!(holds_at(15 * DAY_MS - 1));
        assert!(!holds_at(15 * DAY_MS));
        assert!(!ring(&[(8, 0, None)]).is_signature_of_next_hop(0, signature.as_bytes(), NEXT_HOP));
    }
}
