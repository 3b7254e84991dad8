//! Step 1 of the rule, for clicks: of several records with one click id, one stands.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
    collections::HashMap,
};

use serde::Deserialize;

use super::json::{text_or_empty, value_or_default};
use crate::model::link::{CreatorType, LINK_LIFETIME_MS, LinkFacts, LinkKind, Plan};

/// The `type` of a click's record; a stub of a click that Kafka refused has another.
const CLICK_TYPE: &str = "click";
/// The `class` of a person's click.
const HUMAN: &str = "human";
/// The `outcome` of a click that was sent on to a live link's destination.
const REDIRECTED: &str = "redirected";

/// The fields of a `click.v1` event that decide about commission. A text that the event lacks is empty. Times are
/// milliseconds since the epoch.
#[derive(Clone, Debug, Deserialize)]
pub struct ClickRecord<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "text_or_empty")]
    event_type: Cow<'a, str>,
    /// The click's id, a UUIDv7.
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub click_id: Cow<'a, str>,
    #[serde(default, deserialize_with = "value_or_default")]
    pub(super) clicked_at_ms: u64,
    /// When the record was sent to its topic; 0 if unknown.
    #[serde(default, deserialize_with = "value_or_default")]
    pub arrived_at_ms: u64,
    #[serde(default, deserialize_with = "value_or_default")]
    labels_version: u64,
    #[serde(default, deserialize_with = "value_or_default")]
    duplicate: bool,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    edge: Cow<'a, str>,
    #[serde(default, deserialize_with = "value_or_default")]
    lane: u64,
    #[serde(default, deserialize_with = "value_or_default")]
    epoch: u64,
    #[serde(default, deserialize_with = "value_or_default")]
    seq: u64,
    /// The cookie jar; empty if none.
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub visitor_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    outcome: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    class: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub(super) source: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub(super) domain: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub(super) code: Cow<'a, str>,
    link_kind: Option<LinkKind>,
    link_created_at_ms: Option<u64>,
    link_ends_at_ms: Option<u64>,
    #[serde(default, deserialize_with = "value_or_default")]
    link_test: bool,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    creator_id: Cow<'a, str>,
    creator_type: Option<CreatorType>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    partner_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    seller_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    campaign_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    product_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    product_set_id: Cow<'a, str>,
    plan: Option<Plan>,
    rate_bp: Option<u16>,
}

