//! Dead letters: clicks that Kafka refuses even alone, kept whole in files of this edge.
//!
//! ```text
//! dead-letters/dead-letters-000001.jsonl   mode 0600, directory 0700; a new file each start and each `rotate_bytes`
//! dead-letters.TOPIC.reserve               1 MiB, preallocated; lines that no dead-letter file has yet (`reserve`)
//! {"reason":…,"topic":…,"edge":…,"lane":…,"epoch":…,"seq":…,"dead_at_ms":…,"event":{the click, as it was refused}}
//! ```
//!
//! The steps have this order, so that a click is at every moment in the journal or in a synced file:
//!
//! 1. The line is written and `fdatasync` has returned. While this fails, the line goes to the reserve. While the
//!    reserve fails too, or is full, the click waits, and is tried alone as it is.
//! 2. A stub with the click's identity goes to the topic, and is sent again until it is acknowledged.
//! 3. The lane's delivered position passes the click, which is counted as dead-lettered and not as delivered.
//!
//! A process that dies between steps 1 and 3 forgets the decision, and the next process sends the click again. If the
//! click is refused again, its line and its stub stand there twice. If it is accepted, because somebody has raised a
//! limit, the click stands in the topic beside its line, and perhaps behind its stub. Readers tell lines apart by
//! `(edge, lane, epoch, seq)`, and a click outweighs its stub.
//!
//! The lines of the reserve move to a dead-letter file at a start and twice a minute, and before the next dead letter.
//!
//! No file is ever deleted or continued by a later start. So the bytes behind the last newline of a file were never
//! acted upon.

mod reserve;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use metrics::{Counter, Histogram};

use self::reserve::DeadLetterReserve;
use crate::{
    clock,
    events::{
        encoder::ClickIdentity,
        json::{JsonObjectWriter, key, text_key},
    },
    faults::{self, log_fault},
    file_series::{
        FileError, FileOperation, create_file_or_renumber_and_sync_dir, create_private_dir_and_sync_parent,
        fail_if_removed_renamed_or_cut, file_path, list_file_numbers_ascending,
    },
    kafka::Refusal,
    metrics as table,
    model::click::Topic,
};

const SERIES: &str = "dead-letters";
/// The operations on dead-letter files, in the order of [`FileOperation::ALL`]: no file is ever deleted.
const OPERATIONS: [FileOperation; 4] =
    [FileOperation::Open, FileOperation::Write, FileOperation::Sync, FileOperation::Replaced];
/// How often lines in the reserve are tried to be moved to a dead-letter file.
const MOVE_INTERVAL: Duration = Duration::from_secs(30);

/// The dead-letter files. None is created before the first dead letter.
pub(crate) struct DeadLetterFiles {
    dir: PathBuf,
    rotate_bytes: u64,
    event: Vec<u8>,
    line: Vec<u8>,
    current: Option<CurrentFile>,
    /// The number of the last file that this process created.
    last_number: Option<u64>,
    /// Whether the last attempt failed and was logged.
    failing: bool,
    reserve: Option<DeadLetterReserve>,
    /// The time of the last attempt to move the lines of the reserve.
    moved_at: Option<Instant>,
    metrics: DeadLetterMetrics,
}

struct CurrentFile {
    number: u64,
    file: File,
    /// Every byte before is synced and ends in a newline.
    synced: u64,
}

struct DeadLetterMetrics {
    errors: [Counter; OPERATIONS.len()],
    written_bytes: Counter,
    sync_seconds: Histogram,
}

impl DeadLetterMetrics {
    fn register() -> DeadLetterMetrics {
        let errors = |operation: FileOperation| table::counter(&table::DEAD_LETTER_FILES_ERRORS, &[operation.as_str()]);
        DeadLetterMetrics {
            errors: OPERATIONS.map(errors),
            written_bytes: table::counter(&table::DEAD_LETTER_FILES_WRITTEN_BYTES, &[]),
            sync_seconds: table::histogram(&table::DEAD_LETTER_FILES_SYNC_SECONDS, &[]),
        }
    }
}

impl DeadLetterFiles {
    /// Dead letters in this directory, which need not exist.
    pub(crate) fn new(dir: PathBuf, rotate_bytes: u64) -> DeadLetterFiles {
        DeadLetterFiles {
            dir,
            rotate_bytes,
            event: Vec::new(),
            line: Vec::new(),
            current: None,
            last_number: None,
            failing: false,
            reserve: None,
            moved_at: None,
            metrics: DeadLetterMetrics::register(),
        }
    }

