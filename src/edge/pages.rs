//! Response bodies and their types: the small pages that a person sees where no redirect is possible, plain text and
//! JSON.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// The media type by which an app asks for the click as JSON.
pub(super) const CLICK_JSON_TYPE: &str = "application/vnd.waypost.click+json";

/// A response body and its type.
#[derive(Clone, Debug)]
pub struct Page {
    /// `Content-Type`; `None` for an empty body.
    pub content_type: Option<HeaderValue>,
    /// `Content-Security-Policy`
    pub content_security_policy: Option<&'static HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// The style of the pages without detail, in the size of a small page: strangers who try codes get thousands of them.
/// Text and links have a contrast of 7 or more, light and dark (WCAG 2.2, AAA). A link is at least 48 pixels high, as a
/// finger needs it.
macro_rules! plain_style {
    () => {
        ":root{color-scheme:light dark;--back:#fff;--text:#1b1b1f;--link:#0842a0}\
         @media(prefers-color-scheme:dark){:root{--back:#131316;--text:#ececf0;--link:#a8c7fa}}\
         body{background:var(--back);color:var(--text);font:1.1rem/1.5 system-ui,sans-serif;max-width:30rem;\
         margin:12vh auto;padding:0 1rem;overflow-wrap:anywhere}\
         a{display:block;padding:.75rem 1rem;color:var(--link);border-radius:.6rem;border:1px solid;text-align:center}\
         a:focus-visible{outline:3px solid}"
    };
}
const PLAIN_STYLE: &str = plain_style!();

/// The style of the pages that lead on or tell about a link. `#open` is the link to tap first. Lines of Korean break
/// between words, and titles in Japanese between phrases, in browsers that can.
pub(super) const STYLE: &str = concat!(
    plain_style!(),
    "body{line-break:strict;text-wrap:pretty}h1{font-size:1.6rem;line-height:1.25;text-wrap:balance}\
     :lang(ko){word-break:keep-all}:lang(ja) h1{word-break:auto-phrase}\
     dt{font-size:.9rem;color:#4a4a52}dd{margin:0 0 .8rem}@media(prefers-color-scheme:dark){dt{color:#b9b9c2}}\
     a{margin:1rem 0}a:focus-visible{outline-offset:2px}\
     #open{background:var(--link);border-color:var(--link);color:var(--back);text-decoration:none}\
     #open:focus-visible{outline-color:var(--text)}"
);

/// Only [`STYLE`] has an effect.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| build_content_security_policy(STYLE, None));

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Plain text.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLICK_JSON: HeaderValue = HeaderValue::from_static(CLICK_JSON_TYPE);

impl Page {
    /// An empty body.
    pub(super) const fn empty() -> Page {
        Page::without_policy(None, Bytes::new())
    }

    /// One line of plain text.
    pub(super) const fn text(line: &'static str) -> Page {
        Page::without_policy(Some(TEXT), Bytes::from_static(line.as_bytes()))
    }

    /// A JSON document.
    pub(super) fn json(body: Bytes) -> Page {
        Page::without_policy(Some(JSON), body)
    }

    /// A click as JSON, for an app that resolves the link itself.
    pub(super) fn click_json(body: String) -> Page {
        Page::without_policy(Some(CLICK_JSON), body.into())
    }

    /// An HTML page, with a link to the shop if the domain has one. `shop_url` is an absolute URL, checked with the
    /// configuration.
    pub(super) fn html_from_escaped_texts_and_shop_url(
        title_html: &str,
        text_html: &str,
        shop_url: Option<&str>,
    ) -> Page {
        let shop_link =
            shop_url.map_or(String::new(), |url| format!("<a href=\"{}\">Go to the shop</a>", escape_html(url)));
        let body_html = format!("<h1>{title_html}</h1><p>{text_html}</p>{shop_link}");
        Page::without_policy(Some(HTML), build_html(title_html, &body_html, "", PLAIN_STYLE).into())
    }

    /// A whole HTML document with its policy.
    pub(super) fn html_with_policy(html: String, policy: &'static HeaderValue) -> Page {
        Page { content_security_policy: Some(policy), ..Page::without_policy(Some(HTML), html.into()) }
    }

    /// An HTML page that loads nothing, runs nothing and is in no index. Its parts are HTML already.
    pub(super) fn html_with_strict_policy(title_html: &str, body_html: &str) -> Page {
        let html = build_html(title_html, body_html, "<meta name=\"robots\" content=\"noindex\">", STYLE);
        Page::html_with_policy(html, &CONTENT_SECURITY_POLICY)
    }

    const fn without_policy(content_type: Option<HeaderValue>, body: Bytes) -> Page {
        Page { content_type, content_security_policy: None, body }
    }

    /// A plain text.
    pub(super) const fn plain_text(body: Bytes) -> Page {
        Page::without_policy(Some(TEXT), body)
    }
}

/// The policy of a page in which one style and at most one script have an effect, and which loads nothing.
pub(super) fn build_content_security_policy(style: &str, script: Option<&str>) -> HeaderValue {
    let hash_of = |text: &str| STANDARD.encode(Sha256::digest(text));
    let script = script.map_or(String::new(), |script| format!(" script-src 'sha256-{}';", hash_of(script)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}';{script} base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash_of(style)
    );
    // Letters, digits and signs of ASCII alone, so the default is never used.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn build_html(title_html: &str, body_html: &str, head_html: &str, style: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{head_html}\
         <title>{title_html}</title><style>{style}</style></head><body><main>{body_html}</main></body></html>"
    )
}

/// Escapes a text for HTML, in an element or in an attribute in double quotes.
pub(super) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
