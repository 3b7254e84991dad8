//! Changes of many links by one request: a patch of all that match a filter, the undoing of an act, and the way back to
//! a version. With `dry_run=true` the answer says what would happen; else it names the act at once, and the change goes
//! on behind it (`running`). `GET /v1/acts/{id}` says how it ended.

pub(super) mod running;

use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use self::running::{report_to_json, start_change};
use super::{
    act_progress::ActProgress,
    context::RequestContext,
    http::{
        media_types::{JSON, check_body_type, check_client_accepts},
        problem::{FieldError, Problem, ProblemKind},
        query_parameters::QueryParameters,
        request_body::read_body,
        response::{ApiResponse, json_response},
    },
    links::{
        list::{FILTER_PARAMETERS, read_filter},
        record_body::{MAX_RECORD, find_error_of_field, read_object, whole_number},
        refusal::problem_of_catalog_error,
    },
    operator::suspensions::{check_key_is_unbounded, list_unknown_fields, read_reason},
};
use crate::catalog::{
    CatalogError, LinkSource,
    act::Act,
    many::{ManyChange, ManyReport},
    new_act,
};

/// `POST /v1/patches`
pub(super) async fn patch_matching_links(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    let is_dry_run = read_dry_run(&context)?;
    check_body_type(&context.headers, &[JSON])?;
    let object = read_object(&read_body(body, MAX_RECORD).await?)?;
    let mut errors = list_unknown_fields(&object, &["filter", "all", "patch", "reason"]);
    let reason = read_reason(&object, &mut errors);
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
    preview_or_start(&context, change, act, is_dry_run).await
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
    preview_or_start(&context, ManyChange::Undo { act: id }, act, is_dry_run).await
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
    preview_or_start(&context, ManyChange::RollBack { to_version }, act, is_dry_run).await
}

async fn preview_or_start(
    context: &RequestContext,
    change: ManyChange,
    act: Act,
    is_dry_run: bool,
) -> Result<ApiResponse, Problem> {
    check_links_may_change(context).await?;
    let id = act.id.to_string();
    let ended = start_change(context, change, act, is_dry_run)?;
    if is_dry_run {
        let stopped = |_| Problem::new(ProblemKind::StoreFailing, "the process stops");
        let report: Result<ManyReport, String> = ended.await.map_err(stopped)?;
        let report = report.map_err(|error| Problem::new(ProblemKind::StoreFailing, error))?;
        return Ok(json_response(StatusCode::OK, report_to_json(&report).to_string()));
    }
    let mut response = json_response(StatusCode::ACCEPTED, json!({"act": id}).to_string());
    if let Ok(path) = HeaderValue::from_str(&format!("/v1/acts/{id}")) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    let progress = context.state.progress.clone();
    // The report of a run that ends with the process is lost; the act's lines in the audit are not.
    tokio::task::spawn_local(async move {
        if let Ok(result) = ended.await {
            progress.borrow_mut().set(&id, ActProgress::Ended(result));
        }
    });
    Ok(response)
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
