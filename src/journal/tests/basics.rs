//! Appending, reading, stopping and starting again.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    FRAME, PAYLOAD, TestLane, epoch_end, journal_dir, new_temp_dir, open_journal_on_disk, read_from, ring_path,
    segments, small_config, watermark_behind,
};
use crate::journal::{
    Config, DirectoryLocks, LaneCondition, LaneFull, OnFull, OpenError, Seq, SpillMode, disk::Disk, frame::frame_len,
    ring_file::RingHeader,
};

#[test]
fn appended_frames_are_read_in_order_from_the_ring() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Fresh);
    assert_eq!(lane.writer.append(b"a"), Ok(Seq::ZERO));
    assert_eq!(lane.writer.append(b""), Ok(Seq::new(1)));
    assert_eq!(lane.writer.append(&[7; PAYLOAD]), Ok(Seq::new(2)));
    let frames = lane.read_all();
    let short: Vec<_> = frames.iter().map(|frame| (frame.seq, frame.payload.len())).collect();
    assert_eq!(short, [(0, 1), (1, 0), (2, PAYLOAD)]);
    assert!(frames.iter().all(|frame| frame.epoch == lane.writer.epoch().get()));
}

#[test]
fn a_full_ring_refuses_frames_until_the_sink_or_the_disk_makes_room() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let mut appended = 0;
    while lane.writer.append(&[1; PAYLOAD]).is_ok() {
        appended += 1;
    }
    assert_eq!(appended, 16 * 1024 / FRAME as u64);
    assert!(!lane.writer.try_make_room_for(PAYLOAD));
    lane.spill();
    assert!(lane.writer.try_make_room_for(PAYLOAD));
    assert_eq!(lane.writer.append(&[2; PAYLOAD]), Ok(Seq::new(appended)));
    while lane.writer.append(&[3; PAYLOAD]).is_ok() {}
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert!(frames.iter().map(|frame| frame.seq).eq(0..frames.len() as u64));
    lane.reader.acknowledge(end, watermark_behind(lane.reader.recovered_watermark(), &frames), [9; 64]);
    assert!(lane.writer.try_make_room_for(PAYLOAD));
    assert_eq!(lane.writer.append(&[0; 16 * 1024]), Err(LaneFull), "a payload larger than any frame");
}

#[test]
fn a_clean_stop_needs_no_ring_at_the_next_start() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    for n in 0..50u8 {
        lane.writer.append(&[n; 64]).unwrap();
    }
    let all = lane.read_all();
    let end = lane.reader.head();
    lane.close();
    std::fs::remove_file(ring_path(dir.path())).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Clean { head: end });
    assert_eq!((lane.report.recovered, lane.report.quarantined), (50, 0));
    assert_eq!(lane.read_all(), all);
}

#[test]
fn a_killed_process_loses_nothing_and_continues_in_the_same_ring() {
    let dir = new_temp_dir();
    let mut epochs = Vec::new();
    for round in 0..5u8 {
        let mut lane = TestLane::open(dir.path(), &small_config());
        epochs.push(lane.writer.epoch());
        assert_eq!(lane.report.recovered, u64::from(round) * 20);
        for n in 0..20 {
            lane.writer.append(&[round * 20 + n; 64]).unwrap();
        }
        if round == 2 {
            lane.spill();
        }
        let payloads: Vec<u8> = lane.read_all().iter().map(|frame| frame.payload[0]).collect();
        assert_eq!(payloads, (0..round * 20 + 20).collect::<Vec<_>>());
        assert_eq!(lane.report.condition == LaneCondition::Intact, round > 0);
    }
    assert!(epochs.is_sorted_by(|a, b| a < b));
}

#[test]
fn after_a_power_cut_without_the_ring_the_synced_frames_are_left() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let epoch = lane.writer.epoch();
    for n in 0..30u8 {
        lane.writer.append(&[n; 64]).unwrap();
    }
    lane.spill();
    lane.writer.append(b"gone").unwrap();
    let head = lane.reader.head();
    drop(lane);
    std::fs::remove_file(ring_path(dir.path())).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Cut);
    assert!(lane.reader.status().epoch_ends == [epoch_end(epoch, 30, true)]);
    assert_eq!(lane.report.recovered, 30);
    assert!(lane.reader.head() > head, "no position is used twice");
    assert_eq!(lane.read_all().len(), 30);
}

#[test]
fn readable_frames_in_a_ring_of_another_boot_are_salvaged() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    for n in 0..30u8 {
        lane.writer.append(&[n; 64]).unwrap();
    }
    drop(lane);
    let path = ring_path(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    // The boot id of another boot, and a damaged frame in the middle.
    let mut header = RingHeader::decode_if_valid(&bytes).unwrap();
    header.boot_id = [1; 16];
    bytes[..header.encode().len()].copy_from_slice(&header.encode());
    bytes[4096 + 10 * frame_len(64) as usize + 70] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Cut);
    // The damaged frame may have been delivered, or the power loss took it: no segment was to hold it, so it does not
    // count as damaged.
    assert_eq!((lane.report.recovered, lane.report.quarantined), (29, 0));
    let ends = lane.reader.status().epoch_ends;
    assert!(ends[0].cut && ends[0].next_seq == Seq::new(10), "{ends:?}");
    let frames = lane.read_all();
    assert_eq!(frames.len(), 29);
    lane.writer.append(b"new").unwrap();
    assert_eq!(lane.read_all().len(), 30);
    // At the next start they are read beside the new ring.
    drop(lane);
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.read_all().len(), 30);
    // The salvaged ring is removed once its frames are delivered.
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    lane.acknowledge(end, &frames);
    lane.spill();
    let names: Vec<_> = std::fs::read_dir(journal_dir(dir.path())).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("salvage")), "{names:?}");
}

