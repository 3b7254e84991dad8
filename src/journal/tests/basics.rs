use std::time::Duration;

use super::{Bench, marks, scratch, tiny};
use crate::journal::{Config, End, Full, Journal, OnFull, OpenError, Opening, Spill};

#[test]
fn what_is_appended_is_read_in_order_from_the_ring() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.report.opening, Opening::Fresh);
    assert_eq!(bench.lane.append(0, b"a"), Ok(0));
    assert_eq!(bench.lane.append(1, b"b"), Ok(0));
    assert_eq!(bench.lane.append(0, &[7; 100]), Ok(1));
    let seen = bench.read_all();
    let short: Vec<_> = seen.iter().map(|s| (s.stream, s.seq, s.payload.len())).collect();
    assert_eq!(short, [(0, 0, 1), (1, 0, 1), (0, 1, 100)]);
    assert!(seen.iter().all(|frame| frame.epoch == bench.lane.epoch()));
}

#[test]
fn a_full_ring_says_so_until_the_sink_or_the_disk_makes_room() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    let mut appended = 0;
    while bench.lane.append(0, &[1; 100]).is_ok() {
        appended += 1;
    }
    assert_eq!(appended, 16 * 1024 / 176);
    assert!(bench.lane.pressed() && !bench.lane.room(100));
    bench.spill();
    assert!(bench.lane.room(100) && !bench.lane.pressed());
    assert_eq!(bench.lane.append(0, &[2; 100]), Ok(appended));
    while bench.lane.append(0, &[3; 100]).is_ok() {}
    let (seen, end) = bench.read_from(bench.reader.start());
    assert_eq!(seen.iter().map(|s| s.seq).collect::<Vec<_>>(), (0..seen.len() as u64).collect::<Vec<_>>());
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [9; 64]);
    assert!(bench.lane.room(100));
    assert_eq!(bench.lane.append(0, &[0; 16 * 1024]), Err(Full), "a payload larger than any frame");
}

#[test]
fn a_clean_stop_needs_no_ring_at_the_next_start() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    for n in 0..50u8 {
        bench.lane.append(n % 2, &[n; 64]).unwrap();
    }
    let all = bench.read_all();
    let end = bench.reader.head();
    bench.close();
    std::fs::remove_file(dir.path().join("journal/lane-0000.ring")).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.report.opening, Opening::Clean { head: end });
    assert_eq!(bench.report.recovered, [25, 25]);
    assert_eq!(bench.report.quarantined, [0, 0]);
    assert_eq!(bench.read_all(), all);
}

#[test]
fn a_killed_process_loses_nothing_and_goes_on_in_the_same_ring() {
    let dir = scratch();
    let mut epochs = Vec::new();
    for round in 0..5u8 {
        let mut bench = Bench::open(dir.path(), &tiny());
        epochs.push(bench.lane.epoch());
        assert_eq!(bench.report.recovered[0], u64::from(round) * 20);
        for n in 0..20 {
            bench.lane.append(0, &[round * 20 + n; 64]).unwrap();
        }
        if round == 2 {
            bench.spill();
        }
        let payloads: Vec<u8> = bench.read_all().iter().map(|frame| frame.payload[0]).collect();
        assert_eq!(payloads, (0..round * 20 + 20).collect::<Vec<_>>());
        assert_eq!(bench.report.opening == Opening::Intact, round > 0);
    }
    assert!(epochs.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_lost_ring_after_a_power_cut_leaves_what_was_synced() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    for n in 0..30u8 {
        bench.lane.append(0, &[n; 64]).unwrap();
    }
    bench.spill();
    bench.lane.append(0, b"gone").unwrap();
    let head = bench.reader.head();
    drop(bench);
    std::fs::remove_file(dir.path().join("journal/lane-0000.ring")).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.report.opening, Opening::Cut);
    assert!(bench.reader.standing().ended[0].cut && bench.reader.standing().ended[0].next == [30, 0]);
    assert_eq!(bench.report.recovered, [30, 0]);
    assert!(bench.reader.head() > head, "a position is never used again");
    assert_eq!(bench.read_all().len(), 30);
}

