//! What can be wrong with a directory, and what is said and done about it.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Bench, marks, read_from, scratch, tiny, told};
use crate::{
    journal::{Batch, Config, Journal, OpenError, Opening, Spill, disk::Disk, dump, inspect, verify},
    size::Bytes,
};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let lane = std::fs::read_dir(dir.join("journal/lane-0000")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = lane.filter(|path| path.extension().is_some_and(|kind| kind == "segment")).collect();
    found.sort();
    found
}

fn filled(dir: &Path, config: &Config, count: u8) -> Bench {
    let mut bench = Bench::open(dir, config);
    for n in 0..count {
        if !bench.lane.room(100) {
            bench.spill();
        }
        bench.lane.append(n % 2, &[n; 100]).unwrap();
    }
    bench.spill();
    bench
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn files_are_for_this_user_alone() {
    let dir = scratch();
    let _bench = filled(&dir.path().join("data"), &tiny(), 50);
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
fn a_used_up_disk_budget_leaves_the_ring_and_presses() {
    let dir = scratch();
    let config = Config { disk_bytes: Bytes::kib(24), ..tiny() };
    let mut bench = Bench::open(dir.path(), &config);
    let mut appended = 0u64;
    let ((), said) = told("spill_stopped", || {
        for _ in 0..40 {
            while bench.lane.append(0, &[7; 100]).is_ok() {
                appended += 1;
            }
            bench.spill();
        }
    });
    assert_eq!(said, ["bounded", "spill-stopped"]);
    let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= 24 << 10, "{on_disk}");
    assert!(bench.lane.pressed() && bench.lane.append(0, &[7; 100]).is_err());
    let (seen, end) = bench.read_from(bench.reader.start());
    assert_eq!(seen.len() as u64, appended, "nothing is lost, there is only no more room");
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.spill();
    assert!(!bench.lane.pressed() && bench.lane.append(0, &[7; 100]).is_ok());
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn what_still_fits_the_disk_budget_is_spilled_though_the_ring_holds_more() {
    let dir = scratch();
    let config =
        Config { ring_bytes: Bytes::mib(2), segment_bytes: Bytes::mib(1), disk_bytes: Bytes::kib(900), ..tiny() };
    let mut bench = Bench::open(dir.path(), &config);
    while bench.lane.append(0, &[7; 1_000]).is_ok() {}
    bench.spill();
    let durable = bench.durable();
    assert!(durable > 600 << 10, "{durable}");
    assert!(bench.lane.append(0, &[7; 1_000]).is_ok(), "there is room again");
    bench.spill();
    let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= 900 << 10, "{on_disk}");
    assert_eq!(bench.durable(), durable);
}

#[test]
fn what_was_written_before_the_disk_said_no_is_synced_and_leaves_the_ring() {
    let dir = scratch();
    let disk = Disk::default();
    let config =
        Config { ring_bytes: Bytes::mib(2), segment_bytes: Bytes::mib(4), disk_bytes: Bytes::mib(16), ..tiny() };
    let mut bench = Bench::open_on(&disk, dir.path(), &config).unwrap();
    let mut appended = 0;
    while bench.lane.append(0, &[7; 1_000]).is_ok() {
        appended += 1;
    }
    bench.spiller.tick(bench.now);
    bench.now += Duration::from_secs(1);
    // The file, its header, two blocks of two writes each; then one write fails.
    disk.faults.stop_at(6, 1);
    bench.spiller.tick(bench.now);
    let durable = bench.durable();
    assert!(durable > 400 << 10, "{durable}");
    let safe = bench.reader.safe(0).next;
    assert_eq!(safe, bench.read_from(0).0.len() as u64 - (bench.reader.head() - durable).div_ceil(1_072));
    drop(bench);
    let mut bench = Bench::open(dir.path(), &config);
    assert_eq!((bench.report.opening, bench.report.recovered), (Opening::Intact, [appended, 0]));
    assert_eq!(bench.read_all().len() as u64, appended);
}

#[test]
fn rings_named_by_another_path_to_the_same_place_are_the_same_rings() {
    let dir = scratch();
    let rings = dir.path().join("rings");
    let (data, roundabout) = (dir.path().join("data"), dir.path().join("data/../rings/."));
    let named = |rings: &Path| Config { ring_dir: Some(rings.to_owned()), ..tiny() };
    let mut bench = Bench::open(&data, &named(&rings));
    bench.lane.append(0, b"one").unwrap();
    drop(bench);
    let mut bench = Bench::open(&data, &named(&roundabout));
    assert_eq!((bench.report.opening, bench.read_all().len()), (Opening::Intact, 1));
}

#[test]
fn the_data_directory_itself_may_hold_the_rings() {
    let dir = scratch();
    let config = Config { ring_dir: Some(dir.path().to_owned()), ..tiny() };
    let mut bench = Bench::open(dir.path(), &config);
    bench.lane.append(0, b"one").unwrap();
    assert_eq!(bench.read_all().len(), 1);
}

#[test]
fn a_disk_that_fails_is_left_alone_for_a_while_and_the_sink_empties_the_ring() {
    let dir = scratch();
    let disk = Disk::default();
    let mut bench = Bench::open_on(&disk, dir.path(), &tiny()).unwrap();
    disk.faults.stop_at(0, u64::MAX);
    let ((), said) = told("spill_stopped", || {
        for _ in 0..20 {
            while bench.lane.append(0, &[7; 100]).is_ok() {}
            let before = disk.faults.passed();
            bench.spiller.tick(bench.now);
            // Everything is due by then.
            bench.now += Duration::from_millis(50);
            bench.spiller.tick(bench.now);
            assert!(disk.faults.passed() - before <= 6, "it is not hammered");
            let (seen, end) = bench.read_from(bench.durable());
            assert!(!seen.is_empty());
            bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
        }
    });
    assert_eq!(said, ["bounded", "spill-stopped"]);
    assert_eq!(segments(dir.path()).len(), 0);
    disk.faults.stop_at(u64::MAX, 0);
    bench.lane.append(0, b"more").unwrap();
    bench.spill();
    assert_eq!(bench.durable(), bench.reader.head());
}

#[test]
fn spilling_always_keeps_what_was_acknowledged_too_soon() {
    let dir = scratch();
    let config = Config { spill: Spill::Always, ..tiny() };
    let mut bench = Bench::open(dir.path(), &config);
    bench.lane.append(0, b"one").unwrap();
    let (seen, end) = bench.read_from(0);
    bench.spiller.tick(bench.now);
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.now += Duration::from_millis(50);
    bench.spiller.tick(bench.now);
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn what_the_sink_has_in_time_is_never_written_to_the_disk() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    let mut at = bench.reader.start();
    for n in 0..500u32 {
        bench.lane.append(0, &n.to_le_bytes()).unwrap();
        let (seen, end) = bench.read_from(at);
        at = end;
        bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
        bench.now += Duration::from_millis(5);
        bench.spiller.tick(bench.now);
    }
    assert_eq!(segments(dir.path()).len(), 0);
    bench.close();
    assert!(verify(dir.path()).unwrap().sound());
}

#[test]
fn a_ring_of_another_data_directory_is_refused_and_left_alone() {
    let (one, two, rings) = (scratch(), scratch(), scratch());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..tiny() };
    drop(Bench::open(one.path(), &config));
    Bench::open(two.path(), &tiny()).close();
    let error = Bench::open_on(&Disk::default(), two.path(), &config).err().unwrap();
    assert!(matches!(error, OpenError::ForeignRing { .. }), "{error}");
    assert!(error.to_string().contains("lane-0000.ring"), "{error}");
    drop(Bench::open(one.path(), &config));
}

