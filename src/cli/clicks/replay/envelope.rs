//! A record to be sent: with the key, headers and timestamp that it had on its topic.

use std::borrow::Cow;

use anyhow::Result;
use rdkafka::{
    Message,
    message::{BorrowedHeaders, BorrowedMessage, Header, OwnedHeaders},
};
use serde::Deserialize;

use crate::{
    cli::clicks::click_lines::split_arrival,
    model::click::{Outcome, Topic},
};

/// A record to be sent.
pub(super) struct OutgoingClick<'a> {
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Cow<'a, [u8]>,
    /// Milliseconds since the epoch.
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: OwnedHeaders,
}

impl<'a> OutgoingClick<'a> {
    /// The record as it is on its topic.
    pub(super) fn copy_of(message: &'a BorrowedMessage<'a>) -> OutgoingClick<'a> {
        OutgoingClick {
            key: message.key().map(Cow::Borrowed),
            value: message.payload().unwrap_or_default().into(),
            timestamp_ms: message.timestamp().to_millis(),
            headers: message.headers().map(BorrowedHeaders::detach).unwrap_or_default(),
        }
    }
}

/// The fields of an event that its topic, key and timestamp follow from.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    click_id: Cow<'a, str>,
    clicked_at_ms: u64,
    #[serde(borrow, default)]
    visitor_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
}

/// Makes the record of an exported line once more: the value without the arrival, and key, header and timestamp as an
/// edge sends them without `kafka.cloudevents`. The topic follows from the outcome.
///
/// # Errors
/// The line is no event.
pub(super) fn rebuild_click_from_line(line: &[u8]) -> Result<(Topic, OutgoingClick<'_>)> {
    let event: Envelope<'_> = serde_json::from_slice(line)?;
    let is_live = |outcome: &Cow<'_, str>| {
        let outcome = Outcome::from_word(outcome);
        matches!(outcome, Some(Outcome::Redirected | Outcome::RefusedPrefetch))
    };
    // A stub has no outcome.
    let topic = if event.outcome.as_ref().is_none_or(is_live) { Topic::Clicks } else { Topic::Orphan };
    let (value, arrived_at_ms) = split_arrival(line).map_err(anyhow::Error::msg)?;
    let timestamp_ms = i64::try_from(event.clicked_at_ms)?;
    let mut headers = OwnedHeaders::new();
    if let Some(at_ms) = arrived_at_ms {
        headers = headers.insert(Header { key: "wp_shipped_at_ms", value: Some(&at_ms.to_string()) });
    }
    let key = event.visitor_id.filter(|visitor| !visitor.is_empty()).unwrap_or(event.click_id);
    let key = Some(Cow::Owned(key.into_owned().into_bytes()));
    Ok((topic, OutgoingClick { key, value, timestamp_ms: Some(timestamp_ms), headers }))
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;

    use super::*;

    fn headers_of(click: &OutgoingClick<'_>) -> Vec<(String, String)> {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        click.headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    #[test]
    fn a_line_becomes_the_record_that_the_edge_sent() {
        let value =
            r#"{"type":"click","click_id":"c","clicked_at_ms":1795000000123,"edge":"e","outcome":"redirected"}"#;
        let line = value.replace('}', r#","arrived_at_ms":1795000000500}"#);
        let (topic, click) = rebuild_click_from_line(line.as_bytes()).unwrap();
        assert_eq!((topic, &*click.value, click.key.as_deref()), (Topic::Clicks, value.as_bytes(), Some(&b"c"[..])));
        assert_eq!(headers_of(&click), [("wp_shipped_at_ms".to_owned(), "1795000000500".to_owned())]);
        assert_eq!(click.timestamp_ms, Some(1_795_000_000_123));
        let orphan = value.replace("redirected", "expired").replace(r#""edge""#, r#""visitor_id":"v","edge""#);
        let (topic, click) = rebuild_click_from_line(orphan.as_bytes()).unwrap();
        assert_eq!((topic, click.key.as_deref()), (Topic::Orphan, Some(&b"v"[..])));
        assert_eq!(headers_of(&click), []);
        let stub = r#"{"type":"dead_lettered","click_id":"c","clicked_at_ms":1,"edge":"e"}"#;
        let (topic, click) = rebuild_click_from_line(stub.as_bytes()).unwrap();
        assert_eq!((topic, &*click.value), (Topic::Clicks, stub.as_bytes()));
    }
}
