//! A record of the topic as it was read, and what it says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record_key::RecordKey;
use crate::{
    catalog::{
        act::Act,
        change::{IdempotencyKey, LinkName, RowRefusal},
    },
    links::{RemovedLink, domains::Settings, file::MAX_LINE, suspensions::Dimension},
    model::link::{
        LinkKind,
        record::{Record, RecordError},
    },
    word_enum::word_enum,
};

/// The longest value, in bytes: that of a line in a links file.
pub(super) const MAX_VALUE: usize = MAX_LINE;
/// The longest key, in bytes: a host, a code and what is between.
const MAX_KEY: usize = 512;

/// A record as it was read.
#[derive(Clone, Debug)]
pub(super) struct TopicRecord {
    pub(super) offset: u64,
    /// When it was written, milliseconds since the epoch, by the clock of its writer or of the broker.
    pub(super) at_ms: u64,
    pub(super) key: Option<Vec<u8>>,
    /// `None`: a tombstone.
    pub(super) value: Option<Vec<u8>>,
    /// Of another program's record: `None`.
    pub(super) author: Option<RecordAuthor>,
}

/// Who wrote a record, as its headers say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordAuthor {
    pub(super) act: String,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    /// The request that a client may send again.
    pub(super) once: Option<OnceHeader>,
}

/// The header `once`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OnceHeader {
    api_key: String,
    key: String,
    /// SHA-256 of the request.
    fingerprint: [u8; 32],
}

impl RecordAuthor {
    /// The act; `None` if its id is no UUID.
    pub(super) fn to_act(&self) -> Option<Act> {
        let id = uuid::Uuid::parse_str(&self.act).ok()?;
        Some(Act { id, actor: self.actor.clone(), reason: self.reason.clone() })
    }
}

impl OnceHeader {
    pub(super) fn new(key: &IdempotencyKey) -> OnceHeader {
        OnceHeader { api_key: key.api_key.clone(), key: key.key.clone(), fingerprint: key.fingerprint }
    }

    pub(super) fn to_key(&self) -> IdempotencyKey {
        IdempotencyKey { api_key: self.api_key.clone(), key: self.key.clone(), fingerprint: self.fingerprint }
    }
}

word_enum! {
    /// Why a record is skipped. The word is the label `reason` of a metric.
    pub(super) enum RejectReason {
        /// It has no key.
        NullKey = "null_key",
        /// Its key is none of the topic.
        BadKey = "bad_key",
        /// Its value, or its key, is too long.
        TooLarge = "too_large",
        /// Its value is no JSON object.
        NotJson = "not_json",
        /// Its value has an unknown field, lacks one, or has one of a wrong type.
        NotARecord = "not_a_record",
        /// Key and record name different links.
        KeyDiffers = "key_differs",
        /// No record has made the link's domain, and no configuration. The link waits for the domain.
        DomainUnknown = "domain_unknown",
        /// The record breaks a rule.
        Invalid = "invalid",
        /// A field that never changes would change.
        Unchangeable = "unchangeable",
        /// The code belonged to another link.
        CodeReserved = "code_reserved",
    }
}

/// Why one record is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) reason: RejectReason,
    /// What was found.
    pub(super) detail: String,
}

impl Rejection {
    pub(super) fn new(reason: RejectReason, detail: impl Into<String>) -> Rejection {
        Rejection { reason, detail: detail.into() }
    }

    /// Why the catalog refuses the link of a record.
    pub(super) fn of_refusal(refusal: RowRefusal) -> Rejection {
        let text = |errors: Vec<RecordError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match refusal {
            RowRefusal::Unchangeable(errors) => Rejection::new(RejectReason::Unchangeable, text(errors)),
            RowRefusal::CodeReserved { errors, .. } => Rejection::new(RejectReason::CodeReserved, text(errors)),
            RowRefusal::Invalid(errors) => Rejection::new(RejectReason::Invalid, text(errors)),
            // A record of the topic has no condition, so no other refusal occurs.
            other => Rejection::new(RejectReason::Invalid, format!("{other:?}")),
        }
    }
}

/// What a record says.
#[derive(Clone, Debug)]
pub(super) enum RecordContent {
    /// The link is this record.
    PutLink { name: LinkName, record: Box<Record>, text: String },
    /// The link is removed, and its code reserved as said.
    GoneLink { name: LinkName, gone: RemovedLink },
    /// The link is removed by another program, or the time of its gone record is over.
    LinkTombstone { name: LinkName },
    /// All links of a value are switched off.
    Suspend { dimension: Dimension, value: String, suspension: SuspensionValue },
    /// They are as before.
    EndSuspension { dimension: Dimension, value: String },
    /// The host has these settings; `None`: it is no domain any more.
    Domain { host: String, settings: Option<Box<Settings>> },
    /// No link changes, for this reason; `None`: links change again.
    Freeze { reason: Option<String> },
    /// The generation of the topic.
    Generation { id: String },
    /// Something that this build does not know yet.
    Skipped,
}

