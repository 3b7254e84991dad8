//! The key ring: one key signs, several verify.
//!
//! # Derivation
//!
//! A master key never signs. From each one HKDF-SHA-256 (RFC 5869) derives, with the salt `waypost key ring v1`, 32 bytes:
//!
//! ```text
//! cookies              info = "waypost token v1 cookie"
//! an audience's URLs   info = "waypost token v1 url" 0x00 kind name     kind: 0 domain, 1 seller, 2 partner
//! ```
//!
//! The one name stands last, so no two infos are equal. A shop is handed its own URL keys ([`Keyring::url_keys`]): it
//! verifies its own tokens offline and can forge nobody else's.
//!
//! # Times
//!
//! The newest key whose `not_before` has passed and that is not retired signs; every key verifies, from the moment it is
//! in the ring until 14 days after its `retired_at`, when the last token it signed has expired.

use std::{collections::HashMap, fmt, mem};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    attribution::LIFETIME_MS,
    metrics::{self, KEYRING_FINGERPRINT, KEYRING_KEYS},
};

/// The least length of a master key, bytes: the strength of the MAC.
pub const MASTER_MIN: usize = 32;
/// The longest name of an audience, bytes; a longer one is cut alike wherever it is used. Links bound theirs far below.
pub const AUDIENCE_MAX: usize = 255;

/// The id of a key: 48 bits of its fingerprint as eight characters of base64url. Stands in every token.
pub type KeyId = [u8; 8];

/// HMAC-SHA-256 with its key already taken in; cloned for each token.
pub(super) type Mac = Hmac<Sha256>;

/// Takes a derived key in. A key shorter than the hash's block is padded with zeros (RFC 2104 §2), done here because the
/// whole block makes it infallible.
pub(super) fn prekeyed(key: &[u8; 32]) -> Mac {
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    Mac::new((&*block).into())
}

/// Bytes that are wiped when dropped, never printed, and base64url in files.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps key bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The error must not quote the secret.
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes());
        bytes.map(Secret::new).map_err(|_| serde::de::Error::custom("a key must be base64url without padding"))
    }
}

/// Whose URL key signs a token: the link's seller, else its partner, else its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience<'a> {
    /// A link that belongs to neither.
    Domain(&'a str),
    /// The link's seller.
    Seller(&'a str),
    /// The link's partner.
    Partner(&'a str),
}

impl<'a> Audience<'a> {
    /// The rule: the seller, else the partner, else the domain; empty means there is none.
    pub fn of(seller: &'a str, partner: &'a str, domain: &'a str) -> Audience<'a> {
        match (seller, partner) {
            ("", "") => Audience::Domain(domain),
            ("", partner) => Audience::Partner(partner),
            (seller, _) => Audience::Seller(seller),
        }
    }

    /// The word for its kind in files and output.
    pub const fn kind(self) -> &'static str {
        match self {
            Audience::Domain(_) => "domain",
            Audience::Seller(_) => "seller",
            Audience::Partner(_) => "partner",
        }
    }

    /// Its name.
    pub const fn name(self) -> &'a str {
        match self {
            Audience::Domain(name) | Audience::Seller(name) | Audience::Partner(name) => name,
        }
    }

    /// The kind's byte in key derivation and tokens.
    pub(super) const fn code(self) -> u8 {
        match self {
            Audience::Domain(_) => 0,
            Audience::Seller(_) => 1,
            Audience::Partner(_) => 2,
        }
    }

    /// The audience of a kind's byte.
    pub(super) const fn from_code(code: u8, name: &'a str) -> Option<Audience<'a>> {
        match code {
            0 => Some(Audience::Domain(name)),
            1 => Some(Audience::Seller(name)),
            2 => Some(Audience::Partner(name)),
            _ => None,
        }
    }

    /// The audience of a kind's word, as files and output have it.
    pub fn from_kind(kind: &str, name: &'a str) -> Option<Audience<'a>> {
        let code = match kind {
            "domain" => 0,
            "seller" => 1,
            "partner" => 2,
            _ => return None,
        };
        Audience::from_code(code, name)
    }

    /// The name cut to [`AUDIENCE_MAX`] bytes, at a character.
    pub(super) fn bounded(self) -> &'a str {
        let name = self.name();
        &name[..name.floor_char_boundary(AUDIENCE_MAX)]
    }
}

/// One master key and what is derived from it at load.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) secret: Secret,
    pub(super) not_before_ms: u64,
    pub(super) retired_at_ms: Option<u64>,
    hkdf: Hkdf<Sha256>,
    pub(super) cookie: Mac,
}

impl Key {
    pub(super) fn new(secret: Secret, not_before_ms: u64, retired_at_ms: Option<u64>) -> Key {
        let hkdf = Hkdf::new(Some(b"waypost key ring v1"), secret.bytes());
        let cookie = prekeyed(&derive(&hkdf, &[b"waypost token v1 cookie"]));
        Key { id: key_id(secret.bytes()), secret, not_before_ms, retired_at_ms, hkdf, cookie }
    }

    pub(super) fn url_key(&self, audience: Audience<'_>) -> Zeroizing<[u8; 32]> {
        let name = audience.bounded().as_bytes();
        derive(&self.hkdf, &[b"waypost token v1 url\0", &[audience.code()], name])
    }

    fn signs(&self, now_ms: u64) -> bool {
        self.not_before_ms <= now_ms && self.retired_at_ms.is_none_or(|retired| now_ms < retired)
    }

    fn verifies(&self, now_ms: u64) -> bool {
        verifies(self.retired_at_ms, now_ms)
    }
}

/// Whether a key retired at this time still verifies: until the last token it signed has expired.
pub(super) fn verifies(retired_at_ms: Option<u64>, now_ms: u64) -> bool {
    retired_at_ms.is_none_or(|retired| now_ms < retired.saturating_add(LIFETIME_MS))
}

fn derive(hkdf: &Hkdf<Sha256>, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    match hkdf.expand_multi_info(info, &mut *key) {
        Ok(()) => key,
        Err(_) => unreachable!("HKDF-SHA-256 gives up to 8160 bytes"),
    }
}

/// The fingerprint of a master key. The prefix keeps it apart from every other use of the hash.
pub(super) fn key_id(secret: &[u8]) -> KeyId {
    let digest = Sha256::new().chain_update(b"waypost key id v1\0").chain_update(secret).finalize();
    short_text(&digest)
}

/// The first 48 bits of a digest as eight characters of base64url.
fn short_text(digest: &[u8]) -> [u8; 8] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = short_number(digest);
    std::array::from_fn(|at| ALPHABET[(bits >> (42 - 6 * at)) as usize & 63])
}

