//! A disk that fails or is full, the alarms about it, and the age of frames that are not durable.

use std::{path::Path, time::Duration};

use super::{
    LOG, PAYLOAD, ReadFrame, TestLane, capture_fault, new_temp_dir, open_journal_on_disk, read_from, ring_path,
    segments, small_config, watermark_behind,
};
use crate::{
    journal::{
        Batch, Config, LaneCondition, OpenError, Position, SpillMode, disk::Disk, frame::frame_len,
        verify_undelivered_frames,
    },
    size::Bytes,
};

#[test]
fn when_the_disk_budget_is_used_up_frames_stay_in_the_ring_until_the_sink_takes_them() {
    let dir = new_temp_dir();
    let config = Config { max_disk_bytes: Bytes::kib(24), ..small_config() };
    let mut lane = TestLane::open(dir.path(), &config);
    let mut appended = 0u64;
    let ((), fault) = capture_fault("spill_stopped", || {
        for _ in 0..40 {
            while lane.writer.append(&[7; PAYLOAD]).is_ok() {
                appended += 1;
            }
            lane.spill();
        }
    });
    assert_eq!(fault, ["bounded", "spill-stopped"]);
    let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= 24 << 10, "{on_disk}");
    assert!(lane.writer.append(&[7; PAYLOAD]).is_err());
    let (frames, end) = lane.read_from(lane.reader.first_undelivered());
    assert_eq!(frames.len() as u64, appended, "no appended frame is lost");
    lane.acknowledge(end, &frames);
    lane.spill();
    assert!(lane.writer.append(&[7; PAYLOAD]).is_ok());
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn frames_that_fit_the_disk_budget_are_spilled_though_the_ring_holds_more() {
    let dir = new_temp_dir();
    let config = Config {
        ring_bytes: Bytes::mib(2),
        segment_bytes: Bytes::mib(1),
        max_disk_bytes: Bytes::kib(900),
        ..small_config()
    };
    let mut lane = TestLane::open(dir.path(), &config);
    while lane.writer.append(&[7; 1_000]).is_ok() {}
    lane.spill();
    let durable = lane.durable_position();
    assert!(durable.get() > 600 << 10, "{durable}");
    assert!(lane.writer.append(&[7; 1_000]).is_ok(), "there is room again");
    lane.spill();
    let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= 900 << 10, "{on_disk}");
    assert_eq!(lane.durable_position(), durable);
}

#[test]
fn blocks_written_before_a_disk_error_are_synced_and_leave_the_ring() {
    let dir = new_temp_dir();
    let disk = Disk::default();
    let config = Config {
        ring_bytes: Bytes::mib(2),
        segment_bytes: Bytes::mib(4),
        max_disk_bytes: Bytes::mib(16),
        ..small_config()
    };
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &config).unwrap();
    let mut appended = 0;
    while lane.writer.append(&[7; 1_000]).is_ok() {
        appended += 1;
    }
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    lane.now += Duration::from_secs(1);
    // Operations: the file, its header, and two blocks of two writes each. Then one write fails.
    disk.faults.fail_from(6, 1);
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    let durable = lane.durable_position();
    assert!(durable.get() > 400 << 10, "{durable}");
    let durable_seqs = lane.reader.durable_watermark().next.get();
    assert_eq!(
        durable_seqs,
        lane.read_from(Position::ZERO).0.len() as u64 - (lane.reader.head() - durable).div_ceil(frame_len(1_000))
    );
    drop(lane);
    let mut lane = TestLane::open(dir.path(), &config);
    assert_eq!((lane.report.condition, lane.report.recovered), (LaneCondition::Intact, appended));
    assert_eq!(lane.read_all().len() as u64, appended);
}

#[test]
fn after_a_disk_error_the_spiller_backs_off_and_the_sink_empties_the_ring() {
    let dir = new_temp_dir();
    let disk = Disk::default();
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
    disk.faults.fail_from(0, u64::MAX);
    let ((), fault) = capture_fault("spill_stopped", || {
        for _ in 0..20 {
            while lane.writer.append(&[7; PAYLOAD]).is_ok() {}
            let before = disk.faults.operation_count();
            lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
            // Every frame is due by then.
            lane.now += Duration::from_millis(50);
            lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
            assert!(disk.faults.operation_count() - before <= 6, "the spiller does not retry at once");
            let (frames, end) = lane.read_from(lane.durable_position());
            assert!(!frames.is_empty());
            lane.acknowledge(end, &frames);
        }
    });
    assert_eq!(fault, ["bounded", "spill-stopped"]);
    assert_eq!(segments(dir.path()).len(), 0);
    disk.faults.fail_from(u64::MAX, 0);
    lane.writer.append(b"more").unwrap();
    lane.spill();
    assert_eq!(lane.durable_position(), lane.reader.head());
}

