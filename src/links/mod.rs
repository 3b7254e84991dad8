//! The links: one table in memory that every worker reads.
//!
//! A link is one exact allocation behind a thin pointer, and that pointer is all the table holds: the key (domain and
//! code) lies at the front of the allocation, so a code costs neither heap of its own nor room in the table. A look-up
//! hashes the asked key's bytes from the stack. An unknown code is one miss, cheaper than a hit: no filter stands in front.
//!
//! Keys in the slots were tried: slots of 24 bytes instead of 8 cost 17 bytes a link more and save a hit nothing, because
//! a click reads the allocation anyway; only a miss took half the time, and it takes a sixth of a hit as it is.
//!
//! ```text
//!   head 8 bytes: code length u8 | flags u8 | facts length u16 | audience at u16 | audience length u8 | 0
//!   domain id u16 | code | facts (model::link) | domain's name, if it is the audience | start u64, if it has one
//!   fallback: u16 length and URL, if it has one | skeleton (destination)
//! ```
//!
//! A table is filled before it is published and not written to afterwards: a reload fills another one and swaps it in
//! (`feeder`), so no look-up ever meets a resize.

use std::{collections::HashMap, ops::Deref, path::PathBuf, time::Duration};

use dashmap::{DashMap, Entry, mapref::one::Ref};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::{
    links::{
        destination::entry::{self, Rules},
        domains::DomainId,
    },
    model::code::MAX as MAX_CODE,
};

pub mod destination;
pub mod domains;
pub mod feeder;
pub mod file;
mod link;

pub use link::{Link, State};

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
            if let Err(message) = entry::check_app_scheme(scheme) {
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

/// How long the code of a removed link is not given out again: its clicks may earn for 100 days and 14 more.
const REUSE_MS: u64 = 114 * 24 * 60 * 60 * 1000;

/// Every link, by domain and code.
pub struct Table {
    links: DashMap<Link, (), RandomState>,
    /// What earlier tables of this process had and this one has not, and since when, milliseconds since the epoch.
    gone: HashMap<Link, u64, RandomState>,
}

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
        let links = DashMap::with_capacity_and_hasher_and_shard_amount(capacity, RandomState::default(), SHARDS);
        Table { links, gone: HashMap::default() }
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
        self.links.get(&*key).map(Found)
    }

    /// Adds a link; gives it back if its domain has the code already. For the feeder, before the table is published.
    pub fn insert(&self, link: Link) -> Result<(), Link> {
        match self.links.entry(link) {
            Entry::Vacant(room) => {
                room.insert(());
                Ok(())
            }
            Entry::Occupied(taken) => Err(taken.into_key()),
        }
    }

    /// How many links there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Visits every link, in no order. For the feeder and for commands, not for the click path.
    pub fn for_each(&self, mut visit: impl FnMut(&Link)) {
        self.links.iter().for_each(|entry| visit(entry.key()));
    }

    /// Keeps in mind for [`REUSE_MS`] what `old` had and this table has not. For the feeder, before it is published.
    fn remember(&mut self, old: &Table, now_ms: u64) {
        let lacks = |link: &Link| !self.links.contains_key(link);
        let earlier = old.gone.iter().filter(|(link, gone_ms)| taken(**gone_ms, now_ms) && lacks(link));
        let mut gone: HashMap<_, _, _> = earlier.map(|(link, gone_ms)| (link.clone(), *gone_ms)).collect();
        old.for_each(|link| {
            if lacks(link) {
                gone.insert(link.clone(), now_ms);
            }
        });
        self.gone = gone;
    }

    /// The link that had this one's code in an earlier table, if the code is not free again.
    fn gone(&self, link: &Link, now_ms: u64) -> Option<&Link> {
        self.gone.get_key_value(link).filter(|(_, gone_ms)| taken(**gone_ms, now_ms)).map(|(gone, _)| gone)
    }
}

/// Whether the code of a link that is gone since `gone_ms` is not to be given out yet.
const fn taken(gone_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(gone_ms) < REUSE_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        links::{destination::Fill, domains::Domains},
        model::link::{LinkFacts, record::Record},
    };

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

    proptest! {
        #[test]
        fn whatever_enters_is_found_again_with_its_facts_and_leads_somewhere(
            code in "[0-9A-Za-z_-]{1,64}", creator in ".{1,20}", partner in prop::option::of("[a-z]{1,9}"),
            url in "https://[a-z]{1,9}\\.example/[ -~]{0,30}", fallback in prop::option::of("https://a\\.example/[a-z]{0,9}"),
            own in any::<bool>(), starts in any::<bool>(), now in 0..NOW * 2,
        ) {
            let record: Record = serde_json::from_value(json!({"code":code,"url":url,"kind":"plain","creator":creator,
                "partner":partner,"created_at":"2026-11-01T00:00:00Z","fallback_url":fallback,
                "domain":if own { "go.example.com" } else { "*" },
                "starts_at":if starts { json!("2026-11-02T00:00:00Z") } else { Value::Null }})).unwrap();
            let domains = Domains::new(&toml::from_str("[\"go.example.com\"]").unwrap()).unwrap();
            let Ok((link, _)) = Link::new(&record, &Rules::default(), &domains, NOW, 1) else { return Ok(()) };
            let (domain, table) = (domains.named(&record.domain).unwrap(), Table::with_capacity(1));
            prop_assert!(table.insert(link).is_ok());
            let link = table.get(domain.id, code.as_bytes()).unwrap();
            let facts = LinkFacts::decode(link.facts()).unwrap();
            prop_assert_eq!((facts.creator, facts.partner), (&*creator, partner.as_deref().unwrap_or_default()));
            prop_assert_eq!(link.audience(), partner.as_deref().unwrap_or(&domain.name));
            prop_assert_eq!(link.fallback_url(), fallback.as_deref());
            prop_assert_eq!(link.starts_ms() > 0, starts);
            let live = now < facts.ends_ms && now >= link.starts_ms();
            prop_assert_eq!(link.state(now) == State::Live, live);
            let fill = Fill { click_id: b"id", token: Some(b"v1.t"), query: b"a=b", token_param: b"wp" };
            let mut out = Vec::new();
            prop_assert!(link.skeleton().render(&fill, &mut out).is_some());
            prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
        }
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
