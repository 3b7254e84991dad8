//! Damaged and missing files: what is counted, quarantined and delivered, and what commands see from outside.

use std::path::{Path, PathBuf};

use super::{
    LOG, PAYLOAD, TestLane, capture_fault, flip_bit, journal_dir, new_temp_dir, offset_in_first_block, open_filled,
    ring_path, segments, small_config,
};
use crate::journal::{
    self, InspectError, Inspection, LaneCondition, VerifyReport, disk::Disk, dump_frames_and_count, segment,
};

fn inspect(dir: &Path) -> Result<Inspection, InspectError> {
    journal::inspect(dir, LOG)
}

fn verify_undelivered_frames(dir: &Path) -> Result<VerifyReport, InspectError> {
    journal::verify_undelivered_frames(dir, LOG)
}

#[test]
fn a_damaged_segment_is_counted_quarantined_and_blocks_nothing() {
    let dir = new_temp_dir();
    drop(open_filled(dir.path(), &small_config(), 100));
    let first = segments(dir.path())[0].clone();
    flip_bit(&first, offset_in_first_block(5));
    assert!(!verify_undelivered_frames(dir.path()).unwrap().is_sound());
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!((lane.report.recovered, lane.report.quarantined, lane.report.damaged), (100, 1, 1));
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert_eq!(frames.len(), 99);
    lane.acknowledge(end, &frames);
    lane.spill();
    assert_eq!(segments(dir.path()).len(), 0);
    let kept = journal_dir(dir.path()).join("quarantine").join(first.file_name().unwrap());
    assert!(kept.exists(), "the evidence is kept");
    lane.close();
    let report = verify_undelivered_frames(dir.path()).unwrap();
    assert!(report.is_sound() && report.quarantined == 1, "{report}");
}

/// Flips a bit in the sixth frame of the first segment, or in the last frame of the last. Returns the segment.
fn damage_segment(dir: &Path, tail: bool) -> PathBuf {
    let segments = segments(dir);
    let path = if tail { segments[segments.len() - 1].clone() } else { segments[0].clone() };
    let at = if tail { path.metadata().unwrap().len() as usize - 20 } else { offset_in_first_block(5) };
    flip_bit(&path, at);
    path
}

#[test]
fn a_frame_damaged_in_a_segment_is_copied_from_the_ring_and_the_evidence_is_kept() {
    for (tail, clean) in [(false, false), (true, false), (false, true), (true, true)] {
        let case = format!("tail: {tail}, clean: {clean}");
        let dir = new_temp_dir();
        let mut lane = open_filled(dir.path(), &small_config(), 60);
        let expected = lane.read_all();
        if clean {
            lane.close()
        } else {
            drop(lane)
        }
        let damaged = damage_segment(dir.path(), tail);
        let report = verify_undelivered_frames(dir.path()).unwrap();
        assert_eq!((report.undelivered, report.missing, report.damaged), (60, 0, 1), "{case}: {report}");
        assert_eq!(inspect(dir.path()).unwrap().lanes[0].undelivered, 60, "{case}");
        let mut lane = TestLane::open(dir.path(), &small_config());
        assert_eq!(matches!(lane.report.condition, LaneCondition::Clean { .. }), clean, "{case}");
        assert_eq!((lane.report.recovered, lane.report.quarantined), (60, 0), "{case}");
        assert_eq!(lane.report.damaged, 1, "{case}");
        assert_eq!(lane.read_all(), expected, "{case}");
        // The copy stays when the worker overwrites the ring.
        for _ in 0..100 {
            if !lane.writer.try_make_room_for(PAYLOAD) {
                lane.spill();
            }
            lane.writer.append(&[7; PAYLOAD]).unwrap();
        }
        let (frames, end) = lane.read_from(lane.reader.first_undelivered());
        assert_eq!((&frames[..60], frames.len()), (&expected[..], 160), "{case}");
        lane.acknowledge(end, &frames);
        lane.spill();
        assert_eq!(segments(dir.path()).len(), 0, "{case}");
        let kept = journal_dir(dir.path()).join("quarantine").join(damaged.file_name().unwrap());
        assert!(kept.exists(), "{case}");
    }
}

#[test]
fn the_frames_of_a_removed_segment_are_copied_from_the_ring() {
    let dir = new_temp_dir();
    let mut lane = open_filled(dir.path(), &small_config(), 60);
    let expected = lane.read_all();
    drop(lane);
    segments(dir.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!((lane.report.quarantined, lane.read_all()), (0, expected));
    drop(lane);
    // Without the ring, the copies alone are left.
    std::fs::remove_file(ring_path(dir.path())).unwrap();
    assert_eq!(TestLane::open(dir.path(), &small_config()).read_all().len(), 60);
}

#[test]
fn a_disk_that_refuses_the_copies_from_the_ring_blocks_no_start() {
    let dir = new_temp_dir();
    let disk = Disk::default();
    drop(open_filled(dir.path(), &small_config(), 60));
    damage_segment(dir.path(), false);
    let before = disk.faults.operation_count();
    drop(TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap());
    let mut refused = 0;
    for stop in 0..disk.faults.operation_count() - before {
        let (dir, disk) = (new_temp_dir(), Disk::default());
        drop(open_filled(dir.path(), &small_config(), 60));
        damage_segment(dir.path(), false);
        disk.faults.fail_from(stop, 1);
        let Ok(mut lane) = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()) else { continue };
        let quarantined = lane.report.quarantined;
        assert_eq!(lane.read_all().len() as u64 + quarantined, 60, "stopped at operation {stop}");
        refused += quarantined;
    }
    assert!(refused >= 3, "the copies are refused with the file, its bytes and its sync: {refused}");
}