#[test]
fn with_spill_always_acknowledged_frames_are_written_too() {
    let dir = new_temp_dir();
    let config = Config { spill: SpillMode::Always, ..small_config() };
    let mut lane = TestLane::open(dir.path(), &config);
    lane.writer.append(b"one").unwrap();
    let (frames, end) = lane.read_from(Position::ZERO);
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    lane.acknowledge(end, &frames);
    lane.now += Duration::from_millis(50);
    lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn frames_acknowledged_within_the_sync_interval_are_never_written_to_the_disk() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    let mut next = lane.reader.first_undelivered();
    for n in 0..500u32 {
        lane.writer.append(&n.to_le_bytes()).unwrap();
        let (frames, end) = lane.read_from(next);
        next = end;
        lane.acknowledge(end, &frames);
        lane.now += Duration::from_millis(5);
        lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
    }
    assert_eq!(segments(dir.path()).len(), 0);
    lane.close();
    assert!(verify_undelivered_frames(dir.path(), LOG).unwrap().is_sound());
}

#[test]
fn frames_written_into_a_removed_segment_are_not_durable_and_are_written_again() {
    let dir = new_temp_dir();
    let mut lane = TestLane::open(dir.path(), &small_config());
    lane.writer.append(b"one").unwrap();
    lane.spill();
    let durable = lane.durable_position();
    std::fs::remove_file(&segments(dir.path())[0]).unwrap();
    lane.writer.append(b"two").unwrap();
    let (_, fault) = capture_fault("spill_stopped", || lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now));
    assert_eq!(fault, ["bounded", "spill-stopped"]);
    assert_eq!(lane.durable_position(), durable, "a sync of a file without a name does not count");
    lane.now += Duration::from_secs(1);
    lane.spill();
    assert_eq!(lane.durable_position(), lane.reader.head());
    assert_eq!(lane.read_from(durable).0[0].payload, b"two");
}

#[test]
fn the_alarm_ends_with_the_fault_even_if_nothing_is_left_to_spill() {
    let dir = new_temp_dir();
    let disk = Disk::default();
    let mut lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
    disk.faults.fail_from(0, u64::MAX);
    lane.writer.append(b"one").unwrap();
    lane.spill();
    let (frames, end) = lane.read_from(Position::ZERO);
    lane.acknowledge(end, &frames);
    lane.spill();
    assert!(lane.spiller.segment_log.is_backing_off(), "the disk still fails");
    disk.faults.fail_from(u64::MAX, 0);
    lane.spill();
    assert!(!lane.spiller.segment_log.is_backing_off());
    assert_eq!(segments(dir.path()).len(), 0, "the probe is removed");
}

/// Moves the time that the spiller stored in the ring back by an hour, as if the process had been down for so long.
fn set_stored_time_back_one_hour(ring: &Path) {
    let mut bytes = std::fs::read(ring).unwrap();
    let since = u64::from_le_bytes(bytes[512..520].try_into().unwrap());
    bytes[512..520].copy_from_slice(&(since - 3_600_000).to_le_bytes());
    std::fs::write(ring, bytes).unwrap();
}

#[test]
fn the_age_of_undurable_frames_counts_on_over_a_killed_process() {
    let dir = new_temp_dir();
    let disk = Disk::default();
    let open_and_fail_from = |operation| {
        let lane = TestLane::open_and_recover_on_disk(&disk, dir.path(), &small_config()).unwrap();
        disk.faults.fail_from(operation, u64::MAX);
        lane
    };
    let mut lane = open_and_fail_from(0);
    lane.spill();
    lane.writer.append(b"one").unwrap();
    lane.spill();
    let age = |lane: &TestLane| lane.spiller.sample_head_and_get_age_bound_of_oldest_frame_to_spill(0, lane.now);
    let mut shown = age(&lane).unwrap();
    assert!(shown >= Duration::from_secs(40), "{shown:?}");
    for _ in 0..2 {
        // As of the last round of the spiller, 20 seconds before; the real clock stood still since then.
        shown -= Duration::from_secs(20);
        drop(lane);
        disk.faults.fail_from(u64::MAX, 0);
        let down = Duration::from_secs(3_600);
        set_stored_time_back_one_hour(&ring_path(dir.path()));
        lane = open_and_fail_from(0);
        let (now, of) = (age(&lane).unwrap(), shown + down);
        assert!(now >= of && now < of + Duration::from_secs(10), "{now:?} of {of:?}");
        lane.writer.append(b"a younger one").unwrap();
        lane.spill();
        shown = age(&lane).unwrap();
        assert!(shown >= of + Duration::from_secs(40), "{shown:?} of {of:?}");
    }
    disk.faults.fail_from(u64::MAX, 0);
    lane.spill();
    assert_eq!(age(&lane), None);
    // A frame appended after that has its own age.
    lane.writer.append(b"later").unwrap();
    assert!(age(&lane).unwrap() <= Duration::from_secs(20));
    drop(lane);
    let lane = open_and_fail_from(u64::MAX);
    assert!(age(&lane).unwrap() <= Duration::from_secs(20), "{:?}", age(&lane));
}

