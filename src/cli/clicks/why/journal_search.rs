//! Searches the journal for a click. The journal is only read, and a server can run beside it.

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::{ClickLocation, ClickReport, SearchedPlace};
use crate::{
    attribution::click_id::ClickId,
    cli::geoip_files::load_usable_geoip_files_and_warn,
    config::Config,
    events::{DuplicateVerdictState, EventBuilder},
    journal::{self, Frame, InspectError, Watermark},
    model::click::{Click, Topic},
    server::read_edge_id,
};

/// A click in the journal, and the event that it would become.
struct JournaledClick {
    lane: u16,
    position: u64,
    watermark: Watermark,
    topic: Topic,
    event: Value,
    decision: DuplicateVerdictState,
}

/// Searches every lane for the click, delivered frames included as far as they are not yet overwritten, and adds the
/// result to the report.
pub(super) fn search_journal_and_add_result_to_report(config: &Config, report: &mut ClickReport) {
    let dir = &config.server.data_dir;
    let mut searched = SearchedPlace::journal(format!("the journal in {}", dir.display()));
    let found = find_first_frame_of_click_and_count_frames(config, report.click_id, &mut searched.records);
    let found = found.and_then(|click| match click {
        Some(click) => Ok(Some((is_click_counted_as_delivered_by_journal(config, &click)?, click))),
        None => Ok(None),
    });
    match found {
        Ok(None) => {}
        Ok(Some((delivered, click))) => {
            let (lane, position) = (click.lane, click.position);
            let location = ClickLocation::Journal { dir: dir.clone(), lane, position, delivered };
            report.set_event_found_in_journal(click.event, location, click.decision);
        }
        Err(why) if matches!(why.downcast_ref(), Some(InspectError::NoJournal { .. })) => {
            searched.failure = Some("there is no journal".to_owned());
        }
        Err(why) => searched.failure = Some(format!("{why:#}")),
    }
    report.searched.push(searched);
}

/// Finds the first frame of the click, and counts the frames read in `records`.
fn find_first_frame_of_click_and_count_frames(
    config: &Config,
    id: ClickId,
    frames_read: &mut u64,
) -> Result<Option<JournaledClick>> {
    let dir = &config.server.data_dir;
    let edge = config.edge.id.clone().or_else(|| read_edge_id(dir)).unwrap_or_default();
    let builder = EventBuilder::new(&config.delivery.duplicate).context("the table of user agents")?;
    let builder = builder.with_geoip(load_usable_geoip_files_and_warn(config));
    let mut builder = builder.with_device_labels(config.delivery.device_labels);
    let (mut found, mut text) = (None, Vec::new());
    for topic in Topic::ALL {
        journal::dump_frames_and_count(dir, topic.name(), true, |lane, frame| {
            *frames_read += 1;
            if found.is_none() && is_frame_of_click(frame, id) {
                text.clear();
                let decision =
                    builder.try_append_undelivered_event_and_return_verdict_state(&edge, topic, lane, frame, &mut text);
                let event = serde_json::from_slice::<Value>(&text).ok();
                found = decision.zip(event).map(|(decision, event)| JournaledClick {
                    lane,
                    position: frame.position.get(),
                    watermark: Watermark { epoch: frame.epoch, next: frame.seq },
                    topic,
                    event,
                    decision,
                });
            }
            Ok(())
        })?;
    }
    if let Some(object) = found.as_mut().and_then(|click| click.event.as_object_mut()) {
        // `safe` depends on the clicks before this one at the time of delivery.
        object.remove("safe");
    }
    Ok(found)
}

fn is_frame_of_click(frame: &Frame<'_>, id: ClickId) -> bool {
    Click::decode(frame.payload).is_ok_and(|click| click.id == id.0)
}

/// Whether the journal counts the click as delivered. Read after the frame and before the sinks: a click that is
/// undelivered here and in a sink was delivered in between.
fn is_click_counted_as_delivered_by_journal(config: &Config, click: &JournaledClick) -> Result<bool> {
    let lanes = journal::inspect(&config.server.data_dir, click.topic.name())?.lanes;
    let lane = lanes.iter().find(|lane| lane.lane == click.lane);
    Ok(lane.is_some_and(|lane| click.watermark < lane.delivered))
}
