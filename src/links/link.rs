//! One link in the table: one exact allocation behind a thin pointer. `link_bytes` draws what is in it.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use triomphe::ThinArc;

use crate::{
    links::{
        destination::{UrlTemplate, policy::DestinationPolicy},
        domains::{Domain, DomainId, Domains},
        link_bytes::{
            DEFAULT_CREATED_AT, ENABLED, HAS_FALLBACK, HAS_NEXT_HOP_HOSTS, HAS_START, HAS_TARGETS, Header, LinkParts,
        },
        link_key::LinkKey,
        link_urls::LinkUrls,
        next_hop::{NextHopHosts, check_and_join_hosts},
        targets::{Targets, compile_targets},
    },
    model::{
        code::Code,
        link::{
            LinkFacts, LinkKind,
            record::{Record, RecordError, RecordErrorKind},
        },
    },
};

/// Whether a link redirects at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It redirects, and the click may earn.
    Live,
    /// It is 100 days old, or past its own end.
    Expired,
    /// Its start lies ahead.
    NotStarted,
    /// It is switched off. Comes before [`LinkState::Expired`], so that a disabled link never redirects.
    Disabled,
}

/// One link: its key, its facts and its destination, ready to serve.
#[derive(Clone)]
pub struct Link(ThinArc<Header, u8>);

/// A link made of a record that breaks no rule.
pub struct ValidLink {
    /// The link.
    pub link: Link,
    /// What is allowed but unusual about its record.
    pub warnings: Vec<RecordError>,
    /// The links of this server that its URLs lead to.
    pub own_host_targets: Vec<LinkKey>,
}

/// What never changes about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnchangeableFields<'a> {
    /// Its creation, milliseconds since the epoch.
    pub created_ms: u64,
    /// Whether the record of a test link left `created_at` out. The time of loading may change.
    pub is_created_at_default: bool,
    /// What the link refers to.
    pub kind: LinkKind,
    /// The creator's id; "" for none.
    pub creator: &'a str,
    /// The partner's id; "" for none.
    pub partner: &'a str,
}

impl Link {
    /// Checks `record` against every rule that needs no other record, and builds the link. `version` goes into the
    /// facts of each click, `now_ms` is the wall's time.
    ///
    /// # Errors
    /// Every rule that the record breaks.
    pub fn check_and_build_from_record(
        record: &Record,
        policy: &DestinationPolicy,
        domains: &Domains,
        now_ms: u64,
        version: u64,
    ) -> Result<ValidLink, Vec<RecordError>> {
        let (domain, valid) =
            match (find_configured_domain_of_record(record, domains), record.validate_and_build_facts(now_ms, version))
            {
                (Ok(domain), Ok(valid)) => (domain, valid),
                (domain, valid) => {
                    let mut errors = valid.err().unwrap_or_default();
                    errors.extend(domain.err());
                    return Err(errors);
                }
            };
        let code = if domain.id.ignores_case() { valid.code.to_lowercase() } else { valid.code.clone() };
        check_code_takes_no_route(&code, domain)?;
        let urls = LinkUrls::check_and_build(record, &valid, code.as_str(), domain, policy)?;
        let own_host_targets = urls.check_and_list_own_host_targets(record, code.as_str(), domain, domains)?;
        let next_hop_hosts = check_and_join_hosts(&record.next_hop_hosts, policy, domains)?;
        let flags =
            if record.enabled { ENABLED } else { 0 } | if valid.has_created_at { 0 } else { DEFAULT_CREATED_AT };
        let targets = compile_targets(&valid.targets, &urls.targets, &domain.name, code.as_str());
        let parts = LinkParts {
            domain,
            code: code.as_bytes(),
            facts: &valid.facts,
            flags,
            starts_ms: valid.starts_ms,
            fallback: urls.fallback.as_deref(),
            targets: &targets,
            next_hop_hosts: &next_hop_hosts,
            url_template: &urls.template,
        };
        let mut warnings = valid.warnings;
        if domains.refuses_unknown_hosts() && &*domain.name == "*" {
            let message = "\"*\" is reached by no request while unknown_hosts is \"refuse\"; name a host";
            warnings.push(RecordError::new("domain", message));
        }
        let (header, bytes) = parts.encode();
        let link = Link(ThinArc::from_header_and_slice(header, &bytes));
        Ok(ValidLink { link, warnings, own_host_targets })
    }

    /// The state at `now_ms`, milliseconds since the epoch.
    pub fn state_at(&self, now_ms: u64) -> LinkState {
        let ends_ms = LinkFacts::decode_times(self.facts()).map_or(0, |times| times.ends_ms);
        if self.header().flags & ENABLED == 0 {
            LinkState::Disabled
        } else if now_ms >= ends_ms {
            LinkState::Expired
        } else if now_ms < self.starts_ms() {
            LinkState::NotStarted
        } else {
            LinkState::Live
        }
    }