/// The value of a suspension.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuspensionValue {
    pub(super) reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fallback_url: Option<String>,
}

/// The value of `f/freeze`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeValue {
    pub(super) reason: String,
}

/// The value of `a/generation`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GenerationValue {
    pub(super) generation: String,
}

/// The value of a link that is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoneValue {
    gone: GoneMembers,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoneMembers {
    since: Timestamp,
    created_at: Timestamp,
    /// Whether the record had no `created_at`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    created_at_is_default: bool,
    kind: LinkKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    creator: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    partner: String,
}

impl GoneValue {
    pub(super) fn new(link: &RemovedLink) -> GoneValue {
        GoneValue {
            gone: GoneMembers {
                since: to_timestamp(link.since_ms),
                created_at: to_timestamp(link.created_ms),
                created_at_is_default: link.is_created_at_default,
                kind: link.kind,
                creator: link.creator.to_string(),
                partner: link.partner.to_string(),
            },
        }
    }

    fn into_removed_link(self) -> RemovedLink {
        let GoneMembers { since, created_at, created_at_is_default, kind, creator, partner } = self.gone;
        RemovedLink {
            since_ms: to_ms(since),
            created_ms: to_ms(created_at),
            is_created_at_default: created_at_is_default,
            kind,
            creator: creator.into(),
            partner: partner.into(),
        }
    }
}

/// A time as a value writes it.
pub(super) fn to_timestamp(ms: u64) -> Timestamp {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX)
}

/// Milliseconds since the epoch; 0 for a time before.
pub(super) fn to_ms(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

impl TopicRecord {
    /// The key as text, for lists; not UTF-8 is replaced, and a long key is cut.
    pub(super) fn key_text(&self) -> String {
        let text = String::from_utf8_lossy(self.key.as_deref().unwrap_or_default());
        text.chars().take(MAX_KEY).collect()
    }

    /// The record's key.
    ///
    /// # Errors
    /// There is none, or it is none of the topic.
    pub(super) fn parse_key(&self) -> Result<RecordKey, Rejection> {
        let Some(key) = &self.key else {
            return Err(Rejection::new(RejectReason::NullKey, "the record has no key"));
        };
        if key.len() > MAX_KEY {
            let detail = format!("the key has {} bytes; allowed are {MAX_KEY}", key.len());
            return Err(Rejection::new(RejectReason::TooLarge, detail));
        }
        let parsed = str::from_utf8(key).ok().and_then(RecordKey::parse);
        parsed.ok_or_else(|| {
            let detail = "the key is none of l/DOMAIN/CODE, s/DIMENSION/VALUE, d/HOST, f/freeze and a/generation";
            Rejection::new(RejectReason::BadKey, detail)
        })
    }

    /// What the record says.
    ///
    /// # Errors
    /// It says nothing that can be read.
    pub(super) fn parse(&self) -> Result<RecordContent, Rejection> {
        let key = self.parse_key()?;
        let value = self.value.as_deref();
        if let Some(value) = value
            && value.len() > MAX_VALUE
        {
            let detail = format!("the value has {} bytes; allowed are {MAX_VALUE}", value.len());
            return Err(Rejection::new(RejectReason::TooLarge, detail));
        }
        match (key, value) {
            (RecordKey::Link(name), Some(value)) => parse_link(name, value),
            (RecordKey::Link(name), None) => Ok(RecordContent::LinkTombstone { name }),
            (RecordKey::Suspension(dimension, suspended), Some(value)) => {
                let suspension = parse_json(value)?;
                Ok(RecordContent::Suspend { dimension, value: suspended, suspension })
            }
            (RecordKey::Suspension(dimension, value), None) => Ok(RecordContent::EndSuspension { dimension, value }),
            (RecordKey::Freeze, Some(value)) => {
                let FreezeValue { reason } = parse_json(value)?;
                Ok(RecordContent::Freeze { reason: Some(reason) })
            }
            (RecordKey::Freeze, None) => Ok(RecordContent::Freeze { reason: None }),
            (RecordKey::Generation, Some(value)) => {
                let GenerationValue { generation } = parse_json(value)?;
                Ok(RecordContent::Generation { id: generation })
            }
            (RecordKey::Domain(host), Some(value)) => {
                Ok(RecordContent::Domain { host, settings: Some(Box::new(parse_settings(value)?)) })
            }
            (RecordKey::Domain(host), None) => Ok(RecordContent::Domain { host, settings: None }),
            (RecordKey::Generation, None) => Ok(RecordContent::Skipped),
        }
    }
}

fn parse_link(name: LinkName, value: &[u8]) -> Result<RecordContent, Rejection> {
    if is_gone_value(value) {
        let gone: GoneValue = parse_json(value)?;
        return Ok(RecordContent::GoneLink { name, gone: gone.into_removed_link() });
    }
    let record: Record = parse_json(value)?;
    if (&*record.domain, &*record.code) != (&*name.domain, &*name.code) {
        let detail =
            format!("the key names {}/{}, the record {}/{}", name.domain, name.code, record.domain, record.code);
        return Err(Rejection::new(RejectReason::KeyDiffers, detail));
    }
    let text = String::from_utf8_lossy(value).into_owned();
    Ok(RecordContent::PutLink { name, record: Box::new(record), text })
}

fn parse_settings(value: &[u8]) -> Result<Settings, Rejection> {
    // A JSON array would be read as the fields in their order.
    let object: serde_json::Map<String, serde_json::Value> = parse_json(value)?;
    serde_json::from_value(object.into()).map_err(|error| Rejection::new(RejectReason::NotARecord, error.to_string()))
}

/// Whether the value of a link says that the link is gone.
pub(super) fn is_gone_value(value: &[u8]) -> bool {
    value.trim_ascii_start().strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\"gone\""))
}

