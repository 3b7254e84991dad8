//! The key ring: one key signs, several verify.
//!
//! # Derivation
//!
//! A master key never signs. From each master key, HKDF-SHA-256 (RFC 5869) with the salt `waypost key ring v1` derives
//! 32 bytes for:
//!
//! ```text
//! cookies              info = "waypost token v1 cookie"
//! URL keys of a scope  info = "waypost token v1 url" 0x00 kind name     kind: 0 domain, 1 seller, 2 partner
//! next hops            info = "waypost next hop v1"
//! ```
//!
//! The name stands last, so no two infos are equal. A shop gets the URL keys of its own scope
//! (`Keyring::derive_and_export_url_keys`): it verifies its own tokens offline and can forge no others.
//!
//! # Times
//!
//! The newest key whose `not_before` has passed and that is not retired signs. Every key of the ring verifies until 14
//! days after its
//! `retired_at`, when the last token that it signed has expired.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    attribution::{key_scope::KeyScope, secret::Secret, window::ATTRIBUTION_WINDOW_MS},
    word_enum::word_enum,
};

/// The least length of a master key, bytes: the strength of the MAC.
pub const MIN_MASTER_KEY_LEN: usize = 32;

/// The id of a key, which each token names: 48 bits of the key's fingerprint, as eight characters of base64url.
pub type KeyId = [u8; 8];

/// HMAC-SHA-256, ready with its key; cloned for each token.
pub(super) type Mac = Hmac<Sha256>;

/// An HMAC state for a derived key. Short keys are padded with zeros to the hash's block (RFC 2104 §2); the padding is
/// done here, because a whole block cannot be refused.
pub(super) fn mac_with_key(key: &[u8; 32]) -> Mac {
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    Mac::new((&*block).into())
}

/// One master key, and what is derived from it when it is loaded.
pub(super) struct MasterKey {
    pub(super) id: KeyId,
    pub(super) secret: Secret,
    pub(super) not_before_ms: u64,
    pub(super) retired_at_ms: Option<u64>,
    hkdf: Hkdf<Sha256>,
    pub(super) cookie_mac: Mac,
}

impl MasterKey {
    pub(super) fn new(secret: Secret, not_before_ms: u64, retired_at_ms: Option<u64>) -> MasterKey {
        let hkdf = Hkdf::new(Some(b"waypost key ring v1"), secret.bytes());
        let cookie_mac = mac_with_key(&derive_key(&hkdf, &[b"waypost token v1 cookie"]));
        MasterKey { id: key_id(secret.bytes()), secret, not_before_ms, retired_at_ms, hkdf, cookie_mac }
    }

    /// Derives the key that signs the URL tokens of a scope.
    pub(super) fn derive_url_key(&self, scope: KeyScope<'_>) -> Zeroizing<[u8; 32]> {
        let name = scope.bounded_name().as_bytes();
        derive_key(&self.hkdf, &[b"waypost token v1 url\0", &[scope.kind_number()], name])
    }

    /// Derives the key that signs next hops.
    pub(super) fn derive_next_hop_key(&self) -> Zeroizing<[u8; 32]> {
        derive_key(&self.hkdf, &[b"waypost next hop v1"])
    }

    fn may_sign(&self, now_ms: u64) -> bool {
        self.not_before_ms <= now_ms && self.retired_at_ms.is_none_or(|retired| now_ms < retired)
    }

    fn may_verify(&self, now_ms: u64) -> bool {
        may_verify(self.retired_at_ms, now_ms)
    }
}

/// Whether a key that is retired at this time still verifies: until the last token that it signed has expired.
pub(super) fn may_verify(retired_at_ms: Option<u64>, now_ms: u64) -> bool {
    retired_at_ms.is_none_or(|retired| now_ms < retired.saturating_add(ATTRIBUTION_WINDOW_MS))
}

fn derive_key(hkdf: &Hkdf<Sha256>, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    match hkdf.expand_multi_info(info, &mut *key) {
        Ok(()) => key,
        Err(_) => unreachable!("HKDF-SHA-256 gives up to 8160 bytes"),
    }
}

