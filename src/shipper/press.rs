//! From a click's journal bytes to its event: read, labelled, judged, encoded. Everything that a click costs here apart from
//! reading and sending; without allocation.

use aho_corasick::BuildError;

use super::{
    duplicate::{Config, Duplicates, Verdict},
    event::{Encoder, Place, Said},
    labels::{Class, Labeller, Labels},
    params::Params,
};
use crate::{
    journal::Frame,
    model::{
        click::{Click, Outcome, Text, Topic},
        link::LinkFacts,
    },
};

/// A click and what is read out of it.
pub(super) struct Parcel<'a> {
    pub(super) click: Click<'a>,
    facts: Option<LinkFacts<'a>>,
    params: Params<'a>,
}

/// Whether a click that waits is judged already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// What it will be called is certain.
    Decided,
    /// It is a first tap unless the filters know better when it is shipped.
    Undecided,
}

/// Of a format that this build does not know.
#[derive(Debug)]
pub(super) struct Unreadable;

impl<'a> Parcel<'a> {
    /// Reads the journal's bytes.
    pub(super) fn open(payload: &'a [u8]) -> Result<Parcel<'a>, Unreadable> {
        let click = Click::decode(payload).map_err(|_| Unreadable)?;
        let facts = match click.text(Text::Link) {
            [] => None,
            bytes => Some(LinkFacts::decode(bytes).ok_or(Unreadable)?),
        };
        Ok(Parcel { params: Params::of(click.text(Text::Query)), facts, click })
    }
}

/// Labels, judges and encodes clicks; one for the shipper's thread.
pub struct Press {
    labeller: Labeller,
    duplicates: Duplicates,
    encoder: Encoder,
}

impl Press {
    /// With nothing seen yet.
    ///
    /// # Errors
    /// The table of agents does not fit its automaton; a test would have shown it.
    pub fn new(duplicate: &Config) -> Result<Press, BuildError> {
        Ok(Press { labeller: Labeller::new()?, duplicates: Duplicates::new(duplicate), encoder: Encoder::default() })
    }

    /// Labels a click by itself: the same whenever it is asked.
    pub(super) fn label(&mut self, parcel: &Parcel<'_>) -> Labels {
        self.labeller.read(&parcel.click, &parcel.params)
    }

    /// Whether the click repeats another. To be asked once a click. Only what could count is judged: a preview with the same
    /// agent is no first tap, and an orphan counts never.
    pub(super) fn judge(&mut self, topic: Topic, parcel: &Parcel<'_>, labels: &Labels) -> Verdict {
        if could_count(topic, parcel, labels) { self.duplicates.judge(&parcel.click) } else { Verdict::First }
    }

    /// Appends the event to `out`.
    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        place: &Place<'_>,
        parcel: &Parcel<'_>,
        labels: &Labels,
        duplicate: Verdict,
    ) {
        let Parcel { click, facts, params } = parcel;
        self.encoder.encode(out, place, click, &Said { facts: facts.as_ref(), params, labels, duplicate });
    }

    /// Appends the event of a click that waits in the journal, as it would be shipped, to `out`, and says what is known of the
    /// duplicate verdict. Judges by the cookie alone: the filters know what was shipped before, and that is not here. `None`
    /// if the bytes are no click of this build. `safe` is left at 0, for it is another's at each shipping. For
    /// `waypost clicks why`.
    pub fn foresee(&mut self, edge: &str, lane: u16, frame: &Frame<'_>, out: &mut Vec<u8>) -> Option<Foreseen> {
        let parcel = Parcel::open(frame.payload).ok()?;
        let labels = self.label(&parcel);
        let topic = *Topic::ALL.get(usize::from(frame.stream))?;
        let could_count = could_count(topic, &parcel, &labels);
        let verdict = if could_count { self.duplicates.told_by_cookie(&parcel.click) } else { Verdict::First };
        let place = Place { edge, lane, epoch: frame.epoch, seq: frame.seq, safe: 0 };
        self.encode(out, &place, &parcel, &labels, verdict);
        let open = could_count && !verdict.is_duplicate();
        Some(if open { Foreseen::Undecided } else { Foreseen::Decided })
    }

    /// Labels and judges a click that lies in the journal and appends its event, as it would be shipped now, to `out`; `false` if the
    /// bytes are no click of this build. `safe` is left at 0: nothing is known of others. To be asked once a click. For
    /// `waypost journal drain --to-file`.
    pub fn export(&mut self, edge: &str, lane: u16, frame: &Frame<'_>, out: &mut Vec<u8>) -> bool {
        let Some(topic) = Topic::ALL.get(usize::from(frame.stream)) else { return false };
        let Ok(parcel) = Parcel::open(frame.payload) else { return false };
        let labels = self.label(&parcel);
        let duplicate = self.judge(*topic, &parcel, &labels);
        let place = Place { edge, lane, epoch: frame.epoch, seq: frame.seq, safe: 0 };
        self.encode(out, &place, &parcel, &labels, duplicate);
        true
    }

    /// All of it for one click of the topic `clicks`, appended to `out`; `false` if the bytes are no click. For benches: the loop
    /// takes the same steps, with the sink asked for room between them.
    pub fn press(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(parcel) = Parcel::open(payload) else { return false };
        let labels = self.label(&parcel);
        let duplicate = self.judge(Topic::Clicks, &parcel, &labels);
        let place = Place { edge: "edge-bench", lane: 0, epoch: parcel.click.at_ms, seq: 48_213, safe: 48_200 };
        self.encode(out, &place, &parcel, &labels, duplicate);
        true
    }
}

fn could_count(topic: Topic, parcel: &Parcel<'_>, labels: &Labels) -> bool {
    topic == Topic::Clicks && labels.class == Class::Human && parcel.click.outcome == Outcome::Redirected
}
