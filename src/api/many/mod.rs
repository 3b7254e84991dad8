//! Changes of many links by one request: a patch of all that match a filter, the undoing of an act, and the way back to
//! a version. With `dry_run=true` the answer says what would happen; else it names the act at once, and the change goes
//! on behind it (`running`), at once or when its time has come (`schedule`). The catalog keeps it until it ends, so
//! that a restart goes on with it. `GET /v1/acts/{id}` says how it goes.

pub(super) mod running;
pub(super) mod schedule;

use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::running::{OnTrouble, check_change_may_run, report_to_json, start_kept_change, start_preview};
use super::{
    context::RequestContext,
    http::{
        media_types::{JSON, check_body_type, check_client_accepts},
        problem::{FieldError, Problem, ProblemKind},
        query_parameters::QueryParameters,
        request_body::read_body,
        response::{ApiResponse, empty_response, json_response},
    },
    links::{
        list::{FILTER_PARAMETERS, read_filter},
        record_body::{MAX_RECORD, find_error_of_field, read_object, whole_number},
        refusal::problem_of_catalog_error,
    },
    operator::suspensions::{check_key_is_unbounded, list_unknown_fields, read_reason},
};
use crate::{
    catalog::{
        CatalogError, LinkSource,
        act::Act,
        api_keys::KeyBounds,
        kept_changes::{Cancellation, ChangeState, KeptChange},
        many::{ManyChange, ManyReport},
        new_act,
    },
    clock,
};

/// `POST /v1/patches`
pub(super) async fn patch_matching_links(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    let is_dry_run = read_dry_run(&context)?;
    check_body_type(&context.headers, &[JSON])?;
    let object = read_object(&read_body(body, MAX_RECORD).await?)?;
    let mut errors = list_unknown_fields(&object, &["filter", "all", "patch", "reason", "effective_at"]);
    let reason = read_reason(&object, &mut errors);
    let effective_ms = read_effective_at(&object, &mut errors);
    let filter = read_object_field(&object, "filter", &mut errors);
    let patch = read_object_field(&object, "patch", &mut errors);
    errors.extend(patch.iter().filter_map(|(field, value)| {
        find_error_of_patched_field(field, value)
            .map(|error| FieldError { pointer: Some(format!("/patch/{field}")), ..error })
    }));
    if patch.is_empty() {
        errors.push(FieldError::in_body("patch", "changes nothing; name a field"));
    }
    if filter.is_empty() && object.get("all") != Some(&Value::Bool(true)) {
        errors.push(FieldError::in_body("filter", "names no links; \"all\":true changes every one"));
    }
    if !errors.is_empty() {
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    }
    let filter = read_filter(&context, &filter_as_parameters(&filter)?)?;
    let change = ManyChange::Patch { filter, patch: Value::Object(patch) };
    let act = new_act(context.actor(), Some(reason));
    preview_or_start(&context, change, act, WhenToRun { is_dry_run, effective_ms }).await
}

/// `POST /v1/acts/{id}/cancel`
pub(super) async fn cancel_change(context: RequestContext, id: String) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    let act = context.new_act(&query)?;
    let wanted = id.clone();
    let found = context.state.readers.read(move |reader| reader.find_kept_change(&wanted)).await?;
    found.filter(|kept| is_change_reached(&context, kept)).ok_or_else(Problem::not_found)?;
    let cancelled = context.state.catalog.cancel_change(id, act).await;
    match cancelled.map_err(|error| problem_of_catalog_error(&error))? {
        Cancellation::Cancelled => {
            context.state.schedule_changed.notify_one();
            Ok(empty_response(StatusCode::NO_CONTENT))
        }
        Cancellation::HasEnded(state) => {
            let detail = format!("the change is {}; POST /v1/acts/ID/undo takes back what it did", state.as_str());
            Err(Problem::new(ProblemKind::ActEnded, detail))
        }
        Cancellation::Unknown => Err(Problem::not_found()),
    }
}

/// Whether a key may see and stop a change: its own, or any if it has no bounds.
pub(super) fn is_change_reached(context: &RequestContext, kept: &KeptChange) -> bool {
    context.key.bounds == KeyBounds::default() || kept.act.actor == context.actor()
}

/// `POST /v1/acts/{id}/undo`
pub(super) async fn undo_act(context: RequestContext, id: String) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["dry_run", "reason"])?;
    let is_dry_run = read_dry_run_of(&context, &query)?;
    check_key_is_unbounded(&context)?;
    let wanted = id.clone();
    let found = context.state.readers.read(move |reader| reader.find_act(&wanted)).await?;
    found.ok_or_else(Problem::not_found)?;
    let act = context.new_act(&query)?;
    preview_or_start(&context, ManyChange::Undo { act: id }, act, WhenToRun { is_dry_run, effective_ms: None }).await
}

/// `POST /v1/rollback`
pub(super) async fn roll_back(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    let is_dry_run = read_dry_run(&context)?;
    check_body_type(&context.headers, &[JSON])?;
    check_key_is_unbounded(&context)?;
    let object = read_object(&read_body(body, MAX_RECORD).await?)?;
    let mut errors = list_unknown_fields(&object, &["to_version", "reason"]);
    let reason = read_reason(&object, &mut errors);
    let version = object.get("to_version").and_then(whole_number);
    let newest = context.state.readers.read(|reader| reader.version()).await?;
    let Some(to_version) = version.filter(|_| errors.is_empty()) else {
        if version.is_none() {
            errors.push(FieldError::in_body("to_version", "is needed: a version of the catalog"));
        }
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    };
    if to_version > newest {
        let error = FieldError::in_body("to_version", format!("is {to_version}; the catalog is at {newest}"));
        return Err(Problem::of_errors(ProblemKind::NotAcceptedHere, vec![error]));
    }
    let act = new_act(context.actor(), Some(reason));
    let when = WhenToRun { is_dry_run, effective_ms: None };
    preview_or_start(&context, ManyChange::RollBack { to_version }, act, when).await
}

