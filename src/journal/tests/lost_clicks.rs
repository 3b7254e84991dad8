//! Bytes that a segment loses while the lane runs, and pages that cannot be read: what is lost is accounted by number,
//! and what the ring still holds is delivered.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    FRAME, LOG, PAYLOAD, ReadFrame, TestLane, capture_fault, epoch_end, flip_bit, journal_dir, new_temp_dir,
    open_filled, open_journal_on_disk, read_from, segments, seq_range, small_config,
};
use crate::journal::{
    Batch, LaneCondition, Position, Seq, SeqRange, Watermark,
    disk::Disk,
    frame::checksum_seed,
    inspect::{dump_frames_on_disk_and_count, inspect_on_disk, verify_undelivered_frames_on_disk},
    segment::SEGMENT_HEADER,
    units::LaneId,
    walk::{WalkItem, walk_items_in_file_range},
};

const COUNT: u8 = 200;

/// A frame in a segment.
struct Place {
    path: PathBuf,
    offset: u64,
}

/// Where the frame of this number lies.
fn find_frame(dir: &Path, lane: &TestLane, seq: u64) -> Place {
    let lane_id = LaneId { directory_id: lane.reader.directory_id(), lane: 0 };
    let mut found = None;
    for path in segments(dir) {
        let file = File::open(&path).unwrap();
        let (start, end) = (SEGMENT_HEADER as u64, file.metadata().unwrap().len());
        walk_items_in_file_range(
            &Disk::default(),
            &file,
            start,
            end,
            lane_id,
            |_, _| true,
            |offset, item| {
                if let WalkItem::Frame(frame) = item
                    && frame.seq.get() == seq
                {
                    found = Some(Place { path: path.clone(), offset });
                }
            },
        )
        .unwrap();
    }
    found.unwrap()
}

fn cut(path: &Path, len: u64) {
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// A lane of [`COUNT`] frames in segments, of which the ring holds none any more.
fn open_filled_with_reclaimed_ring(disk: &Disk, dir: &Path) -> TestLane {
    let mut lane = TestLane::open_and_recover_on_disk(disk, dir, &small_config()).unwrap();
    for n in 0..COUNT {
        if !lane.writer.try_make_room_for(PAYLOAD) {
            lane.spill();
        }
        lane.writer.append(&[n; PAYLOAD]).unwrap();
    }
    lane.spill();
    let ring_bytes = usize::try_from(lane.writer.ring_bytes()).unwrap();
    // There is no room for more than the ring holds, but all that is durable is reclaimed for it.
    assert!(!lane.writer.try_make_room_for(ring_bytes));
    assert_eq!(lane.reader.ring_lowest_position(), lane.reader.head());
    lane
}

/// Asserts that each number was either read or is stated as quarantined. Returns the quarantined ranges.
fn assert_every_number_read_or_quarantined(lane: &TestLane, frames: &[ReadFrame]) -> Vec<SeqRange> {
    let quarantined = lane.reader.status().quarantined;
    let mut seqs: Vec<u64> = frames.iter().map(|frame| frame.seq).collect();
    seqs.extend(quarantined.iter().flat_map(|range| range.first.get()..range.end.get()));
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq(0..u64::from(COUNT)), "{seqs:?}");
    quarantined
}

fn count_numbers(ranges: &[SeqRange]) -> u64 {
    ranges.iter().map(|range| range.end - range.first).sum()
}

