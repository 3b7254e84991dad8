//! All lanes of a log share its segments: one sync makes the frames of every lane durable, and each lane finds its own.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    LOG, PAYLOAD, ReadFrame, flip_bit, journal_dir, new_temp_dir, open_journal_on_disk, read_from, segments,
    small_config, watermark_behind,
};
use crate::{
    journal::{
        Batch, Config, JournalParts, LaneCondition, LaneReader, Position, disk::Disk, dump_frames_and_count,
        segment::SEGMENT_HEADER, verify_undelivered_frames,
    },
    size::Bytes,
};

const LANES: usize = 32;

fn open(dir: &Path, config: &Config, workers: usize) -> JournalParts {
    open_journal_on_disk(&Disk::default(), dir, config, workers).unwrap().into_parts()
}

/// Small rings and segments of a usual size, so that a round fits into one segment.
fn config() -> Config {
    Config { segment_bytes: Bytes::mib(1), max_disk_bytes: Bytes::mib(64), ..small_config() }
}

/// Lets the spiller run until everything is spilled and checkpointed.
fn spill(parts: &mut JournalParts, now: &mut Instant) {
    for _ in 0..2 {
        parts.spiller.spill_due_lanes_and_save_due_checkpoints(*now);
        *now += Duration::from_secs(20);
    }
}

fn append_to_each_lane(parts: &mut JournalParts, round: u8) {
    for writer in &mut parts.writers {
        writer.append(&[round; PAYLOAD]).unwrap();
    }
}

fn deliver_all(reader: &mut LaneReader) -> Vec<ReadFrame> {
    let (frames, end) = read_from(reader, reader.first_undelivered());
    reader.acknowledge(end, watermark_behind(reader.recovered_watermark(), &frames), [0; 64]);
    frames
}