#[test]
fn a_ring_whose_data_directory_is_lost_is_taken_over_by_a_new_one_that_is_told_to() {
    let (one, two, rings) = (scratch(), scratch(), scratch());
    let config = Config { ring_dir: Some(rings.path().to_owned()), ..tiny() };
    let mut bench = Bench::open(one.path(), &config);
    bench.lane.append(0, b"precious").unwrap();
    drop(bench);
    for _ in 0..2 {
        let error = Bench::open_on(&Disk::default(), two.path(), &config).err().unwrap();
        assert!(matches!(error, OpenError::OrphanRing { .. }), "{error}");
        let lane = two.path().join("journal/lane-0000").display().to_string();
        assert!(error.to_string().contains("lane-0000.ring") && error.to_string().contains(&lane), "{error}");
    }
    std::fs::create_dir(two.path().join("journal/lane-0000")).unwrap();
    let mut bench = Bench::open(two.path(), &config);
    assert_eq!(bench.read_all()[0].payload, b"precious");
}

#[test]
fn a_segment_that_somebody_removes_is_no_home_and_its_frames_are_taken_again() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    bench.lane.append(0, b"one").unwrap();
    bench.spill();
    let durable = bench.durable();
    std::fs::remove_file(&segments(dir.path())[0]).unwrap();
    bench.lane.append(0, b"two").unwrap();
    let ((), said) = told("spill_stopped", || bench.spiller.tick(bench.now));
    assert_eq!(said, ["bounded", "spill-stopped"]);
    assert_eq!(bench.durable(), durable, "a sync of a file without a name counts for nothing");
    bench.now += Duration::from_secs(1);
    bench.spill();
    assert_eq!(bench.durable(), bench.reader.head());
    assert_eq!(bench.read_from(durable).0[0].payload, b"two");
}

