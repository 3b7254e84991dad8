//! The record of a link as people write it: one JSON object a line in a links file.
//!
//! | kind | requires | refuses |
//! |---|---|---|
//! | `product` | `product`, `seller`, `plan`, `rate_bp` | `product_set` |
//! | `showcase` | `creator_type` = `affiliate`, `product_set` | `product`, `plan`, `rate_bp` |
//! | `campaign` | `campaign`, `product_set` | `product`, `plan`, `rate_bp` |
//! | `plain` | | `product`, `seller`, `plan`, `rate_bp`, `campaign`, `product_set` |
//!
//! A link ends 100 days after `created_at`, or at its earlier `expires_at`; a plain link ends only at `expires_at`.
//! `created_at` may be absent only with `"test": true`, and is then the time of loading. The rules here need the record
//! alone; `links` checks its URLs and its domain.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{
    code::{Code, MAX},
    link::{CreatorType, Kind, LINK_LIFETIME_MS, LinkFacts, MAX_ID, NO_END_MS, Plan, QueryPolicy, lenient_fields},
};

/// The usual rates, in hundredths of a percent. Others are accepted with a warning.
const USUAL_RATES: std::ops::RangeInclusive<u32> = 500..=2600;
/// The highest rate, in hundredths of a percent: the whole order value.
const MAX_RATE: u32 = 10_000;
/// How far ahead of the edge's clock a `created_at` may be, milliseconds: more than clocks differ, and less than a
/// wrong time zone.
const MAX_AHEAD_MS: u64 = 60 * 60 * 1000;
/// The most names in an allow-list of query parameters.
const MAX_ALLOWED_NAMES: usize = 64;
/// The most bytes of all names in an allow-list together.
const MAX_ALLOWED_NAMES_LEN: usize = 1024;
/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 256;
/// The most tags of a link.
const MAX_TAGS: usize = 16;
/// The longest tag, in bytes.
const MAX_TAG: usize = 64;

/// A link as people write it. Unknown fields are refused. `null` means the same as an absent field.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1 to 64 of `[0-9A-Za-z_-]`.
    pub code: String,
    /// The destination, with or without placeholders (`{click_id}`, `{click_token}`, `{code}`, `{creator}`,
    /// `{sub1}`…`{sub5}`).
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
    /// The start of the link's 100 days, RFC 3339. Absent only with `test`.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_time_and_clamp",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// The link is not live before this time.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_time_and_clamp",
        skip_serializing_if = "Option::is_none"
    )]
    pub starts_at: Option<Timestamp>,
    /// The link is not live from this time on. It can only shorten the 100 days; a plain link has no other end.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_time_and_clamp",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<Timestamp>,
    /// A link that is not enabled is not live.
    #[serde(default = "default_true", deserialize_with = "null_is_true", skip_serializing_if = "is_default_true")]
    pub enabled: bool,
    /// A test link is never paid, and may leave `created_at` out.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "is_default"
    )]
    pub test: bool,
    /// The destination while the link is not live. It has no placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<String>,
    /// The domain of the code: a configured host, or `*` for every host that is not configured.
    #[serde(default = "default_domain", deserialize_with = "null_is_default_domain")]
    pub domain: String,
    /// What becomes of the incoming query.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "is_default"
    )]
    pub query: QueryPolicy,
    /// If given, the names of the only incoming parameters that are forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_allow: Option<Vec<String>>,
    /// Whether the token is appended to a destination that the cookie does not reach.
    #[serde(default = "default_true", deserialize_with = "null_is_true", skip_serializing_if = "is_default_true")]
    pub append_token: bool,
    /// Whether the destination or the fallback may be on a host that this server answers itself.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "is_default"
    )]
    pub allow_own_host: bool,
    /// What people call the link. Kept with the record, and neither in the table nor in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Words to find links by. Kept as the title is.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<String>,
    /// Reserved for rules by country and device. Must be empty in this version.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub targets: Vec<serde_json::Value>,
}

fn id_or_empty(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or_default()
}

fn default_true() -> bool {
    true
}

fn is_default_true(value: &bool) -> bool {
    *value == default_true()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_domain() -> String {
    "*".to_owned()
}

fn null_is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or_else(default_true))
}

fn null_is_default_domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or_else(default_domain))
}

