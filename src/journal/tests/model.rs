//! Random actions on a lane, compared with a reference that keeps its frames in a list.

use std::{collections::BTreeSet, path::Path, time::Duration};

use proptest::prelude::*;

use super::{ReadFrame, TestLane, new_temp_dir, ring_path, segments, small_config, watermark_behind};
use crate::journal::{Batch, Config, Position, SpillMode};

#[derive(Clone, Debug)]
enum Action {
    /// Appends a frame with a payload of so many bytes.
    Append(usize),
    /// Advances the clock by so many milliseconds, then runs the spiller.
    RunSpiller(u64),
    /// Delivers so many frames, if there are any.
    Deliver(usize),
    Restart(Ending),
}

/// How a process ends before a restart.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Clean,
    Killed,
    /// The process is killed, and a bit of a segment flips. The number chooses the bit.
    KilledAndCorrupted(u64),
    PowerLost,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => (0..206usize).prop_map(Action::Append),
        6 => (1..1500u64).prop_map(Action::RunSpiller),
        3 => (1..60usize).prop_map(Action::Deliver),
        1 => prop_oneof![
            Just(Ending::Clean),
            Just(Ending::Killed),
            any::<u64>().prop_map(Ending::KilledAndCorrupted),
            Just(Ending::PowerLost)
        ].prop_map(Action::Restart),
    ]
}

/// A frame and the position at which it ends.
struct PositionedFrame {
    frame: ReadFrame,
    end: Position,
}

/// The reference.
#[derive(Default)]
struct Model {
    /// Frames that are appended and not delivered, in order.
    backlog: Vec<PositionedFrame>,
    delivered: BTreeSet<ReadFrame>,
    next_seq: u64,
    /// The ends of the frames that a flipped bit cost.
    corrupted_ends: Vec<Position>,
}

impl Model {
    fn append(&mut self, epoch: u64, payload: Vec<u8>, end: Position) {
        self.backlog.push(PositionedFrame { frame: ReadFrame { epoch, seq: self.next_seq, payload }, end });
        self.next_seq += 1;
    }

    fn deliver_first(&mut self, count: usize) {
        self.delivered.extend(self.backlog.drain(..count).map(|positioned| positioned.frame));
    }

    /// Compares the frames that are `read` from position `start` on, after a restart, with the backlog. Returns how
    /// many frames above `start` a flipped bit has cost.
    fn check_restart(
        &mut self,
        ending: Ending,
        durable: Position,
        read: &[ReadFrame],
        start: Position,
    ) -> Result<usize, TestCaseError> {
        self.next_seq = 0;
        let found: BTreeSet<&ReadFrame> = read.iter().collect();
        let is_lost = |positioned: &&PositionedFrame| !found.contains(&positioned.frame);
        let lost_ends: Vec<Position> = self.backlog.iter().filter(is_lost).map(|positioned| positioned.end).collect();
        match ending {
            Ending::Clean | Ending::Killed => prop_assert_eq!(lost_ends.len(), 0, "lost"),
            Ending::KilledAndCorrupted(_) => {
                prop_assert!(lost_ends.len() <= 1, "one flipped bit cost {} frames", lost_ends.len());
            }
            Ending::PowerLost => prop_assert!(!lost_ends.iter().any(|end| *end <= durable)),
        }
        // No frame is read twice, out of order, or without having been appended. Delivered frames are repeated only
        // after a power loss.
        let backlog = self.backlog.iter().map(|positioned| &positioned.frame);
        let expected: Vec<&ReadFrame> = backlog.filter(|frame| found.contains(frame)).collect();
        let repeats = read.len() - expected.len();
        prop_assert!(read[repeats..].iter().eq(expected), "order");
        prop_assert!(read[..repeats].iter().all(|frame| self.delivered.contains(frame)), "repeats");
        prop_assert!(repeats == 0 || matches!(ending, Ending::PowerLost), "{} repeats", repeats);
        self.corrupted_ends.retain(|end| *end > start);
        if !matches!(ending, Ending::PowerLost) {
            self.corrupted_ends.extend(lost_ends);
        }
        Ok(self.corrupted_ends.len())
    }
}

/// The counts of clicks since the start, as in the metrics.
struct JournalCounts {
    recovered: u64,
    quarantined: u64,
    delivered: u64,
}

impl JournalCounts {
    fn at_start(lane: &TestLane) -> JournalCounts {
        JournalCounts { recovered: lane.report.recovered, quarantined: lane.report.quarantined, delivered: 0 }
    }

    /// Checks that recovered + journaled = delivered + backlog + quarantined.
    fn check_sum(&self, lane: &TestLane) -> Result<(), TestCaseError> {
        let shared = &lane.spiller.segment_log.lanes[0].shared;
        let next_seq = shared.next_seq();
        let progress = shared.lock_progress();
        let (backlog, appended) = (progress.count_undelivered_and_undamaged(shared.epoch, next_seq), next_seq.get());
        let damaged = progress.damaged_since.total_count();
        prop_assert_eq!(self.recovered + appended, self.delivered + backlog + self.quarantined + damaged);
        Ok(())
    }
}

/// A lane under test, beside the model of it.
struct LaneAndModel<'c> {
    lane: TestLane,
    /// Removed when it is dropped, behind the lane.
    dir: tempfile::TempDir,
    config: &'c Config,
    model: Model,
    next_read: Position,
    counts: JournalCounts,
    power_was_lost: bool,
    flipped_bits: usize,
}

