//! The answer to a request head that is too large. Nearly always cookies of the site made it so, and until the buyer
//! deletes them no link works: so the answer is a page that says this.
//!
//! hyper and h2 answer such a head by themselves and with an empty body. Over HTTP/1.1 the page is put into hyper's
//! answer on its way to the socket. Over HTTP/2 the library is given a larger limit, and the connection answers.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

/// The most header fields of a request. Over HTTP/1.1 it is hyper's own bound; over HTTP/2 a field that repeats costs a
/// byte on the wire and some seventy in memory.
const MAX_HEADER_FIELDS: usize = 100;

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Too many cookies</title>\
    <style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:20vh auto;padding:0 1rem}</style>\
    <h1>Too many cookies</h1><p>Your browser sent more data than this site accepts. Cookies of this site are the \
    usual reason. Delete the cookies of this site in the settings of your browser or app, then open the link again. \
    A private window works too.</p></html>";

/// How hyper's answer to a head above its limit begins.
const HYPER_STATUS_LINE: &[u8] = b"HTTP/1.1 431 ";

/// Where hyper's answer to a head above its limit begins in the bytes that it writes.
pub(super) fn find_hyper_answer(written: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(written, HYPER_STATUS_LINE)
}

/// hyper's answer to a head above its limit, with the page as its body.
pub(super) fn add_page_to_hyper_answer(answer: &[u8]) -> Vec<u8> {
    let mut with_page = Vec::with_capacity(answer.len() + 128 + PAGE.len());
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        let is_length = line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"));
        if line != b"\r\n" && !is_length {
            with_page.extend_from_slice(line);
        }
    }
    let length = PAGE.len();
    with_page.extend_from_slice(
        format!(
            "content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n"
        )
        .as_bytes(),
    );
    with_page.extend_from_slice(PAGE.as_bytes());
    with_page
}

/// Whether the head of an HTTP/2 request has more fields or bytes than allowed.
pub(super) fn is_http2_head_too_large<B>(request: &Request<B>, max_header_bytes: usize) -> bool {
    let headers = request.headers();
    if headers.len() > MAX_HEADER_FIELDS {
        return true;
    }
    let target_len = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields_len: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    target_len + fields_len > max_header_bytes
}

/// The answer to an HTTP/2 request whose head is too large.
#[cold]
pub(super) fn http2_answer() -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(PAGE.as_bytes())));
    *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_put_into_hypers_answer() {
        let hyper = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
            date: Mon, 30 Nov 2026 00:00:00 GMT\r\n\r\n";
        let earlier = [&b"HTTP/1.1 302 Found\r\n\r\n"[..], hyper].concat();
        assert_eq!((find_hyper_answer(hyper), find_hyper_answer(&earlier)), (Some(0), Some(22)));
        assert_eq!(find_hyper_answer(&earlier[..22]), None);
        let answer = String::from_utf8(add_page_to_hyper_answer(hyper)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ndate: "),
            "{head}"
        );
        assert!(head.ends_with(&format!("cache-control: no-store\r\ncontent-length: {}", body.len())), "{head}");
        assert_eq!(body, PAGE);
    }

    #[test]
    fn an_http2_head_is_bounded_by_its_fields_and_its_bytes() {
        let with = |fields: usize, value: usize| {
            let mut request = Request::builder().uri("/live");
            for _ in 0..fields {
                request = request.header("a", "x".repeat(value));
            }
            request.body(()).unwrap()
        };
        assert!(!is_http2_head_too_large(&with(100, 0), 8192) && is_http2_head_too_large(&with(101, 0), 8192));
        assert!(!is_http2_head_too_large(&with(1, 8186), 8192) && is_http2_head_too_large(&with(1, 8187), 8192));
    }
}