/// Asserts what is the same before and after a restart: the numbers, `verify`, and that the file is kept.
fn assert_loss_is_told_before_and_after_a_restart(dir: &Path, mut lane: TestLane, faulty: &Path, case: &str) {
    let start = lane.reader.first_undelivered();
    let ((frames, end), fault) = capture_fault("clicks_quarantined", || lane.read_from(start));
    assert_eq!(fault, ["yes", "journal-damaged"], "{case}");
    let quarantined = assert_every_number_read_or_quarantined(&lane, &frames);
    let count = count_numbers(&quarantined);
    assert!(count > 0, "{case}");
    // Read again, nothing is told or counted again.
    let again = lane.read_from(start).0;
    assert_eq!((again, lane.reader.status().quarantined), (frames.clone(), quarantined.clone()), "{case}");
    let report = verify_undelivered_frames_on_disk(&Disk::default(), dir, LOG).unwrap();
    assert_eq!((report.undelivered, report.missing), (frames.len() as u64, count), "{case}: {report}");
    drop(lane);
    let mut lane = TestLane::open(dir, &small_config());
    assert_eq!((lane.report.recovered, lane.report.quarantined), (u64::from(COUNT), count), "{case}");
    assert_eq!((lane.read_all(), &lane.reader.status().quarantined), (frames.clone(), &quarantined), "{case}");
    lane.acknowledge(end, &frames);
    lane.spill();
    assert_eq!(segments(dir).len(), 0, "{case}");
    let kept = journal_dir(dir).join("quarantine").join(faulty.file_name().unwrap());
    // An empty file is no evidence to a start: each start that is killed may leave one.
    assert_eq!(kept.exists(), !case.contains("removed") && !case.contains("nothing"), "{case}");
    lane.close();
    let report = verify_undelivered_frames_on_disk(&Disk::default(), dir, LOG).unwrap();
    assert!(report.is_sound(), "{case}: {report}");
}

#[test]
fn what_the_rest_of_a_batch_lacks_when_it_is_read_once_more_is_quarantined() {
    let dir = new_temp_dir();
    let mut lane = open_filled_with_reclaimed_ring(&Disk::default(), dir.path());
    let (start, epoch) = (lane.reader.first_undelivered(), lane.writer.epoch());
    let mut batch = Batch::default();
    lane.reader.read(start, &mut batch).unwrap();
    let used_up_to = batch.frames().find(|frame| frame.seq.get() == 3).unwrap().position;
    assert!(batch.frames().count() > 6);
    lane.reader.continue_account_at(used_up_to, Watermark { epoch, next: Seq::new(3) });
    for lost in [1, 3, 5] {
        let place = find_frame(dir.path(), &lane, lost);
        flip_bit(&place.path, place.offset as usize + 50);
    }
    // Who sends a click again knows which it was: number 1 is delivered, and no loss.
    lane.reader.read_again(start, &mut batch).unwrap();
    assert_eq!(lane.reader.status().quarantined, []);
    lane.read_from(used_up_to);
    let lost: Vec<_> =
        lane.reader.status().quarantined.iter().map(|range| range.first.get()..range.end.get()).collect();
    assert_eq!(lost, [3..4, 5..6]);
}

#[test]
fn numbers_that_a_process_has_passed_over_are_stated_by_the_next_one() {
    let dir = new_temp_dir();
    let mut lane = open_filled_with_reclaimed_ring(&Disk::default(), dir.path());
    let place = find_frame(dir.path(), &lane, 40);
    flip_bit(&place.path, place.offset as usize + 50);
    let start = lane.reader.first_undelivered();
    let (frames, end) = lane.read_from(start);
    lane.acknowledge(end, &frames);
    let quarantined = lane.reader.status().quarantined;
    assert_eq!(count_numbers(&quarantined), 1);
    // The process dies before a statement is delivered, and the checkpoint is behind the number.
    lane.spill();
    drop(lane);
    for _ in 0..2 {
        let lane = TestLane::open(dir.path(), &small_config());
        assert_eq!((lane.report.recovered, lane.report.quarantined), (0, 0));
        assert_eq!(lane.reader.status().quarantined, quarantined);
    }
}

