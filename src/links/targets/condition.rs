//! One condition in its bytes: what it asks, and whether it holds.
//!
//! | kind | operand |
//! |---|---|
//! | os, device, split | u16: a bit for each value |
//! | visitor | u8: the number of the word |
//! | in_app | nothing |
//! | app, source, country, region, language | texts, each behind its length u8 |
//! | query | u8: the parameter's number in the link; the name, then the values, each behind its length u8 |
//! | time | from u64, until u64, weekly spans u8, each two u16; zone offsets u8, each u64 and i16 |

use crate::{links::facts::Facts, uri::percent};

/// Set in the kind of a negated condition.
pub(super) const NEGATED: u8 = 0x80;
/// Minutes from Monday, 00:00, to the epoch, which was a Thursday.
const EPOCH_MINUTE: i64 = 3 * 24 * 60;
const WEEK_MINUTES: i64 = 7 * 24 * 60;

/// What a condition asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConditionKind {
    Os,
    Device,
    InApp,
    App,
    Source,
    Country,
    Region,
    Language,
    Time,
    Query,
    Visitor,
    Split,
}

impl ConditionKind {
    const ALL: [ConditionKind; 12] = [
        ConditionKind::Os,
        ConditionKind::Device,
        ConditionKind::InApp,
        ConditionKind::App,
        ConditionKind::Source,
        ConditionKind::Country,
        ConditionKind::Region,
        ConditionKind::Language,
        ConditionKind::Time,
        ConditionKind::Query,
        ConditionKind::Visitor,
        ConditionKind::Split,
    ];
}

/// A condition, borrowed from its link.
#[derive(Clone, Copy, Debug)]
pub struct CompiledCondition<'a> {
    pub(super) kind: ConditionKind,
    pub(super) is_negated: bool,
    pub(super) operand: &'a [u8],
}

/// A parameter of the query that a condition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedParameter<'a> {
    /// Its number in the link.
    pub number: u8,
    /// Its name.
    pub name: &'a [u8],
}

/// Whether a condition holds, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// Whether what it asks for is unknown. Then neither it nor its negation holds.
    pub is_unknown: bool,
}

/// The conditions in these bytes, as far as they are some.
pub(super) fn split_conditions(mut bytes: &[u8]) -> impl Iterator<Item = CompiledCondition<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<3>()?;
        let (operand, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[1], head[2]])))?;
        bytes = rest;
        let kind = *ConditionKind::ALL.get(usize::from(head[0] & !NEGATED))?;
        Some(CompiledCondition { kind, is_negated: head[0] & NEGATED != 0, operand })
    })
}

impl<'a> CompiledCondition<'a> {
    /// Whether the condition holds. What is unknown holds neither way: a buyer in an unknown country is not known to be
    /// in one of these, and not known to be in another.
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let is_true = match self.kind {
            ConditionKind::Os => self.has_bit(facts.os as u8),
            ConditionKind::Device => self.has_bit(facts.device as u8),
            ConditionKind::Split => self.has_bit(facts.variant),
            ConditionKind::Visitor => self.operand.first() == Some(&(facts.visitor as u8)),
            ConditionKind::InApp => facts.is_in_app,
            ConditionKind::App => self.lists(facts.app.as_bytes()),
            ConditionKind::Source => self.lists(facts.source.as_bytes()),
            ConditionKind::Language => self.lists(facts.language.as_bytes()),
            ConditionKind::Time => is_in_window(self.operand, facts.now_ms).unwrap_or(false),
            ConditionKind::Query => self.matches_parameter(facts),
            ConditionKind::Country => match facts.country {
                Some(country) => self.lists(&country),
                None => return Verdict { holds: false, is_unknown: true },
            },
            ConditionKind::Region => match facts.country {
                Some(country) if !facts.region.is_empty() => {
                    let is_same = |text: &[u8]| {
                        matches!(text, [a, b, b'-', region @ ..]
                        if [*a, *b] == country && *region == *facts.region)
                    };
                    self.texts().any(is_same)
                }
                _ => return Verdict { holds: false, is_unknown: true },
            },
        };
        Verdict { holds: is_true != self.is_negated, is_unknown: false }
    }

    fn has_bit(&self, number: u8) -> bool {
        self.operand.first_chunk::<2>().is_some_and(|bits| u16::from_le_bytes(*bits) & 1 << (number & 15) != 0)
    }

    fn lists(&self, found: &[u8]) -> bool {
        self.texts().any(|text| text == found)
    }

    /// The texts of the operand.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest =
            if self.kind == ConditionKind::Query { self.operand.get(1..).unwrap_or_default() } else { self.operand };
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (text, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            Some(text)
        })
    }

    /// The parameter that the condition asks for; `None` if it asks for something else.
    pub fn parameter(&self) -> Option<AskedParameter<'a>> {
        if self.kind != ConditionKind::Query {
            return None;
        }
        Some(AskedParameter { number: *self.operand.first()?, name: self.texts().next()? })
    }

    /// The value of the parameter that the condition asks for, still encoded.
    pub(super) fn found_value<'f>(&self, facts: &Facts<'f>) -> Option<&'f [u8]> {
        *facts.parameters.get(usize::from(*self.operand.first()?))?
    }

    /// The value that the condition lists and the click's parameter has; `None` if it has none of them.
    pub fn find_listed_value(&self, facts: &Facts<'_>) -> Option<&'a [u8]> {
        let found = self.found_value(facts)?;
        self.texts().skip(1).find(|value| percent::decode_form(found).eq(value.iter().copied()))
    }

    fn matches_parameter(&self, facts: &Facts<'_>) -> bool {
        self.found_value(facts).is_some() && (self.texts().nth(1).is_none() || self.find_listed_value(facts).is_some())
    }
}

/// Whether a time is in the window of an operand; `None` if the operand is none.
fn is_in_window(operand: &[u8], now_ms: u64) -> Option<bool> {
    let (from, rest) = operand.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    if now_ms < u64::from_le_bytes(*from) || now_ms >= u64::from_le_bytes(*until) {
        return Some(false);
    }
    let (count, rest) = rest.split_first()?;
    if *count == 0 {
        return Some(true);
    }
    let (weekly, rest) = rest.split_at_checked(usize::from(*count) * 4)?;
    let minute = minute_of_week(now_ms, offset_minutes_at(rest.get(1..)?, now_ms));
    let (spans, _) = weekly.as_chunks::<4>();
    let is_in = |span: &[u8; 4]| {
        (u16::from_le_bytes([span[0], span[1]])..u16::from_le_bytes([span[2], span[3]])).contains(&minute)
    };
    Some(spans.iter().any(is_in))
}

/// The distance of a zone's clock from UTC at a time: the last one that began before.
fn offset_minutes_at(offsets: &[u8], now_ms: u64) -> i16 {
    let (offsets, _) = offsets.as_chunks::<10>();
    let starts = |offset: &&[u8; 10]| offset.first_chunk::<8>().is_some_and(|at| u64::from_le_bytes(*at) <= now_ms);
    offsets.iter().rev().find(starts).map_or(0, |offset| i16::from_le_bytes([offset[8], offset[9]]))
}

/// The minute of the week that starts on Monday, on a clock at this distance from UTC.
fn minute_of_week(now_ms: u64, offset_minutes: i16) -> u16 {
    let minute = (now_ms / 60_000) as i64 + i64::from(offset_minutes) + EPOCH_MINUTE;
    minute.rem_euclid(WEEK_MINUTES) as u16
}
