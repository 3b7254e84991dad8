//! Finds the tap that a double tap repeats, if the event does not name it. The duplicate filters do not keep click ids.

use serde_json::Value;

use super::report::{ClickReport, EarlierTap, is_previous_click_the_repeated_tap};
use crate::{
    cli::clicks::source::{ClickSource, EventRecord, ReadProgress, ReadRange},
    model::click::Topic,
};

/// One and a half of the longest duplicate window that can be configured, milliseconds. The filters find nothing older.
const MAX_REACH_MS: u64 = 900_000;

/// Finds the latest earlier click that the duplicate filters cannot tell from the reported one. `None` if the reported
/// click is not a double tap, if its event names the earlier tap, or if the source cannot be read: the report is
/// complete without it.
pub(super) fn find_earlier_tap_that_a_double_tap_repeats(
    source: &ClickSource,
    report: &ClickReport,
) -> Option<EarlierTap> {
    let event = report.event.as_ref()?;
    if event["duplicate"] != true || is_previous_click_the_repeated_tap(event) {
        return None;
    }
    let at_ms = event["clicked_at_ms"].as_u64()?;
    let reach = at_ms.saturating_sub(MAX_REACH_MS)..=at_ms;
    let compared = fields_compared_by_duplicate_filter(event)?;
    let finder = memchr::memmem::Finder::new(event["code"].as_str()?.as_bytes());
    let mut latest: Option<EarlierTap> = None;
    let read =
        source.visit_records_and_follow_if_asked(&[Topic::Clicks], ReadRange::Since(*reach.start()), &mut |progress| {
            let ReadProgress::Record(EventRecord { value, .. }) = progress else { return Ok(()) };
            if finder.find(value).is_some()
                && let Ok(other) = serde_json::from_slice::<Value>(value)
                && compared.iter().all(|field| other[field] == event[field])
                && other["class"] == "human"
                && other["click_id"] != event["click_id"]
                && let (Some(id), Some(other_ms)) = (other["click_id"].as_str(), other["clicked_at_ms"].as_u64())
                && reach.contains(&other_ms)
                && latest.as_ref().is_none_or(|latest| other_ms > latest.clicked_at_ms)
            {
                latest = Some(EarlierTap { click_id: id.to_owned(), clicked_at_ms: other_ms });
            }
            Ok(())
        });
    read.ok().and(latest)
}

/// The event fields that the duplicate filters compare. `None` if the event lacks the client's address.
fn fields_compared_by_duplicate_filter(event: &Value) -> Option<&'static [&'static str]> {
    if event["duplicate_basis"] == "visitor" {
        return Some(&["domain", "code", "sub1", "visitor_id"]);
    }
    event["client_ip"].is_string().then_some(&["domain", "code", "sub1", "client_ip", "user_agent", "accept_language"])
}
