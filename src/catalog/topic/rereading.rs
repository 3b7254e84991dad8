//! Reads the topic from its beginning, beside the links that are served, and serves it once its end is reached.

use std::time::{Duration, Instant};

use super::{
    catalog_thread::run_on_catalog_thread,
    reading::{ReadStep, TopicReading},
    stage::{self, StageCheck},
    state::TopicState,
};
use crate::{
    catalog::CatalogError,
    clock,
    faults::{self, log_fault},
};

/// A topic that lacks too many links is looked at so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two lines of the log about such a topic.
const LOG_INTERVAL: Duration = Duration::from_secs(300);

/// Where a reading from the beginning is.
pub(super) enum RereadStep {
    Unfinished,
    /// The place in the topic is lost once more.
    Lost,
    /// The links are those of the topic.
    Finished,
}

/// A reading from the beginning.
pub(super) struct Rereading {
    allow_shrink: bool,
    next_offset: u64,
    last_end: Option<Instant>,
    refusal_logged: Option<Instant>,
}

impl Rereading {
    pub(super) fn begin(reading: &mut TopicReading, allow_shrink: bool) -> Result<Rereading, CatalogError> {
        run_on_catalog_thread(&reading.catalog, stage::clear_stage)?;
        if let Err(why) = reading.consumer.read_from(None) {
            tracing::warn!(topic = reading.state.topic, "the topic of links cannot be read: {why}");
        }
        Ok(Rereading { allow_shrink, next_offset: 0, last_end: None, refusal_logged: None })
    }

    /// Takes the records that are there; at the end serves them.
    ///
    /// # Errors
    /// The process stops, or the catalog's file fails.
    pub(super) fn advance(&mut self, reading: &mut TopicReading, wait: Duration) -> Result<RereadStep, CatalogError> {
        let (records, step) = reading.take_records(wait);
        if let Some(last) = records.last() {
            self.next_offset = last.offset + 1;
            run_on_catalog_thread(&reading.catalog, move |writer| stage::stage_records(writer, &records))?;
        }
        match step {
            ReadStep::Lost(_) => Ok(RereadStep::Lost),
            ReadStep::End => {
                self.last_end = Some(Instant::now());
                self.serve_unless_links_are_lost(reading)
            }
            ReadStep::Records | ReadStep::Nothing => {
                if self.last_end.is_some_and(|at| at.elapsed() >= LOOK_INTERVAL) {
                    self.last_end = None;
                    // A topic that was made again once more is read from its beginning.
                    if reading.consumer.read_from(Some(self.next_offset)).is_err() {
                        return Ok(RereadStep::Lost);
                    }
                }
                Ok(RereadStep::Unfinished)
            }
        }
    }

    fn serve_unless_links_are_lost(&mut self, reading: &mut TopicReading) -> Result<RereadStep, CatalogError> {
        let allow_shrink = self.allow_shrink;
        let check = run_on_catalog_thread(&reading.catalog, move |writer| stage::check_stage(writer, allow_shrink))?;
        if let StageCheck::LosesTooMany { lost, live } = check {
            reading.metrics.show_shrunk(true);
            if self.refusal_logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                self.refusal_logged = Some(Instant::now());
                log_fault!(
                    error,
                    faults::LINKS_TOPIC_SHRUNK,
                    topic = reading.state.topic,
                    lost,
                    live,
                    "the topic lacks {lost} of {live} live links; the links of before are served until it has them; \
                     links.allow_shrink = true takes the topic as it is"
                );
            }
            return Ok(RereadStep::Unfinished);
        }
        self.apply(reading)?;
        reading.metrics.show_shrunk(false);
        Ok(RereadStep::Finished)
    }

    fn apply(&self, reading: &mut TopicReading) -> Result<(), CatalogError> {
        let catalog = reading.catalog.clone();
        let topic = reading.state.topic.clone();
        run_on_catalog_thread(&catalog, stage::begin_apply)?;
        let rules_fingerprint = reading.state.rules_fingerprint.clone();
        reading.state = TopicState { rules_fingerprint, ..TopicState::beginning_of(&topic) };
        let mut after = None;
        loop {
            let state = reading.state.clone();
            let applied = run_on_catalog_thread(&catalog, move |writer| stage::apply_next_part(writer, state, after))?;
            let Some(applied) = applied else { break };
            if let Some(error) = applied.store_error {
                return Err(CatalogError::StoreFailed(error));
            }
            reading.finish_applied(applied);
            after = Some(reading.state.next_offset - 1);
        }
        let mut after_id = 0;
        let mut removed = 0;
        loop {
            let topic = topic.clone();
            let part =
                run_on_catalog_thread(&catalog, move |writer| stage::remove_next_part(writer, &topic, after_id))?;
            let Some((last_id, removed_by_part)) = part else { break };
            (after_id, removed) = (last_id, removed + removed_by_part);
        }
        let state = TopicState {
            next_offset: self.next_offset.max(reading.state.next_offset),
            at_end_ms: clock::wall_ms(),
            ..reading.state.clone()
        };
        reading.state = run_on_catalog_thread(&catalog, move |writer| stage::finish_apply(writer, state))?;
        reading.metrics.show(&reading.state);
        tracing::info!(topic, removed, offset = reading.state.next_offset, "the links are those of the topic now");
        Ok(())
    }
}
