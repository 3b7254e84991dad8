//! `GET /v1/acts/{id}`: what somebody did at once.

use serde_json::json;

use super::{
    audit_text::{answer_with_page, next_position},
    history::{DEFAULT_LIMIT, MAX_LIMIT},
};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::ApiResponse,
        },
        links::refusal::format_time,
        many::running::progress_to_json,
        reach::is_audit_line_in_bounds,
    },
    catalog::{act_query::ActRecord, api_keys::KeyBounds},
};

/// Answers with an act and its changes, the earliest first.
pub(in crate::api) async fn read_act(context: RequestContext, id: String) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["after", "limit"])?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let after = query.number("after", 0..=i64::MAX as u64, 0)?;
    let wanted = id.clone();
    let (act, lines) = context
        .state
        .readers
        .read(move |reader| Ok((reader.find_act(&wanted)?, reader.list_changes_of_act(&wanted, after, limit)?)))
        .await?;
    let progress = context.state.progress.borrow().find(&id).map(progress_to_json);
    let act = match (act, &progress) {
        (Some(act), _) => act,
        // A change that has found no link yet.
        (None, Some(_)) => ActRecord { id, ..ActRecord::default() },
        (None, None) => return Err(Problem::not_found()),
    };
    let is_bounded = context.key.bounds != KeyBounds::default();
    if is_bounded && !lines.iter().any(|line| is_audit_line_in_bounds(&context.key.bounds, line)) {
        return Err(Problem::not_found());
    }
    let head = json!({
        "id": act.id,
        "at": format_time(act.at_ms),
        "actor": act.actor,
        "action": act.action,
        "reason": act.reason,
        "progress": progress,
    });
    Ok(answer_with_page(&context, Some(head), &lines, next_position(&lines, limit)))
}
