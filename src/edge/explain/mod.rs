//! Explains the answer to a request: every check with its result, the answer, and the event that the click would have.
//!
//! The checks are read from what the edge's own functions decide, and the answer is the edge's own. So an explanation
//! cannot differ from what a request would get. Nothing is recorded. Tokens are left out: a token without a recorded
//! click would be worth money.

mod checks;
mod explainer;
mod redaction;
mod request;
mod target_checks;

use serde::Serialize;

pub use self::{explainer::Explainer, request::ExplainedRequest};

/// Why a request gets its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The domain that answers: the configured host, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The link, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<ExplainedLink>,
    /// Every check, in the order in which the edge makes them.
    pub checks: Vec<Check>,
    /// The answer.
    pub answer: ExplainedAnswer,
    /// The topic of the event, if the request makes a click.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'static str>,
    /// The event, without what only a recorded click has: ids and numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Value>,
}

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub result: String,
}

/// The link of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedLink {
    /// The link's own code.
    pub code: String,
    /// The version of the links, as each of its clicks records it.
    pub version: u64,
    /// What the link stands for.
    pub kind: &'static str,
    /// Its creation, milliseconds since the epoch.
    pub created_at_ms: u64,
    /// Its end, milliseconds since the epoch, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at_ms: Option<u64>,
    /// `live`, `expired`, `not_started` or `disabled`.
    pub state: &'static str,
    /// Whether its clicks never count.
    pub test: bool,
    /// The destination as it is written.
    pub url: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedAnswer {
    /// The status.
    pub status: u16,
    /// The headers in their order, without tokens.
    pub headers: Vec<(String, String)>,
    /// The body, if it is not empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}