impl ClickRecord<'_> {
    /// Whether the record is a click. A stub is none, and a record of a later type is none.
    pub fn is_click(&self) -> bool {
        self.event_type == CLICK_TYPE
    }

    /// Checks what the rule cannot do without.
    ///
    /// # Errors
    /// A click without its id or its time; the text names the field.
    pub fn check(&self) -> Result<(), String> {
        if self.is_click() && self.click_id.is_empty() {
            return Err("click_id is missing; a click has one".to_owned());
        }
        if self.is_click() && self.clicked_at_ms == 0 {
            return Err("clicked_at_ms is missing; a click has a time".to_owned());
        }
        Ok(())
    }

    /// The record with texts of its own.
    pub fn into_owned(self) -> ClickRecord<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ClickRecord {
            event_type: own(self.event_type),
            click_id: own(self.click_id),
            clicked_at_ms: self.clicked_at_ms,
            arrived_at_ms: self.arrived_at_ms,
            labels_version: self.labels_version,
            duplicate: self.duplicate,
            edge: own(self.edge),
            lane: self.lane,
            epoch: self.epoch,
            seq: self.seq,
            visitor_id: own(self.visitor_id),
            outcome: own(self.outcome),
            class: own(self.class),
            source: own(self.source),
            domain: own(self.domain),
            code: own(self.code),
            link_kind: self.link_kind,
            link_created_at_ms: self.link_created_at_ms,
            link_ends_at_ms: self.link_ends_at_ms,
            link_test: self.link_test,
            creator_id: own(self.creator_id),
            creator_type: self.creator_type,
            partner_id: own(self.partner_id),
            seller_id: own(self.seller_id),
            campaign_id: own(self.campaign_id),
            product_id: own(self.product_id),
            product_set_id: own(self.product_set_id),
            plan: self.plan,
            rate_bp: self.rate_bp,
        }
    }

    pub(super) fn is_human(&self) -> bool {
        self.class == HUMAN
    }

    /// The link's facts as of the click. `None` for an orphan: a click that was not sent on to a live link.
    pub(super) fn live_link(&self) -> Option<LinkFacts<'_>> {
        let kind = self.link_kind.filter(|_| self.outcome == REDIRECTED)?;
        let created_ms = self.link_created_at_ms.unwrap_or(0);
        Some(LinkFacts {
            version: 0,
            kind,
            created_ms,
            ends_ms: self.link_ends_at_ms.unwrap_or_else(|| created_ms.saturating_add(LINK_LIFETIME_MS)),
            creator_type: self.creator_type,
            plan: self.plan,
            rate_bp: self.rate_bp.unwrap_or(0),
            test: self.link_test,
            creator: &self.creator_id,
            partner: &self.partner_id,
            seller: &self.seller_id,
            campaign: &self.campaign_id,
            product: &self.product_id,
            product_set: &self.product_set_id,
        })
    }

    /// Seller and partner of the click's link, live or not.
    pub(super) fn seller_and_partner(&self) -> (&str, &str) {
        (&self.seller_id, &self.partner_id)
    }

    /// Of two records of one click, the less one stands.
    pub fn compare_standing(&self, other: &ClickRecord<'_>) -> Ordering {
        self.standing_key().cmp(&other.standing_key())
    }

    /// The least key stands: the first to arrive, the newest label rules, no duplicate, the least number. All other
    /// facts are the last tie-break, so that not even records that contradict each other depend on their order.
    fn standing_key(&self) -> impl Ord + '_ {
        let number = (&*self.edge, self.lane, self.epoch, self.seq);
        let link = (
            (self.link_kind.map(|kind| kind as u8), self.link_created_at_ms, self.link_ends_at_ms, self.link_test),
            (&*self.creator_id, self.creator_type.map(|creator_type| creator_type as u8), &*self.partner_id),
            (&*self.seller_id, &*self.campaign_id, &*self.product_id, &*self.product_set_id),
            (self.plan.map(|plan| plan as u8), self.rate_bp),
        );
        let click = (self.clicked_at_ms, &*self.visitor_id, &*self.domain, &*self.code);
        let labels = (&*self.outcome, &*self.class, &*self.source);
        (self.arrived_at_ms, Reverse(self.labels_version), self.duplicate, number, click, labels, link)
    }
}

/// The one record that stands for each click.
#[derive(Debug, Default)]
pub struct ClickRecords<'a> {
    records: Vec<ClickRecord<'a>>,
    by_click_id: HashMap<String, usize, foldhash::fast::RandomState>,
    by_visitor_id: HashMap<String, Vec<usize>, foldhash::fast::RandomState>,
}

impl<'a> ClickRecords<'a> {
    /// Takes records in any order, with repeats and stubs.
    pub fn choose_standing_records(records: impl IntoIterator<Item = ClickRecord<'a>>) -> ClickRecords<'a> {
        let mut chosen = ClickRecords::default();
        for record in records.into_iter().filter(ClickRecord::is_click) {
            match chosen.by_click_id.get(&*record.click_id) {
                None => {
                    chosen.by_click_id.insert(record.click_id.clone().into_owned(), chosen.records.len());
                    chosen.records.push(record);
                }
                Some(at) if record.compare_standing(&chosen.records[*at]).is_lt() => chosen.records[*at] = record,
                Some(_) => {}
            }
        }
        for (at, record) in chosen.records.iter().enumerate().filter(|(_, record)| !record.visitor_id.is_empty()) {
            chosen.by_visitor_id.entry(record.visitor_id.clone().into_owned()).or_default().push(at);
        }
        chosen
    }

    /// The record of a click, whenever it arrived.
    pub(super) fn find(&self, click_id: &str) -> Option<&ClickRecord<'a>> {
        self.by_click_id.get(click_id).map(|at| &self.records[*at])
    }

    /// The records of a cookie jar, in no order.
    pub(super) fn of_visitor(&self, visitor_id: &str) -> impl Iterator<Item = &ClickRecord<'a>> {
        self.by_visitor_id.get(visitor_id).into_iter().flatten().map(|at| &self.records[*at])
    }
}