fn short_number(digest: &[u8]) -> u64 {
    digest.iter().take(6).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// The keys of this edge. Immutable: a reload loads another and swaps it in.
pub struct Keyring {
    /// Newest `not_before` first; never empty, and one at least is not retired ([`Keyring::new`]).
    keys: Vec<Key>,
    /// The unretired key with the earliest `not_before`: it signs if the clock stands before every other.
    first: usize,
    digest: [u8; 32],
}

/// What can be told about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// From when it signs, milliseconds since the epoch.
    pub not_before_ms: u64,
    /// When it stopped signing, or will; it verifies for 14 days more.
    pub retired_at_ms: Option<u64>,
    /// What it does now.
    pub role: Role,
}

/// What a key does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs and verifies.
    Signing,
    /// Verifies; will sign from its `not_before`.
    Waiting,
    /// Verifies what it once signed.
    Verifying,
    /// Does nothing any more.
    Expired,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Signing, Role::Waiting, Role::Verifying, Role::Expired];
    /// The word in output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Signing => "signing",
            Role::Waiting => "waiting",
            Role::Verifying => "verifying",
            Role::Expired => "expired",
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, {} keys)", self.fingerprint_text(), self.keys.len())
    }
}

impl Keyring {
    /// Orders the keys; `None` if none of them is left to sign.
    pub(super) fn new(mut keys: Vec<Key>) -> Option<Keyring> {
        keys.sort_by_key(|key| (std::cmp::Reverse(key.not_before_ms), key.id));
        let first = keys.iter().rposition(|key| key.retired_at_ms.is_none())?;
        let mut hash = Sha256::new();
        for key in &keys {
            hash.update(key.id);
            hash.update(key.not_before_ms.to_le_bytes());
            hash.update(key.retired_at_ms.unwrap_or(u64::MAX).to_le_bytes());
        }
        Some(Keyring { keys, first, digest: hash.finalize().into() })
    }

    /// 48 bits over every key's id and times: equal exactly where the rings are. Exact in a gauge.
    pub fn fingerprint(&self) -> u64 {
        short_number(&self.digest)
    }

    /// [`Keyring::fingerprint`] as eight characters.
    pub fn fingerprint_text(&self) -> String {
        String::from_utf8_lossy(&short_text(&self.digest)).into_owned()
    }