#[test]
fn with_a_thread_for_each_end_and_a_small_ring_every_frame_is_read_once_in_order() {
    const COUNT: u64 = 30_000;
    let dir = new_temp_dir();
    let config = Config { max_disk_bytes: Bytes::mib(64), sync_interval: Duration::from_millis(4), ..small_config() };
    let open = || open_journal_on_disk(&Disk::default(), dir.path(), &config, 1).unwrap().into_parts();
    let parts = open();
    let (mut writer, mut reader) =
        (parts.writers.into_iter().next().unwrap(), parts.readers.into_iter().next().unwrap());
    let (stopper, stop) = crate::lifecycle::stop_signal();
    let spiller = std::thread::spawn(move || parts.spiller.run_until_stopped_then_close(stop));
    let worker = std::thread::spawn(move || {
        for n in 0..COUNT {
            while writer.append(&n.to_le_bytes().repeat(1 + n as usize % 20)).is_err() {
                std::thread::yield_now();
            }
        }
    });
    let mut batch = Batch::default();
    let (mut position, mut next, mut delivered) = (reader.first_undelivered(), 0u64, reader.recovered_watermark());
    while next < COUNT {
        reader.read(position, &mut batch).unwrap();
        let frames: Vec<_> = batch.frames().map(|frame| ReadFrame::of(&frame)).collect();
        for frame in &frames {
            assert_eq!(frame.payload, next.to_le_bytes().repeat(1 + next as usize % 20));
            assert_eq!(frame.seq, next);
            next += 1;
        }
        position = batch.next_position();
        delivered = watermark_behind(delivered, &frames);
        // Acknowledges late, so that frames are read from segments too.
        if next % 7 < 3 {
            reader.acknowledge(position, delivered, [0; 64]);
        }
        if batch.is_empty() {
            std::thread::yield_now();
        }
    }
    worker.join().unwrap();
    reader.acknowledge(position, delivered, [0; 64]);
    drop(reader);
    stopper.stop();
    spiller.join().unwrap();
    let mut parts = open();
    let reader = &mut parts.readers[0];
    assert_eq!(read_from(reader, reader.first_undelivered()).0, []);
}

/// A tmpfs, unmounted at the end.
struct SmallFileSystem(tempfile::TempDir);

impl SmallFileSystem {
    /// Mounts a file system of so many bytes; `None` if this user may not.
    fn try_mount(bytes: u64) -> Option<SmallFileSystem> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|done| done.status.success()).then_some(SmallFileSystem(dir))
    }

    /// Writes a file until there is no room left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn an_intact_ring_starts_on_a_full_disk_and_a_larger_one_is_refused_with_advice() {
    let Some(small) = SmallFileSystem::try_mount(256 << 10) else {
        let must_run = std::env::var("CI").is_ok_and(|ci| ci == "true") && rustix::process::geteuid().is_root();
        assert!(!must_run, "a tmpfs is needed for this test, and root cannot mount one");
        eprintln!("not run: this user may not mount a file system");
        return;
    };
    let data = small.0.path().join("data");
    let mut lane = TestLane::open(&data, &small_config());
    lane.writer.append(b"kept").unwrap();
    drop(lane);
    small.fill();
    let mut lane = TestLane::open(&data, &small_config());
    assert_eq!((lane.report.condition, lane.read_all().len()), (LaneCondition::Intact, 1));
    // With the sink alone the lane continues to work.
    for _ in 0..50 {
        while lane.writer.append(&[7; PAYLOAD]).is_ok() {}
        lane.spill();
        let (frames, end) = lane.read_from(lane.durable_position().max(lane.reader.first_undelivered()));
        lane.acknowledge(end, &frames);
    }
    drop(lane);
    let larger = Config { ring_bytes: Bytes::mib(4), ..small_config() };
    let error = TestLane::open_and_recover_on_disk(&Disk::default(), &data, &larger).err().unwrap();
    assert!(matches!(error, OpenError::Preallocate { .. }), "{error}");
    assert!(error.to_string().contains("4 MiB") && error.to_string().contains("ring_bytes"), "{error}");
    // The refused start has changed nothing.
    let lane = TestLane::open(&data, &small_config());
    assert!(lane.writer.ring_bytes() == 16 << 10);
}
