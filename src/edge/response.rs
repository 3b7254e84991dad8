//! From an answer to an HTTP response.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Body;

use crate::edge::answer::{Answer, CorsHeaders};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE_NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");
const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const GET_HEAD: HeaderValue = HeaderValue::from_static("GET, HEAD");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
/// How long a browser may keep the answer to a preflight: two hours, the most that Chromium takes.
const PREFLIGHT_MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("7200");
/// A `Retry-After` of 503, seconds: room in the journal comes soon, and a prefetch is made again at the tap.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// The largest map of a request that its response takes over, fields.
const MAX_REUSED_CAPACITY: usize = 100;
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Builds the response of an answer in the request's own header map, so that no map is allocated. The request's body is
/// never read: an HTTP/1 connection whose request has one is closed.
pub(super) fn build_response_reusing_request_headers<B: Body>(
    answer: Answer,
    mut request: Request<B>,
) -> Response<Full<Bytes>> {
    // An HTTP/2 stream with an unread body is reset alone; HTTP/2 has no `Connection` header (RFC 9113 §8.2.2).
    let closes_connection = !request.body().is_end_stream() && request.version() != Version::HTTP_2;
    let mut headers = std::mem::take(request.headers_mut());
    headers.clear();
    if headers.capacity() > MAX_REUSED_CAPACITY {
        // An answer that its client does not read keeps its map.
        headers = HeaderMap::new();
    }
    let status = answer.status;
    let body = insert_headers_and_take_body(answer, &mut headers);
    if closes_connection {
        headers.insert(header::CONNECTION, CLOSE);
    }
    if *request.method() == Method::HEAD && status != StatusCode::NO_CONTENT {
        // hyper adds the length of a GET's body, not of a HEAD's (RFC 9110 §8.6 wants the GET's; a 204 has none).
        headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Moves an answer's headers into the map, and returns its body.
fn insert_headers_and_take_body(answer: Answer, headers: &mut HeaderMap) -> Bytes {
    match answer.redirect {
        Some(redirect) => {
            headers.insert(header::LOCATION, redirect.location);
            headers.insert(header::CACHE_CONTROL, PRIVATE_NO_STORE);
            headers.insert(header::REFERRER_POLICY, redirect.referrer_policy);
            headers.insert(X_ROBOTS_TAG, NO_INDEX);
        }
        None => {
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        }
    }
    if let Some(cookie) = answer.set_cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    if let Some(hsts) = answer.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    if let Some(content_type) = answer.page.content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(policy) = answer.page.content_security_policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    if let Some(cors) = answer.cors {
        insert_cors_headers(*cors, headers);
    }
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, GET_HEAD);
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        _ => {}
    }
    answer.page.body
}

#[cold]
fn insert_cors_headers(cors: CorsHeaders, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, cors.allow_origin);
    headers.insert(header::VARY, ORIGIN);
    if let Some(preflight) = cors.preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, GET_HEAD);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_SECONDS);
        if let Some(allow_headers) = preflight.allow_headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allow_headers);
        }
    }
}
