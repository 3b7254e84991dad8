//! One link in the table.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use triomphe::ThinArc;

use crate::{
    links::{
        destination::{
            Skeleton,
            entry::{self, Destination, Rules},
        },
        domains::{Domain, DomainId, Domains},
    },
    model::link::{
        LinkFacts,
        record::{Record, RecordError},
    },
};

/// Whether a link is to be followed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes, and the click may earn.
    Live,
    /// 100 days old, or past its own end.
    Expired,
    /// Before its start.
    NotStarted,
    /// Switched off; says so even if it is expired, so that it is never passed on.
    Disabled,
}

#[derive(Clone, Copy)]
struct Head {
    code_len: u8,
    flags: u8,
    facts_len: u16,
    audience_at: u16,
    audience_len: u8,
    _spare: u8,
}

const ENABLED: u8 = 1;
const HAS_START: u8 = 1 << 1;
const HAS_FALLBACK: u8 = 1 << 2;
const UNDATED: u8 = 1 << 3;

/// One link: its key, its facts and its destination, ready to serve.
#[derive(Clone)]
pub struct Link(ThinArc<Head, u8>);

impl Link {
    /// Holds `record` to every rule, and makes the link of it. Gives what is unusual beside it. `version` goes into each
    /// click's facts, `now_ms` is the wall's time.
    pub fn new(
        record: &Record,
        rules: &Rules,
        domains: &Domains,
        now_ms: u64,
        version: u64,
    ) -> Result<(Link, Vec<RecordError>), Vec<RecordError>> {
        let domain = domains.named(&record.domain).ok_or_else(|| {
            let configured: Vec<&str> = domains.all().iter().take(10).map(|domain| &*domain.name).collect();
            let message = format!("{:?} is not configured; configured are {}", record.domain, configured.join(", "));
            RecordError::new("domain", message)
        });
        let valid = record.validate(now_ms, version);
        let (domain, valid) = match (domain, valid) {
            (Ok(domain), Ok(valid)) => (domain, valid),
            (domain, valid) => {
                let mut mistakes = valid.err().unwrap_or_default();
                mistakes.extend(domain.err());
                return Err(mistakes);
            }
        };
        let code = if domain.id.folds() { valid.code.folded() } else { valid.code.clone() };
        let mut mistakes = Vec::new();
        let mut skeleton = Vec::with_capacity(record.url.len() + 32);
        let destination = Destination {
            url: &record.url,
            code: code.as_str(),
            creator: valid.facts.creator,
            query: record.query,
            allow: record.query_allow.as_deref(),
            append_token: record.append_token,
            token_param: &domain.token_param,
        };
        let built = entry::build(&destination, rules, |host| domain.cookie_reaches(host), &mut skeleton);
        mistakes.extend(built.err().map(|error| RecordError::new("url", error.to_string())));
        let fallback = record.fallback_url.as_deref().map(|url| entry::plain_url(url, rules)).transpose();
        let fallback = fallback.unwrap_or_else(|error| {
            mistakes.push(RecordError::new("fallback_url", error.to_string()));
            None
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let flags = if record.enabled { ENABLED } else { 0 } | if valid.dated { 0 } else { UNDATED };
        let parts = Parts {
            domain,
            code: code.as_bytes(),
            facts: &valid.facts,
            flags,
            starts_ms: valid.starts_ms,
            fallback: fallback.as_deref(),
            skeleton: &skeleton,
        };
        Ok((parts.assemble(), valid.warnings))
    }

    /// Whether the link is to be followed at `now_ms`, milliseconds since the epoch.
    pub fn state(&self, now_ms: u64) -> State {
        let ends_ms = LinkFacts::times(self.facts()).map_or(0, |(_, ends_ms)| ends_ms);
        if self.head().flags & ENABLED == 0 {
            State::Disabled
        } else if now_ms >= ends_ms {
            State::Expired
        } else if now_ms < self.starts_ms() {
            State::NotStarted
        } else {
            State::Live
        }
    }

    /// The facts' bytes, as they travel in the click (`LinkFacts`).
    pub fn facts(&self) -> &[u8] {
        let from = self.facts_at();
        &self.bytes()[from..from + usize::from(self.head().facts_len)]
    }

    /// Where the link leads.
    pub fn skeleton(&self) -> Skeleton<'_> {
        let at = self.fallback_at();
        let fallback = self.fallback_len().map_or(0, |len| 2 + len);
        Skeleton::read(&self.bytes()[at + fallback..])
    }

    /// Where to go while the link is not live; a normal URL, ASCII.
    pub fn fallback_url(&self) -> Option<&str> {
        let len = self.fallback_len()?;
        let at = self.fallback_at() + 2;
        str::from_utf8(&self.bytes()[at..at + len]).ok()
    }

    /// Whose key signs the URL token: the seller, else the partner, else the domain.
    pub fn audience(&self) -> &str {
        let head = self.head();
        let at = usize::from(head.audience_at);
        str::from_utf8(&self.bytes()[at..at + usize::from(head.audience_len)]).unwrap_or_default()
    }

    /// The code; in lower case if the domain ignores case.
    pub fn code(&self) -> &[u8] {
        &self.key()[2..]
    }

    /// The domain whose codes this one is among.
    pub fn domain(&self) -> DomainId {
        let bytes = self.bytes();
        DomainId::from_bytes([bytes[0], bytes[1]])
    }

    /// Whether its `created_at` was left out (a test link) and is the time of loading.
    pub(super) fn undated(&self) -> bool {
        self.head().flags & UNDATED != 0
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    fn key(&self) -> &[u8] {
        &self.bytes()[..self.facts_at()]
    }

    fn facts_at(&self) -> usize {
        2 + usize::from(self.head().code_len)
    }

    /// Behind the facts, and behind the audience where it is not one of them.
    fn start_at(&self) -> usize {
        let head = self.head();
        let facts_end = self.facts_at() + usize::from(head.facts_len);
        let audience_end = usize::from(head.audience_at) + usize::from(head.audience_len);
        facts_end.max(audience_end)
    }

    pub(super) fn starts_ms(&self) -> u64 {
        if self.head().flags & HAS_START == 0 {
            return 0;
        }
        let start = self.bytes()[self.start_at()..].first_chunk::<8>();
        start.map_or(0, |start| u64::from_le_bytes(*start))
    }

    fn fallback_at(&self) -> usize {
        self.start_at() + if self.head().flags & HAS_START == 0 { 0 } else { 8 }
    }

    fn fallback_len(&self) -> Option<usize> {
        if self.head().flags & HAS_FALLBACK == 0 {
            return None;
        }
        let len = self.bytes()[self.fallback_at()..].first_chunk::<2>()?;
        Some(usize::from(u16::from_le_bytes(*len)))
    }
}

/// What a link is assembled from.
struct Parts<'a> {
    domain: &'a Domain,
    code: &'a [u8],
    facts: &'a LinkFacts<'a>,
    flags: u8,
    starts_ms: u64,
    fallback: Option<&'a str>,
    skeleton: &'a [u8],
}

impl Parts<'_> {
    /// Lays the parts out as the module's header says, in one exact allocation.
    fn assemble(&self) -> Link {
        let mut bytes = Vec::with_capacity(256 + self.skeleton.len());
        let mut flags = self.flags;
        bytes.extend_from_slice(&self.domain.id.to_bytes());
        bytes.extend_from_slice(self.code);
        let facts_at = bytes.len();
        self.facts.encode(&mut bytes);
        let facts_len = bytes.len() - facts_at;
        // Every id is behind its length, so the first match behind the fixed part may lie in another id: it has the same
        // text all the same.
        let audience = [self.facts.seller, self.facts.partner].into_iter().find(|id| !id.is_empty());
        let audience_at = audience.and_then(|id| memchr::memmem::find(&bytes[facts_at..], id.as_bytes()));
        let (audience_at, audience_len) = match (audience, audience_at) {
            (Some(id), Some(at)) => (facts_at + at, id.len()),
            _ => {
                bytes.extend_from_slice(self.domain.name.as_bytes());
                (facts_at + facts_len, self.domain.name.len())
            }
        };
        if self.starts_ms > 0 {
            flags |= HAS_START;
            bytes.extend_from_slice(&self.starts_ms.to_le_bytes());
        }
        if let Some(fallback) = self.fallback {
            flags |= HAS_FALLBACK;
            bytes.extend_from_slice(&(fallback.len() as u16).to_le_bytes());
            bytes.extend_from_slice(fallback.as_bytes());
        }
        bytes.extend_from_slice(self.skeleton);
        let head = Head {
            code_len: self.code.len() as u8,
            flags,
            facts_len: facts_len as u16,
            audience_at: audience_at as u16,
            audience_len: audience_len as u8,
            _spare: 0,
        };
        Link(ThinArc::from_header_and_slice(head, &bytes))
    }
}

impl Borrow<[u8]> for Link {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

/// By its key alone, as [`Borrow`] demands.
impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Link {}