#[test]
fn the_alarm_ends_with_its_fault_though_the_sink_left_nothing_to_spill() {
    let dir = scratch();
    let disk = Disk::default();
    let mut bench = Bench::open_on(&disk, dir.path(), &tiny()).unwrap();
    disk.faults.stop_at(0, u64::MAX);
    bench.lane.append(0, b"one").unwrap();
    bench.spill();
    let (seen, end) = bench.read_from(0);
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.spill();
    assert!(bench.spiller.lanes[0].backing_off(), "the disk still fails");
    disk.faults.stop_at(u64::MAX, 0);
    bench.spill();
    assert!(!bench.spiller.lanes[0].backing_off());
    assert_eq!(segments(dir.path()).len(), 0, "what it asked the disk with is gone again");
}

/// What the spiller left to the next start was said an hour earlier.
fn an_hour_passes(ring: &Path) {
    let mut bytes = std::fs::read(ring).unwrap();
    let since = u64::from_le_bytes(bytes[512..520].try_into().unwrap());
    bytes[512..520].copy_from_slice(&(since - 3_600_000).to_le_bytes());
    std::fs::write(ring, bytes).unwrap();
}

#[test]
fn the_age_of_what_has_no_home_goes_on_over_a_killed_process() {
    let dir = scratch();
    let disk = Disk::default();
    let open = |effects| {
        let bench = Bench::open_on(&disk, dir.path(), &tiny()).unwrap();
        disk.faults.stop_at(effects, u64::MAX);
        bench
    };
    let mut bench = open(0);
    bench.spill();
    bench.lane.append(0, b"one").unwrap();
    bench.spill();
    let age = |bench: &Bench| bench.spiller.observed.look().age(0, bench.now);
    let mut shown = age(&bench).unwrap();
    assert!(shown >= Duration::from_secs(40), "{shown:?}");
    for _ in 0..2 {
        // As it stood at the last look of the spiller; the clock of the test stood still since then.
        shown -= Duration::from_secs(20);
        drop(bench);
        disk.faults.stop_at(u64::MAX, 0);
        let down = Duration::from_secs(3_600);
        an_hour_passes(&dir.path().join("journal/lane-0000.ring"));
        bench = open(0);
        let (now, of) = (age(&bench).unwrap(), shown + down);
        assert!(now >= of && now < of + Duration::from_secs(10), "{now:?} of {of:?}");
        bench.lane.append(0, b"a younger one").unwrap();
        bench.spill();
        shown = age(&bench).unwrap();
        assert!(shown >= of + Duration::from_secs(40), "{shown:?} of {of:?}");
    }
    disk.faults.stop_at(u64::MAX, 0);
    bench.spill();
    assert_eq!(age(&bench), None);
    // What comes later is as old as it is.
    bench.lane.append(0, b"later").unwrap();
    assert!(age(&bench).unwrap() <= Duration::from_secs(20));
    drop(bench);
    let bench = open(u64::MAX);
    assert!(age(&bench).unwrap() <= Duration::from_secs(20), "{:?}", age(&bench));
}

