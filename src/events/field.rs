//! The fields of the event `click.v1`: name, number and type, in the order in which they are written.
//! `deploy/schemas/click.v1.schema.json` describes them; a test compares the two.

use super::json::{key, text_key};

/// The type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldType {
    Text,
    Integer,
    Boolean,
}

/// A field of the event.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Its number in Protobuf, which never changes.
    pub(super) number: u32,
    /// The bytes in front of its value in Protobuf.
    pub(super) tag: Tag,
    pub(super) field_type: FieldType,
    /// `,"name":`
    pub(super) json_key: &'static str,
    /// `,"name":"`
    pub(super) json_text_key: &'static str,
}

/// The wire type of integers and booleans.
pub(super) const VARINT: u64 = 0;
/// The wire type of texts: a length, and bytes.
pub(super) const LENGTH_DELIMITED: u64 = 2;

/// Number and wire type of a field as a varint. No number needs more than two bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tag {
    Short(u8),
    Long([u8; 2]),
}

impl Tag {
    const fn new(number: u32, field_type: FieldType) -> Tag {
        let wire_type = match field_type {
            FieldType::Text => LENGTH_DELIMITED,
            FieldType::Integer | FieldType::Boolean => VARINT,
        };
        let tag = (number as u64) << 3 | wire_type;
        assert!(tag < 1 << 14);
        if tag < 0x80 { Tag::Short(tag as u8) } else { Tag::Long([tag as u8 | 0x80, (tag >> 7) as u8]) }
    }
}

macro_rules! event_fields {
    ($($constant:ident = $number:literal $field_type:ident $name:literal,)*) => {
        $(pub(super) const $constant: &Field = &Field {
            name: $name,
            number: $number,
            tag: Tag::new($number, FieldType::$field_type),
            field_type: FieldType::$field_type,
            json_key: key!($name),
            json_text_key: text_key!($name),
        };)*

        /// Every field, in the order in which the encoder writes them.
        pub(super) const FIELDS: [&Field; [$($number),*].len()] = [$($constant),*];
    };
}