#[test]
fn frames_that_a_segment_and_a_salvaged_ring_both_hold_are_no_damage() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    (0..30u8).for_each(|n| assert!(lane.writer.append(&[n; 64]).is_ok()));
    lane.spill();
    (30..40u8).for_each(|n| assert!(lane.writer.append(&[n; 64]).is_ok()));
    drop(lane);
    let path = ring_path(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let mut header = RingHeader::decode_if_valid(&bytes).unwrap();
    header.boot_id = [1; 16];
    bytes[..header.encode().len()].copy_from_slice(&header.encode());
    std::fs::write(&path, bytes).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.report.condition, LaneCondition::Cut);
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert!(frames.iter().map(|frame| frame.seq).eq(0..40), "{frames:?}");
    assert_eq!(lane.spiller.segment_log.lanes[0].shared.damaged.load(Ordering::Relaxed), 0);
    lane.acknowledge(end, &frames);
    lane.spill();
    let kept = std::fs::read_dir(journal_dir(dir.path()).join("quarantine")).map_or(0, Iterator::count);
    assert_eq!(kept, 0, "nothing was damaged");
}

#[test]
fn delivered_segments_are_removed_and_the_sink_note_is_recovered() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    for n in 0..200u8 {
        if !lane.writer.try_make_room_for(PAYLOAD) {
            lane.spill();
        }
        lane.writer.append(&[n; PAYLOAD]).unwrap();
    }
    lane.spill();
    assert!(segments(dir.path()).len() > 2);
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert_eq!(frames.len(), 200);
    lane.reader.acknowledge(end, watermark_behind(lane.reader.recovered_watermark(), &frames), [5; 64]);
    lane.spill();
    assert_eq!(segments(dir.path()).len(), 0);
    drop(lane);
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.reader.recovered_sink_note(), [5; 64]);
    assert_eq!(lane.reader.first_undelivered(), end);
    assert_eq!(lane.read_all(), []);
}

#[test]
fn a_lane_without_a_worker_is_drained() {
    let dir = new_temp_dir();
    let open = |workers| open_journal_on_disk(&Disk::default(), dir.path(), &small_config(), workers).unwrap();
    let mut parts = open(3).into_parts();
    for writer in &mut parts.writers {
        writer.append(b"one").unwrap();
    }
    drop(parts);
    let journal = open(1);
    assert_eq!(
        journal.recovery_reports().iter().map(|lane| lane.epoch.is_some()).collect::<Vec<_>>(),
        [true, false, false]
    );
    let mut parts = journal.into_parts();
    assert_eq!((parts.writers.len(), parts.readers.len()), (1, 3));
    for reader in &mut parts.readers {
        assert_eq!(read_from(reader, reader.first_undelivered()).0.len(), 1);
    }
}

#[test]
fn every_epoch_gets_an_end_even_if_nothing_was_appended() {
    let dir = new_temp_dir();
    let mut expected = Vec::new();
    for round in 0..6u64 {
        let mut lane = TestLane::open(dir.path(), &small_config());
        assert_eq!(lane.reader.status().epoch_ends, expected, "round {round}");
        // Nothing is appended in each second epoch. The first three epochs end by a kill, the others in good order.
        let count = if round.is_multiple_of(2) { round + 1 } else { 0 };
        for _ in 0..count {
            lane.writer.append(b"click").unwrap();
        }
        expected.push(epoch_end(lane.writer.epoch(), count, false));
        if round >= 3 {
            lane.close();
        }
    }
}

#[test]
fn a_second_process_is_refused_with_the_path() {
    let dir = new_temp_dir();
    let _first = TestLane::open(dir.path(), &small_config());
    let error = DirectoryLocks::lock(dir.path(), None).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn the_configuration_has_defaults_and_names_every_invalid_key() {
    let config: Config = toml::from_str("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.list_invalid_values(), []);
    let text = r#"
        ring_bytes = "5000"
        max_disk_bytes = "1 MiB"
        segment_bytes = 1048576
        sync_interval = "1ms"
        ring_dir = "/run/waypost"
        spill = "always"
        wait_for_room = "1m"
        on_full = "refuse"
        [orphan]
        ring_bytes = "6000"
        max_disk_bytes = "2 MiB"
    "#;
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!(
        (config.spill, config.on_full, config.wait_for_room),
        (SpillMode::Always, OnFull::Refuse, Duration::from_secs(60))
    );
    let keys: Vec<String> = config.list_invalid_values().into_iter().map(|value| value.key).collect();
    let below_orphan = ["orphan.ring_bytes", "orphan.max_disk_bytes"];
    assert_eq!(keys, [&["ring_bytes", "max_disk_bytes", "sync_interval", "wait_for_room"], &below_orphan[..]].concat());
    let orphans = config.for_orphans();
    assert_eq!((orphans.ring_bytes.0, orphans.max_disk_bytes.0), (6000, 2 << 20));
    assert_eq!((orphans.ring_dir, orphans.on_full), (config.ring_dir, config.on_full));
}
