//! Encodes the event `click.v1`: flat JSON, snake_case, additive only (`deploy/schemas/click.v1.schema.json`). Also
//! encodes the stub of a click that Kafka refused: its identity, the reason, and the size of the refused event.
//!
//! The value depends only on the journaled click, its identity and the label rules, so a click that is delivered twice
//! has the same facts twice. A field whose value is unknown or empty is omitted; the schema says which fields are
//! always present. The first tap from an in-app browser with sub id, ad click id and utm is about 1.7 KB (a test states
//! the figure), without a link 1.0 KB. The destination never contains its token: `{click_token}` replaces it.

use super::{
    duplicates::{DuplicateVerdict, uuid_v7_ms},
    encoded_text::cut_encoded_at_character,
    json::{self, JsonObjectWriter, key, text_key},
    labels::{self, ClickLabels},
    query_params::QueryParams,
};
use crate::{
    kafka::Refusal,
    model::{
        click::{Click, Flags, Privacy, Text},
        link::LinkFacts,
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

/// What was derived from a click: its link's facts, query parameters, labels, and whether it is a duplicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DerivedFacts<'a> {
    pub(crate) link: Option<&'a LinkFacts<'a>>,
    pub(crate) params: &'a QueryParams<'a>,
    pub(crate) labels: &'a ClickLabels,
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
    pub(crate) fn append_event_json(
        &mut self,
        out: &mut Vec<u8>,
        identity: &ClickIdentity<'_>,
        click: &Click<'_>,
        facts: &DerivedFacts<'_>,
    ) {
        let mut object = JsonObjectWriter::begin_object_with(out, "\"type\":\"click\",\"schema_version\":1");
        add_identity_fields(&mut object, identity, click);
        add_outcome_and_destination_fields(&mut object, click);
        add_link_fields(&mut object, click, facts.link);
        add_visitor_and_consent_fields(&mut object, click);
        self.add_request_fields(&mut object, click, facts.params);
        add_label_fields(&mut object, click, facts);
        object.end();
    }

    fn add_request_fields(&mut self, object: &mut JsonObjectWriter<'_>, click: &Click<'_>, params: &QueryParams<'_>) {
        object.add_plain_word_unless_empty(text_key!("method"), click.method.as_str());
        object.add_plain_word_unless_empty(text_key!("http_version"), click.http.as_str());
        if let Some(address) = click.address {
            object.add_ip_address(text_key!("client_ip"), address);
        }
        object.add_plain_word_unless_empty(text_key!("client_ip_mode"), click.address_mode.as_str());
        object.add_plain_word_unless_empty(text_key!("client_ip_from"), click.address_source.as_str());
        object.add_text_unless_empty(text_key!("user_agent"), click.text(Text::UserAgent));
        object.add_text_unless_empty(text_key!("referer"), click.text(Text::Referer));
        object.add_text_unless_empty(text_key!("accept_language"), click.text(Text::AcceptLanguage));
        object.add_text_unless_empty(text_key!("app_package"), click.text(Text::AppPackage));
        object.add_text_unless_empty(text_key!("sec_fetch"), click.text(Text::SecFetch));
        let query = click.text(Text::Query);
        object.add_text_unless_empty(text_key!("query"), cut_encoded_at_character(query, MAX_QUERY_BYTES));
        let mut truncated = query.len() > MAX_QUERY_BYTES || click.flags.has(Flags::TRUNCATED);
        let mut add = |object: &mut JsonObjectWriter<'_>, key: &str, value: &[u8]| {
            truncated |= self.add_decoded_query_param_cut_to_limit(object, key, value) == TextLimit::Exceeded;
        };
        const SUB_KEYS: [&str; 5] =
            [text_key!("sub1"), text_key!("sub2"), text_key!("sub3"), text_key!("sub4"), text_key!("sub5")];
        for (key, value) in SUB_KEYS.into_iter().zip(params.subs) {
            add(object, key, value);
        }
        if let Some(ad) = params.ad_click_id {
            object.add_plain_word_unless_empty(text_key!("ad_click_id_name"), ad.name);
            add(object, text_key!("ad_click_id"), ad.value);
        }
        add(object, text_key!("utm_source"), params.utm_source);
        add(object, text_key!("utm_medium"), params.utm_medium);
        add(object, text_key!("utm_campaign"), params.utm_campaign);
        object.add_bool(key!("truncated"), truncated);
        if click.flags.has(Flags::REPAIRED) {
            object.add_bool(key!("repaired"), true);
        }
        object.add_text_unless_empty(text_key!("route"), click.route);
        object.add_text_unless_empty(text_key!("suspended_by"), click.suspension);
    }

    /// Adds the decoded value of a query parameter, cut to its limit.
    fn add_decoded_query_param_cut_to_limit(
        &mut self,
        object: &mut JsonObjectWriter<'_>,
        key: &str,
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
        object.add_text_unless_empty(key, cut_at_character(value, MAX_PARAM_BYTES));
        if value.len() > MAX_PARAM_BYTES { TextLimit::Exceeded } else { TextLimit::Kept }
    }
}

