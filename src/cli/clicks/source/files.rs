//! Reads the click files of one edge, also while a server writes them.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::record::{EventRecord, ReadProgress, ReadProgressVisitor, ReadRange, RecordLocation};
use crate::{file_series, model::click::Topic};

/// How often new lines are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of a file that are read at a time.
const BLOCK_BYTES: u64 = 64 << 10;

/// Reads the files of `topics` in `dir`, as [`super::ClickSource::visit_records_and_follow_if_asked`].
pub(super) fn visit_click_files_and_follow_if_asked(
    dir: &Path,
    topics: &[Topic],
    range: ReadRange,
    visit: ReadProgressVisitor<'_>,
) -> Result<()> {
    let mut readers = Vec::new();
    for topic in topics {
        let mut reader = TopicFilesReader { topic: *topic, path: None, offset: 0, line: 0 };
        let mut files = list_click_files(dir, *topic)?;
        if let ReadRange::Since(since_ms) = range {
            files.retain(|path| !is_unmodified_since(path, since_ms));
        }
        if let ReadRange::Latest { count, .. } = range {
            reader.seek_to_start_of_last_lines(&files, count)?;
        }
        reader.visit_new_complete_lines(&files, visit)?;
        readers.push(reader);
    }
    visit(ReadProgress::CaughtUp)?;
    while let ReadRange::Latest { follow: true, .. } = range {
        std::thread::sleep(POLL_INTERVAL);
        for reader in &mut readers {
            let files = list_click_files(dir, reader.topic)?;
            reader.visit_new_complete_lines(&files, visit)?;
        }
    }
    Ok(())
}

fn list_click_files(dir: &Path, topic: Topic) -> Result<Vec<PathBuf>> {
    file_series::list_file_paths_in_written_order(dir, topic.name()).with_context(|| dir.display().to_string())
}

/// Whether the file was last written before this time. A file whose time cannot be read counts as modified.
fn is_unmodified_since(path: &Path, since_ms: u64) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified < UNIX_EPOCH + Duration::from_millis(since_ms))
}

/// Reads the files of one topic in order; keeps the position up to which they were read.
struct TopicFilesReader {
    topic: Topic,
    /// The file that is read now.
    path: Option<PathBuf>,
    offset: u64,
    /// Lines read of this file.
    line: u64,
}

impl TopicFilesReader {
    /// Moves to the first of the last `count` lines of the files.
    fn seek_to_start_of_last_lines(&mut self, files: &[PathBuf], count: usize) -> Result<()> {
        let mut wanted = count;
        for path in files.iter().rev() {
            let last = find_start_of_last_complete_lines(path, wanted).with_context(|| path.display().to_string())?;
            (self.path, self.offset) = (Some(path.clone()), last.offset);
            wanted -= last.lines;
            if wanted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Visits every new complete line up to the end of the last file. An incomplete last line is left for the next
    /// call.
    fn visit_new_complete_lines(&mut self, files: &[PathBuf], visit: ReadProgressVisitor<'_>) -> Result<()> {
        let current = self.path.clone();
        for path in files.iter().filter(|path| current.as_ref().is_none_or(|current| *path >= current)) {
            if self.path.as_ref() != Some(path) {
                (self.path, self.offset, self.line) = (Some(path.clone()), 0, 0);
            }
            self.visit_new_complete_lines_of_file_if_it_exists(path, visit)?;
        }
        Ok(())
    }

    fn visit_new_complete_lines_of_file_if_it_exists(
        &mut self,
        path: &Path,
        visit: ReadProgressVisitor<'_>,
    ) -> Result<()> {
        let context = || path.display().to_string();
        let mut file = match File::open(path) {
            // Retention has deleted the file since it was listed.
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.with_context(context)?,
        };
        file.seek(SeekFrom::Start(self.offset)).with_context(context)?;
        let mut reader = BufReader::with_capacity(BLOCK_BYTES as usize, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line).with_context(context)?;
            let Some(value) = line.strip_suffix(b"\n") else { return Ok(()) };
            self.offset += line.len() as u64;
            self.line += 1;
            let location = RecordLocation::File { path, line: self.line };
            let record = EventRecord { value, location, written_ms: None, shipped_ms: None, message: None };
            visit(ReadProgress::Record(record))?;
        }
    }
}

/// The last complete lines of a file: where they begin, and how many there are.
struct LastLinesStart {
    offset: u64,
    lines: usize,
}

/// Finds the last `count` complete lines of a file. Reads backwards, and no more than necessary.
fn find_start_of_last_complete_lines(path: &Path, count: usize) -> std::io::Result<LastLinesStart> {
    let mut file = File::open(path)?;
    let mut unread = file.metadata()?.len();
    let (mut lines, mut end_of_last, mut block) = (0, None, Vec::new());
    while unread > 0 {
        let start = unread.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(&mut file).take(unread - start).read_to_end(&mut block)?;
        for newline in memchr::memrchr_iter(b'\n', &block) {
            let offset = start + newline as u64 + 1;
            match end_of_last {
                None => end_of_last = Some(offset),
                Some(_) => lines += 1,
            }
            if lines == count {
                return Ok(LastLinesStart { offset, lines });
            }
        }
        unread = start;
    }
    // The first line of a file has no newline before it.
    Ok(LastLinesStart { offset: 0, lines: lines + usize::from(end_of_last.is_some()) })
}
