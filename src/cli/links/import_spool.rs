//! The records of an import on their way into a catalog, each with its place in the export. They lie in a file without
//! a name, because the last row can refuse all of them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
};

use crate::model::link::record::Record;

/// Where a record stands in the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordPlace {
    /// Index of the file.
    pub(super) file: usize,
    pub(super) row: u64,
    pub(super) line: u64,
}

/// Records that are written one after the other, and read as often as needed.
pub(super) struct RecordSpool {
    writer: BufWriter<File>,
}

/// A record of a spool.
pub(super) struct SpooledRecord {
    pub(super) place: RecordPlace,
    pub(super) record: Record,
    /// The record as a line of JSON.
    pub(super) text: String,
}

impl RecordSpool {
    pub(super) fn create() -> io::Result<RecordSpool> {
        Ok(RecordSpool { writer: BufWriter::new(tempfile::tempfile()?) })
    }

    pub(super) fn push(&mut self, place: RecordPlace, record: &Record) -> io::Result<()> {
        write!(self.writer, "{} {} {} ", place.file, place.row, place.line)?;
        serde_json::to_writer(&mut self.writer, record)?;
        self.writer.write_all(b"\n")
    }

    /// Every record, in the order in which they were written.
    pub(super) fn read_all(&mut self) -> io::Result<impl Iterator<Item = io::Result<SpooledRecord>> + use<>> {
        self.writer.flush()?;
        let mut file = self.writer.get_ref().try_clone()?;
        file.rewind()?;
        Ok(BufReader::new(file).lines().map(|line| parse_line(&line?)))
    }
}

fn parse_line(line: &str) -> io::Result<SpooledRecord> {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let place = RecordPlace { file: number(next())? as usize, row: number(next())?, line: number(next())? };
    let text = next().to_owned();
    Ok(SpooledRecord { place, record: serde_json::from_str(&text)?, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_again_with_their_places() {
        let mut spool = RecordSpool::create().unwrap();
        let place = |row| RecordPlace { file: 1, row, line: row + 1 };
        for row in 0..3 {
            let code = format!("c{row}");
            spool.push(place(row), &Record { code, ..Record::plain_with_defaults() }).unwrap();
        }
        for _ in 0..2 {
            let read: Vec<SpooledRecord> = spool.read_all().unwrap().map(Result::unwrap).collect();
            let found: Vec<_> = read.iter().map(|read| (read.place, &*read.record.code)).collect();
            assert_eq!(found, [(place(0), "c0"), (place(1), "c1"), (place(2), "c2")]);
            assert_eq!(read[0].text, serde_json::to_string(&read[0].record).unwrap());
        }
    }
}
