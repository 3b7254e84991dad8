//! The bytes of a link in memory:
//!
//! ```text
//!   header 4 bytes: code length u8 | flags u8 | facts length u16
//!   domain id u16 | code | facts (model::link) | start u64, if it has one
//!   fallback: u16 length and URL, if it has one | targets: u32 length and bytes ([`targets`]), if it has some
//!   hosts of next hops: u16 length and text, if it has some | URL template (destination)
//! ```

use crate::{links::domains::Domain, model::link::LinkFacts};

#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) code_len: u8,
    pub(super) flags: u8,
    pub(super) facts_len: u16,
}

pub(super) const ENABLED: u8 = 1;
pub(super) const HAS_START: u8 = 1 << 1;
pub(super) const HAS_FALLBACK: u8 = 1 << 2;
pub(super) const DEFAULT_CREATED_AT: u8 = 1 << 3;
pub(super) const HAS_TARGETS: u8 = 1 << 4;
pub(super) const HAS_NEXT_HOP_HOSTS: u8 = 1 << 5;

/// What a link is encoded from.
pub(super) struct LinkParts<'a> {
    pub(super) domain: &'a Domain,
    pub(super) code: &'a [u8],
    pub(super) facts: &'a LinkFacts<'a>,
    pub(super) flags: u8,
    pub(super) starts_ms: u64,
    pub(super) fallback: Option<&'a str>,
    /// Empty without targets.
    pub(super) targets: &'a [u8],
    /// Empty without hosts.
    pub(super) next_hop_hosts: &'a str,
    pub(super) url_template: &'a [u8],
}

impl LinkParts<'_> {
    /// The header and the bytes behind it.
    pub(super) fn encode(&self) -> (Header, Vec<u8>) {
        let mut bytes = Vec::with_capacity(256 + self.url_template.len());
        let mut flags = self.flags;
        bytes.extend_from_slice(&self.domain.id.to_bytes());
        bytes.extend_from_slice(self.code);
        let facts_at = bytes.len();
        self.facts.encode(&mut bytes);
        let facts_len = bytes.len() - facts_at;
        if self.starts_ms > 0 {
            flags |= HAS_START;
            bytes.extend_from_slice(&self.starts_ms.to_le_bytes());
        }
        if let Some(fallback) = self.fallback {
            flags |= HAS_FALLBACK;
            bytes.extend_from_slice(&(fallback.len() as u16).to_le_bytes());
            bytes.extend_from_slice(fallback.as_bytes());
        }
        if !self.targets.is_empty() {
            flags |= HAS_TARGETS;
            bytes.extend_from_slice(&(self.targets.len() as u32).to_le_bytes());
            bytes.extend_from_slice(self.targets);
        }
        if !self.next_hop_hosts.is_empty() {
            flags |= HAS_NEXT_HOP_HOSTS;
            bytes.extend_from_slice(&(self.next_hop_hosts.len() as u16).to_le_bytes());
            bytes.extend_from_slice(self.next_hop_hosts.as_bytes());
        }
        bytes.extend_from_slice(self.url_template);
        let header = Header { code_len: self.code.len() as u8, flags, facts_len: facts_len as u16 };
        (header, bytes)
    }
}
