//! Short links: the host and the code in one text.

use crate::uri::percent;

/// Host and code, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShortLink<'a> {
    pub(super) host: &'a str,
    /// All that stands behind the host's slash.
    pub(super) code: &'a str,
}

impl<'a> ShortLink<'a> {
    /// Splits `https://host/code` or `host/code`.
    pub(super) fn split(text: &'a str) -> ShortLink<'a> {
        let text = text.trim();
        let without_scheme = match text.split_once("://") {
            Some((scheme, rest)) if is_web_scheme(scheme) => rest,
            _ => text,
        };
        let (host, code) = without_scheme.split_once('/').unwrap_or((without_scheme, ""));
        ShortLink { host, code }
    }

    /// Whether the code is this one, be it written plainly or percent-encoded.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.code == code || percent::decode(self.code.as_bytes()).eq(code.bytes())
    }
}

fn is_web_scheme(scheme: &str) -> bool {
    ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_link_splits_with_and_without_a_scheme() {
        for (text, host, code) in [
            ("links.example.net/abc", "links.example.net", "abc"),
            ("https://links.example.net/abc", "links.example.net", "abc"),
            ("HTTP://LINKS.example.net/abc", "LINKS.example.net", "abc"),
            ("links.example.net", "links.example.net", ""),
            ("https://links.example.net/a/b?c", "links.example.net", "a/b?c"),
            ("", "", ""),
        ] {
            assert_eq!(ShortLink::split(text), ShortLink { host, code }, "{text}");
        }
        assert!(ShortLink::split("https://a.example/s%E1%BB%9Bm").has_code("s\u{1edb}m"));
    }
}
