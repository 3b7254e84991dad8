//! Two logs in one data directory: their journals share the locks, and nothing else.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{LOG, PAYLOAD, ReadFrame, new_temp_dir, read_from, retry_while_locked, small_config};
use crate::{
    journal::{self, Config, DirectoryLocks, InspectError, Journal, JournalParts, OpenError, OrphanConfig, disk::Disk},
    size::Bytes,
};

const ORPHAN: &str = "orphan";

/// Both logs of a process with one worker.
struct TestProcess {
    clicks: JournalParts,
    orphans: JournalParts,
}

fn two_log_config() -> Config {
    let orphan = OrphanConfig { ring_bytes: Bytes::kib(12), max_disk_bytes: Bytes::kib(64) };
    Config { orphan, ..small_config() }
}

fn lock(data_dir: &Path, ring_dir: Option<&Path>) -> Result<DirectoryLocks, OpenError> {
    retry_while_locked(|| DirectoryLocks::lock(data_dir, ring_dir))
}

/// Opens both logs as a drain does, and reads what they hold.
fn drain_each(data_dir: &Path) -> [Vec<Vec<u8>>; 2] {
    let locks = retry_while_locked(|| DirectoryLocks::lock_existing_to_drain(data_dir, None)).unwrap();
    let open = |log| Journal::open_existing_to_drain(data_dir, log, &two_log_config(), None, &locks).unwrap();
    [LOG, ORPHAN].map(|log| payloads(&read_all(&mut open(log).into_parts())))
}

fn open_journal_on_disk(
    disk: &Disk,
    data_dir: &Path,
    log: &'static str,
    config: &Config,
    locks: &DirectoryLocks,
) -> Result<Journal, OpenError> {
    let config = if log == LOG { config.clone() } else { config.for_orphans() };
    Journal::open_and_recover_on_disk(disk, data_dir, log, &config, 1, locks)
}

fn open_journal(data_dir: &Path, log: &'static str, locks: &DirectoryLocks) -> Journal {
    open_journal_on_disk(&Disk::default(), data_dir, log, &two_log_config(), locks).unwrap()
}

impl TestProcess {
    fn start(data_dir: &Path, config: &Config) -> Result<TestProcess, OpenError> {
        TestProcess::start_on_disk(&Disk::default(), data_dir, config)
    }

    fn start_on_disk(disk: &Disk, data_dir: &Path, config: &Config) -> Result<TestProcess, OpenError> {
        let locks = retry_while_locked(|| DirectoryLocks::lock_on_disk(disk, data_dir, config.ring_dir.as_deref()))?;
        let open = |log| open_journal_on_disk(disk, data_dir, log, config, &locks).map(Journal::into_parts);
        Ok(TestProcess { clicks: open(LOG)?, orphans: open(ORPHAN)? })
    }

    fn append_to_each(&mut self, clicks: &[u8], orphans: &[u8]) {
        self.clicks.writers[0].append(clicks).unwrap();
        self.orphans.writers[0].append(orphans).unwrap();
    }

    fn read_each(&mut self) -> [Vec<Vec<u8>>; 2] {
        [&mut self.clicks, &mut self.orphans].map(|parts| payloads(&read_all(parts)))
    }
}

fn read_all(parts: &mut JournalParts) -> Vec<ReadFrame> {
    parts.readers.iter_mut().flat_map(|reader| read_from(reader, reader.first_undelivered()).0).collect()
}

fn payloads(frames: &[ReadFrame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.payload.clone()).collect()
}

fn close(parts: JournalParts) {
    drop(parts.writers);
    parts.spiller.spill_rest_write_last_checkpoints_and_close();
}

#[test]
fn each_log_has_its_own_lanes_rings_budget_and_directory_id() {
    let dir = new_temp_dir();
    let mut process = TestProcess::start(dir.path(), &two_log_config()).unwrap();
    process.append_to_each(b"paid", b"unknown");
    assert_eq!(process.read_each(), [vec![b"paid".to_vec()], vec![b"unknown".to_vec()]]);
    let rings = [&process.clicks, &process.orphans].map(|parts| parts.writers[0].ring_bytes());
    assert_eq!(rings, [16 << 10, 12 << 10]);
    assert_ne!(process.clicks.readers[0].directory_id(), process.orphans.readers[0].directory_id());
    for log in [LOG, ORPHAN] {
        for name in ["directory", "rings", "lane-0000.ring", "checkpoints"] {
            assert!(dir.path().join("journal").join(log).join(name).exists(), "{log}/{name}");
        }
        let view = journal::inspect(dir.path(), log).unwrap();
        assert_eq!((view.log, view.lanes[0].undelivered), (log, 1));
    }
    // One log fills, and the other one has room.
    let orphans = &mut process.orphans;
    let mut now = Instant::now();
    for _ in 0..1_000 {
        let _ = orphans.writers[0].append(&[7; PAYLOAD]);
        orphans.spiller.spill_due_lanes_and_save_due_checkpoints(now);
        now += Duration::from_millis(50);
    }
    while orphans.writers[0].append(&[7; PAYLOAD]).is_ok() {}
    assert!(!orphans.writers[0].try_make_room_for(PAYLOAD));
    let clicks = &mut process.clicks;
    while clicks.writers[0].append(&[7; PAYLOAD]).is_ok() {}
    for seconds in 0..2 {
        clicks.spiller.spill_due_lanes_and_save_due_checkpoints(now + Duration::from_secs(seconds));
    }
    assert!(clicks.writers[0].try_make_room_for(PAYLOAD));
}

