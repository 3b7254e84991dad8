//! Lines of JSON: flat objects with nginx's names of variables, and Caddy's nested ones.

use serde_json::{Map, Value};

use crate::access_log::entry::LogEntry;

const HOST: [&str; 5] = ["host", "http_host", "server_name", "vhost", "authority"];
const METHOD: [&str; 3] = ["request_method", "method", "verb"];
const TARGET: [&str; 6] = ["request_uri", "uri", "target", "url", "path", "request_path"];
const STATUS: [&str; 3] = ["status", "response_status", "status_code"];
const LOCATION: [&str; 6] =
    ["sent_http_location", "location", "upstream_http_location", "redirect_url", "redirect", "destination"];

/// Parses a line of JSON; `None` if it names no request.
pub(super) fn parse(line: &[u8]) -> Option<LogEntry> {
    let Value::Object(object) = serde_json::from_slice(line).ok()? else { return None };
    let mut entry = LogEntry { method: "GET".to_owned(), ..LogEntry::default() };
    match object.get("request") {
        Some(Value::String(request)) => entry.set_request_line(request)?,
        Some(Value::Object(request)) => set_request(&mut entry, request)?,
        _ => set_request(&mut entry, &object)?,
    }
    if entry.host.is_none() {
        set_host(&mut entry, &object);
    }
    entry.status = find_status(&object);
    let in_headers = object.get("resp_headers").and_then(|headers| find_header(headers, "Location"));
    if let Some(location) = find_text(&object, &LOCATION).or(in_headers) {
        entry.set_location(location);
    }
    Some(entry)
}

/// Method, target and host of an object.
fn set_request(entry: &mut LogEntry, object: &Map<String, Value>) -> Option<()> {
    if let Some(method) = find_text(object, &METHOD) {
        entry.method = method.to_owned();
    }
    entry.set_target(find_text(object, &TARGET)?)?;
    if entry.host.is_none() {
        set_host(entry, object);
    }
    Some(())
}

fn set_host(entry: &mut LogEntry, object: &Map<String, Value>) {
    if let Some(host) = find_text(object, &HOST) {
        entry.set_host(host);
    }
}

fn find_status(object: &Map<String, Value>) -> Option<u16> {
    let value = STATUS.iter().find_map(|name| object.get(*name))?;
    let number = value.as_u64().and_then(|status| u16::try_from(status).ok());
    number.or_else(|| value.as_str().and_then(|status| status.parse().ok()))
}

/// The first of these texts that is not empty.
fn find_text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    let texts = names.iter().filter_map(|name| object.get(*name)?.as_str());
    texts.into_iter().find(|text| !text.is_empty() && *text != "-")
}

/// The first value of a header in `{"Name": ["value"]}`.
fn find_header<'a>(headers: &'a Value, name: &str) -> Option<&'a str> {
    let values = headers.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1;
    values.as_str().or_else(|| values.as_array()?.first()?.as_str())
}
