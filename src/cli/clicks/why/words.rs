//! A click's story, in words that can be passed on to a creator, and as an object.

use std::{borrow::Cow, io::Write};

use anyhow::Result;
use serde_json::{Value, json};

use super::story::{Earlier, Looked, Place, Story, names_it, time};
use crate::cli::clicks::plain;

/// Prints the story, or where the click was looked for.
pub(super) fn tell(story: &Story, out: &mut impl Write) -> Result<()> {
    if let Some(warning) = story.token.as_ref().and_then(|token| token.warning.as_ref()) {
        writeln!(out, "warning: {}", plain(warning))?;
    }
    let Some((event, place)) = story.event.as_ref().zip(story.place.as_ref()) else { return not_found(story, out) };
    let at_ms = event["clicked_at_ms"].as_u64().unwrap_or(story.id.ms());
    writeln!(out, "click {} at {}", story.id_text(), time(at_ms))?;
    if let Some((token, kind)) = story.token.as_ref().and_then(|token| Some((token, token.kind?))) {
        let kind = if kind == "cookie" { "a cookie's" } else { "a destination's" };
        row(out, "token", &format!("{kind}, {}", if token.verdict == "valid" { "genuine" } else { token.verdict }))?;
    }
    row(out, "verdict", &verdict(story, event))?;
    if is_click(event) {
        facts(event, story.undecided, out)?;
    }
    let number = |key| event[key].as_u64().unwrap_or_default();
    let (lane, epoch, seq) = (number("lane"), number("epoch"), number("seq"));
    row(out, "edge", &format!("{}, lane {lane}, epoch {epoch}, seq {seq}", text(event, "edge")))?;
    row(out, "where", &whereabouts(place))?;
    for repeat in &story.repeats {
        row(out, "again", &whereabouts(repeat))?;
    }
    unsearched(story, out)
}

/// The story as one object.
pub(super) fn json(told: &Story) -> Value {
    let mut story = json!({
        "found": told.event.is_some(), "click_id": told.id_text(), "clicked_at": time(told.id.ms()),
        "looked_in": told.looked,
    });
    if let Some(token) = &told.token {
        story["token"] = json!(token);
    }
    if let (Some(event), Some(place)) = (&told.event, &told.place) {
        story["verdict"] = verdict(told, event).into();
        story["duplicate_decided"] = (!told.undecided).into();
        if let Some(earlier) = &told.repeated_tap {
            story["repeated_tap"] = json!(earlier);
        }
        story["place"] = json!(place);
        story["repeats"] = json!(told.repeats);
        story["event"] = event.clone();
    }
    story
}

/// Names the sinks that could not be read to their end. A journal that cannot be read hides nothing once the click is found.
pub(super) fn unsearched(story: &Story, out: &mut impl Write) -> Result<()> {
    for Looked { place, failed, sink, .. } in &story.looked {
        if let (Some(why), true) = (failed, sink) {
            writeln!(out, "not searched to the end: {}: {}", plain(place), plain(why))?;
        }
    }
    Ok(())
}

/// A stub that stands in a click's place has none of these.
fn is_click(event: &Value) -> bool {
    event["type"] == "click"
}

fn facts(event: &Value, undecided: bool, out: &mut impl Write) -> Result<()> {
    row(out, "answer", &answer(event))?;
    row(out, "carrier", &carrier(event))?;
    row(out, "link", &link(event))?;
    row(out, "class", &reasoned(event, "class", "class_reason"))?;
    row(out, "source", &reasoned(event, "source", "source_reason"))?;
    row(out, "in app", &in_app(event))?;
    row(out, "duplicate", &duplicate(event, undecided))
}

fn row(out: &mut impl Write, name: &str, what: &str) -> Result<()> {
    Ok(writeln!(out, "  {name:<10} {}", plain(what))?)
}

