//! A worker's cache of derived URL keys.

use std::{collections::HashMap, fmt, mem};

use crate::attribution::{
    key_scope::KeyScope,
    keyring::{KeyId, Keyring, Mac, MasterKey, mac_with_key},
};

/// The most scopes in each of the cache's two generations. A scope takes about 250 bytes, so a worker's cache takes at
/// most 1 MiB.
const GENERATION_LEN: usize = 2048;

/// Derived keys by the scope's kind and name.
type Generation = [HashMap<Box<str>, Mac, foldhash::fast::RandomState>; 3];

/// A worker's cache of the URL keys that are derived from the signing key. To derive one costs some ten hash blocks.
/// The cache keeps the most recent scopes in two generations, and is emptied when the ring or its signing key changes.
#[derive(Default)]
pub struct UrlKeyCache {
    /// The ring's digest and the master key from which the cached keys are derived.
    source: Option<([u8; 32], KeyId)>,
    recent: Generation,
    older: Generation,
    recent_len: usize,
}

impl fmt::Debug for UrlKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlKeyCache({} recent)", self.recent_len)
    }
}

impl UrlKeyCache {
    /// The HMAC state with the URL key of a scope, from the cache or newly derived from `key` of `ring`.
    pub(super) fn get_cached_or_derive_mac(&mut self, ring: &Keyring, key: &MasterKey, scope: KeyScope<'_>) -> Mac {
        let source = (ring.digest(), key.id);
        if self.source != Some(source) {
            *self = UrlKeyCache { source: Some(source), ..UrlKeyCache::default() };
        }
        let kind = usize::from(scope.kind_number());
        if let Some(mac) = self.recent[kind].get(scope.bounded_name()) {
            return mac.clone();
        }
        let older = self.older[kind].remove(scope.bounded_name());
        let mac = older.unwrap_or_else(|| mac_with_key(&key.derive_url_key(scope)));
        if self.recent_len == GENERATION_LEN {
            self.older = mem::take(&mut self.recent);
            self.recent_len = 0;
        }
        self.recent[kind].insert(scope.bounded_name().into(), mac.clone());
        self.recent_len += 1;
        mac
    }
}
