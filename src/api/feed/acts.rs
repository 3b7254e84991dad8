//! `GET /v1/acts/{id}`: what somebody did at once. `GET /v1/acts`: the changes of many links, those that wait included.

use http::StatusCode;
use serde_json::{Value, json};

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
            response::{ApiResponse, json_response},
        },
        links::refusal::format_time,
        many::{is_change_reached, running::progress_to_json},
        reach::is_audit_line_in_bounds,
    },
    catalog::{
        act_query::ActRecord,
        api_keys::KeyBounds,
        kept_changes::{ChangeState, KeptChange},
    },
};

/// Answers with an act and its changes, the earliest first.
pub(in crate::api) async fn read_act(context: RequestContext, id: String) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["after", "limit"])?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let after = query.number("after", 0..=i64::MAX as u64, 0)?;
    let wanted = id.clone();
    let read = context.state.readers.read(move |reader| {
        let lines = reader.list_changes_of_act(&wanted, after, limit)?;
        Ok((reader.find_act(&wanted)?, reader.find_kept_change(&wanted)?, lines))
    });
    let (act, kept, lines) = read.await?;
    let in_memory = context.state.progress.borrow().find(&id).map(progress_to_json);
    let progress = kept.as_ref().map(KeptChange::progress_to_json).or(in_memory);
    let act = match (act, &progress) {
        (Some(act), _) => act,
        // A change that is not written yet.
        (None, Some(_)) => ActRecord { id, actor: context.actor(), ..ActRecord::default() },
        (None, None) => return Err(Problem::not_found()),
    };
    let is_own = act.actor == context.actor();
    let is_reached = is_own || lines.iter().any(|line| is_audit_line_in_bounds(&context.key.bounds, line));
    if context.key.bounds != KeyBounds::default() && !is_reached {
        return Err(Problem::not_found());
    }
    let detail: Option<Value> = act.detail.and_then(|text| serde_json::from_str(&text).ok());
    let head = json!({
        "id": act.id,
        "at": format_time(act.at_ms),
        "actor": act.actor,
        "action": act.action,
        "reason": act.reason,
        "detail": detail,
        "progress": progress,
    });
    Ok(answer_with_page(&context, Some(head), &lines, next_position(&lines, limit)))
}

/// Answers with the changes of many links, the latest first: all, or those in one state.
pub(in crate::api) async fn list_kept_changes(context: RequestContext) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["state", "limit"])?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let state = query.word("state", ChangeState::ALL.map(|state| (state.as_str(), state)))?;
    let states = state.map_or(ChangeState::ALL.to_vec(), |state| vec![state]);
    let changes = context.state.readers.read(move |reader| reader.list_kept_changes(&states, limit)).await?;
    let reached = changes.iter().filter(|kept| is_change_reached(&context, kept));
    let items: Vec<Value> = reached.map(KeptChange::to_json).collect();
    Ok(json_response(StatusCode::OK, json!({"items": items, "next": null}).to_string()))
}
