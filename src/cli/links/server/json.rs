//! Filters, pages and suspensions as the API writes them.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    catalog::{query::LinkFilter, suspension_rows::SuspensionRow},
    links::suspensions::Dimension,
    uri::percent,
};

/// A page of links.
#[derive(Deserialize)]
pub(super) struct LinkPage<'a> {
    #[serde(borrow)]
    pub(super) items: Vec<LinkItem<'a>>,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
}

/// A link of a page.
#[derive(Deserialize)]
pub(super) struct LinkItem<'a> {
    /// The record as it is kept.
    #[serde(borrow)]
    pub(super) record: &'a RawValue,
}

/// The parameters of a list. The bounds of keys are the server's.
pub(super) fn parameters_of_filter(filter: &LinkFilter) -> Vec<(&'static str, String)> {
    let mut parameters: Vec<(&'static str, String)> =
        filter.fields.iter().map(|(field, value)| (field.as_str(), value.clone())).collect();
    parameters.extend(filter.state.map(|(state, _)| ("state", state.as_str().to_owned())));
    let created_after = filter.created_after_ms.and_then(time_of_ms);
    parameters.extend(created_after.map(|time| ("created_after", time)));
    parameters
}

/// A time in RFC 3339.
pub(super) fn time_of_ms(ms: u64) -> Option<String> {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|time| time.to_string())
}

/// The suspension of an object.
///
/// # Errors
/// It is none that this build knows.
pub(super) fn suspension_of_json(object: &Value) -> Result<SuspensionRow> {
    let text = |field: &str| object[field].as_str().map(str::to_owned);
    let time = |field: &str| {
        let time: Timestamp = object[field].as_str()?.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    };
    let read = || {
        Some(SuspensionRow {
            dimension: Dimension::from_word(object["dimension"].as_str()?)?,
            value: text("value")?,
            version: object["version"].as_u64()?,
            since_ms: time("since")?,
            until_ms: time("until"),
            actor: text("actor")?,
            reason: text("reason")?,
            fallback_url: text("fallback_url"),
        })
    };
    read().with_context(|| format!("the server gives a suspension that this build does not know: {object}"))
}

/// The link of a path, as `DOMAIN/CODE`.
pub(super) fn name_of_path(path: &str) -> String {
    let encoded = path.strip_prefix("/v1/links/").unwrap_or(path);
    String::from_utf8_lossy(&percent::decode(encoded.as_bytes()).collect::<Vec<u8>>()).into_owned()
}
