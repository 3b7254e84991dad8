//! Sorts records by key in bounded memory: sorted runs go to temporary files, and are merged when they are read.
//!
//! Records of one key come together, so that a caller can choose among the repeats of a click. The order is that of the
//! bytes of key and value: it does not depend on the order in which records came, nor on how they were spread over
//! runs.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Bytes of records that are sorted in memory.
const MAX_BUFFERED_BYTES: usize = 64 << 20;
/// Runs that are merged at once. With this many, they become one longer run.
const MAX_RUNS: usize = 128;
/// Bytes of a run that are read or written at a time.
const RUN_BUFFER_BYTES: usize = 64 << 10;

/// A record, with the key that it is sorted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct SortedRecord {
    pub(in crate::cli) key: Vec<u8>,
    pub(in crate::cli) value: Vec<u8>,
}

/// Takes records in any order. Holds at most 64 MiB of them and some 16 MiB of file buffers; the rest lies in unnamed
/// files of `directory`, which vanish with the process.
pub(in crate::cli) struct RecordSorter {
    directory: PathBuf,
    max_buffered_bytes: usize,
    max_runs: usize,
    bytes: Vec<u8>,
    places: Vec<BufferedPlace>,
    runs: Vec<File>,
    /// Runs that were merged from [`MAX_RUNS`] others.
    merged_runs: Vec<File>,
}

/// The place of a record in the buffer.
#[derive(Clone, Debug)]
struct BufferedPlace {
    key: Range<usize>,
    value: Range<usize>,
}

impl RecordSorter {
    /// A sorter that writes its runs to `directory`.
    pub(in crate::cli) fn new(directory: &Path) -> RecordSorter {
        RecordSorter::with_limits(directory, MAX_BUFFERED_BYTES, MAX_RUNS)
    }

