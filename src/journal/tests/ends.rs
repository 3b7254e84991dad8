//! How epochs are said to have ended, whatever dies; and the ring that is put aside, a home like a segment.

use super::{Bench, marks, scratch, tiny};
use crate::{
    journal::{Batch, Config, End, Journal, Mark, Opening, Parts, disk::Disk, tests::machine::Machine, verify},
    size::Bytes,
};

fn ended(bench: &Bench) -> Vec<End> {
    bench.reader.standing().ended
}

#[test]
fn a_start_that_dies_anywhere_still_leaves_how_the_last_epoch_ended() {
    for stop in 0.. {
        let disk = Disk::default();
        let dir = scratch();
        let mut bench = Bench::open_on(&disk, dir.path(), &tiny()).unwrap();
        let epoch = bench.lane.epoch();
        (0..7).for_each(|n| _ = bench.lane.append(0, &[n; 50]).unwrap());
        drop(bench);
        disk.faults.stop_at(stop, u64::MAX);
        let started = Bench::open_on(&disk, dir.path(), &tiny()).map(drop).is_ok();
        disk.faults.stop_at(u64::MAX, 0);
        let bench = Bench::open_on(&disk, dir.path(), &tiny()).unwrap();
        let end = ended(&bench).into_iter().find(|end| end.epoch == epoch);
        assert_eq!(end, Some(End { epoch, next: [7, 0], cut: false }), "stopped at effect {stop}");
        if started {
            assert!(stop > 5, "only {stop} effects");
            break;
        }
    }
}

#[test]
fn an_epoch_that_ended_whole_is_cut_once_the_power_takes_what_lay_in_the_ring_alone() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    let first = bench.lane.epoch();
    (0..3).for_each(|n| _ = bench.lane.append(0, &[n; 50]).unwrap());
    bench.spill();
    (3..5).for_each(|n| _ = bench.lane.append(0, &[n; 50]).unwrap());
    drop(bench);
    let bench = Bench::open(dir.path(), &tiny());
    let second = bench.lane.epoch();
    assert_eq!(ended(&bench), [End { epoch: first, next: [5, 0], cut: false }]);
    drop(bench);
    std::fs::remove_file(dir.path().join("journal/lane-0000.ring")).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    let cut = |epoch, next| End { epoch, next, cut: true };
    assert_eq!(ended(&bench), [cut(first, [3, 0]), cut(second, [0, 0])]);
    assert_eq!(bench.read_all().len(), 3);
}

#[test]
fn a_lane_without_a_worker_stays_cut_however_often_it_is_opened() {
    let dir = scratch();
    let open = |workers| {
        let journal = Journal::open(dir.path(), &tiny(), workers).unwrap();
        let opening = journal.recovered()[1].opening;
        let Parts { lanes, readers, spiller } = journal.into_parts();
        (opening, lanes, readers, spiller)
    };
    let (_, mut lanes, _, mut spiller) = open(2);
    let now = std::time::Instant::now();
    spiller.tick(now);
    lanes[1].append(0, b"kept").unwrap();
    spiller.tick(now + std::time::Duration::from_secs(1));
    spiller.tick(now + std::time::Duration::from_secs(2));
    lanes[1].append(0, b"lost").unwrap();
    drop((lanes, spiller));
    std::fs::remove_file(dir.path().join("journal/lane-0001.ring")).unwrap();
    let mut openings = Vec::new();
    for _ in 0..3 {
        let (opening, _, readers, _) = open(1);
        openings.push(opening);
        let ended = readers[1].standing().ended;
        assert!(matches!(ended[..], [End { next: [1, 0], cut: true, .. }]), "{ended:?}");
    }
    assert_eq!(openings, [Opening::Cut, Opening::Intact, Opening::Intact]);
}

#[test]
fn what_is_marked_behind_a_power_cut_is_true_of_all_before_it() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    let epoch = bench.lane.epoch();
    (0..80).for_each(|n| _ = bench.lane.append(0, &[n; 100]).unwrap());
    drop(bench);
    // Of the ring's pages one was never written back.
    let ring = dir.path().join("journal/lane-0000.ring");
    let mut bytes = std::fs::read(&ring).unwrap();
    bytes[8192..12288].fill(0);
    std::fs::write(&ring, bytes).unwrap();
    let mut bench = Bench::open(dir.path(), &tiny());
    let seen = bench.read_all();
    let first_gap = seen.iter().zip(0..).find(|(frame, n)| frame.seq != *n).map(|(_, n)| n).unwrap();
    assert_eq!(ended(&bench), [End { epoch, next: [first_gap, 0], cut: true }]);
    let (seen, end) = bench.read_from(bench.reader.start());
    let passed = marks(bench.reader.delivered(), &seen);
    assert_eq!(passed[0].next, 80);
    bench.reader.acknowledge(end, passed, [0; 64]);
    assert_eq!(bench.reader.true_of(0, passed[0]), Mark { epoch, next: first_gap });
}

