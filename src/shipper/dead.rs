//! Dead letters: clicks that Kafka refuses even alone, kept whole in files of this edge.
//!
//! ```text
//! dead-letters/dead-letters-000001.jsonl     0600 in a directory 0700, a new file each start and each `rotate_bytes`
//! {"reason":…,"topic":…,"edge":…,"lane":…,"epoch":…,"seq":…,"dead_at_ms":…,"event":{the click, as it was refused}}
//! ```
//!
//! In this order, so that a click is at every moment in the journal or in a synced file:
//!
//! 1. Its line is written and `fdatasync` has returned. While that fails the click waits, and is tried alone as it is.
//! 2. A stub of its identity goes to its topic, and is sent again until it is acknowledged.
//! 3. The lane's prefix passes it, counted as dead-lettered and not as delivered.
//!
//! A process that dies between 1 and 3 forgets that it has decided: the next one sends the click again. Refused again, its line
//! and its stub stand there twice; taken, because somebody has raised a limit, the click stands in the topic beside its line,
//! and perhaps behind its stub. Lines are told apart by `(edge, lane, epoch, seq)`, and a click outweighs its stub.
//!
//! No file is ever deleted or gone on with by a later start, so what follows the last newline of one was never acted upon.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    event::Place,
    files::{numbers_of, path_of},
    json::{Object, key, quoted},
    log::{Act, Failed, Log},
};
use crate::{
    clock,
    faults::{self, say},
    kafka::Refusal,
};

const SERIES: &str = "dead-letters";

/// The dead-letter files; none is made before the first letter.
pub(super) struct DeadLetters {
    dir: PathBuf,
    rotate_bytes: u64,
    log: Option<Log>,
    event: Vec<u8>,
}

impl DeadLetters {
    /// In this directory, which need not be there.
    pub(super) fn new(dir: PathBuf, rotate_bytes: u64) -> DeadLetters {
        DeadLetters { dir, rotate_bytes, log: None, event: Vec::new() }
    }

    /// Where to write the event of the next letter, empty. To be followed by [`DeadLetters::keep`].
    pub(super) fn page(&mut self) -> &mut Vec<u8> {
        self.event.clear();
        &mut self.event
    }

    /// Writes the letter and syncs it; the bytes of its event. `None`, said and counted, if that failed: it is then not kept.
    pub(super) fn keep(&mut self, topic: &str, reason: Refusal, place: &Place<'_>, now: Instant) -> Option<u32> {
        // The directory is read once it is needed: one that cannot be read is met again where a file is to be made.
        let last =
            || numbers_of(&self.dir, SERIES).ok().and_then(|numbers| numbers.last().copied()).unwrap_or_default();
        let log = self.log.get_or_insert_with(|| Log::new(SERIES, last()));
        write_line(&mut log.buffer, &self.event, topic, reason, place);
        match make_room(&self.dir, log).and_then(|()| log.write_out(&self.dir)).and_then(|()| log.sync()) {
            Ok(()) => {
                log.broken = None;
                let file = path_of(&self.dir, SERIES, log.number);
                say!(
                    error,
                    faults::DEAD_LETTERED,
                    topic,
                    reason = reason.as_str(),
                    lane = place.lane,
                    epoch = place.epoch,
                    seq = place.seq,
                    file = %file.display(),
                    "a click refused even alone is kept in a file, and a stub goes in its place: {}", reason.advice(topic)
                );
                if log.synced >= self.rotate_bytes {
                    log.rotate();
                }
                Some(u32::try_from(self.event.len()).unwrap_or(u32::MAX))
            }
            Err((act, why)) => {
                log.fail(act, &why, now);
                None
            }
        }
    }
}

/// Appends the letter's line.
fn write_line(out: &mut Vec<u8>, event: &[u8], topic: &str, reason: Refusal, place: &Place<'_>) {
    let mut line = Object::open(out, &format!("\"reason\":\"{}\"", reason.as_str()));
    line.text(quoted!("topic"), topic.as_bytes());
    line.text(quoted!("edge"), place.edge.as_bytes());
    line.int(key!("lane"), u64::from(place.lane));
    line.int(key!("epoch"), place.epoch);
    line.int(key!("seq"), place.seq);
    line.int(key!("dead_at_ms"), clock::wall_ms());
    out.extend_from_slice(key!("event").as_bytes());
    out.extend_from_slice(event);
    out.extend_from_slice(b"}\n");
}