#[test]
fn a_segment_cut_or_removed_while_the_lane_runs_costs_its_numbers_and_they_are_told_at_once() {
    for seq in [0, 30, u64::from(COUNT) - 10] {
        for case in ["cut to nothing", "cut at a frame's boundary", "cut within a frame", "removed"] {
            let dir = new_temp_dir();
            let lane = open_filled_with_reclaimed_ring(&Disk::default(), dir.path());
            let Place { path, offset } = find_frame(dir.path(), &lane, seq);
            match case {
                "cut to nothing" => cut(&path, 0),
                "cut at a frame's boundary" => cut(&path, offset),
                "cut within a frame" => cut(&path, offset + 20),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            let case = format!("frame {seq}: {case}");
            if seq > 100 {
                // Nothing follows these frames, and a start finds them again in the ring, in bytes that may be
                // overwritten at any moment while the lane runs.
                let mut lane = lane;
                let frames = lane.read_all();
                assert!(!assert_every_number_read_or_quarantined(&lane, &frames).is_empty(), "{case}");
                drop(lane);
                assert_eq!(TestLane::open(dir.path(), &small_config()).read_all().len(), usize::from(COUNT), "{case}");
                continue;
            }
            assert_loss_is_told_before_and_after_a_restart(dir.path(), lane, &path, &case);
        }
    }
}

#[test]
fn what_a_segment_has_lost_is_read_from_the_ring_as_far_as_the_ring_holds_it() {
    for removed in [false, true] {
        let dir = new_temp_dir();
        let mut lane = open_filled(dir.path(), &small_config(), 100);
        let ring_from = lane.reader.ring_lowest_position();
        let first_in_ring = ring_from.get() / FRAME as u64;
        assert!((90..98).contains(&first_in_ring), "{first_in_ring}");
        for seq in [first_in_ring - 2, first_in_ring - 1, first_in_ring, first_in_ring + 1] {
            let Place { path, offset } = find_frame(dir.path(), &lane, seq);
            match removed {
                true => std::fs::remove_file(path).unwrap(),
                false => flip_bit(&path, offset as usize + 100),
            }
            if removed {
                break;
            }
        }
        let read: Vec<u64> = lane.read_all().iter().map(|frame| frame.seq).collect();
        let lost: Vec<u64> = (0..100).filter(|seq| !read.contains(seq)).collect();
        if removed {
            assert!(!lost.is_empty() && lost.iter().all(|seq| *seq < first_in_ring), "{lost:?}");
        } else {
            assert_eq!(lost, [first_in_ring - 2, first_in_ring - 1]);
        }
    }
}

#[test]
fn while_the_directory_of_the_log_is_away_reading_is_tried_again_and_nothing_is_given_up() {
    let dir = new_temp_dir();
    let mut lane = open_filled_with_reclaimed_ring(&Disk::default(), dir.path());
    let (log_dir, away) = (journal_dir(dir.path()), dir.path().join("away"));
    std::fs::rename(&log_dir, &away).unwrap();
    let mut batch = Batch::default();
    for _ in 0..5 {
        assert!(lane.reader.read(Position::ZERO, &mut batch).is_err());
    }
    std::fs::rename(&away, &log_dir).unwrap();
    assert_eq!(lane.read_all().len(), usize::from(COUNT));
    assert_eq!(lane.reader.status().quarantined, []);
}

#[test]
fn a_lane_without_a_worker_tells_the_tail_that_it_has_lost() {
    let dir = new_temp_dir();
    let lane = open_filled(dir.path(), &small_config(), 100);
    let epoch = lane.writer.epoch();
    drop(lane);
    std::fs::remove_file(super::ring_path(dir.path())).unwrap();
    let mut parts = open_journal_on_disk(&Disk::default(), dir.path(), &small_config(), 0).unwrap().into_parts();
    let reader = &mut parts.readers[0];
    // The start has found all frames; then the last file goes.
    std::fs::remove_file(segments(dir.path()).last().unwrap()).unwrap();
    let (frames, _) = read_from(reader, reader.first_undelivered());
    let read = frames.len() as u64;
    assert!(read < 100);
    assert_eq!(reader.status().quarantined, [seq_range(epoch, read, 100)]);
}

#[test]
fn short_reads_change_nothing() {
    let (dir, disk) = (new_temp_dir(), Disk::default());
    disk.faults.limit_reads_to(777);
    let mut lane = open_filled_with_reclaimed_ring(&disk, dir.path());
    let frames = lane.read_all();
    assert_eq!(frames.len(), usize::from(COUNT));
    drop(lane);
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
    assert_eq!((lane.report.condition, lane.report.quarantined), (LaneCondition::Intact, 0));
    assert_eq!(lane.read_all(), frames);
    assert!(verify_undelivered_frames_on_disk(&disk, dir.path(), LOG).unwrap().is_sound());
}

/// Reads every frame, trying again after an error. Returns how many errors there were too.
fn read_all_with_retries(lane: &mut TestLane) -> (Vec<ReadFrame>, Position, u32) {
    let (mut batch, mut frames, mut errors) = (Batch::default(), Vec::new(), 0);
    let mut next = lane.reader.first_undelivered();
    loop {
        match lane.reader.read(next, &mut batch) {
            Ok(()) if batch.next_position() == next => return (frames, next, errors),
            Ok(()) => {
                frames.extend(batch.frames().map(|frame| ReadFrame::of(&frame)));
                next = batch.next_position();
            }
            Err(_) => errors += 1,
        }
        assert!(errors < 10, "reading stops");
    }
}

#[test]
fn a_page_that_cannot_be_read_costs_the_clicks_in_it_while_running_and_refuses_no_start_and_no_command() {
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let config = crate::journal::Config { segment_bytes: crate::size::Bytes::kib(16), ..small_config() };
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &config).unwrap();
    for n in 0..COUNT {
        if !lane.writer.try_make_room_for(PAYLOAD) {
            lane.spill();
        }
        lane.writer.append(&[n; PAYLOAD]).unwrap();
    }
    lane.spill();
    let first = segments(dir.path())[0].clone();
    assert!(first.metadata().unwrap().len() > 12 << 10);
    disk.faults.make_unreadable(&first, 5000..5001);
    let (frames, end, errors) = read_all_with_retries(&mut lane);
    assert_eq!(errors, 2, "the medium gets a chance to come back");
    let quarantined = assert_every_number_read_or_quarantined(&lane, &frames);
    assert!((23..=26).contains(&count_numbers(&quarantined)), "{quarantined:?}");
    // The commands and the start see the same.
    let report = verify_undelivered_frames_on_disk(&disk, dir.path(), LOG).unwrap();
    assert!(!report.is_sound(), "{report}");
    assert_eq!((report.undelivered, report.missing), (frames.len() as u64, count_numbers(&quarantined)), "{report}");
    assert_eq!(inspect_on_disk(&disk, dir.path(), LOG).unwrap().lanes[0].undelivered, frames.len() as u64);
    let dumped = dump_frames_on_disk_and_count(&disk, dir.path(), LOG, false, |_, _| Ok(())).unwrap();
    assert_eq!(dumped, frames.len() as u64);
    drop(lane);
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &config).unwrap();
    assert_eq!(lane.report.quarantined, count_numbers(&quarantined));
    assert_eq!((lane.reader.status().quarantined, read_all_with_retries(&mut lane).0), (quarantined, frames.clone()));
    lane.acknowledge(end, &frames);
    lane.spill();
    assert!(journal_dir(dir.path()).join("quarantine").join(first.file_name().unwrap()).exists());
}

