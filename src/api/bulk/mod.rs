//! `POST /v1/bulk`: many changes in one request, one a line.
//!
//! `mode=atomic` applies all rows or none; they are held in memory, so there is a bound. More than 10 000 rows are no
//! single commit (`checked_chunks`). `mode=each` applies what is right, chunk by chunk, while the body comes; any
//! number of rows takes the memory of one chunk. A line about a refused row, or about each row if all are asked for, is
//! sent behind the commit of its chunk, so every row before it is decided and on the disk. The last line is the
//! summary. An answer without one is of a request that did not end. It is sent again with its `act`: what is done
//! counts as done.

mod answer;
mod bulk_change;
mod checked_chunks;
mod chunk;
mod line_reader;
mod report;
mod row;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{
    answer::{WAITING_PARTS, answer_whole, send_end},
    bulk_change::{BulkChange, ReportedRows},
    checked_chunks::check_then_apply_in_chunks,
    chunk::{Chunk, ROWS_PER_CHUNK, apply_chunk},
    line_reader::{BodyLine, LineReader},
    report::BulkReport,
};
use super::{
    context::RequestContext,
    http::{
        media_types::{NDJSON, check_body_type, check_client_accepts},
        problem::{Problem, ProblemKind},
        query_parameters::QueryParameters,
        response::{ApiResponse, ResponseBody, response_of_type},
    },
};
use crate::{
    catalog::{
        act::Act,
        change::{BatchMode, ExpectedLink},
    },
    clock::work_pauses::WorkPauses,
};

/// Rows of an atomic request that are one commit.
const MAX_ROWS_OF_COMMIT: usize = 10_000;
/// Rows of an atomic request at most.
const MAX_ATOMIC_ROWS: usize = 100_000;
/// Bytes of the rows of an atomic request at most.
const MAX_ATOMIC_BYTES: usize = 64 << 20;

/// Applies the rows of the body and answers with a line for each refused one, then a summary.
pub(super) async fn change_links_in_bulk(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["mode", "dry_run", "existing", "outcomes", "act", "reason"])?;
    check_client_accepts(&context.headers, NDJSON)?;
    check_body_type(&context.headers, &[NDJSON])?;
    let mode = query.word("mode", [("atomic", BatchMode::Atomic), ("each", BatchMode::Each)])?;
    let existing =
        [("replace", ExpectedLink::Any), ("same", ExpectedLink::AbsentOrSame), ("refuse", ExpectedLink::Absent)];
    let outcomes = [("refused", ReportedRows::Refused), ("all", ReportedRows::All)];
    let (act, is_continued) = new_or_continued_act(&context, &query).await?;
    let change = BulkChange {
        mode: mode.unwrap_or(BatchMode::Atomic),
        is_dry_run: read_dry_run(&query)?,
        existing: query.word("existing", existing)?.unwrap_or(ExpectedLink::Any),
        reported: query.word("outcomes", outcomes)?.unwrap_or(ReportedRows::Refused),
        act,
        is_continued,
    };
    let lines = LineReader::new(body);
    match change.mode {
        BatchMode::Atomic => apply_all_or_none(&context, change, lines).await,
        BatchMode::Each => apply_each(context, change, lines).await,
    }
}

/// The act of the rows, and whether an earlier request of the same key had it, which `act` names.
async fn new_or_continued_act(context: &RequestContext, query: &QueryParameters) -> Result<(Act, bool), Problem> {
    let act = context.new_act(query)?;
    let Some(text) = query.get("act") else { return Ok((act, false)) };
    let id = Uuid::try_parse(text).map_err(|_| {
        let message = format!("is {text:?}; allowed is a UUID, the same in each request of one act");
        Problem::of_parameter("act", message)
    })?;
    let wanted = id.to_string();
    let found = context.state.readers.read(move |reader| reader.find_act(&wanted)).await?;
    let is_continued = found.is_some();
    if found.is_some_and(|found| found.actor != act.actor) {
        let detail = "act: is an act of somebody else; make a UUID of your own";
        return Err(Problem::new(ProblemKind::ActTaken, detail));
    }
    Ok((Act { id, ..act }, is_continued))
}

