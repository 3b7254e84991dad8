//! What a server says instead of an answer: the problem details of RFC 9457.

use serde_json::Value;

use super::ApiAnswer;

/// A refusal of the server.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server answers {status}: {message}")]
pub(in crate::cli) struct ServerProblem {
    pub(in crate::cli) status: u16,
    /// What sort of problem, such as `code-reserved`; empty if the server does not say.
    pub(in crate::cli) kind: String,
    /// Each field with its mistake, or what was found and what to do.
    pub(in crate::cli) message: String,
    /// The version that a link has, if the problem is about it.
    pub(in crate::cli) version: Option<u64>,
}

impl ServerProblem {
    /// The problem of an answer. An answer that is none of the API, such as one of a proxy, is told by its status.
    pub(super) fn of_answer(answer: &ApiAnswer) -> ServerProblem {
        let object: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let problem = ServerProblem::of_json(&object);
        let message = if problem.message.is_empty() { answer.status_text.clone() } else { problem.message };
        ServerProblem { status: answer.status, message, ..problem }
    }

    /// The problem of an object.
    pub(in crate::cli) fn of_json(object: &Value) -> ServerProblem {
        let kind = object["type"].as_str().and_then(|kind| kind.strip_prefix("urn:waypost:problem:"));
        let errors: Vec<String> = object["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| Some(format!("{}: {}", error["field"].as_str()?, error["message"].as_str()?)))
            .collect();
        let detail = object["detail"].as_str().unwrap_or_default();
        let mut message = if errors.is_empty() { detail.to_owned() } else { errors.join("; ") };
        if let Some(reusable_at) = object["reusable_at"].as_str() {
            message = format!("the code belongs to a removed link until {reusable_at}; {message}");
        }
        ServerProblem {
            status: object["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(0),
            kind: kind.unwrap_or_default().to_owned(),
            message,
            version: object["version"].as_u64(),
        }
    }
}