    /// Opens the topic's reserve, or creates it: a sink that can refuse clicks needs one. Without a reserve a click
    /// waits where no dead-letter file can be written, which is logged here.
    pub(crate) fn open_reserve_or_log_error(&mut self, topic: Topic) {
        let path = self.dir.with_file_name(format!("{SERIES}.{}.reserve", topic.name()));
        match DeadLetterReserve::open_or_create_preallocated(path.clone()) {
            Ok(reserve) => self.reserve = Some(reserve),
            Err(error) => tracing::warn!(
                %error,
                path = %path.display(),
                "cannot open the reserve of dead letters; a click that Kafka refuses would have to wait while no \
                 dead-letter file can be written"
            ),
        }
    }

    /// Moves the lines of the reserve, if there are any, to a dead-letter file, at most once in half a minute.
    pub(crate) fn try_move_reserve_if_due(&mut self, now: Instant) {
        let is_due = self.moved_at.is_none_or(|at| now.duration_since(at) >= MOVE_INTERVAL);
        if is_due && self.reserve.as_ref().is_some_and(|reserve| !reserve.lines().is_empty()) {
            self.moved_at = Some(now);
            self.try_move_reserve_to_file();
        }
    }

    fn try_move_reserve_to_file(&mut self) {
        let Some(mut reserve) = self.reserve.take() else { return };
        if !reserve.lines().is_empty() {
            match self.append_lines_sync_and_return_file_number(reserve.lines()) {
                Ok(number) => {
                    self.failing = false;
                    let (from, to) = (reserve.path().display(), file_path(&self.dir, SERIES, number));
                    tracing::info!(%from, to = %to.display(), "dead letters have moved from the reserve to a file");
                    if let Err(error) = reserve.clear() {
                        tracing::warn!(%error, path = %reserve.path().display(), "cannot clear the reserve");
                    }
                }
                Err(error) => self.count_error_roll_back_and_log_first(&error),
            }
        }
        self.reserve = Some(reserve);
    }

    /// The buffer for the next dead letter's event, cleared.
    /// [`DeadLetterFiles::try_write_buffered_event_sync_and_log`] follows.
    pub(crate) fn event_buffer(&mut self) -> &mut Vec<u8> {
        self.event.clear();
        &mut self.event
    }

    /// The bytes of the event in the buffer.
    pub(crate) fn event_bytes(&self) -> u32 {
        u32::try_from(self.event.len()).unwrap_or(u32::MAX)
    }

    /// Writes the event in the buffer as one line to a file, or to the reserve, and syncs it. `false` if both failed;
    /// the errors are logged and counted.
    pub(crate) fn try_write_buffered_event_sync_and_log(
        &mut self,
        topic: &str,
        reason: Refusal,
        identity: &ClickIdentity<'_>,
    ) -> bool {
        self.line.clear();
        append_dead_letter_line(&mut self.line, &self.event, topic, reason, identity);
        self.try_move_reserve_to_file();
        let line = std::mem::take(&mut self.line);
        let written = self.append_line_to_file_or_reserve_and_return_path(&line);
        self.line = line;
        let Some(file) = written else { return false };
        log_fault!(
            error,
            faults::DEAD_LETTERED,
            topic,
            reason = reason.as_str(),
            lane = identity.lane,
            epoch = identity.epoch,
            seq = identity.seq,
            file = %file.display(),
            "Kafka refuses a click even alone; it is kept in a file, and a stub takes its place: {}",
            reason.advice_for_operator(topic)
        );
        true
    }

    /// `None`: neither a dead-letter file nor the reserve could take the line.
    fn append_line_to_file_or_reserve_and_return_path(&mut self, line: &[u8]) -> Option<PathBuf> {
        match self.append_lines_sync_and_return_file_number(line) {
            Ok(number) => {
                self.failing = false;
                return Some(file_path(&self.dir, SERIES, number));
            }
            Err(error) => self.count_error_roll_back_and_log_first(&error),
        }
        let reserve = self.reserve.as_mut()?;
        match reserve.append_line_and_try_sync(line) {
            Ok(()) => Some(reserve.path().to_owned()),
            Err(error) => {
                tracing::warn!(%error, "the reserve of dead letters cannot take a click, which waits in the journal");
                None
            }
        }
    }