fn read_dry_run(query: &QueryParameters) -> Result<bool, Problem> {
    let words = [("true", true), ("false", false), ("", true)];
    Ok(query.word("dry_run", words)?.unwrap_or(false))
}

async fn apply_all_or_none(
    context: &RequestContext,
    change: BulkChange,
    mut lines: LineReader,
) -> Result<ApiResponse, Problem> {
    let (mut rows, mut bytes): (Vec<BodyLine>, usize) = (Vec::new(), 0);
    while let Some(line) = lines.next_line().await? {
        bytes += line.bytes.as_ref().map_or(0, Bytes::len);
        rows.push(line);
        if rows.len() > MAX_ATOMIC_ROWS || bytes > MAX_ATOMIC_BYTES {
            let detail = format!(
                "mode=atomic takes {MAX_ATOMIC_ROWS} rows and {} MiB at most; use mode=each, or several requests",
                MAX_ATOMIC_BYTES >> 20
            );
            return Err(Problem::new(ProblemKind::TooLarge, detail).with_header(http::header::CONNECTION, "close"));
        }
    }
    if rows.len() > MAX_ROWS_OF_COMMIT {
        return check_then_apply_in_chunks(context.clone(), change, rows).await;
    }
    let mut report = BulkReport::new(&change);
    let chunk = Chunk::of_lines(rows, change.existing);
    let text = apply_chunk(context, &change, chunk, &mut report).await?;
    Ok(answer_whole(text, &report))
}

/// The first chunk is applied before the answer begins, so that a request that the catalog does not take at all gets
/// the status for that.
async fn apply_each(
    context: RequestContext,
    change: BulkChange,
    mut lines: LineReader,
) -> Result<ApiResponse, Problem> {
    let mut report = BulkReport::new(&change);
    let first = read_chunk(&mut lines, change.existing).await?;
    let has_more = first.rows.len() == ROWS_PER_CHUNK;
    let text = apply_chunk(&context, &change, first, &mut report).await?;
    if !has_more {
        let body = text + &report.summary_line();
        return Ok(response_of_type(StatusCode::OK, NDJSON, ResponseBody::whole(body)));
    }
    let (parts, received) = mpsc::channel(WAITING_PARTS);
    tokio::task::spawn_local(async move {
        let mut text = text;
        loop {
            // An error: the client has gone. What it sent before is applied; the rest of its body is not read.
            if !text.is_empty() && parts.send(Ok(Bytes::from(text))).await.is_err() {
                return;
            }
            match apply_next_chunk(&context, &change, &mut lines, &mut report).await {
                Ok(NextChunk::Applied(lines)) => text = lines,
                Ok(NextChunk::Last(lines)) => break send_end(&parts, lines + &report.summary_line()).await,
                Err(problem) => {
                    break send_end(&parts, format!("{}\n", serde_json::json!({"problem": problem.to_json()}))).await;
                }
            }
        }
    });
    Ok(response_of_type(StatusCode::OK, NDJSON, ResponseBody::Parts(received)))
}

/// The lines of the answer about a chunk.
enum NextChunk {
    Applied(String),
    Last(String),
}

async fn apply_next_chunk(
    context: &RequestContext,
    change: &BulkChange,
    lines: &mut LineReader,
    report: &mut BulkReport,
) -> Result<NextChunk, Problem> {
    let chunk = read_chunk(lines, change.existing).await?;
    let is_last = chunk.rows.len() < ROWS_PER_CHUNK;
    let text = apply_chunk(context, change, chunk, report).await?;
    Ok(if is_last { NextChunk::Last(text) } else { NextChunk::Applied(text) })
}

/// The next rows; fewer than [`ROWS_PER_CHUNK`] only at the end of the body.
async fn read_chunk(lines: &mut LineReader, existing: ExpectedLink) -> Result<Chunk, Problem> {
    let mut chunk = Chunk::default();
    let mut pauses = WorkPauses::starting_now();
    while chunk.rows.len() < ROWS_PER_CHUNK
        && let Some(line) = lines.next_line().await?
    {
        chunk.push_line(line, existing);
        // Other requests of the API wait for a tenth of a millisecond, so that clicks wait no longer.
        pauses.pause_if_due();
    }
    Ok(chunk)
}
