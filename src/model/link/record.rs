//! The record of a link: one JSON object a line in files (and later on the API and the link topic).
//!
//! | kind | requires | refuses |
//! |---|---|---|
//! | `product` | `product`, `seller`, `plan`, `rate_bp` | `product_set` |
//! | `showcase` | `creator_type` = `affiliate`, `product_set` | `product`, `plan`, `rate_bp` |
//! | `campaign` | `campaign`, `product_set` | `product`, `plan`, `rate_bp` |
//! | `plain` | | `product`, `seller`, `plan`, `rate_bp`, `campaign`, `product_set` |
//!
//! `created_at` may be absent only with `"test": true` and is then the time of loading. Here is checked what the record
//! alone can tell; its URLs and its domain are checked where destinations and domains are known (`links`).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    code::{Code, MAX},
    link::{CreatorType, EARNS_MS, Kind, LinkFacts, MAX_ID, Plan, QueryPolicy},
};

/// The usual rates, in hundredths of a percent; others are taken with a warning.
pub const USUAL_RATES: std::ops::RangeInclusive<u32> = 500..=2600;
/// The whole order value.
const MAX_RATE: u32 = 10_000;
/// How far ahead of the edge's clock a `created_at` may lie: clocks differ, time zones must not.
pub const AHEAD_MS: u64 = 60 * 60 * 1000;
/// The longest allow-list of query parameters, in names and in bytes together.
const MAX_ALLOW: (usize, usize) = (64, 1024);

/// A link as people write it. Unknown fields are refused; where nothing is a value, `null` and absent are the
/// same.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1 to 64 of `[0-9A-Za-z_-]`.
    pub code: String,
    /// The destination, perhaps with holes (`{click_id}`, `{click_token}`, `{code}`, `{creator}`, `{sub1}`…`{sub5}`).
    pub url: String,
    /// What the link stands for.
    pub kind: Kind,
    /// The creator's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// What the creator may own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_type: Option<CreatorType>,
    /// The partner's (agency's) id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The seller's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<String>,
    /// The product's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The id of the set of products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_set: Option<String>,
    /// The campaign's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The plan behind the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The rate in hundredths of a percent, 1 to 10000; outside 500 to 2600 it warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bp: Option<u32>,
    /// RFC 3339; the 100 days run from here. Absent only with `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Not live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Not live from then on; can only shorten the 100 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Switched off if false.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Never paid; may leave out `created_at`.
    #[serde(default)]
    pub test: bool,
    /// Where to go while the link is not live. No holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<String>,
    /// The host whose codes this one belongs to; `*` for every host that is not configured.
    #[serde(default = "any_domain")]
    pub domain: String,
    /// What becomes of the incoming query.
    #[serde(default)]
    pub query: QueryPolicy,
    /// If given, only these incoming parameters are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_allow: Option<Vec<String>>,
    /// Whether a destination outside the cookie's domain gets the token appended.
    #[serde(default = "yes")]
    pub append_token: bool,
    /// Room for rules by country and device; must be empty in this version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<serde_json::Value>,
}

fn text(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or_default()
}

fn yes() -> bool {
    true
}

fn any_domain() -> String {
    "*".to_owned()
}

/// What is wrong (or, as a warning, unusual) about one field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The field's name in JSON.
    pub field: &'static str,
    /// What was found and what is allowed.
    pub message: String,
}

impl RecordError {
    /// A mistake in `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> RecordError {
        RecordError { field, message: message.into() }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for RecordError {}

/// A record that holds to every rule it can be held to alone.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    /// The code as written; a domain that ignores case folds it.
    pub code: Code,
    /// What clicks say about the link.
    pub facts: LinkFacts<'a>,
    /// Not live before, milliseconds since the epoch; 0 for at once.
    pub starts_ms: u64,
    /// Whether `created_at` was written; if not it is the time of loading.
    pub dated: bool,
    /// What is allowed but unusual.
    pub warnings: Vec<RecordError>,
}

