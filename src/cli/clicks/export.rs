//! `waypost clicks export`: writes the clicks of whole days to JSON lines or Parquet, one file a day.
//!
//! 1. The records of the days are read from both topics of clicks, to their present end.
//! 2. They are sorted by time and click id in bounded memory (`record_sorter`); of the records of a click the one
//!    stands that stands for the rule of commissions (`click_lines`).
//! 3. They are written aside, and put into their places when all are complete (`day_files`).
//!
//! The same records give the same bytes, in whatever order they are read. A click keeps one time in all its records,
//! because the value of a record is a function of the journaled click; so the time can be part of the key.

mod columns;
mod day_files;
mod parquet_file;
mod row;

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};

use self::day_files::{DayFiles, ExportFormat};
use super::{
    click_lines::{build_line_with_arrival, choose_standing_line},
    day_range::{DayRange, utc_day},
    event::ClickEvent,
    record_sorter::RecordSorter,
    source::{ClickSource, EventRecord, ReadProgress},
};
use crate::model::click::Topic;

/// The size of the output's buffer, bytes.
const OUTPUT_BUFFER_BYTES: usize = 256 << 10;
/// The latest time that an event can have, milliseconds since the epoch: a number of 53 bits.
const MAX_TIME_MS: u64 = (1 << 53) - 1;
/// The bytes of a time in the key of a record.
const TIME_BYTES: usize = 8;

/// The flags of `waypost clicks export`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    days: DayRange,
    /// Write a file a day below this directory: DIR/date=2026-11-21/part-00000.parquet [default: JSON lines on standard
    /// output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The form of the files
    #[arg(long, value_enum, default_value = "parquet", requires = "out")]
    format: ExportFormat,
    /// Keep every record: the repeats of a click, and stubs of clicks that Kafka refused
    #[arg(long)]
    all_records: bool,
}

/// What became of the records that were read.
#[derive(Debug, Default)]
struct ExportCounts {
    exported: u64,
    repeats: u64,
    stubs: u64,
    unreadable: u64,
}

/// Exports the clicks of the days. Holds at most about 250 MiB in memory; the sorted runs take as much space below
/// `--out` (else in the directory for temporary files) as the records.
///
/// # Errors
/// The source cannot be read, or a file or `out` cannot be written: then no file has changed.
pub fn export_clicks_of_days(source: &ClickSource, args: &ExportArgs, out: &mut impl Write) -> Result<()> {
    args.days.check()?;
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, out);
    let mut counts = ExportCounts::default();
    match &args.out {
        None => {
            let sorter = RecordSorter::new(&std::env::temp_dir());
            let sorter = args.read_records_of_days(source, sorter, &mut counts)?;
            args.visit_exported_lines(sorter, &mut counts, &mut |_, line| {
                out.write_all(line)?;
                Ok(out.write_all(b"\n")?)
            })?;
        }
        Some(directory) => {
            let whole_since_ms = source.find_latest_retention_start_ms_or_zero()?;
            let mut files = DayFiles::begin(directory, args.format)?;
            let sorter = RecordSorter::new(&files.staging_directory());
            let sorter = args.read_records_of_days(source, sorter, &mut counts)?;
            args.visit_exported_lines(sorter, &mut counts, &mut |at_ms, line| files.add_line(utc_day(at_ms), line))?;
            for file in files.complete(whole_since_ms)? {
                writeln!(out, "{}  {} {}", file.path.display(), file.lines, args.name_of_records())?;
            }
        }
    }
    out.flush()?;
    counts.print_to_stderr();
    Ok(())
}

impl ExportArgs {
    const fn name_of_records(&self) -> &'static str {
        if self.all_records { "records" } else { "clicks" }
    }

    fn read_records_of_days(
        &self,
        source: &ClickSource,
        mut sorter: RecordSorter,
        counts: &mut ExportCounts,
    ) -> Result<RecordSorter> {
        source.visit_records_and_follow_if_asked(
            &Topic::ALL,
            self.days.read_range(),
            &mut |progress| match progress {
                ReadProgress::Record(record) => self.add_record_if_in_days(&record, &mut sorter, counts),
                ReadProgress::CaughtUp => Ok(()),
            },
        )?;
        Ok(sorter)
    }

    fn add_record_if_in_days(
        &self,
        record: &EventRecord<'_>,
        sorter: &mut RecordSorter,
        counts: &mut ExportCounts,
    ) -> Result<()> {
        let is_readable = |event: &ClickEvent<'_>| {
            (event.is_click() || event.is_stub())
                && !event.click_id.is_empty()
                && (1..=MAX_TIME_MS).contains(&event.clicked_at_ms)
        };
        let Some(event) = ClickEvent::parse(record.value).filter(is_readable) else {
            counts.unreadable += 1;
            return Ok(());
        };
        if !self.days.contains_ms(event.clicked_at_ms) {
            return Ok(());
        }
        if event.is_stub() && !self.all_records {
            counts.stubs += 1;
            return Ok(());
        }
        let Ok(line) = build_line_with_arrival(record.value, record.shipped_ms) else {
            counts.unreadable += 1;
            return Ok(());
        };
        let key = [&event.clicked_at_ms.to_be_bytes(), event.click_id.as_bytes()].concat();
        sorter.add(&key, &line)
    }

    /// Calls `visit` with the time, milliseconds since the epoch, and the line of each record to export, by time.
    fn visit_exported_lines(
        &self,
        sorter: RecordSorter,
        counts: &mut ExportCounts,
        visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        sorter.visit_records_of_each_key(&mut |records| {
            let time = records.first().and_then(|record| record.key.first_chunk::<TIME_BYTES>());
            let at_ms = u64::from_be_bytes(*time.context("a record without a time was sorted")?);
            let lines = records.iter().map(|record| &*record.value);
            let exported: Vec<&[u8]> = match records {
                _ if self.all_records => lines.collect(),
                [only] => vec![&*only.value],
                _ => choose_standing_line(lines).into_iter().collect(),
            };
            counts.exported += exported.len() as u64;
            counts.repeats += (records.len() - exported.len()) as u64;
            exported.into_iter().try_for_each(|line| visit(at_ms, line))
        })
    }
}

impl ExportCounts {
    fn print_to_stderr(&self) {
        let ExportCounts { exported, repeats, stubs, unreadable } = self;
        eprintln!("waypost: {exported} records are exported, {repeats} repeats of them are left out");
        if *stubs > 0 {
            eprintln!(
                "waypost: {stubs} stubs of clicks that Kafka refused are left out (--all-records keeps them); those \
                 clicks are in the dead-letter files of their edges"
            );
        }
        if *unreadable > 0 {
            eprintln!("waypost: {unreadable} records are not clicks");
        }
    }
}
