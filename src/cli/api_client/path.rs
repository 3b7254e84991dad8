//! Paths of the API with their parameters, encoded.

use std::fmt;

use url::form_urlencoded::byte_serialize;

use crate::{catalog::change::LinkName, uri::percent};

/// A path and its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ApiPath(String);

impl ApiPath {
    /// A path as it stands.
    pub(in crate::cli) fn new(path: &str) -> ApiPath {
        ApiPath(path.to_owned())
    }

    /// The path of a link.
    pub(in crate::cli) fn of_link(name: &LinkName) -> ApiPath {
        let links = ApiPath::new("/v1/links");
        // The domain `*` stands as it is.
        let domain = if name.domain == "*" { ApiPath(links.0 + "/*") } else { links.segment(&name.domain) };
        domain.segment(&name.code)
    }

    /// The path with one more segment, which may be any text.
    pub(in crate::cli) fn segment(self, text: &str) -> ApiPath {
        let mut path = self.0.into_bytes();
        path.push(b'/');
        percent::push_percent_encoded(text.bytes(), &mut path);
        // Percent-encoded bytes are ASCII.
        ApiPath(String::from_utf8(path).unwrap_or_default())
    }

    /// The path with one more parameter.
    pub(in crate::cli) fn parameter(self, name: &str, value: &str) -> ApiPath {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        let value: String = byte_serialize(value.as_bytes()).collect();
        ApiPath(format!("{}{separator}{name}={value}", self.0))
    }

    /// The path with a parameter, if there is a value.
    pub(in crate::cli) fn optional_parameter(self, name: &str, value: Option<&str>) -> ApiPath {
        match value {
            Some(value) => self.parameter(name, value),
            None => self,
        }
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stays_inside_its_segment_and_its_parameter() {
        let name = LinkName { domain: "*".to_owned(), code: "a/b?c d".to_owned() };
        let path = ApiPath::of_link(&name).segment("history").parameter("limit", "1&2");
        assert_eq!(path.parameter("x", "é").to_string(), "/v1/links/*/a%2Fb%3Fc%20d/history?limit=1%262&x=%C3%A9");
    }
}
