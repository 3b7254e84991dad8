//! Reads the time window of a target, and resolves it to UTC.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value};

use super::field_errors::FieldErrors;
use crate::model::link::target::{TimeWindow, WeekMinutes, ZoneOffset};

/// The days of a week, in the order of their minutes.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
/// The changes of a zone's clock between these seconds since the epoch are known at a click: from 2026 until 2050. The
/// bounds are fixed, so that a record compiles to the same bytes at each load.
const FIRST_SECOND: i64 = 1_767_225_600;
const LAST_SECOND: i64 = 2_524_608_000;
/// The most changes that are kept; two a year are usual.
const MAX_OFFSETS: usize = 64;

/// Reads a window such as `{"zone":"Asia/Ho_Chi_Minh","days":["sat","sun"],"hours":"18:00-23:30"}`; `None` with an
/// error if it is none.
pub(super) fn read_time_window(pointer: &str, value: &Value, errors: &mut FieldErrors<'_>) -> Option<TimeWindow> {
    let object = value.as_object().filter(|object| !object.is_empty());
    let Some(object) = object else {
        errors.add(pointer, "is no window; write {\"zone\":\"Asia/Seoul\",\"from\":\"2026-12-12T00:00\"}");
        return None;
    };
    if let Some(unknown) = object.keys().find(|key| !["zone", "from", "until", "days", "hours"].contains(&&***key)) {
        errors.add(&format!("{pointer}/{unknown}"), "is unknown; a window has zone, from, until, days and hours");
        return None;
    }
    let zone = read_zone(pointer, object, errors)?;
    let from_ms = read_local_time(pointer, object, "from", &zone, errors)?;
    let until_ms = read_local_time(pointer, object, "until", &zone, errors)?;
    let weekly = read_weekly_minutes(pointer, object, errors)?;
    if from_ms.is_none() && until_ms.is_none() && weekly.is_empty() {
        errors.add(pointer, "bounds nothing; give it from, until, days or hours");
        return None;
    }
    let (from_ms, until_ms) = (from_ms.unwrap_or(0), until_ms.unwrap_or(u64::MAX));
    if from_ms >= until_ms {
        errors.add(&format!("{pointer}/until"), "is not after from");
        return None;
    }
    let offsets = if weekly.is_empty() { Vec::new() } else { list_offsets(&zone) };
    Some(TimeWindow { from_ms, until_ms, weekly, offsets })
}

fn read_zone(pointer: &str, object: &Map<String, Value>, errors: &mut FieldErrors<'_>) -> Option<TimeZone> {
    let name = object.get("zone").and_then(Value::as_str).unwrap_or_default();
    match TimeZone::get(name) {
        Ok(zone) if !name.is_empty() => Some(zone),
        _ => {
            let message = format!("is {name:?}, and no time zone of the IANA database, such as Asia/Ho_Chi_Minh");
            errors.add(&format!("{pointer}/zone"), message);
            None
        }
    }
}

/// A time on the zone's clock as milliseconds since the epoch. The outer `None` is an error, the inner one an absent
/// field. A time that the clock skips counts as the one behind the gap, one that comes twice as the first.
fn read_local_time(
    pointer: &str,
    object: &Map<String, Value>,
    field: &str,
    zone: &TimeZone,
    errors: &mut FieldErrors<'_>,
) -> Option<Option<u64>> {
    let Some(value) = object.get(field) else { return Some(None) };
    let parsed = value.as_str().filter(|text| !text.ends_with(['Z', 'z'])).and_then(|text| {
        let local: civil::DateTime = text.parse().ok()?;
        u64::try_from(zone.to_timestamp(local).ok()?.as_millisecond()).ok()
    });
    if parsed.is_none() {
        let message = format!("is {value}, and no time on the zone's clock, such as \"2026-12-12T00:00\"");
        errors.add(&format!("{pointer}/{field}"), message);
        return None;
    }
    Some(parsed)
}

/// The minutes of the week that `days` and `hours` name; empty without both. `None` is an error.
fn read_weekly_minutes(
    pointer: &str,
    object: &Map<String, Value>,
    errors: &mut FieldErrors<'_>,
) -> Option<Vec<WeekMinutes>> {
    let (days, hours) = (object.get("days"), object.get("hours"));
    if days.is_none() && hours.is_none() {
        return Some(Vec::new());
    }
    let days = match days {
        None => (0..7).collect(),
        Some(value) => match read_days(value) {
            Some(days) => days,
            None => {
                let message = format!("is {value}, and no list of days; they are {}", DAYS.join(", "));
                errors.add(&format!("{pointer}/days"), message);
                return None;
            }
        },
    };
    let hours = match hours {
        None => (0, DAY_MINUTES),
        Some(value) => match value.as_str().and_then(read_hours) {
            Some(hours) => hours,
            None => {
                let message = format!("is {value}, and no span such as \"18:00-23:30\" or \"22:00-02:00\"");
                errors.add(&format!("{pointer}/hours"), message);
                return None;
            }
        },
    };
    Some(days.into_iter().flat_map(|day| minutes_of_day(day, hours)).collect())
}

fn read_days(value: &Value) -> Option<Vec<u16>> {
    let words = value.as_array().filter(|words| !words.is_empty() && words.len() <= 7)?;
    words.iter().map(|word| DAYS.iter().position(|day| word == day).map(|day| day as u16)).collect()
}

/// First and last minute of `18:00-23:30`; the end `24:00` is midnight. An end before the start is on the next day.
fn read_hours(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':').filter(|_| text.len() == 5)?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
    };
    let (from, until) = text.split_once('-')?;
    let (from, until) = (minute(from)?, minute(until)?);
    (from != until && from < DAY_MINUTES).then_some((from, until))
}

/// The minutes of one day, in two parts where they go past the end of the week.
fn minutes_of_day(day: u16, (from, until): (u16, u16)) -> impl Iterator<Item = WeekMinutes> {
    let start = day * DAY_MINUTES;
    let end = start + if until <= from { until + DAY_MINUTES } else { until };
    let this_week = WeekMinutes { from: start + from, until: end.min(WEEK_MINUTES) };
    let next_week = (end > WEEK_MINUTES).then(|| WeekMinutes { from: 0, until: end - WEEK_MINUTES });
    std::iter::once(this_week).chain(next_week)
}

/// The zone's distances from UTC. The first one holds from the start of time.
fn list_offsets(zone: &TimeZone) -> Vec<ZoneOffset> {
    let minutes = |seconds: i32| (seconds / 60) as i16;
    let Ok(first) = Timestamp::from_second(FIRST_SECOND) else { return Vec::new() };
    let mut offsets = vec![ZoneOffset { from_ms: 0, minutes: minutes(zone.to_offset(first).seconds()) }];
    let known = zone.following(first).take_while(|change| change.timestamp().as_second() < LAST_SECOND);
    offsets.extend(known.take(MAX_OFFSETS).filter_map(|change| {
        let from_ms = u64::try_from(change.timestamp().as_millisecond()).ok()?;
        Some(ZoneOffset { from_ms, minutes: minutes(change.offset().seconds()) })
    }));
    offsets
}