    /// The keys, newest first, with what they do at this time.
    pub fn infos(&self, now_ms: u64) -> impl Iterator<Item = KeyInfo> {
        let signer = self.signer(now_ms).id;
        self.keys.iter().map(move |key| KeyInfo {
            id: key.id,
            not_before_ms: key.not_before_ms,
            retired_at_ms: key.retired_at_ms,
            role: match key {
                key if key.id == signer => Role::Signing,
                key if key.not_before_ms > now_ms && key.retired_at_ms.is_none() => Role::Waiting,
                key if key.verifies(now_ms) => Role::Verifying,
                _ => Role::Expired,
            },
        })
    }

    /// An audience's URL keys, for a shop that verifies its own tokens. They are secrets.
    pub fn url_keys(&self, audience: Audience<'_>) -> UrlKeys {
        let key = |key: &Key| UrlKey {
            id: String::from_utf8_lossy(&key.id).into_owned(),
            key: Secret::new(key.url_key(audience).to_vec()),
            not_before_ms: key.not_before_ms,
            retired_at_ms: key.retired_at_ms,
        };
        UrlKeys {
            kind: audience.kind().to_owned(),
            name: audience.name().to_owned(),
            keys: self.keys.iter().map(key).collect(),
        }
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn signer(&self, now_ms: u64) -> &Key {
        self.keys.iter().find(|key| key.signs(now_ms)).unwrap_or(&self.keys[self.first])
    }

    pub(super) fn verifier(&self, id: &KeyId, now_ms: u64) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == *id && key.verifies(now_ms))
    }
}

/// The URL keys of one audience, as `waypost keys export --seller` writes them (JSON) and a shop reads them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlKeys {
    /// `seller`, `partner` or `domain`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// One derived key for each master key of the ring.
    pub keys: Vec<UrlKey>,
}

/// One derived URL key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlKey {
    /// The id of the master key, as it stands in tokens.
    pub id: String,
    /// HMAC-SHA-256 key, 32 bytes.
    pub key: Secret,
    /// From when the master key signs, milliseconds since the epoch.
    pub not_before_ms: u64,
    /// When it stopped, or will; tokens are good for 14 days more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at_ms: Option<u64>,
}

/// Audiences kept by [`SellerKeys`] in each of its two halves: about 250 bytes each, 1 MiB a worker at the most.
const MEMO: usize = 2048;
type Memo = [HashMap<Box<str>, Mac, foldhash::fast::RandomState>; 3];

/// A worker's own memo of the signing key's URL keys: at most [`MEMO`] recent audiences and as many before them. Deriving
/// one anew costs some ten hash blocks. Forgets everything when the ring or its signing key changes.
#[derive(Default)]
pub struct SellerKeys {
    /// The ring and the key that these are derived from.
    of: Option<([u8; 32], KeyId)>,
    recent: Memo,
    before: Memo,
    held: usize,
}

impl fmt::Debug for SellerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SellerKeys({} recent)", self.held)
    }
}

impl SellerKeys {
    /// The state to sign with, by `key` of `ring`.
    pub(super) fn mac(&mut self, ring: &Keyring, key: &Key, audience: Audience<'_>) -> Mac {
        let of = (ring.digest, key.id);
        if self.of != Some(of) {
            *self = SellerKeys { of: Some(of), ..SellerKeys::default() };
        }
        let kind = usize::from(audience.code());
        if let Some(mac) = self.recent[kind].get(audience.bounded()) {
            return mac.clone();
        }
        let known = self.before[kind].remove(audience.bounded());
        let mac = known.unwrap_or_else(|| prekeyed(&key.url_key(audience)));
        if self.held == MEMO {
            self.before = mem::take(&mut self.recent);
            self.held = 0;
        }
        self.recent[kind].insert(audience.bounded().into(), mac.clone());
        self.held += 1;
        mac
    }
}

/// The ring's gauges; held by whoever loads it, set at each load and each minute (roles change with time).
#[derive(Clone)]
pub struct Gauges {
    fingerprint: ::metrics::Gauge,
    keys: [::metrics::Gauge; 4],
}

impl Default for Gauges {
    fn default() -> Gauges {
        Gauges {
            fingerprint: metrics::gauge(&KEYRING_FINGERPRINT, &[]),
            keys: Role::ALL.map(|role| metrics::gauge(&KEYRING_KEYS, &[role.as_str()])),
        }
    }
}

impl Gauges {
    /// Shows this ring.
    pub fn set(&self, ring: &Keyring, now_ms: u64) {
        // 48 bits are exact in a double.
        self.fingerprint.set(ring.fingerprint() as f64);
        for (role, gauge) in Role::ALL.iter().zip(&self.keys) {
            gauge.set(ring.infos(now_ms).filter(|info| info.role == *role).count() as f64);
        }
    }
}