/// The id of a master key. The prefix separates this hash of the key from every other use of it.
fn key_id(secret: &[u8]) -> KeyId {
    let digest = Sha256::new().chain_update(b"waypost key id v1\0").chain_update(secret).finalize();
    first_48_bits_as_text(&digest)
}

/// The first 48 bits of a digest as eight characters of base64url.
fn first_48_bits_as_text(digest: &[u8]) -> [u8; 8] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = first_48_bits(digest);
    std::array::from_fn(|at| ALPHABET[(bits >> (42 - 6 * at)) as usize & 63])
}

fn first_48_bits(digest: &[u8]) -> u64 {
    digest.iter().take(6).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// The keys of this edge. Immutable: a reload loads another ring and publishes it.
pub struct Keyring {
    /// The newest `not_before` first. Never empty; at least one key is not retired ([`Keyring::new`]).
    keys: Vec<MasterKey>,
    /// The index of the unretired key with the earliest `not_before`: it signs if the clock is before all others.
    fallback_signer: usize,
    digest: [u8; 32],
}

/// What may be shown of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key's id.
    pub id: KeyId,
    /// When the key starts to sign, milliseconds since the epoch.
    pub not_before_ms: u64,
    /// When the key stops signing, milliseconds since the epoch; it verifies for 14 days more.
    pub retired_at_ms: Option<u64>,
    /// What the key is used for now.
    pub role: KeyRole,
}

word_enum! {
    /// What a key is used for at a time.
    pub enum KeyRole {
        /// Signs and verifies.
        Signing = "signing",
        /// Verifies, and will sign from its `not_before`.
        Waiting = "waiting",
        /// Verifies the tokens that it signed earlier.
        Verifying = "verifying",
        /// Is not used any more.
        Expired = "expired",
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, {} keys)", self.fingerprint_text(), self.keys.len())
    }
}

impl Keyring {
    /// A ring of these keys, in any order. `None` if every key is retired: none could sign.
    pub(super) fn new(mut keys: Vec<MasterKey>) -> Option<Keyring> {
        keys.sort_by_key(|key| (std::cmp::Reverse(key.not_before_ms), key.id));
        let fallback_signer = keys.iter().rposition(|key| key.retired_at_ms.is_none())?;
        let mut hash = Sha256::new();
        for key in &keys {
            hash.update(key.id);
            hash.update(key.not_before_ms.to_le_bytes());
            hash.update(key.retired_at_ms.unwrap_or(u64::MAX).to_le_bytes());
        }
        Some(Keyring { keys, fallback_signer, digest: hash.finalize().into() })
    }

    /// 48 bits of a hash over each key's id and times: equal on edges with the same ring. Exact in a gauge's `f64`.
    pub fn fingerprint(&self) -> u64 {
        first_48_bits(&self.digest)
    }

    /// [`Keyring::fingerprint`] as eight characters of base64url.
    pub fn fingerprint_text(&self) -> String {
        String::from_utf8_lossy(&first_48_bits_as_text(&self.digest)).into_owned()
    }

    /// The status of each key at this time, the newest key first.
    pub fn key_statuses_newest_first(&self, now_ms: u64) -> impl Iterator<Item = KeyStatus> {
        let signing = self.signing_key(now_ms).id;
        self.keys.iter().map(move |key| KeyStatus {
            id: key.id,
            not_before_ms: key.not_before_ms,
            retired_at_ms: key.retired_at_ms,
            role: match key {
                key if key.id == signing => KeyRole::Signing,
                key if key.not_before_ms > now_ms && key.retired_at_ms.is_none() => KeyRole::Waiting,
                key if key.may_verify(now_ms) => KeyRole::Verifying,
                _ => KeyRole::Expired,
            },
        })
    }

    /// The keys, the newest first.
    pub(super) fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    /// Identifies the ring: the hash over each key's id and times.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The key that signs at this time.
    pub(super) fn signing_key(&self, now_ms: u64) -> &MasterKey {
        self.keys.iter().find(|key| key.may_sign(now_ms)).unwrap_or(&self.keys[self.fallback_signer])
    }

    /// The key of this id, if it still verifies at this time.
    pub(super) fn find_verifying_key(&self, id: &KeyId, now_ms: u64) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.id == *id && key.may_verify(now_ms))
    }
}
