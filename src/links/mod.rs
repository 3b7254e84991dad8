//! The links: one table in memory that every worker reads.
//!
//! A link is one exact allocation behind a thin pointer, and that pointer is all the table holds: the key (domain and
//! code) lies at the front of the allocation, so a code costs neither heap of its own nor room in the table. A look-up
//! hashes the asked key's bytes from the stack. An unknown code is one miss, cheaper than a hit: no filter stands in front.
//!
//! ```text
//!   head 8 bytes: code length u8 | flags u8 | facts length u16 | audience at u16 | audience length u8 | 0
//!   domain id u16 | code | facts (model::link) | domain's name, if it is the audience | start u64, if it has one
//!   fallback: u16 length and URL, if it has one | skeleton (destination)
//! ```
//!
//! A table is filled before it is published and not written to afterwards: a reload fills another one and swaps it in
//! (`feeder`), so no look-up ever meets a resize.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    ops::Deref,
    path::PathBuf,
    time::Duration,
};

use dashmap::{DashMap, Entry, mapref::one::Ref};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use triomphe::ThinArc;

use crate::{
    links::{
        destination::{Destination, Rules, Skeleton},
        domains::{Domain, DomainId, Domains},
    },
    model::{
        code::MAX as MAX_CODE,
        link::{
            LinkFacts,
            record::{Record, RecordError},
        },
    },
};

pub mod destination;
pub mod domains;
pub mod feeder;
pub mod file;

/// Where links come from and what may be among them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The links file, JSON lines.
    pub file: Option<PathBuf>,
    /// Whether a new version may be empty or remove more than a tenth of the live links.
    pub allow_shrink: bool,
    /// How often the file is looked at; a change counts once it is the same twice.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll_interval: Duration,
    /// Schemes of destinations beside `http` and `https`.
    pub app_schemes: Vec<String>,
    /// If not empty, the hosts destinations may name; `*.example.com` stands for every host below.
    pub allowed_hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            allow_shrink: false,
            poll_interval: Duration::from_millis(500),
            app_schemes: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

impl Config {
    /// Every mistake, as key (relative to `links`) and what is allowed.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        if !(Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&self.poll_interval) {
            mistakes.push(("poll_interval".into(), format!("is {:?}; allowed are 50ms to 1h", self.poll_interval)));
        }
        for scheme in &self.app_schemes {
            if let Err(message) = destination::check_app_scheme(scheme) {
                mistakes.push(("app_schemes".into(), message));
            }
        }
        for host in &self.allowed_hosts {
            if let Err(error) = url::Host::parse(host.strip_prefix("*.").unwrap_or(host)) {
                let message = format!("{host:?} is not a host name ({error}); allowed are a.example and *.a.example");
                mistakes.push(("allowed_hosts".into(), message));
            }
        }
        mistakes
    }

    /// What destinations are held to.
    pub fn rules(&self) -> Rules {
        Rules { app_schemes: self.app_schemes.clone(), allowed_hosts: self.allowed_hosts.clone() }
    }
}

/// Shards of the table. A bulk insert stops a look-up beside it for 133 ms with 8 shards, for 9 ms with 1024
/// (measured at 10 million links).
const SHARDS: usize = 1024;

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
        let built = destination::build(&destination, rules, |host| domain.cookie_reaches(host), &mut skeleton);
        mistakes.extend(built.err().map(|error| RecordError::new("url", error.to_string())));
        let fallback = record.fallback_url.as_deref().map(|url| destination::plain_url(url, rules)).transpose();
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
    fn undated(&self) -> bool {
        self.head().flags & UNDATED != 0
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn bytes(&self) -> &[u8] {
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

    fn starts_ms(&self) -> u64 {
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

/// Every link, by domain and code.
pub struct Table(DashMap<Link, (), RandomState>);

/// A link under the read lock of its shard; drop it before doing anything slow.
pub struct Found<'a>(Ref<'a, Link, ()>);

impl Deref for Found<'_> {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.key()
    }
}

impl Table {
    /// An empty table with room for `capacity` links.
    pub fn with_capacity(capacity: usize) -> Table {
        Table(DashMap::with_capacity_and_hasher_and_shard_amount(capacity, RandomState::default(), SHARDS))
    }

