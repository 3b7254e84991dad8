//! Text for a terminal.

use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};

/// Escapes control characters, so that text of a request cannot control the terminal. Empty text becomes `-`.
pub(in crate::cli) fn escape_for_terminal_or_dash(text: &str) -> Cow<'_, str> {
    if text.is_empty() {
        "-".into()
    } else if text.chars().any(char::is_control) {
        text.escape_debug().to_string().into()
    } else {
        text.into()
    }
}

/// A time in milliseconds since the Unix epoch, as UTC text with milliseconds.
pub(in crate::cli) fn format_utc_ms(at_ms: u64) -> String {
    let at = Timestamp::from_millisecond(at_ms as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
    at.strftime("%F %T%.3fZ").to_string()
}
