//! Recovery of the click files: which clicks the last process wrote, and where each topic's last file continues.
//!
//! The files are read from the position in the journal's note on. The highest click of a lane stands for every click
//! before it, because a lane's clicks are written in order. Therefore the last file is cut at the first line that is
//! not a whole click: a torn tail after kill -9, or, after a power loss, a hole behind the last sync. The bytes behind
//! a hole are kept beside the file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use serde::Deserialize;

use super::{note::FilePosition, open_error::OpenError};
use crate::{
    faults::{self, log_fault},
    file_series::{file_path, list_file_numbers_ascending},
    journal::{Epoch, Seq, Watermark},
    model::click::Topic,
};

/// The clicks in one topic's files.
#[derive(Debug, Default)]
pub(super) struct RecoveredClicks {
    /// By lane, the watermark below which every click is in the files.
    pub(super) watermarks: BTreeMap<u16, Watermark>,
    /// Where the last file ends after its cut.
    pub(super) end: FilePosition,
    /// The clicks that were read.
    pub(super) clicks: u64,
}

/// The identity of the click in a line.
#[derive(Deserialize)]
struct LineIdentity<'a> {
    #[serde(borrow)]
    edge: Cow<'a, str>,
    lane: u16,
    epoch: Epoch,
    seq: Seq,
}

/// Reads a topic's files from `start` on, and copies the damaged rest of the last file aside. The caller cuts that file
/// at [`RecoveredClicks::end`].
///
/// # Errors
/// A file cannot be read, or the copy of a damaged rest cannot be written.
pub(super) fn scan_files_and_copy_damage_aside(
    dir: &Path,
    topic: Topic,
    edge: &str,
    start: FilePosition,
) -> Result<RecoveredClicks, OpenError> {
    let numbers = list_file_numbers_ascending(dir, topic.name()).map_err(|why| OpenError::new("read", dir, why))?;
    // A file's number is never used again, even if somebody has removed the file.
    let end = FilePosition { number: start.number, offset: 0 };
    let mut recovered = RecoveredClicks { end, ..RecoveredClicks::default() };
    let last = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number >= start.number) {
        let path = file_path(dir, topic.name(), number);
        let offset = if number == start.number { start.offset } else { 0 };
        let read_error = |why| OpenError::new("read", &path, why);
        let file = File::open(&path).map_err(read_error)?;
        let len = file.metadata().map_err(read_error)?.len();
        if len < offset {
            log_fault!(
                warn,
                faults::CLICK_FILE_SHORT,
                file = %path.display(), len, synced = offset,
                "the click file is shorter than at its last sync; somebody has cut it, or the disk lost synced bytes"
            );
        }
        let is_last = Some(number) == last;
        let whole_end = recovered
            .scan_clicks_and_return_end_of_whole_lines(file, offset.min(len), edge, is_last)
            .map_err(read_error)?;
        if whole_end < len {
            copy_damaged_rest_aside_unless_torn_line(&path, whole_end, len)?;
        }
        recovered.end = FilePosition { number, offset: whole_end };
    }
    Ok(recovered)
}

impl RecoveredClicks {
    /// Reads one file from an offset and returns the offset where its whole clicks end. In a file that is not the last
    /// a bad line is skipped: the file was whole when the next one was created, so the damage is later, and the click
    /// is delivered.
    fn scan_clicks_and_return_end_of_whole_lines(
        &mut self,
        mut file: File,
        offset: u64,
        edge: &str,
        is_last: bool,
    ) -> io::Result<u64> {
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut line, mut end) = (Vec::with_capacity(4096), offset);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(end);
            }
            let json = line.strip_suffix(b"\n");
            match json.and_then(|json| serde_json::from_slice::<LineIdentity<'_>>(json).ok()) {
                Some(click) if click.edge == edge => self.count_click_and_raise_lane_watermark(&click),
                // A line of another edge, which somebody put here.
                Some(_) => {}
                None if is_last => return Ok(end),
                None => {}
            }
            end += read;
        }
    }

    fn count_click_and_raise_lane_watermark(&mut self, click: &LineIdentity<'_>) {
        self.clicks += 1;
        let watermark = Watermark::after(click.epoch, click.seq);
        let highest = self.watermarks.entry(click.lane).or_default();
        *highest = watermark.max(*highest);
    }
}

/// Copies the bytes from `cut_at` on into a file of their own, as evidence. A rest without a newline is a torn line of
/// no use, and is not copied.
fn copy_damaged_rest_aside_unless_torn_line(path: &Path, cut_at: u64, len: u64) -> Result<(), OpenError> {
    let read_error = |why| OpenError::new("read", path, why);
    let mut file = File::open(path).map_err(read_error)?;
    file.seek(SeekFrom::Start(cut_at)).map_err(read_error)?;
    let mut rest = BufReader::new(io::Read::take(file, len - cut_at));
    let mut first_line = Vec::new();
    rest.read_until(b'\n', &mut first_line).map_err(read_error)?;
    if first_line.len() as u64 == len - cut_at && first_line.last() != Some(&b'\n') {
        tracing::info!(
            file = %path.display(),
            bytes = first_line.len(),
            "the click file's torn last line is cut off; its click is written again"
        );
        return Ok(());
    }
    let mut aside = path.to_owned();
    aside.set_extension(format!("damaged-{cut_at}"));
    let write_error = |why| OpenError::new("write", &aside, why);
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.write(true).create(true).truncate(true).open(&aside).map_err(write_error)?;
    io::copy(&mut io::Read::chain(&first_line[..], rest), &mut out).map_err(write_error)?;
    out.sync_all().map_err(write_error)?;
    log_fault!(
        error,
        faults::CLICK_FILE_DAMAGED,
        file = %path.display(), offset = cut_at, kept = %aside.display(),
        "the click file is damaged behind its last sync: it is cut there, and its clicks are written again"
    );
    Ok(())
}
