//! The report of an import: every refused row and every change as JSON lines, or the first ones and the counts as text.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::json;

use crate::import::{FileError, Mistake, Note, NoteKind, RowOutcome, Summary};

/// The mistakes that are listed as text; all are counted.
const MAX_LISTED_MISTAKES: usize = 1000;

/// A report while rows come.
pub(super) struct Report {
    json: Option<BufWriter<File>>,
    listed: Vec<String>,
    mistakes: usize,
    /// The first note of each kind.
    first_notes: BTreeMap<NoteKind, String>,
}

/// A row of a file, for a line of the report.
#[derive(Clone, Copy)]
pub(super) struct ReportedRow<'a> {
    pub(super) file: &'a Path,
    pub(super) row: u64,
    pub(super) line: u64,
}

impl Report {
    /// A report with JSON lines in `path`, if it is given.
    pub(super) fn create(path: Option<&Path>) -> io::Result<Report> {
        let json = path.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Report { json, listed: Vec::new(), mistakes: 0, first_notes: BTreeMap::new() })
    }

    /// Adds a row.
    pub(super) fn add_row(&mut self, file: &Path, outcome: &RowOutcome) -> io::Result<()> {
        match outcome {
            RowOutcome::Accepted(row) => {
                let place = ReportedRow { file, row: row.row, line: row.line };
                row.notes.iter().try_for_each(|note| self.add_note(place, note))
            }
            RowOutcome::Refused(row) => {
                let place = ReportedRow { file, row: row.row, line: row.line };
                row.mistakes.iter().try_for_each(|mistake| self.add_mistake(place, mistake))
            }
        }
    }

    fn add_mistake(&mut self, place: ReportedRow<'_>, mistake: &Mistake) -> io::Result<()> {
        let Mistake { column, rule, message } = mistake;
        self.add_refusal(place, column.as_deref(), rule, message)
    }

    /// Adds a refusal: by a mistake of the row, or by the catalog.
    pub(super) fn add_refusal(
        &mut self,
        place: ReportedRow<'_>,
        column: Option<&str>,
        rule: &str,
        message: &str,
    ) -> io::Result<()> {
        self.mistakes += 1;
        if self.listed.len() < MAX_LISTED_MISTAKES {
            self.listed.push(format!("{}: {rule}: {message}", place.describe(column)));
        }
        self.write_json(&json!({
            "type": "refused", "file": place.file, "row": place.row, "line": place.line,
            "column": column, "rule": rule, "message": message,
        }))
    }

    fn add_note(&mut self, place: ReportedRow<'_>, note: &Note) -> io::Result<()> {
        let Note { kind, column, message } = note;
        self.first_notes.entry(*kind).or_insert_with(|| format!("{}: {message}", place.describe(column.as_deref())));
        self.write_json(&json!({
            "type": "note", "file": place.file, "row": place.row, "line": place.line,
            "column": column, "kind": kind.as_str(), "message": message,
        }))
    }

    /// Adds the refusal of a file as a whole, and ends the report.
    pub(super) fn finish_refused_file(mut self, file: &Path, error: &FileError) -> io::Result<()> {
        self.write_json(&json!({"type": "file-refused", "file": file, "message": error.to_string()}))?;
        self.flush()
    }

    /// Adds the counts, and ends the report. `written` says what became of the records.
    pub(super) fn finish(mut self, summary: &Summary, written: &str) -> io::Result<String> {
        self.write_json(&json!({
            "type": "summary", "rows": summary.rows, "accepted": summary.accepted_rows,
            "refused": summary.refused_rows, "records": summary.records, "ended": summary.ended_records,
            "mistakes": summary.mistakes,
            "notes": summary.notes.iter().map(|(kind, count)| (kind.as_str(), *count)).collect::<BTreeMap<_, _>>(),
            "left_out": summary.left_out, "created_at_replaced": summary.replaces_created_at, "written": written,
        }))?;
        let text = self.format_text(summary, written);
        self.flush()?;
        Ok(text)
    }

    fn format_text(&self, summary: &Summary, written: &str) -> String {
        let mut lines = self.listed.clone();
        if self.mistakes > self.listed.len() {
            let more = count_of((self.mistakes - self.listed.len()) as u64, "more mistake");
            lines.push(format!("{more}; --report FILE has all"));
        }
        let Summary { rows, accepted_rows, refused_rows, records, ended_records, .. } = summary;
        let (rows, records) = (count_of(*rows, "row"), count_of(*records, "record"));
        lines.push(format!("{rows}: {accepted_rows} accepted, {refused_rows} refused; {records}"));
        if !summary.mistakes.is_empty() {
            lines.push(format!("refused by rule: {}", format_counts(summary.mistakes.iter())));
        }
        for (kind, count) in &summary.notes {
            let first = self.first_notes.get(kind).map(String::as_str).unwrap_or_default();
            lines.push(format!("note: {} {count}, first {first}", kind.as_str()));
        }
        if !summary.left_out.is_empty() {
            lines.push(format!("left out, values by column: {}", format_counts(summary.left_out.iter())));
        }
        if *ended_records > 0 {
            let ended = count_of(*ended_records, "record");
            lines.push(format!(
                "{ended} of a link that has ended: it redirects to a fallback, and its clicks earn nothing"
            ));
        }
        if summary.replaces_created_at {
            lines.push(
                "created_at of every record is the one of --created-at: the 100 days of links that earn count from it"
                    .to_owned(),
            );
        }
        lines.push(written.to_owned());
        lines.join("\n")
    }

    fn write_json(&mut self, line: &serde_json::Value) -> io::Result<()> {
        match &mut self.json {
            Some(json) => writeln!(json, "{line}"),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.json.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl ReportedRow<'_> {
    /// `file:line: row 7, column "Long URL"`
    fn describe(&self, column: Option<&str>) -> String {
        let column = column.map(|column| format!(", column {column:?}")).unwrap_or_default();
        format!("{}:{}: row {}{column}", self.file.display(), self.line, self.row)
    }
}

/// `1 row`, `2 rows`
pub(super) fn count_of(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn format_counts(counts: impl Iterator<Item = (impl std::fmt::Display, impl std::fmt::Display)>) -> String {
    counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
