//! What was found out about a click, before it is told.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::asked::Token;
use crate::{attribution::mint::ClickId, clock, shipper::Foreseen};

/// A click's story.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) id: ClickId,
    pub(super) token: Option<Token>,
    /// The event `click.v1`, delivered or as it would be.
    pub(super) event: Option<Value>,
    /// Whether its verdict is open until it is shipped.
    pub(super) undecided: bool,
    /// The first record of it, or else where it waits.
    pub(super) place: Option<Place>,
    /// Further records of it, in the order in which they were read.
    pub(super) repeats: Vec<Place>,
    pub(super) looked: Vec<Looked>,
    /// The tap that this one repeats, if it had to be looked for.
    pub(super) repeated_tap: Option<Earlier>,
}

/// An earlier tap.
#[derive(Debug, Serialize)]
pub(super) struct Earlier {
    pub(super) click_id: String,
    pub(super) clicked_at_ms: u64,
}

/// Where a click lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "in", rename_all = "lowercase")]
pub(super) enum Place {
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
        /// The lane says so; the sink was then asked too.
        delivered: bool,
    },
}

/// A place that was searched.
#[derive(Debug, Serialize)]
pub(super) struct Looked {
    pub(super) place: String,
    /// Whether clicks are delivered there.
    #[serde(skip)]
    pub(super) sink: bool,
    /// Records before this time were not read; all were if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// What was written later was not read.
    pub(super) up_to: Timestamp,
    pub(super) records: u64,
    /// Why it could not be searched, or not to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

impl Looked {
    /// Nothing yet of the journal as it is now.
    pub(super) fn journal(place: String) -> Looked {
        Looked { place, sink: false, since: None, up_to: time(clock::wall_ms()), records: 0, failed: None }
    }

    /// Nothing yet of a sink as it is now, from this time on.
    pub(super) fn sink(place: String, since_ms: u64) -> Looked {
        Looked { sink: true, since: Some(time(since_ms)), ..Looked::journal(place) }
    }
}

impl Story {
    pub(super) fn of(id: ClickId, token: Option<Token>) -> Story {
        Story {
            id,
            token,
            event: None,
            undecided: false,
            place: None,
            repeats: Vec::new(),
            looked: Vec::new(),
            repeated_tap: None,
        }
    }

    pub(super) fn id_text(&self) -> String {
        String::from_utf8_lossy(&self.id.text()).into_owned()
    }

    /// Whether it lies in the journal alone, as far as is known.
    pub(super) fn waits(&self) -> bool {
        matches!(self.place, Some(Place::Journal { delivered: false, .. }))
    }

    /// Takes what the journal holds.
    pub(super) fn journaled(&mut self, event: Value, place: Place, foreseen: Foreseen) {
        (self.event, self.place) = (Some(event), Some(place));
        self.undecided = foreseen == Foreseen::Undecided;
    }

    /// Takes a record of a sink: the first says what the click is, whatever the journal would say.
    pub(super) fn delivered(&mut self, event: Value, place: Place) {
        if matches!(self.place, None | Some(Place::Journal { .. })) {
            (self.event, self.place) = (Some(event), Some(place));
            self.undecided = false;
        } else {
            self.repeats.push(place);
        }
    }
}

/// 48 bits of milliseconds can lie beyond year 9999, where text ends.
pub(super) fn time(at_ms: u64) -> Timestamp {
    i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok()).unwrap_or(Timestamp::MAX)
}

/// Whether the cookie's last click is the tap that was repeated.
pub(super) fn names_it(event: &Value) -> bool {
    let same = |a: &str, b: &str| event[a].is_string() && event[a] == event[b];
    event["duplicate_basis"] == "visitor" && same("previous_code", "code") && same("previous_domain", "domain")
}
