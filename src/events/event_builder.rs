//! Builds a click's event from its journal bytes: decodes, labels, decides about duplicates, encodes. Allocates nothing
//! for a click.

use std::sync::Arc;

use aho_corasick::BuildError;
use arc_swap::{ArcSwap, Cache};

use super::{
    device_labels::DeviceLabeller,
    duplicates::{Config, DuplicateFilter, DuplicateVerdict},
    encoder::{ClickIdentity, DerivedFacts, EventEncoder, ValueEncoding},
    labels::{ClickClass, ClickLabeller, ClickLabels},
    place_labels::PlaceLabels,
};
use crate::{
    client::query_params::QueryParams,
    geoip::Databases,
    journal::{Frame, LaneReader, TailCoverage},
    model::{
        click::{Click, DecodeError, Outcome, Text, Topic},
        link::LinkFacts,
    },
};

/// A click decoded from its journal bytes, with its link's facts and query parameters.
pub struct DecodedClick<'a> {
    /// The click.
    pub click: Click<'a>,
    link: Option<LinkFacts<'a>>,
    params: QueryParams<'a>,
}

/// Whether an undelivered click is already known to be a duplicate or a first tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateVerdictState {
    /// The delivery will decide as the event says.
    Decided,
    /// The event says first tap, but the filters of the delivery can find that the click is a duplicate.
    Undecided,
}

/// Why a click's journal bytes cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndecodableClick {
    /// A newer build wrote them, and can read them.
    NewerFormat,
    /// No build can read them, although their checksum is good.
    Malformed,
}

impl<'a> DecodedClick<'a> {
    /// Decodes the journal bytes of a click.
    pub fn decode(payload: &'a [u8]) -> Result<DecodedClick<'a>, UndecodableClick> {
        let click = Click::decode(payload).map_err(|error| match error {
            DecodeError::Version(_) => UndecodableClick::NewerFormat,
            DecodeError::Malformed => UndecodableClick::Malformed,
        })?;
        let link = match click.text(Text::Link) {
            [] => None,
            bytes if LinkFacts::is_newer_format(bytes) => return Err(UndecodableClick::NewerFormat),
            bytes => Some(LinkFacts::decode(bytes).ok_or(UndecodableClick::Malformed)?),
        };
        Ok(DecodedClick { params: QueryParams::parse_known_params(click.text(Text::Query)), link, click })
    }
}

/// Builds events. Remembers recent clicks to find duplicates, so each click must be given to it once.
pub struct EventBuilder {
    labeller: ClickLabeller,
    duplicates: DuplicateFilter,
    encoder: EventEncoder,
    geoip: Cache<Arc<ArcSwap<Databases>>, Arc<Databases>>,
    /// `None`: devices are not labelled.
    devices: Option<DeviceLabeller>,
}

impl EventBuilder {
    /// A builder that has seen no click, and that labels neither addresses nor devices.
    ///
    /// # Errors
    /// The table of user agents does not fit its automaton; a test would have shown it.
    pub fn new(duplicates: &Config) -> Result<EventBuilder, BuildError> {
        Ok(EventBuilder {
            labeller: ClickLabeller::new()?,
            duplicates: DuplicateFilter::new(duplicates),
            encoder: EventEncoder::default(),
            geoip: Cache::new(Arc::default()),
            devices: None,
        })
    }

    /// This builder, which labels addresses by the files that `geoip` holds when an event is encoded. So an event that
    /// is sent again after a change of a file can have other labels of its address.
    #[must_use]
    pub fn with_geoip(self, geoip: Arc<ArcSwap<Databases>>) -> EventBuilder {
        EventBuilder { geoip: Cache::new(geoip), ..self }
    }

    /// This builder, which labels devices if `is_on`. The first one of a process takes some tenths of a second.
    #[must_use]
    pub fn with_device_labels(self, is_on: bool) -> EventBuilder {
        EventBuilder { devices: if is_on { DeviceLabeller::new() } else { None }, ..self }
    }

    /// Computes the labels that depend on the click alone.
    pub fn compute_labels(&mut self, click: &DecodedClick<'_>) -> ClickLabels {
        self.labeller.compute_labels(&click.click, &click.params)
    }

    /// Decides whether the click repeats an earlier one, and remembers it. A click that cannot count is a first tap and
    /// is not remembered: a preview with the same user agent is no tap.
    pub fn decide_duplicate_and_remember_if_it_can_count(
        &mut self,
        topic: Topic,
        click: &DecodedClick<'_>,
        labels: &ClickLabels,
    ) -> DuplicateVerdict {
        if can_count(topic, click, labels) {
            self.duplicates.judge_by_visitor_or_address_and_remember_click(&click.click)
        } else {
            DuplicateVerdict::First
        }
    }

