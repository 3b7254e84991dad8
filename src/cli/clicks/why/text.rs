//! The report as text that can be passed on to a creator.

use std::io::Write;

use anyhow::Result;
use serde_json::Value;

use super::{
    report::{ClickLocation, ClickReport, SearchedPlace, timestamp},
    verdict::{describe_whether_click_counts_and_why, is_click, text_field},
};
use crate::cli::clicks::text::escape_for_terminal_or_dash;

/// Prints the report; of a click that was not found, the places that were searched.
pub(super) fn print_report_or_places_searched(report: &ClickReport, out: &mut impl Write) -> Result<()> {
    if let Some(warning) = report.token.as_ref().and_then(|token| token.warning.as_ref()) {
        writeln!(out, "warning: {}", escape_for_terminal_or_dash(warning))?;
    }
    let Some((event, location)) = report.event.as_ref().zip(report.location.as_ref()) else {
        return print_click_not_found_and_places_searched(report, out);
    };
    let at_ms = event["clicked_at_ms"].as_u64().unwrap_or(report.click_id.timestamp_ms());
    writeln!(out, "click {} at {}", report.click_id_text(), timestamp(at_ms))?;
    if let Some((token, kind)) = report.token.as_ref().and_then(|token| Some((token, token.kind?))) {
        let kind = if kind == "cookie" { "of a cookie" } else { "of a destination" };
        let verdict = if token.verdict == "valid" { "genuine" } else { token.verdict };
        print_labelled_row(out, "token", &format!("{kind}, {verdict}"))?;
    }
    print_labelled_row(out, "verdict", &describe_whether_click_counts_and_why(report, event))?;
    if is_click(event) {
        print_event_facts_as_rows(event, report.duplicate_undecided, out)?;
    }
    let number = |key| event[key].as_u64().unwrap_or_default();
    let (lane, epoch, seq) = (number("lane"), number("epoch"), number("seq"));
    print_labelled_row(out, "edge", &format!("{}, lane {lane}, epoch {epoch}, seq {seq}", text_field(event, "edge")))?;
    print_labelled_row(out, "where", &describe_location(location))?;
    for repeat in &report.repeats {
        print_labelled_row(out, "again", &describe_location(repeat))?;
    }
    print_sinks_not_searched_to_the_end(report, out)
}

/// Names the sinks that could not be read to their end. A journal that cannot be read does not matter once the click is
/// found.
pub(super) fn print_sinks_not_searched_to_the_end(report: &ClickReport, out: &mut impl Write) -> Result<()> {
    for SearchedPlace { place, failure, is_sink, .. } in &report.searched {
        if let (Some(why), true) = (failure, is_sink) {
            writeln!(
                out,
                "not searched to the end: {}: {}",
                escape_for_terminal_or_dash(place),
                escape_for_terminal_or_dash(why)
            )?;
        }
    }
    Ok(())
}

fn print_event_facts_as_rows(event: &Value, duplicate_undecided: bool, out: &mut impl Write) -> Result<()> {
    print_labelled_row(out, "answer", &describe_outcome_status_and_destination(event))?;
    if let Some(target) = describe_target(event) {
        print_labelled_row(out, "target", &target)?;
    }
    print_labelled_row(out, "carrier", &describe_carrier_cookie_and_token(event))?;
    print_labelled_row(out, "link", &describe_link_domain_and_owners(event))?;
    print_labelled_row(out, "class", &describe_label(event, "class", "class_reason"))?;
    print_labelled_row(out, "source", &describe_label(event, "source", "source_reason"))?;
    print_labelled_row(out, "in app", &describe_in_app_and_app_name(event))?;
    if let Some(address) = describe_address(event) {
        print_labelled_row(out, "address", &address)?;
    }
    print_labelled_row(out, "duplicate", &describe_duplicate_and_its_basis(event, duplicate_undecided))
}

fn print_labelled_row(out: &mut impl Write, name: &str, text: &str) -> Result<()> {
    Ok(writeln!(out, "  {name:<10} {}", escape_for_terminal_or_dash(text))?)
}

fn print_click_not_found_and_places_searched(report: &ClickReport, out: &mut impl Write) -> Result<()> {
    writeln!(out, "click {} of {} was not found", report.click_id_text(), timestamp(report.click_id.timestamp_ms()))?;
    if report.token.as_ref().is_some_and(|token| token.unrecorded) {
        writeln!(out, "its token says that the click was answered without a record: it has no event")?;
    }
    for SearchedPlace { place, since, up_to, records, failure, .. } in &report.searched {
        let since = since.map_or(String::new(), |since| format!("from {since} "));
        let place = escape_for_terminal_or_dash(place);
        match failure {
            None => writeln!(out, "  searched {place}, {since}up to {up_to}: {records} records, none is this click")?,
            Some(why) => writeln!(out, "  could not search {place}: {}", escape_for_terminal_or_dash(why))?,
        }
    }
    Ok(())
}

