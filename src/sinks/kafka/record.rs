//! The parts of a record beside its value: headers, times as text, and shifted timestamps.

use std::io::Write;

use rdkafka::message::{Header, OwnedHeaders};

use crate::{
    delivery::sink::OutgoingRecord,
    events::encoder::format_uuid,
    kafka::{Config, Encoding},
};

/// The bytes of a click id as text.
const UUID_LEN: usize = 36;
/// Follows the click id in the CloudEvents id of the click's stub.
const STUB_ID_SUFFIX: &[u8] = b"/dead_lettered";

/// In place of an id in flight: a lane statement. No lane has an index that high.
pub(super) const STATEMENT_BITS: usize = usize::MAX;
/// In place of an id in flight: a checkpoint.
pub(super) const CHECKPOINT_BITS: usize = usize::MAX - 1;

/// The headers that CloudEvents has for every record, with room for those of a click.
pub(super) fn build_cloudevents_headers(encoding: Encoding, event_type: &str, source: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(8)
        .insert(Header { key: "content-type", value: Some(encoding.content_type()) })
        .insert(Header { key: "ce_specversion", value: Some("1.0") })
        .insert(Header { key: "ce_type", value: Some(event_type) })
        .insert(Header { key: "ce_source", value: Some(source) })
}

/// The headers that CloudEvents has for a click or a stub.
pub(super) fn build_cloudevents_click_headers(
    config: &Config,
    source: &str,
    time: &mut Rfc3339Formatter,
    record: &OutgoingRecord<'_>,
) -> OwnedHeaders {
    // A stub is an event of its own: a reader that drops ids it knows must not take the click for its stub.
    let mut event_id = [0; UUID_LEN + STUB_ID_SUFFIX.len()];
    event_id[..UUID_LEN].copy_from_slice(&format_uuid(record.click_id));
    event_id[UUID_LEN..].copy_from_slice(STUB_ID_SUFFIX);
    let event_id_len = if record.is_stub { event_id.len() } else { UUID_LEN };
    let event_type = if record.is_stub { "waypost.dead_lettered.v1" } else { "waypost.click.v1" };
    build_cloudevents_headers(config.encoding, event_type, source)
        .insert(Header { key: "ce_id", value: Some(&event_id[..event_id_len]) })
        .insert(Header { key: "ce_time", value: Some(time.format_unix_ms(record.at_ms)) })
        .insert(Header { key: "schema-version", value: Some("1") })
}

/// The headers of a click without those of CloudEvents: a value that is no JSON says so.
pub(super) fn build_plain_click_headers(encoding: Encoding) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(2);
    match encoding {
        Encoding::Json => headers,
        Encoding::Protobuf => headers.insert(Header { key: "content-type", value: Some(encoding.content_type()) }),
    }
}

/// The record's timestamp after so many refusals, Unix milliseconds. A timestamp in the past is refused for its age:
/// the present time passes. A timestamp in the future is refused because it is ahead of the broker's clock by an
/// unknown amount: it moves back by one hour, then two, four, and so on.
pub(super) fn shift_refused_timestamp_ms(at_ms: u64, now_ms: u64, shift: u8) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    match shift {
        0 => at_ms,
        1 if at_ms.saturating_add(HOUR_MS) < now_ms => now_ms,
        n => at_ms.min(now_ms).saturating_sub(HOUR_MS << (n - 1).min(16)),
    }
}

/// Formats times as RFC 3339 with milliseconds. All but the milliseconds is kept from one time to the next.
#[derive(Default)]
pub(super) struct Rfc3339Formatter {
    /// The second of `text`, since the Unix epoch.
    second: u64,
    text: Vec<u8>,
}

impl Rfc3339Formatter {
    /// Formats a time given in Unix milliseconds.
    pub(super) fn format_unix_ms(&mut self, at_ms: u64) -> &[u8] {
        if self.second != at_ms / 1000 || self.text.is_empty() {
            self.second = at_ms / 1000;
            self.text.clear();
            let second = jiff::Timestamp::from_second(self.second as i64).unwrap_or_default();
            // Writing into a Vec cannot fail.
            let _ = write!(self.text, "{second}");
            self.text.pop();
            self.text.extend_from_slice(b".000Z");
        }
        let (ms, len) = (at_ms % 1000, self.text.len());
        for (from_end, digit) in [(4, ms / 100), (3, ms / 10 % 10), (2, ms % 10)] {
            self.text[len - from_end] = b'0' + digit as u8;
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let mut time = Rfc3339Formatter::default();
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_000_000_007, "2026-11-18T11:06:40.007Z"),
            (1_795_000_000_999, "2026-11-18T11:06:40.999Z"),
            (1_795_000_001_000, "2026-11-18T11:06:41.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(time.format_unix_ms(ms)).unwrap(), text);
        }
    }

    #[test]
    fn a_refused_timestamp_moves_to_the_present_from_the_past_and_back_from_the_future() {
        const HOUR: u64 = 3_600_000;
        let now = 1_000 * HOUR;
        assert_eq!(shift_refused_timestamp_ms(now + 5, now, 0), now + 5);
        assert_eq!(shift_refused_timestamp_ms(now - 500 * HOUR, now, 1), now);
        assert_eq!(shift_refused_timestamp_ms(now, now, 1), now - HOUR);
        assert_eq!(shift_refused_timestamp_ms(now, now, 3), now - 4 * HOUR);
        assert_eq!(shift_refused_timestamp_ms(now, now, 200), 0);
    }
}
