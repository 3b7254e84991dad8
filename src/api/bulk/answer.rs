//! Answers to a bulk request: as a whole, or in parts while rows are applied.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use super::report::BulkReport;
use crate::api::http::{
    media_types::NDJSON,
    response::{ApiResponse, ResponseBody, response_of_type},
};

/// Parts of an answer that wait for the client.
pub(super) const WAITING_PARTS: usize = 4;

/// The answer to a request that is decided as a whole.
pub(super) fn answer_whole(text: String, report: &BulkReport) -> ApiResponse {
    let status = if report.refused > 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    response_of_type(status, NDJSON, ResponseBody::whole(text + &report.summary_line()))
}

/// Sends the last part of an answer.
pub(super) async fn send_end(parts: &mpsc::Sender<io::Result<Bytes>>, text: String) {
    // An error: the client has gone.
    let _ = parts.send(Ok(Bytes::from(text))).await;
}
