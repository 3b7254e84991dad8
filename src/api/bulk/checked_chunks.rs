//! Atomic requests of more rows than one commit may have: a long transaction of the topic holds back every reader, and
//! one of the catalog every other change. All rows are checked together, on top of each other, and nothing is written
//! if one is refused. Then they are written in chunks under one act. A request that broke off is sent again with the
//! same act, which ends it.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    answer::{WAITING_PARTS, answer_whole, send_end},
    bulk_change::BulkChange,
    chunk::{Chunk, ROWS_PER_CHUNK, apply_chunk},
    line_reader::BodyLine,
    report::BulkReport,
};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::NDJSON,
            problem::{FieldError, Problem, ProblemKind},
            response::{ApiResponse, ResponseBody, response_of_type},
        },
    },
    catalog::change::{BatchMode, LinkChange},
};

/// Checks all rows, then writes them chunk by chunk while the answer is sent. A row that another client has made wrong
/// meanwhile is refused alone, and told.
///
/// # Errors
/// The catalog takes no change; nothing is written.
pub(super) async fn check_then_apply_in_chunks(
    context: RequestContext,
    change: BulkChange,
    lines: Vec<BodyLine>,
) -> Result<ApiResponse, Problem> {
    let check = BulkChange { is_dry_run: true, ..change.clone() };
    let mut checked = BulkReport::new(&change);
    let mut chunk = Chunk::of_lines(lines.clone(), change.existing);
    refuse_rows_without_code(&mut chunk);
    let text = apply_chunk(&context, &check, chunk, &mut checked).await?;
    if checked.refused > 0 || change.is_dry_run {
        return Ok(answer_whole(text, &checked));
    }
    let change = BulkChange { mode: BatchMode::Each, ..change };
    let (parts, received) = mpsc::channel(WAITING_PARTS);
    tokio::task::spawn_local(async move {
        let mut report = BulkReport::new(&change);
        for chunk in lines.chunks(ROWS_PER_CHUNK) {
            let chunk = Chunk::of_lines(chunk.to_vec(), change.existing);
            let text = match apply_chunk(&context, &change, chunk, &mut report).await {
                Ok(text) => text,
                Err(problem) => {
                    return send_end(&parts, format!("{}\n", json!({"problem": problem.to_json()}))).await;
                }
            };
            // An error: the client has gone. The rows are checked, so they are written all the same.
            if !text.is_empty() {
                let _ = parts.send(Ok(Bytes::from(text))).await;
            }
        }
        send_end(&parts, report.summary_line()).await;
    });
    Ok(response_of_type(StatusCode::OK, NDJSON, ResponseBody::Parts(received)))
}

/// A minted code would be another one if the request is sent again.
fn refuse_rows_without_code(chunk: &mut Chunk) {
    for (_, row) in &mut chunk.rows {
        if let Ok(change) = row
            && let LinkChange::Put { record, .. } = &change.change
            && record.code.is_empty()
        {
            let message = "is needed in a request of more than 10000 rows, which may have to be sent again";
            *row = Err(Problem::of_errors(ProblemKind::Invalid, vec![FieldError::in_body("code", message)]));
        }
    }
}
