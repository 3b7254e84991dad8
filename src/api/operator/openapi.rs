//! `GET /v1/openapi.json`: the description of the API, as the repository has it.

use http::StatusCode;

use crate::api::{
    context::RequestContext,
    http::{
        media_types::{JSON, check_client_accepts},
        problem::Problem,
        response::{ApiResponse, json_response},
    },
};

const OPENAPI: &str = include_str!("../../../deploy/schemas/openapi.json");

/// Answers with the OpenAPI file of this build.
pub(in crate::api) fn read_openapi(context: &RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    Ok(json_response(StatusCode::OK, OPENAPI))
}
