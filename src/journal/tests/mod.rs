//! What a lane promises, with a ring and segments so small that roll-over is ordinary.

mod basics;
mod crash;
mod ends;
pub(super) mod faults;
mod golden;
pub(crate) mod machine;
mod metrics;
mod model;
mod trouble;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    journal::{Batch, Config, Frame, Journal, Lane, Mark, OpenError, Reader, STREAMS, Spiller, disk::Disk},
    size::Bytes,
};

/// A directory in memory where there is one: these tests are about order, not about a disk's patience.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn tiny() -> Config {
    Config {
        ring_bytes: Bytes::kib(16),
        segment_bytes: Bytes::kib(4),
        disk_bytes: Bytes::mib(1),
        sync_interval: Duration::from_millis(40),
        ..Config::default()
    }
}

/// One lane's ends, and a clock that the test turns.
pub(super) struct Bench {
    pub(super) lane: Lane,
    pub(super) reader: Reader,
    pub(super) spiller: Spiller,
    pub(super) now: Instant,
    pub(super) report: crate::journal::LaneReport,
}

/// A frame as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) epoch: u64,
    pub(super) stream: u8,
    pub(super) seq: u64,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    pub(super) fn of(frame: &Frame<'_>) -> Seen {
        Seen { epoch: frame.epoch, stream: frame.stream, seq: frame.seq, payload: frame.payload.to_vec() }
    }
}

impl Bench {
    pub(super) fn open(dir: &Path, config: &Config) -> Bench {
        Bench::open_on(&Disk::default(), dir, config).unwrap()
    }

    pub(super) fn open_on(disk: &Disk, dir: &Path, config: &Config) -> Result<Bench, OpenError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let journal = loop {
            match Journal::open_with(disk, dir, config, 1) {
                // A child that another test forked holds every descriptor of this process until it executes its program.
                Err(OpenError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                opened => break opened?,
            }
        };
        let report = journal.recovered()[0].clone();
        let mut parts = journal.into_parts();
        Ok(Bench {
            lane: parts.lanes.remove(0),
            reader: parts.readers.remove(0),
            spiller: parts.spiller,
            now: Instant::now(),
            report,
        })
    }

    /// Lets the spiller look twice, with enough time between for everything to be due.
    pub(super) fn spill(&mut self) {
        for _ in 0..2 {
            self.spiller.tick(self.now);
            self.now += Duration::from_secs(20);
        }
    }

    /// Everything from `from` on, and where it ends.
    pub(super) fn read_from(&mut self, from: u64) -> (Vec<Seen>, u64) {
        read_from(&mut self.reader, from)
    }

    /// Everything there is to ship, without acknowledging it.
    pub(super) fn read_all(&mut self) -> Vec<Seen> {
        self.read_from(self.reader.start()).0
    }

    /// Everything below is delivered or synced.
    pub(super) fn durable(&self) -> u64 {
        self.spiller.lanes[0].shared.durable()
    }

    pub(super) fn close(self) {
        drop(self.lane);
        self.spiller.close();
    }
}

/// Runs and gives the one fault of this name that was logged meanwhile: what money was at risk, and the runbook's page.
pub(super) fn told<T>(event: &str, what: impl FnOnce() -> T) -> (T, [String; 2]) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || Kept(Arc::clone(&kept)));
    let done = tracing::subscriber::with_default(subscriber.finish(), what);
    let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found: Vec<_> = lines.filter(|line| line["event"] == event).collect();
    let [line] = &found[..] else { panic!("{event}: {found:#?}") };
    (done, ["money_at_risk", "runbook"].map(|field| line[field].as_str().unwrap().to_owned()))
}

/// A writer of the log into memory.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn read_from(reader: &mut Reader, from: u64) -> (Vec<Seen>, u64) {
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    let mut at = from;
    loop {
        reader.read(at, &mut batch).unwrap();
        seen.extend(batch.frames().map(|frame| Seen::of(&frame)));
        assert!(batch.next() >= at);
        if batch.next() == at {
            return (seen, at);
        }
        at = batch.next();
    }
}

/// The marks after what was seen, on top of what was delivered before.
pub(super) fn marks(mut marks: [Mark; STREAMS], seen: &[Seen]) -> [Mark; STREAMS] {
    for frame in seen {
        let mark = &mut marks[usize::from(frame.stream)];
        *mark = (*mark).max(Mark { epoch: frame.epoch, next: frame.seq + 1 });
    }
    marks
}
