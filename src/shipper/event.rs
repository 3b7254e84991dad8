//! The event `click.v1`: flat JSON, snake_case, additive only (`deploy/schemas/click.v1.schema.json`).
//!
//! A click that Kafka refuses has a stub in its place: its identity, why it was refused and how large it was.
//!
//! The value is a pure function of the journaled click, its place in the lane and the label rules, so that shipping it twice
//! gives the same facts. A key whose value is unknown or empty is left out; the schema says which are always there. An
//! first tap from an in-app browser with sub id, ad id and utm is about 1.7 KB, 1.0 KB without a link (a test states it). The destination never holds its token: `{click_token}` stands there.

use super::{
    duplicate::Verdict,
    json::{self, Object, key, quoted},
    labels::{self, Labels},
    params::Params,
};
use crate::{
    kafka::Refusal,
    model::{
        click::{Click, Flags, Privacy, Text},
        link::LinkFacts,
    },
};

/// The most bytes kept of the query.
const QUERY: usize = 1024;
/// The most bytes, decoded, of a value taken out of the query.
const PARAM: usize = 256;

/// Where a click lies: the identity under which a reader proves that none is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The edge's name.
    pub(super) edge: &'a str,
    pub(super) lane: u16,
    pub(super) epoch: u64,
    /// Gapless in lane, epoch and topic.
    pub(super) seq: u64,
    /// Every lower seq is in Kafka or synced.
    pub(super) safe: u64,
}

/// What is said about a click besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) facts: Option<&'a LinkFacts<'a>>,
    pub(super) params: &'a Params<'a>,
    pub(super) labels: &'a Labels,
    pub(super) duplicate: Verdict,
}

/// Writes events; holds the buffer in which encoded parameters are decoded.
#[derive(Default)]
pub(super) struct Encoder {
    decoded: Vec<u8>,
}

impl Encoder {
    /// Appends one event, without a line's end.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>, place: &Place<'_>, click: &Click<'_>, said: &Said<'_>) {
        let mut object = Object::open(out, "\"type\":\"click\",\"schema_version\":1");
        identity(&mut object, place, click);
        answer(&mut object, click);
        link(&mut object, click, said.facts);
        visitor(&mut object, click);
        self.request(&mut object, click, said.params);
        verdicts(&mut object, click, said);
        object.close();
    }

    fn request(&mut self, object: &mut Object<'_>, click: &Click<'_>, params: &Params<'_>) {
        object.word(quoted!("method"), click.method.as_str());
        object.word(quoted!("http_version"), click.http.as_str());
        if let Some(address) = click.address {
            object.address(quoted!("client_ip"), address);
        }
        object.word(quoted!("client_ip_mode"), click.address_mode.as_str());
        object.word(quoted!("client_ip_from"), click.address_from.as_str());
        object.text(quoted!("user_agent"), click.text(Text::UserAgent));
        object.text(quoted!("referer"), click.text(Text::Referer));
        object.text(quoted!("accept_language"), click.text(Text::AcceptLanguage));
        object.text(quoted!("app_package"), click.text(Text::AppPackage));
        object.text(quoted!("sec_fetch"), click.text(Text::SecFetch));
        let query = click.text(Text::Query);
        object.text(quoted!("query"), &query[..query.len().min(QUERY)]);
        let mut cut = query.len() > QUERY || click.flags.has(Flags::TRUNCATED);
        const SUBS: [&str; 5] = [quoted!("sub1"), quoted!("sub2"), quoted!("sub3"), quoted!("sub4"), quoted!("sub5")];
        for (key, value) in SUBS.into_iter().zip(params.subs) {
            cut |= self.param(object, key, value);
        }
        if let Some(ad) = params.ad {
            object.word(quoted!("ad_click_id_name"), ad.name);
            cut |= self.param(object, quoted!("ad_click_id"), ad.value);
        }
        cut |= self.param(object, quoted!("utm_source"), params.utm_source);
        cut |= self.param(object, quoted!("utm_medium"), params.utm_medium);
        cut |= self.param(object, quoted!("utm_campaign"), params.utm_campaign);
        object.bool(key!("truncated"), cut);
    }

    /// A value of the query, decoded; whether it had to be cut.
    fn param(&mut self, object: &mut Object<'_>, key: &str, value: &[u8]) -> bool {
        let encoded = value.iter().any(|byte| matches!(byte, b'%' | b'+'));
        let value = if encoded {
            decode(&mut self.decoded, value);
            &self.decoded
        } else {
            value
        };
        object.text(key, &value[..value.len().min(PARAM)]);
        value.len() > PARAM
    }
}

/// Appends the stub of a dead letter whose event has so many bytes, without a line's end.
pub(super) fn stub(out: &mut Vec<u8>, place: &Place<'_>, click: &Click<'_>, reason: Refusal, size: u32) {
    let mut object = Object::open(out, "\"type\":\"dead_lettered\",\"schema_version\":1");
    identity(&mut object, place, click);
    object.word(quoted!("reason"), reason.as_str());
    object.int(key!("size"), u64::from(size));
    object.close();
}

fn identity(object: &mut Object<'_>, place: &Place<'_>, click: &Click<'_>) {
    object.text(quoted!("click_id"), &uuid_text(&click.id));
    object.int(key!("clicked_at_ms"), click.at_ms);
    object.text(quoted!("edge"), place.edge.as_bytes());
    object.int(key!("lane"), u64::from(place.lane));
    object.int(key!("epoch"), place.epoch);
    object.int(key!("seq"), place.seq);
    object.int(key!("safe"), place.safe);
}