/// Appends the stub of a click whose event has `size` bytes and was refused for `reason`, without a newline.
pub(crate) fn append_dead_letter_stub_json(
    out: &mut Vec<u8>,
    identity: &ClickIdentity<'_>,
    click: &Click<'_>,
    reason: Refusal,
    size: u32,
) {
    let mut object = JsonObjectWriter::begin_object_with(out, "\"type\":\"dead_lettered\",\"schema_version\":1");
    add_identity_fields(&mut object, identity, click);
    object.add_plain_word_unless_empty(text_key!("reason"), reason.as_str());
    object.add_integer(key!("size"), u64::from(size));
    object.end();
}

fn add_identity_fields(object: &mut JsonObjectWriter<'_>, identity: &ClickIdentity<'_>, click: &Click<'_>) {
    object.add_text_unless_empty(text_key!("click_id"), &format_uuid(&click.id));
    object.add_integer(key!("clicked_at_ms"), click.at_ms);
    object.add_text_unless_empty(text_key!("edge"), identity.edge.as_bytes());
    object.add_integer(key!("lane"), u64::from(identity.lane));
    object.add_integer(key!("epoch"), identity.epoch);
    object.add_integer(key!("seq"), identity.seq);
    object.add_integer(key!("safe"), identity.safe);
}

fn add_outcome_and_destination_fields(object: &mut JsonObjectWriter<'_>, click: &Click<'_>) {
    object.add_plain_word_unless_empty(text_key!("outcome"), click.outcome.as_str());
    object.add_integer(key!("status"), u64::from(click.status));
    let destination = click.text(Text::Destination);
    if !destination.is_empty() {
        match click.token_at.and_then(|at| destination.split_at_checked(usize::from(at))) {
            Some((head, tail)) => {
                object.add_text_with_inserted_word(text_key!("destination"), head, "{click_token}", tail)
            }
            None => object.add_text_unless_empty(text_key!("destination"), destination),
        }
        object.add_text_unless_empty(text_key!("destination_host"), find_host_of_http_url_or_empty(destination));
    }
    object.add_plain_word_unless_empty(text_key!("carrier"), click.carrier.as_str());
    object.add_bool(key!("cookie_set"), click.flags.has(Flags::COOKIE_SET));
    object.add_bool(key!("token_placed"), click.token_at.is_some());
    if let Some(kid) = &click.token_kid {
        object.add_text_unless_empty(text_key!("token_kid"), kid);
    }
}