#[test]
fn bytes_that_the_medium_gives_at_the_second_attempt_are_not_lost() {
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let mut lane = open_filled_with_reclaimed_ring(&disk, dir.path());
    disk.faults.make_unreadable(&segments(dir.path())[0], 0..4096);
    let mut batch = Batch::default();
    assert!(lane.reader.read(Position::ZERO, &mut batch).is_err());
    disk.faults.make_all_readable();
    assert_eq!(lane.read_all().len(), usize::from(COUNT));
    assert_eq!(lane.reader.status().quarantined, []);
}

#[test]
fn no_unreadable_page_of_any_file_refuses_a_start_and_only_what_lies_in_it_is_lost() {
    let files = ["directory", "checkpoints", "lane-0000/history", "lane-0000.ring"];
    for (name, pages) in files.iter().flat_map(|name| [(*name, 0..1), (*name, 4096..4097), (*name, 8192..8193)]) {
        let (dir, disk) = (new_temp_dir(), Disk::default());
        let lane = open_filled(dir.path(), &small_config(), 100);
        let epoch = lane.writer.epoch();
        drop(lane);
        let path = journal_dir(dir.path()).join(name);
        disk.faults.make_unreadable(&path, pages.clone());
        let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config())
            .unwrap_or_else(|error| panic!("{name} {pages:?}: {error}"));
        assert_eq!(lane.read_all().len(), 100, "{name} {pages:?}: all frames lie in segments");
        let ends = lane.reader.status().epoch_ends;
        // Here the page stays unreadable, though the start has written it; a real medium gives what was written last.
        let is_end_lost = name.ends_with("history") && pages.start == 0;
        assert!(is_end_lost || ends.iter().any(|end| end.epoch == epoch), "{name} {pages:?}: {ends:?}");
        assert!(verify_undelivered_frames_on_disk(&disk, dir.path(), LOG).is_ok(), "{name} {pages:?}");
    }
}