#[test]
fn files_of_another_log_are_not_read_as_frames_of_this_one() {
    let dir = new_temp_dir();
    let mut process = TestProcess::start(dir.path(), &two_log_config()).unwrap();
    process.append_to_each(b"paid", b"unknown");
    let TestProcess { clicks, orphans } = process;
    close(clicks);
    close(orphans);
    let segment = |log: &str| dir.path().join("journal").join(log).join("0000000000000000.segment");
    std::fs::copy(segment(ORPHAN), segment(LOG)).unwrap();
    std::fs::remove_file(dir.path().join("journal").join(LOG).join("lane-0000.ring")).unwrap();
    let locks = lock(dir.path(), None).unwrap();
    let journal = open_journal(dir.path(), LOG, &locks);
    assert_eq!(journal.recovery_reports()[0].quarantined_files, 1);
    assert_eq!(read_all(&mut journal.into_parts()), []);
}

#[test]
fn the_directories_stay_locked_until_the_last_end_of_a_lane_is_gone() {
    let (dir, rings) = (new_temp_dir(), new_temp_dir());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
    let TestProcess { clicks, orphans } = TestProcess::start(dir.path(), &config).unwrap();
    let is_locked = |data_dir: &Path| {
        let error = DirectoryLocks::lock(data_dir, Some(rings.path())).err();
        error.is_some_and(|error| matches!(error, OpenError::Locked { .. }))
    };
    drop(clicks);
    assert!(is_locked(dir.path()));
    let JournalParts { writers, readers, spiller } = orphans;
    drop((writers, spiller));
    assert!(is_locked(dir.path()));
    assert!(is_locked(new_temp_dir().path()), "the ring directory is locked too");
    drop(readers);
    lock(dir.path(), Some(rings.path())).unwrap();
}

#[test]
fn rings_in_a_directory_of_their_own_lie_there_by_log() {
    let (dir, rings) = (new_temp_dir(), new_temp_dir());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
    let mut process = TestProcess::start(dir.path(), &config).unwrap();
    process.append_to_each(b"paid", b"unknown");
    for log in [LOG, ORPHAN] {
        assert!(rings.path().join(log).join("lane-0000.ring").exists());
        let note = std::fs::read(dir.path().join("journal").join(log).join("rings")).unwrap();
        assert_eq!(note, rings.path().canonicalize().unwrap().as_os_str().as_encoded_bytes());
        let location = journal::inspect(&dir.path().join("journal"), log).unwrap();
        assert_eq!(location.lanes[0].undelivered, 1);
    }
    drop(process);
    let mut process = TestProcess::start(dir.path(), &config).unwrap();
    assert_eq!(process.read_each(), [vec![b"paid".to_vec()], vec![b"unknown".to_vec()]]);
}

#[test]
fn no_log_moves_its_rings_while_the_old_rings_of_another_log_may_hold_clicks() {
    for unclean in [LOG, ORPHAN] {
        let (dir, rings) = (new_temp_dir(), new_temp_dir());
        let there = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
        let mut process = TestProcess::start(dir.path(), &there).unwrap();
        process.append_to_each(b"paid", b"unknown");
        let TestProcess { clicks, orphans } = process;
        if unclean == LOG {
            close(orphans);
            drop(clicks);
        } else {
            close(clicks);
            drop(orphans);
        }
        let error = TestProcess::start(dir.path(), &two_log_config()).err().unwrap();
        let OpenError::RingsMoved { note, .. } = &error else { panic!("{error}") };
        assert!(note.ends_with(Path::new(unclean).join("rings")), "{error}");
        // The other log was not moved, so that the old configuration finds everything.
        let mut process = TestProcess::start(dir.path(), &there).unwrap();
        assert_eq!(process.read_each(), [vec![b"paid".to_vec()], vec![b"unknown".to_vec()]]);
    }
}

#[test]
fn a_drain_finds_the_rings_of_each_log_though_a_start_ended_between_two_moves() {
    for is_moved_back in [false, true] {
        let (dir, rings) = (new_temp_dir(), new_temp_dir());
        let there = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
        let (old, new) = if is_moved_back { (there, two_log_config()) } else { (two_log_config(), there) };
        let mut process = TestProcess::start(dir.path(), &old).unwrap();
        process.append_to_each(b"paid", b"unknown");
        close(process.clicks);
        close(process.orphans);
        // This start moves the rings of the clicks, takes a click, and ends.
        let locks = lock(dir.path(), new.ring_dir.as_deref()).unwrap();
        let clicks = open_journal_on_disk(&Disk::default(), dir.path(), LOG, &new, &locks).unwrap();
        clicks.into_parts().writers[0].append(b"later").unwrap();
        drop(locks);
        let found = drain_each(dir.path());
        assert_eq!(found, [vec![b"paid".to_vec(), b"later".to_vec()], vec![b"unknown".to_vec()]], "{is_moved_back}");
    }
}

