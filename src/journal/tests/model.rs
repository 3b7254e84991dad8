//! Random lives of a lane against a reference that is a list.

use std::{collections::BTreeSet, path::Path, time::Duration};

use proptest::prelude::*;

use super::{Bench, Seen, scratch, tiny};
use crate::journal::{Batch, Config, Mark, STREAMS, Spill};

#[derive(Clone, Debug)]
enum Action {
    Append(u8, usize),
    Tick(u64),
    Ship(usize),
    Restart(End),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Clean,
    Killed,
    /// Killed, and a bit of a segment flips.
    Corrupted(u64),
    PowerLost,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => (0..STREAMS as u8, 0..190usize).prop_map(|(stream, len)| Action::Append(stream, len)),
        6 => (1..1500u64).prop_map(Action::Tick),
        3 => (1..60usize).prop_map(Action::Ship),
        1 => prop_oneof![
            Just(End::Clean),
            Just(End::Killed),
            any::<u64>().prop_map(End::Corrupted),
            Just(End::PowerLost)
        ].prop_map(Action::Restart),
    ]
}

/// The reference: what was appended and not delivered, in order, and where each ends.
#[derive(Default)]
struct Model {
    backlog: Vec<(Seen, u64)>,
    delivered: BTreeSet<Seen>,
    next: [u64; STREAMS],
    /// Where the frames end that a flipped bit cost.
    gone: Vec<u64>,
}

impl Model {
    fn append(&mut self, epoch: u64, stream: u8, payload: Vec<u8>, end: u64) {
        let seq = self.next[usize::from(stream)];
        self.next[usize::from(stream)] += 1;
        self.backlog.push((Seen { epoch, stream, seq, payload }, end));
    }

    fn ship(&mut self, seen: &[Seen]) {
        for (expected, _) in self.backlog.drain(..seen.len()) {
            self.delivered.insert(expected);
        }
    }

    /// After a restart: `read` is what there is to ship from `start` on. How many before the last of it are gone.
    fn restart(&mut self, end: End, durable: u64, read: &[Seen], start: u64) -> Result<usize, TestCaseError> {
        self.next = [0; STREAMS];
        let found: BTreeSet<&Seen> = read.iter().collect();
        let lost = |(seen, _): &&(Seen, u64)| !found.contains(seen);
        let count = self.backlog.iter().filter(lost).count();
        match end {
            End::Clean | End::Killed => prop_assert_eq!(count, 0, "lost"),
            End::Corrupted(_) => prop_assert!(count <= 1, "one flipped bit cost {} frames", count),
            End::PowerLost => prop_assert!(!self.backlog.iter().filter(lost).any(|(_, end)| *end <= durable)),
        }
        // Nothing twice, nothing out of order, nothing invented; repeats only of what was delivered, and only after a power loss.
        let order: Vec<&Seen> = self.backlog.iter().map(|(seen, _)| seen).filter(|seen| found.contains(seen)).collect();
        let repeats = read.len() - order.len();
        prop_assert!(read[repeats..].iter().eq(order), "order");
        prop_assert!(read[..repeats].iter().all(|seen| self.delivered.contains(seen)), "repeats");
        prop_assert!(repeats == 0 || matches!(end, End::PowerLost), "{} repeats", repeats);
        self.gone.retain(|end| *end > start);
        if !matches!(end, End::PowerLost) {
            self.gone.extend(self.backlog.iter().filter(lost).map(|(_, end)| *end));
        }
        Ok(self.gone.len())
    }
}

/// What the metrics say: recovered + journaled = delivered + backlog + quarantined.
struct Identity {
    recovered: u64,
    quarantined: u64,
    delivered: u64,
}

impl Identity {
    fn of(bench: &Bench) -> Identity {
        let [recovered, quarantined] = [bench.report.recovered, bench.report.quarantined].map(|s| s.iter().sum());
        Identity { recovered, quarantined, delivered: 0 }
    }

    fn check(&self, bench: &Bench) -> Result<(), TestCaseError> {
        let shared = &bench.spiller.lanes[0].shared;
        let appended = shared.appended();
        let home = shared.home();
        let backlog: u64 = (0..STREAMS).map(|stream| home.backlog(stream, shared.epoch, appended[stream])).sum();
        let left = self.recovered + appended.iter().sum::<u64>();
        prop_assert_eq!(left, self.delivered + backlog + self.quarantined + home.lost());
        Ok(())
    }
}

