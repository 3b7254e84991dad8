//! `GET /v1/links`: the links that match a filter, page by page.

use http::StatusCode;
use serde_json::json;

use super::{cursor::CursorSigner, location::path_of_link};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            query_parameters::QueryParameters,
            response::{ApiResponse, json_response},
        },
        reach::filters_of_bounds,
    },
    catalog::query::{FilterField, LinkFilter, StateFilter, VersionedLink},
    clock,
};

/// Links of a page at most.
const MAX_LIMIT: u64 = 1000;
/// Links of a page, if the client does not say.
const DEFAULT_LIMIT: u64 = 100;

/// The parameters of a filter.
pub(in crate::api) const FILTER_PARAMETERS: [&str; FilterField::ALL.len() + 2] = [
    "domain",
    "creator",
    "partner",
    "seller",
    "campaign",
    "product",
    "host",
    "tag",
    "code_prefix",
    "state",
    "created_after",
];

/// Answers with a page of links, ordered by domain and code.
pub(in crate::api) async fn list_links(context: RequestContext) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&[&FILTER_PARAMETERS[..], &["limit", "cursor"]].concat())?;
    check_client_accepts(&context.headers, JSON)?;
    let limit = query.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? as usize;
    let filter = read_filter(&context, &query)?;
    let key = context.state.cursor_key().await?;
    let signer = CursorSigner { key, filter: text_of_filter(&filter) };
    let after = query.get("cursor").map(|cursor| signer.verify(cursor)).transpose()?;
    // One more than asked for, to know whether there is a next page.
    let read = context.state.readers.read(move |reader| reader.list_links(&filter, after.as_ref(), limit + 1));
    let mut links = read.await?;
    let has_more = links.len() > limit;
    links.truncate(limit);
    let next = links.last().filter(|_| has_more).map(|last| signer.sign(&last.name));
    let items: Vec<String> = links.iter().map(text_of_item).collect();
    let body = format!("{{\"items\":[{}],\"next\":{}}}", items.join(","), json!(next));
    Ok(json_response(StatusCode::OK, body))
}

/// A link of a list; its record stands in it as it is kept.
fn text_of_item(link: &VersionedLink) -> String {
    let path = json!(path_of_link(&link.name));
    format!("{{\"link\":{path},\"version\":{},\"record\":{}}}", link.version, link.record)
}

/// The filter of these parameters, within the bounds of the key.
///
/// # Errors
/// A value is none of its parameter.
pub(in crate::api) fn read_filter(context: &RequestContext, query: &QueryParameters) -> Result<LinkFilter, Problem> {
    let mut fields = Vec::new();
    for field in FilterField::ALL {
        let Some(value) = query.get(field.as_str()) else { continue };
        if value.is_empty() {
            return Err(Problem::of_parameter(field.as_str(), "is empty; leave it out or give a text"));
        }
        let value = match field {
            FilterField::Domain => {
                let edge = context.state.edge.load();
                edge.domains().find_by_name(value).map_or_else(|| value.to_owned(), |domain| domain.name.to_string())
            }
            FilterField::Host => value.to_ascii_lowercase(),
            _ => value.to_owned(),
        };
        fields.push((field, value));
    }
    let state = query.word("state", StateFilter::ALL.map(|state| (state.as_str(), state)))?;
    Ok(LinkFilter {
        fields,
        any_of: filters_of_bounds(&context.key.bounds),
        state: state.map(|state| (state, clock::wall_ms())),
        created_after_ms: query.time_ms("created_after")?,
    })
}

/// The filter without the time of the request, which differs from page to page.
fn text_of_filter(filter: &LinkFilter) -> String {
    let state = filter.state.map(|(state, _)| state);
    format!("{:?} {:?} {state:?} {:?}", filter.fields, filter.any_of, filter.created_after_ms)
}
