//! What was found about a click.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::query::TokenCheck;
use crate::{
    attribution::click_id::ClickId, cli::clicks::source::RecordLocation, clock, events::DuplicateVerdictState,
};

/// The report on one click.
#[derive(Debug)]
pub(super) struct ClickReport {
    pub(super) click_id: ClickId,
    pub(super) token: Option<TokenCheck>,
    /// The `click.v1` event, as it was delivered or as it would be delivered now.
    pub(super) event: Option<Value>,
    /// Whether the click is a duplicate is decided only when it is delivered.
    pub(super) duplicate_undecided: bool,
    /// The location of the first record, or else of the frame in the journal.
    pub(super) location: Option<ClickLocation>,
    /// Further records of the click, in the order in which they were read.
    pub(super) repeats: Vec<ClickLocation>,
    pub(super) searched: Vec<SearchedPlace>,
    /// The tap that this click repeats, if its event does not name it.
    pub(super) repeated_tap: Option<EarlierTap>,
}

/// An earlier tap of the same visitor on the same link.
#[derive(Debug, Serialize)]
pub(super) struct EarlierTap {
    pub(super) click_id: String,
    pub(super) clicked_at_ms: u64,
}

/// The location of a click.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "in", rename_all = "lowercase")]
pub(super) enum ClickLocation {
    Kafka {
        topic: String,
        partition: i32,
        offset: i64,
    },
    File {
        path: PathBuf,
        line: u64,
    },
    Journal {
        dir: PathBuf,
        lane: u16,
        position: u64,
        /// The lane counts the click as delivered, but no sink that was searched has it.
        delivered: bool,
    },
}

/// A journal or a sink that was searched.
#[derive(Debug, Serialize)]
pub(super) struct SearchedPlace {
    pub(super) place: String,
    #[serde(skip)]
    pub(super) is_sink: bool,
    /// Records before this time were not read. Absent if all were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// Records after this time were not read.
    pub(super) up_to: Timestamp,
    pub(super) records: u64,
    /// Why the place could not be searched, or not to its end.
    #[serde(rename = "failed", skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

impl SearchedPlace {
    /// A journal, to be searched now.
    pub(super) fn journal(place: String) -> SearchedPlace {
        let up_to = timestamp(clock::wall_ms());
        SearchedPlace { place, is_sink: false, since: None, up_to, records: 0, failure: None }
    }

    /// A sink, to be searched now from `since_ms` on.
    pub(super) fn sink(place: String, since_ms: u64) -> SearchedPlace {
        SearchedPlace { is_sink: true, since: Some(timestamp(since_ms)), ..SearchedPlace::journal(place) }
    }
}

impl ClickReport {
    /// A report on a click that has not been searched for.
    pub(super) fn new(click_id: ClickId, token: Option<TokenCheck>) -> ClickReport {
        ClickReport {
            click_id,
            token,
            event: None,
            duplicate_undecided: false,
            location: None,
            repeats: Vec::new(),
            searched: Vec::new(),
            repeated_tap: None,
        }
    }

    pub(super) fn click_id_text(&self) -> String {
        String::from_utf8_lossy(&self.click_id.text()).into_owned()
    }

    /// Whether the click is in the journal, and neither there nor in a sink is it known to be delivered.
    pub(super) fn is_undelivered(&self) -> bool {
        matches!(self.location, Some(ClickLocation::Journal { delivered: false, .. }))
    }

    /// Sets the event and location that the journal holds.
    pub(super) fn set_event_found_in_journal(
        &mut self,
        event: Value,
        location: ClickLocation,
        decision: DuplicateVerdictState,
    ) {
        (self.event, self.location) = (Some(event), Some(location));
        self.duplicate_undecided = decision == DuplicateVerdictState::Undecided;
    }

    /// Adds a record of a sink. The first record replaces what the journal holds; further ones are repeats.
    pub(super) fn set_delivered_record_or_add_repeat(&mut self, event: Value, location: ClickLocation) {
        if matches!(self.location, None | Some(ClickLocation::Journal { .. })) {
            (self.event, self.location) = (Some(event), Some(location));
            self.duplicate_undecided = false;
        } else {
            self.repeats.push(location);
        }
    }
}

impl From<RecordLocation<'_>> for ClickLocation {
    fn from(location: RecordLocation<'_>) -> ClickLocation {
        match location {
            RecordLocation::File { path, line } => ClickLocation::File { path: PathBuf::from(path), line },
            RecordLocation::Kafka { topic, partition, offset } => {
                ClickLocation::Kafka { topic: topic.to_owned(), partition, offset }
            }
        }
    }
}

/// A click id can hold a time beyond the year 9999, the last that `Timestamp` can hold.
pub(super) fn timestamp(at_ms: u64) -> Timestamp {
    i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok()).unwrap_or(Timestamp::MAX)
}

/// Whether the previous click that the event names is the tap that it repeats.
pub(super) fn is_previous_click_the_repeated_tap(event: &Value) -> bool {
    let same = |a: &str, b: &str| event[a].is_string() && event[a] == event[b];
    event["duplicate_basis"] == "visitor" && same("previous_code", "code") && same("previous_domain", "domain")
}