#[test]
fn a_ring_put_aside_for_its_size_outlives_a_power_cut_wherever_rings_are() {
    for tmpfs in [false, true] {
        let mut machine = Machine::new(tmpfs, tiny());
        let (mut process, readers) = machine.boot(1, Bytes::kib(16)).unwrap();
        (0..20).for_each(|n| _ = process.lanes[0].append(0, &[n; 100]).unwrap());
        drop((process, readers));
        let (process, mut readers) = machine.boot(1, Bytes::kib(32)).unwrap();
        assert_eq!(readers[0].safe(0).epoch, process.lanes[0].epoch(), "they have a home");
        readers.clear();
        drop(process);
        // The oldest state of every page and name.
        machine.power_cut(&mut |_| 0);
        let (_process, mut readers) = machine.boot(1, Bytes::kib(32)).unwrap();
        assert_eq!(super::machine::Process::read(&mut readers[0]).len(), 20, "rings on tmpfs: {tmpfs}");
    }
}

#[test]
fn what_a_ring_put_aside_holds_is_read_after_the_rings_have_moved() {
    let (dir, rings) = (scratch(), scratch());
    let there = Config { ring_dir: Some(rings.path().to_owned()), ..tiny() };
    let mut bench = Bench::open(dir.path(), &there);
    bench.lane.append(0, b"precious").unwrap();
    drop(bench);
    Bench::open(dir.path(), &Config { ring_bytes: Bytes::kib(32), ..there }).close();
    let mut bench = Bench::open(dir.path(), &tiny());
    assert_eq!(bench.read_all()[0].payload, b"precious");
}

#[test]
fn what_was_delivered_before_a_power_cut_is_not_called_damaged_whatever_checkpoint_is_left() {
    for ring_gone in [false, true] {
        let mut machine = Machine::new(ring_gone, tiny());
        let (mut process, mut readers) = machine.boot(1, Bytes::kib(16)).unwrap();
        let lane = &mut process.lanes[0];
        (0..20).for_each(|n| _ = lane.append(0, &[n; 100]).unwrap());
        // Delivered before the spiller looked, and before any checkpoint.
        let mut batch = Batch::default();
        let start = readers[0].start();
        readers[0].read(start, &mut batch).unwrap();
        let upto = batch.frames().nth(9).unwrap().next_pos;
        let epoch = lane.epoch();
        readers[0].acknowledge(upto, [Mark { epoch, next: 10 }, Mark::default()], [0; 64]);
        drop((process, readers));
        // Of the ring nothing is left, or the page with its positions is the one of the beginning, and a frame was never written.
        if !ring_gone {
            let path = machine.path().join("journal/lane-0000.ring");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[256..264].fill(0);
            bytes[4096..4096 + 12 * 176].fill(0);
            std::fs::write(&path, bytes).unwrap();
        }
        machine.power_cut(&mut |of| of - 1);
        let (process, readers) = machine.boot(1, Bytes::kib(16)).unwrap();
        let report = &process.reports[0];
        assert_eq!((report.opening, report.quarantined, report.damaged), (Opening::Cut, [0, 0], 0), "{ring_gone}");
        assert_eq!(report.recovered, [if ring_gone { 0 } else { 8 }, 0]);
        assert_eq!(readers[0].standing().quarantined, [vec![], vec![]]);
        assert!(verify(machine.path()).unwrap().sound(), "those who look see it alike");
    }
}

#[test]
fn what_a_segment_was_to_hold_is_called_damaged_though_the_power_was_cut_too() {
    let dir = scratch();
    let mut bench = Bench::open(dir.path(), &tiny());
    let epoch = bench.lane.epoch();
    (0..20).for_each(|n| _ = bench.lane.append(n % 2, &[n; 100]).unwrap());
    bench.spill();
    drop(bench);
    let path = dir.path().join("journal/lane-0000/0000000000000000.segment");
    let mut bytes = std::fs::read(&path).unwrap();
    // The first frame, and one in the middle.
    bytes[64 + 64 + 100] ^= 1;
    bytes[64 + 64 + 9 * 176 + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_file(dir.path().join("journal/lane-0000.ring")).unwrap();
    for opening in [Opening::Cut, Opening::Intact] {
        let bench = Bench::open(dir.path(), &tiny());
        assert_eq!((bench.report.opening, bench.report.quarantined), (opening, [1, 1]));
        assert_eq!((bench.report.recovered, bench.report.damaged), ([10, 10], 2));
        assert_eq!(bench.reader.standing().quarantined, [vec![(epoch, 0, 1)], vec![(epoch, 4, 5)]]);
        assert_eq!(verify(dir.path()).unwrap().missing, [1, 1]);
    }
}
