//! `GET /v1/links/{domain}/{code}/next-hop`: the short URL that leads a link's clicks on to another URL.

use http::StatusCode;
use serde_json::json;

use super::{qr_code::find_host, read::find_link};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::{ApiResponse, json_response},
        },
    },
    catalog::change::LinkName,
    clock,
};

/// Answers with the URL and who allows its next hop. Its signature is worth what a change of the link is, so it needs
/// the same scope.
pub(in crate::api) async fn write_next_hop_url(
    context: RequestContext,
    name: LinkName,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["url", "host"])?;
    check_client_accepts(&context.headers, JSON)?;
    let next_hop = query.get("url").ok_or_else(|| Problem::of_parameter("url", "is missing; name the URL"))?;
    let link = find_link(&context, &name).await?.reached().ok_or_else(Problem::not_found)?;
    let host = find_host(query.get("host"), &link.name.domain)?;
    let edge = context.state.edge.load();
    let domain = edge.domains().find_by_name(&link.name.domain).ok_or_else(Problem::not_found)?;
    let written = edge.write_next_hop_url(domain, link.name.code.as_bytes(), host, next_hop, clock::wall_ms());
    let written = written.ok_or_else(Problem::not_found)?;
    let written = written.map_err(|error| Problem::of_parameter("url", format!("is {next_hop:?}: {error}")))?;
    let answer = json!({ "url": written.url, "allowed_by": written.choice.as_str() });
    Ok(json_response(StatusCode::OK, answer.to_string()))
}
