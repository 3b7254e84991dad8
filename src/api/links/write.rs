//! `PUT`, `PATCH` and `DELETE` of `/v1/links/{domain}/{code}`.

use http::StatusCode;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    create::{OneChange, answer_with_link, check_record_is_reached, now, put, unexpected_outcome},
    read::find_link,
    record_body::{MAX_RECORD, RecordDefaults, find_error_of_field, read_object, read_record},
    refusal::{ExistingLink, problem_of_refusal},
};
use crate::{
    api::{
        accepted_change::Awaited,
        context::RequestContext,
        http::{
            conditions::Conditions,
            media_types::{JSON, MERGE_PATCH, check_body_type, check_client_accepts},
            problem::{FieldError, Problem, ProblemKind},
            request_body::read_body,
            response::{ApiResponse, empty_response},
        },
    },
    catalog::{
        change::{ChangeRow, ExpectedLink, LinkChange, LinkName, RowOutcome},
        query::VersionedLink,
    },
    model::link::record::Record,
};

/// Makes a link what the body says. Another link at the address is replaced only if `If-Match` names its version.
pub(in crate::api) async fn put_link(
    context: RequestContext,
    name: LinkName,
    body: Incoming,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    let conditions = Conditions::of_headers(&context.headers)?;
    let act = context.new_act(&query)?;
    let body = read_body(body, MAX_RECORD).await?;
    let stored = find_link(&context, &name).await?.reached_or_absent()?;
    let created_at = match &stored {
        Some(stored) => created_at_of_record(&stored.record),
        None => Some(now()),
    };
    // A record without a domain is one of `*` anyway, and keeps its text.
    let domain = (name.domain != "*").then_some(&*name.domain);
    let defaults = RecordDefaults { code: Some(&name.code), domain, created_at };
    let written = read_record(&body, &defaults)?;
    check_record_has_name(&context, &written.record, &name)?;
    check_record_is_reached(&context, &written.record)?;
    let expected = expected_link(&conditions, stored.as_ref(), ExpectedLink::AbsentOrSame)?;
    let outcome = match OneChange::new(act, put(written, expected)).apply(&context).await? {
        Awaited::Ended(outcome) => outcome,
        Awaited::GoesOn(answer) => return Ok(answer),
    };
    match outcome {
        RowOutcome::Created(link) => Ok(answer_with_link(StatusCode::CREATED, link)),
        RowOutcome::Updated(link) | RowOutcome::Unchanged(link) => Ok(answer_with_link(StatusCode::OK, link)),
        RowOutcome::Refused(refusal) => Err(problem_of_refusal(refusal, ExistingLink::FailsCondition)),
        RowOutcome::Deleted { .. } => Err(unexpected_outcome()),
    }
}

/// Applies a JSON merge patch to a link.
pub(in crate::api) async fn patch_link(
    context: RequestContext,
    name: LinkName,
    body: Incoming,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[MERGE_PATCH])?;
    let conditions = Conditions::of_headers(&context.headers)?;
    let act = context.new_act(&query)?;
    let patch = read_object(&read_body(body, MAX_RECORD).await?)?;
    let stored = find_link(&context, &name).await?.reached();
    let expected = expected_link(&conditions, stored.as_ref(), ExpectedLink::Any)?;
    let stored = stored.ok_or_else(Problem::not_found)?;
    let errors: Vec<FieldError> = patch.iter().filter_map(|(field, value)| find_error_of_field(field, value)).collect();
    if !errors.is_empty() {
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    }
    let change = LinkChange::Patch { name: stored.name, patch: Value::Object(patch) };
    let outcome = match OneChange::new(act, ChangeRow { change, expected }).apply(&context).await? {
        Awaited::Ended(outcome) => outcome,
        Awaited::GoesOn(answer) => return Ok(answer),
    };
    match outcome {
        RowOutcome::Created(link) | RowOutcome::Updated(link) | RowOutcome::Unchanged(link) => {
            Ok(answer_with_link(StatusCode::OK, link))
        }
        RowOutcome::Refused(refusal) => Err(problem_of_refusal(refusal, ExistingLink::FailsCondition)),
        RowOutcome::Deleted { .. } => Err(unexpected_outcome()),
    }
}

/// Removes a link. Its code stays reserved.
pub(in crate::api) async fn delete_link(context: RequestContext, name: LinkName) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    let conditions = Conditions::of_headers(&context.headers)?;
    let act = context.new_act(&query)?;
    let stored = find_link(&context, &name).await?.reached();
    let expected = expected_link(&conditions, stored.as_ref(), ExpectedLink::Any)?;
    let stored = stored.ok_or_else(Problem::not_found)?;
    let row = ChangeRow { change: LinkChange::Delete { name: stored.name }, expected };
    let outcome = match OneChange::new(act, row).apply(&context).await? {
        Awaited::Ended(outcome) => outcome,
        Awaited::GoesOn(answer) => return Ok(answer),
    };
    match outcome {
        RowOutcome::Deleted { .. } => Ok(empty_response(StatusCode::NO_CONTENT)),
        RowOutcome::Refused(refusal) => Err(problem_of_refusal(refusal, ExistingLink::FailsCondition)),
        RowOutcome::Created(_) | RowOutcome::Updated(_) | RowOutcome::Unchanged(_) => Err(unexpected_outcome()),
    }
}

/// What the catalog is to expect, so that the conditions hold when it writes as they hold now.
fn expected_link(
    conditions: &Conditions,
    stored: Option<&VersionedLink>,
    without_conditions: ExpectedLink,
) -> Result<ExpectedLink, Problem> {
    let version = stored.map(|stored| stored.version);
    let holds = conditions.if_match.as_ref().is_none_or(|named| named.contain(version))
        && conditions.if_none_match.as_ref().is_none_or(|named| !named.contain(version));
    if !holds {
        let detail = match version {
            Some(version) => format!("the link has version {version}; read it again"),
            None => "there is no such link".to_owned(),
        };
        return Err(Problem::new(ProblemKind::VersionDiffers, detail).with_member("version", version));
    }
    Ok(match (conditions == &Conditions::default(), version) {
        (true, _) => without_conditions,
        (false, Some(version)) => ExpectedLink::AtVersion(version),
        (false, None) => ExpectedLink::Absent,
    })
}

/// Checks that the record is one of the link at this address.
fn check_record_has_name(context: &RequestContext, record: &Record, name: &LinkName) -> Result<(), Problem> {
    let state = &context.state;
    let written = LinkName { domain: record.domain.clone(), code: record.code.clone() };
    let (written, expected) = match (state.canonical_name(&written), state.canonical_name(name)) {
        (Some(written), Some(expected)) => (written, expected),
        _ => (written, name.clone()),
    };
    let mut errors = Vec::new();
    for (field, written, expected) in
        [("domain", written.domain, expected.domain), ("code", written.code, expected.code)]
    {
        if written != expected {
            let message = format!("is {written:?}, and the address says {expected:?}; leave it out or write the same");
            errors.push(FieldError::in_body(field, message));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(ProblemKind::Invalid, errors)) }
}

fn created_at_of_record(record: &str) -> Option<Timestamp> {
    serde_json::from_str::<Record>(record).ok()?.created_at
}