#[test]
fn damage_that_comes_after_the_start_is_counted_once_by_the_reader() {
    let dir = new_temp_dir();
    let mut lane = open_filled(dir.path(), &small_config(), 200);
    let first = segments(dir.path())[0].clone();
    flip_bit(&first, offset_in_first_block(5));
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert_eq!(frames.len(), 199);
    let shared = lane.spiller.segment_log.lanes[0].shared.clone();
    assert_eq!(shared.lock_progress().damaged_since.total_count(), 1);
    // Read again, the number is counted once.
    lane.read_from(lane.reader.first_undelivered());
    assert_eq!(shared.lock_progress().damaged_since.total_count(), 1);
    lane.acknowledge(end, &frames);
    lane.spill();
    assert!(journal_dir(dir.path()).join("quarantine").join(first.file_name().unwrap()).exists());
}

#[test]
fn a_segment_of_a_newer_version_is_quarantined_whole() {
    let dir = new_temp_dir();
    drop(open_filled(dir.path(), &small_config(), 100));
    let first = segments(dir.path())[0].clone();
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[8] = segment::VERSION as u8 + 1;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&first, bytes).unwrap();
    let (mut lane, fault) = capture_fault("journal_file_put_aside", || TestLane::open(dir.path(), &small_config()));
    assert_eq!(fault, ["yes", "journal-damaged"]);
    assert_eq!(lane.report.quarantined_files, 1);
    assert_eq!(lane.report.quarantined, 7, "the frames that the ring does not hold any more");
    assert!(journal_dir(dir.path()).join("quarantine").join(first.file_name().unwrap()).exists());
    assert!(!lane.read_all().is_empty());
}

#[test]
fn an_unreadable_ring_is_quarantined() {
    let dir = new_temp_dir();
    drop(open_filled(dir.path(), &small_config(), 30));
    flip_bit(&ring_path(dir.path()), 20);
    let (mut lane, fault) = capture_fault("journal_file_put_aside", || TestLane::open(dir.path(), &small_config()));
    assert_eq!(fault, ["yes", "journal-damaged"]);
    assert_eq!(lane.report.condition, LaneCondition::Cut);
    assert_eq!(lane.read_all().len(), 30, "every frame was spilled");
    assert!(journal_dir(dir.path()).join("quarantine/lane-0000.ring").exists());
}

#[test]
fn without_a_checkpoint_everything_is_read_again_and_a_lost_directory_id_is_found_again() {
    let dir = new_temp_dir();
    drop(open_filled(dir.path(), &small_config(), 30));
    std::fs::remove_file(journal_dir(dir.path()).join("checkpoints")).unwrap();
    std::fs::remove_file(journal_dir(dir.path()).join("directory")).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!((lane.report.condition, lane.read_all().len()), (LaneCondition::Intact, 30));
    drop(lane);
    for slot in [20, 4096 + 20] {
        flip_bit(&journal_dir(dir.path()).join("checkpoints"), slot);
    }
    flip_bit(&journal_dir(dir.path()).join("directory"), 20);
    let (mut lane, fault) = capture_fault("directory_id_damaged", || TestLane::open(dir.path(), &small_config()));
    assert_eq!(fault, ["none", "journal-damaged"]);
    assert_eq!(lane.read_all().len(), 30);
}

#[test]
fn inspect_verify_and_dump_see_every_frame_beside_a_running_process() {
    let dir = new_temp_dir();
    let mut lane = open_filled(dir.path(), &small_config(), 150);
    for n in 0..20u8 {
        lane.writer.append(&[n; 40]).unwrap();
    }
    let report = verify_undelivered_frames(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.undelivered, 170);
    let view = inspect(dir.path()).unwrap();
    assert_eq!((view.lanes.len(), view.lanes[0].undelivered), (1, 170));
    assert_eq!(view.lanes[0].epoch, lane.writer.epoch());
    let text = view.to_string();
    assert!(
        text.starts_with("log clicks: ") && text.contains("170 undelivered") && text.contains("  delivered to epoch"),
        "{text}"
    );
    let mut dumped = Vec::new();
    let count = dump_frames_and_count(&dir.path().join("journal"), LOG, false, |lane, frame| {
        dumped.push((lane, frame.payload.to_vec()));
        Ok(())
    });
    assert_eq!(count.unwrap(), 170);
    let read: Vec<_> = lane.read_all().into_iter().map(|frame| (0, frame.payload)).collect();
    assert_eq!(dumped, read);
    assert!(inspect(&dir.path().join("nowhere")).unwrap_err().to_string().contains("nowhere"));
    // Delivered frames are only in the dump of all.
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    lane.acknowledge(end, &frames);
    assert_eq!(dump_frames_and_count(dir.path(), LOG, false, |_, _| Ok(())).unwrap(), 0);
    assert!(dump_frames_and_count(dir.path(), LOG, true, |_, _| Ok(())).unwrap() >= 170);
    assert!(verify_undelivered_frames(dir.path()).unwrap().is_sound());
}
