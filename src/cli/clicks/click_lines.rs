//! Clicks as lines of JSON that stand by themselves: the event, with the time at which its record arrived.

use std::borrow::Cow;

use serde_json::{Map, Value, value::RawValue};

use crate::commission::ClickRecord;

/// The field for the arrival of a record, in lines that are outside Kafka.
pub(in crate::cli) const ARRIVAL_FIELD: &str = "arrived_at_ms";

/// A click's event as one line of JSON, without the newline. The arrival of its record, if the source tells it, is the
/// field `arrived_at_ms`.
///
/// # Errors
/// The value is no JSON object.
pub(in crate::cli) fn build_line_with_arrival(value: &[u8], shipped_ms: Option<u64>) -> Result<Cow<'_, [u8]>, String> {
    let text = value.trim_ascii();
    if !text.starts_with(b"{") || serde_json::from_slice::<&RawValue>(text).is_err() {
        return Err("is no JSON object".to_owned());
    }
    // In JSON a newline can only be space between tokens.
    let has_newline = memchr::memchr2(b'\n', b'\r', text).is_some();
    let has_arrival = memchr::memmem::find(text, ARRIVAL_FIELD.as_bytes()).is_some();
    match shipped_ms {
        None if !has_newline => Ok(text.into()),
        Some(at_ms) if !has_newline && !has_arrival && text.len() > 2 => {
            let mut line = Vec::with_capacity(text.len() + 32);
            line.extend_from_slice(&text[..text.len() - 1]);
            line.extend_from_slice(format!(",\"{ARRIVAL_FIELD}\":{at_ms}}}").as_bytes());
            Ok(line.into())
        }
        _ => {
            let mut event: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
            if let Some(at_ms) = shipped_ms {
                event.insert(ARRIVAL_FIELD.to_owned(), at_ms.into());
            }
            Ok(serde_json::to_vec(&event).map_err(|error| error.to_string())?.into())
        }
    }
}

/// Takes the arrival out of a line that [`build_line_with_arrival`] made: the event as it was on its topic, and the
/// arrival in milliseconds since the epoch.
///
/// # Errors
/// The line is no JSON object, or its arrival no number.
pub(in crate::cli) fn split_arrival(line: &[u8]) -> Result<(Cow<'_, [u8]>, Option<u64>), String> {
    #[derive(serde::Deserialize)]
    struct Arrival {
        arrived_at_ms: Option<u64>,
    }
    let line = line.trim_ascii();
    let arrival: Arrival = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Some(at_ms) = arrival.arrived_at_ms else { return Ok((line.into(), None)) };
    if let Some(event) = line.strip_suffix(format!(",\"{ARRIVAL_FIELD}\":{at_ms}}}").as_bytes()) {
        return Ok(([event, b"}"].concat().into(), Some(at_ms)));
    }
    let mut event: Map<String, Value> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    event.remove(ARRIVAL_FIELD);
    Ok((serde_json::to_vec(&event).map_err(|error| error.to_string())?.into(), Some(at_ms)))
}

/// The line that stands among the lines of one click, by step 1 of the rule of commissions. `None` if no line is a
/// click.
pub(in crate::cli) fn choose_standing_line<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Option<&'l [u8]> {
    let records = lines.filter_map(|line| Some((serde_json::from_slice::<ClickRecord<'_>>(line).ok()?, line)));
    let clicks = records.filter(|(record, _)| record.is_click());
    clicks.min_by(|(one, _), (other, _)| one.compare_standing(other)).map(|(_, line)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &str, shipped_ms: Option<u64>) -> String {
        String::from_utf8(build_line_with_arrival(value.as_bytes(), shipped_ms).unwrap().into_owned()).unwrap()
    }

    #[test]
    fn the_arrival_is_added_once_and_the_line_stays_one_line() {
        assert_eq!(line(r#"{"a":1}"#, None), r#"{"a":1}"#);
        assert_eq!(line(r#"{"a":1}"#, Some(7)), r#"{"a":1,"arrived_at_ms":7}"#);
        assert_eq!(line(r#"{"a":1,"arrived_at_ms":3}"#, Some(7)), r#"{"a":1,"arrived_at_ms":7}"#);
        assert_eq!(line(r#"{"a":1,"arrived_at_ms":3}"#, None), r#"{"a":1,"arrived_at_ms":3}"#);
        assert_eq!(line("{\"a\":\n 1}", None), r#"{"a":1}"#);
        assert_eq!(line("{}", Some(7)), r#"{"arrived_at_ms":7}"#);
        for wrong in ["", "[1]", "{\"a\":", "{} {}"] {
            assert!(build_line_with_arrival(wrong.as_bytes(), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_arrival_is_taken_out_again() {
        let split = |line: &str| {
            let (event, at_ms) = split_arrival(line.as_bytes()).unwrap();
            (String::from_utf8(event.into_owned()).unwrap(), at_ms)
        };
        assert_eq!(split(r#"{"b":1,"a":{},"arrived_at_ms":7}"#), (r#"{"b":1,"a":{}}"#.to_owned(), Some(7)));
        assert_eq!(split(r#"{"arrived_at_ms":7,"a":1}"#), (r#"{"a":1}"#.to_owned(), Some(7)));
        assert_eq!(split(r#"{"a":1}"#), (r#"{"a":1}"#.to_owned(), None));
        assert!(split_arrival(b"[]").is_err());
    }

    #[test]
    fn the_first_to_arrive_stands_and_a_stub_never_does() {
        let click =
            |arrived: u64| format!(r#"{{"type":"click","click_id":"c","clicked_at_ms":1,"arrived_at_ms":{arrived}}}"#);
        let stub = r#"{"type":"dead_lettered","click_id":"c","clicked_at_ms":1}"#.to_owned();
        let lines = [stub.clone(), click(5), click(3), click(4)];
        let standing = choose_standing_line(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(standing, Some(click(3).as_bytes()));
        assert_eq!(choose_standing_line([stub.as_bytes()].into_iter()), None);
    }
}