    /// The encoded facts, as a click carries them (`LinkFacts`).
    pub fn facts(&self) -> &[u8] {
        let from = self.facts_offset();
        &self.bytes()[from..from + usize::from(self.header().facts_len)]
    }

    /// The URL template of the destination.
    pub fn url_template(&self) -> UrlTemplate<'_> {
        let at = if self.leads_elsewhere() { self.offset_behind_next_hop_hosts() } else { self.targets_offset() };
        UrlTemplate::from_bytes(&self.bytes()[at..])
    }

    /// The targets, if the link has some.
    #[inline]
    pub fn targets(&self) -> Option<Targets<'_>> {
        let len = self.targets_len()?;
        let at = self.targets_offset() + 4;
        Some(Targets::from_bytes(&self.bytes()[at..at + len]))
    }

    /// The hosts that a click's own URL may lead on to, if the link lists some.
    pub fn next_hop_hosts(&self) -> Option<NextHopHosts<'_>> {
        let len = self.next_hop_hosts_len()?;
        let at = self.next_hop_hosts_offset() + 2;
        Some(NextHopHosts::from_bytes(&self.bytes()[at..at + len]))
    }

    /// Whether a click can end elsewhere than at the link's own URL: the link has targets, or lists hosts of next hops.
    #[inline]
    pub fn leads_elsewhere(&self) -> bool {
        self.header().flags & (HAS_TARGETS | HAS_NEXT_HOP_HOSTS) != 0
    }

    /// The URL to redirect to while the link is not live; normalised, ASCII.
    pub fn fallback_url(&self) -> Option<&str> {
        let len = self.fallback_url_len()?;
        let at = self.fallback_offset() + 2;
        str::from_utf8(&self.bytes()[at..at + len]).ok()
    }

    /// The code; in lower case if the domain ignores case.
    pub fn code(&self) -> &[u8] {
        &self.key_bytes()[2..]
    }

    /// The version of the catalog that made the link what it is.
    pub fn version(&self) -> u64 {
        LinkFacts::decode_version(self.facts()).unwrap_or(0)
    }

    /// Domain and code.
    pub fn key(&self) -> LinkKey {
        LinkKey { domain: self.domain(), code: self.code().to_owned() }
    }

    /// The domain that the code belongs to.
    pub fn domain(&self) -> DomainId {
        let bytes = self.bytes();
        DomainId::from_bytes([bytes[0], bytes[1]])
    }

    /// What never changes about the link.
    pub fn unchangeable_fields(&self) -> Option<UnchangeableFields<'_>> {
        let facts = LinkFacts::decode(self.facts())?;
        Some(UnchangeableFields {
            created_ms: facts.created_ms,
            is_created_at_default: self.has_default_created_at(),
            kind: facts.kind,
            creator: facts.creator,
            partner: facts.partner,
        })
    }

    /// Whether the links serve every request in the same way, and say the same in events, but for the version. The
    /// creation of a test link that leaves it out is the time of loading, and does not count.
    pub fn is_same_except_version(&self, other: &Link) -> bool {
        let ignore_times = self.has_default_created_at() && other.has_default_created_at();
        self.key_bytes() == other.key_bytes()
            && self.header().flags == other.header().flags
            && LinkFacts::are_same_except_version(self.facts(), other.facts(), ignore_times)
            && self.bytes()[self.starts_ms_offset()..] == other.bytes()[other.starts_ms_offset()..]
    }

    /// Appends the link's bytes, from which [`Link::from_bytes`] makes it again.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        let Header { code_len, flags, facts_len } = *self.header();
        out.extend_from_slice(&[code_len, flags]);
        out.extend_from_slice(&facts_len.to_le_bytes());
        out.extend_from_slice(self.bytes());
    }

    /// The link of bytes that [`Link::write_bytes`] wrote in a build with the same format. `None` if their lengths
    /// contradict each other or the facts are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Link> {
        let (header, bytes) = bytes.split_first_chunk::<4>()?;
        let header =
            Header { code_len: header[0], flags: header[1], facts_len: u16::from_le_bytes([header[2], header[3]]) };
        let facts_at = 2 + usize::from(header.code_len);
        let facts_end = facts_at + usize::from(header.facts_len);
        LinkFacts::decode(bytes.get(facts_at..facts_end)?)?;
        let mut template_at = facts_end + if header.flags & HAS_START == 0 { 0 } else { 8 };
        if header.flags & HAS_FALLBACK != 0 {
            let len = bytes.get(template_at..)?.first_chunk::<2>()?;
            template_at += 2 + usize::from(u16::from_le_bytes(*len));
        }
        if header.flags & HAS_TARGETS != 0 {
            let len = bytes.get(template_at..)?.first_chunk::<4>()?;
            template_at += 4 + u32::from_le_bytes(*len) as usize;
        }
        if header.flags & HAS_NEXT_HOP_HOSTS != 0 {
            let len = bytes.get(template_at..)?.first_chunk::<2>()?;
            template_at += 2 + usize::from(u16::from_le_bytes(*len));
        }
        let has_template = bytes.len() > template_at;
        has_template.then(|| Link(ThinArc::from_header_and_slice(header, bytes)))
    }

    /// Whether the record of a test link left `created_at` out; it is then the time of loading.
    pub(super) fn has_default_created_at(&self) -> bool {
        self.header().flags & DEFAULT_CREATED_AT != 0
    }

    fn header(&self) -> &Header {
        &self.0.header.header
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    fn key_bytes(&self) -> &[u8] {
        &self.bytes()[..self.facts_offset()]
    }

    fn facts_offset(&self) -> usize {
        2 + usize::from(self.header().code_len)
    }

    /// Offset after the facts.
    fn starts_ms_offset(&self) -> usize {
        self.facts_offset() + usize::from(self.header().facts_len)
    }

    /// When the link starts, milliseconds since the epoch; 0 if it has no start.
    pub fn starts_ms(&self) -> u64 {
        if self.header().flags & HAS_START == 0 {
            return 0;
        }
        let start = self.bytes()[self.starts_ms_offset()..].first_chunk::<8>();
        start.map_or(0, |start| u64::from_le_bytes(*start))
    }

    fn fallback_offset(&self) -> usize {
        self.starts_ms_offset() + if self.header().flags & HAS_START == 0 { 0 } else { 8 }
    }

    fn fallback_url_len(&self) -> Option<usize> {
        if self.header().flags & HAS_FALLBACK == 0 {
            return None;
        }
        let len = self.bytes()[self.fallback_offset()..].first_chunk::<2>()?;
        Some(usize::from(u16::from_le_bytes(*len)))
    }

    fn targets_offset(&self) -> usize {
        self.fallback_offset() + self.fallback_url_len().map_or(0, |len| 2 + len)
    }

    #[inline]
    fn targets_len(&self) -> Option<usize> {
        if self.header().flags & HAS_TARGETS == 0 {
            return None;
        }
        let len = self.bytes()[self.targets_offset()..].first_chunk::<4>()?;
        Some(u32::from_le_bytes(*len) as usize)
    }

    fn next_hop_hosts_offset(&self) -> usize {
        self.targets_offset() + self.targets_len().map_or(0, |len| 4 + len)
    }

    fn next_hop_hosts_len(&self) -> Option<usize> {
        if self.header().flags & HAS_NEXT_HOP_HOSTS == 0 {
            return None;
        }
        let len = self.bytes()[self.next_hop_hosts_offset()..].first_chunk::<2>()?;
        Some(usize::from(u16::from_le_bytes(*len)))
    }

    /// Offset of the URL template.
    fn offset_behind_next_hop_hosts(&self) -> usize {
        self.next_hop_hosts_offset() + self.next_hop_hosts_len().map_or(0, |len| 2 + len)
    }
}