#[test]
fn a_frame_of_a_newer_version_keeps_its_salvaged_ring_when_everything_else_is_delivered() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    (0..10u8).for_each(|n| assert!(lane.writer.append(&[n; PAYLOAD]).is_ok()));
    let epoch = lane.writer.epoch();
    let seed = checksum_seed(LaneId { directory_id: lane.reader.directory_id(), lane: 0 });
    drop(lane);
    let ring = super::ring_path(dir.path());
    let mut bytes = std::fs::read(&ring).unwrap();
    let frame = &mut bytes[4096 + 9 * FRAME..][..FRAME];
    frame[32] += 1;
    let crc = crc32c::crc32c_append(seed, &frame[4..48 + PAYLOAD]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&ring, bytes).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Cut);
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert_eq!(frames.len(), 9);
    assert!(lane.reader.status().epoch_ends.contains(&epoch_end(epoch, 9, true)));
    lane.acknowledge(end, &frames);
    lane.spill();
    let kept = std::fs::read_dir(journal_dir(dir.path()).join("quarantine")).unwrap().map(|file| file.unwrap().path());
    let kept: Vec<PathBuf> = kept.collect();
    assert!(kept.len() == 1 && kept[0].to_str().unwrap().contains(".salvage"), "{kept:?}");
}

#[test]
fn a_quarantined_frame_is_kept_in_a_file_counted_once_and_stated() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    (0..4u8).for_each(|n| assert!(lane.writer.append(&[n; PAYLOAD]).is_ok()));
    let epoch = lane.writer.epoch();
    let mut batch = Batch::default();
    lane.reader.read(Position::ZERO, &mut batch).unwrap();
    let frames: Vec<_> = batch.frames().collect();
    let ((), fault) =
        capture_fault("clicks_quarantined", || lane.reader.quarantine_and_keep_malformed_frame(&frames[1]));
    assert_eq!(fault, ["yes", "journal-damaged"]);
    lane.reader.quarantine_and_keep_malformed_frame(&frames[2]);
    assert_eq!(lane.reader.status().quarantined, [seq_range(epoch, 1, 3)]);
    let kept = std::fs::read(journal_dir(dir.path()).join("quarantine/lane-0000.malformed")).unwrap();
    assert_eq!(kept.len(), 2 * FRAME);
    assert!(kept[48..48 + PAYLOAD] == [1; PAYLOAD] && kept[FRAME + 48..FRAME + 48 + PAYLOAD] == [2; PAYLOAD]);
    assert_eq!(lane.spiller.segment_log.lanes[0].shared.lock_progress().damaged_since.total_count(), 2);
}