    /// The link of a code, which may be any bytes. Makes no allocation.
    pub fn get(&self, domain: DomainId, code: &[u8]) -> Option<Found<'_>> {
        let mut key = [0; 2 + MAX_CODE];
        let key = key.get_mut(..2 + code.len())?;
        key[..2].copy_from_slice(&domain.to_bytes());
        key[2..].copy_from_slice(code);
        if domain.folds() {
            key[2..].make_ascii_lowercase();
        }
        self.0.get(&*key).map(Found)
    }

    /// Adds a link; gives it back if its domain has the code already. For the feeder, before the table is published.
    pub fn insert(&self, link: Link) -> Result<(), Link> {
        match self.0.entry(link) {
            Entry::Vacant(room) => {
                room.insert(());
                Ok(())
            }
            Entry::Occupied(taken) => Err(taken.into_key()),
        }
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Visits every link, in no order. For the feeder and for commands, not for the click path.
    pub fn for_each(&self, mut visit: impl FnMut(&Link)) {
        self.0.iter().for_each(|entry| visit(entry.key()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::links::destination::Fill;

    const NOW: u64 = 1_793_600_000_000;

    fn link(changes: Value) -> Link {
        let mut record = json!({"code":"7Kq2ZpXa","url":"https://shop.example.com/view/product/1729384756?creator=c_48213",
            "kind":"product","creator":"c_48213","creator_type":"affiliate","partner":"tap_7","seller":"s_311",
            "product":"1729384756","plan":"targeted","rate_bp":1200,"created_at":"2026-11-01T00:00:00Z"});
        for (key, value) in changes.as_object().unwrap() {
            record[key] = value.clone();
        }
        let record: Record = serde_json::from_value(record).unwrap();
        let domains = Domains::new(&toml::from_str("[\"go.example.com\"]").unwrap()).unwrap();
        match Link::new(&record, &Rules::default(), &domains, NOW, 9) {
            Ok((link, _)) => link,
            Err(mistakes) => panic!("{mistakes:?}"),
        }
    }

    fn plain(changes: Value) -> Link {
        let mut all = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null});
        changes.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
        link(all)
    }

    #[test]
    fn a_link_gives_back_what_it_was_made_of() {
        let link = link(json!({"fallback_url":"https://shop.example.com","starts_at":"2026-11-02T00:00:00Z"}));
        let facts = LinkFacts::decode(link.facts()).unwrap();
        assert_eq!((link.code(), facts.product, facts.version), (&b"7Kq2ZpXa"[..], "1729384756", 9));
        assert_eq!(link.fallback_url(), Some("https://shop.example.com/"));
        assert_eq!(link.starts_ms(), facts.created_ms + 24 * 3600 * 1000);
        assert_eq!(link.skeleton().template(), "https://shop.example.com/view/product/1729384756?creator=c_48213");
    }

    #[test]
    fn an_ordinary_link_takes_at_most_84_bytes_beyond_its_url_and_a_slot_takes_8() {
        let link = link(json!({}));
        let url = "https://shop.example.com/view/product/1729384756?creator=c_48213".len();
        // Reference count, head and length, each a word; then the slice.
        let size = 3 * size_of::<usize>() + link.bytes().len();
        assert!(size - url <= 84, "{}", size - url);
        assert_eq!(size_of::<Link>(), 8);
        assert_eq!(size_of::<(Link, ())>(), 8);
    }

    #[test]
    fn the_audience_is_the_seller_else_the_partner_else_the_domain() {
        assert_eq!(link(json!({})).audience(), "s_311");
        assert_eq!(plain(json!({})).audience(), "tap_7");
        assert_eq!(plain(json!({"partner":null})).audience(), "*");
        let own = plain(json!({"partner":null,"domain":"go.example.com","fallback_url":"https://a.example/x",
            "starts_at":"2026-11-02T00:00:00Z"}));
        assert_eq!((own.audience(), own.fallback_url()), ("go.example.com", Some("https://a.example/x")));
        assert_eq!(own.state(own.starts_ms()), State::Live);
    }

    #[test]
    fn a_link_is_live_from_its_start_to_its_end() {
        let link = link(json!({"starts_at":"2026-11-02T00:00:00Z","expires_at":"2026-11-03T00:00:00Z"}));
        let (start, day) = (link.starts_ms(), 24 * 3600 * 1000);
        for (now, state) in [
            (start - 1, State::NotStarted),
            (start, State::Live),
            (start + day - 1, State::Live),
            (start + day, State::Expired),
        ] {
            assert_eq!(link.state(now), state);
        }
        assert_eq!(plain(json!({"enabled":false})).state(u64::MAX), State::Disabled);
    }

    #[test]
    fn a_link_renders_its_destination_with_its_token() {
        let link = link(json!({}));
        let fill = Fill { click_id: b"id", token: Some(b"v1.t"), query: b"creator=thief", token_param: b"wp" };
        let mut out = Vec::new();
        assert_eq!(link.skeleton().render(&fill, &mut out), Some(68));
        assert_eq!(out, b"https://shop.example.com/view/product/1729384756?creator=c_48213&wp=v1.t");
    }

    #[test]
    fn a_code_is_taken_once_in_its_domain() {
        let table = Table::with_capacity(2);
        assert!(table.insert(link(json!({}))).is_ok());
        assert_eq!(table.insert(link(json!({}))).map_err(|link| link.code().to_vec()), Err(b"7Kq2ZpXa".to_vec()));
        assert!(table.insert(link(json!({"domain":"go.example.com"}))).is_ok());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn settings_that_allow_too_much_are_refused() {
        let config = Config {
            poll_interval: Duration::ZERO,
            app_schemes: vec!["javascript".into(), "Shop".into(), "shopapp".into(), "https".into()],
            allowed_hosts: vec!["a.example".into(), "*.a.example".into(), "a b".into()],
            ..Config::default()
        };
        let keys: Vec<String> = config.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["poll_interval", "app_schemes", "app_schemes", "app_schemes", "allowed_hosts"]);
        assert!(Config::default().mistakes().is_empty());
    }
}
