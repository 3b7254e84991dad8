//! A click event as these commands read it: the fields they use, borrowed from the record's value.

use std::borrow::Cow;

use serde::Deserialize;

/// The type of a click.
const CLICK_TYPE: &str = "click";
/// The type of a stub: the record in the place of a click that Kafka refused.
const STUB_TYPE: &str = "dead_lettered";

/// The fields of a `click.v1` event that the commands use. A field that the event lacks is empty, zero or false.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClickEvent<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) click_id: Cow<'a, str>,
    pub(super) clicked_at_ms: u64,
    #[serde(borrow)]
    edge: Cow<'a, str>,
    lane: Option<u16>,
    epoch: Option<u64>,
    seq: Option<u64>,
    safe: Option<u64>,
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) code: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) creator_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) class: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) destination_host: Cow<'a, str>,
    pub(super) countable: bool,
    #[serde(borrow)]
    pub(super) countable_reason: Cow<'a, str>,
    pub(super) duplicate: bool,
}

/// The number of a click. It is unique among the clicks of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClickNumber<'e> {
    pub(super) edge: &'e str,
    pub(super) lane: u16,
    pub(super) epoch: u64,
    /// Without gaps in edge, lane, epoch and topic.
    pub(super) seq: u64,
    /// Every lower number of the same epoch and topic was delivered or synced when this event was sent.
    pub(super) safe: u64,
}

impl<'a> ClickEvent<'a> {
    /// Parses the value of a record. `None` if the value is not a JSON object with fields of the expected types.
    pub(super) fn parse(value: &'a [u8]) -> Option<ClickEvent<'a>> {
        serde_json::from_slice(value).ok()
    }

    /// Whether the event is a click, and no record of another type.
    pub(super) fn is_click(&self) -> bool {
        self.event_type == CLICK_TYPE
    }

    /// Whether the event is a stub, not a click.
    pub(super) fn is_stub(&self) -> bool {
        self.event_type == STUB_TYPE
    }

    /// The click's number. `None` if the event lacks a part of it: then it is not an event of Waypost.
    pub(super) fn click_number_if_complete(&self) -> Option<ClickNumber<'_>> {
        if self.event_type.is_empty() || self.edge.is_empty() {
            return None;
        }
        let ClickEvent { lane, epoch, seq, safe, .. } = self;
        Some(ClickNumber { edge: &self.edge, lane: (*lane)?, epoch: (*epoch)?, seq: (*seq)?, safe: (*safe)? })
    }
}