#[test]
fn a_round_makes_one_sync_whatever_the_number_of_lanes_and_checkpoints_one_more() {
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let mut parts = open_journal_on_disk(&disk, dir.path(), &config(), LANES).unwrap().into_parts();
    let mut now = Instant::now();
    // The segment exists, and no checkpoint is due.
    append_to_each_lane(&mut parts, 0);
    spill(&mut parts, &mut now);
    parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
    for round in 1..5 {
        append_to_each_lane(&mut parts, round);
        let before = disk.faults.sync_count();
        now += Duration::from_millis(100);
        parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
        assert_eq!(disk.faults.sync_count() - before, 1);
        for reader in &mut parts.readers {
            assert_eq!(reader.durable_watermark().next.get(), u64::from(round) + 1, "lane {}", reader.lane());
        }
    }
    assert_eq!(segments(dir.path()).len(), 1);
    // The checkpoints of all lanes are due.
    parts.readers.iter_mut().for_each(|reader| _ = deliver_all(reader));
    let before = disk.faults.sync_count();
    parts.spiller.spill_due_lanes_and_save_due_checkpoints(now + Duration::from_secs(2));
    assert_eq!(disk.faults.sync_count() - before, 1);
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn with_32_lanes_and_a_slow_disk_no_click_is_undurable_for_longer_than_the_interval_a_round_and_a_sync() {
    const SYNC: Duration = Duration::from_millis(20);
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let config = Config { sync_interval: Duration::from_millis(50), ..config() };
    let mut parts = open_journal_on_disk(&disk, dir.path(), &config, LANES).unwrap().into_parts();
    disk.faults.simulate_sync_duration(SYNC);
    let mut now = Instant::now();
    // Of each lane, the end and the time of each frame that is not durable yet.
    let mut undurable: Vec<VecDeque<(Position, Instant)>> = vec![VecDeque::new(); LANES];
    let (mut oldest, mut syncs, rounds) = (Duration::ZERO, 0, 200);
    for round in 0..rounds {
        let (before, started) = (disk.faults.sync_count(), now);
        // The sink takes a few clicks, so that checkpoints are due each second.
        let reader = &mut parts.readers[round % LANES];
        let (frames, end) = read_from(reader, reader.first_undelivered());
        if round % 5 == 0 {
            reader.acknowledge(end, watermark_behind(reader.recovered_watermark(), &frames), [0; 64]);
        }
        let pause = parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
        let synced = disk.faults.sync_count() - before;
        syncs += synced;
        now += SYNC * synced;
        for (lane, waiting) in undurable.iter_mut().enumerate() {
            let durable = parts.spiller.segment_log.lanes[lane].shared.durable_position();
            while let Some((_, appended)) = waiting.pop_front_if(|(end, _)| *end <= durable) {
                // The first sync of a round is that of the frames.
                oldest = oldest.max(started + SYNC - appended);
            }
        }
        // Each second lane gets a click right after its ring was copied, the others somewhere in the round.
        for (lane, waiting) in undurable.iter_mut().enumerate() {
            let appended = if lane % 2 == 0 { started } else { now };
            if (lane + round) % 3 > 0 && parts.writers[lane].append(&[7; 20]).is_ok() {
                waiting.push_back((parts.readers[lane].head(), appended));
            }
        }
        now += pause;
    }
    let bound = config.sync_interval + SYNC;
    assert!(oldest > config.sync_interval && oldest <= bound, "{oldest:?} of {bound:?}");
    assert!(syncs as usize <= rounds + rounds / 20, "{syncs} syncs in {rounds} rounds");
}

#[test]
fn a_frame_that_comes_in_the_longer_pause_of_an_idle_log_is_written_within_the_interval() {
    let dir = new_temp_dir();
    let config = config();
    let (mut parts, mut now) = (open(dir.path(), &config, 1), Instant::now());
    let usual = config.sync_interval / 4;
    let mut pause = Duration::ZERO;
    // Long enough to be idle; the pause behind a round with checkpoints is shorter by what they took.
    for round in 0..300 {
        if round > 200 && pause > usual {
            break;
        }
        pause = parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
        now += pause;
    }
    assert!(pause > usual, "{pause:?}");
    // Right behind the last round, which was a whole pause ago.
    append_to_each_lane(&mut parts, 1);
    let came = now - pause;
    let waits = |parts: &JournalParts, now| {
        parts.spiller.sample_head_and_get_age_bound_of_oldest_frame_to_spill(0, now).is_some()
    };
    loop {
        let pause = parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
        if !waits(&parts, now) {
            break;
        }
        now += pause;
    }
    assert!(now - came <= config.sync_interval, "{:?}", now - came);
}

#[test]
fn each_lane_finds_its_own_frames_in_shared_segments_before_and_after_a_restart() {
    let dir = new_temp_dir();
    let config = Config { segment_bytes: Bytes::kib(64), ..config() };
    let mut parts = open(dir.path(), &config, 5);
    let mut now = Instant::now();
    let mut expected = BTreeMap::<u16, Vec<Vec<u8>>>::new();
    for round in 0..120u32 {
        for (lane, writer) in (0..).zip(&mut parts.writers) {
            // The lanes have blocks of very different sizes, and not all of them one in each round.
            for n in 0..(round * (u32::from(lane) + 1)) % 7 {
                let payload = [u32::from(lane), round, n].map(u32::to_le_bytes).concat().repeat(1 + lane as usize * 3);
                writer.append(&payload).unwrap();
                expected.entry(lane).or_default().push(payload);
            }
        }
        now += Duration::from_millis(100);
        parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
    }
    assert!(segments(dir.path()).len() > 2);
    let check = |parts: &mut JournalParts| {
        for reader in &mut parts.readers {
            let frames = read_from(reader, reader.first_undelivered()).0;
            assert!(frames.iter().map(|frame| &frame.payload).eq(&expected[&reader.lane()]), "lane {}", reader.lane());
        }
    };
    check(&mut parts);
    let mut dumped = BTreeMap::<u16, Vec<Vec<u8>>>::new();
    let mut collect = |lane, payload: &[u8]| dumped.entry(lane).or_default().push(payload.to_vec());
    dump_frames_and_count(dir.path(), LOG, false, |lane, frame| {
        collect(lane, frame.payload);
        Ok(())
    })
    .unwrap();
    assert_eq!(dumped, expected);
    drop(parts);
    for lane in 0..5 {
        std::fs::remove_file(journal_dir(dir.path()).join(format!("lane-{lane:04}.ring"))).unwrap();
    }
    let journal = open_journal_on_disk(&Disk::default(), dir.path(), &config, 5).unwrap();
    assert!(
        journal.recovery_reports().iter().all(|lane| lane.condition == LaneCondition::Cut && lane.quarantined == 0)
    );
    check(&mut journal.into_parts());
}

#[test]
fn a_damaged_block_header_costs_no_click_of_any_lane() {
    let dir = new_temp_dir();
    let mut parts = open(dir.path(), &config(), 3);
    let mut now = Instant::now();
    for round in 0..4 {
        append_to_each_lane(&mut parts, round);
        spill(&mut parts, &mut now);
    }
    drop(parts);
    // The block headers of the first lane, and of the second one in the first round.
    let block = super::FRAME + crate::journal::segment::BLOCK_HEADER;
    for offset in [SEGMENT_HEADER + 20, SEGMENT_HEADER + block + 50] {
        flip_bit(&segments(dir.path())[0], offset);
    }
    for lane in 0..3 {
        std::fs::remove_file(journal_dir(dir.path()).join(format!("lane-{lane:04}.ring"))).unwrap();
    }
    assert_eq!(verify_undelivered_frames(dir.path(), LOG).unwrap().missing, 0);
    let journal = open_journal_on_disk(&Disk::default(), dir.path(), &config(), 3).unwrap();
    let reports = journal.recovery_reports();
    assert_eq!(reports.iter().map(|lane| (lane.recovered, lane.quarantined)).collect::<Vec<_>>(), [(4, 0); 3]);
    assert_eq!(reports.iter().map(|lane| lane.damaged).sum::<u64>(), 2);
    let mut parts = journal.into_parts();
    for reader in &mut parts.readers {
        assert_eq!(deliver_all(reader).len(), 4);
    }
    spill(&mut parts, &mut now);
    assert_eq!(segments(dir.path()).len(), 0);
    assert_eq!(count_quarantined_files(dir.path()), 1, "the evidence is kept");
}

fn count_quarantined_files(dir: &Path) -> usize {
    std::fs::read_dir(journal_dir(dir).join("quarantine")).map_or(0, Iterator::count)
}

#[test]
fn damage_that_begins_in_a_delivered_block_and_swallows_one_of_another_lane_keeps_the_file_at_a_restart() {
    let dir = new_temp_dir();
    let mut parts = open(dir.path(), &config(), 2);
    let mut now = Instant::now();
    for round in 0..4 {
        append_to_each_lane(&mut parts, round);
        spill(&mut parts, &mut now);
    }
    assert_eq!(deliver_all(&mut parts.readers[0]).len(), 4);
    spill(&mut parts, &mut now);
    drop(parts);
    let block = super::FRAME + crate::journal::segment::BLOCK_HEADER;
    let path = &segments(dir.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    // From the middle of the first lane's second frame to the end of the second lane's second block.
    let second_round = SEGMENT_HEADER + 2 * block;
    bytes[second_round + block - 32..second_round + 2 * block].fill(0);
    std::fs::write(path, bytes).unwrap();
    for lane in 0..2 {
        std::fs::remove_file(journal_dir(dir.path()).join(format!("lane-{lane:04}.ring"))).unwrap();
    }
    let mut parts = open(dir.path(), &config(), 2);
    assert_eq!(deliver_all(&mut parts.readers[0]).len(), 0);
    assert_eq!(deliver_all(&mut parts.readers[1]).iter().map(|frame| frame.seq).collect::<Vec<_>>(), [0, 2, 3]);
    spill(&mut parts, &mut now);
    assert_eq!((segments(dir.path()).len(), count_quarantined_files(dir.path())), (0, 1), "the evidence is kept");
}

/// Reads a lane of `count` frames, trying again after an error. Asserts that each number is read or quarantined.
/// Returns the end of the lane and the quarantined numbers.
fn read_and_list_lost_seqs(reader: &mut LaneReader, count: u64) -> (Position, Vec<u64>) {
    let (mut batch, mut next, mut errors) = (Batch::default(), reader.first_undelivered(), 0);
    let mut seqs = Vec::new();
    loop {
        match reader.read(next, &mut batch) {
            Ok(()) if batch.next_position() == next => break,
            Ok(()) => next = batch.next_position(),
            Err(_) => {
                errors += 1;
                assert!(errors < 10);
                continue;
            }
        }
        seqs.extend(batch.frames().map(|frame| frame.seq.get()));
    }
    let quarantined = reader.status().quarantined;
    let lost: Vec<u64> = quarantined.iter().flat_map(|range| range.first.get()..range.end.get()).collect();
    assert!(lost.iter().all(|seq| !seqs.contains(seq)));
    seqs.extend(&lost);
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(0..count), "lane {}", reader.lane());
    (next, lost)
}

#[test]
fn an_unreadable_page_under_blocks_of_many_lanes_costs_each_lane_its_numbers_there_and_no_other() {
    // More than a ring holds, so that a start cannot take from there what the page has lost.
    const ROUNDS: u64 = 120;
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let mut parts = open_journal_on_disk(&disk, dir.path(), &config(), 3).unwrap().into_parts();
    let mut now = Instant::now();
    for round in 0..ROUNDS as u8 {
        append_to_each_lane(&mut parts, round);
        spill(&mut parts, &mut now);
    }
    for writer in &mut parts.writers {
        let ring_bytes = usize::try_from(writer.ring_bytes()).unwrap();
        assert!(!writer.try_make_room_for(ring_bytes), "all that is durable is reclaimed for it");
    }
    let [segment] = &segments(dir.path())[..] else { panic!("one segment") };
    assert!(segment.metadata().unwrap().len() > 3 * 4096);
    for page in [1, 2] {
        disk.faults.make_unreadable(segment, page * 4096..page * 4096 + 1);
    }
    let before: Vec<_> = parts.readers.iter_mut().map(|reader| read_and_list_lost_seqs(reader, ROUNDS).1).collect();
    assert!(before.iter().all(|lost| (6..40).contains(&lost.len())), "{before:?}");
    drop(parts);
    let mut parts = open_journal_on_disk(&disk, dir.path(), &config(), 3).unwrap().into_parts();
    for (reader, before) in parts.readers.iter_mut().zip(before) {
        let (end, lost) = read_and_list_lost_seqs(reader, ROUNDS);
        assert_eq!(lost, before, "lane {}", reader.lane());
        reader.acknowledge(end, reader.durable_watermark(), [0; 64]);
    }
    spill(&mut parts, &mut now);
    assert_eq!((segments(dir.path()).len(), count_quarantined_files(dir.path())), (0, 1), "the evidence is kept");
}

#[test]
fn a_segment_is_kept_until_every_lane_is_delivered_past_it() {
    let dir = new_temp_dir();
    let mut parts = open(dir.path(), &config(), 2);
    let mut now = Instant::now();
    append_to_each_lane(&mut parts, 1);
    spill(&mut parts, &mut now);
    assert_eq!(deliver_all(&mut parts.readers[0]).len(), 1);
    spill(&mut parts, &mut now);
    assert_eq!(segments(dir.path()).len(), 1);
    drop(parts);
    let mut parts = open(dir.path(), &config(), 2);
    spill(&mut parts, &mut now);
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(deliver_all(&mut parts.readers[0]).len(), 0);
    assert_eq!(deliver_all(&mut parts.readers[1]).len(), 1);
    spill(&mut parts, &mut now);
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn after_a_disk_error_the_frames_of_all_lanes_are_written_into_a_new_segment() {
    let (dir, disk) = (new_temp_dir(), Disk::default());
    let mut parts = open_journal_on_disk(&disk, dir.path(), &config(), 4).unwrap().into_parts();
    let mut now = Instant::now();
    append_to_each_lane(&mut parts, 1);
    spill(&mut parts, &mut now);
    append_to_each_lane(&mut parts, 2);
    // Two writes for each lane's block, then the sync.
    disk.faults.fail_from(8, 1);
    parts.spiller.spill_due_lanes_and_save_due_checkpoints(now);
    assert!(parts.spiller.segment_log.is_backing_off());
    assert!(parts.readers.iter_mut().all(|reader| reader.durable_watermark().next.get() == 1));
    now += Duration::from_secs(1);
    spill(&mut parts, &mut now);
    assert!(!parts.spiller.segment_log.is_backing_off());
    assert!(parts.readers.iter_mut().all(|reader| reader.durable_watermark().next.get() == 2));
    assert_eq!(segments(dir.path()).len(), 2);
    for reader in &mut parts.readers {
        assert_eq!(read_from(reader, reader.first_undelivered()).0.len(), 2);
    }
}

#[test]
fn the_ring_of_a_drained_lane_without_a_worker_is_removed_and_its_epochs_go_on() {
    let dir = new_temp_dir();
    let rings =
        || (0..3).map(|n| journal_dir(dir.path()).join(format!("lane-{n:04}.ring")).exists()).collect::<Vec<_>>();
    let close = |mut parts: JournalParts, delivers: bool| {
        if delivers {
            parts.readers.iter_mut().for_each(|reader| _ = deliver_all(reader));
        }
        drop((parts.writers, parts.readers));
        parts.spiller.spill_rest_write_last_checkpoints_and_close();
    };
    let mut parts = open(dir.path(), &config(), 3);
    append_to_each_lane(&mut parts, 1);
    // Lane 1 is delivered, lane 2 is not.
    deliver_all(&mut parts.readers[0]);
    deliver_all(&mut parts.readers[1]);
    let epochs: Vec<_> = parts.writers.iter().map(|writer| writer.epoch()).collect();
    close(parts, false);
    assert_eq!(rings(), [true; 3]);
    // Lane 1 is not opened any more; lane 2 is drained now.
    let parts = open(dir.path(), &config(), 1);
    assert_eq!(rings(), [true, false, true]);
    assert_eq!(parts.readers.iter().map(|reader| reader.lane()).collect::<Vec<_>>(), [0, 2]);
    close(parts, true);
    assert_eq!(rings(), [true, false, false]);
    close(open(dir.path(), &config(), 1), true);
    // The lanes come back.
    let parts = open(dir.path(), &config(), 3);
    assert_eq!(rings(), [true; 3]);
    for (lane, epoch) in epochs.iter().enumerate() {
        assert!(parts.writers[lane].epoch() > *epoch);
        let ends = parts.readers[lane].status().epoch_ends;
        assert!(ends.iter().any(|end| end.epoch == *epoch && end.next_seq.get() == 1 && !end.cut), "{ends:?}");
    }
}
