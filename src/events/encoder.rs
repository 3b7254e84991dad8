//! Encodes the event `click.v1` as JSON or Protobuf: flat, snake_case, additive only
//! (`deploy/schemas/click.v1.schema.json`). Also encodes the stub of a click that Kafka refused: its identity, the
//! reason, and the size of the refused event.
//!
//! The value depends only on the journaled click, its identity, the label rules and the MMDB files, so a click that is
//! delivered twice has the same facts twice, and the same labels unless a file changed in between. A field whose value
//! is unknown or empty is omitted; the schema says which fields are always present. The first tap from an in-app
//! browser with sub id, ad click id and utm is about 1.7 KB (a test states the figure), without a link 1.0 KB. The
//! destination never contains its token: `{click_token}` replaces it.

use super::{
    device_labels::DeviceLabels,
    duplicates::{DuplicateVerdict, uuid_v7_ms},
    encoded_text::cut_encoded_at_character,
    event_writer::EventWriter,
    field::{self, Field},
    json::{self, JsonObjectWriter},
    labels::{self, ClickLabels},
    place_labels::PlaceLabels,
    protobuf::ProtobufWriter,
};
use crate::{
    client::query_params::QueryParams,
    kafka::Refusal,
    model::{
        click::{Click, Flags, Privacy, Text},
        link::LinkFacts,
        target_choice::TargetChoice,
    },
    text::cut_at_character,
    uri::{
        host::{SchemeAndHost, find_scheme_and_host},
        percent,
    },
};

/// Longest `query`, bytes. A longer query is cut.
const MAX_QUERY_BYTES: usize = 1024;
/// Longest decoded value of a query parameter, bytes. A longer value is cut.
const MAX_PARAM_BYTES: usize = 256;

/// The identity of a click on its topic, by which readers prove that no click is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickIdentity<'a> {
    /// The edge's name.
    pub edge: &'a str,
    /// The lane's number.
    pub lane: u16,
    /// The start of the lane's worker.
    pub epoch: u64,
    /// Number without gaps in lane, epoch and topic.
    pub seq: u64,
    /// Every lower seq is delivered or synced.
    pub safe: u64,
}

/// How the value of a record is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueEncoding {
    /// Flat JSON.
    Json,
    /// The message `Click` of `deploy/schemas/click.v1.proto`.
    Protobuf {
        /// The id in the prefix of a schema registry; `None` for a value without one.
        schema_id: Option<u32>,
    },
}

/// What was derived from a click: its link's facts, query parameters, labels, the labels of its address and its
/// device, and whether it is a duplicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DerivedFacts<'a> {
    pub(crate) link: Option<&'a LinkFacts<'a>>,
    pub(crate) params: &'a QueryParams<'a>,
    pub(crate) labels: &'a ClickLabels,
    pub(super) place: &'a PlaceLabels<'a>,
    /// `None`: devices are not labelled.
    pub(super) device: Option<&'a DeviceLabels<'a>>,
    pub(crate) duplicate: DuplicateVerdict,
}

/// Encodes events. Keeps the buffer in which query parameters are decoded.
#[derive(Default)]
pub(crate) struct EventEncoder {
    decoded: Vec<u8>,
}

/// Whether a text was longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextLimit {
    Kept,
    Exceeded,
}

impl EventEncoder {
    /// Appends one event, without a newline.
    pub(crate) fn append_event(
        &mut self,
        out: &mut Vec<u8>,
        encoding: ValueEncoding,
        identity: &ClickIdentity<'_>,
        click: &Click<'_>,
        facts: &DerivedFacts<'_>,
    ) {
        match encoding {
            ValueEncoding::Json => {
                let mut object = JsonObjectWriter::begin_object_with(out, "\"type\":\"click\",\"schema_version\":1");
                self.add_click_fields(&mut object, identity, click, facts);
                object.end();
            }
            ValueEncoding::Protobuf { schema_id } => {
                let mut message = begin_message(out, schema_id, "click");
                self.add_click_fields(&mut message, identity, click, facts);
            }
        }
    }

    /// Adds every field behind `type` and `schema_version`.
    fn add_click_fields(
        &mut self,
        writer: &mut impl EventWriter,
        identity: &ClickIdentity<'_>,
        click: &Click<'_>,
        facts: &DerivedFacts<'_>,
    ) {
        add_identity_fields(writer, identity, click);
        add_outcome_and_destination_fields(writer, click);
        add_link_fields(writer, click, facts.link);
        add_visitor_and_consent_fields(writer, click);
        self.add_request_fields(writer, click, facts.params);
        add_label_fields(writer, click, facts);
        facts.place.add_fields(writer);
        if let Some(device) = facts.device {
            device.add_fields(writer);
        }
    }

