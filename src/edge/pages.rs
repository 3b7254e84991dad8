//! The small bodies: what a person sees where no redirect can go out. Prepared once; nothing is filled in at request time
//! but the way to the shop, which comes from the configuration.

use bytes::Bytes;
use http::HeaderValue;

/// A prepared body and its type.
#[derive(Clone, Debug)]
pub struct Page {
    /// `Content-Type`; `None` for an empty body.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Plain text.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLICK: HeaderValue = HeaderValue::from_static("application/vnd.waypost.click+json");

impl Page {
    /// No body at all.
    pub const fn empty() -> Page {
        Page { content_type: None, body: Bytes::new() }
    }

    /// A line of plain text.
    pub const fn text(line: &'static str) -> Page {
        Page { content_type: Some(TEXT), body: Bytes::from_static(line.as_bytes()) }
    }

    /// A JSON file.
    pub fn json(body: Bytes) -> Page {
        Page { content_type: Some(JSON), body }
    }

    /// The answer to an app's resolve (design §5).
    pub fn click(body: String) -> Page {
        Page { content_type: Some(CLICK), body: body.into() }
    }

    /// A page for a person, with a way on if the domain names one. `shop` was validated as an absolute URL when the
    /// configuration was read.
    pub fn html(title: &str, text: &str, shop: Option<&str>) -> Page {
        let way = shop.map_or(String::new(), |url| format!("<p><a href=\"{}\">Go to the shop</a></p>", escape(url)));
        let body = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:20vh auto;padding:0 1rem}}</style>\
             <h1>{title}</h1><p>{text}</p>{way}</html>"
        );
        Page { content_type: Some(HTML), body: body.into() }
    }
}

/// Escapes what could leave an attribute in double quotes.
fn escape(url: &str) -> String {
    url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