/// Lets go of a file that somebody has removed, for what is synced in it is lost; makes the directory for the next.
fn make_room(dir: &Path, log: &mut Log) -> Result<(), Failed> {
    let named = |file: &File| file.metadata().is_ok_and(|facts| facts.nlink() > 0);
    if log.file.as_ref().is_some_and(|file| !named(file)) {
        log.file = None;
    }
    if log.file.is_some() {
        return Ok(());
    }
    make_dir(dir).map_err(|why| (Act::Open, why))
}

/// Makes the directory (0700) so that its name is on disk too.
fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn place(seq: u64) -> Place<'static> {
        Place { edge: "edge-1", lane: 3, epoch: 7, seq, safe: 0 }
    }

    fn keep(letters: &mut DeadLetters, seq: u64) -> Option<u32> {
        letters.page().extend_from_slice(format!("{{\"seq\":{seq}}}").as_bytes());
        letters.keep("clicks", Refusal::TooLarge, &place(seq), Instant::now())
    }

    /// Every line, with the number of its file.
    fn lines(dir: &Path) -> Vec<(u64, serde_json::Value)> {
        let numbers = numbers_of(dir, SERIES).unwrap().into_iter();
        numbers
            .flat_map(|number| {
                let text = fs::read_to_string(path_of(dir, SERIES, number)).unwrap();
                text.lines().map(|line| (number, serde_json::from_str(line).unwrap())).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn a_letter_is_one_line_with_reason_topic_and_identity_that_only_the_owner_reads() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("dead-letters");
        let mut letters = DeadLetters::new(dir.clone(), 1 << 20);
        assert!(!dir.exists(), "nothing is made before the first letter");
        assert_eq!(keep(&mut letters, 42), Some(10));
        let found = lines(&dir);
        let (number, line) = &found[0];
        assert!(line["dead_at_ms"].as_u64().unwrap() > 1_700_000_000_000);
        for (key, value) in [("reason", "too_large"), ("topic", "clicks"), ("edge", "edge-1")] {
            assert_eq!(line[key], value);
        }
        assert_eq!((&line["lane"], &line["epoch"], &line["seq"]), (&3.into(), &7.into(), &42.into()));
        assert_eq!(line["event"], serde_json::json!({"seq": 42}));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&path_of(&dir, SERIES, *number))), (0o700, 0o600));
    }

    #[test]
    fn files_are_rotated_by_size_and_a_start_never_goes_on_in_an_old_one() {
        let data = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::new(data.path().to_owned(), 1);
        assert!(keep(&mut letters, 0).is_some() && keep(&mut letters, 1).is_some());
        drop(letters);
        let torn = path_of(data.path(), SERIES, 2);
        let whole = fs::read_to_string(&torn).unwrap();
        fs::write(&torn, format!("{whole}{{\"reason\":\"too")).unwrap();
        let mut letters = DeadLetters::new(data.path().to_owned(), 1 << 20);
        assert!(keep(&mut letters, 2).is_some() && keep(&mut letters, 3).is_some());
        fs::write(&torn, whole).unwrap();
        let found: Vec<_> =
            lines(data.path()).iter().map(|(file, line)| (*file, line["seq"].as_u64().unwrap())).collect();
        assert_eq!(found, [(1, 0), (2, 1), (3, 2), (3, 3)]);
    }

    #[test]
    fn a_letter_that_cannot_be_written_is_not_kept_and_the_next_is_once_it_can() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("dead-letters");
        fs::write(&dir, "in the way").unwrap();
        let mut letters = DeadLetters::new(dir.clone(), 1 << 20);
        assert_eq!(keep(&mut letters, 0), None);
        fs::remove_file(&dir).unwrap();
        assert!(keep(&mut letters, 1).is_some());
        // Removed under it: a line in a file without a name is no line.
        fs::remove_dir_all(&dir).unwrap();
        assert!(keep(&mut letters, 2).is_some());
        assert_eq!(lines(&dir).len(), 1);
    }
}