/// When a change runs.
#[derive(Clone, Copy)]
struct WhenToRun {
    /// Never: the answer says what it would do.
    is_dry_run: bool,
    /// Not before this time, milliseconds since the epoch.
    effective_ms: Option<u64>,
}

async fn preview_or_start(
    context: &RequestContext,
    change: ManyChange,
    act: Act,
    when: WhenToRun,
) -> Result<ApiResponse, Problem> {
    check_links_may_change(context).await?;
    if when.is_dry_run {
        let ended = start_preview(&context.state, change, act)?;
        let stopped = |_| Problem::new(ProblemKind::StoreFailing, "the process stops");
        let report: Result<ManyReport, String> = ended.await.map_err(stopped)?;
        let report = report.map_err(|error| Problem::new(ProblemKind::StoreFailing, error))?;
        return Ok(json_response(StatusCode::OK, report_to_json(&report).to_string()));
    }
    check_change_may_run(&context.state)?;
    let now_ms = clock::wall_ms();
    let kept = KeptChange::new(act, change, now_ms, when.effective_ms.unwrap_or(now_ms));
    let id = kept.act.id.to_string();
    if kept.state == ChangeState::Running {
        // The schedule would take it for one that was interrupted.
        context.state.progress.borrow_mut().active.insert(id.clone());
    }
    let written = context.state.catalog.keep_change(kept.clone()).await;
    context.state.progress.borrow_mut().active.remove(&id);
    written.map_err(|error| problem_of_catalog_error(&error))?;
    let is_started =
        kept.state == ChangeState::Running && start_kept_change(&context.state, kept, OnTrouble::Fail).is_ok();
    if !is_started {
        context.state.schedule_changed.notify_one();
    }
    let mut response = json_response(StatusCode::ACCEPTED, json!({"act": id}).to_string());
    if let Ok(path) = HeaderValue::from_str(&format!("/v1/acts/{id}")) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    Ok(response)
}

/// The time of `effective_at`, milliseconds since the epoch; `None`: at once.
fn read_effective_at(object: &Map<String, Value>, errors: &mut Vec<FieldError>) -> Option<u64> {
    let given = object.get("effective_at").filter(|value| !value.is_null())?;
    let time = given.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    if time.is_none() {
        let message = "is no time; allowed is RFC 3339, such as 2026-11-01T00:00:00Z";
        errors.push(FieldError::in_body("effective_at", message));
    }
    time.map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// Checks what the catalog would refuse, while the client can still be told.
async fn check_links_may_change(context: &RequestContext) -> Result<(), Problem> {
    if context.state.source == LinkSource::File {
        return Err(problem_of_catalog_error(&CatalogError::SourceIsFile));
    }
    match context.state.readers.read(|reader| reader.frozen_reason()).await? {
        Some(reason) => Err(problem_of_catalog_error(&CatalogError::Frozen { reason })),
        None => Ok(()),
    }
}

fn read_dry_run(context: &RequestContext) -> Result<bool, Problem> {
    read_dry_run_of(context, &context.query_parameters(&["dry_run"])?)
}

fn read_dry_run_of(context: &RequestContext, query: &QueryParameters) -> Result<bool, Problem> {
    check_client_accepts(&context.headers, JSON)?;
    Ok(query.word("dry_run", [("true", true), ("false", false), ("", true)])?.unwrap_or(false))
}

/// Why a patch by filter cannot set this field to this value.
fn find_error_of_patched_field(field: &str, value: &Value) -> Option<FieldError> {
    match (field, value) {
        ("host", Value::String(_)) => None,
        ("host", _) => Some(FieldError::in_body("host", "is no text; name the host of the new URLs")),
        _ => find_error_of_field(field, value),
    }
}

/// The members of an object; an error if it is none.
fn read_object_field(object: &Map<String, Value>, field: &str, errors: &mut Vec<FieldError>) -> Map<String, Value> {
    let found = object.get(field).and_then(Value::as_object);
    if found.is_none() {
        errors.push(FieldError::in_body(field, "is needed, and is a JSON object"));
    }
    found.cloned().unwrap_or_default()
}

/// The members of a filter as the parameters of a list.
fn filter_as_parameters(filter: &Map<String, Value>) -> Result<QueryParameters, Problem> {
    let mut errors = Vec::new();
    let mut pairs = Vec::new();
    for (field, value) in filter {
        match value.as_str().filter(|_| FILTER_PARAMETERS.contains(&field.as_str())) {
            Some(value) => pairs.push((field.clone(), value.to_owned())),
            None => {
                let message = format!("is no filter; allowed are texts for {}", FILTER_PARAMETERS.join(", "));
                errors.push(FieldError {
                    pointer: Some(format!("/filter/{field}")),
                    ..FieldError::in_body(field, message)
                });
            }
        }
    }
    if errors.is_empty() {
        Ok(QueryParameters::of_pairs(pairs))
    } else {
        Err(Problem::of_errors(ProblemKind::Invalid, errors))
    }
}