fn add_link_fields(object: &mut JsonObjectWriter<'_>, click: &Click<'_>, link: Option<&LinkFacts<'_>>) {
    object.add_text_unless_empty(text_key!("domain"), click.text(Text::Domain));
    object.add_text_unless_empty(text_key!("code"), click.text(Text::Code));
    let Some(link) = link else { return };
    object.add_integer(key!("link_version"), link.version);
    object.add_plain_word_unless_empty(text_key!("link_kind"), link.kind.as_str());
    object.add_integer(key!("link_created_at_ms"), link.created_ms);
    if let Some(end_ms) = link.end_ms() {
        object.add_integer(key!("link_ends_at_ms"), end_ms);
    }
    object.add_text_unless_empty(text_key!("creator_id"), link.creator.as_bytes());
    object.add_plain_word_unless_empty(
        text_key!("creator_type"),
        link.creator_type.map_or("", |creator| creator.as_str()),
    );
    object.add_text_unless_empty(text_key!("partner_id"), link.partner.as_bytes());
    object.add_text_unless_empty(text_key!("seller_id"), link.seller.as_bytes());
    object.add_text_unless_empty(text_key!("campaign_id"), link.campaign.as_bytes());
    object.add_text_unless_empty(text_key!("product_id"), link.product.as_bytes());
    object.add_text_unless_empty(text_key!("product_set_id"), link.product_set.as_bytes());
    object.add_plain_word_unless_empty(text_key!("plan"), link.plan.map_or("", |plan| plan.as_str()));
    if link.rate_bp != 0 {
        object.add_integer(key!("rate_bp"), u64::from(link.rate_bp));
    }
    object.add_bool(key!("link_test"), link.test);
}

fn add_visitor_and_consent_fields(object: &mut JsonObjectWriter<'_>, click: &Click<'_>) {
    if let Some(visitor) = &click.visitor {
        object.add_text_unless_empty(text_key!("visitor_id"), &format_visitor_id(visitor));
        object.add_bool(key!("visitor_new"), click.flags.has(Flags::VISITOR_NEW));
    }
    object.add_plain_word_unless_empty(text_key!("cookie_state"), click.cookie_state.as_str());
    if let Some(previous) = &click.previous {
        object.add_text_unless_empty(text_key!("previous_click_id"), &format_uuid(previous));
        object.add_text_unless_empty(text_key!("previous_domain"), click.text(Text::PreviousDomain));
        object.add_text_unless_empty(text_key!("previous_code"), click.text(Text::PreviousCode));
        object.add_integer(key!("previous_clicked_at_ms"), uuid_v7_ms(previous));
    }
    object.add_plain_word_unless_empty(text_key!("consent"), click.consent.as_str());
    object.add_bool(key!("gpc"), click.flags.has(Flags::GPC));
    if click.privacy != Privacy::None {
        object.add_plain_word_unless_empty(text_key!("privacy_mode"), click.privacy.as_str());
    }
}

fn add_label_fields(object: &mut JsonObjectWriter<'_>, click: &Click<'_>, facts: &DerivedFacts<'_>) {
    let ClickLabels { class, class_reason, source, source_reason, in_app, in_app_name } = *facts.labels;
    let is_test_link = facts.link.is_some_and(|link| link.test);
    let countability = labels::decide_countable(class, click.outcome, is_test_link, facts.duplicate);
    object.add_plain_word_unless_empty(text_key!("class"), class.as_str());
    object.add_plain_word_unless_empty(text_key!("class_reason"), class_reason);
    object.add_bool(key!("countable"), countability.countable);
    object.add_plain_word_unless_empty(text_key!("countable_reason"), countability.reason);
    object.add_bool(key!("duplicate"), facts.duplicate.is_duplicate());
    object.add_plain_word_unless_empty(text_key!("duplicate_basis"), facts.duplicate.duplicate_basis_as_str());
    object.add_plain_word_unless_empty(text_key!("source"), source);
    object.add_plain_word_unless_empty(text_key!("source_reason"), source_reason);
    object.add_bool(key!("in_app"), in_app);
    object.add_plain_word_unless_empty(text_key!("in_app_name"), in_app_name);
    object.add_integer(key!("labels_version"), labels::LABELS_VERSION);
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
