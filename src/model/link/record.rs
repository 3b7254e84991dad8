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

mod field_errors;
mod rules;
mod target_rules;
mod time_rules;

use std::fmt;

pub(crate) use self::target_rules::read_targets_and_add_errors;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{
    code::Code,
    link::{CreatorType, LinkFacts, LinkKind, Plan, QueryPolicy, lenient_fields, target::LinkTargets},
};

/// A link as people write it. Unknown fields are refused. `null` means the same as an absent field.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1 to 64 of `[0-9A-Za-z_-]`.
    pub code: String,
    /// The destination, with or without placeholders (`{click_id}`, `{click_token}`, `{code}`, `{creator}`,
    /// `{sub1}`…`{sub5}`).
    pub url: String,
    /// What the link stands for.
    pub kind: LinkKind,
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
    /// Where a click ends that meets conditions, in the order in which they are tried. Read with the other rules, so
    /// that each mistake has its place.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub targets: Vec<serde_json::Value>,
    /// The split of visitors into variants, which targets ask for. Read as `targets` is.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub split: Vec<serde_json::Value>,
    /// The hosts to which a click's own URL may lead it on (`next_hop_param` of the domain); `*.example.com` stands for
    /// every host below.
    #[serde(
        default,
        deserialize_with = "lenient_fields::deserialize_null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub next_hop_hosts: Vec<String>,
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

/// Whether a record that breaks a rule can be right elsewhere or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordErrorKind {
    /// It can never be right.
    Invalid,
    /// It can be right on a server with other domains, hosts or links, or at a later time.
    NotAcceptedHere,
    /// A field that never changes would change.
    Unchangeable,
    /// The code is taken: by another record, or by a route.
    CodeTaken,
}

/// An error, or a warning, about one field: what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The field's name in JSON.
    pub field: &'static str,
    /// Where in the field's value, as a JSON pointer; empty for the whole value.
    pub inside: String,
    /// The name of the rule that the field breaks, for programs: `url-scheme`, or the field's name where the field has
    /// one rule.
    pub rule: &'static str,
    /// Whether the record can be right elsewhere or later.
    pub kind: RecordErrorKind,
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
        RecordError { field, inside: String::new(), rule, kind: RecordErrorKind::Invalid, message: message.into() }
    }

    /// This error about a part of the field's value, named by a JSON pointer.
    #[must_use]
    pub fn inside(self, pointer: &str) -> RecordError {
        RecordError { inside: pointer.to_owned(), ..self }
    }

    /// This error as one of another kind than [`RecordErrorKind::Invalid`].
    #[must_use]
    pub fn with_kind(self, kind: RecordErrorKind) -> RecordError {
        RecordError { kind, ..self }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.field, self.inside, self.message)
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
    /// Where clicks end that meet conditions.
    pub targets: LinkTargets<'a>,
    /// Values that are allowed but unusual.
    pub warnings: Vec<RecordError>,
}

impl Record {
    /// A plain link without code, destination and creation; every other field has its default.
    pub fn plain_with_defaults() -> Record {
        Record {
            code: String::new(),
            url: String::new(),
            kind: LinkKind::Plain,
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
            split: Vec::new(),
            next_hop_hosts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::link::LINK_LIFETIME_MS;

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
    fn unknown_fields_and_bad_texts_are_refused() {
        let error = serde_json::from_str::<Record>(r#"{"code":"a","url":"https://a.example/","kynd":"plain"}"#);
        assert!(error.unwrap_err().to_string().contains("unknown field `kynd`"));
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
