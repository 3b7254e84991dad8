//! `Prefer: wait=N` (RFC 7240): how long a client waits for the end of a change before it is told that the change goes
//! on.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The header by which an answer says which preference it has kept.
pub(in crate::api) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long the client waits; `None`: until the change has ended. A preference that cannot be read is none, as the RFC
/// asks for.
pub(in crate::api) fn read_preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let seconds = values.flat_map(|value| value.split(',')).find_map(seconds_of_preference)?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The seconds of a preference `wait`, without its parameters; `None` if it is another one.
fn seconds_of_preference(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let digits = value.trim().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number has are a long wait.
    (name.trim().eq_ignore_ascii_case("wait") && is_number).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_wait_counts_and_what_cannot_be_read_is_no_preference() {
        let wait = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_str(value).unwrap());
            }
            read_preferred_wait(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&["wait=5"]), Some(5));
        assert_eq!(wait(&["respond-async, Wait = \"0\"; x=y"]), Some(0));
        assert_eq!(wait(&["return=minimal", "wait=7, wait=9"]), Some(7));
        assert_eq!(wait(&["wait=99999999999999999999999"]), Some(60));
        for none in ["wait", "wait=", "wait=-1", "wait=1.5", "waiting=5", ""] {
            assert_eq!(wait(&[none]), None, "{none}");
        }
    }
}