    fn add_request_fields<W: EventWriter>(&mut self, writer: &mut W, click: &Click<'_>, params: &QueryParams<'_>) {
        writer.add_plain_word_unless_empty(field::METHOD, click.method.as_str());
        writer.add_plain_word_unless_empty(field::HTTP_VERSION, click.http.as_str());
        if let Some(address) = click.address {
            writer.add_ip_address(field::CLIENT_IP, address);
        }
        writer.add_plain_word_unless_empty(field::CLIENT_IP_MODE, click.address_mode.as_str());
        writer.add_plain_word_unless_empty(field::CLIENT_IP_FROM, click.address_source.as_str());
        writer.add_text_unless_empty(field::USER_AGENT, click.text(Text::UserAgent));
        writer.add_text_unless_empty(field::REFERER, click.text(Text::Referer));
        writer.add_text_unless_empty(field::ACCEPT_LANGUAGE, click.text(Text::AcceptLanguage));
        writer.add_text_unless_empty(field::APP_PACKAGE, click.text(Text::AppPackage));
        writer.add_text_unless_empty(field::SEC_FETCH, click.text(Text::SecFetch));
        let query = click.text(Text::Query);
        writer.add_text_unless_empty(field::QUERY, cut_encoded_at_character(query, MAX_QUERY_BYTES));
        let mut truncated = query.len() > MAX_QUERY_BYTES || click.flags.has(Flags::TRUNCATED);
        let mut add = |writer: &mut W, field: &'static Field, value: &[u8]| {
            truncated |= self.add_decoded_query_param_cut_to_limit(writer, field, value) == TextLimit::Exceeded;
        };
        const SUBS: [&Field; 5] = [field::SUB1, field::SUB2, field::SUB3, field::SUB4, field::SUB5];
        for (field, value) in SUBS.into_iter().zip(params.subs) {
            add(writer, field, value);
        }
        if let Some(ad) = params.ad_click_id {
            writer.add_plain_word_unless_empty(field::AD_CLICK_ID_NAME, ad.name);
            add(writer, field::AD_CLICK_ID, ad.value);
        }
        add(writer, field::UTM_SOURCE, params.utm_source);
        add(writer, field::UTM_MEDIUM, params.utm_medium);
        add(writer, field::UTM_CAMPAIGN, params.utm_campaign);
        writer.add_bool(field::TRUNCATED, truncated);
        if click.flags.has(Flags::REPAIRED) {
            writer.add_bool(field::REPAIRED, true);
        }
        writer.add_text_unless_empty(field::ROUTE, click.route);
        writer.add_text_unless_empty(field::SUSPENDED_BY, click.suspension);
    }

    /// Adds the decoded value of a query parameter, cut to its limit.
    fn add_decoded_query_param_cut_to_limit(
        &mut self,
        writer: &mut impl EventWriter,
        field: &'static Field,
        value: &[u8],
    ) -> TextLimit {
        let is_encoded = value.iter().any(|byte| matches!(byte, b'%' | b'+'));
        let value = if is_encoded {
            self.decoded.clear();
            self.decoded.extend(percent::decode_form(value));
            &self.decoded
        } else {
            value
        };
        writer.add_text_unless_empty(field, cut_at_character(value, MAX_PARAM_BYTES));
        if value.len() > MAX_PARAM_BYTES { TextLimit::Exceeded } else { TextLimit::Kept }
    }
}

/// Appends the stub of a click whose event has `size` bytes as JSON and was refused for `reason`, without a newline.
pub(crate) fn append_dead_letter_stub(
    out: &mut Vec<u8>,
    encoding: ValueEncoding,
    identity: &ClickIdentity<'_>,
    click: &Click<'_>,
    reason: Refusal,
    size: u32,
) {
    match encoding {
        ValueEncoding::Json => {
            let first_members = "\"type\":\"dead_lettered\",\"schema_version\":1";
            let mut object = JsonObjectWriter::begin_object_with(out, first_members);
            add_stub_fields(&mut object, identity, click, reason, size);
            object.end();
        }
        ValueEncoding::Protobuf { schema_id } => {
            let mut message = begin_message(out, schema_id, "dead_lettered");
            add_stub_fields(&mut message, identity, click, reason, size);
        }
    }
}

