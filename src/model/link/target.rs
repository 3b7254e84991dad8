//! The targets of a link: where a click ends that meets conditions. The first target whose conditions all hold decides;
//! if none does, the link's own URL. `record` reads targets, `links::targets` compiles them.

use crate::{
    model::device::{DeviceClass, Os},
    word_enum::word_enum,
};

/// The most parameters of the query that the targets of a link ask for.
pub const MAX_ASKED_PARAMETERS: usize = 8;

/// One target, read from a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// All of them must hold. There is at least one.
    pub conditions: Vec<TargetCondition<'a>>,
    /// The destination, as it is written.
    pub url: &'a str,
}

/// One condition of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetCondition<'a> {
    /// Whether the condition holds where the test does not.
    pub is_negated: bool,
    /// What is asked.
    pub test: Test<'a>,
}

/// What a condition asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test<'a> {
    /// The operating system is one of these.
    Os(Vec<Os>),
    /// The device is of one of these classes.
    Device(Vec<DeviceClass>),
    /// The page opens in an app's own browser.
    InApp,
    /// The page opens in the browser of one of these apps.
    App(Vec<&'a str>),
    /// The click comes from one of these platforms.
    Source(Vec<&'a str>),
    /// The country is one of these codes of ISO 3166-1, in capitals.
    Country(Vec<&'a str>),
    /// The region is one of these codes of ISO 3166-2, in capitals: `US-CA`.
    Region(Vec<&'a str>),
    /// The language that the browser prefers is one of these primary tags, in lower case.
    Language(Vec<&'a str>),
    /// The click falls into the window.
    Time(TimeWindow),
    /// The query has a parameter of this name; with values, the first one has one of these values.
    Query {
        /// The parameter's name.
        name: &'a str,
        /// Its values, decoded; empty if any value will do.
        values: Vec<&'a str>,
    },
    /// The visitor is new, or returns with a valid cookie.
    Visitor(Visitor),
    /// The visitor's variant of the split is one of these, by their index.
    Split(Vec<u8>),
}

word_enum! {
    /// Whether a click has a valid attribution cookie that may be used.
    pub enum Visitor { New = "new", Returning = "returning" }
}

/// A time window, resolved to UTC when the link is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// From this time, milliseconds since the epoch; 0 without a start.
    pub from_ms: u64,
    /// Until before this time, milliseconds since the epoch; [`u64::MAX`] without an end.
    pub until_ms: u64,
    /// Minutes of the week on the zone's clock; empty: the whole week.
    pub weekly: Vec<WeekMinutes>,
    /// The zone's distances from UTC, by the times from which they hold; empty without `weekly`.
    pub offsets: Vec<ZoneOffset>,
}

/// Minutes of a week that starts on Monday at 00:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekMinutes {
    /// The first minute.
    pub from: u16,
    /// The minute behind the last one, at most the week's 10 080.
    pub until: u16,
}

/// A zone's distance from UTC from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneOffset {
    /// Milliseconds since the epoch.
    pub from_ms: u64,
    /// East of UTC.
    pub minutes: i16,
}

/// A variant of a link's split of its visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant<'a> {
    /// The name that conditions and events have.
    pub name: &'a str,
    /// The share of visitors, percent.
    pub weight: u8,
}

/// The targets of a link and the split of its visitors, read from its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTargets<'a> {
    /// In the order in which they are tried.
    pub targets: Vec<Target<'a>>,
    /// The variants; their weights add up to 100. Empty without a split.
    pub variants: Vec<Variant<'a>>,
}

impl Target<'_> {
    /// Whether the target has every condition of another one, so that the other one holds wherever this one does.
    pub fn has_all_conditions_of(&self, other: &Target<'_>) -> bool {
        other.conditions.iter().all(|condition| self.conditions.contains(condition))
    }
}
