//! Changes as lines of `/v1/bulk`, and the lines of its answer as outcomes.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::json::name_of_path;
use crate::{
    catalog::change::{ExpectedLink, LinkChange},
    cli::{
        api_client::{ApiPath, ServerProblem},
        links::place::{ChangeOutcome, LinkChanges, Refusal},
    },
};

/// A request for changes.
pub(super) struct BulkRequest {
    pub(super) path: ApiPath,
    /// A line for each change.
    pub(super) lines: String,
}

impl BulkRequest {
    pub(super) fn of_changes(changes: &LinkChanges<'_>) -> BulkRequest {
        let LinkChanges { act, changes, expected, is_dry_run } = changes;
        let (existing, version) = match expected {
            ExpectedLink::Any => ("replace", None),
            ExpectedLink::Absent => ("refuse", None),
            ExpectedLink::AbsentOrSame => ("same", None),
            ExpectedLink::AtVersion(version) => ("replace", Some(*version)),
            ExpectedLink::AtVersionOrDone(version) => ("same", *version),
        };
        let path = ApiPath::new("/v1/bulk")
            .parameter("mode", "each")
            .parameter("outcomes", "all")
            .parameter("existing", existing)
            .parameter("dry_run", if *is_dry_run { "true" } else { "false" })
            .parameter("act", &act.id.to_string())
            .optional_parameter("reason", act.reason.as_deref());
        let lines = changes.iter().map(|change| line_of_change(change, version) + "\n").collect();
        BulkRequest { path, lines }
    }
}

fn line_of_change(change: &LinkChange, version: Option<u64>) -> String {
    let operation = match change {
        LinkChange::Put { text: Some(text), .. } if version.is_none() => return text.clone(),
        LinkChange::Put { record, .. } if version.is_none() => {
            return serde_json::to_string(record).unwrap_or_default();
        }
        LinkChange::Put { record, .. } => json!({"op": "put", "record": record, "version": version}),
        LinkChange::Patch { name, patch } => {
            json!({"op": "patch", "domain": name.domain, "code": name.code, "patch": patch, "version": version})
        }
        LinkChange::Delete { name } => {
            json!({"op": "delete", "domain": name.domain, "code": name.code, "version": version})
        }
    };
    operation.to_string()
}

/// The outcomes of so many rows.
///
/// # Errors
/// The request did not end; what was answered before stays.
pub(super) fn read_outcomes(answer: &str, rows: usize) -> Result<Vec<ChangeOutcome>> {
    let mut outcomes = Vec::with_capacity(rows);
    for line in answer.lines() {
        let line: Value = serde_json::from_str(line).context("the server answers with a line that is no JSON")?;
        if line["problem"].is_object() {
            return Err(ServerProblem::of_json(&line["problem"]).into());
        }
        if line["line"].is_u64() {
            outcomes.push(outcome_of_line(&line)?);
        }
    }
    if outcomes.len() != rows {
        bail!(
            "the server answers for {} of {rows} links; run the command again: what is changed stays",
            outcomes.len()
        );
    }
    Ok(outcomes)
}

fn outcome_of_line(line: &Value) -> Result<ChangeOutcome> {
    let name = line["link"].as_str().map(name_of_path).unwrap_or_default();
    let version = line["version"].as_u64().unwrap_or(0);
    let warnings = line["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let warnings = warnings.map(str::to_owned).collect();
    Ok(match line["outcome"].as_str() {
        None => ChangeOutcome::Refused(refusal_of_problem(ServerProblem::of_json(line))),
        Some("created") => ChangeOutcome::Created { name, version, warnings },
        Some("updated") => ChangeOutcome::Changed { name, version, warnings },
        Some("unchanged") => ChangeOutcome::Unchanged { name },
        Some("deleted") => ChangeOutcome::Removed { name, version },
        Some(other) => bail!("the server answers with the outcome {other:?}, which this build does not know"),
    })
}

/// The problem of a row in the words of the commands.
pub(super) fn refusal_of_problem(problem: ServerProblem) -> Refusal {
    let ServerProblem { kind, message, version, .. } = problem;
    let message = match (&*kind, version) {
        ("exists", Some(version)) => format!("there is a link of this code, at version {version}"),
        ("version-differs", Some(version)) => {
            format!("the link was changed meanwhile, and has version {version}; look at it and try again")
        }
        ("version-differs", None) => "the link was removed meanwhile".to_owned(),
        ("version-needed", Some(version)) => {
            format!("another link has this code, at version {version}; give the new link another code, or --replace it")
        }
        ("not-found", _) => "there is no such link".to_owned(),
        _ => message,
    };
    Refusal { rule: kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_an_outcome_for_each_row_or_is_an_error() {
        let answer = r#"{"line":1,"outcome":"created","link":"/v1/links/*/a%20b","version":7,"warnings":["url: odd"]}
{"line":2,"type":"urn:waypost:problem:exists","status":409,"detail":"x","version":3,"errors":[]}
{"summary":{}}"#;
        let outcomes = read_outcomes(answer, 2).unwrap();
        let created =
            ChangeOutcome::Created { name: "*/a b".to_owned(), version: 7, warnings: vec!["url: odd".to_owned()] };
        assert_eq!(outcomes[0], created);
        assert!(matches!(&outcomes[1], ChangeOutcome::Refused(refusal) if refusal.message.ends_with("at version 3")));
        assert!(read_outcomes(answer, 3).is_err(), "a row without an outcome");
        let broken = "{\"problem\":{\"status\":503,\"detail\":\"the disk is full\"}}";
        assert!(read_outcomes(broken, 0).unwrap_err().to_string().contains("the disk is full"));
    }
}
