//! What stands around a value in its record: headers, times and timestamps.

use std::io::Write;

use rdkafka::message::{Header, OwnedHeaders};

/// What every record says of itself; there is room for a click's own.
pub(super) fn headers(kind: &str, source: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(8)
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "ce_specversion", value: Some("1.0") })
        .insert(Header { key: "ce_type", value: Some(kind) })
        .insert(Header { key: "ce_source", value: Some(source) })
}

/// The record's timestamp after so many refusals of it. One in the past is refused for its age: now passes. One of a clock that
/// runs ahead is refused for being ahead of the broker's, by an amount nobody here knows: an hour less, then two, four…
pub(super) fn clamped(at_ms: u64, now_ms: u64, refusals: u8) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    match refusals {
        0 => at_ms,
        1 if at_ms.saturating_add(HOUR_MS) < now_ms => now_ms,
        n => at_ms.min(now_ms).saturating_sub(HOUR_MS << (n - 1).min(16)),
    }
}

/// Times as text; all but the milliseconds is kept from one click to the next.
#[derive(Default)]
pub(super) struct Rfc3339 {
    second: u64,
    text: Vec<u8>,
}

impl Rfc3339 {
    pub(super) fn of(&mut self, at_ms: u64) -> &[u8] {
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
        for (place, digit) in [(4, ms / 100), (3, ms / 10 % 10), (2, ms % 10)] {
            self.text[len - place] = b'0' + digit as u8;
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let mut time = Rfc3339::default();
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_000_000_007, "2026-11-18T11:06:40.007Z"),
            (1_795_000_000_999, "2026-11-18T11:06:40.999Z"),
            (1_795_000_001_000, "2026-11-18T11:06:41.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(time.of(ms)).unwrap(), text);
        }
    }

    #[test]
    fn a_refused_timestamp_moves_to_now_from_the_past_and_back_from_the_future() {
        const HOUR: u64 = 3_600_000;
        let now = 1_000 * HOUR;
        assert_eq!(clamped(now + 5, now, 0), now + 5);
        assert_eq!(clamped(now - 500 * HOUR, now, 1), now);
        assert_eq!(clamped(now, now, 1), now - HOUR);
        assert_eq!(clamped(now, now, 3), now - 4 * HOUR);
        assert_eq!(clamped(now, now, 200), 0);
    }
}