impl Record {
    /// Checks every rule the record alone can be held to; `now_ms` is the wall's time, `version` goes into the facts.
    /// All mistakes at once.
    pub fn validate(&self, now_ms: u64, version: u64) -> Result<Valid<'_>, Vec<RecordError>> {
        let mut mistakes = Vec::new();
        let mut warnings = Vec::new();
        let code = Code::parse(self.code.as_bytes()).map_err(|error| {
            mistakes.push(RecordError::new("code", format!("{error}; allowed are 1 to {MAX} of 0-9 A-Z a-z _ -")));
        });
        self.check_kind(&mut mistakes);
        self.check_ids(&mut mistakes);
        self.check_rate(&mut mistakes, &mut warnings);
        self.check_query(&mut mistakes);
        if !self.targets.is_empty() {
            mistakes.push(RecordError::new(
                "targets",
                "rules by country or device are not built yet; leave it out or empty",
            ));
        }
        let times = self.times(now_ms, &mut mistakes);
        let (Ok(code), true) = (code, mistakes.is_empty()) else { return Err(mistakes) };
        let facts = LinkFacts {
            version,
            kind: self.kind,
            created_ms: times.created_ms,
            ends_ms: times.ends_ms,
            creator_type: self.creator_type,
            plan: self.plan,
            rate_bp: self.rate_bp.map_or(0, |rate| rate as u16),
            test: self.test,
            creator: text(&self.creator),
            partner: text(&self.partner),
            seller: text(&self.seller),
            campaign: text(&self.campaign),
            product: text(&self.product),
            product_set: text(&self.product_set),
        };
        Ok(Valid { code, facts, starts_ms: times.starts_ms, dated: self.created_at.is_some(), warnings })
    }

    fn check_kind(&self, mistakes: &mut Vec<RecordError>) {
        let fields = [
            ("product", self.product.is_some()),
            ("seller", self.seller.is_some()),
            ("plan", self.plan.is_some()),
            ("rate_bp", self.rate_bp.is_some()),
            ("campaign", self.campaign.is_some()),
            ("product_set", self.product_set.is_some()),
        ];
        let (requires, refuses): (&[&str], &[&str]) = match self.kind {
            Kind::Product => (&["product", "seller", "plan", "rate_bp"], &["product_set"]),
            Kind::Showcase => (&["product_set"], &["product", "plan", "rate_bp"]),
            Kind::Campaign => (&["campaign", "product_set"], &["product", "plan", "rate_bp"]),
            Kind::Plain => (&[], &["product", "seller", "plan", "rate_bp", "campaign", "product_set"]),
        };
        let kind = self.kind.as_str();
        for (field, given) in fields {
            if !given && requires.contains(&field) {
                mistakes.push(RecordError::new(field, format!("a {kind} link needs it")));
            }
            if given && refuses.contains(&field) {
                mistakes.push(RecordError::new(field, format!("a {kind} link must not have it")));
            }
        }
        if self.kind == Kind::Showcase && self.creator_type != Some(CreatorType::Affiliate) {
            let found = self.creator_type.map_or("absent", CreatorType::as_str);
            mistakes.push(RecordError::new(
                "creator_type",
                format!("is {found}; only an affiliate creator may own a showcase link"),
            ));
        }
    }

    fn check_ids(&self, mistakes: &mut Vec<RecordError>) {
        let ids = [
            ("creator", &self.creator),
            ("partner", &self.partner),
            ("seller", &self.seller),
            ("product", &self.product),
            ("product_set", &self.product_set),
            ("campaign", &self.campaign),
        ];
        for (field, id) in ids {
            let Some(id) = id else { continue };
            if id.is_empty() {
                mistakes.push(RecordError::new(field, "is empty; leave it out or give an id"));
            } else if id.len() > MAX_ID {
                mistakes.push(RecordError::new(field, format!("has {} bytes, allowed are {MAX_ID}", id.len())));
            } else if id.chars().any(char::is_control) {
                mistakes.push(RecordError::new(field, "holds a control character"));
            }
        }
    }

    fn check_rate(&self, mistakes: &mut Vec<RecordError>, warnings: &mut Vec<RecordError>) {
        let Some(rate) = self.rate_bp else { return };
        if rate == 0 || rate > MAX_RATE {
            let message = format!("is {rate}; allowed are 1 to {MAX_RATE} hundredths of a percent");
            mistakes.push(RecordError::new("rate_bp", message));
        } else if !USUAL_RATES.contains(&rate) {
            let (low, high) = (USUAL_RATES.start(), USUAL_RATES.end());
            warnings.push(RecordError::new("rate_bp", format!("is {rate}; usual are {low} to {high}")));
        }
    }

    fn check_query(&self, mistakes: &mut Vec<RecordError>) {
        let Some(names) = &self.query_allow else { return };
        let plain = |name: &String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if self.query == QueryPolicy::Drop {
            mistakes
                .push(RecordError::new("query_allow", "has no meaning with \"query\":\"drop\"; leave one of them out"));
        } else if names.len() > MAX_ALLOW.0 || names.iter().map(String::len).sum::<usize>() > MAX_ALLOW.1 {
            let message = format!("allowed are {} names and {} bytes of names", MAX_ALLOW.0, MAX_ALLOW.1);
            mistakes.push(RecordError::new("query_allow", message));
        } else if let Some(name) = names.iter().find(|name| !plain(name)) {
            let message = format!("{name:?} is not a parameter name of letters, digits, '-', '.', '_' and '~'");
            mistakes.push(RecordError::new("query_allow", message));
        }
    }

    fn times(&self, now_ms: u64, mistakes: &mut Vec<RecordError>) -> Times {
        let created = ms(self.created_at, "created_at", mistakes);
        let starts = ms(self.starts_at, "starts_at", mistakes);
        let expires = ms(self.expires_at, "expires_at", mistakes);
        match created {
            None if !self.test && self.created_at.is_none() => {
                mistakes.push(RecordError::new("created_at", "is needed: it may be absent only with \"test\":true"));
            }
            Some(created) if created > now_ms.saturating_add(AHEAD_MS) => mistakes.push(RecordError::new(
                "created_at",
                "lies more than an hour in the future; use starts_at for a link that is to start later",
            )),
            _ => {}
        }
        let created_ms = created.unwrap_or(now_ms);
        let earns_to = created_ms.saturating_add(EARNS_MS);
        let ends_ms = expires.map_or(earns_to, |expires| expires.min(earns_to));
        if let (Some(created), Some(expires)) = (created, expires)
            && expires <= created
        {
            mistakes.push(RecordError::new("expires_at", "is not after created_at"));
        }
        // Without created_at the end moves with each load, so only what is written can contradict itself.
        let end = if created.is_some() { Some(ends_ms) } else { expires };
        if let (Some(starts), Some(end)) = (starts, end)
            && starts >= end
        {
            mistakes.push(RecordError::new("starts_at", "is not before the link's end (expires_at, 100 days at most)"));
        }
        Times { created_ms, ends_ms, starts_ms: starts.unwrap_or(0) }
    }
}

