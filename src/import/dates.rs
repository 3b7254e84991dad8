//! Times as exports write them.

use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::strtime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::import::{cell::quote, column::TimeStyle};

/// How the times of a file are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeReading<'a> {
    pub(super) style: TimeStyle,
    pub(super) zone: Option<&'a TimeZone>,
    /// The form of a table's times, in the letters of `strftime`.
    pub(super) format: Option<&'a str>,
}

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadTime {
    pub(super) time: Timestamp,
    /// Whether the clock showed the time twice; `time` is the earlier one.
    pub(super) is_local_time_twice: bool,
}

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeError {
    /// `date`, `date-ambiguous` or `date-zone`.
    pub(super) rule: &'static str,
    pub(super) message: String,
}

impl TimeReading<'_> {
    /// Reads a time of the file.
    pub(super) fn parse(&self, text: &str) -> Result<ReadTime, TimeError> {
        let text = text.trim();
        let written = match self.format {
            Some(format) => parse_in_format(text, format)?,
            None => parse_year_first(text)?,
        };
        match (written.offset, self.style, self.zone) {
            (Some(offset), ..) => Ok(ReadTime {
                time: offset.to_timestamp(written.clock).unwrap_or_else(|_| nearest_end_of_time(written.clock)),
                is_local_time_twice: false,
            }),
            (None, TimeStyle::WithOffset, _) => {
                Err(error("date-zone", format!("{} has no offset, and this format always has one", quote(text))))
            }
            (None, _, None) => Err(error(
                "date-zone",
                format!("{} has no offset; --zone says by which clock it was written", quote(text)),
            )),
            (None, _, Some(zone)) => resolve_local_time(written.clock, zone, text),
        }
    }
}

/// A time by a clock, and the clock's distance from UTC if it is written.
struct WrittenTime {
    clock: DateTime,
    offset: Option<Offset>,
}

fn resolve_local_time(clock: DateTime, zone: &TimeZone, text: &str) -> Result<ReadTime, TimeError> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    let (offset, is_local_time_twice) = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset, false),
        AmbiguousOffset::Fold { before, .. } => (before, true),
        AmbiguousOffset::Gap { .. } => {
            let name = zone.iana_name().unwrap_or("--zone");
            let message = format!("{} is a time that the clock of {name} skipped; correct it", quote(text));
            return Err(error("date", message));
        }
    };
    let time = offset.to_timestamp(clock).unwrap_or_else(|_| nearest_end_of_time(clock));
    Ok(ReadTime { time, is_local_time_twice })
}

/// What databases write for "never" lies a few hours behind the last time that `jiff` holds.
fn nearest_end_of_time(clock: DateTime) -> Timestamp {
    if clock.year() > 0 { Timestamp::MAX } else { Timestamp::MIN }
}

/// `2025-05-01T10:00:00.123+02:00` with any part behind the day left out from the right; `T` or a space.
fn parse_year_first(text: &str) -> Result<WrittenTime, TimeError> {
    if !starts_with_year_month_day(text) {
        return Err(describe_other_form(text));
    }
    let (clock, offset) = split_offset(text);
    let no_such_time = || error("date", format!("{} is no time that exists", quote(text)));
    let offset = match offset {
        Some(offset) => Some(parse_offset(offset).ok_or_else(no_such_time)?),
        None => None,
    };
    let clock = clock.parse().map_err(|_| no_such_time())?;
    Ok(WrittenTime { clock, offset })
}

fn starts_with_year_month_day(text: &str) -> bool {
    let shape = b"dddd-dd-dd";
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape };
    text.len() >= shape.len() && text.bytes().zip(shape).all(fits)
}

/// The offset at the end of a time, and what stands before it.
fn split_offset(text: &str) -> (&str, Option<&str>) {
    let time_at = "2025-05-01".len();
    match text.get(time_at..).and_then(|behind| behind.find(['Z', 'z', '+', '-'])) {
        Some(at) => {
            let (clock, offset) = text.split_at(time_at + at);
            (clock.trim_end(), Some(offset))
        }
        None => (text, None),
    }
}

/// `Z`, `+0000`, `+00:00` or `+00`.
fn parse_offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text[1..].replacen(':', "", 1);
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    let is_offset = hours <= 23 && minutes <= 59;
    is_offset.then(|| Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok())?
}

/// The error of a text that does not start with year, month and day.
fn describe_other_form(text: &str) -> TimeError {
    let parts: Vec<&str> = text.split([' ', 'T']).next().unwrap_or_default().split(['/', '.', '-']).collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<u32>().ok());
    match (parts.len(), number(0), number(1), number(2)) {
        (3, Some(1..=12), Some(1..=12), Some(_)) => error(
            "date-ambiguous",
            format!(
                "{}: day and month cannot be told apart; write 2025-05-01 00:00:00, or use --format csv with \
                 --date-format",
                quote(text)
            ),
        ),
        _ => error("date", format!("{} is no time; allowed is the form 2025-05-01 10:00:00", quote(text))),
    }
}

