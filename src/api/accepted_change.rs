//! Changes whose client does not wait for their end (`Prefer: wait=N`): the answer names the act, and
//! `GET /v1/acts/{id}` says what became of it.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::timeout;

use super::{
    act_progress::ActProgress,
    context::RequestContext,
    http::{
        preference::{PREFERENCE_APPLIED, read_preferred_wait},
        problem::Problem,
        response::{ApiResponse, json_response},
    },
    links::refusal::problem_of_catalog_error,
};
use crate::catalog::{CatalogError, act::Act, many::ManyReport};

/// A change behind the time for which its client waits.
pub(super) enum Awaited<T> {
    /// It has ended.
    Ended(T),
    /// It goes on: what the client is told.
    GoesOn(ApiResponse),
}

/// Waits for a change as long as the client wants. `held` is kept until the change has ended; `report` says what became
/// of it to whoever asks for the act.
///
/// # Errors
/// The catalog takes no change.
pub(super) async fn wait_as_preferred<T: 'static, H: 'static>(
    context: &RequestContext,
    act: &Act,
    held: H,
    change: impl Future<Output = Result<T, CatalogError>> + 'static,
    report: impl FnOnce(&T) -> ManyReport + 'static,
) -> Result<Awaited<T>, Problem> {
    let mut change = Box::pin(change);
    let wait = read_preferred_wait(&context.headers);
    let ended = match wait {
        None => Some(change.as_mut().await),
        // A timer of zero would still leave the change a moment to end in, and the answer to chance.
        Some(Duration::ZERO) => None,
        Some(wait) => timeout(wait, change.as_mut()).await.ok(),
    };
    let Some(ended) = ended else {
        let id = act.id.to_string();
        let progress = context.state.progress.clone();
        progress.borrow_mut().set(&id, ActProgress::Running);
        tokio::task::spawn_local(async move {
            let ended = change.await;
            let ended = ended.map(|value| report(&value)).map_err(|error| error.to_string());
            progress.borrow_mut().set(&id, ActProgress::Ended(ended));
            drop(held);
        });
        return Ok(Awaited::GoesOn(answer_that_names_act(act, wait)));
    };
    match ended {
        Ok(value) => Ok(Awaited::Ended(value)),
        // It is in the topic, so asking again would be wrong.
        Err(CatalogError::NotServedYet { .. }) => Ok(Awaited::GoesOn(answer_that_names_act(act, wait))),
        Err(error) => Err(problem_of_catalog_error(&error)),
    }
}

fn answer_that_names_act(act: &Act, wait: Option<Duration>) -> ApiResponse {
    let id = act.id.to_string();
    let mut response = json_response(StatusCode::ACCEPTED, json!({"act": id}).to_string());
    let headers = response.headers_mut();
    if let Ok(path) = HeaderValue::from_str(&format!("/v1/acts/{id}")) {
        headers.insert(header::LOCATION, path);
    }
    if let Some(Ok(applied)) = wait.map(|wait| HeaderValue::from_str(&format!("wait={}", wait.as_secs()))) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}