    /// Fills the filters of duplicates with clicks of the topic that an earlier process delivered, as the rings of its
    /// lanes still hold them. Where a ring was lost, taps of the next window are judged as far as is known.
    pub(crate) fn remember_clicks_delivered_before_start(&mut self, topic: Topic, lanes: &[LaneReader], now_ms: u64) {
        // Clicks of the other topic never count, so none of them repeats another.
        if topic != Topic::Clicks {
            return;
        }
        // The filters hold so many windows, and the first tap of an undelivered click is at most one window older.
        let reach_ms = 3 * self.duplicates.window_ms();
        let mut newest_ms = 0;
        for pass in [Pass::FindNewest, Pass::Remember] {
            for lane in lanes {
                let shown = lane.visit_frames_delivered_before_start(|frame| {
                    let Ok(click) = DecodedClick::decode(frame.payload) else { return true };
                    let at_ms = click.click.at_ms;
                    match pass {
                        Pass::FindNewest => newest_ms = newest_ms.max(at_ms),
                        Pass::Remember if at_ms + reach_ms >= newest_ms => {
                            self.remember_click_if_it_can_count(topic, &click);
                        }
                        Pass::Remember => {}
                    }
                    // Behind the newest part the first pass needs no other.
                    pass == Pass::Remember && at_ms + reach_ms >= newest_ms
                });
                if pass == Pass::Remember && !matches!(shown, Ok(TailCoverage::Whole)) {
                    self.duplicates.set_unknown_before_ms(now_ms);
                }
            }
        }
    }

    /// Remembers a click that was delivered before: later clicks can repeat it.
    pub(crate) fn remember_click_if_it_can_count(&mut self, topic: Topic, click: &DecodedClick<'_>) {
        let labels = self.compute_labels(click);
        if can_count(topic, click, &labels) {
            self.duplicates.remember_click(&click.click);
        }
    }

    /// Appends the event to `out` as JSON: for files, and for what people read.
    pub fn append_event_json(
        &mut self,
        out: &mut Vec<u8>,
        identity: &ClickIdentity<'_>,
        click: &DecodedClick<'_>,
        labels: &ClickLabels,
        duplicate: DuplicateVerdict,
    ) {
        self.append_event(out, ValueEncoding::Json, identity, click, labels, duplicate);
    }

    /// Appends the event to `out` in an encoding.
    pub fn append_event(
        &mut self,
        out: &mut Vec<u8>,
        encoding: ValueEncoding,
        identity: &ClickIdentity<'_>,
        click: &DecodedClick<'_>,
        labels: &ClickLabels,
        duplicate: DuplicateVerdict,
    ) {
        let DecodedClick { click, link, params } = click;
        let place = PlaceLabels::of_click(click, self.geoip.load());
        let device = self.devices.as_mut().map(|devices| devices.label(click));
        let (link, device) = (link.as_ref(), device.as_ref());
        let facts = DerivedFacts { link, params, labels, place: &place, device, duplicate };
        self.encoder.append_event(out, encoding, identity, click, &facts);
    }

    /// Appends the event of an undelivered frame as it would be delivered, and remembers nothing. Decides about
    /// duplicates by the cookie alone, because the filters of the running delivery are not known here. `safe` is 0:
    /// only the delivery knows it. `None`, and nothing appended, if this version cannot decode the frame.
    pub fn try_append_undelivered_event_and_return_verdict_state(
        &mut self,
        edge: &str,
        topic: Topic,
        lane: u16,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Option<DuplicateVerdictState> {
        let click = DecodedClick::decode(frame.payload).ok()?;
        let identity = ClickIdentity { edge, lane, epoch: frame.epoch.get(), seq: frame.seq.get(), safe: 0 };
        Some(self.append_undelivered_event_of_click(topic, &click, &identity, out))
    }

    /// Appends the event of a click that is in no journal, as it would be delivered, and remembers nothing. Its number
    /// and place are zero. `false`, and nothing appended, if the bytes are no click.
    pub(crate) fn try_append_event_of_unrecorded_click(
        &mut self,
        topic: Topic,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(click) = DecodedClick::decode(payload) else { return false };
        let identity = ClickIdentity { edge: "", lane: 0, epoch: 0, seq: 0, safe: 0 };
        self.append_undelivered_event_of_click(topic, &click, &identity, out);
        true
    }

    fn append_undelivered_event_of_click(
        &mut self,
        topic: Topic,
        click: &DecodedClick<'_>,
        identity: &ClickIdentity<'_>,
        out: &mut Vec<u8>,
    ) -> DuplicateVerdictState {
        let labels = self.compute_labels(click);
        let can_count = can_count(topic, click, &labels);
        let verdict = match can_count {
            true => self.duplicates.decide_duplicate_by_cookie_alone(&click.click),
            false => DuplicateVerdict::First,
        };
        self.append_event_json(out, identity, click, &labels, verdict);
        let undecided = can_count && !verdict.is_duplicate();
        if undecided { DuplicateVerdictState::Undecided } else { DuplicateVerdictState::Decided }
    }

    /// Appends the event of a frame as it would be delivered now, and remembers the click. `safe` is 0: only the
    /// delivery knows it. `false`, and nothing appended, if this version cannot decode the frame.
    pub fn try_append_event_and_remember_click(
        &mut self,
        edge: &str,
        topic: Topic,
        lane: u16,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(click) = DecodedClick::decode(frame.payload) else { return false };
        let labels = self.compute_labels(&click);
        let duplicate = self.decide_duplicate_and_remember_if_it_can_count(topic, &click, &labels);
        let identity = ClickIdentity { edge, lane, epoch: frame.epoch.get(), seq: frame.seq.get(), safe: 0 };
        self.append_event_json(out, &identity, &click, &labels, duplicate);
        true
    }
}

/// Why the delivered clicks are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    FindNewest,
    Remember,
}

/// Whether the click counts unless it is a duplicate or on a test link.
fn can_count(topic: Topic, click: &DecodedClick<'_>, labels: &ClickLabels) -> bool {
    let redirected = click.click.outcome == Outcome::Redirected;
    topic == Topic::Clicks && labels.class == ClickClass::Human && redirected
}