#[test]
fn a_start_that_dies_anywhere_while_it_moves_the_rings_of_both_logs_loses_nothing() {
    let expected = [vec![b"paid".to_vec()], vec![b"unknown".to_vec()]];
    for is_drained in [false, true] {
        for stop in 0.. {
            let (dir, rings, disk) = (new_temp_dir(), new_temp_dir(), Disk::default());
            let there = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
            let mut process = TestProcess::start(dir.path(), &there).unwrap();
            process.append_to_each(b"paid", b"unknown");
            close(process.clicks);
            close(process.orphans);
            disk.faults.fail_from(stop, u64::MAX);
            let has_started = TestProcess::start_on_disk(&disk, dir.path(), &two_log_config()).map(drop).is_ok();
            let found = match is_drained {
                true => drain_each(dir.path()),
                false => TestProcess::start(dir.path(), &two_log_config()).unwrap().read_each(),
            };
            assert_eq!(found, expected, "stopped at operation {stop}, drained: {is_drained}");
            if has_started {
                assert!(stop > 20, "only {stop} operations");
                break;
            }
        }
    }
}

#[test]
fn a_drain_takes_the_named_ring_directory_for_every_log_and_names_a_ring_that_is_absent() {
    let (dir, rings, elsewhere) = (new_temp_dir(), new_temp_dir(), new_temp_dir());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..two_log_config() };
    let mut process = TestProcess::start(dir.path(), &config).unwrap();
    process.append_to_each(b"paid", b"unknown");
    drop(process);
    let named = elsewhere.path().join("copied");
    let error = DirectoryLocks::lock_existing_to_drain(dir.path(), Some(&named)).unwrap_err();
    assert!(matches!(error, OpenError::NoRings { ring: None, .. }), "{error}");
    std::fs::create_dir_all(named.join(LOG)).unwrap();
    std::fs::copy(rings.path().join(LOG).join("lane-0000.ring"), named.join(LOG).join("lane-0000.ring")).unwrap();
    let locks = retry_while_locked(|| DirectoryLocks::lock_existing_to_drain(dir.path(), Some(&named))).unwrap();
    let open = |log| Journal::open_existing_to_drain(dir.path(), log, &two_log_config(), Some(&named), &locks);
    let error = open(ORPHAN).unwrap_err();
    assert!(error.to_string().contains("copied does not hold this directory's ring orphan/lane-0000.ring"), "{error}");
    assert_eq!(payloads(&read_all(&mut open(LOG).unwrap().into_parts())), [b"paid"]);
}

#[test]
fn a_log_that_no_start_has_created_is_empty_beside_another_log() {
    let dir = new_temp_dir();
    let locks = lock(dir.path(), None).unwrap();
    let mut clicks = open_journal(dir.path(), LOG, &locks).into_parts();
    clicks.writers[0].append(b"paid").unwrap();
    drop((clicks, locks));
    assert_eq!(journal::inspect(dir.path(), ORPHAN).unwrap().lanes.len(), 0);
    assert!(journal::verify_undelivered_frames(dir.path(), ORPHAN).unwrap().is_sound());
    let locks = retry_while_locked(|| DirectoryLocks::lock_existing_to_drain(dir.path(), None)).unwrap();
    let open = |log| Journal::open_existing_to_drain(dir.path(), log, &two_log_config(), None, &locks).unwrap();
    assert_eq!(open(ORPHAN).into_parts().readers.len(), 0);
    assert_eq!(payloads(&read_all(&mut open(LOG).into_parts())), [b"paid"]);
    let nowhere = new_temp_dir();
    let error = journal::inspect(nowhere.path(), LOG).unwrap_err();
    assert!(matches!(error, InspectError::NoJournal { .. }), "{error}");
    let error = DirectoryLocks::lock_existing_to_drain(nowhere.path(), None).unwrap_err();
    assert!(matches!(error, OpenError::NoJournal { .. }), "{error}");
}

#[test]
fn the_journal_of_an_earlier_build_is_refused_with_advice_and_not_changed() {
    let dir = new_temp_dir();
    let journals = dir.path().join("journal");
    for old in ["directory", "lane-0000"] {
        std::fs::create_dir_all(journals.join(old)).unwrap();
        let refusals = [
            DirectoryLocks::lock(dir.path(), None).unwrap_err().to_string(),
            DirectoryLocks::lock_existing_to_drain(dir.path(), None).unwrap_err().to_string(),
            journal::inspect(dir.path(), LOG).unwrap_err().to_string(),
            journal::inspect(&journals, LOG).unwrap_err().to_string(),
        ];
        for refusal in refusals {
            let advice = ["earlier build", "waypost journal drain", journals.to_str().unwrap()];
            assert!(advice.iter().all(|part| refusal.contains(part)), "{refusal}");
        }
        assert!(!dir.path().join("lock").exists());
        std::fs::remove_dir(journals.join(old)).unwrap();
    }
    lock(dir.path(), None).unwrap();
}
