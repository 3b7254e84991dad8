//! One request that has shown its key.

use std::rc::Rc;

use http::HeaderMap;

use super::{
    http::{problem::Problem, query_parameters::QueryParameters},
    state::{ApiState, RequestPlace},
};
use crate::catalog::{act::Act, api_keys::ApiKey, new_act};

/// The longest reason, in characters.
const MAX_REASON: usize = 256;

/// What answers to a request depend on beside its body. Cheap to clone: a task that streams an answer keeps one.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) state: Rc<ApiState>,
    pub(super) key: Rc<ApiKey>,
    pub(super) headers: Rc<HeaderMap>,
    /// The query as it was sent.
    pub(super) query: Option<Rc<str>>,
    /// Held until the answer is sent.
    pub(super) _place: Rc<RequestPlace>,
}

impl RequestContext {
    /// The query parameters, which may be those of `allowed`.
    ///
    /// # Errors
    /// One is unknown or given twice.
    pub(super) fn query_parameters(&self, allowed: &[&str]) -> Result<QueryParameters, Problem> {
        QueryParameters::parse(self.query.as_deref(), allowed)
    }

    /// Who changes links.
    pub(super) fn actor(&self) -> String {
        format!("api-key {} ({})", self.key.id, self.key.name)
    }

    /// A new act of this key, for the reason in the query.
    ///
    /// # Errors
    /// The reason is too long.
    pub(super) fn new_act(&self, query: &QueryParameters) -> Result<Act, Problem> {
        let reason = query.get("reason").filter(|reason| !reason.is_empty());
        if let Some(reason) = reason
            && (reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control))
        {
            let message = format!("allowed are {MAX_REASON} characters without control characters");
            return Err(Problem::of_parameter("reason", message));
        }
        Ok(new_act(self.actor(), reason.map(str::to_owned)))
    }
}