#[test]
fn rings_may_move_only_after_a_clean_stop() {
    let (dir, rings) = (scratch(), scratch());
    let elsewhere = Config { ring_dir: Some(rings.path().to_owned()), ..tiny() };
    let mut bench = Bench::open(dir.path(), &elsewhere);
    bench.lane.append(0, b"precious").unwrap();
    drop(bench);
    let error = Bench::open_on(&Disk::default(), dir.path(), &tiny()).err().unwrap();
    assert!(matches!(error, OpenError::RingsMoved { .. }), "{error}");
    assert!(error.to_string().contains(rings.path().to_str().unwrap()), "{error}");
    Bench::open(dir.path(), &elsewhere).close();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.read_all()[0].payload, b"precious");
}

#[test]
fn a_ring_of_another_size_is_taken_over_with_what_it_holds() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    bench.lane.append(0, b"small").unwrap();
    let head = bench.reader.head();
    drop(bench);
    let larger = Config { ring_bytes: Bytes::kib(64), ..tiny() };
    let mut bench = Bench::open(dir.path(), &larger);
    assert_eq!((bench.report.opening, bench.lane.size()), (Opening::Intact, 64 << 10));
    assert!(bench.reader.head() > head);
    bench.lane.append(0, b"large").unwrap();
    let payloads: Vec<_> = bench.read_all().into_iter().map(|seen| seen.payload).collect();
    assert_eq!(payloads, [b"small", b"large"]);
    bench.close();
    let bench = Bench::open(dir.path(), &tiny());
    assert_eq!((bench.lane.size(), bench.report.recovered), (16 << 10, [2, 0]));
}

#[test]
fn damage_is_counted_kept_and_in_nobodys_way() {
    let dir = scratch();
    drop(filled(dir.path(), &tiny(), 100));
    let first = segments(dir.path())[0].clone();
    flip(&first, 64 + 64 + 5 * 176 + 100);
    assert!(!verify(dir.path()).unwrap().sound());
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!((bench.report.recovered, bench.report.quarantined, bench.report.damaged), ([50, 50], [0, 1], 1));
    let (seen, end) = bench.read_from(bench.reader.start());
    assert_eq!(seen.len(), 99);
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.spill();
    assert_eq!(segments(dir.path()).len(), 0);
    let kept = dir.path().join("journal/quarantine").join(first.file_name().unwrap());
    assert!(kept.exists(), "the evidence is put aside, not deleted");
    bench.close();
    let verdict = verify(dir.path()).unwrap();
    assert!(verdict.sound() && verdict.quarantined == 1, "{verdict}");
}

/// Flips a bit in the sixth frame of the first segment, or in the last one of the last.
fn damage(dir: &Path, tail: bool) -> PathBuf {
    let segments = segments(dir);
    let path = if tail { segments[segments.len() - 1].clone() } else { segments[0].clone() };
    let at = if tail { path.metadata().unwrap().len() as usize - 20 } else { 64 + 64 + 5 * 176 + 100 };
    flip(&path, at);
    path
}

