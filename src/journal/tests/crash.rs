//! Crashes at every operation on the disk: the tests count the operations once, then stop at each and open the lane
//! again.

use std::{collections::BTreeSet, path::Path, time::Duration};

use super::{ReadFrame, TestLane, new_temp_dir, ring_path, small_config, watermark_behind};
use crate::journal::{Config, Position, disk::Disk};

/// What a client and a sink know at the moment of the crash.
#[derive(Default)]
struct KnownState {
    appended: Vec<AppendedFrame>,
    acknowledged: Position,
    /// Everything below is delivered or synced.
    durable: Position,
}

struct AppendedFrame {
    frame: ReadFrame,
    end: Position,
}

/// Does everything with a lane that can be done, three times over: append, spill, close segments, deliver, write
/// checkpoints, remove segments, close, recover. Ends early if the lane cannot be opened.
fn use_lane(disk: &Disk, dir: &Path, config: &Config, known: &mut KnownState) {
    for round in 0..3u8 {
        let Ok(mut lane) = TestLane::open_and_recover_on_disk(disk, dir, config) else { return };
        for step in 0..4u8 {
            for n in 0..25u8 {
                if !lane.writer.try_make_room_for(106) {
                    run_spiller(&mut lane, known, 200);
                }
                let payload = vec![round * 80 + step * 20 + n; 106];
                if let Ok(seq) = lane.writer.append(&payload) {
                    let epoch = lane.writer.epoch().get();
                    let frame = ReadFrame { epoch, seq: seq.get(), payload };
                    known.appended.push(AppendedFrame { frame, end: lane.reader.head() });
                }
            }
            run_spiller(&mut lane, known, 200);
            if step % 2 == 1 {
                deliver(&mut lane, known);
                run_spiller(&mut lane, known, 2000);
            }
        }
        match round {
            1 => lane.close(),
            _ => drop(lane),
        }
    }
}

fn run_spiller(lane: &mut TestLane, known: &mut KnownState, milliseconds: u64) {
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    lane.now += Duration::from_millis(milliseconds);
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    known.durable = known.durable.max(lane.durable_position());
}

fn deliver(lane: &mut TestLane, known: &mut KnownState) {
    let (frames, end) = lane.read_from(lane.reader.first_undelivered().max(known.acknowledged));
    let watermark = watermark_behind(lane.reader.recovered_watermark(), &frames);
    lane.reader.acknowledge(end, watermark, [1; 64]);
    known.acknowledged = end;
    known.durable = known.durable.max(lane.durable_position());
}

/// Opens the lane on a working disk: every frame that `must_exist` by its end is there once, and no frame that was
/// never appended.
fn assert_frames_exist(
    dir: &Path,
    config: &Config,
    must_exist: impl Fn(Position) -> bool,
    known: &KnownState,
    crash: &str,
) {
    let opened = TestLane::open_and_recover_on_disk(&Disk::default(), dir, config);
    let mut lane = opened.unwrap_or_else(|error| panic!("{crash}: {error}"));
    let read = lane.read_all();
    let found: BTreeSet<&ReadFrame> = read.iter().collect();
    assert_eq!(found.len(), read.len(), "{crash}: a frame is read twice");
    for AppendedFrame { frame, end } in &known.appended {
        let key = (frame.epoch, frame.seq);
        assert!(!must_exist(*end) || found.contains(frame), "{crash}: {key:?} is missing");
    }
    let all: BTreeSet<&ReadFrame> = known.appended.iter().map(|appended| &appended.frame).collect();
    assert!(found.is_subset(&all), "{crash}: a frame was never appended");
    assert_eq!(lane.report.quarantined, 0, "{crash}");
    lane.writer.append(b"next").unwrap();
    assert_eq!(lane.read_all().len(), read.len() + 1, "{crash}");
}

/// The fewest disk operations of `use_lane`: 186 were counted on 2026-11-30, 189 with the rings elsewhere. A change may
/// add some. With fewer, these tests would stop at fewer.
const MIN_OPERATIONS: u64 = 180;

fn count_operations(config: &Config) -> u64 {
    let disk = Disk::default();
    let dir = new_temp_dir();
    let mut known = KnownState::default();
    use_lane(&disk, dir.path(), config, &mut known);
    assert_eq!(known.appended.len(), 300);
    let operations = disk.faults.operation_count();
    println!("{operations} disk operations");
    assert!(operations >= MIN_OPERATIONS, "only {operations} disk operations");
    operations
}

#[test]
fn a_process_killed_at_any_disk_operation_loses_nothing() {
    let config = small_config();
    for stop in 0..count_operations(&config) {
        let disk = Disk::default();
        let dir = new_temp_dir();
        let mut known = KnownState::default();
        disk.faults.fail_from(stop, u64::MAX);
        use_lane(&disk, dir.path(), &config, &mut known);
        let is_undelivered = |end| end > known.acknowledged;
        assert_frames_exist(dir.path(), &config, is_undelivered, &known, &format!("killed at operation {stop}"));
    }
}

#[test]
fn a_machine_that_loses_power_at_any_disk_operation_keeps_the_synced_frames() {
    for has_ring_dir in [false, true] {
        let rings = new_temp_dir();
        let config = Config { ring_dir: has_ring_dir.then(|| rings.path().to_owned()), ..small_config() };
        for stop in 0..count_operations(&config) {
            remove_rings(rings.path());
            let disk = Disk::default();
            let dir = new_temp_dir();
            let mut known = KnownState::default();
            disk.faults.fail_from(stop, u64::MAX);
            use_lane(&disk, dir.path(), &config, &mut known);
            disk.faults.undo_unsynced(stop % 2 == 0);
            // As if the rings were on tmpfs.
            remove_rings(rings.path());
            let _ = std::fs::remove_file(ring_path(dir.path()));
            let must_exist = |end| end > known.acknowledged && end <= known.durable;
            assert_frames_exist(dir.path(), &config, must_exist, &known, &format!("power lost at operation {stop}"));
        }
    }
}

#[test]
fn a_disk_that_fails_for_a_while_costs_nothing_and_the_same_frames_are_spilled_again() {
    let config = small_config();
    for stop in (0..count_operations(&config)).step_by(3) {
        for failures in [1, 7] {
            let disk = Disk::default();
            let dir = new_temp_dir();
            let mut known = KnownState::default();
            disk.faults.fail_from(stop, failures);
            use_lane(&disk, dir.path(), &config, &mut known);
            let is_undelivered = |end| end > known.acknowledged;
            let crash = format!("{failures} failures from operation {stop}");
            assert_frames_exist(dir.path(), &config, is_undelivered, &known, &crash);
        }
    }
}

/// Removes the directories of the rings.
fn remove_rings(ring_root: &Path) {
    for entry in std::fs::read_dir(ring_root).unwrap().flatten() {
        let _ = std::fs::remove_dir_all(entry.path());
    }
}