struct Times {
    created_ms: u64,
    ends_ms: u64,
    starts_ms: u64,
}

fn ms(time: Option<Timestamp>, field: &'static str, mistakes: &mut Vec<RecordError>) -> Option<u64> {
    let ms = u64::try_from(time?.as_millisecond()).ok();
    if ms.is_none() {
        mistakes.push(RecordError::new(field, "lies before 1970"));
    }
    ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_793_600_000_000;

    fn product() -> Value {
        json!({"code":"7Kq2ZpXa","url":"https://shop.example.com/view/product/1729384756?creator=c_48213","kind":"product",
            "creator":"c_48213","creator_type":"affiliate","partner":"tap_7","seller":"s_311","product":"1729384756",
            "product_set":null,"campaign":null,"plan":"targeted","rate_bp":1200,"created_at":"2026-11-01T00:00:00Z",
            "starts_at":null,"expires_at":null,"enabled":true,"test":false,"fallback_url":null,"domain":"*",
            "query":"stored-wins","append_token":true,"targets":[]})
    }

    fn with(changes: Value) -> Record {
        let mut record = product();
        for (key, value) in changes.as_object().unwrap() {
            record[key] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    fn mistakes(changes: Value) -> Vec<String> {
        match with(changes).validate(NOW, 1) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(|mistake| mistake.to_string()).collect(),
        }
    }

    #[test]
    fn the_record_of_the_design_is_valid_and_earns_for_100_days() {
        let record = with(json!({}));
        let valid = record.validate(NOW, 7).unwrap();
        assert_eq!(valid.code.as_str(), "7Kq2ZpXa");
        assert_eq!(valid.facts.ends_ms - valid.facts.created_ms, EARNS_MS);
        assert_eq!((valid.facts.version, valid.facts.rate_bp, valid.facts.partner), (7, 1200, "tap_7"));
        assert!(valid.warnings.is_empty());
    }

    #[test]
    fn a_product_link_needs_product_seller_plan_and_rate() {
        let all = mistakes(json!({"product":null,"seller":null,"plan":null,"rate_bp":null,"product_set":"ps_1"}));
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].starts_with("product: a product link needs it"));
        assert!(all[4].starts_with("product_set: a product link must not have it"));
    }

    #[test]
    fn only_an_affiliate_creator_owns_a_showcase() {
        let showcase = json!({"kind":"showcase","product":null,"plan":null,"rate_bp":null,"product_set":"ps_1"});
        assert_eq!(mistakes(showcase.clone()), [""; 0]);
        for creator_type in [json!("linkshare-only"), Value::Null] {
            let mut other = showcase.clone();
            other["creator_type"] = creator_type;
            assert!(mistakes(other)[0].contains("only an affiliate creator may own a showcase link"));
        }
        assert_eq!(mistakes(json!({"kind":"showcase","product_set":"ps_1"})).len(), 3);
    }

    #[test]
    fn a_campaign_link_takes_any_creator_and_a_plain_one_nothing() {
        let campaign = json!({"kind":"campaign","product":null,"plan":null,"rate_bp":null,"product_set":"ps_1",
            "campaign":"k_1","creator_type":"linkshare-only"});
        assert_eq!(mistakes(campaign), [""; 0]);
        let plain = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null});
        assert_eq!(mistakes(plain), [""; 0]);
        assert_eq!(mistakes(json!({"kind":"plain"})).len(), 4);
    }

    #[test]
    fn an_unusual_rate_warns_and_an_impossible_one_is_refused() {
        for (rate, warns) in [(1, true), (499, true), (500, false), (2600, false), (2601, true), (10_000, true)] {
            let record = with(json!({"rate_bp":rate}));
            assert_eq!(record.validate(NOW, 1).unwrap().warnings.len(), usize::from(warns), "{rate}");
        }
        assert!(mistakes(json!({"rate_bp":10_001}))[0].contains("allowed are 1 to 10000"));
        assert!(mistakes(json!({"rate_bp":0}))[0].contains("allowed are 1 to 10000"));
    }

    #[test]
    fn expires_at_only_shortens() {
        let record = with(json!({"expires_at":"2026-11-20T00:00:00Z"}));
        let facts = record.validate(NOW, 1).unwrap().facts;
        assert_eq!(facts.ends_ms - facts.created_ms, 19 * 24 * 3600 * 1000);
        let record = with(json!({"expires_at":"2030-01-01T00:00:00Z"}));
        let facts = record.validate(NOW, 1).unwrap().facts;
        assert_eq!(facts.ends_ms - facts.created_ms, EARNS_MS);
    }

    #[test]
    fn times_that_contradict_each_other_are_refused() {
        assert!(mistakes(json!({"expires_at":"2026-10-01T00:00:00Z"}))[0].starts_with("expires_at: is not after"));
        let late = json!({"starts_at":"2026-12-01T00:00:00Z","expires_at":"2026-11-20T00:00:00Z"});
        assert!(mistakes(late)[0].starts_with("starts_at: is not before the link's end"));
        assert!(mistakes(json!({"starts_at":"2027-06-01T00:00:00Z"}))[0].starts_with("starts_at"));
        assert!(mistakes(json!({"created_at":"2027-11-01T00:00:00Z"}))[0].contains("in the future"));
        assert!(mistakes(json!({"created_at":"1969-01-01T00:00:00Z"}))[0].contains("before 1970"));
    }

    #[test]
    fn created_at_may_be_absent_only_from_a_test_link() {
        assert!(mistakes(json!({"created_at":null}))[0].contains("may be absent only with \"test\":true"));
        let record = with(json!({"created_at":null,"test":true}));
        let valid = record.validate(NOW, 1).unwrap();
        assert_eq!(valid.facts.created_ms, NOW);
        assert!(!valid.dated && valid.facts.test);
    }

    #[test]
    fn unknown_fields_and_what_is_not_built_are_refused() {
        let error = serde_json::from_str::<Record>(r#"{"code":"a","url":"https://a.example/","kynd":"plain"}"#);
        assert!(error.unwrap_err().to_string().contains("unknown field `kynd`"));
        assert!(mistakes(json!({"targets":[{"country":"DE"}]}))[0].contains("not built yet"));
        assert!(mistakes(json!({"creator":""}))[0].contains("is empty"));
        assert!(mistakes(json!({"creator":"a\nb"}))[0].contains("control character"));
        assert!(mistakes(json!({"code":"a/b"}))[0].contains("character 2"));
    }

    #[test]
    fn an_allow_list_holds_plain_names_and_not_beside_drop() {
        assert_eq!(mistakes(json!({"query":"incoming-wins","query_allow":["utm_source"]})), [""; 0]);
        assert!(mistakes(json!({"query":"drop","query_allow":["utm_source"]}))[0].contains("no meaning"));
        assert!(mistakes(json!({"query_allow":["a=b"]}))[0].contains("not a parameter name"));
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_and_validating_panic(text in ".{0,300}", now: u64) {
            if let Ok(record) = serde_json::from_str::<Record>(&text) {
                let _ = record.validate(now, 1);
            }
        }

        #[test]
        fn whatever_is_valid_ends_within_100_days_and_starts_before_its_end(
            created in 0..4_000_000_000i64, starts in prop::option::of(0..4_000_000_000i64),
            expires in prop::option::of(0..4_000_000_000i64), rate in 0..12_000u32,
        ) {
            let mut record = with(json!({"rate_bp":rate}));
            record.created_at = Some(Timestamp::from_second(created).unwrap());
            record.starts_at = starts.map(|starts| Timestamp::from_second(starts).unwrap());
            record.expires_at = expires.map(|expires| Timestamp::from_second(expires).unwrap());
            if let Ok(valid) = record.validate(NOW, 1) {
                prop_assert!(valid.facts.ends_ms > valid.facts.created_ms);
                prop_assert!(valid.facts.ends_ms - valid.facts.created_ms <= EARNS_MS);
                prop_assert!(valid.starts_ms < valid.facts.ends_ms);
                prop_assert!((1..=10_000).contains(&valid.facts.rate_bp));
            }
        }

        #[test]
        fn a_record_written_and_read_again_is_the_same(rate in 1..10_000u32, test: bool, enabled: bool) {
            let record = with(json!({"rate_bp":rate,"test":test,"enabled":enabled}));
            let text = serde_json::to_string(&record).unwrap();
            let again: Record = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
    }
}
