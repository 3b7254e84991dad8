//! `GET /v1/links/{domain}/{code}/history` and `GET /v1/audit`.

use super::audit_text::{answer_with_page, next_position};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::ApiResponse,
        },
        reach::is_audit_line_in_bounds,
    },
    catalog::change::LinkName,
};

/// Lines of an answer at most.
pub(super) const MAX_LIMIT: u64 = 1000;
/// Lines of an answer, if the client does not say.
pub(super) const DEFAULT_LIMIT: u64 = 100;

/// Answers with the changes of a link, the latest first. A removed link has a history, too.
pub(in crate::api) async fn read_history_of_link(
    context: RequestContext,
    name: LinkName,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["limit"])?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let name = context.state.canonical_name(&name).ok_or_else(Problem::not_found)?;
    let lines = context.state.readers.read(move |reader| reader.list_history(&name, limit)).await?;
    if !lines.iter().any(|line| is_audit_line_in_bounds(&context.key.bounds, line)) {
        return Err(Problem::not_found());
    }
    Ok(answer_with_page(&context, None, &lines, None))
}

/// Answers with the changes of all links, the earliest first.
pub(in crate::api) async fn read_audit(context: RequestContext) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["after", "limit"])?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let after = query.number("after", 0..=i64::MAX as u64, 0)?;
    let lines = context.state.readers.read(move |reader| reader.list_changes(after, limit)).await?;
    Ok(answer_with_page(&context, None, &lines, next_position(&lines, limit)))
}
