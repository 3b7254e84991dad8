//! `POST /v1/explain`: the answer to a click, with its reasons, and nothing recorded. The explanation is that of
//! `waypost explain`, of the links that are served now; tokens are left out as there.

use std::net::IpAddr;

use http::StatusCode;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::suspensions::list_unknown_fields;
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_body_type, check_client_accepts},
            problem::{FieldError, Problem, ProblemKind},
            request_body::read_body,
            response::{ApiResponse, json_response},
        },
        links::{read::find_link, record_body::read_object},
    },
    catalog::{api_keys::KeyBounds, change::LinkName},
    clock,
    edge::explain::{ExplainedRequest, Explainer, Explanation},
};

/// The most bytes of a body: more than a request to the edge can have.
const MAX_BODY: usize = 64 << 10;
/// The most headers.
const MAX_HEADERS: usize = 100;

/// Explains the answer to a request.
pub(in crate::api) async fn explain_request(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    let request = read_request(&read_object(&read_body(body, MAX_BODY).await?)?)?;
    let explanation = explain(&context, &request)?;
    check_link_is_reached(&context, &explanation).await?;
    let text = serde_json::to_string(&explanation);
    let text = text.map_err(|error| Problem::new(ProblemKind::StoreFailing, error.to_string()))?;
    Ok(json_response(StatusCode::OK, text))
}

fn explain(context: &RequestContext, request: &ExplainedRequest) -> Result<Explanation, Problem> {
    let mut kept = context.state.explainer.borrow_mut();
    let explainer = match &mut *kept {
        Some(explainer) => explainer,
        none => none.insert(Explainer::new().map_err(|error| Problem::new(ProblemKind::StoreFailing, error))?),
    };
    Ok(explainer.explain(&context.state.edge.load(), request))
}

/// A key with bounds is told of the clicks on its own links alone.
async fn check_link_is_reached(context: &RequestContext, explanation: &Explanation) -> Result<(), Problem> {
    if context.key.bounds == KeyBounds::default() {
        return Ok(());
    }
    let (Some(domain), Some(link)) = (&explanation.domain, &explanation.link) else { return Err(Problem::not_found()) };
    let name = LinkName { domain: domain.clone(), code: link.code.clone() };
    find_link(context, &name).await?.reached().map(drop).ok_or_else(Problem::not_found)
}

fn read_request(object: &Map<String, Value>) -> Result<ExplainedRequest, Problem> {
    let mut errors = list_unknown_fields(object, &["url", "method", "headers", "at", "client"]);
    let given = |field: &str| object.get(field).filter(|value| !value.is_null());
    let text = |field: &str| given(field).map(|value| value.as_str().ok_or("is no text"));
    let url = text("url").unwrap_or(Err("is needed: the URL of the request, such as https://go.example.com/mug"));
    let method = text("method").unwrap_or(Ok("GET"));
    let headers = given("headers").map_or(Some(Vec::new()), read_headers);
    let headers = headers.ok_or("is no list of at most 100 pairs of texts, such as [[\"User-Agent\",\"curl/8\"]]");
    let at = text("at").map(|text| {
        let time = text.ok().and_then(|text| text.parse::<Timestamp>().ok());
        time.ok_or("is no time; allowed is RFC 3339, such as 2026-11-01T00:00:00Z")
    });
    let at = at.transpose();
    let client = text("client").map(|text| {
        let address = text.ok().and_then(|text| text.parse::<IpAddr>().ok());
        address.ok_or("is no address; allowed are those of IPv4 and IPv6, such as 203.0.113.7")
    });
    let client = client.transpose();
    let mut add_error = |field: &str, message: Option<&&str>| {
        errors.extend(message.map(|message| FieldError::in_body(field, *message)));
    };
    add_error("url", url.as_ref().err());
    add_error("method", method.as_ref().err());
    add_error("headers", headers.as_ref().err());
    add_error("at", at.as_ref().err());
    add_error("client", client.as_ref().err());
    let (Ok(url), Ok(method), Ok(headers), Ok(at), Ok(client), true) =
        (url, method, headers, at, client, errors.is_empty())
    else {
        return Err(Problem::of_errors(ProblemKind::Invalid, errors));
    };
    let at_ms = at.map_or_else(clock::wall_ms, |at| u64::try_from(at.as_millisecond()).unwrap_or(0));
    let described = ExplainedRequest::describe(url, method, headers, at_ms);
    let described = described.map_err(|invalid| {
        Problem::of_errors(ProblemKind::Invalid, vec![FieldError::in_body(invalid.part, invalid.message)])
    });
    Ok(described?.from_client(client))
}

/// Pairs of name and value; `None` if the value is no list of them.
fn read_headers(value: &Value) -> Option<Vec<(&str, &str)>> {
    let list = value.as_array().filter(|list| list.len() <= MAX_HEADERS)?;
    list.iter().map(read_header).collect()
}

fn read_header(pair: &Value) -> Option<(&str, &str)> {
    match pair.as_array()?.as_slice() {
        [name, value] => Some((name.as_str()?, value.as_str()?)),
        _ => None,
    }
}
