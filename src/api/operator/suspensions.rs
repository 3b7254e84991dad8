//! `/v1/suspensions` and `/v1/freeze`: many links at once, and not one of them is changed.

use http::StatusCode;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    api::{
        accepted_change::{Awaited, wait_as_preferred},
        context::RequestContext,
        http::{
            media_types::{JSON, check_body_type, check_client_accepts},
            problem::{FieldError, Problem, ProblemKind},
            request_body::read_body,
            response::{ApiResponse, empty_response, json_response},
        },
        links::{
            record_body::{MAX_RECORD, read_object},
            refusal::{format_time, problem_of_catalog_error},
        },
    },
    catalog::{
        act::Act,
        api_keys::KeyBounds,
        change::{Write, WriteReport},
        many::ManyReport,
        new_act,
        suspension_rows::{NewSuspension, SuspensionRow},
    },
    links::suspensions::Dimension,
};

/// The longest reason, in characters.
const MAX_REASON: usize = 256;
/// The longest value, in bytes.
const MAX_VALUE: usize = 253;

/// Answers with every suspension that the key could make.
pub(in crate::api) async fn list_suspensions(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    let rows = context.state.readers.read(|reader| reader.list_suspensions()).await?;
    let reached = rows.iter().filter(|row| is_value_in_bounds(&context.key.bounds, row.dimension, &row.value));
    let items: Vec<Value> = reached.map(suspension_to_json).collect();
    Ok(json_response(StatusCode::OK, json!({"items": items, "next": null}).to_string()))
}

/// Switches all links of a value off, whatever an import still adds.
pub(in crate::api) async fn put_suspension(
    context: RequestContext,
    dimension: String,
    value: String,
    body: Incoming,
) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    let dimension = read_reached_dimension(&context, &dimension, &value)?;
    let object = read_object(&read_body(body, MAX_RECORD).await?)?;
    let suspension = read_suspension(&context, dimension, value, &object)?;
    let act = new_act(context.actor(), Some(suspension.reason.clone()));
    let report = match write_as_preferred(&context, &act, Write::Suspend(act.clone(), suspension)).await? {
        Awaited::Ended(report) => report,
        Awaited::GoesOn(answer) => return Ok(answer),
    };
    match report {
        WriteReport::Suspended { suspension, is_replaced } => {
            let status = if is_replaced { StatusCode::OK } else { StatusCode::CREATED };
            Ok(json_response(status, suspension_to_json(&suspension).to_string()))
        }
        _ => Err(Problem::new(ProblemKind::StoreFailing, "the catalog answered for another change")),
    }
}

/// Ends a suspension: each link is as it was.
pub(in crate::api) async fn delete_suspension(
    context: RequestContext,
    dimension: String,
    value: String,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    let dimension = read_reached_dimension(&context, &dimension, &value)?;
    let act = context.new_act(&query)?;
    let write = Write::EndSuspension(act.clone(), dimension, value);
    match write_as_preferred(&context, &act, write).await? {
        Awaited::Ended(WriteReport::SuspensionEnded(Some(_))) => Ok(empty_response(StatusCode::NO_CONTENT)),
        Awaited::Ended(_) => Err(Problem::not_found()),
        Awaited::GoesOn(answer) => Ok(answer),
    }
}

/// Writes, and waits for the end as long as the client wants.
async fn write_as_preferred(
    context: &RequestContext,
    act: &Act,
    write: Write,
) -> Result<Awaited<WriteReport>, Problem> {
    let catalog = context.state.catalog.clone();
    let write = async move { catalog.write(write).await };
    // No link is changed.
    wait_as_preferred(context, act, (), write, |_| ManyReport::default()).await
}

/// Refuses changes of links from now on. Suspensions are still taken.
pub(in crate::api) async fn put_freeze(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    check_key_is_unbounded(&context)?;
    let object = read_object(&read_body(body, MAX_RECORD).await?)?;
    let mut errors = list_unknown_fields(&object, &["reason"]);
    let reason = read_reason(&object, &mut errors);
    if !errors.is_empty() {
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    }
    let act = new_act(context.actor(), Some(reason.clone()));
    let report = context.state.catalog.write(Write::Freeze(act, reason.clone())).await;
    report.map_err(|error| problem_of_catalog_error(&error))?;
    Ok(json_response(StatusCode::OK, json!({"reason": reason}).to_string()))
}

