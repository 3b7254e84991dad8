//! What the answer to a bulk request says.

use serde_json::json;

use super::bulk_change::BulkChange;
use crate::{
    api::{http::problem::Problem, links::location::path_of_link},
    catalog::change::{BatchMode, ChangedLink},
};

/// What became of the rows so far.
#[derive(Clone, Debug, Default)]
pub(super) struct BulkReport {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) deleted: u64,
    pub(super) refused: u64,
    /// The version of the catalog behind the rows.
    pub(super) version: u64,
    act: String,
    is_atomic: bool,
    is_dry_run: bool,
}

impl BulkReport {
    pub(super) fn new(change: &BulkChange) -> BulkReport {
        BulkReport {
            act: change.act.id.to_string(),
            is_atomic: change.mode == BatchMode::Atomic,
            is_dry_run: change.is_dry_run,
            ..BulkReport::default()
        }
    }

    /// The last line of the answer.
    pub(super) fn summary_line(&self) -> String {
        let is_refused_whole = self.is_atomic && self.refused > 0;
        let is_applied = !self.is_dry_run && !is_refused_whole;
        let summary = json!({"summary": {
            "rows": self.created + self.updated + self.unchanged + self.deleted + self.refused,
            "created": self.created,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "refused": self.refused,
            "applied": is_applied,
            "dry_run": self.is_dry_run,
            "version": self.version,
            "act": self.act,
        }});
        format!("{summary}\n")
    }
}

/// The line about a row that is not refused.
pub(super) fn outcome_line(number: u64, outcome: &str, link: &ChangedLink) -> String {
    let warnings: Vec<String> = link.warnings.iter().map(ToString::to_string).collect();
    let object = json!({
        "line": number,
        "outcome": outcome,
        "link": path_of_link(&link.name),
        "version": link.version,
        "warnings": warnings,
    });
    format!("{object}\n")
}

/// The line about a row that is refused.
pub(super) fn refused_line(number: u64, problem: &Problem) -> String {
    let mut object = problem.to_json();
    object["line"] = number.into();
    format!("{object}\n")
}
