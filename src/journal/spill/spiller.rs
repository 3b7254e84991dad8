//! The spiller's thread. While the edge serves, no other thread of the journal waits for the disk.

use std::{
    cmp::Reverse,
    mem, thread,
    time::{Duration, Instant},
};

use super::{
    metrics::SpillMetrics,
    observer::SharedObserver,
    segment_log::{SegmentLog, SpillError},
};
use crate::{
    faults::{self, log_fault},
    journal::{config::Config, disk::Disk, report::RecoveryReport},
    lifecycle::{self, StopSignal},
};

/// How often checkpoints are written, at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// After so many rounds in a row in which no lane had a frame to spill, the pause is twice as long.
const IDLE_ROUNDS: u32 = 80;
/// How often the observer publishes.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// The spiller of all lanes of a journal. Made by [`crate::journal::Journal::into_parts`].
#[derive(Debug)]
pub struct Spiller {
    /// The name of the log.
    log: &'static str,
    pub(in crate::journal) segment_log: SegmentLog,
    disk: Disk,
    config: Config,
    metrics: SpillMetrics,
    observer: SharedObserver,
    /// When checkpoints were written last.
    checkpoints_at: Option<Instant>,
    /// How long the last round of spilling took.
    last_spill_took: Duration,
    /// The rounds since one in which a lane had a frame to spill.
    idle_rounds: u32,
}

impl Spiller {
    pub(in crate::journal) fn new(
        log: &'static str,
        segment_log: SegmentLog,
        reports: &[RecoveryReport],
        config: &Config,
        disk: &Disk,
    ) -> Spiller {
        let shared = segment_log.lanes.iter().map(|lane| lane.shared.clone());
        Spiller {
            log,
            observer: SharedObserver::new(log, config, shared, reports, disk.pending_io_timer()),
            segment_log,
            disk: disk.clone(),
            config: config.clone(),
            metrics: SpillMetrics::new(log),
            checkpoints_at: None,
            last_spill_took: Duration::ZERO,
            idle_rounds: 0,
        }
    }

    /// Spills until `stop`, then spills the rest and marks the lanes as cleanly closed. Give it a stop signal of its
    /// own, to be set once the workers and then the delivery have ended: a lane whose [`crate::journal::LaneWriter`]
    /// still lives gets no mark.
    pub fn run_until_stopped_then_close(mut self, stop: StopSignal) {
        let (observer_stopper, observer_stop) = lifecycle::stop_signal();
        let observer = self.observer.clone();
        // The spiller publishes after each of its rounds too, but not while the disk does not answer.
        let observe = move || {
            while !observer_stop.is_set() {
                observer.lock().publish_metrics_and_log_alarms(Instant::now());
                thread::sleep(OBSERVE_EVERY);
            }
        };
        let observer = thread::Builder::new().name("wp-observer".to_owned()).spawn(observe);
        if let Err(error) = &observer {
            tracing::warn!(%error, "cannot start the thread wp-observer: metrics stand still while the disk stalls");
        }
        while !stop.is_set() {
            thread::sleep(self.spill_due_lanes_and_save_due_checkpoints(Instant::now()));
        }
        self.spill_rest_write_last_checkpoints_and_close();
        observer_stopper.stop();
        // The thread ends within its pause, and a panic of it loses nothing.
        let _ = observer.map(thread::JoinHandle::join);
    }

    /// The time between the last sync of a lane's frames and the next round: a quarter of the sync interval, so that it
    /// adds little to it.
    fn pause(&self) -> Duration {
        (self.config.sync_interval / 4).clamp(Duration::from_millis(1), Duration::from_millis(20))
    }