fn not_found(story: &Story, out: &mut impl Write) -> Result<()> {
    writeln!(out, "click {} of {} was not found", story.id_text(), time(story.id.ms()))?;
    if story.token.as_ref().is_some_and(|token| token.unjournaled) {
        writeln!(
            out,
            "its token says that it was answered while nothing could be written down: there is no event of it"
        )?;
    }
    for Looked { place, since, up_to, records, failed, .. } in &story.looked {
        let since = since.map_or(String::new(), |since| format!("from {since} "));
        let place = plain(place);
        match failed {
            None => writeln!(out, "  looked in {place}, {since}up to {up_to}: {records} records, not this one")?,
            Some(why) => writeln!(out, "  could not look in {place}: {}", plain(why))?,
        }
    }
    Ok(())
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Whether the click counts, and why or why not.
pub(super) fn verdict(story: &Story, event: &Value) -> String {
    if !is_click(event) {
        let why = text(event, "reason");
        return format!("not counted: its record was refused ({why}) and put aside; this is what stands in its place");
    }
    if story.undecided && event["countable"] == true {
        return "will count, unless it is found to be a double tap: that is decided when it is shipped".to_owned();
    }
    if event["countable"] == true {
        return "counted".to_owned();
    }
    format!("not counted: {}", reason(story, event))
}

fn reason(story: &Story, event: &Value) -> Cow<'static, str> {
    let by = text(event, "class_reason");
    match text(event, "countable_reason") {
        "duplicate" => double_tap(story, event).into(),
        "test_link" => "the link is a test link".into(),
        "orphan" => match text(event, "outcome") {
            "not_found" => "there is no link of this code".into(),
            "expired" => "the link had ended".into(),
            "not_started" => "the link had not begun".into(),
            "disabled" => "the link was switched off".into(),
            "fallback" => "the link was not live; the visitor was sent to the page for that".into(),
            other => format!("the link was not live ({other})").into(),
        },
        "bot" => format!("a program, not a person ({by})").into(),
        "preview" => format!("a chat or feed drew a preview of the link; nobody tapped ({by})").into(),
        "prefetch" => "a browser fetched it ahead of a tap".into(),
        "head" => "a program looked whether the link works (HEAD)".into(),
        "non_navigation" => "it was loaded as part of a page, not opened by a person".into(),
        "probe" => format!("a monitor looked whether the link works ({by})").into(),
        other => other.to_owned().into(),
    }
}

/// The cookie names the tap that this one repeats if that was the visitor's last; else it was looked for, and is not always there.
fn double_tap(story: &Story, event: &Value) -> String {
    let number = |key| event[key].as_u64().unwrap_or_default();
    let at_ms = number("clicked_at_ms");
    if names_it(event) {
        let before = lapse(at_ms.saturating_sub(number("previous_clicked_at_ms")));
        return format!("double tap of {} {before} before", text(event, "previous_click_id"));
    }
    let by_visitor = event["duplicate_basis"] == "visitor";
    let who = if by_visitor { "the same visitor" } else { "the same address, browser and language" };
    match &story.repeated_tap {
        Some(Earlier { click_id, clicked_at_ms }) => {
            format!("double tap of {click_id} {} before, by {who}", lapse(at_ms.saturating_sub(*clicked_at_ms)))
        }
        None => format!("double tap: {who} had tapped this link shortly before"),
    }
}

fn lapse(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{} s", (ms + 500) / 1000),
        _ => format!("{} min", (ms + 30_000) / 60_000),
    }
}

fn answer(event: &Value) -> String {
    let status = event["status"].as_u64().unwrap_or_default();
    let said = format!("{} ({status})", text(event, "outcome"));
    event["destination"].as_str().map_or(said.clone(), |to| format!("{said} to {to}"))
}

fn carrier(event: &Value) -> String {
    let yes = |key: &str| event[key] == true;
    let cookie = if yes("cookie_set") { "cookie set" } else { "no cookie set" };
    let token = if yes("token_placed") { "token placed in the destination" } else { "no token placed" };
    format!("{}, {cookie}, {token}", text(event, "carrier"))
}

fn link(event: &Value) -> String {
    let domain = Some(text(event, "domain")).filter(|domain| *domain != "*").unwrap_or("any domain");
    let mut words = format!("{} on {domain}", text(event, "code"));
    for (key, name) in [("creator_id", "creator"), ("seller_id", "seller"), ("campaign_id", "campaign")] {
        if let Some(value) = event[key].as_str() {
            words += &format!(", {name} {value}");
        }
    }
    words
}

fn reasoned(event: &Value, key: &str, reason: &str) -> String {
    format!("{} (by {})", text(event, key), text(event, reason).replace('_', " "))
}

fn in_app(event: &Value) -> String {
    match (event["in_app"] == true, event["in_app_name"].as_str()) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes, which one is not known".to_owned(),
        (true, Some(name)) => format!("yes, {name}"),
    }
}

fn duplicate(event: &Value, undecided: bool) -> String {
    match (undecided, event["duplicate"] == true) {
        (true, _) => "decided when it is shipped".to_owned(),
        (false, false) => "no".to_owned(),
        (false, true) => format!("yes (by {})", text(event, "duplicate_basis").replace('_', " and ")),
    }
}

fn whereabouts(place: &Place) -> String {
    match place {
        Place::Kafka { topic, partition, offset } => {
            format!("in Kafka: topic {topic}, partition {partition}, offset {offset}")
        }
        Place::File { path, line } => format!("in {}, line {line}", path.display()),
        Place::Journal { dir, lane, position, delivered: false } => {
            format!("waits to be shipped, in the journal of {}: lane {lane}, position {position}", dir.display())
        }
        Place::Journal { dir, lane, position, delivered: true } => format!(
            "was delivered says the journal of {} (lane {lane}, position {position}), but was not found where it was looked for",
            dir.display()
        ),
    }
}
