//! Where rings and other files lie: their modes, other data directories, moved ring directories, other sizes.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::{TestLane, journal_dir, new_temp_dir, open_filled, open_journal_on_disk, small_config};
use crate::{
    journal::{Config, LaneCondition, OpenError, disk::Disk},
    size::Bytes,
};

#[test]
fn files_and_directories_are_readable_by_their_owner_alone() {
    let dir = new_temp_dir();
    let _bench = open_filled(&dir.path().join("data"), &small_config(), 50);
    let mut todo = vec![dir.path().join("data/journal")];
    let mut files = 0;
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap()) {
            let meta = entry.metadata().unwrap();
            let mode = meta.permissions().mode() & 0o777;
            assert_eq!(mode, if meta.is_dir() { 0o700 } else { 0o600 }, "{:?}", entry.path());
            match meta.is_dir() {
                true => todo.push(entry.path()),
                false => files += 1,
            }
        }
    }
    assert!(files >= 5);
}

#[test]
fn a_ring_directory_may_be_named_by_another_path() {
    let dir = new_temp_dir();
    let rings = dir.path().join("rings");
    let (data, other_path) = (dir.path().join("data"), dir.path().join("data/../rings/."));
    let named = |rings: &Path| Config { ring_dir: Some(rings.to_owned()), ..small_config() };
    let mut lane = TestLane::open(&data, &named(&rings));
    lane.writer.append(b"one").unwrap();
    drop(lane);
    let mut lane = TestLane::open(&data, &named(&other_path));
    assert_eq!((lane.report.condition, lane.read_all().len()), (LaneCondition::Intact, 1));
}

#[test]
fn the_data_directory_itself_may_hold_the_rings() {
    let dir = new_temp_dir();
    let config = Config { ring_dir: Some(dir.path().to_owned()), ..small_config() };
    let mut lane = TestLane::open(dir.path(), &config);
    lane.writer.append(b"one").unwrap();
    assert_eq!(lane.read_all().len(), 1);
}

#[test]
fn a_ring_of_another_data_directory_is_refused_and_not_changed() {
    let (one, two, rings) = (new_temp_dir(), new_temp_dir(), new_temp_dir());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..small_config() };
    drop(TestLane::open(one.path(), &config));
    TestLane::open(two.path(), &small_config()).close();
    let error = TestLane::open_and_recover_on_disk(&Disk::default(), two.path(), &config).err().unwrap();
    assert!(matches!(error, OpenError::ForeignRing { .. }), "{error}");
    assert!(error.to_string().contains("lane-0000.ring"), "{error}");
    drop(TestLane::open(one.path(), &config));
}

#[test]
fn a_new_data_directory_takes_a_foreign_ring_over_only_if_its_lane_directory_exists() {
    let (one, two, rings) = (new_temp_dir(), new_temp_dir(), new_temp_dir());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..small_config() };
    let mut lane = TestLane::open(one.path(), &config);
    lane.writer.append(b"precious").unwrap();
    drop(lane);
    for _ in 0..2 {
        let error = TestLane::open_and_recover_on_disk(&Disk::default(), two.path(), &config).err().unwrap();
        assert!(matches!(error, OpenError::ForeignRingBesideNewJournal { .. }), "{error}");
        let lane = journal_dir(two.path()).join("lane-0000").display().to_string();
        assert!(error.to_string().contains("lane-0000.ring") && error.to_string().contains(&lane), "{error}");
    }
    std::fs::create_dir(journal_dir(two.path()).join("lane-0000")).unwrap();
    let mut lane = TestLane::open(two.path(), &config);
    assert_eq!(lane.read_all()[0].payload, b"precious");
}

#[test]
fn rings_may_move_only_after_a_clean_stop() {
    let (dir, rings) = (new_temp_dir(), new_temp_dir());
    let elsewhere = Config { ring_dir: Some(rings.path().to_owned()), ..small_config() };
    let mut lane = TestLane::open(dir.path(), &elsewhere);
    lane.writer.append(b"precious").unwrap();
    drop(lane);
    let error = TestLane::open_and_recover_on_disk(&Disk::default(), dir.path(), &small_config()).err().unwrap();
    assert!(matches!(error, OpenError::RingsMoved { .. }), "{error}");
    assert!(error.to_string().contains(rings.path().to_str().unwrap()), "{error}");
    TestLane::open(dir.path(), &elsewhere).close();
    // Without its checkpoints nobody knows that the lane was closed.
    let checkpoints = journal_dir(dir.path()).join("checkpoints");
    let bytes = std::fs::read(&checkpoints).unwrap();
    std::fs::remove_file(&checkpoints).unwrap();
    let error = TestLane::open_and_recover_on_disk(&Disk::default(), dir.path(), &small_config()).err().unwrap();
    assert!(matches!(error, OpenError::RingsMoved { .. }), "{error}");
    std::fs::write(&checkpoints, bytes).unwrap();
    let mut lane = TestLane::open(dir.path(), &small_config());
    assert_eq!(lane.read_all()[0].payload, b"precious");
}

#[test]
fn the_frames_of_a_ring_of_another_size_are_kept() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    lane.writer.append(b"small").unwrap();
    let head = lane.reader.head();
    drop(lane);
    let larger = Config { ring_bytes: Bytes::kib(64), ..small_config() };
    let mut lane = TestLane::open(dir.path(), &larger);
    assert_eq!((lane.report.condition, lane.writer.ring_bytes()), (LaneCondition::Intact, 64 << 10));
    assert!(lane.reader.head() > head);
    lane.writer.append(b"large").unwrap();
    let payloads: Vec<_> = lane.read_all().into_iter().map(|frame| frame.payload).collect();
    assert_eq!(payloads, [b"small", b"large"]);
    lane.close();
    let lane = TestLane::open(dir.path(), &small_config());
    assert_eq!((lane.writer.ring_bytes(), lane.report.recovered), (16 << 10, 2));
}

#[test]
fn a_clean_and_drained_lane_without_a_worker_is_not_opened() {
    let dir = new_temp_dir();
    let open = |workers| open_journal_on_disk(&Disk::default(), dir.path(), &small_config(), workers).unwrap();
    let parts = open(2).into_parts();
    drop((parts.writers, parts.readers));
    parts.spiller.spill_rest_write_last_checkpoints_and_close();
    assert_eq!(open(1).recovery_reports().len(), 1);
}
