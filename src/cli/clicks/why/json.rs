//! The report as one JSON object.

use serde_json::{Value, json};

use super::{
    report::{ClickReport, timestamp},
    verdict::describe_whether_click_counts_and_why,
};

/// Builds the object that `--json` prints.
pub(super) fn format_report_as_json(report: &ClickReport) -> Value {
    let mut object = json!({
        "found": report.event.is_some(),
        "click_id": report.click_id_text(),
        "clicked_at": timestamp(report.click_id.timestamp_ms()),
        "looked_in": report.searched,
    });
    if let Some(token) = &report.token {
        object["token"] = json!(token);
    }
    if let (Some(event), Some(location)) = (&report.event, &report.location) {
        object["verdict"] = describe_whether_click_counts_and_why(report, event).into();
        object["duplicate_decided"] = (!report.duplicate_undecided).into();
        if let Some(earlier) = &report.repeated_tap {
            object["repeated_tap"] = json!(earlier);
        }
        object["place"] = json!(location);
        object["repeats"] = json!(report.repeats);
        object["event"] = event.clone();
    }
    object
}
