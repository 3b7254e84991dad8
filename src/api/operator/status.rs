//! `GET /v1/status` and `GET /v1/rejected`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::{ApiResponse, json_response},
        },
        links::refusal::format_time,
        operator::suspensions::check_key_is_unbounded,
    },
    catalog::{LinkSource, topic::RejectedRecord},
};

/// Skipped records that are listed at most.
const MAX_REJECTED: usize = 1_000;

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
        LinkSource::Topic => "topic",
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

/// Answers with the newest records of the topic of links that were skipped. Other sources skip no records.
pub(in crate::api) async fn list_rejected_records(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_key_is_unbounded(&context)?;
    let rejected = match context.state.source {
        LinkSource::Topic => context.state.readers.read(|reader| reader.list_rejected_records(MAX_REJECTED)).await?,
        LinkSource::File | LinkSource::Store => Vec::new(),
    };
    let to_json = |record: &RejectedRecord| {
        json!({
            "offset": record.offset,
            "at": format_time(record.at_ms),
            "key": record.key,
            "reason": record.reason,
            "detail": record.detail,
        })
    };
    let items: Vec<Value> = rejected.iter().map(to_json).collect();
    Ok(json_response(StatusCode::OK, json!({"items": items, "next": null}).to_string()))
}