    /// Returns the number of the file that holds the lines.
    fn append_lines_sync_and_return_file_number(&mut self, lines: &[u8]) -> Result<u64, FileError> {
        let mut current = match self.current.take().filter(|current| self.is_as_written_or_log_replaced(current)) {
            Some(current) => current,
            None => self.create_dir_and_next_numbered_file().map_err(FileOperation::Open.into_error())?,
        };
        // Written at an offset, so that the next line overwrites what a failed write left behind.
        if let Err(source) = current.file.write_all_at(lines, current.synced) {
            self.current = Some(current);
            return Err(FileError { operation: FileOperation::Write, source });
        }
        let started = Instant::now();
        // After a failed sync the next line goes to a new file: the kernel may have dropped pages of this one.
        if let Err(source) = current.file.sync_data() {
            let _ = current.file.set_len(current.synced);
            return Err(FileError { operation: FileOperation::Sync, source });
        }
        self.metrics.sync_seconds.record(started.elapsed().as_secs_f64());
        let path = file_path(&self.dir, SERIES, current.number);
        let written = current.synced + lines.len() as u64;
        // The next attempt goes to a new file.
        fail_if_removed_renamed_or_cut(&current.file, &path, written).map_err(FileOperation::Replaced.into_error())?;
        self.metrics.written_bytes.increment(lines.len() as u64);
        current.synced = written;
        let number = current.number;
        self.current = (current.synced < self.rotate_bytes).then_some(current);
        Ok(number)
    }

    /// Whether the file is what its last sync left. Logs and counts it if not: the lines in it were acted upon.
    fn is_as_written_or_log_replaced(&self, current: &CurrentFile) -> bool {
        let path = file_path(&self.dir, SERIES, current.number);
        let Err(why) = fail_if_removed_renamed_or_cut(&current.file, &path, current.synced) else { return true };
        self.metrics.errors[FileOperation::Replaced as usize].increment(1);
        log_fault!(
            error,
            faults::DEAD_LETTER_FILE_REPLACED,
            "{why}: the next dead letter goes to a new file; the earlier ones are where somebody has put them"
        );
        false
    }

    fn create_dir_and_next_numbered_file(&mut self) -> io::Result<CurrentFile> {
        create_private_dir_and_sync_parent(&self.dir)?;
        let last = match self.last_number {
            Some(last) => last,
            None => list_file_numbers_ascending(&self.dir, SERIES)?.last().copied().unwrap_or_default(),
        };
        let new = create_file_or_renumber_and_sync_dir(&self.dir, SERIES, last + 1)?;
        self.last_number = Some(new.number);
        Ok(CurrentFile { number: new.number, file: new.file, synced: 0 })
    }

    /// Counts an error, cuts the file back to its last sync, and logs the first error of a row.
    fn count_error_roll_back_and_log_first(&mut self, error: &FileError) {
        self.metrics.errors[error.operation as usize].increment(1);
        if let Some(current) = &self.current {
            // The next line overwrites the bytes if they cannot be cut off.
            let _ = current.file.set_len(current.synced);
        }
        if !self.failing {
            self.failing = true;
            log_fault!(
                error,
                faults::DEAD_LETTER_FILE_FAILED,
                dir = %self.dir.display(),
                operation = error.operation.as_str(),
                "cannot write a dead-letter file: {}; dead letters go to the reserve while it has room, then their \
                 clicks wait in the journal",
                error.source
            );
        }
    }
}

