//! Response bodies and their types: the small pages that a person sees where no redirect is possible, plain text and
//! JSON.

use bytes::Bytes;
use http::HeaderValue;

/// The media type by which an app asks for the click as JSON.
pub(super) const CLICK_JSON_TYPE: &str = "application/vnd.waypost.click+json";

/// A response body and its type.
#[derive(Clone, Debug)]
pub struct Page {
    /// `Content-Type`; `None` for an empty body.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Plain text.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLICK_JSON: HeaderValue = HeaderValue::from_static(CLICK_JSON_TYPE);

impl Page {
    /// An empty body.
    pub(super) const fn empty() -> Page {
        Page { content_type: None, body: Bytes::new() }
    }

    /// One line of plain text.
    pub(super) const fn text(line: &'static str) -> Page {
        Page { content_type: Some(TEXT), body: Bytes::from_static(line.as_bytes()) }
    }

    /// A JSON document.
    pub(super) fn json(body: Bytes) -> Page {
        Page { content_type: Some(JSON), body }
    }

    /// A click as JSON, for an app that resolves the link itself.
    pub(super) fn click_json(body: String) -> Page {
        Page { content_type: Some(CLICK_JSON), body: body.into() }
    }

    /// An HTML page, with a link to the shop if the domain has one. `shop_url` is an absolute URL, checked with the
    /// configuration.
    pub(super) fn html_from_escaped_texts_and_shop_url(
        title_html: &str,
        text_html: &str,
        shop_url: Option<&str>,
    ) -> Page {
        let shop_link = shop_url
            .map_or(String::new(), |url| format!("<p><a href=\"{}\">Go to the shop</a></p>", escape_attribute(url)));
        let body = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title_html}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:30rem;\
             margin:20vh auto;padding:0 1rem}}</style>\
             <h1>{title_html}</h1><p>{text_html}</p>{shop_link}</html>"
        );
        Page { content_type: Some(HTML), body: body.into() }
    }
}

/// Escapes a URL for an HTML attribute in double quotes.
fn escape_attribute(url: &str) -> String {
    url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
