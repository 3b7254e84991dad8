//! Times as the API and the commands show them.

use jiff::Timestamp;

/// A time in RFC 3339, of milliseconds since the epoch.
pub(super) fn time_text(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}