event_fields! {
    TYPE = 1 Text "type",
    SCHEMA_VERSION = 2 Integer "schema_version",
    CLICK_ID = 3 Text "click_id",
    CLICKED_AT_MS = 4 Integer "clicked_at_ms",
    EDGE = 5 Text "edge",
    LANE = 6 Integer "lane",
    EPOCH = 7 Integer "epoch",
    SEQ = 8 Integer "seq",
    SAFE = 9 Integer "safe",
    REASON = 80 Text "reason",
    SIZE = 81 Integer "size",
    OUTCOME = 10 Text "outcome",
    STATUS = 11 Integer "status",
    DESTINATION = 12 Text "destination",
    DESTINATION_HOST = 13 Text "destination_host",
    CARRIER = 14 Text "carrier",
    COOKIE_SET = 15 Boolean "cookie_set",
    TOKEN_PLACED = 16 Boolean "token_placed",
    TOKEN_KID = 17 Text "token_kid",
    TARGET_INDEX = 82 Integer "target_index",
    TARGET_FACTS = 83 Text "target_facts",
    SPLIT = 84 Text "split",
    SPLIT_BUCKET = 85 Integer "split_bucket",
    SPLIT_BASIS = 86 Text "split_basis",
    TARGETS_OF = 101 Text "targets_of",
    OPENED_OUTSIDE = 100 Text "opened_outside",
    NEXT_HOP = 102 Text "next_hop",
    DOMAIN = 18 Text "domain",
    CODE = 19 Text "code",
    LINK_VERSION = 20 Integer "link_version",
    LINK_KIND = 21 Text "link_kind",
    LINK_CREATED_AT_MS = 22 Integer "link_created_at_ms",
    LINK_ENDS_AT_MS = 23 Integer "link_ends_at_ms",
    CREATOR_ID = 24 Text "creator_id",
    CREATOR_TYPE = 25 Text "creator_type",
    PARTNER_ID = 26 Text "partner_id",
    SELLER_ID = 27 Text "seller_id",
    CAMPAIGN_ID = 28 Text "campaign_id",
    PRODUCT_ID = 29 Text "product_id",
    PRODUCT_SET_ID = 30 Text "product_set_id",
    PLAN = 31 Text "plan",
    RATE_BP = 32 Integer "rate_bp",
    LINK_TEST = 33 Boolean "link_test",
    VISITOR_ID = 34 Text "visitor_id",
    VISITOR_NEW = 35 Boolean "visitor_new",
    COOKIE_STATE = 36 Text "cookie_state",
    PREVIOUS_CLICK_ID = 37 Text "previous_click_id",
    PREVIOUS_DOMAIN = 38 Text "previous_domain",
    PREVIOUS_CODE = 39 Text "previous_code",
    PREVIOUS_CLICKED_AT_MS = 40 Integer "previous_clicked_at_ms",
    CONSENT = 41 Text "consent",
    GPC = 42 Boolean "gpc",
    PRIVACY_MODE = 43 Text "privacy_mode",
    METHOD = 44 Text "method",
    HTTP_VERSION = 45 Text "http_version",
    CLIENT_IP = 46 Text "client_ip",
    CLIENT_IP_MODE = 47 Text "client_ip_mode",
    CLIENT_IP_FROM = 48 Text "client_ip_from",
    USER_AGENT = 49 Text "user_agent",
    REFERER = 50 Text "referer",
    ACCEPT_LANGUAGE = 51 Text "accept_language",
    APP_PACKAGE = 52 Text "app_package",
    SEC_FETCH = 53 Text "sec_fetch",
    QUERY = 54 Text "query",
    SUB1 = 55 Text "sub1",
    SUB2 = 56 Text "sub2",
    SUB3 = 57 Text "sub3",
    SUB4 = 58 Text "sub4",
    SUB5 = 59 Text "sub5",
    AD_CLICK_ID_NAME = 60 Text "ad_click_id_name",
    AD_CLICK_ID = 61 Text "ad_click_id",
    UTM_SOURCE = 62 Text "utm_source",
    UTM_MEDIUM = 63 Text "utm_medium",
    UTM_CAMPAIGN = 64 Text "utm_campaign",
    TRUNCATED = 68 Boolean "truncated",
    REPAIRED = 65 Boolean "repaired",
    ROUTE = 66 Text "route",
    SUSPENDED_BY = 67 Text "suspended_by",
    CLASS = 69 Text "class",
    CLASS_REASON = 70 Text "class_reason",
    COUNTABLE = 71 Boolean "countable",
    COUNTABLE_REASON = 72 Text "countable_reason",
    DUPLICATE = 73 Boolean "duplicate",
    DUPLICATE_BASIS = 74 Text "duplicate_basis",
    SOURCE = 75 Text "source",
    SOURCE_REASON = 76 Text "source_reason",
    IN_APP = 77 Boolean "in_app",
    IN_APP_NAME = 78 Text "in_app_name",
    LABELS_VERSION = 79 Integer "labels_version",
    COUNTRY = 87 Text "country",
    REGION = 88 Text "region",
    ASN = 89 Integer "asn",
    NETWORK_NAME = 90 Text "network_name",
    DATA_CENTRE = 91 Boolean "data_centre",
    DEVICE = 92 Text "device",
    OS = 93 Text "os",
    OS_VERSION = 94 Text "os_version",
    BROWSER = 95 Text "browser",
    BROWSER_VERSION = 96 Text "browser_version",
}

/// One more than the greatest number of a field.
const NUMBERS: usize = {
    let (mut numbers, mut at) = (0, 0);
    while at < FIELDS.len() {
        if FIELDS[at].number as usize >= numbers {
            numbers = FIELDS[at].number as usize + 1;
        }
        at += 1;
    }
    numbers
};

/// In [`INDEX_OF_NUMBER`]: no field has the number.
const NO_FIELD: u8 = u8::MAX;

/// The index in [`FIELDS`] of the field with each number.
const INDEX_OF_NUMBER: [u8; NUMBERS] = {
    assert!(FIELDS.len() < NO_FIELD as usize);
    let (mut indexes, mut at) = ([NO_FIELD; NUMBERS], 0);
    while at < FIELDS.len() {
        let index = &mut indexes[FIELDS[at].number as usize];
        assert!(*index == NO_FIELD, "two fields have one number");
        *index = at as u8;
        at += 1;
    }
    indexes
};

/// The index in [`FIELDS`] of the field with a number. `None`: no field that this version knows has it.
pub(super) fn find_index_of_number(number: u64) -> Option<usize> {
    let index = *INDEX_OF_NUMBER.get(usize::try_from(number).ok()?)?;
    (index != NO_FIELD).then_some(usize::from(index))
}
