//! `GET /v1/export`: every record, one a line, as a links file has them.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{NDJSON, check_client_accepts},
            problem::Problem,
            response::{ApiResponse, ResponseBody, response_of_type},
        },
        reach::filters_of_bounds,
    },
    catalog::{
        change::LinkName,
        query::{LinkFilter, VersionedLink},
    },
};

/// Links that are read at once.
const LINKS_PER_PAGE: usize = 1000;
/// Pages that wait for the client.
const WAITING_PAGES: usize = 2;

/// Answers with the records, ordered by domain and code. Each link is as it was at some time of the export.
pub(in crate::api) async fn export_links(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, NDJSON)?;
    let first = read_page(&context, None).await?;
    let (pages, received) = mpsc::channel(WAITING_PAGES);
    tokio::task::spawn_local(async move {
        let mut page = first;
        loop {
            let text: String = page.iter().flat_map(|link| [link.record.as_str(), "\n"]).collect();
            // An error: the client has gone.
            if !text.is_empty() && pages.send(Ok(Bytes::from(text))).await.is_err() {
                return;
            }
            let Some(last) = page.last().filter(|_| page.len() == LINKS_PER_PAGE) else { return };
            match read_page(&context, Some(last.name.clone())).await {
                Ok(next) => page = next,
                Err(_) => {
                    // An error: the client has gone.
                    let _ = pages.send(Err(io::Error::other("the catalog cannot be read"))).await;
                    return;
                }
            }
        }
    });
    Ok(response_of_type(StatusCode::OK, NDJSON, ResponseBody::Parts(received)))
}

async fn read_page(context: &RequestContext, after: Option<LinkName>) -> Result<Vec<VersionedLink>, Problem> {
    let filter = LinkFilter { any_of: filters_of_bounds(&context.key.bounds), ..LinkFilter::default() };
    let read =
        move |reader: &crate::catalog::query::CatalogReader| reader.list_links(&filter, after.as_ref(), LINKS_PER_PAGE);
    context.state.readers.read(read).await
}
