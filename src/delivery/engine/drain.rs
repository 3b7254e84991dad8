//! Draining a retired edge: delivers everything that its lanes hold, and publishes that they are drained.

use std::time::{Duration, Instant};

use super::{ACTIVE_SLEEP, Engine};
use crate::delivery::{
    lane::LaneProgress,
    sink::Sink,
    summary::{DrainSummary, Summary},
};

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

impl<S: Sink> Engine<S> {
    /// Delivers until every click is delivered, or until no click was delivered for `patience`. `on_progress` gets,
    /// once a second, the delivered clicks and the time since the last delivery.
    pub(in crate::delivery) fn run_until_drained(
        mut self,
        patience: Duration,
        mut on_progress: impl FnMut(u64, Duration),
    ) -> DrainSummary {
        let (mut progress_at, mut reported_at) = (Instant::now(), Instant::now());
        let mut delivered_bytes = self.sum_of_delivered_positions();
        loop {
            let now = Instant::now();
            let cycle = self.poll_send_and_acknowledge_once(now, true);
            if self.sink.is_resumed() && self.lanes.iter().all(LaneProgress::is_all_delivered) {
                break;
            }
            let bytes = self.sum_of_delivered_positions();
            if bytes != delivered_bytes {
                (delivered_bytes, progress_at) = (bytes, now);
            }
            let quiet = now.duration_since(progress_at);
            if now.duration_since(reported_at) >= PROGRESS_INTERVAL {
                reported_at = now;
                on_progress(self.delivered, quiet);
            }
            if quiet >= patience {
                break;
            }
            if !cycle.backlog {
                std::thread::sleep(ACTIVE_SLEEP);
            }
        }
        self.send_closing_statements_and_wait_until_settled(Instant::now());
        self.count_remaining_and_summarize_drain()
    }

    fn sum_of_delivered_positions(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.clicks.delivered_position().get()).sum()
    }

    fn count_remaining_and_summarize_drain(self) -> DrainSummary {
        let dead_lettered = self.lanes.iter().map(|lane| lane.clicks.dead_letters().total()).sum();
        let quarantined = self.lanes.iter().map(LaneProgress::count_quarantined_since_start).sum();
        let are_acknowledged = self.sink.statement_counts().pending == 0;
        let stated = are_acknowledged && self.lanes.iter().all(LaneProgress::has_stated_drained);
        let already_delivered = self.already_delivered;
        let Summary { delivered, remaining, counted_all } = self.count_remaining_and_summarize();
        DrainSummary { delivered, already_delivered, dead_lettered, quarantined, remaining, counted_all, stated }
    }
}