fn live(config: &Config, actions: &[Action]) -> Result<(), TestCaseError> {
    let dir = scratch();
    let mut model = Model::default();
    let mut bench = Bench::open(dir.path(), config);
    let mut at = bench.reader.start();
    let mut identity = Identity::of(&bench);
    let (mut power_lost, mut flips) = (false, 0);
    for (n, action) in actions.iter().enumerate() {
        match *action {
            Action::Append(stream, len) => {
                let payload: Vec<u8> = n.to_le_bytes().into_iter().cycle().take(len).collect();
                if bench.lane.append(stream, &payload).is_ok() {
                    model.append(bench.lane.epoch(), stream, payload, bench.reader.head());
                } else {
                    prop_assert!(bench.lane.used() > bench.lane.size() / 2, "full, but it is not");
                }
            }
            Action::Tick(milliseconds) => {
                bench.now += Duration::from_millis(milliseconds);
                bench.spiller.tick(bench.now);
            }
            Action::Ship(most) => {
                let (seen, next, marks) = ship(&mut bench, at, most);
                at = next;
                bench.reader.acknowledge(at, marks, [n as u8; 64]);
                identity.delivered += seen.len() as u64;
                prop_assert!(seen.iter().eq(model.backlog[..seen.len()].iter().map(|(seen, _)| seen)));
                model.ship(&seen);
            }
            Action::Restart(end) => {
                let durable = bench.durable();
                match end {
                    End::Clean => bench.close(),
                    _ => drop(bench),
                }
                damage(dir.path(), end);
                bench = Bench::open(dir.path(), config);
                identity = Identity::of(&bench);
                let read = bench.read_all();
                at = bench.reader.start();
                let gone = model.restart(end, durable, &read, at)?;
                // A power loss goes back to an older checkpoint, below which more may be gone; a second flip may take the block
                // that told of the first.
                flips += usize::from(matches!(end, End::Corrupted(_)));
                power_lost |= matches!(end, End::PowerLost);
                if !power_lost && flips < 2 {
                    prop_assert_eq!(identity.quarantined, gone as u64, "what a flipped bit costs is counted");
                }
                let ends: Vec<u64> = ends(&mut bench, at);
                model.backlog = read.into_iter().zip(ends).collect();
            }
        }
        identity.check(&bench)?;
    }
    Ok(())
}

/// Reads at least `most` frames on, as far as there are any, and the marks after them.
fn ship(bench: &mut Bench, mut at: u64, most: usize) -> (Vec<Seen>, u64, [Mark; STREAMS]) {
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    let mut marks = bench.reader.delivered();
    while seen.len() < most {
        bench.reader.read(at, &mut batch).unwrap();
        for frame in batch.frames().take(most - seen.len()) {
            at = frame.next_pos;
            let Seen { epoch, stream, seq, .. } = Seen::of(&frame);
            marks[usize::from(stream)] = marks[usize::from(stream)].max(Mark { epoch, next: seq + 1 });
            seen.push(Seen::of(&frame));
        }
        if batch.is_empty() {
            if batch.next() == at {
                break;
            }
            at = batch.next();
        }
    }
    (seen, at, marks)
}

fn ends(bench: &mut Bench, mut at: u64) -> Vec<u64> {
    let mut batch = Batch::default();
    let mut ends = Vec::new();
    loop {
        bench.reader.read(at, &mut batch).unwrap();
        ends.extend(batch.frames().map(|frame| frame.next_pos));
        if batch.next() == at {
            return ends;
        }
        at = batch.next();
    }
}

fn damage(dir: &Path, end: End) {
    match end {
        End::Clean | End::Killed => {}
        End::PowerLost => drop(std::fs::remove_file(dir.join("journal/lane-0000.ring"))),
        End::Corrupted(which) => {
            let lane = std::fs::read_dir(dir.join("journal/lane-0000")).unwrap().map(|entry| entry.unwrap().path());
            let mut segments: Vec<_> = lane.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
            segments.sort();
            if segments.is_empty() {
                return;
            }
            let path = &segments[which as usize % segments.len()];
            let mut bytes = std::fs::read(path).unwrap();
            let bits = bytes.len() as u64 * 8;
            let bit = (which >> 16) % bits;
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            std::fs::write(path, bytes).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_does_what_a_list_would(
        actions in proptest::collection::vec(action(), 1..400),
        always in any::<bool>(),
    ) {
        let spill = if always { Spill::Always } else { Spill::Auto };
        live(&Config { spill, ..tiny() }, &actions)?;
    }
}
