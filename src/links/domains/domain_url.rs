//! A URL that requests for a host are redirected to. It may hold `{code}` in a segment of its path or in a value of its
//! query: what a person asked for reaches the page that explains why there is no link.

use http::HeaderValue;
use url::{Position, Url};

use crate::{links::destination::policy, uri::percent};

/// A URL of a domain, checked and in its normal form.
#[derive(Clone, Debug)]
pub struct DomainUrl {
    /// The URL without its places for the code.
    header: HeaderValue,
    /// Where the code belongs, in the order of the URL; empty for nearly every URL.
    code_places: Box<[CodePlace]>,
}

/// A place for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CodePlace {
    /// Bytes of the URL without codes.
    offset: usize,
    is_in_path: bool,
}

const PLACEHOLDER: &str = "{code}";

impl DomainUrl {
    /// Checks a URL as it is written.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn check_and_build(written: &str) -> Result<DomainUrl, String> {
        // Letters and digits alone, which normalisation leaves as they are.
        let mut mark = "Wp0Code".to_owned();
        while written.contains(&mark) {
            mark.push('Q');
        }
        let marked = written.replace(PLACEHOLDER, &mark);
        if marked.contains(['{', '}']) {
            return Err("has a placeholder other than {code}; this URL is used as it stands".to_owned());
        }
        let normal = policy::check_and_normalize_web_url(&marked).map_err(|error| error.to_string())?;
        let (text, code_places) = remove_marks_and_check_places(&normal, &mark)?;
        if code_places.len() != written.matches(PLACEHOLDER).count() {
            return Err(MISPLACED.to_owned());
        }
        let header = HeaderValue::try_from(text).map_err(|error| error.to_string())?;
        Ok(DomainUrl { header, code_places: code_places.into() })
    }

    /// The URL, if it has no place for a code.
    pub fn as_constant_header(&self) -> Option<&HeaderValue> {
        self.code_places.is_empty().then_some(&self.header)
    }

    /// Appends the URL with this code, which may be any bytes. They stay inside their segment or parameter. A code of
    /// dots alone is left out of a path: such a segment would lead to a parent directory.
    pub fn append_with_code(&self, code: &[u8], out: &mut Vec<u8>) {
        let url = self.header.as_bytes();
        let mut from = 0;
        for place in &self.code_places {
            out.extend_from_slice(&url[from..place.offset]);
            from = place.offset;
            if !(place.is_in_path && code.iter().all(|byte| *byte == b'.')) {
                percent::push_percent_encoded(code.iter().copied(), out);
            }
        }
        out.extend_from_slice(&url[from..]);
    }

    /// The URL with this code as a header value.
    pub fn to_header_with_code(&self, code: &[u8]) -> Option<HeaderValue> {
        if let Some(constant) = self.as_constant_header() {
            return Some(constant.clone());
        }
        let mut url = Vec::new();
        self.append_with_code(code, &mut url);
        HeaderValue::from_bytes(&url).ok()
    }
}

const MISPLACED: &str = "has {code} in scheme, host, port, fragment or a parameter's name; {code} may stand in a \
                         segment of the path and in a parameter's value";

/// The URL without its marks, and where each of them stood.
fn remove_marks_and_check_places(normal: &str, mark: &str) -> Result<(String, Vec<CodePlace>), String> {
    let url = Url::parse(normal).map_err(|error| error.to_string())?;
    let path = url[..Position::BeforePath].len()..url[..Position::AfterPath].len();
    let query_end = url[..Position::AfterQuery].len();
    let (mut text, mut places) = (String::with_capacity(normal.len()), Vec::new());
    let mut from = 0;
    while let Some(at) = normal[from..].find(mark).map(|at| from + at) {
        let is_in_path = path.contains(&at);
        let parameter = normal[path.end..at.max(path.end)].rsplit(['?', '&']).next().unwrap_or_default();
        let is_in_value = (path.end..query_end).contains(&at) && parameter.contains('=');
        if !is_in_path && !is_in_value {
            return Err(MISPLACED.to_owned());
        }
        text.push_str(&normal[from..at]);
        places.push(CodePlace { offset: text.len(), is_in_path });
        from = at + mark.len();
    }
    text.push_str(&normal[from..]);
    Ok((text, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(written: &str, code: &str) -> String {
        let url = DomainUrl::check_and_build(written).unwrap();
        url.to_header_with_code(code.as_bytes()).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_code_stays_inside_its_segment_and_its_value() {
        for (written, code, expected) in [
            ("https://shop.example.com/404", "x", "https://shop.example.com/404"),
            (
                "https://shop.example.com/gone/{code}?c={code}#top",
                "a-B_1",
                "https://shop.example.com/gone/a-B_1?c=a-B_1#top",
            ),
            ("https://shop.example.com/{code}/x", "a/../b?c#d", "https://shop.example.com/a%2F..%2Fb%3Fc%23d/x"),
            (
                "https://shop.example.com/?c=1{code}2&d=3",
                "\u{e9}&d=4",
                "https://shop.example.com/?c=1%C3%A9%26d%3D42&d=3",
            ),
            ("https://shop.example.com/{code}", "..", "https://shop.example.com/"),
            ("https://shop.example.com/?c={code}", "..", "https://shop.example.com/?c=.."),
        ] {
            assert_eq!(rendered(written, code), expected, "{written} {code}");
        }
    }

    #[test]
    fn a_code_stands_nowhere_else() {
        for written in [
            "https://{code}.example.com/",
            "https://shop.example.com:{code}/",
            "{code}://shop.example.com/",
            "https://shop.example.com/?{code}=1",
            "https://shop.example.com/?{code}",
            "https://shop.example.com/#{code}",
            "https://shop.example.com/{creator}",
            "https://shop.example.com/{code",
            "https://{code}@shop.example.com/",
        ] {
            assert!(DomainUrl::check_and_build(written).is_err(), "{written}");
        }
    }
}