/// Appends the line of a dead letter.
fn append_dead_letter_line(
    out: &mut Vec<u8>,
    event: &[u8],
    topic: &str,
    reason: Refusal,
    identity: &ClickIdentity<'_>,
) {
    let mut line = JsonObjectWriter::begin_object_with(out, &format!("\"reason\":\"{}\"", reason.as_str()));
    line.add_text_unless_empty(text_key!("topic"), topic.as_bytes());
    line.add_text_unless_empty(text_key!("edge"), identity.edge.as_bytes());
    line.add_integer(key!("lane"), u64::from(identity.lane));
    line.add_integer(key!("epoch"), identity.epoch);
    line.add_integer(key!("seq"), identity.seq);
    line.add_integer(key!("dead_at_ms"), clock::wall_ms());
    out.extend_from_slice(key!("event").as_bytes());
    out.extend_from_slice(event);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    fn identity(seq: u64) -> ClickIdentity<'static> {
        ClickIdentity { edge: "edge-1", lane: 3, epoch: 7, seq, safe: 0 }
    }

    fn try_write(files: &mut DeadLetterFiles, seq: u64) -> bool {
        files.event_buffer().extend_from_slice(format!("{{\"seq\":{seq}}}").as_bytes());
        files.try_write_buffered_event_sync_and_log("clicks", Refusal::TooLarge, &identity(seq))
    }

    /// Every line, with the number of its file.
    fn lines(dir: &Path) -> Vec<(u64, serde_json::Value)> {
        let numbers = list_file_numbers_ascending(dir, SERIES).unwrap().into_iter();
        numbers
            .flat_map(|number| {
                let text = fs::read_to_string(file_path(dir, SERIES, number)).unwrap();
                text.lines().map(|line| (number, serde_json::from_str(line).unwrap())).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn a_dead_letter_is_one_line_with_reason_topic_and_identity_that_only_the_owner_reads() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("dead-letters");
        let mut files = DeadLetterFiles::new(dir.clone(), 1 << 20);
        assert!(!dir.exists(), "nothing is created before the first dead letter");
        assert!(try_write(&mut files, 42));
        assert_eq!(files.event_bytes(), 10);
        let found = lines(&dir);
        let (number, line) = &found[0];
        assert!(line["dead_at_ms"].as_u64().unwrap() > 1_700_000_000_000);
        for (key, value) in [("reason", "too_large"), ("topic", "clicks"), ("edge", "edge-1")] {
            assert_eq!(line[key], value);
        }
        assert_eq!((&line["lane"], &line["epoch"], &line["seq"]), (&3.into(), &7.into(), &42.into()));
        assert_eq!(line["event"], serde_json::json!({"seq": 42}));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file_path(&dir, SERIES, *number))), (0o700, 0o600));
    }

    #[test]
    fn files_are_rotated_by_size_and_a_start_never_continues_an_old_one() {
        let data = tempfile::tempdir().unwrap();
        let mut files = DeadLetterFiles::new(data.path().to_owned(), 1);
        assert!(try_write(&mut files, 0) && try_write(&mut files, 1));
        drop(files);
        let torn = file_path(data.path(), SERIES, 2);
        let whole = fs::read_to_string(&torn).unwrap();
        fs::write(&torn, format!("{whole}{{\"reason\":\"too")).unwrap();
        let mut files = DeadLetterFiles::new(data.path().to_owned(), 1 << 20);
        assert!(try_write(&mut files, 2) && try_write(&mut files, 3));
        fs::write(&torn, whole).unwrap();
        let found: Vec<_> =
            lines(data.path()).iter().map(|(file, line)| (*file, line["seq"].as_u64().unwrap())).collect();
        assert_eq!(found, [(1, 0), (2, 1), (3, 2), (3, 3)]);
    }

    #[test]
    fn after_an_error_a_dead_letter_is_written_once_the_directory_can_be_used() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("dead-letters");
        fs::write(&dir, "in the way").unwrap();
        let mut files = DeadLetterFiles::new(dir.clone(), 1 << 20);
        assert!(!try_write(&mut files, 0));
        fs::remove_file(&dir).unwrap();
        assert!(try_write(&mut files, 1));
        // The directory is removed while its file is open: a line in a file without a name would be lost.
        fs::remove_dir_all(&dir).unwrap();
        assert!(try_write(&mut files, 2));
        assert_eq!(lines(&dir).len(), 1);
    }

    #[test]
    fn a_file_that_was_renamed_or_cut_is_not_written_to_any_more() {
        let data = tempfile::tempdir().unwrap();
        let mut files = DeadLetterFiles::new(data.path().to_owned(), 1 << 20);
        assert!(try_write(&mut files, 0));
        fs::rename(file_path(data.path(), SERIES, 1), data.path().join("renamed")).unwrap();
        assert!(try_write(&mut files, 1));
        fs::File::options().write(true).open(file_path(data.path(), SERIES, 2)).unwrap().set_len(3).unwrap();
        assert!(try_write(&mut files, 2));
        let renamed = fs::read_to_string(data.path().join("renamed")).unwrap();
        assert_eq!(renamed.lines().count(), 1);
        assert_eq!(fs::metadata(file_path(data.path(), SERIES, 2)).unwrap().len(), 3, "no hole");
        let third = fs::read_to_string(file_path(data.path(), SERIES, 3)).unwrap();
        assert!(third.contains("\"seq\":2"), "{third}");
    }
}