/// An error, or a warning, about one field: what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The field's name in JSON.
    pub field: &'static str,
    /// The name of the rule that the field breaks, for programs: `url-scheme`, or the field's name where the field has
    /// one rule.
    pub rule: &'static str,
    /// What was found and what is allowed.
    pub message: String,
}

impl RecordError {
    /// An error about `field`, whose rule has the field's name.
    pub fn new(field: &'static str, message: impl Into<String>) -> RecordError {
        RecordError::of_rule(field, field, message)
    }

    /// An error about `field`, which breaks `rule`.
    pub fn of_rule(field: &'static str, rule: &'static str, message: impl Into<String>) -> RecordError {
        RecordError { field, rule, message: message.into() }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for RecordError {}

/// A record that keeps every rule of this module.
#[derive(Clone, Debug)]
pub struct ValidRecord<'a> {
    /// The code as written.
    pub code: Code,
    /// The link's facts, which each of its clicks carries.
    pub facts: LinkFacts<'a>,
    /// The link is not live before this time, milliseconds since the epoch; 0 if it has no start.
    pub starts_ms: u64,
    /// Whether the record has a `created_at`. If not, the time of loading counts.
    pub has_created_at: bool,
    /// Values that are allowed but unusual.
    pub warnings: Vec<RecordError>,
}

impl Record {
    /// A plain link without code, destination and creation; every other field has its default.
    pub fn plain_with_defaults() -> Record {
        Record {
            code: String::new(),
            url: String::new(),
            kind: Kind::Plain,
            creator: None,
            creator_type: None,
            partner: None,
            seller: None,
            product: None,
            product_set: None,
            campaign: None,
            plan: None,
            rate_bp: None,
            created_at: None,
            starts_at: None,
            expires_at: None,
            enabled: default_true(),
            test: false,
            fallback_url: None,
            domain: default_domain(),
            query: QueryPolicy::default(),
            query_allow: None,
            append_token: default_true(),
            allow_own_host: false,
            title: None,
            tags: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Checks every rule of this module, and returns all errors at once. `now_ms` is the wall clock, milliseconds since
    /// the epoch;
    /// `version` goes into the facts.
    pub fn validate_and_build_facts(&self, now_ms: u64, version: u64) -> Result<ValidRecord<'_>, Vec<RecordError>> {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let code = Code::parse(self.code.as_bytes()).map_err(|error| {
            let message = format!("{error}; allowed are 1 to {MAX} of 0-9 A-Z a-z _ -");
            errors.push(RecordError::of_rule("code", error.rule(), message));
        });
        self.add_errors_of_fields_that_kind_requires_or_refuses(&mut errors);
        self.add_errors_of_ids(&mut errors);
        self.add_errors_and_warnings_of_rate(&mut errors, &mut warnings);
        self.add_errors_of_allow_list(&mut errors);
        self.add_errors_of_title_and_tags(&mut errors);
        if !self.targets.is_empty() {
            errors.push(RecordError::new(
                "targets",
                "rules by country or device are not built yet; leave it out or empty",
            ));
        }
        let times = self.resolve_times_and_add_errors(now_ms, &mut errors);
        let (Ok(code), true) = (code, errors.is_empty()) else { return Err(errors) };
        let facts = LinkFacts {
            version,
            kind: self.kind,
            created_ms: times.created_ms,
            ends_ms: times.ends_ms,
            creator_type: self.creator_type,
            plan: self.plan,
            rate_bp: self.rate_bp.map_or(0, |rate| rate as u16),
            test: self.test,
            creator: id_or_empty(&self.creator),
            partner: id_or_empty(&self.partner),
            seller: id_or_empty(&self.seller),
            campaign: id_or_empty(&self.campaign),
            product: id_or_empty(&self.product),
            product_set: id_or_empty(&self.product_set),
        };
        Ok(ValidRecord { code, facts, starts_ms: times.starts_ms, has_created_at: self.created_at.is_some(), warnings })
    }