fn describe_outcome_status_and_destination(event: &Value) -> String {
    let status = event["status"].as_u64().unwrap_or_default();
    let answer = format!("{} ({status})", text_field(event, "outcome"));
    event["destination"].as_str().map_or(answer.clone(), |to| format!("{answer} to {to}"))
}

/// The target or next hop that was chosen at the click, what was looked at for it, and how the page leaves an app's own
/// browser; `None` where a redirect led to the link's own url, and nothing else was asked.
fn describe_target(event: &Value) -> Option<String> {
    let (index, facts, split) = (event["target_index"].as_u64(), event["target_facts"].as_str(), &event["split"]);
    let next_hop = event["next_hop"].as_str();
    if index.is_none() && facts.is_none() && split.is_null() && next_hop.is_none() {
        return None;
    }
    let mut text = match (index, next_hop) {
        (Some(index), _) => format!("targets/{index}"),
        (None, Some("listed")) => "the next hop that its URL names, whose host the link lists".to_owned(),
        (None, Some("signed")) => "the next hop that its URL names, which is signed".to_owned(),
        (None, _) => "the link's own url".to_owned(),
    };
    if next_hop == Some("refused") {
        text.push_str(", not the next hop that its URL names");
    }
    if let Some(owner) = event["targets_of"].as_str() {
        text.push_str(&format!(" (targets of the {owner})"));
    }
    if let Some(facts) = facts {
        text.push_str(&format!(", saw {facts}"));
    }
    if let Some(variant) = split.as_str() {
        let (bucket, basis) = (event["split_bucket"].as_u64().unwrap_or_default(), text_field(event, "split_basis"));
        text.push_str(&format!(", variant {variant} (bucket {bucket} of 10000, by {basis} id)"));
    }
    if let Some(way_out) = event["opened_outside"].as_str() {
        text.push_str(&format!(", leaving the app's own browser: {way_out}"));
    }
    Some(text)
}

fn describe_carrier_cookie_and_token(event: &Value) -> String {
    let is_true = |key: &str| event[key] == true;
    let cookie = if is_true("cookie_set") { "cookie set" } else { "no cookie set" };
    let token = if is_true("token_placed") { "token placed in the destination" } else { "no token placed" };
    format!("{}, {cookie}, {token}", text_field(event, "carrier"))
}

fn describe_link_domain_and_owners(event: &Value) -> String {
    let domain = Some(text_field(event, "domain")).filter(|domain| *domain != "*").unwrap_or("any domain");
    let mut link = format!("{} on {domain}", text_field(event, "code"));
    for (key, name) in [("creator_id", "creator"), ("seller_id", "seller"), ("campaign_id", "campaign")] {
        if let Some(value) = event[key].as_str() {
            link += &format!(", {name} {value}");
        }
    }
    link
}

/// A label and the reason for it.
fn describe_label(event: &Value, label: &str, reason: &str) -> String {
    format!("{} (by {})", text_field(event, label), text_field(event, reason).replace('_', " "))
}

fn describe_in_app_and_app_name(event: &Value) -> String {
    match (event["in_app"] == true, event["in_app_name"].as_str()) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes, the app is not known".to_owned(),
        (true, Some(name)) => format!("yes, {name}"),
    }
}

/// Country or region, network, and whether it is a data centre's; `None` if nothing is known of the address.
fn describe_address(event: &Value) -> Option<String> {
    let place = event["region"].as_str().or(event["country"].as_str()).map(str::to_owned);
    let network = event["asn"].as_u64().map(|asn| match event["network_name"].as_str() {
        Some(name) => format!("AS{asn} ({name})"),
        None => format!("AS{asn}"),
    });
    let data_centre =
        event["data_centre"].as_bool().map(|is| (if is { "data centre" } else { "no data centre" }).into());
    let known: Vec<String> = [place, network, data_centre].into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn describe_duplicate_and_its_basis(event: &Value, undecided: bool) -> String {
    match (undecided, event["duplicate"] == true) {
        (true, _) => "decided when it is delivered".to_owned(),
        (false, false) if event["duplicate_basis"] == "unknown" => {
            "no, as far as is known: the clicks before the start were lost".to_owned()
        }
        (false, false) => "no".to_owned(),
        (false, true) => format!("yes (by {})", text_field(event, "duplicate_basis").replace('_', " and ")),
    }
}

fn describe_location(location: &ClickLocation) -> String {
    match location {
        ClickLocation::Kafka { topic, partition, offset } => {
            format!("in Kafka: topic {topic}, partition {partition}, offset {offset}")
        }
        ClickLocation::File { path, line } => format!("in {}, line {line}", path.display()),
        ClickLocation::Journal { dir, lane, position, delivered } => {
            let journal = format!("the journal in {}: lane {lane}, position {position}", dir.display());
            match delivered {
                false => format!("waits for delivery in {journal}"),
                true => format!("counted as delivered by {journal}; not found in the sinks that were searched"),
            }
        }
    }
}