    /// Spills every lane whose oldest frame is due, with one sync. Each second writes the checkpoints, with one more.
    /// Returns the time to wait before the next round.
    ///
    /// A frame is due if it would have waited for longer than the sync interval at the next round, which begins behind
    /// the pause or the sync of the checkpoints. In a round in which any frame is due, the lanes are spilled too whose
    /// oldest frame would be behind the sync of that. So a frame waits for the longer of the sync interval and a round,
    /// and then for one sync, whatever the number of lanes. Not earlier: most frames are acknowledged before.
    pub(in crate::journal) fn spill_due_lanes_and_save_due_checkpoints(&mut self, now: Instant) -> Duration {
        let are_checkpoints_due =
            self.checkpoints_at.is_none_or(|at| now.saturating_duration_since(at) >= CHECKPOINT_EVERY);
        let lanes = self.list_lanes_to_spill_oldest_frame_first(now, are_checkpoints_due);
        if !lanes.is_empty() && self.segment_log.may_spill(now) {
            let started = self.disk.now();
            self.spill_lanes_or_count_log_and_back_off(&lanes, now);
            self.last_spill_took = self.disk.now().saturating_duration_since(started);
        }
        let mut checkpoints_took = Duration::ZERO;
        if are_checkpoints_due {
            let started = self.disk.now();
            self.save_checkpoints_or_count_and_log_failure();
            checkpoints_took = self.disk.now().saturating_duration_since(started);
            self.unshare_rings_log_removed_ring_files_and_update_free_disk_space();
            self.checkpoints_at = Some(now);
        }
        self.publish_to_observer_and_metrics(now);
        // A frame that comes within the longer pause has waited for half of the sync interval behind it, so it is not
        // due before the next round.
        let pause = if self.idle_rounds < IDLE_ROUNDS { self.pause() } else { 2 * self.pause() };
        // The sync of the checkpoints was a pause for the frames.
        pause.saturating_sub(checkpoints_took)
    }

    /// The indices of the lanes that are to be spilled in this round; none if no frame is due.
    fn list_lanes_to_spill_oldest_frame_first(&mut self, now: Instant, are_checkpoints_due: bool) -> Vec<usize> {
        // The sync of the checkpoints is taken to be as long as that of the last frames.
        let checkpoints = if are_checkpoints_due { self.last_spill_took } else { Duration::ZERO };
        let due = self.config.sync_interval.saturating_sub(self.pause().max(checkpoints));
        let mut ages = Vec::new();
        for index in 0..self.segment_log.lanes.len() {
            let age = self.observer.lock().sample_head_and_get_age_bound_of_oldest_frame_to_spill(index, now);
            // Stored by this thread and not by the observer's, which must not wait for a disk.
            self.segment_log.lanes[index].store_undurable_since_in_ring(&self.disk, age);
            ages.push((index, age));
        }
        let is_idle = ages.iter().all(|(_, age)| age.is_none());
        self.idle_rounds = if is_idle { self.idle_rounds.saturating_add(1) } else { 0 };
        // After an error the log spills even if no frame is due, because only a success ends the alarm.
        let least_age = if self.segment_log.is_backing_off() {
            None
        } else if ages.iter().any(|(_, age)| age.is_some_and(|age| age >= due)) {
            Some(due.saturating_sub(self.last_spill_took))
        } else {
            return Vec::new();
        };
        ages.retain(|(_, age)| *age >= least_age);
        ages.sort_by_key(|(_, age)| Reverse(*age));
        ages.into_iter().map(|(index, _)| index).collect()
    }

    /// The last round: spills everything that is in the rings alone, and writes the last checkpoints.
    pub(in crate::journal) fn spill_rest_write_last_checkpoints_and_close(mut self) {
        let now = Instant::now();
        let all: Vec<usize> = (0..self.segment_log.lanes.len()).collect();
        if !all.is_empty() {
            self.spill_lanes_or_count_log_and_back_off(&all, now);
        }
        match self.segment_log.write_last_checkpoints_and_return_unclean_lanes() {
            Ok(unclean) => {
                for lane in unclean {
                    log_fault!(
                        warn,
                        faults::CLOSED_UNCLEAN,
                        topic = self.log,
                        lane,
                        "closed without the clean mark: clicks are in the ring alone, the next start takes them from \
                         there"
                    );
                }
            }
            Err(error) => log_fault!(
                error,
                faults::CHECKPOINT_FAILED,
                topic = self.log, %error,
                "no checkpoints at the end: the next start recovers instead"
            ),
        }
        self.publish_to_observer_and_metrics(now);
    }

