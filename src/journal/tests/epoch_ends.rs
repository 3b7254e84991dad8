//! How epochs are stored to have ended, whatever fails; and the salvaged ring, whose frames are durable like those of a
//! segment.

use std::time::{Duration, Instant};

use super::{
    FRAME, LOG, PAYLOAD, TestLane, epoch_end, flip_bit, journal_dir,
    machine::{Machine, read_undelivered},
    new_temp_dir, offset_in_first_block, open_journal_on_disk, ring_path, segments, seq_range, small_config,
    watermark_behind,
};
use crate::{
    journal::{
        Batch, Config, EpochEnd, JournalParts, LaneCondition, Seq, Watermark, disk::Disk, verify_undelivered_frames,
    },
    size::Bytes,
};

fn ends_of(lane: &TestLane) -> Vec<EpochEnd> {
    lane.reader.status().epoch_ends
}

#[test]
fn a_start_that_dies_anywhere_still_stores_how_the_last_epoch_ended() {
    for stop in 0.. {
        let disk = Disk::default();
        let dir = new_temp_dir();
        let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
        let epoch = lane.writer.epoch();
        (0..7).for_each(|n| _ = lane.writer.append(&[n; 50]).unwrap());
        drop(lane);
        disk.faults.fail_from(stop, u64::MAX);
        let started = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).map(drop).is_ok();
        disk.faults.fail_from(u64::MAX, 0);
        let lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
        let end = ends_of(&lane).into_iter().find(|end| end.epoch == epoch);
        assert_eq!(end, Some(epoch_end(epoch, 7, false)), "stopped at operation {stop}");
        if started {
            assert!(stop > 5, "only {stop} operations");
            break;
        }
    }
}

#[test]
fn an_epoch_that_ended_whole_is_cut_once_a_power_loss_takes_frames_that_only_the_ring_held() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let first = lane.writer.epoch();
    (0..3).for_each(|n| _ = lane.writer.append(&[n; 50]).unwrap());
    lane.spill();
    (3..5).for_each(|n| _ = lane.writer.append(&[n; 50]).unwrap());
    drop(lane);
    let lane = TestLane::open(dir.path(), &small_config());
    let second = lane.writer.epoch();
    assert_eq!(ends_of(&lane), [epoch_end(first, 5, false)]);
    drop(lane);
    std::fs::remove_file(ring_path(dir.path())).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(ends_of(&lane), [epoch_end(first, 3, true), epoch_end(second, 0, true)]);
    assert_eq!(lane.read_all().len(), 3);
}

#[test]
fn a_lane_without_a_worker_stays_cut_however_often_it_is_opened() {
    let dir = new_temp_dir();
    let open = |workers| {
        let journal = open_journal_on_disk(&Disk::default(), dir.path(), &small_config(), workers).unwrap();
        (journal.recovery_reports()[1].condition, journal.into_parts())
    };
    let (_, JournalParts { mut writers, readers, mut spiller }) = open(2);
    let now = Instant::now();
    spiller.spill_due_lanes_and_save_due_checkpoints(now);
    writers[1].append(b"kept").unwrap();
    spiller.spill_due_lanes_and_save_due_checkpoints(now + Duration::from_secs(1));
    spiller.spill_due_lanes_and_save_due_checkpoints(now + Duration::from_secs(2));
    writers[1].append(b"lost").unwrap();
    drop((writers, readers, spiller));
    std::fs::remove_file(journal_dir(dir.path()).join("lane-0001.ring")).unwrap();
    let mut conditions = Vec::new();
    for _ in 0..3 {
        let (condition, parts) = open(1);
        conditions.push(condition);
        let ends = parts.readers[1].status().epoch_ends;
        let [end] = ends[..] else { panic!("{ends:?}") };
        assert!(end.cut && end.next_seq == Seq::new(1), "{end:?}");
    }
    assert_eq!(conditions, [LaneCondition::Cut, LaneCondition::Intact, LaneCondition::Intact]);
}

#[test]
fn a_watermark_behind_a_power_cut_is_clamped_to_the_first_missing_number() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let epoch = lane.writer.epoch();
    (0..80).for_each(|n| _ = lane.writer.append(&[n; PAYLOAD]).unwrap());
    drop(lane);
    // One of the ring's pages was never written back.
    let ring = ring_path(dir.path());
    let mut bytes = std::fs::read(&ring).unwrap();
    bytes[8192..12288].fill(0);
    std::fs::write(&ring, bytes).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let frames = lane.read_all();
    let first_gap = frames.iter().zip(0..).find(|(frame, n)| frame.seq != *n).map(|(_, n)| n).unwrap();
    assert_eq!(ends_of(&lane), [epoch_end(epoch, first_gap, true)]);
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    let delivered = watermark_behind(lane.reader.recovered_watermark(), &frames);
    assert_eq!(delivered.next, Seq::new(80));
    lane.reader.acknowledge(end, delivered, [0; 64]);
    let clamped = Watermark { epoch, next: Seq::new(first_gap) };
    assert_eq!(lane.reader.lower_watermark_to_cut_of_its_epoch(delivered), clamped);
}