fn parse_json<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, Rejection> {
    serde_json::from_slice(value).map_err(|error| {
        let reason = if error.is_data() { RejectReason::NotARecord } else { RejectReason::NotJson };
        Rejection::new(reason, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: Option<&str>, value: Option<&str>) -> TopicRecord {
        TopicRecord {
            offset: 7,
            at_ms: 0,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            author: None,
        }
    }

    fn reason_of(key: Option<&str>, value: Option<&str>) -> RejectReason {
        record(key, value).parse().unwrap_err().reason
    }

    const TEA: &str = r#"{"code":"tea","url":"https://shop.example.com/","kind":"plain","test":true}"#;

    #[test]
    fn a_record_that_cannot_be_read_has_its_reason() {
        assert!(matches!(record(Some("l/*/tea"), Some(TEA)).parse(), Ok(RecordContent::PutLink { .. })));
        assert_eq!(reason_of(None, Some(TEA)), RejectReason::NullKey);
        assert_eq!(reason_of(Some("tea"), Some(TEA)), RejectReason::BadKey);
        assert_eq!(reason_of(Some("l/*/tea"), Some("{")), RejectReason::NotJson);
        assert_eq!(reason_of(Some("l/*/tea"), Some("[]")), RejectReason::NotARecord);
        assert_eq!(reason_of(Some("l/*/tea"), Some(&TEA.replace("test", "toast"))), RejectReason::NotARecord);
        assert_eq!(reason_of(Some("l/*/cup"), Some(TEA)), RejectReason::KeyDiffers);
        assert_eq!(reason_of(Some("l/a.example/tea"), Some(TEA)), RejectReason::KeyDiffers);
        assert_eq!(reason_of(Some("l/*/tea"), Some(&" ".repeat(MAX_VALUE + 1))), RejectReason::TooLarge);
        assert_eq!(reason_of(Some(&format!("l/*/{}", "x".repeat(MAX_KEY))), None), RejectReason::TooLarge);
        for (settings, reason) in [
            ("{", RejectReason::NotJson),
            ("[]", RejectReason::NotARecord),
            (r#"{"colour":1}"#, RejectReason::NotARecord),
            (r#"{"prefetch":"maybe"}"#, RejectReason::NotARecord),
        ] {
            assert_eq!(reason_of(Some("d/go.example.com"), Some(settings)), reason, "{settings}");
        }
    }

    #[test]
    fn the_settings_of_a_domain_are_read_as_they_are_written() {
        let settings = Settings { root_url: Some("https://shop.example.com/".to_owned()), ..Settings::default() };
        let value = serde_json::to_string(&settings).unwrap();
        let Ok(RecordContent::Domain { host, settings: Some(read) }) =
            record(Some("d/a.example"), Some(&value)).parse()
        else {
            panic!("{value}")
        };
        assert_eq!((&*host, serde_json::to_string(&read).unwrap()), ("a.example", value));
        assert!(matches!(record(Some("d/a.example"), None).parse(), Ok(RecordContent::Domain { settings: None, .. })));
    }

    #[test]
    fn a_gone_link_is_read_as_it_was_written() {
        let gone = RemovedLink {
            since_ms: 1_793_600_000_123,
            created_ms: 1_793_500_000_000,
            is_created_at_default: true,
            kind: LinkKind::Product,
            creator: "c_1".into(),
            partner: "".into(),
        };
        let value = serde_json::to_string(&GoneValue::new(&gone)).unwrap();
        let Ok(RecordContent::GoneLink { gone: read, .. }) = record(Some("l/*/tea"), Some(&value)).parse() else {
            panic!("{value}")
        };
        assert_eq!(read, gone);
    }

    proptest! {
        #[test]
        fn any_bytes_are_content_or_a_rejection(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        ) {
            let _ = TopicRecord { offset: 0, at_ms: 0, key, value, author: None }.parse();
        }
    }
}
