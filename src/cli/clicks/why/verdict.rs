//! Whether a click counts, and why, in words for a creator.

use std::borrow::Cow;

use serde_json::Value;

use super::report::{ClickReport, EarlierTap, is_previous_click_the_repeated_tap};

/// Whether the click counts, and why or why not.
pub(super) fn describe_whether_click_counts_and_why(report: &ClickReport, event: &Value) -> String {
    if !is_click(event) {
        let reason = text_field(event, "reason");
        return format!("not counted: Kafka refused its record ({reason}); this stub takes its place");
    }
    if report.duplicate_undecided && event["countable"] == true {
        return "will count, unless it is a double tap: that is decided when it is delivered".to_owned();
    }
    if event["countable"] == true {
        return match event["duplicate"] == true {
            // Address and agent alone can be two people.
            true => format!("counted; perhaps a {}", describe_double_tap_and_earlier_tap(report, event)),
            false => "counted".to_owned(),
        };
    }
    format!("not counted: {}", describe_why_click_does_not_count(report, event))
}

/// Whether the event is a click, not a stub in the place of one.
pub(super) fn is_click(event: &Value) -> bool {
    event["type"] == "click"
}

/// A text of the event; `-` if it is absent or empty.
pub(super) fn text_field<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Why the click does not count.
fn describe_why_click_does_not_count(report: &ClickReport, event: &Value) -> Cow<'static, str> {
    let by = text_field(event, "class_reason");
    match text_field(event, "countable_reason") {
        "duplicate" => describe_double_tap_and_earlier_tap(report, event).into(),
        "test_link" => "the link is a test link".into(),
        "orphan" => match text_field(event, "outcome") {
            "not_found" => "no link has this code".into(),
            "expired" => "the link had ended".into(),
            "not_started" => "the link had not begun".into(),
            "disabled" => "the link was switched off".into(),
            "fallback" => "the link was not live; the visitor was sent to the fallback page".into(),
            other => format!("the link was not live ({other})").into(),
        },
        "bot" => format!("a program, not a person ({by})").into(),
        "preview" => format!("a chat or feed fetched the link to draw a preview; nobody tapped it ({by})").into(),
        "prefetch" => "a browser fetched the link before a tap".into(),
        "head" => "a program checked whether the link works (HEAD request)".into(),
        "non_navigation" => "the link was loaded as a part of a page, not opened by a person".into(),
        "probe" => format!("a monitor checked whether the link works ({by})").into(),
        other => other.to_owned().into(),
    }
}

/// Names the tap that this one repeats: from the event if the cookie named it, else from the search for it, if that
/// found one.
fn describe_double_tap_and_earlier_tap(report: &ClickReport, event: &Value) -> String {
    let number = |key| event[key].as_u64().unwrap_or_default();
    let at_ms = number("clicked_at_ms");
    if is_previous_click_the_repeated_tap(event) {
        let before = format_rounded_duration_ms(at_ms.saturating_sub(number("previous_clicked_at_ms")));
        return format!("double tap of {} {before} before", text_field(event, "previous_click_id"));
    }
    let by_visitor = event["duplicate_basis"] == "visitor";
    let same = if by_visitor { "the same visitor" } else { "the same address, browser and language" };
    match &report.repeated_tap {
        Some(EarlierTap { click_id, clicked_at_ms }) => {
            let before = format_rounded_duration_ms(at_ms.saturating_sub(*clicked_at_ms));
            format!("double tap of {click_id} {before} before, by {same}")
        }
        None => format!("double tap: {same} had tapped this link shortly before"),
    }
}

fn format_rounded_duration_ms(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{} s", (ms + 500) / 1000),
        _ => format!("{} min", (ms + 30_000) / 60_000),
    }
}
