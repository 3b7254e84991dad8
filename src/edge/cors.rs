//! Requests of scripts in an app's web view, which belong to another origin than the links: only the origins in
//! `app_origins` of the domain may read the answer. No answer to them depends on a cookie, so credentials are not
//! allowed.

use http::{HeaderMap, Method, Request, StatusCode, header};

use crate::{
    edge::{
        answer::{Accounting, Answer, CorsHeaders, PreflightHeaders},
        pages::Page,
        snapshot::Edge,
        target::find_valid_host,
    },
    links::domains::Domain,
};

/// The headers for a request whose `Origin` the domain lists; `None` for every other request.
pub(super) fn headers_for_listed_origin(domain: &Domain, headers: &HeaderMap) -> Option<Box<CorsHeaders>> {
    if domain.app_origins.is_empty() {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    let allow_origin = domain.app_origins.iter().find(|listed| *listed == origin)?.clone();
    Some(Box::new(CorsHeaders { allow_origin, preflight: None }))
}

/// The answer to a preflight (`OPTIONS` with the method of the request that follows), if the host's domain lists the
/// origin.
#[cold]
pub(super) fn answer_preflight_of_listed_origin<B>(edge: &Edge, request: &Request<B>) -> Option<Answer> {
    let headers = request.headers();
    if *request.method() != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let domain = edge.domains.find_serving_host(find_valid_host(request)?)?;
    let mut cors = headers_for_listed_origin(domain, headers)?;
    let allow_headers = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    cors.preflight = Some(PreflightHeaders { allow_headers });
    let answer = Answer::with_page(StatusCode::NO_CONTENT, Page::empty(), Accounting::FixedPath);
    Some(Answer { cors: Some(cors), ..answer })
}