impl<'c> LaneAndModel<'c> {
    fn open(config: &'c Config) -> LaneAndModel<'c> {
        let dir = new_temp_dir();
        let lane = TestLane::open(dir.path(), config);
        let (next_read, counts) = (lane.reader.first_undelivered(), JournalCounts::at_start(&lane));
        let model = Model::default();
        LaneAndModel { dir, config, lane, model, next_read, counts, power_was_lost: false, flipped_bits: 0 }
    }

    fn append(&mut self, payload: Vec<u8>) -> Result<(), TestCaseError> {
        let writer = &mut self.lane.writer;
        if writer.append(&payload).is_ok() {
            self.model.append(writer.epoch().get(), payload, self.lane.reader.head());
        } else {
            let used = writer.undurable_bytes();
            prop_assert!(used > writer.ring_bytes() / 2, "refused with {} bytes used", used);
        }
        Ok(())
    }

    fn deliver(&mut self, max_frames: usize, sink_state: [u8; 64]) -> Result<(), TestCaseError> {
        let frames = read_frames(&mut self.lane, &mut self.next_read, max_frames);
        let watermark = watermark_behind(self.lane.reader.recovered_watermark(), &frames);
        self.lane.reader.acknowledge(self.next_read, watermark, sink_state);
        self.counts.delivered += frames.len() as u64;
        let expected = self.model.backlog[..frames.len()].iter().map(|positioned| &positioned.frame);
        prop_assert!(frames.iter().eq(expected));
        self.model.deliver_first(frames.len());
        Ok(())
    }

    fn restart(mut self, ending: Ending) -> Result<LaneAndModel<'c>, TestCaseError> {
        let durable = self.lane.durable_position();
        match ending {
            Ending::Clean => self.lane.close(),
            _ => drop(self.lane),
        }
        damage_files(self.dir.path(), ending);
        self.lane = TestLane::open(self.dir.path(), self.config);
        self.counts = JournalCounts::at_start(&self.lane);
        let read = self.lane.read_all();
        self.next_read = self.lane.reader.first_undelivered();
        let corrupted = self.model.check_restart(ending, durable, &read, self.next_read)?;
        // After a power loss an older checkpoint counts, below which more frames may be lost. A second flipped
        // bit may damage the block that told of the first.
        self.flipped_bits += usize::from(matches!(ending, Ending::KilledAndCorrupted(_)));
        self.power_was_lost |= matches!(ending, Ending::PowerLost);
        if !self.power_was_lost && self.flipped_bits < 2 {
            prop_assert_eq!(self.counts.quarantined, corrupted as u64, "frames lost by a flipped bit are counted");
        }
        let ends = frame_ends(&mut self.lane, self.next_read);
        let positioned = read.into_iter().zip(ends).map(|(frame, end)| PositionedFrame { frame, end });
        self.model.backlog = positioned.collect();
        Ok(self)
    }
}

fn check_actions(config: &Config, actions: &[Action]) -> Result<(), TestCaseError> {
    let mut tested = LaneAndModel::open(config);
    for (n, action) in actions.iter().enumerate() {
        match *action {
            Action::Append(payload_len) => {
                tested.append(n.to_le_bytes().into_iter().cycle().take(payload_len).collect())?;
            }
            Action::RunSpiller(milliseconds) => {
                let lane = &mut tested.lane;
                lane.now += Duration::from_millis(milliseconds);
                lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
            }
            Action::Deliver(max_frames) => tested.deliver(max_frames, [n as u8; 64])?,
            Action::Restart(ending) => tested = tested.restart(ending)?,
        }
        tested.counts.check_sum(&tested.lane)?;
    }
    Ok(())
}

/// Reads `max_frames` frames from `next_read` on, or as many as there are, and advances `next_read` behind them.
fn read_frames(lane: &mut TestLane, next_read: &mut Position, max_frames: usize) -> Vec<ReadFrame> {
    let mut batch = Batch::default();
    let mut frames = Vec::new();
    while frames.len() < max_frames {
        lane.reader.read(*next_read, &mut batch).unwrap();
        for frame in batch.frames().take(max_frames - frames.len()) {
            *next_read = frame.next_position;
            frames.push(ReadFrame::of(&frame));
        }
        if batch.is_empty() {
            if batch.next_position() == *next_read {
                break;
            }
            *next_read = batch.next_position();
        }
    }
    frames
}

/// The end of every frame from `from` on.
fn frame_ends(lane: &mut TestLane, from: Position) -> Vec<Position> {
    let mut batch = Batch::default();
    let mut ends = Vec::new();
    let mut next = from;
    loop {
        lane.reader.read(next, &mut batch).unwrap();
        ends.extend(batch.frames().map(|frame| frame.next_position));
        if batch.next_position() == next {
            return ends;
        }
        next = batch.next_position();
    }
}

/// Does to the files what the ending does beyond the end of the process.
fn damage_files(dir: &Path, ending: Ending) {
    match ending {
        Ending::Clean | Ending::Killed => {}
        Ending::PowerLost => drop(std::fs::remove_file(ring_path(dir))),
        Ending::KilledAndCorrupted(choice) => {
            let segments = segments(dir);
            if segments.is_empty() {
                return;
            }
            let path = &segments[choice as usize % segments.len()];
            let mut bytes = std::fs::read(path).unwrap();
            let bits = bytes.len() as u64 * 8;
            let bit = (choice >> 16) % bits;
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            std::fs::write(path, bytes).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_behaves_like_a_list_of_frames(
        actions in proptest::collection::vec(action(), 1..400),
        always in any::<bool>(),
    ) {
        let spill = if always { SpillMode::Always } else { SpillMode::Auto };
        check_actions(&Config { spill, ..small_config() }, &actions)?;
    }
}