#[test]
fn what_a_segment_lost_and_the_ring_still_holds_is_delivered_and_the_evidence_kept() {
    for (tail, clean) in [(false, false), (true, false), (false, true), (true, true)] {
        let of = format!("tail: {tail}, clean: {clean}");
        let dir = scratch();
        let mut bench = filled(dir.path(), &tiny(), 60);
        let expected = bench.read_all();
        if clean {
            bench.close()
        } else {
            drop(bench)
        }
        let damaged = damage(dir.path(), tail);
        let verdict = verify(dir.path()).unwrap();
        assert_eq!((verdict.undelivered, verdict.missing, verdict.damaged), ([30, 30], [0, 0], 1), "{of}: {verdict}");
        assert_eq!(inspect(dir.path()).unwrap().lanes[0].undelivered, [30, 30], "{of}");
        let mut bench = Bench::open(dir.path(), &tiny());
        assert_eq!(matches!(bench.report.opening, Opening::Clean { .. }), clean, "{of}");
        assert_eq!((bench.report.recovered, bench.report.quarantined), ([30, 30], [0, 0]), "{of}");
        assert_eq!(bench.report.damaged, 1, "{of}");
        assert_eq!(bench.read_all(), expected, "{of}");
        // What was copied outlives the ring, which the worker writes over meanwhile.
        for _ in 0..100 {
            if !bench.lane.room(100) {
                bench.spill();
            }
            bench.lane.append(0, &[7; 100]).unwrap();
        }
        let (seen, end) = bench.read_from(bench.reader.start());
        assert_eq!((&seen[..60], seen.len()), (&expected[..], 160), "{of}");
        bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
        bench.spill();
        assert_eq!(segments(dir.path()).len(), 0, "{of}");
        let kept = dir.path().join("journal/quarantine").join(damaged.file_name().unwrap());
        assert!(kept.exists(), "{of}");
    }
}

#[test]
fn a_segment_that_is_gone_is_taken_from_the_ring_as_far_as_that_goes_back() {
    let dir = scratch();
    let mut bench = filled(dir.path(), &tiny(), 60);
    let expected = bench.read_all();
    drop(bench);
    segments(dir.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!((bench.report.quarantined, bench.read_all()), ([0, 0], expected));
    drop(bench);
    // And what was copied is nowhere else once the ring is gone.
    std::fs::remove_file(dir.path().join("journal/lane-0000.ring")).unwrap();
    assert_eq!(Bench::open(dir.path(), &tiny()).read_all().len(), 60);
}

#[test]
fn a_disk_that_does_not_take_what_the_ring_still_holds_blocks_no_start() {
    let dir = scratch();
    let disk = Disk::default();
    drop(filled(dir.path(), &tiny(), 60));
    damage(dir.path(), false);
    let effects = disk.faults.passed();
    drop(Bench::open_on(&disk, dir.path(), &tiny()).unwrap());
    let mut refused = 0;
    for stop in 0..disk.faults.passed() - effects {
        let (dir, disk) = (scratch(), Disk::default());
        drop(filled(dir.path(), &tiny(), 60));
        damage(dir.path(), false);
        disk.faults.stop_at(stop, 1);
        let Ok(mut bench) = Bench::open_on(&disk, dir.path(), &tiny()) else { continue };
        let gone: u64 = bench.report.quarantined.iter().sum();
        assert_eq!(bench.read_all().len() as u64 + gone, 60, "stopped at effect {stop}");
        refused += gone;
    }
    assert!(refused >= 3, "the file, its bytes, its sync: {refused}");
}

#[test]
fn damage_that_comes_later_is_met_by_the_reader() {
    let dir = scratch();
    let mut bench = filled(dir.path(), &tiny(), 200);
    let first = segments(dir.path())[0].clone();
    flip(&first, 64 + 64 + 5 * 176 + 100);
    let (seen, end) = bench.read_from(bench.reader.start());
    assert_eq!(seen.len(), 199);
    let shared = bench.spiller.lanes[0].shared.clone();
    assert_eq!(shared.home().lost(), 1);
    // Read again, it is the same one.
    bench.read_from(bench.reader.start());
    assert_eq!(shared.home().lost(), 1);
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    bench.spill();
    assert!(dir.path().join("journal/quarantine").join(first.file_name().unwrap()).exists());
}

#[test]
fn a_segment_of_a_newer_version_is_put_aside_whole() {
    let dir = scratch();
    drop(filled(dir.path(), &tiny(), 100));
    let first = segments(dir.path())[0].clone();
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&first, bytes).unwrap();
    let (mut bench, said) = told("journal_file_put_aside", || Bench::open(dir.path(), &tiny()));
    assert_eq!(said, ["yes", "journal-damaged"]);
    assert_eq!(bench.report.put_aside, 1);
    assert_eq!(bench.report.quarantined, [4, 3], "what the ring does not hold any more");
    assert!(dir.path().join("journal/quarantine").join(first.file_name().unwrap()).exists());
    assert!(!bench.read_all().is_empty());
}

