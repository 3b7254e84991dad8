//! The HTTP-01 challenges of an ACME client (RFC 8555 §8.3): small files that a certificate authority fetches.

use std::collections::HashMap;

use bytes::Bytes;

use crate::edge::pages::Page;

/// The longest token of a challenge, bytes. The certificate authorities in use take 43.
const MAX_TOKEN_LEN: usize = 128;

/// The bodies under `/.well-known/acme-challenge/`, by token. Immutable: a change makes another map.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AcmeChallenges(HashMap<String, Bytes>);

impl AcmeChallenges {
    /// The challenges of these tokens and bodies. Names that are no tokens are left out.
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> AcmeChallenges {
        AcmeChallenges(files.into_iter().filter(|(name, _)| AcmeChallenges::is_token(name)).collect())
    }

    /// Whether a file's name is a challenge's token: letters, digits, `-` and `_`.
    pub fn is_token(name: &str) -> bool {
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=MAX_TOKEN_LEN).contains(&name.len()) && name.bytes().all(is_token_byte)
    }

    /// The challenge at a path.
    pub(super) fn find_page(&self, path: &str) -> Option<Page> {
        let body = self.0.get(path.strip_prefix("/.well-known/acme-challenge/")?)?;
        Some(Page::plain_text(body.clone()))
    }
}
