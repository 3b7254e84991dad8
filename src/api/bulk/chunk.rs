//! Rows that are applied in one commit.

use super::{
    bulk_change::{BulkChange, ReportedRows},
    line_reader::BodyLine,
    report::{BulkReport, outcome_line, refused_line},
    row::read_row,
};
use crate::{
    api::{
        context::RequestContext,
        http::problem::{Problem, ProblemKind},
        links::{
            create::check_record_is_reached,
            record_body::MAX_RECORD,
            refusal::{ExistingLink, problem_of_catalog_error, problem_of_refusal},
        },
        reach::is_record_in_bounds,
    },
    catalog::{
        act::Act,
        api_keys::KeyBounds,
        change::{
            Batch, BatchMode, ChangeRow, ChangedLink, ExpectedLink, LinkChange, LinkName, RowOutcome, RowRefusal,
        },
    },
};

/// Rows that are applied in one commit.
pub(super) const ROWS_PER_CHUNK: usize = 1000;

/// A row with the number of its line.
type NumberedRow = (u64, Result<ChangeRow, Problem>);

/// The rows of one commit.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) rows: Vec<NumberedRow>,
}

impl Chunk {
    /// The changes of lines.
    pub(super) fn of_lines(lines: Vec<BodyLine>, existing: ExpectedLink) -> Chunk {
        let mut chunk = Chunk::default();
        lines.into_iter().for_each(|line| chunk.push_line(line, existing));
        chunk
    }

    /// Adds the change of a line. `existing`: what the link has to be if the line does not say.
    pub(super) fn push_line(&mut self, line: BodyLine, existing: ExpectedLink) {
        let row = match &line.bytes {
            Some(bytes) => read_row(bytes, existing),
            None => Err(Problem::new(ProblemKind::TooLarge, format!("a line has {MAX_RECORD} bytes at most"))),
        };
        self.rows.push((line.number, row));
    }
}

/// Applies the rows, counts what became of them, and returns the lines about those that are refused, or about all.
///
/// # Errors
/// The catalog takes no change; no row of the chunk is applied.
pub(super) async fn apply_chunk(
    context: &RequestContext,
    change: &BulkChange,
    mut chunk: Chunk,
    report: &mut BulkReport,
) -> Result<String, Problem> {
    refuse_rows_out_of_reach(context, &mut chunk.rows).await?;
    let mut rows = Vec::with_capacity(chunk.rows.len());
    let mut refusals: Vec<(u64, Option<Problem>)> = Vec::with_capacity(chunk.rows.len());
    for (number, row) in chunk.rows {
        match row {
            Ok(row) => {
                rows.push(row);
                refusals.push((number, None));
            }
            Err(problem) => refusals.push((number, Some(problem))),
        }
    }
    // An atomic request with a row that is none is only checked, so that all mistakes are told.
    let has_mistake = rows.len() < refusals.len();
    let is_dry_run = change.is_dry_run || change.mode == BatchMode::Atomic && has_mistake;
    let asked = if change.is_continued { rows.clone() } else { Vec::new() };
    let batch = Batch { act: change.act.clone(), rows, mode: change.mode, is_dry_run, once: None };
    let applied = context.state.catalog.apply(batch).await.map_err(|error| problem_of_catalog_error(&error))?;
    report.version = applied.version;
    let outcomes = with_rows_done_before(context, &change.act, asked, applied.outcomes).await?;
    let mut outcomes = outcomes.into_iter();
    let mut lines = String::new();
    for (number, refusal) in refusals {
        let result = match refusal {
            Some(problem) => Err(problem),
            None => outcomes.next().map_or(Ok(None), |outcome| report.count_outcome(number, outcome).map(Some)),
        };
        match result {
            Ok(line) => lines += &line.filter(|_| change.reported == ReportedRows::All).unwrap_or_default(),
            Err(problem) => {
                report.refused += 1;
                lines += &refused_line(number, &problem);
            }
        }
    }
    Ok(lines)
}