fn answer(object: &mut Object<'_>, click: &Click<'_>) {
    object.word(quoted!("outcome"), click.outcome.as_str());
    object.int(key!("status"), u64::from(click.status));
    let destination = click.text(Text::Destination);
    if !destination.is_empty() {
        match click.token_at.and_then(|at| destination.split_at_checked(usize::from(at))) {
            Some((head, tail)) => object.spliced(quoted!("destination"), head, "{click_token}", tail),
            None => object.text(quoted!("destination"), destination),
        }
        object.text(quoted!("destination_host"), host(destination));
    }
    object.word(quoted!("carrier"), click.carrier.as_str());
    object.bool(key!("cookie_set"), click.flags.has(Flags::COOKIE_SET));
    object.bool(key!("token_placed"), click.token_at.is_some());
    if let Some(kid) = &click.token_kid {
        object.text(quoted!("token_kid"), kid);
    }
}

fn link(object: &mut Object<'_>, click: &Click<'_>, facts: Option<&LinkFacts<'_>>) {
    object.text(quoted!("domain"), click.text(Text::Domain));
    object.text(quoted!("code"), click.text(Text::Code));
    let Some(facts) = facts else { return };
    object.int(key!("link_version"), facts.version);
    object.word(quoted!("link_kind"), facts.kind.as_str());
    object.int(key!("link_created_at_ms"), facts.created_ms);
    object.int(key!("link_ends_at_ms"), facts.ends_ms);
    object.text(quoted!("creator_id"), facts.creator.as_bytes());
    object.word(quoted!("creator_type"), facts.creator_type.map_or("", |creator| creator.as_str()));
    object.text(quoted!("partner_id"), facts.partner.as_bytes());
    object.text(quoted!("seller_id"), facts.seller.as_bytes());
    object.text(quoted!("campaign_id"), facts.campaign.as_bytes());
    object.text(quoted!("product_id"), facts.product.as_bytes());
    object.text(quoted!("product_set_id"), facts.product_set.as_bytes());
    object.word(quoted!("plan"), facts.plan.map_or("", |plan| plan.as_str()));
    if facts.rate_bp != 0 {
        object.int(key!("rate_bp"), u64::from(facts.rate_bp));
    }
    object.bool(key!("link_test"), facts.test);
}

fn visitor(object: &mut Object<'_>, click: &Click<'_>) {
    if let Some(visitor) = &click.visitor {
        object.text(quoted!("visitor_id"), &visitor_text(visitor));
        object.bool(key!("visitor_new"), click.flags.has(Flags::VISITOR_NEW));
    }
    object.word(quoted!("cookie_state"), click.cookie_state.as_str());
    if let Some(previous) = &click.previous {
        object.text(quoted!("previous_click_id"), &uuid_text(previous));
        object.text(quoted!("previous_domain"), click.text(Text::PreviousDomain));
        object.text(quoted!("previous_code"), click.text(Text::PreviousCode));
        object.int(key!("previous_clicked_at_ms"), super::duplicate::uuid_ms(previous));
    }
    object.word(quoted!("consent"), click.consent.as_str());
    object.bool(key!("gpc"), click.flags.has(Flags::GPC));
    if click.privacy != Privacy::None {
        object.word(quoted!("privacy_mode"), click.privacy.as_str());
    }
}

fn verdicts(object: &mut Object<'_>, click: &Click<'_>, said: &Said<'_>) {
    let Labels { class, class_reason, source, source_reason, in_app, in_app_name } = *said.labels;
    let test = said.facts.is_some_and(|facts| facts.test);
    let (countable, countable_reason) = labels::countable(class, click.outcome, test, said.duplicate);
    object.word(quoted!("class"), class.as_str());
    object.word(quoted!("class_reason"), class_reason);
    object.bool(key!("countable"), countable);
    object.word(quoted!("countable_reason"), countable_reason);
    object.bool(key!("duplicate"), said.duplicate.is_duplicate());
    object.word(quoted!("duplicate_basis"), said.duplicate.basis());
    object.word(quoted!("source"), source);
    object.word(quoted!("source_reason"), source_reason);
    object.bool(key!("in_app"), in_app);
    object.word(quoted!("in_app_name"), in_app_name);
    object.int(key!("labels_version"), labels::VERSION);
}

/// The host of an http or https URL, without port; empty for an app's scheme.
fn host(url: &[u8]) -> &[u8] {
    let Some(rest) = url.strip_prefix(b"https://").or_else(|| url.strip_prefix(b"http://")) else { return b"" };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    match memchr::memrchr(b':', authority) {
        // A colon inside brackets belongs to an IPv6 address.
        Some(at) if !authority[at..].contains(&b']') => &authority[..at],
        _ => authority,
    }
}

/// Percent-decoding with `+` for a space, as a form or a link writes it. A `%` without two digits stands for itself.
fn decode(out: &mut Vec<u8>, value: &[u8]) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    out.clear();
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        at += 1;
        match (byte, digit(value.get(at)), digit(value.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(*byte),
        }
    }
}

/// A click id as text: lower-case UUID.
pub(super) fn uuid_text(id: &[u8; 16]) -> [u8; 36] {
    let digits = json::hex(id);
    let mut text = [b'-'; 36];
    for (to, from) in [(0, 0..8), (9, 8..12), (14, 12..16), (19, 16..20), (24, 20..32)] {
        text[to..to + from.len()].copy_from_slice(&digits[from]);
    }
    text
}

/// A visitor id as text: 32 lower-case hexadecimal digits. Also the record key in Kafka.
pub(super) fn visitor_text(id: &[u8; 16]) -> [u8; 32] {
    json::hex(id)
}

#[cfg(test)]
pub(super) mod tests;
