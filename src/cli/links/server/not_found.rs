//! Answers that say that there is no such thing.

use anyhow::Result;

use crate::cli::api_client::ServerProblem;

/// What was asked for; `None` if the server says that there is no such thing.
pub(super) fn none_if_not_found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.downcast_ref::<ServerProblem>() {
            Some(problem) if problem.status == 404 && problem.kind == "not-found" => Ok(None),
            _ => Err(error),
        },
    }
}