fn find_configured_domain_of_record<'a>(record: &Record, domains: &'a Domains) -> Result<&'a Domain, RecordError> {
    domains.find_by_name(&record.domain).ok_or_else(|| {
        let configured: Vec<&str> = domains.served().take(10).map(|domain| &*domain.name).collect();
        let message = format!("{:?} is not configured; configured are {}", record.domain, configured.join(", "));
        RecordError::new("domain", message).with_kind(RecordErrorKind::NotAcceptedHere)
    })
}

/// Checks that the link would not take the requests of a route, which is tried only where no link has the code.
fn check_code_takes_no_route(code: &Code, domain: &Domain) -> Result<(), Vec<RecordError>> {
    let Some(route) = domain.routes.find_shadowed_by(code.as_bytes(), domain.id.ignores_case()) else { return Ok(()) };
    let message = format!(
        "{code:?} is the path of the route {:?} of {}, which would never be tried again; give the link another code, \
         or remove the route",
        route.name(),
        domain.name,
        code = code.as_str()
    );
    Err(vec![RecordError::new("code", message).with_kind(RecordErrorKind::CodeTaken)])
}

impl Borrow<[u8]> for Link {
    fn borrow(&self) -> &[u8] {
        self.key_bytes()
    }
}

/// Hashes the key alone, as [`Borrow`] demands.
impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key_bytes().hash(state);
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        self.key_bytes() == other.key_bytes()
    }
}

impl Eq for Link {}
