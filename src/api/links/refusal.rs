//! Refusals of the catalog as problems.

use jiff::Timestamp;

use crate::{
    api::http::problem::{FieldError, Problem, ProblemKind},
    catalog::{CatalogError, change::RowRefusal},
    model::link::record::{RecordError, RecordErrorKind},
};

/// What it means that a link exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum ExistingLink {
    /// It stands in the way of a new one: 409.
    IsConflict,
    /// The client said that there must be none: 412.
    FailsCondition,
}

/// The problem of a batch that is not taken.
pub(in crate::api) fn problem_of_catalog_error(error: &CatalogError) -> Problem {
    let kind = match error {
        CatalogError::Frozen { .. } => ProblemKind::Frozen,
        CatalogError::SourceIsFile => ProblemKind::SourceIsFile,
        // Requests to the API go to the topic; this is an answer to commands.
        CatalogError::SourceIsTopic => ProblemKind::NotAcceptedHere,
        CatalogError::TopicUnavailable(_) | CatalogError::NotServedYet { .. } => ProblemKind::TopicUnavailable,
        CatalogError::WriterFenced { .. } => ProblemKind::WriterFenced,
        CatalogError::IdempotencyKeyReused => ProblemKind::IdempotencyKeyReused,
        CatalogError::StoreFailed(_) | CatalogError::Stopped => ProblemKind::StoreFailing,
    };
    Problem::new(kind, error.to_string())
}

/// The problem of a row that is refused.
pub(in crate::api) fn problem_of_refusal(refusal: RowRefusal, existing: ExistingLink) -> Problem {
    match refusal {
        RowRefusal::Invalid(errors) => Problem::of_errors(problem_kind_of_errors(&errors), to_field_errors(errors)),
        RowRefusal::Unchangeable(errors) => Problem::of_errors(ProblemKind::Unchangeable, to_field_errors(errors)),
        RowRefusal::CodeReserved { reusable_at_ms, errors } => {
            let reusable_at = format_time(reusable_at_ms);
            let problem = Problem::of_errors(ProblemKind::CodeReserved, to_field_errors(errors));
            problem.with_member("reusable_at", reusable_at)
        }
        RowRefusal::Exists { version } => {
            let kind = match existing {
                ExistingLink::IsConflict => ProblemKind::Exists,
                ExistingLink::FailsCondition => ProblemKind::VersionDiffers,
            };
            let detail = format!("the link exists, at version {version}; change it by PUT with If-Match");
            Problem::new(kind, detail).with_member("version", version)
        }
        RowRefusal::NotFound => Problem::not_found(),
        RowRefusal::VersionDiffers { found } => {
            let detail = match found {
                Some(found) => format!("the link has version {found}; read it again"),
                None => "there is no such link".to_owned(),
            };
            Problem::new(ProblemKind::VersionDiffers, detail).with_member("version", found)
        }
        RowRefusal::VersionNeeded { found } => {
            let detail = format!(
                "another link has this address, at version {found}; send If-Match with its ETag, or the version"
            );
            Problem::new(ProblemKind::VersionNeeded, detail).with_member("version", found)
        }
        RowRefusal::NotARecord(message) => {
            Problem::of_errors(ProblemKind::Invalid, vec![FieldError::in_body("record", message)])
        }
    }
}

fn to_field_errors(errors: Vec<RecordError>) -> Vec<FieldError> {
    errors.into_iter().map(|error| FieldError::in_body(error.field, error.message).inside(&error.inside)).collect()
}

/// 422 if a mistake makes the record wrong everywhere, else 409.
fn problem_kind_of_errors(errors: &[RecordError]) -> ProblemKind {
    let has = |kind| errors.iter().any(|error| error.kind == kind);
    if has(RecordErrorKind::Invalid) {
        ProblemKind::Invalid
    } else if has(RecordErrorKind::Unchangeable) {
        ProblemKind::Unchangeable
    } else {
        ProblemKind::NotAcceptedHere
    }
}

/// A time in RFC 3339, UTC, to the millisecond.
pub(in crate::api) fn format_time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}
