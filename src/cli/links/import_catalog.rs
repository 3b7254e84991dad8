//! The records of an import into a catalog: all of them are checked first, then they are written, in chunks of one act.
//! An import that was interrupted is finished by the same command: what is there already is unchanged.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::Result;
use indicatif::ProgressBar;

use super::{
    import_report::{Report, ReportedRow, count_of},
    import_spool::{RecordSpool, SpooledRecord},
    place::{ChangeOutcome, LinkChanges, LinkPlace, Refusal},
    progress::bar_of_links,
};
use crate::catalog::{
    act::Act,
    change::{ExpectedLink, LinkChange},
};

/// Records that go into a catalog.
pub(super) struct CatalogImport<'a> {
    pub(super) place: &'a dyn LinkPlace,
    pub(super) act: Act,
    /// What a link has to be before a record takes its place.
    pub(super) expected: ExpectedLink,
    pub(super) files: &'a [PathBuf],
    /// How many there are.
    pub(super) records: u64,
}

/// Whether rows that the catalog refuses keep the others from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedRecords {
    RefuseAll,
    AreLeftOut,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ImportCounts {
    created: u64,
    changed: u64,
    unchanged: u64,
    pub(super) refused: u64,
}

impl ImportCounts {
    pub(super) fn describe(&self) -> String {
        let ImportCounts { created, changed, unchanged, refused } = self;
        format!("{created} created, {changed} changed, {unchanged} unchanged, {refused} refused")
    }
}

/// What became of an import.
pub(super) enum CatalogImportEnd {
    /// Nothing is written, because records are refused.
    Refused(ImportCounts),
    /// Nothing is written, because nobody asked for it.
    Checked(ImportCounts),
    Written(ImportCounts),
}

impl CatalogImport<'_> {
    /// Checks all records, then writes them unless `is_dry_run`.
    ///
    /// # Errors
    /// The place takes no change. What was written by then stays.
    pub(super) fn check_all_and_write(
        &self,
        spool: &mut RecordSpool,
        report: &mut Report,
        refused: RefusedRecords,
        is_dry_run: bool,
    ) -> Result<CatalogImportEnd> {
        let mut left_out = HashSet::new();
        let checked = self.apply_all(spool, report, &mut left_out, Pass::Check)?;
        if is_dry_run {
            return Ok(CatalogImportEnd::Checked(checked));
        }
        if checked.refused > 0 && refused == RefusedRecords::RefuseAll {
            return Ok(CatalogImportEnd::Refused(checked));
        }
        let mut written = self.apply_all(spool, report, &mut left_out, Pass::Write)?;
        written.refused += checked.refused;
        Ok(CatalogImportEnd::Written(written))
    }

    /// Goes through all records but those in `left_out`, to which it adds the refused ones by their number.
    fn apply_all(
        &self,
        spool: &mut RecordSpool,
        report: &mut Report,
        left_out: &mut HashSet<u64>,
        pass: Pass,
    ) -> Result<ImportCounts> {
        let bar = bar_of_links(pass.verb(), self.records);
        let mut counts = ImportCounts::default();
        let limit = self.place.changes_at_once();
        let mut chunk = Vec::with_capacity(limit);
        for (number, record) in (0..).zip(spool.read_all()?) {
            let record = record?;
            if left_out.contains(&number) {
                continue;
            }
            chunk.push((number, record));
            if chunk.len() == limit {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(limit));
                self.apply_chunk(full, &mut ChunkResults { report, left_out, counts: &mut counts, bar: &bar }, pass)?;
            }
        }
        self.apply_chunk(chunk, &mut ChunkResults { report, left_out, counts: &mut counts, bar: &bar }, pass)?;
        bar.finish_and_clear();
        Ok(counts)
    }

    fn apply_chunk(&self, chunk: Vec<(u64, SpooledRecord)>, results: &mut ChunkResults<'_>, pass: Pass) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let (places, changes): (Vec<_>, Vec<_>) = chunk
            .into_iter()
            .map(|(number, SpooledRecord { place, record, text })| {
                ((number, place), LinkChange::Put { record: Box::new(record), text: Some(text) })
            })
            .unzip();
        let changes = LinkChanges { act: &self.act, changes, expected: self.expected, is_dry_run: pass == Pass::Check };
        let outcomes = self.place.change_links(changes)?;
        results.bar.inc(outcomes.len() as u64);
        for ((number, place), outcome) in places.into_iter().zip(outcomes) {
            let Some(Refusal { rule, message }) = results.counts.count(outcome) else { continue };
            results.left_out.insert(number);
            let file = self.files.get(place.file).map_or(Path::new(""), PathBuf::as_path);
            let place = ReportedRow { file, row: place.row, line: place.line };
            results.report.add_refusal(place, None, &rule, &message)?;
        }
        Ok(())
    }
}

/// One way through all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Check,
    Write,
}

impl Pass {
    const fn verb(self) -> &'static str {
        match self {
            Pass::Check => "check",
            Pass::Write => "write",
        }
    }
}

/// Where the results of a chunk go.
struct ChunkResults<'a> {
    report: &'a mut Report,
    left_out: &'a mut HashSet<u64>,
    counts: &'a mut ImportCounts,
    bar: &'a ProgressBar,
}

impl ImportCounts {
    /// Counts an outcome; the refusal if it is one.
    fn count(&mut self, outcome: ChangeOutcome) -> Option<Refusal> {
        match outcome {
            ChangeOutcome::Created { .. } => self.created += 1,
            ChangeOutcome::Changed { .. } => self.changed += 1,
            ChangeOutcome::Unchanged { .. } | ChangeOutcome::Removed { .. } => self.unchanged += 1,
            ChangeOutcome::Refused(refusal) => {
                self.refused += 1;
                return Some(refusal);
            }
        }
        None
    }
}

impl CatalogImportEnd {
    /// What became of the records, for the report.
    pub(super) fn describe(&self, act: &Act) -> String {
        match self {
            CatalogImportEnd::Refused(counts) => format!(
                "nothing is written, because the catalog refuses {}: correct the rows, or --skip-bad leaves them out",
                count_of(counts.refused, "record")
            ),
            CatalogImportEnd::Checked(counts) => format!("nothing is written: --dry-run; {}", counts.describe()),
            CatalogImportEnd::Written(counts) => format!(
                "written to the catalog: {}\nact {}; `waypost links undo {}` takes it back",
                counts.describe(),
                act.id,
                act.id
            ),
        }
    }

    /// How many records the catalog refuses.
    pub(super) const fn refused(&self) -> u64 {
        match self {
            CatalogImportEnd::Refused(counts)
            | CatalogImportEnd::Checked(counts)
            | CatalogImportEnd::Written(counts) => counts.refused,
        }
    }
}
