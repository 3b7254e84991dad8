//! `GET /v1/links/{domain}/{code}/qr`: the QR code of a link.

use std::ops::RangeInclusive;

use http::StatusCode;

use super::read::find_link;
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::check_client_accepts,
            problem::Problem,
            response::{ApiResponse, ResponseBody, response_of_type},
        },
    },
    catalog::change::LinkName,
    links::qr_code::{DEFAULT_SIZE_PX, ErrorCorrection, QrFormat, QrImage, SIZE_BOUNDS_PX, ScanSub, url_to_scan},
    uri::host::find_valid_host_of_authority,
};

const SIZES: RangeInclusive<u64> = *SIZE_BOUNDS_PX.start() as u64..=*SIZE_BOUNDS_PX.end() as u64;

/// Answers with the image.
pub(in crate::api) async fn draw_qr_code(context: RequestContext, name: LinkName) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["format", "error_correction", "size", "sub", "host"])?;
    let format = query.word("format", QrFormat::ALL.map(|format| (format.as_str(), format)))?;
    let format = format.unwrap_or(QrFormat::Svg);
    check_client_accepts(&context.headers, format.media_type())?;
    let levels = ErrorCorrection::ALL.map(|level| (level.as_str(), level));
    let error_correction = query.word("error_correction", levels)?.unwrap_or(ErrorCorrection::Medium);
    let size = query.number("size", SIZES, u64::from(DEFAULT_SIZE_PX))?;
    let sub = query.word("sub", ScanSub::ALL.map(|sub| (sub.as_str(), sub)))?.unwrap_or(ScanSub::Sub1);
    let link = find_link(&context, &name).await?.reached().ok_or_else(Problem::not_found)?;
    let host = find_host(query.get("host"), &link.name.domain)?;
    let image = QrImage { format, error_correction, size_px: u32::try_from(size).unwrap_or(DEFAULT_SIZE_PX) };
    let edge = context.state.edge.load();
    let domain = edge.domains().find_by_name(&link.name.domain).ok_or_else(Problem::not_found)?;
    let url = url_to_scan(host, &link.name.code, sub, domain.sub_names.iter());
    let url = url.map_err(|error| Problem::of_parameter("sub", error))?;
    let drawn = image.draw(&url);
    let bytes = drawn.map_err(|error| Problem::of_parameter("size", error))?;
    Ok(response_of_type(StatusCode::OK, format.media_type(), ResponseBody::whole(bytes)))
}

/// The host of the URL in the code. Links of the domain `*` have none of their own.
pub(super) fn find_host<'a>(given: Option<&'a str>, domain: &'a str) -> Result<&'a str, Problem> {
    let host = match given {
        Some(host) => host,
        None if domain == "*" => {
            return Err(Problem::of_parameter(
                "host",
                "is missing; links of the domain * are on every host, so name one",
            ));
        }
        None => domain,
    };
    find_valid_host_of_authority(host.as_bytes())
        .map(|_| host)
        .ok_or_else(|| Problem::of_parameter("host", format!("is {host:?}; allowed is a host, such as go.example.com")))
}