    fn spill_lanes_or_count_log_and_back_off(&mut self, lane_indices: &[usize], now: Instant) {
        match self.segment_log.spill_lanes_to_heads_and_sync(lane_indices, &self.config, &self.metrics) {
            Ok(()) => {
                if self.segment_log.end_back_off() {
                    tracing::info!(topic = self.log, "spilling again");
                }
            }
            Err(error) => {
                self.metrics.count_spill_or_checkpoint_error(error.metric_label());
                if self.segment_log.abandon_segment_back_off_and_return_if_first_error(now) {
                    log_fault!(
                        error,
                        faults::SPILL_STOPPED,
                        topic = self.log, reason = %error,
                        "not spilled: the rings keep the clicks, and spilling is tried again"
                    );
                }
            }
        }
    }

    fn publish_to_observer_and_metrics(&self, now: Instant) {
        let mut observer = self.observer.lock();
        observer.is_backing_off = self.segment_log.is_backing_off();
        observer.used_disk_bytes = self.segment_log.used_disk_bytes();
        observer.publish_metrics_and_log_alarms(now);
    }

    /// Checks what can change outside of this process: whether the rings' files exist and share no blocks with a copy,
    /// and the room on the file system.
    fn unshare_rings_log_removed_ring_files_and_update_free_disk_space(&mut self) {
        for lane in &mut self.segment_log.lanes {
            let number = lane.number();
            if let Some((path, error)) = lane.unshare_ring_blocks_or_get_first_error(&self.disk) {
                log_fault!(
                    error,
                    faults::RING_SHARED,
                    topic = self.log,
                    lane = number,
                    path = %path.display(), %error,
                    "a copy shares the ring's blocks, and there is no room for blocks of its own: remove the copy or \
                     make room; else a click that is stored there can end the process"
                );
            }
            if let Some(path) = lane.detect_newly_removed_ring_file().map(|path| path.display().to_string()) {
                log_fault!(
                    error,
                    faults::RING_GONE,
                    topic = self.log,
                    lane = lane.number(),
                    path,
                    "the ring's file was removed while the process runs, which continues in memory that no other start \
                     finds: stop it in good order and start it again"
                );
            }
        }
        let is_ring_gone = self.segment_log.lanes.iter().any(|lane| lane.is_ring_gone);
        let available = self.segment_log.available_disk_bytes();
        let mut observer = self.observer.lock();
        observer.is_ring_gone = is_ring_gone;
        observer.available_disk_bytes = available.unwrap_or(observer.available_disk_bytes);
    }

    fn save_checkpoints_or_count_and_log_failure(&mut self) {
        match self.segment_log.save_advanced_checkpoints_and_remove_passed_files() {
            Ok(()) => {
                if mem::take(&mut self.segment_log.is_checkpoint_failing) {
                    tracing::info!(topic = self.log, "checkpoints are written again");
                }
            }
            Err(error) => {
                if !mem::replace(&mut self.segment_log.is_checkpoint_failing, true) {
                    log_fault!(
                        error,
                        faults::CHECKPOINT_FAILED,
                        topic = self.log, %error,
                        "no checkpoints: delivered segments stay until checkpoints are written, which is tried again"
                    );
                }
                self.metrics.count_spill_or_checkpoint_error(SpillError::Disk(error).metric_label());
            }
        }
    }

    #[cfg(test)]
    pub(in crate::journal) fn sample_head_and_get_age_bound_of_oldest_frame_to_spill(
        &self,
        index: usize,
        now: Instant,
    ) -> Option<Duration> {
        self.observer.lock().sample_head_and_get_age_bound_of_oldest_frame_to_spill(index, now)
    }
}
