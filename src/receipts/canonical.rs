//! The canonical form of RFC 8785, of the objects of this module.

use serde::Serialize;

use super::merkle::{Hash, hash_leaf};

/// Objects whose fields stand in alphabetical order, without floating point numbers: their JSON as `serde_json` writes
/// it is canonical.
pub(super) trait Canonical: Serialize {
    /// The canonical bytes.
    fn canonical_bytes(&self) -> Vec<u8> {
        // These types have neither maps nor numbers that JSON cannot have, so writing them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The hash of the object as a leaf.
    fn leaf_hash(&self) -> Hash {
        hash_leaf(&self.canonical_bytes())
    }
}

/// A hash as text: 64 hexadecimal digits, lower case.
pub(super) fn format_hash(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a hash that [`format_hash`] wrote.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let byte_at = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = is_hash.then(|| byte_at(at)).flatten()?;
    }
    Some(hash)
}