fn add_stub_fields(
    writer: &mut impl EventWriter,
    identity: &ClickIdentity<'_>,
    click: &Click<'_>,
    reason: Refusal,
    size: u32,
) {
    add_identity_fields(writer, identity, click);
    writer.add_plain_word_unless_empty(field::REASON, reason.as_str());
    writer.add_integer(field::SIZE, u64::from(size));
}

/// Begins a value in Protobuf, with its first two fields.
fn begin_message<'o>(out: &'o mut Vec<u8>, schema_id: Option<u32>, event_type: &str) -> ProtobufWriter<'o> {
    let mut message = ProtobufWriter::begin(out, schema_id);
    message.add_plain_word_unless_empty(field::TYPE, event_type);
    message.add_integer(field::SCHEMA_VERSION, 1);
    message
}

fn add_identity_fields(writer: &mut impl EventWriter, identity: &ClickIdentity<'_>, click: &Click<'_>) {
    writer.add_hex_id(field::CLICK_ID, &format_uuid(&click.id));
    writer.add_integer(field::CLICKED_AT_MS, click.at_ms);
    writer.add_text_unless_empty(field::EDGE, identity.edge.as_bytes());
    writer.add_integer(field::LANE, u64::from(identity.lane));
    writer.add_integer(field::EPOCH, identity.epoch);
    writer.add_integer(field::SEQ, identity.seq);
    writer.add_integer(field::SAFE, identity.safe);
}

fn add_outcome_and_destination_fields(writer: &mut impl EventWriter, click: &Click<'_>) {
    writer.add_plain_word_unless_empty(field::OUTCOME, click.outcome.as_str());
    writer.add_integer(field::STATUS, u64::from(click.status));
    let destination = click.text(Text::Destination);
    if !destination.is_empty() {
        match click.token_at.and_then(|at| destination.split_at_checked(usize::from(at))) {
            Some((head, tail)) => writer.add_text_with_inserted_word(field::DESTINATION, head, "{click_token}", tail),
            None => writer.add_text_unless_empty(field::DESTINATION, destination),
        }
        writer.add_text_unless_empty(field::DESTINATION_HOST, find_host_of_http_url_or_empty(destination));
    }
    writer.add_plain_word_unless_empty(field::CARRIER, click.carrier.as_str());
    writer.add_bool(field::COOKIE_SET, click.flags.has(Flags::COOKIE_SET));
    writer.add_bool(field::TOKEN_PLACED, click.token_at.is_some());
    if let Some(kid) = &click.token_kid {
        writer.add_text_unless_empty(field::TOKEN_KID, kid);
    }
    if let Some(choice) = &click.target {
        add_target_fields(writer, choice);
    }
}

fn add_target_fields(writer: &mut impl EventWriter, choice: &TargetChoice<'_>) {
    if let Some(index) = choice.index {
        writer.add_integer(field::TARGET_INDEX, u64::from(index));
    }
    writer.add_text_unless_empty(field::TARGET_FACTS, choice.facts);
    if let Some(split) = &choice.split {
        writer.add_text_unless_empty(field::SPLIT, split.variant);
        writer.add_integer(field::SPLIT_BUCKET, u64::from(split.bucket));
        writer.add_plain_word_unless_empty(field::SPLIT_BASIS, split.basis.as_str());
    }
    writer.add_plain_word_unless_empty(field::TARGETS_OF, if choice.is_of_domain { "domain" } else { "" });
    writer.add_plain_word_unless_empty(field::OPENED_OUTSIDE, choice.way_out.map_or("", |way_out| way_out.as_str()));
    writer.add_plain_word_unless_empty(field::NEXT_HOP, choice.next_hop.map_or("", |next_hop| next_hop.as_str()));
}

fn add_link_fields(writer: &mut impl EventWriter, click: &Click<'_>, link: Option<&LinkFacts<'_>>) {
    writer.add_text_unless_empty(field::DOMAIN, click.text(Text::Domain));
    writer.add_text_unless_empty(field::CODE, click.text(Text::Code));
    let Some(link) = link else { return };
    writer.add_integer(field::LINK_VERSION, link.version);
    writer.add_plain_word_unless_empty(field::LINK_KIND, link.kind.as_str());
    writer.add_integer(field::LINK_CREATED_AT_MS, link.created_ms);
    if let Some(end_ms) = link.end_ms() {
        writer.add_integer(field::LINK_ENDS_AT_MS, end_ms);
    }
    writer.add_text_unless_empty(field::CREATOR_ID, link.creator.as_bytes());
    writer.add_plain_word_unless_empty(field::CREATOR_TYPE, link.creator_type.map_or("", |creator| creator.as_str()));
    writer.add_text_unless_empty(field::PARTNER_ID, link.partner.as_bytes());
    writer.add_text_unless_empty(field::SELLER_ID, link.seller.as_bytes());
    writer.add_text_unless_empty(field::CAMPAIGN_ID, link.campaign.as_bytes());
    writer.add_text_unless_empty(field::PRODUCT_ID, link.product.as_bytes());
    writer.add_text_unless_empty(field::PRODUCT_SET_ID, link.product_set.as_bytes());
    writer.add_plain_word_unless_empty(field::PLAN, link.plan.map_or("", |plan| plan.as_str()));
    if link.rate_bp != 0 {
        writer.add_integer(field::RATE_BP, u64::from(link.rate_bp));
    }
    writer.add_bool(field::LINK_TEST, link.test);
}

