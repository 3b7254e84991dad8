//! A line of the audit as JSON. The records stand in it as they are kept.

use serde_json::{Value, json};

use crate::{
    api::{
        context::RequestContext,
        http::response::{ApiResponse, json_response},
        links::{location::path_of_link, refusal::format_time},
        reach::is_audit_line_in_bounds,
    },
    catalog::query::AuditLine,
};

/// The line as a JSON object.
pub(super) fn text_of_audit_line(line: &AuditLine) -> String {
    let head = json!({
        "position": line.position,
        "version": line.version,
        "at": format_time(line.at_ms),
        "act": line.act,
        "actor": line.actor,
        "reason": line.reason,
        "link": path_of_link(&line.name),
    });
    let head = head.to_string();
    let (before, after) = (line.before.as_deref().unwrap_or("null"), line.after.as_deref().unwrap_or("null"));
    format!("{},\"before\":{before},\"after\":{after}}}", head.trim_end_matches('}'))
}

/// A page of lines, without those of links that the key does not reach. `next`: the position behind which the next page
/// begins.
pub(super) fn answer_with_page(
    context: &RequestContext,
    head: Option<Value>,
    lines: &[AuditLine],
    next: Option<u64>,
) -> ApiResponse {
    let reached = lines.iter().filter(|line| is_audit_line_in_bounds(&context.key.bounds, line));
    let items: Vec<String> = reached.map(text_of_audit_line).collect();
    let head = head.map(|head| head.to_string()).unwrap_or_default();
    let head = head.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let separator = if head.is_empty() { "" } else { "," };
    let body = format!("{{{head}{separator}\"items\":[{}],\"next\":{}}}", items.join(","), json!(next));
    json_response(http::StatusCode::OK, body)
}

/// Where the next page begins; `None` if this one was not full.
pub(super) fn next_position(lines: &[AuditLine], limit: usize) -> Option<u64> {
    lines.last().filter(|_| lines.len() == limit).map(|line| line.position)
}
