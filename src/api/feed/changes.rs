//! `GET /v1/changes?after=POSITION&wait=SECONDS`: the feed of changes, as a long poll. The last line says where to go
//! on.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{audit_text::text_of_audit_line, history::MAX_LIMIT};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{NDJSON, check_client_accepts},
            problem::{Problem, ProblemKind},
            response::{ApiResponse, ResponseBody, response_of_type},
        },
        reach::is_audit_line_in_bounds,
    },
    catalog::query::AuditLine,
};

/// The longest wait, in seconds.
const MAX_WAIT: u64 = 60;

/// Answers with the changes behind a position, the earliest first. If there is none, waits for the first one.
pub(in crate::api) async fn wait_for_changes(context: RequestContext) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["after", "wait", "limit"])?;
    check_client_accepts(&context.headers, NDJSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, MAX_LIMIT)? as usize;
    let mut after = query.number("after", 0..=i64::MAX as u64, 0)?;
    let deadline = Instant::now() + Duration::from_secs(query.number("wait", 0..=MAX_WAIT, 0)?);
    let mut commits = context.state.catalog.subscribe_to_commits();
    loop {
        commits.mark_unchanged();
        let lines = context.state.readers.read(move |reader| reader.list_changes(after, limit)).await?;
        let is_full = lines.len() == limit;
        after = lines.last().map_or(after, |line| line.position);
        let reached: Vec<&AuditLine> =
            lines.iter().filter(|line| is_audit_line_in_bounds(&context.key.bounds, line)).collect();
        if !reached.is_empty() || !is_full && Instant::now() >= deadline {
            return Ok(answer_with_changes(&reached, after));
        }
        if is_full {
            continue;
        }
        if let Ok(Err(_)) = timeout_at(deadline, commits.changed()).await {
            return Err(Problem::new(ProblemKind::StoreFailing, "the process stops"));
        }
    }
}

fn answer_with_changes(lines: &[&AuditLine], next: u64) -> ApiResponse {
    let mut body: String = lines.iter().map(|line| text_of_audit_line(line) + "\n").collect();
    body += &format!("{}\n", json!({"next": next}));
    response_of_type(StatusCode::OK, NDJSON, ResponseBody::whole(body))
}
