//! `GET /v1/status` and `GET /v1/rejected`.

use http::StatusCode;
use serde_json::json;

use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::{ApiResponse, json_response},
        },
    },
    catalog::LinkSource,
};

/// Answers with the state of the catalog.
pub(in crate::api) async fn read_status(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    let read = |reader: &crate::catalog::query::CatalogReader| {
        Ok((reader.version()?, reader.latest_position()?, reader.frozen_reason()?))
    };
    let (version, position, frozen) = context.state.readers.read(read).await?;
    let source = match context.state.source {
        LinkSource::File => "file",
        LinkSource::Store => "store",
    };
    let status = json!({
        "version": version,
        "position": position,
        "links": context.state.edge.load().link_count(),
        "source": source,
        "frozen": frozen,
        "build": env!("CARGO_PKG_VERSION"),
    });
    Ok(json_response(StatusCode::OK, status.to_string()))
}

/// Answers with the records of a topic that were refused. No source of this build refuses records one by one.
pub(in crate::api) fn list_rejected_records(context: &RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    Ok(json_response(StatusCode::OK, json!({"items": [], "next": null}).to_string()))
}