    fn with_limits(directory: &Path, max_buffered_bytes: usize, max_runs: usize) -> RecordSorter {
        RecordSorter {
            directory: directory.to_owned(),
            max_buffered_bytes,
            max_runs,
            bytes: Vec::new(),
            places: Vec::new(),
            runs: Vec::new(),
            merged_runs: Vec::new(),
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The buffer is full, and no run can be written.
    pub(in crate::cli) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let place_bytes = self.places.len() * size_of::<BufferedPlace>();
        if !self.places.is_empty() && self.bytes.len() + place_bytes + key.len() + value.len() > self.max_buffered_bytes
        {
            self.write_buffer_as_run()?;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.places.push(BufferedPlace { key: start..middle, value: middle..self.bytes.len() });
        Ok(())
    }

    /// Calls `visit` with the records of each key, the least key first.
    ///
    /// # Errors
    /// A run cannot be written or read, or `visit` fails.
    pub(in crate::cli) fn visit_records_of_each_key(
        mut self,
        visit: &mut dyn FnMut(&[SortedRecord]) -> Result<()>,
    ) -> Result<()> {
        let mut group: Vec<SortedRecord> = Vec::new();
        let mut add_to_group = |record: SortedRecord| -> Result<()> {
            if group.first().is_some_and(|first| first.key != record.key) {
                visit(&group)?;
                group.clear();
            }
            group.push(record);
            Ok(())
        };
        if self.runs.is_empty() && self.merged_runs.is_empty() {
            self.sort_buffer();
            for place in &self.places {
                add_to_group(self.copy_record(place))?;
            }
        } else {
            self.write_buffer_as_run()?;
            let runs = self.merged_runs.drain(..).chain(self.runs.drain(..)).collect();
            merge_runs(runs, &mut add_to_group).with_context(|| self.describe_directory())?;
        }
        if group.is_empty() { Ok(()) } else { visit(&group) }
    }

    fn sort_buffer(&mut self) {
        let bytes = &self.bytes;
        let order = |place: &BufferedPlace| (&bytes[place.key.clone()], &bytes[place.value.clone()]);
        self.places.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
    }

    fn copy_record(&self, place: &BufferedPlace) -> SortedRecord {
        SortedRecord { key: self.bytes[place.key.clone()].to_vec(), value: self.bytes[place.value.clone()].to_vec() }
    }

    /// Sorts the buffer, writes it to a new run and empties it.
    fn write_buffer_as_run(&mut self) -> Result<()> {
        self.sort_buffer();
        let run = self.create_run_with(|out| {
            for place in &self.places {
                let (key, value) = (&self.bytes[place.key.clone()], &self.bytes[place.value.clone()]);
                write_record(out, key, value)?;
            }
            Ok(())
        })?;
        self.runs.push(run);
        self.bytes.clear();
        self.places.clear();
        if self.runs.len() >= self.max_runs {
            let runs = std::mem::take(&mut self.runs);
            let merged = self.create_run_with(|out| {
                merge_runs(runs, &mut |record| Ok(write_record(out, &record.key, &record.value)?))
            })?;
            self.merged_runs.push(merged);
        }
        Ok(())
    }

    /// Creates a run, and rewinds it once `write` has filled it.
    fn create_run_with(&self, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<File> {
        let create = || -> Result<File> {
            let mut out = BufWriter::with_capacity(RUN_BUFFER_BYTES, tempfile::tempfile_in(&self.directory)?);
            write(&mut out)?;
            let mut file = out.into_inner()?;
            file.rewind()?;
            Ok(file)
        };
        create().with_context(|| self.describe_directory())
    }

    fn describe_directory(&self) -> String {
        format!("{}: records cannot be sorted in a temporary file", self.directory.display())
    }
}

/// Writes a record: its lengths, its key and its value.
fn write_record(out: &mut impl Write, key: &[u8], value: &[u8]) -> std::io::Result<()> {
    let too_long = |_| std::io::Error::from(ErrorKind::FileTooLarge);
    out.write_all(&u32::try_from(key.len()).map_err(too_long)?.to_le_bytes())?;
    out.write_all(&u32::try_from(value.len()).map_err(too_long)?.to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(value)
}

/// Reads a record that [`write_record`] wrote; `None` at the end of the run.
fn read_record(run: &mut impl Read) -> std::io::Result<Option<SortedRecord>> {
    let mut key_len = [0; 4];
    match run.read_exact(&mut key_len) {
        Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut value_len = [0; 4];
    run.read_exact(&mut value_len)?;
    let mut record = SortedRecord {
        key: vec![0; u32::from_le_bytes(key_len) as usize],
        value: vec![0; u32::from_le_bytes(value_len) as usize],
    };
    run.read_exact(&mut record.key)?;
    run.read_exact(&mut record.value)?;
    Ok(Some(record))
}

/// Visits the records of all runs in their order.
fn merge_runs(runs: Vec<File>, visit: &mut dyn FnMut(SortedRecord) -> Result<()>) -> Result<()> {
    let mut runs: Vec<_> = runs.into_iter().map(|run| BufReader::with_capacity(RUN_BUFFER_BYTES, run)).collect();
    let mut next = BinaryHeap::new();
    for (number, run) in runs.iter_mut().enumerate() {
        next.extend(read_record(run)?.map(|record| Reverse((record, number))));
    }
    while let Some(Reverse((record, number))) = next.pop() {
        next.extend(read_record(&mut runs[number])?.map(|record| Reverse((record, number))));
        visit(record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sort(records: &[SortedRecord], max_bytes: usize, max_runs: usize) -> Vec<SortedRecord> {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = RecordSorter::with_limits(directory.path(), max_bytes, max_runs);
        for record in records {
            sorter.add(&record.key, &record.value).unwrap();
        }
        let (mut sorted, mut last_key) = (Vec::new(), None);
        let visited = sorter.visit_records_of_each_key(&mut |group| {
            assert!(group.iter().all(|record| record.key == group[0].key));
            assert!(last_key.as_ref().is_none_or(|last| *last < group[0].key), "a key comes once, in order");
            last_key = Some(group[0].key.clone());
            sorted.extend_from_slice(group);
            Ok(())
        });
        visited.unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "runs have no names");
        sorted
    }

    proptest! {
        #[test]
        fn records_come_in_one_order_however_they_are_spread_over_runs(
            records in prop::collection::vec(
                (prop::collection::vec(0..3u8, 0..3), prop::collection::vec(any::<u8>(), 0..40)),
                0..60,
            ),
            max_bytes in 1..2_000usize,
            max_runs in 2..5usize,
        ) {
            let mut expected: Vec<SortedRecord> =
                records.into_iter().map(|(key, value)| SortedRecord { key, value }).collect();
            let sorted = sort(&expected, max_bytes, max_runs);
            expected.sort();
            prop_assert_eq!(sorted, expected);
        }
    }
}