#[test]
fn a_ring_that_cannot_be_read_is_put_aside() {
    let dir = scratch();
    drop(filled(dir.path(), &tiny(), 30));
    flip(&dir.path().join("journal/lane-0000.ring"), 20);
    let (mut bench, said) = told("journal_file_put_aside", || Bench::open(dir.path(), &tiny()));
    assert_eq!(said, ["yes", "journal-damaged"]);
    assert_eq!(bench.report.opening, Opening::Cut);
    assert_eq!(bench.read_all().len(), 30, "all of it was spilled");
    assert!(dir.path().join("journal/quarantine/lane-0000.ring").exists());
}

#[test]
fn a_lost_checkpoint_repeats_and_a_lost_id_is_found_again() {
    let dir = scratch();
    drop(filled(dir.path(), &tiny(), 30));
    std::fs::remove_file(dir.path().join("journal/lane-0000/checkpoint")).unwrap();
    std::fs::remove_file(dir.path().join("journal/directory")).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!((bench.report.opening, bench.read_all().len()), (Opening::Intact, 30));
    drop(bench);
    for slot in [20, 4096 + 20] {
        flip(&dir.path().join("journal/lane-0000/checkpoint"), slot);
    }
    flip(&dir.path().join("journal/directory"), 20);
    let (mut bench, said) = told("directory_id_damaged", || Bench::open(dir.path(), &tiny()));
    assert_eq!(said, ["none", "journal-damaged"]);
    assert_eq!(bench.read_all().len(), 30);
}

#[test]
fn a_lane_that_is_drained_and_closed_is_not_adopted() {
    let dir = scratch();
    let parts = Journal::open(dir.path(), &tiny(), 2).unwrap().into_parts();
    drop((parts.lanes, parts.readers));
    parts.spiller.close();
    assert_eq!(Journal::open(dir.path(), &tiny(), 1).unwrap().recovered().len(), 1);
}

#[test]
fn those_who_look_from_outside_see_all_and_disturb_nobody() {
    let dir = scratch();
    let mut bench = filled(dir.path(), &tiny(), 150);
    for n in 0..20u8 {
        bench.lane.append(0, &[n; 40]).unwrap();
    }
    let verdict = verify(dir.path()).unwrap();
    assert!(verdict.sound(), "{verdict}");
    assert_eq!(verdict.undelivered, [95, 75]);
    let view = inspect(dir.path()).unwrap();
    assert_eq!((view.lanes.len(), view.lanes[0].undelivered), (1, [95, 75]));
    assert_eq!(view.lanes[0].epoch, bench.lane.epoch());
    let told = view.told(["paid", "others"]).to_string();
    assert!(told.contains("170 undelivered") && told.contains("  others: delivered to epoch"), "{told}");
    let mut dumped = Vec::new();
    let count = dump(&dir.path().join("journal"), false, |lane, frame| {
        dumped.push((lane, frame.payload.to_vec()));
        Ok(())
    });
    assert_eq!(count.unwrap(), 170);
    let read: Vec<_> = bench.read_all().into_iter().map(|seen| (0, seen.payload)).collect();
    assert_eq!(dumped, read);
    assert!(inspect(&dir.path().join("nowhere")).unwrap_err().to_string().contains("nowhere"));
    // What is delivered is only in the dump of all.
    let (seen, end) = bench.read_from(bench.reader.start());
    bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    assert_eq!(dump(dir.path(), false, |_, _| Ok(())).unwrap(), 0);
    assert!(dump(dir.path(), true, |_, _| Ok(())).unwrap() >= 170);
    assert!(verify(dir.path()).unwrap().sound());
}

