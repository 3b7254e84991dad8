//! `GET /v1/links/{domain}/{code}`.

use http::{HeaderValue, StatusCode, header};

use crate::{
    api::{
        context::RequestContext,
        http::{
            conditions::{Conditions, etag_of_version},
            media_types::{JSON, check_client_accepts},
            problem::Problem,
            response::{ApiResponse, empty_response, json_response},
        },
        reach::is_record_in_bounds,
    },
    catalog::{change::LinkName, query::VersionedLink},
};

/// Answers with the record and its version.
pub(in crate::api) async fn read_link(context: RequestContext, name: LinkName) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    let conditions = Conditions::of_headers(&context.headers)?;
    let link = find_link(&context, &name).await?.reached().ok_or_else(Problem::not_found)?;
    let is_known = conditions.if_none_match.is_some_and(|versions| versions.contain(Some(link.version)));
    if is_known {
        let response = empty_response(StatusCode::NOT_MODIFIED);
        return Ok(with_version_to_revalidate(response, link.version));
    }
    Ok(with_version_to_revalidate(json_response(StatusCode::OK, link.record), link.version))
}

fn with_version_to_revalidate(mut response: ApiResponse, version: u64) -> ApiResponse {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag_of_version(version));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// What stands at the address of a link.
pub(in crate::api) enum LinkAtAddress {
    Absent,
    /// Outside the bounds of the key.
    OutOfReach,
    Reached(VersionedLink),
}

impl LinkAtAddress {
    /// The link, if the key reaches it.
    pub(in crate::api) fn reached(self) -> Option<VersionedLink> {
        if let LinkAtAddress::Reached(link) = self { Some(link) } else { None }
    }

    /// The link, or none where a new one can be.
    ///
    /// # Errors
    /// A link that the key does not reach has the address.
    pub(in crate::api) fn reached_or_absent(self) -> Result<Option<VersionedLink>, Problem> {
        match self {
            LinkAtAddress::Absent => Ok(None),
            LinkAtAddress::OutOfReach => Err(Problem::not_found()),
            LinkAtAddress::Reached(link) => Ok(Some(link)),
        }
    }
}

/// Finds the link of a name.
///
/// # Errors
/// The catalog cannot be read.
pub(in crate::api) async fn find_link(context: &RequestContext, name: &LinkName) -> Result<LinkAtAddress, Problem> {
    let Some(name) = context.state.canonical_name(name) else { return Ok(LinkAtAddress::Absent) };
    let found = context.state.readers.read(move |reader| reader.find_link(&name)).await?;
    Ok(match found {
        None => LinkAtAddress::Absent,
        Some(link) if is_record_in_bounds(&context.key.bounds, &link.name, &link.record) => {
            LinkAtAddress::Reached(link)
        }
        Some(_) => LinkAtAddress::OutOfReach,
    })
}