fn add_visitor_and_consent_fields(writer: &mut impl EventWriter, click: &Click<'_>) {
    if let Some(visitor) = &click.visitor {
        writer.add_hex_id(field::VISITOR_ID, &format_visitor_id(visitor));
        writer.add_bool(field::VISITOR_NEW, click.flags.has(Flags::VISITOR_NEW));
    }
    writer.add_plain_word_unless_empty(field::COOKIE_STATE, click.cookie_state.as_str());
    if let Some(previous) = &click.previous {
        writer.add_hex_id(field::PREVIOUS_CLICK_ID, &format_uuid(previous));
        writer.add_text_unless_empty(field::PREVIOUS_DOMAIN, click.text(Text::PreviousDomain));
        writer.add_text_unless_empty(field::PREVIOUS_CODE, click.text(Text::PreviousCode));
        writer.add_integer(field::PREVIOUS_CLICKED_AT_MS, uuid_v7_ms(previous));
    }
    writer.add_plain_word_unless_empty(field::CONSENT, click.consent.as_str());
    writer.add_bool(field::GPC, click.flags.has(Flags::GPC));
    if click.privacy != Privacy::None {
        writer.add_plain_word_unless_empty(field::PRIVACY_MODE, click.privacy.as_str());
    }
}

fn add_label_fields(writer: &mut impl EventWriter, click: &Click<'_>, facts: &DerivedFacts<'_>) {
    let ClickLabels { class, class_reason, source, source_reason, in_app, in_app_name } = *facts.labels;
    let is_test_link = facts.link.is_some_and(|link| link.test);
    let countability = labels::decide_countable(class, click.outcome, is_test_link, facts.duplicate);
    writer.add_plain_word_unless_empty(field::CLASS, class.as_str());
    writer.add_plain_word_unless_empty(field::CLASS_REASON, class_reason);
    writer.add_bool(field::COUNTABLE, countability.countable);
    writer.add_plain_word_unless_empty(field::COUNTABLE_REASON, countability.reason);
    writer.add_bool(field::DUPLICATE, facts.duplicate.is_duplicate());
    writer.add_plain_word_unless_empty(field::DUPLICATE_BASIS, facts.duplicate.duplicate_basis_as_str());
    writer.add_plain_word_unless_empty(field::SOURCE, source);
    writer.add_plain_word_unless_empty(field::SOURCE_REASON, source_reason);
    writer.add_bool(field::IN_APP, in_app);
    writer.add_plain_word_unless_empty(field::IN_APP_NAME, in_app_name);
    writer.add_integer(field::LABELS_VERSION, labels::LABELS_VERSION);
}

/// The host of an http or https URL, without the port; empty for the scheme of an app.
fn find_host_of_http_url_or_empty(url: &[u8]) -> &[u8] {
    match find_scheme_and_host(url) {
        Some(SchemeAndHost { scheme: b"https" | b"http", host }) => host,
        _ => b"",
    }
}

/// A click id as text: a UUID in lower case.
pub(crate) fn format_uuid(id: &[u8; 16]) -> [u8; 36] {
    let digits = json::encode_hex(id);
    let mut text = [b'-'; 36];
    for (to, from) in [(0, 0..8), (9, 8..12), (14, 12..16), (19, 16..20), (24, 20..32)] {
        text[to..to + from.len()].copy_from_slice(&digits[from]);
    }
    text
}

/// A visitor id as text: 32 hexadecimal digits in lower case. Also the key of the Kafka record.
pub(crate) fn format_visitor_id(id: &[u8; 16]) -> [u8; 32] {
    json::encode_hex(id)
}

#[cfg(test)]
pub(crate) mod tests;