/// Takes changes of links again.
pub(in crate::api) async fn delete_freeze(context: RequestContext) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_key_is_unbounded(&context)?;
    let act = context.new_act(&query)?;
    let report = context.state.catalog.write(Write::Unfreeze(act)).await;
    report.map_err(|error| problem_of_catalog_error(&error))?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

/// Checks that the key has no bounds: what it asks for is about all links.
pub(in crate::api) fn check_key_is_unbounded(context: &RequestContext) -> Result<(), Problem> {
    if context.key.bounds == KeyBounds::default() {
        return Ok(());
    }
    let detail = "this is about all links; the key is bound to domains, partners or creators";
    Err(Problem::new(ProblemKind::ScopeMissing, detail))
}

/// The dimension of an address whose value the key reaches.
fn read_reached_dimension(context: &RequestContext, dimension: &str, value: &str) -> Result<Dimension, Problem> {
    let found = Dimension::from_word(dimension).ok_or_else(Problem::not_found)?;
    if value.is_empty() || value.len() > MAX_VALUE || value.chars().any(char::is_control) {
        return Err(Problem::not_found());
    }
    if is_value_in_bounds(&context.key.bounds, found, value) { Ok(found) } else { Err(Problem::not_found()) }
}

/// Whether all links of a value lie within the bounds.
fn is_value_in_bounds(bounds: &KeyBounds, dimension: Dimension, value: &str) -> bool {
    let KeyBounds { domains, partners, creators } = bounds;
    // A second bound would leave out some links of the value.
    let (own, others) = match dimension {
        Dimension::Domain => (domains, [partners, creators]),
        Dimension::Partner => (partners, [domains, creators]),
        Dimension::Creator => (creators, [domains, partners]),
        _ => return *bounds == KeyBounds::default(),
    };
    others.iter().all(|other| other.is_none()) && own.as_ref().is_none_or(|own| own.iter().any(|own| own == value))
}

fn read_suspension(
    context: &RequestContext,
    dimension: Dimension,
    value: String,
    object: &Map<String, Value>,
) -> Result<NewSuspension, Problem> {
    let mut errors = list_unknown_fields(object, &["reason", "until", "fallback_url"]);
    let reason = read_reason(object, &mut errors);
    let given = |field: &str| object.get(field).filter(|value| !value.is_null());
    let until = given("until").map(|until| until.as_str().and_then(|text| text.parse::<Timestamp>().ok()));
    if until == Some(None) {
        errors.push(FieldError::in_body("until", "is no time; allowed is RFC 3339, such as 2026-11-01T00:00:00Z"));
    }
    let policy = &context.state.policy;
    let fallback = given("fallback_url").map(|url| match url.as_str() {
        Some(url) => policy.check_and_normalize_url_without_placeholders(url).map_err(|error| error.to_string()),
        None => Err("is no text".to_owned()),
    });
    if let Some(Err(message)) = &fallback {
        errors.push(FieldError::in_body("fallback_url", message));
    }
    if !errors.is_empty() {
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    }
    let until_ms = until.flatten().map(|until| u64::try_from(until.as_millisecond()).unwrap_or(0));
    Ok(NewSuspension { dimension, value, until_ms, reason, fallback_url: fallback.and_then(Result::ok) })
}

/// The reason of a body; an error if it is absent.
pub(in crate::api) fn read_reason(object: &Map<String, Value>, errors: &mut Vec<FieldError>) -> String {
    let reason = object.get("reason").and_then(Value::as_str).unwrap_or_default();
    let length = reason.chars().count();
    if length == 0 || length > MAX_REASON || reason.chars().any(char::is_control) {
        let message = format!("is needed: 1 to {MAX_REASON} characters without control characters");
        errors.push(FieldError::in_body("reason", message));
    }
    reason.to_owned()
}

/// An error for each field that is not allowed.
pub(in crate::api) fn list_unknown_fields(object: &Map<String, Value>, allowed: &[&str]) -> Vec<FieldError> {
    let unknown = object.keys().filter(|field| !allowed.contains(&field.as_str()));
    unknown.map(|field| FieldError::in_body(field, format!("is unknown; allowed are {}", allowed.join(", ")))).collect()
}

fn suspension_to_json(row: &SuspensionRow) -> Value {
    json!({
        "dimension": row.dimension.as_str(),
        "value": row.value,
        "version": row.version,
        "since": format_time(row.since_ms),
        "until": row.until_ms.map(format_time),
        "actor": row.actor,
        "reason": row.reason,
        "fallback_url": row.fallback_url,
    })
}
