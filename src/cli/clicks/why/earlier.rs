//! The tap that a double tap repeats, where the event does not name it: the filters that told it keep no ids.

use serde_json::Value;

use super::story::{Earlier, Story, names_it};
use crate::{
    cli::clicks::{
        Source,
        source::{Range, Record},
    },
    model::click::Topic,
};

/// One and a half of the longest window that can be configured, milliseconds: nothing older is found by the filters.
const REACH_MS: u64 = 900_000;

/// The latest click before the story's that looks the same to the filters, if the story's is a double tap whose event does not name
/// it. `None` too if the source cannot be read: the story is told without it.
pub(super) fn find(source: &Source, story: &Story) -> Option<Earlier> {
    let event = story.event.as_ref().filter(|event| event["duplicate"] == true && !names_it(event))?;
    let at_ms = event["clicked_at_ms"].as_u64()?;
    let same = alike(event)?;
    let code = event["code"].as_str()?;
    let finder = memchr::memmem::Finder::new(code.as_bytes());
    let mut latest: Option<Earlier> = None;
    let read = source.read(&[Topic::Clicks], Range::Since(at_ms.saturating_sub(REACH_MS)), &mut |record| {
        let Some(Record { value, .. }) = record else { return Ok(()) };
        if finder.find(value).is_some()
            && let Ok(other) = serde_json::from_slice::<Value>(value)
            && same.iter().all(|key| other[key] == event[key])
            && other["class"] == "human"
            && other["click_id"] != event["click_id"]
            && let (Some(id), Some(other_ms)) = (other["click_id"].as_str(), other["clicked_at_ms"].as_u64())
            && (at_ms.saturating_sub(REACH_MS)..=at_ms).contains(&other_ms)
            && latest.as_ref().is_none_or(|latest| other_ms > latest.clicked_at_ms)
        {
            latest = Some(Earlier { click_id: id.to_owned(), clicked_at_ms: other_ms });
        }
        Ok(())
    });
    read.ok().and(latest)
}

/// What the filters compare. `None` where the event does not say all of it.
fn alike(event: &Value) -> Option<&'static [&'static str]> {
    if event["duplicate_basis"] == "visitor" {
        return Some(&["domain", "code", "visitor_id"]);
    }
    event["client_ip"].is_string().then_some(&["domain", "code", "client_ip", "user_agent", "accept_language"])
}