#[test]
fn a_thread_each_and_a_ring_that_is_always_too_small_keep_every_frame_in_order() {
    const COUNT: u64 = 30_000;
    let dir = scratch();
    let config = Config { disk_bytes: Bytes::mib(64), sync_interval: Duration::from_millis(4), ..tiny() };
    let parts = Journal::open(dir.path(), &config, 1).unwrap().into_parts();
    let (mut lane, mut reader) = (parts.lanes.into_iter().next().unwrap(), parts.readers.into_iter().next().unwrap());
    let (stopper, stop) = crate::lifecycle::stop();
    let spiller = std::thread::spawn(move || parts.spiller.run(stop));
    let worker = std::thread::spawn(move || {
        for n in 0..COUNT {
            while lane.append((n % 2) as u8, &n.to_le_bytes().repeat(1 + n as usize % 20)).is_err() {
                std::thread::yield_now();
            }
        }
    });
    let mut batch = Batch::default();
    let (mut at, mut next, mut delivered) = (reader.start(), 0u64, reader.delivered());
    while next < COUNT {
        reader.read(at, &mut batch).unwrap();
        let seen: Vec<_> = batch.frames().map(|frame| super::Seen::of(&frame)).collect();
        for frame in &seen {
            assert_eq!(frame.payload, next.to_le_bytes().repeat(1 + next as usize % 20));
            assert_eq!((frame.stream, frame.seq), ((next % 2) as u8, next / 2));
            next += 1;
        }
        at = batch.next();
        delivered = marks(delivered, &seen);
        // A sink that dawdles: so there is always something in the segments.
        if next % 7 < 3 {
            reader.acknowledge(at, delivered, [0; 64]);
        }
        if batch.is_empty() {
            std::thread::yield_now();
        }
    }
    worker.join().unwrap();
    reader.acknowledge(at, delivered, [0; 64]);
    drop(reader);
    stopper.stop();
    spiller.join().unwrap();
    let mut parts = Journal::open(dir.path(), &config, 1).unwrap().into_parts();
    let reader = &mut parts.readers[0];
    assert_eq!(read_from(reader, reader.start()).0, []);
}

/// A file system of its own of `bytes`; `None` where this user may not mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Option<Small> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|done| done.status.success()).then_some(Small(dir))
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn an_intact_ring_on_a_full_disk_starts_and_a_new_one_says_what_to_do() {
    let Some(small) = Small::mount(256 << 10) else {
        eprintln!("skipped: this user may not mount a file system");
        return;
    };
    let data = small.0.path().join("data");
    let mut bench = Bench::open(&data, &tiny());
    bench.lane.append(0, b"kept").unwrap();
    drop(bench);
    small.fill();
    let mut bench = Bench::open(&data, &tiny());
    assert_eq!((bench.report.opening, bench.read_all().len()), (Opening::Intact, 1));
    // The sink alone keeps it going.
    for _ in 0..50 {
        while bench.lane.append(0, &[7; 100]).is_ok() {}
        bench.spill();
        let (seen, end) = bench.read_from(bench.durable().max(bench.reader.start()));
        bench.reader.acknowledge(end, marks(bench.reader.delivered(), &seen), [0; 64]);
    }
    drop(bench);
    let larger = Config { ring_bytes: Bytes::mib(4), ..tiny() };
    let error = Bench::open_on(&Disk::default(), &data, &larger).err().unwrap();
    assert!(matches!(error, OpenError::SetAside { .. }), "{error}");
    assert!(error.to_string().contains("4 MiB") && error.to_string().contains("ring_bytes"), "{error}");
    // And it changed nothing that the former size would miss.
    let bench = Bench::open(&data, &tiny());
    assert!(bench.lane.size() == 16 << 10);
}