/// The outcomes, where a row that is refused because an earlier request of the act has carried it out is unchanged.
/// `asked`: the rows; none if there was no earlier request.
async fn with_rows_done_before(
    context: &RequestContext,
    act: &Act,
    asked: Vec<ChangeRow>,
    outcomes: Vec<RowOutcome>,
) -> Result<Vec<RowOutcome>, Problem> {
    if !outcomes.iter().zip(&asked).any(|(outcome, _)| is_refused_for_what_is_there(outcome)) {
        return Ok(outcomes);
    }
    let names: Vec<Option<LinkName>> = asked.iter().map(|row| name_of_row(context, row)).collect();
    let act = act.id.to_string();
    let read = context.state.readers.read(move |reader| {
        let mut outcomes = outcomes;
        for ((outcome, row), name) in outcomes.iter_mut().zip(&asked).zip(names) {
            if let Some(name) = name
                && is_refused_for_what_is_there(outcome)
                && let Some(version) = reader.find_version_of_row_done_by_act(&act, &name, row)?
            {
                let link = ChangedLink { name, version, record: String::new(), warnings: Vec::new() };
                *outcome = RowOutcome::Unchanged(link);
            }
        }
        Ok(outcomes)
    });
    read.await
}

fn is_refused_for_what_is_there(outcome: &RowOutcome) -> bool {
    use RowRefusal::{Exists, NotFound, VersionDiffers, VersionNeeded};
    let RowOutcome::Refused(refusal) = outcome else { return false };
    matches!(refusal, Exists { .. } | NotFound | VersionDiffers { .. } | VersionNeeded { .. })
}

impl BulkReport {
    /// Counts what became of a row, and returns the line about it.
    ///
    /// # Errors
    /// The row is refused, which is not counted yet.
    fn count_outcome(&mut self, number: u64, outcome: RowOutcome) -> Result<String, Problem> {
        let (count, word, link) = match outcome {
            RowOutcome::Created(link) => (&mut self.created, "created", link),
            RowOutcome::Updated(link) => (&mut self.updated, "updated", link),
            RowOutcome::Unchanged(link) => (&mut self.unchanged, "unchanged", link),
            RowOutcome::Deleted { name, version } => {
                let link = ChangedLink { name, version, record: String::new(), warnings: Vec::new() };
                (&mut self.deleted, "deleted", link)
            }
            RowOutcome::Refused(refusal) => return Err(problem_of_refusal(refusal, ExistingLink::IsConflict)),
        };
        *count += 1;
        Ok(outcome_line(number, word, &link))
    }
}

/// Refuses the rows of links outside the bounds of the key.
async fn refuse_rows_out_of_reach(context: &RequestContext, rows: &mut [NumberedRow]) -> Result<(), Problem> {
    let bounds = context.key.bounds.clone();
    if bounds == KeyBounds::default() {
        return Ok(());
    }
    let names: Vec<Option<LinkName>> = rows.iter().map(|(_, row)| name_of_row(context, row.as_ref().ok()?)).collect();
    let are_out_of_reach = context.state.readers.read(move |reader| {
        let is_out_of_reach = |name: Option<LinkName>| -> rusqlite::Result<bool> {
            let Some(name) = name else { return Ok(false) };
            let link = reader.find_link(&name)?;
            Ok(link.is_some_and(|link| !is_record_in_bounds(&bounds, &link.name, &link.record)))
        };
        names.into_iter().map(is_out_of_reach).collect::<rusqlite::Result<Vec<bool>>>()
    });
    for ((_, row), is_out_of_reach) in rows.iter_mut().zip(are_out_of_reach.await?) {
        let problem = match row {
            Ok(_) if is_out_of_reach => Some(Problem::not_found()),
            Ok(ChangeRow { change: LinkChange::Put { record, .. }, .. }) => {
                check_record_is_reached(context, record).err()
            }
            _ => None,
        };
        if let Some(problem) = problem {
            *row = Err(problem);
        }
    }
    Ok(())
}

fn name_of_row(context: &RequestContext, row: &ChangeRow) -> Option<LinkName> {
    let name = match &row.change {
        LinkChange::Put { record, .. } => LinkName { domain: record.domain.clone(), code: record.code.clone() },
        LinkChange::Patch { name, .. } | LinkChange::Delete { name } => name.clone(),
    };
    context.state.canonical_name(&name)
}