    fn add_errors_of_fields_that_kind_requires_or_refuses(&self, errors: &mut Vec<RecordError>) {
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
                errors.push(RecordError::new(field, format!("a {kind} link needs it")));
            }
            if given && refuses.contains(&field) {
                errors.push(RecordError::new(field, format!("a {kind} link must not have it")));
            }
        }
        if self.kind == Kind::Showcase && self.creator_type != Some(CreatorType::Affiliate) {
            let found = self.creator_type.map_or("absent", CreatorType::as_str);
            errors.push(RecordError::new(
                "creator_type",
                format!("is {found}; only an affiliate creator may own a showcase link"),
            ));
        }
    }

    fn add_errors_of_ids(&self, errors: &mut Vec<RecordError>) {
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
                errors.push(RecordError::new(field, "is empty; leave it out or give an id"));
            } else if id.len() > MAX_ID {
                errors.push(RecordError::new(field, format!("has {} bytes, allowed are {MAX_ID}", id.len())));
            } else if id.chars().any(char::is_control) {
                errors.push(RecordError::new(field, "holds a control character"));
            }
        }
    }

    fn add_errors_and_warnings_of_rate(&self, errors: &mut Vec<RecordError>, warnings: &mut Vec<RecordError>) {
        let Some(rate) = self.rate_bp else { return };
        if rate == 0 || rate > MAX_RATE {
            let message = format!("is {rate}; allowed are 1 to {MAX_RATE} hundredths of a percent");
            errors.push(RecordError::new("rate_bp", message));
        } else if !USUAL_RATES.contains(&rate) {
            let (low, high) = (USUAL_RATES.start(), USUAL_RATES.end());
            warnings.push(RecordError::new("rate_bp", format!("is {rate}; usual are {low} to {high}")));
        }
    }

    fn add_errors_of_allow_list(&self, errors: &mut Vec<RecordError>) {
        let Some(names) = &self.query_allow else { return };
        let is_plain = |name: &String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if self.query == QueryPolicy::Drop {
            errors
                .push(RecordError::new("query_allow", "has no meaning with \"query\":\"drop\"; leave one of them out"));
        } else if names.len() > MAX_ALLOWED_NAMES
            || names.iter().map(String::len).sum::<usize>() > MAX_ALLOWED_NAMES_LEN
        {
            let message = format!("allowed are {MAX_ALLOWED_NAMES} names and {MAX_ALLOWED_NAMES_LEN} bytes of names");
            errors.push(RecordError::new("query_allow", message));
        } else if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            let message = format!("{name:?} is not a parameter name of letters, digits, '-', '.', '_' and '~'");
            errors.push(RecordError::new("query_allow", message));
        }
    }

    fn add_errors_of_title_and_tags(&self, errors: &mut Vec<RecordError>) {
        if let Some(title) = &self.title {
            let chars = title.chars().count();
            if title.is_empty() {
                errors.push(RecordError::new("title", "is empty; leave it out or give a text"));
            } else if chars > MAX_TITLE_CHARS {
                errors
                    .push(RecordError::new("title", format!("has {chars} characters, allowed are {MAX_TITLE_CHARS}")));
            } else if title.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r')) {
                errors.push(RecordError::new("title", "holds a control character; allowed are tabs and line ends"));
            }
        }
        if self.tags.len() > MAX_TAGS {
            errors.push(RecordError::new("tags", format!("are {}, allowed are {MAX_TAGS}", self.tags.len())));
        }
        for (at, tag) in self.tags.iter().enumerate() {
            if tag.is_empty() || tag.len() > MAX_TAG {
                let message = format!("{tag:?} has {} bytes, allowed are 1 to {MAX_TAG}", tag.len());
                errors.push(RecordError::new("tags", message));
            } else if tag.chars().any(char::is_control) {
                errors.push(RecordError::new("tags", format!("{tag:?} holds a control character")));
            } else if self.tags[..at].contains(tag) {
                errors.push(RecordError::new("tags", format!("{tag:?} stands twice")));
            }
        }
    }

    /// The link's creation, start and end. Adds an error for each time that contradicts another.
    fn resolve_times_and_add_errors(&self, now_ms: u64, errors: &mut Vec<RecordError>) -> ResolvedTimes {
        let created = convert_to_epoch_ms_or_add_error(self.created_at, "created_at", errors);
        let starts = convert_to_epoch_ms_or_add_error(self.starts_at, "starts_at", errors);
        let expires = convert_to_epoch_ms_or_add_error(self.expires_at, "expires_at", errors);
        match created {
            None if !self.test && self.created_at.is_none() => {
                errors.push(RecordError::of_rule(
                    "created_at",
                    "date-missing",
                    "is needed: it may be absent only with \"test\":true",
                ));
            }
            Some(created) if created > now_ms.saturating_add(MAX_AHEAD_MS) => errors.push(RecordError::of_rule(
                "created_at",
                "date-future",
                "lies more than an hour in the future; use starts_at for a link that is to start later",
            )),
            _ => {}
        }
        let created_ms = created.unwrap_or(now_ms);
        // The 100 days are commission's. A plain link earns none, and ends only if it says so.
        let lifetime_end_ms = match self.kind {
            Kind::Plain => NO_END_MS,
            Kind::Product | Kind::Showcase | Kind::Campaign => created_ms.saturating_add(LINK_LIFETIME_MS),
        };
        let ends_ms = expires.map_or(lifetime_end_ms, |expires| expires.min(lifetime_end_ms));
        if let (Some(created), Some(expires)) = (created, expires)
            && expires <= created
        {
            errors.push(RecordError::of_rule("expires_at", "date-order", "is not after created_at"));
        }
        // Without created_at the end moves with each load, so the start is compared with expires_at alone.
        let end = if created.is_some() { Some(ends_ms) } else { expires };
        if let (Some(starts), Some(end)) = (starts, end)
            && starts >= end
        {
            let end = if self.kind == Kind::Plain { "expires_at" } else { "expires_at, 100 days at most" };
            let message = format!("is not before the link's end ({end})");
            errors.push(RecordError::of_rule("starts_at", "date-order", message));
        }
        ResolvedTimes { created_ms, ends_ms, starts_ms: starts.unwrap_or(0) }
    }
}

