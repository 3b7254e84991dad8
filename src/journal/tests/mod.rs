//! Tests of a lane's guarantees, with a ring and segments so small that the ring wraps and segments are closed often.

mod basics;
mod crash;
mod damage;
mod disk_errors;
mod epoch_ends;
pub(super) mod faults;
mod golden;
mod group_commit;
mod logs;
mod lost_clicks;
pub(crate) mod machine;
mod metrics;
mod model;
mod ring_location;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    journal::{
        Batch, Config, DirectoryLocks, Epoch, EpochEnd, Frame, Journal, LaneReader, LaneWriter, OpenError, Position,
        RecoveryReport, Seq, SeqRange, Spiller, Watermark,
        disk::Disk,
        frame::frame_len,
        segment::{BLOCK_HEADER, SEGMENT_HEADER},
    },
    size::Bytes,
};

/// The log of the tests that need only one.
pub(super) const LOG: &str = "clicks";

/// Bytes of the usual payload in these tests. 93 frames fill the ring of [`small_config`].
pub(super) const PAYLOAD: usize = 116;

/// Bytes of a frame with the usual payload.
pub(super) const FRAME: usize = frame_len(PAYLOAD) as usize;

/// A new directory, in memory if possible: these tests are about order, not about the speed of a disk.
pub(super) fn new_temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn small_config() -> Config {
    Config {
        ring_bytes: Bytes::kib(16),
        segment_bytes: Bytes::kib(4),
        max_disk_bytes: Bytes::mib(1),
        sync_interval: Duration::from_millis(40),
        ..Config::default()
    }
}

/// Locks directories. Waits for a child that another test forked: it holds every descriptor of this process until it
/// executes its program.
pub(super) fn retry_while_locked(
    lock: impl Fn() -> Result<DirectoryLocks, OpenError>,
) -> Result<DirectoryLocks, OpenError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match lock() {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            locked => return locked,
        }
    }
}

/// Locks the directories and opens the journal of the tests' log.
pub(super) fn open_journal_on_disk(
    disk: &Disk,
    dir: &Path,
    config: &Config,
    workers: usize,
) -> Result<Journal, OpenError> {
    let locks = retry_while_locked(|| DirectoryLocks::lock_on_disk(disk, dir, config.ring_dir.as_deref()))?;
    Journal::open_and_recover_on_disk(disk, dir, LOG, config, workers, &locks)
}

/// The ends of one lane, and a clock that the test advances.
pub(super) struct TestLane {
    pub(super) writer: LaneWriter,
    pub(super) reader: LaneReader,
    pub(super) spiller: Spiller,
    pub(super) now: Instant,
    pub(super) report: RecoveryReport,
}

/// A frame that was read, with plain numbers, as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadFrame {
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) payload: Vec<u8>,
}

impl ReadFrame {
    pub(super) fn of(frame: &Frame<'_>) -> ReadFrame {
        ReadFrame { epoch: frame.epoch.get(), seq: frame.seq.get(), payload: frame.payload.to_vec() }
    }
}

impl TestLane {
    pub(super) fn open(dir: &Path, config: &Config) -> TestLane {
        TestLane::open_and_recover_on_disk(&Disk::default(), dir, config).unwrap()
    }

    pub(super) fn open_and_recover_on_disk(disk: &Disk, dir: &Path, config: &Config) -> Result<TestLane, OpenError> {
        let journal = open_journal_on_disk(disk, dir, config, 1)?;
        let report = journal.recovery_reports()[0].clone();
        let mut parts = journal.into_parts();
        Ok(TestLane {
            writer: parts.writers.remove(0),
            reader: parts.readers.remove(0),
            spiller: parts.spiller,
            now: Instant::now(),
            report,
        })
    }

    /// Lets the spiller run two rounds, with enough time between for every frame and checkpoint to be due.
    pub(super) fn spill(&mut self) {
        for _ in 0..2 {
            self.spiller.spill_due_lanes_and_save_due_checkpoints(self.now);
            self.now += Duration::from_secs(20);
        }
    }

    /// Reads every frame from `from` on; gives them and the position at which they end.
    pub(super) fn read_from(&mut self, from: Position) -> (Vec<ReadFrame>, Position) {
        read_from(&mut self.reader, from)
    }