#[test]
fn a_ring_salvaged_for_its_size_outlives_a_power_cut_wherever_rings_are() {
    for rings_on_tmpfs in [false, true] {
        let mut machine = Machine::new(rings_on_tmpfs, small_config());
        let (mut process, readers) = machine.start_process(1, Bytes::kib(16)).unwrap();
        (0..20).for_each(|n| _ = process.writers[0].append(&[n; PAYLOAD]).unwrap());
        drop((process, readers));
        let (process, mut readers) = machine.start_process(1, Bytes::kib(32)).unwrap();
        let durable = readers[0].durable_watermark();
        assert_eq!(durable.epoch, process.writers[0].epoch(), "the salvaged frames are durable");
        readers.clear();
        drop(process);
        // The oldest state of every page and name.
        machine.cut_power(&mut |_| 0);
        let (_process, mut readers) = machine.start_process(1, Bytes::kib(32)).unwrap();
        assert_eq!(read_undelivered(&mut readers[0]).len(), 20, "rings on tmpfs: {rings_on_tmpfs}");
    }
}

#[test]
fn frames_of_a_salvaged_ring_are_read_after_the_ring_directory_has_changed() {
    let (dir, rings) = (new_temp_dir(), new_temp_dir());
    let there = Config { ring_dir: Some(rings.path().to_owned()), ..small_config() };
    let mut lane = TestLane::open(dir.path(), &there);
    lane.writer.append(b"precious").unwrap();
    drop(lane);
    TestLane::open(dir.path(), &Config { ring_bytes: Bytes::kib(32), ..there }).close();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.read_all()[0].payload, b"precious");
}

#[test]
fn clicks_delivered_before_a_power_cut_do_not_count_as_damaged_whatever_checkpoint_is_left() {
    for is_ring_gone in [false, true] {
        let mut machine = Machine::new(is_ring_gone, small_config());
        let (mut process, mut readers) = machine.start_process(1, Bytes::kib(16)).unwrap();
        let writer = &mut process.writers[0];
        (0..20).for_each(|n| _ = writer.append(&[n; PAYLOAD]).unwrap());
        // Delivered before the spiller's next round, and before any checkpoint.
        let mut batch = Batch::default();
        let start = readers[0].first_undelivered();
        readers[0].read(start, &mut batch).unwrap();
        let end = batch.frames().nth(9).unwrap().next_position;
        let delivered = Watermark { epoch: writer.epoch(), next: Seq::new(10) };
        readers[0].acknowledge(end, delivered, [0; 64]);
        drop((process, readers));
        // Either nothing is left of the ring; or its page with the positions is the first one written, and a frame was
        // never written.
        if !is_ring_gone {
            let path = ring_path(machine.data_dir());
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[256..264].fill(0);
            bytes[4096..4096 + 12 * FRAME].fill(0);
            std::fs::write(&path, bytes).unwrap();
        }
        machine.cut_power(&mut |of| of - 1);
        let (process, readers) = machine.start_process(1, Bytes::kib(16)).unwrap();
        let report = &process.reports[0];
        let found = (report.condition, report.quarantined, report.damaged);
        assert_eq!(found, (LaneCondition::Cut, 0, 0), "ring gone: {is_ring_gone}");
        assert_eq!(report.recovered, if is_ring_gone { 0 } else { 8 });
        assert_eq!(readers[0].status().quarantined, []);
        assert!(verify_undelivered_frames(machine.data_dir(), LOG).unwrap().is_sound(), "`verify` judges alike");
    }
}

#[test]
fn clicks_that_a_segment_was_to_hold_count_as_damaged_even_after_a_power_cut() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let epoch = lane.writer.epoch();
    (0..20).for_each(|n| _ = lane.writer.append(&[n; PAYLOAD]).unwrap());
    lane.spill();
    drop(lane);
    // The first frame, and one in the middle.
    for frame in [0, 9] {
        flip_bit(&segments(dir.path())[0], offset_in_first_block(frame));
    }
    std::fs::remove_file(ring_path(dir.path())).unwrap();
    for condition in [LaneCondition::Cut, LaneCondition::Intact] {
        let lane = TestLane::open(dir.path(), &small_config());
        assert_eq!((lane.report.condition, lane.report.quarantined), (condition, 2));
        assert_eq!((lane.report.recovered, lane.report.damaged), (20, 2));
        let quarantined = [seq_range(epoch, 0, 1), seq_range(epoch, 9, 10)];
        assert_eq!(lane.reader.status().quarantined, quarantined);
        assert_eq!(verify_undelivered_frames(dir.path(), LOG).unwrap().missing, 2);
    }
}