/// A link's times, milliseconds since the epoch.
struct ResolvedTimes {
    created_ms: u64,
    ends_ms: u64,
    /// 0 if the link has no start.
    starts_ms: u64,
}

/// A time as milliseconds since the epoch. Adds an error for a time before 1970.
fn convert_to_epoch_ms_or_add_error(
    time: Option<Timestamp>,
    field: &'static str,
    errors: &mut Vec<RecordError>,
) -> Option<u64> {
    let ms = u64::try_from(time?.as_millisecond()).ok();
    if ms.is_none() {
        errors.push(RecordError::of_rule(field, "date", "lies before 1970"));
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
        json!({"code":"7Kq2ZpXa","url":"https://shop.example.com/view/product/1729384756?creator=c_48213",
            "kind":"product",
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

    fn errors_of(changes: Value) -> Vec<String> {
        match with(changes).validate_and_build_facts(NOW, 1) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.to_string()).collect(),
        }
    }

    #[test]
    fn a_usual_record_is_valid_and_its_link_lives_for_100_days() {
        let record = with(json!({}));
        let valid = record.validate_and_build_facts(NOW, 7).unwrap();
        assert_eq!(valid.code.as_str(), "7Kq2ZpXa");
        assert_eq!(valid.facts.ends_ms - valid.facts.created_ms, LINK_LIFETIME_MS);
        assert_eq!((valid.facts.version, valid.facts.rate_bp, valid.facts.partner), (7, 1200, "tap_7"));
        assert!(valid.warnings.is_empty());
    }

    #[test]
    fn a_product_link_needs_product_seller_plan_and_rate() {
        let all = errors_of(json!({"product":null,"seller":null,"plan":null,"rate_bp":null,"product_set":"ps_1"}));
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].starts_with("product: a product link needs it"));
        assert!(all[4].starts_with("product_set: a product link must not have it"));
    }

    #[test]
    fn only_an_affiliate_creator_owns_a_showcase() {
        let showcase = json!({"kind":"showcase","product":null,"plan":null,"rate_bp":null,"product_set":"ps_1"});
        assert_eq!(errors_of(showcase.clone()), [""; 0]);
        for creator_type in [json!("linkshare-only"), Value::Null] {
            let mut other = showcase.clone();
            other["creator_type"] = creator_type;
            assert!(errors_of(other)[0].contains("only an affiliate creator may own a showcase link"));
        }
        assert_eq!(errors_of(json!({"kind":"showcase","product_set":"ps_1"})).len(), 3);
    }

    #[test]
    fn a_campaign_link_takes_any_creator_and_a_plain_one_nothing() {
        let campaign = json!({"kind":"campaign","product":null,"plan":null,"rate_bp":null,"product_set":"ps_1",
            "campaign":"k_1","creator_type":"linkshare-only"});
        assert_eq!(errors_of(campaign), [""; 0]);
        let plain = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null});
        assert_eq!(errors_of(plain), [""; 0]);
        assert_eq!(errors_of(json!({"kind":"plain"})).len(), 4);
    }

    #[test]
    fn an_unusual_rate_warns_and_an_impossible_one_is_refused() {
        for (rate, warns) in [(1, true), (499, true), (500, false), (2600, false), (2601, true), (10_000, true)] {
            let record = with(json!({"rate_bp":rate}));
            assert_eq!(record.validate_and_build_facts(NOW, 1).unwrap().warnings.len(), usize::from(warns), "{rate}");
        }
        assert!(errors_of(json!({"rate_bp":10_001}))[0].contains("allowed are 1 to 10000"));
        assert!(errors_of(json!({"rate_bp":0}))[0].contains("allowed are 1 to 10000"));
    }

    #[test]
    fn expires_at_only_shortens() {
        let record = with(json!({"expires_at":"2026-11-20T00:00:00Z"}));
        let facts = record.validate_and_build_facts(NOW, 1).unwrap().facts;
        assert_eq!(facts.ends_ms - facts.created_ms, 19 * 24 * 3600 * 1000);
        let record = with(json!({"expires_at":"2030-01-01T00:00:00Z"}));
        let facts = record.validate_and_build_facts(NOW, 1).unwrap().facts;
        assert_eq!(facts.ends_ms - facts.created_ms, LINK_LIFETIME_MS);
    }

    #[test]
    fn a_plain_link_has_no_end_unless_it_says_so() {
        let plain = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null,
            "created_at":"2019-05-01T00:00:00Z"});
        let facts = |changes: Value| with(changes).validate_and_build_facts(NOW, 1).unwrap().facts.end_ms();
        assert_eq!(facts(plain.clone()), None);
        let mut late = plain.clone();
        late["starts_at"] = json!("2030-01-01T00:00:00Z");
        assert_eq!(facts(late), None);
        let mut ended = plain;
        ended["expires_at"] = json!("2030-01-01T00:00:00Z");
        assert_eq!(facts(ended), Some(1_893_456_000_000));
    }

    #[test]
    fn a_far_date_is_taken_as_the_last_one_that_there_is() {
        let ends = |kind: &str, text: &str| {
            let mut record = json!({"expires_at":text});
            if kind == "plain" {
                record = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null,
                    "expires_at":text});
            }
            let record = with(record);
            let facts = record.validate_and_build_facts(NOW, 1).unwrap().facts;
            (facts.end_ms(), facts.ends_ms - facts.created_ms)
        };
        for far in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59+09:00",
            "9999-12-31 23:59:59Z",
            "10000-01-01T00:00:00Z",
            "+292278994-08-17T07:12:55.807Z",
        ] {
            assert_eq!(ends("plain", far).0, Some(253_402_207_200_999), "{far}");
            assert_eq!(ends("product", far).1, LINK_LIFETIME_MS, "{far}");
        }
        for bad in ["9999-12-31", "9999-13-01T00:00:00Z", "99999", "31.12.9999", "9999-12-31T25:00:00Z", "", "Z9999"] {
            let record =
                serde_json::from_value::<Record>(json!({"code":"a","url":"u","kind":"plain","expires_at":bad}));
            assert!(record.is_err(), "{bad}");
        }
    }

    #[test]
    fn null_is_an_absent_field_wherever_a_field_may_be_absent() {
        let nulls = json!({"enabled":null,"test":null,"domain":null,"query":null,"query_allow":null,
            "append_token":null,"targets":null,"fallback_url":null,"allow_own_host":null,"partner":null});
        let mut absent = product();
        for key in nulls.as_object().unwrap().keys() {
            absent.as_object_mut().unwrap().remove(key);
        }
        let absent: Record = serde_json::from_value(absent).unwrap();
        assert_eq!(serde_json::to_value(with(nulls)).unwrap(), serde_json::to_value(absent).unwrap());
    }

    #[test]
    fn times_that_contradict_each_other_are_refused() {
        assert!(errors_of(json!({"expires_at":"2026-10-01T00:00:00Z"}))[0].starts_with("expires_at: is not after"));
        let late = json!({"starts_at":"2026-12-01T00:00:00Z","expires_at":"2026-11-20T00:00:00Z"});
        assert!(errors_of(late)[0].starts_with("starts_at: is not before the link's end"));
        assert!(errors_of(json!({"starts_at":"2027-06-01T00:00:00Z"}))[0].starts_with("starts_at"));
        assert!(errors_of(json!({"created_at":"2027-11-01T00:00:00Z"}))[0].contains("in the future"));
        assert!(errors_of(json!({"created_at":"1969-01-01T00:00:00Z"}))[0].contains("before 1970"));
    }

    #[test]
    fn only_a_test_link_may_leave_created_at_out() {
        assert!(errors_of(json!({"created_at":null}))[0].contains("may be absent only with \"test\":true"));
        let record = with(json!({"created_at":null,"test":true}));
        let valid = record.validate_and_build_facts(NOW, 1).unwrap();
        assert_eq!(valid.facts.created_ms, NOW);
        assert!(!valid.has_created_at && valid.facts.test);
    }

    #[test]
    fn unknown_fields_and_reserved_ones_are_refused() {
        let error = serde_json::from_str::<Record>(r#"{"code":"a","url":"https://a.example/","kynd":"plain"}"#);
        assert!(error.unwrap_err().to_string().contains("unknown field `kynd`"));
        assert!(errors_of(json!({"targets":[{"country":"DE"}]}))[0].contains("not built yet"));
        assert!(errors_of(json!({"creator":""}))[0].contains("is empty"));
        assert!(errors_of(json!({"creator":"a\nb"}))[0].contains("control character"));
        assert!(errors_of(json!({"code":"a/b"}))[0].contains("character 2"));
    }

    #[test]
    fn an_allow_list_holds_plain_names_and_not_beside_drop() {
        assert_eq!(errors_of(json!({"query":"incoming-wins","query_allow":["utm_source"]})), [""; 0]);
        assert!(errors_of(json!({"query":"drop","query_allow":["utm_source"]}))[0].contains("no meaning"));
        assert!(errors_of(json!({"query_allow":["a=b"]}))[0].contains("not a parameter name"));
    }

    #[test]
    fn a_title_and_tags_are_short_plain_texts() {
        assert_eq!(errors_of(json!({"title":"ö".repeat(256),"tags":["spring","a b"]})), [""; 0]);
        assert!(errors_of(json!({"title":"ö".repeat(257)}))[0].contains("257 characters"));
        assert!(errors_of(json!({"title":""}))[0].starts_with("title: is empty"));
        assert_eq!(errors_of(json!({"title":"two\r\nlines\tand a tab"})), [""; 0]);
        assert!(errors_of(json!({"title":"a\u{1b}b"}))[0].contains("control character"));
        assert!(
            errors_of(json!({"tags":(0..17).map(|tag| tag.to_string()).collect::<Vec<_>>()}))[0].contains("are 17")
        );
        assert!(errors_of(json!({"tags":["x".repeat(65)]}))[0].contains("65 bytes"));
        assert!(errors_of(json!({"tags":[""]}))[0].contains("0 bytes"));
        assert!(errors_of(json!({"tags":["a","a"]}))[0].contains("stands twice"));
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_and_validating_panic(text in ".{0,300}", now: u64) {
            if let Ok(record) = serde_json::from_str::<Record>(&text) {
                let _ = record.validate_and_build_facts(now, 1);
            }
        }

        #[test]
        fn each_valid_link_ends_within_100_days_and_starts_before_its_end(
            created in 0..4_000_000_000i64, starts in prop::option::of(0..4_000_000_000i64),
            expires in prop::option::of(0..4_000_000_000i64), rate in 0..12_000u32,
        ) {
            let mut record = with(json!({"rate_bp":rate}));
            record.created_at = Some(Timestamp::from_second(created).unwrap());
            record.starts_at = starts.map(|starts| Timestamp::from_second(starts).unwrap());
            record.expires_at = expires.map(|expires| Timestamp::from_second(expires).unwrap());
            if let Ok(valid) = record.validate_and_build_facts(NOW, 1) {
                prop_assert!(valid.facts.ends_ms > valid.facts.created_ms);
                prop_assert!(valid.facts.ends_ms - valid.facts.created_ms <= LINK_LIFETIME_MS, "a product link");
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