    /// Reads every undelivered frame, without acknowledging it.
    pub(super) fn read_all(&mut self) -> Vec<ReadFrame> {
        self.read_from(self.reader.first_undelivered()).0
    }

    /// Acknowledges `frames`, which end at `end`, with a note of zeros.
    pub(super) fn acknowledge(&self, end: Position, frames: &[ReadFrame]) {
        self.reader.acknowledge(end, watermark_behind(self.reader.recovered_watermark(), frames), [0; 64]);
    }

    /// The position below which everything is delivered or synced.
    pub(super) fn durable_position(&self) -> Position {
        self.spiller.segment_log.lanes[0].shared.durable_position()
    }

    pub(super) fn close(self) {
        drop(self.writer);
        self.spiller.spill_rest_write_last_checkpoints_and_close();
    }
}

/// The money at risk and the runbook's heading in a fault's log line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoggedFault {
    pub(super) money_at_risk: String,
    pub(super) runbook: String,
}

impl PartialEq<[&str; 2]> for LoggedFault {
    fn eq(&self, other: &[&str; 2]) -> bool {
        [&*self.money_at_risk, &*self.runbook] == *other
    }
}

/// Runs `action` and gives its result and the one fault named `event` that was logged meanwhile.
pub(super) fn capture_fault<T>(event: &str, action: impl FnOnce() -> T) -> (T, LoggedFault) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer_log = Arc::clone(&log);
    let make_writer = move || LogBuffer(Arc::clone(&writer_log));
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(make_writer);
    let result = tracing::subscriber::with_default(subscriber.finish(), action);
    let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let faults: Vec<_> = lines.filter(|line| line["event"] == event).collect();
    let [line] = &faults[..] else { panic!("{event}: {faults:#?}") };
    let field = |name: &str| line[name].as_str().unwrap().to_owned();
    (result, LoggedFault { money_at_risk: field("money_at_risk"), runbook: field("runbook") })
}

/// Writes the log into memory.
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn read_from(reader: &mut LaneReader, from: Position) -> (Vec<ReadFrame>, Position) {
    let mut batch = Batch::default();
    let mut frames = Vec::new();
    let mut next = from;
    loop {
        reader.read(next, &mut batch).unwrap();
        frames.extend(batch.frames().map(|frame| ReadFrame::of(&frame)));
        assert!(batch.next_position() >= next);
        if batch.next_position() == next {
            return (frames, next);
        }
        next = batch.next_position();
    }
}

/// The watermark behind `frames`, if the one before them was `watermark`.
pub(super) fn watermark_behind(watermark: Watermark, frames: &[ReadFrame]) -> Watermark {
    let after = |frame: &ReadFrame| Watermark::after(Epoch::new(frame.epoch), Seq::new(frame.seq));
    frames.iter().map(after).fold(watermark, Watermark::max)
}

pub(super) fn epoch_end(epoch: Epoch, next_seq: u64, cut: bool) -> EpochEnd {
    EpochEnd { epoch, next_seq: Seq::new(next_seq), cut }
}

pub(super) fn seq_range(epoch: Epoch, first: u64, end: u64) -> SeqRange {
    SeqRange { epoch, first: Seq::new(first), end: Seq::new(end) }
}

/// The directory of the journal of the test's log.
pub(super) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal").join(LOG)
}

/// The first lane's ring in its default directory.
pub(super) fn ring_path(data_dir: &Path) -> PathBuf {
    journal_dir(data_dir).join("lane-0000.ring")
}

/// The log's segments, sorted.
pub(super) fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(journal_dir(data_dir)).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "segment")).collect();
    segments.sort();
    segments
}

/// Opens a lane, appends `count` frames with the usual payload, and spills them.
pub(super) fn open_filled(data_dir: &Path, config: &Config, count: u8) -> TestLane {
    let mut lane = TestLane::open(data_dir, config);
    for n in 0..count {
        if !lane.writer.try_make_room_for(PAYLOAD) {
            lane.spill();
        }
        lane.writer.append(&[n; PAYLOAD]).unwrap();
    }
    lane.spill();
    lane
}

/// The offset in a segment of a byte in the payload of the first block's frame `index`, if all payloads have the usual
/// length.
pub(super) const fn offset_in_first_block(index: usize) -> usize {
    SEGMENT_HEADER + BLOCK_HEADER + index * FRAME + 100
}

/// Flips a bit of the byte at `offset`.
pub(super) fn flip_bit(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}
