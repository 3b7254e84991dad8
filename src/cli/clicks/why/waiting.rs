//! The journal's part of the story: read beside a server that writes, changing nothing.

use anyhow::{Context, Result};
use serde_json::Value;

use super::story::{Looked, Place, Story};
use crate::{
    attribution::mint::ClickId,
    config::Config,
    journal::{self, Frame, InspectError, Mark},
    model::click::Click,
    server::kept_edge_id,
    shipper::{Foreseen, Press},
};

/// A frame as it lay in its lane.
struct Kept {
    lane: u16,
    position: u64,
    mark: Mark,
    stream: usize,
    event: Value,
    foreseen: Foreseen,
}

/// Looks for the click in every lane, delivered frames included as far as they still lie there.
pub(super) fn search(config: &Config, story: &mut Story) -> Looked {
    let dir = &config.server.data_dir;
    let mut looked = Looked::journal(format!("the journal in {}", dir.display()));
    match find(config, story.id, &mut looked.records) {
        Ok(None) => {}
        Ok(Some(kept)) => match delivered(config, &kept) {
            Ok(delivered) => {
                let place = Place::Journal { dir: dir.clone(), lane: kept.lane, position: kept.position, delivered };
                story.journaled(kept.event, place, kept.foreseen);
            }
            Err(why) => looked.failed = Some(format!("{why:#}")),
        },
        Err(why) if matches!(why.downcast_ref(), Some(InspectError::NoJournal { .. })) => {
            looked.failed = Some("there is none".to_owned());
        }
        Err(why) => looked.failed = Some(format!("{why:#}")),
    }
    looked
}

fn find(config: &Config, id: ClickId, records: &mut u64) -> Result<Option<Kept>> {
    let dir = &config.server.data_dir;
    let edge = config.edge.id.clone().or_else(|| kept_edge_id(dir)).unwrap_or_default();
    let mut press = Press::new(&config.shipper.duplicate).context("the table of agents")?;
    let (mut kept, mut text) = (None, Vec::new());
    journal::dump(dir, true, |lane, frame| {
        *records += 1;
        if kept.is_none() && is_click(frame, id) {
            text.clear();
            let foreseen = press.foresee(&edge, lane, frame, &mut text);
            kept = foreseen.zip(serde_json::from_slice::<Value>(&text).ok()).map(|(foreseen, event)| Kept {
                lane,
                position: frame.pos,
                mark: Mark { epoch: frame.epoch, next: frame.seq },
                stream: usize::from(frame.stream),
                event,
                foreseen,
            });
        }
        Ok(())
    })?;
    if let Some(object) = kept.as_mut().and_then(|kept| kept.event.as_object_mut()) {
        // Said at shipping, of clicks before this one.
        object.remove("safe");
    }
    Ok(kept)
}

fn is_click(frame: &Frame<'_>, id: ClickId) -> bool {
    Click::decode(frame.payload).is_ok_and(|click| click.id == id.0)
}

/// Asked after the frame was found and before the sink is read: what is not delivered here and is in the sink was delivered since.
fn delivered(config: &Config, kept: &Kept) -> Result<bool> {
    let lanes = journal::inspect(&config.server.data_dir)?.lanes;
    let lane = lanes.iter().find(|lane| lane.lane == kept.lane);
    Ok(lane.and_then(|lane| lane.delivered.get(kept.stream)).is_some_and(|mark| kept.mark < *mark))
}