fn parse_in_format(text: &str, format: &str) -> Result<WrittenTime, TimeError> {
    let wrong = |why: jiff::Error| error("date", format!("{} is not in the form {format:?}: {why}", quote(text)));
    let parsed = strtime::parse(format, text).map_err(wrong)?;
    let clock = match parsed.to_datetime() {
        Ok(clock) => clock,
        // A form without hours.
        Err(_) => parsed.to_date().map_err(wrong)?.to_datetime(jiff::civil::Time::midnight()),
    };
    Ok(WrittenTime { clock, offset: parsed.offset() })
}

fn error(rule: &'static str, message: String) -> TimeError {
    TimeError { rule, message }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str, style: TimeStyle, zone: Option<&str>) -> Result<ReadTime, TimeError> {
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        TimeReading { style, zone: zone.as_ref(), format: None }.parse(text)
    }

    fn utc(text: &str) -> String {
        parse(text, TimeStyle::Either, Some("UTC"))
            .map_or_else(|error| error.rule.to_owned(), |read| read.time.to_string())
    }

    #[test]
    fn a_time_may_have_an_offset_a_fraction_and_a_space() {
        for (text, expected) in [
            ("2025-05-01T10:00:00+0000", "2025-05-01T10:00:00Z"),
            ("2025-05-01T12:00:00+02:00", "2025-05-01T10:00:00Z"),
            ("2025-05-01 12:00:00 +02", "2025-05-01T10:00:00Z"),
            ("2025-05-01T10:00:00.123Z", "2025-05-01T10:00:00.123Z"),
            ("2025-05-01 10:00:00", "2025-05-01T10:00:00Z"),
            ("2025-05-01 10:00", "2025-05-01T10:00:00Z"),
            ("2025-05-01", "2025-05-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(utc(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_and_named() {
        for text in [
            "2025-02-30 10:00:00",
            "0000-00-00 00:00:00",
            "45809.4166",
            "1.74874E+12",
            "1746086400",
            "in 3 days",
            "2025-13-01T10:00:00+02:00",
            "2025-05-01T10:00:00+2",
            "2025-05-01T25:00:00Z",
            "",
            "25/04/2025",
            "20250501",
        ] {
            assert_eq!(utc(text), "date", "{text}");
        }
        for text in ["03/04/2025", "3.4.2025 10:00", "03-04-25"] {
            assert_eq!(utc(text), "date-ambiguous", "{text}");
        }
    }

    #[test]
    fn a_clock_that_skips_or_repeats_an_hour_is_known() {
        let berlin = |text| parse(text, TimeStyle::Local, Some("Europe/Berlin"));
        assert_eq!(berlin("2025-03-30 02:30:00").unwrap_err().rule, "date");
        let twice = berlin("2025-10-26 02:30:00").unwrap();
        assert_eq!((twice.time.to_string().as_str(), twice.is_local_time_twice), ("2025-10-26T00:30:00Z", true));
        assert!(!berlin("2025-10-26 03:30:00").unwrap().is_local_time_twice);
    }

    #[test]
    fn a_time_without_an_offset_needs_a_zone_or_a_format_that_has_none() {
        assert_eq!(parse("2025-05-01 10:00:00", TimeStyle::Either, None).unwrap_err().rule, "date-zone");
        let damaged = parse("2025-05-01 10:00:00", TimeStyle::WithOffset, Some("UTC"));
        assert_eq!(damaged.unwrap_err().rule, "date-zone");
    }

    #[test]
    fn a_table_may_have_a_form_of_its_own() {
        let zone = TimeZone::get("Asia/Ho_Chi_Minh").unwrap();
        let read = |format, text| {
            TimeReading { style: TimeStyle::Either, zone: Some(&zone), format: Some(format) }.parse(text)
        };
        assert_eq!(read("%d.%m.%Y %H:%M", "01.05.2025 12:00").unwrap().time.to_string(), "2025-05-01T05:00:00Z");
        assert_eq!(read("%m/%d/%Y", "05/01/2025").unwrap().time.to_string(), "2025-04-30T17:00:00Z");
        assert_eq!(read("%d.%m.%Y", "2025-05-01").unwrap_err().rule, "date");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_time_of_jiff_is_read(text in "\\PC{0,30}", seconds in 0_i64..4_000_000_000) {
            let _ = utc(&text);
            let time = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(utc(&time.to_string()), time.to_string());
        }

        #[test]
        fn texts_like_times_do_not_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.+Zz-]{0,20}") {
            let _ = utc(&text);
        }
    }
}