#[test]
fn the_rest_of_a_ring_of_another_boot_is_salvaged() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    for n in 0..30u8 {
        bench.lane.append(n % 2, &[n; 64]).unwrap();
    }
    drop(bench);
    let path = dir.path().join("journal/lane-0000.ring");
    let mut bytes = std::fs::read(&path).unwrap();
    // Of another boot, with a page of another age: a frame in the middle is not what it was.
    let mut fixed = crate::journal::ringfile::Static::decode(&bytes).unwrap();
    fixed.boot = [1; 16];
    bytes[..fixed.encode().len()].copy_from_slice(&fixed.encode());
    bytes[4096 + 10 * 128 + 70] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.report.opening, Opening::Cut);
    // It may have been delivered, or the power loss took it: no segment was to hold it, so it is not called damaged.
    assert_eq!((bench.report.recovered, bench.report.quarantined), ([14, 15], [0, 0]));
    let ended = bench.reader.standing().ended;
    assert!(ended[0].cut && ended[0].next[0] == 5, "{ended:?}");
    let seen = bench.read_all();
    assert_eq!(seen.len(), 29);
    bench.lane.append(0, b"new").unwrap();
    assert_eq!(bench.read_all().len(), 30);
    // And again, now that it lies beside the new ring.
    drop(bench);
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.read_all().len(), 30);
    // Delivered, it goes.
    let (seen, end) = bench.read_from(bench.reader.start());
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.spill();
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join("journal")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("salvage")), "{names:?}");
}

#[test]
fn finished_segments_go_and_the_note_of_the_sink_comes_back() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    for n in 0..200u8 {
        if !bench.lane.room(100) {
            bench.spill();
        }
        bench.lane.append(0, &[n; 100]).unwrap();
    }
    bench.spill();
    let segments = || {
        let lane = std::fs::read_dir(dir.path().join("journal/lane-0000")).unwrap();
        lane.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with("segment")).count()
    };
    assert!(segments() > 2);
    let (seen, end) = bench.read_from(bench.reader.start());
    assert_eq!(seen.len(), 200);
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [5; 64]);
    bench.spill();
    assert_eq!(segments(), 0);
    drop(bench);
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.reader.sink_note(), [5; 64]);
    assert_eq!(bench.reader.start(), end);
    assert_eq!(bench.read_all(), []);
}

#[test]
fn a_lane_without_a_worker_is_drained() {
    let dir = scratch();
    let mut parts = Journal::open(dir.path(), &tiny(), 3).unwrap().into_parts();
    for lane in &mut parts.lanes {
        lane.append(0, b"one").unwrap();
    }
    drop(parts);
    let journal = Journal::open(dir.path(), &tiny(), 1).unwrap();
    assert_eq!(journal.recovered().iter().map(|lane| lane.epoch > 0).collect::<Vec<_>>(), [true, false, false]);
    let mut parts = journal.into_parts();
    assert_eq!((parts.lanes.len(), parts.readers.len()), (1, 3));
    for reader in &mut parts.readers {
        assert_eq!(super::read_from(reader, reader.start()).0.len(), 1);
    }
}

#[test]
fn every_epoch_has_its_end_also_one_in_which_nothing_was_appended() {
    let dir = scratch();
    let mut expected = Vec::new();
    for round in 0..6u64 {
        let mut bench = Bench::open(dir.path(), &tiny());
        assert_eq!(bench.reader.standing().ended, expected, "round {round}");
        // Nothing in each second one; killed, or closed in good order.
        let count = if round.is_multiple_of(2) { round + 1 } else { 0 };
        for _ in 0..count {
            bench.lane.append(0, b"click").unwrap();
        }
        expected.push(End { epoch: bench.lane.epoch(), next: [count, 0], cut: false });
        if round >= 3 {
            bench.close();
        }
    }
}

#[test]
fn a_second_process_is_refused_and_told_the_path() {
    let dir = scratch();
    let _first = Bench::open(dir.path(), &tiny());
    let second = Journal::open(dir.path(), &tiny(), 1);
    let error = second.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn the_configuration_has_its_defaults_and_names_its_mistakes() {
    let config: Config = toml::from_str("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.mistakes(), []);
    let text = r#"
        ring_bytes = "5000"
        disk_bytes = "1 MiB"
        segment_bytes = 1048576
        sync_interval = "1ms"
        ring_dir = "/run/waypost"
        spill = "always"
        wait_for_room = "1m"
        on_full = "refuse"
    "#;
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!(
        (config.spill, config.on_full, config.wait_for_room),
        (Spill::Always, OnFull::Refuse, Duration::from_secs(60))
    );
    let keys: Vec<String> = config.mistakes().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["ring_bytes", "disk_bytes", "sync_interval", "wait_for_room"]);
}
