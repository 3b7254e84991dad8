//! Repairs a path whose code has something glued to it: by autolinkers that take a bracket, a full stop or the next
//! word of a language without spaces into the link, by chats that encode a `?`, by people. Looked at only after the
//! requested code was not found.

use crate::{
    model::code,
    uri::{percent, query},
};

/// A code in a path that holds more than the code, and the query that the path holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RepairedPath {
    /// The only run of characters that a code can have.
    pub(super) code: Vec<u8>,
    /// What stands behind `&`, `;` or an encoded `?`.
    pub(super) query: Vec<u8>,
}

/// A character of a path, decoded, and where the path goes on behind it.
#[derive(Clone, Copy)]
struct PathChar {
    char: char,
    is_escaped: bool,
    end: usize,
}

impl RepairedPath {
    /// Finds the code in a path. `None` if the path is a code already, if a second run of a code's characters follows
    /// (`/CODE/more` is another path), if a dot stands in front (`/../CODE`), or if the path is no text.
    pub(super) fn find(path: &[u8]) -> Option<RepairedPath> {
        if path.iter().skip(1).all(|byte| code::is_code_byte(*byte)) {
            return None;
        }
        let chars = decode_chars(path)?;
        let is_code = |at: &PathChar| at.char.is_ascii() && code::is_code_byte(at.char as u8);
        let begin = chars.iter().position(is_code)?;
        let end = chars[begin..].iter().position(|at| !is_code(at)).map_or(chars.len(), |len| begin + len);
        if chars[..begin].iter().any(|at| at.char == '.') || end - begin > code::MAX {
            return None;
        }
        let code = chars[begin..end].iter().map(|at| at.char as u8).collect();
        for at in &chars[end..] {
            match at.char {
                '&' | ';' | '?' => return Some(RepairedPath { code, query: query_behind(path, *at) }),
                _ if is_code(at) => return None,
                _ => {}
            }
        }
        Some(RepairedPath { code, query: Vec::new() })
    }

    /// The query of the path, and the query behind it.
    pub(super) fn into_query_before(self, query: &[u8]) -> Vec<u8> {
        let mut all = self.query;
        if !all.is_empty() && !query.is_empty() {
            all.push(b'&');
        }
        all.extend_from_slice(query);
        all
    }
}

/// The characters of a path, decoded once. `None` if it is not UTF-8, or holds a control character that no program
/// leaves behind a link.
fn decode_chars(path: &[u8]) -> Option<Vec<PathChar>> {
    let mut bytes = Vec::with_capacity(path.len());
    // For each decoded byte: whether an escape stood there, and where the path goes on.
    let mut places = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let is_escaped = percent::starts_with_escape(&path[at..]);
        let len = if is_escaped { 3 } else { 1 };
        bytes.extend(percent::decode(&path[at..at + len]));
        at += len;
        places.push((is_escaped, at));
    }
    let text = str::from_utf8(&bytes).ok()?;
    let is_allowed = |char: char| !char.is_control() || matches!(char, '\t' | '\n' | '\r');
    text.char_indices()
        .map(|(index, char)| {
            let (is_escaped, end) = places[index + char.len_utf8() - 1];
            is_allowed(char).then_some(PathChar { char, is_escaped, end })
        })
        .collect()
}

/// The query behind a separator in a path. Where an encoder took a whole link for plain text, the query is encoded once
/// more than it was: it holds no `=`. The entity of a character that was glued (`&quot;`) is no query.
fn query_behind(path: &[u8], separator: PathChar) -> Vec<u8> {
    let rest = &path[separator.end..];
    let is_entity =
        rest.strip_suffix(b";").is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_alphabetic));
    if separator.char == '&' && is_entity {
        return Vec::new();
    }
    let mut query: Vec<u8> = match separator.is_escaped && memchr::memchr(b'=', rest).is_none() {
        true => percent::decode(rest).collect(),
        false => rest.to_vec(),
    };
    if separator.char == ';' {
        query.iter_mut().filter(|byte| **byte == b';').for_each(|byte| *byte = b'&');
    }
    // A path ends with what was glued to it: `/CODE&`.
    let is_empty = query::split_into_pairs(&query).all(|pair| pair.whole.is_empty());
    if is_empty { Vec::new() } else { query }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repaired(path: &str) -> Option<(String, String)> {
        let found = RepairedPath::find(path.as_bytes())?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Some((text(found.code), text(found.query)))
    }

    #[test]
    fn what_is_glued_to_a_code_is_dropped() {
        for path in [
            "/live/",
            "//live",
            "/live)",
            "/(live)",
            "/live.",
            "/live,",
            "/live!",
            "/live%22",
            "/%22live%22",
            "/live'",
            "/live%20",
            "/%20live",
            "/live%0A",
            "/live%0D%0A",
            "/live%09",
            "/live%3E",
            "/live%5D",
            "/live*",
            "/live...",
            "/live%E2%80%8B",
            "/%E2%80%8Blive",
            "/%EF%BB%BFlive",
            "/live%EF%BC%89",
            "/%EF%BC%88live%EF%BC%89",
            "/live%E3%80%82",
            "/live\u{3002}",
            "/live%EB%A5%BC",
            "/live%C2%A0",
            "/%2Flive",
            "/live&",
            "/live;",
            "/live%3F",
            "/live&quot;",
            "/live&gt;",
            "/live:",
            "/live%7D",
        ] {
            assert_eq!(repaired(path), Some(("live".into(), String::new())), "{path}");
        }
    }

    #[test]
    fn what_follows_a_separator_is_the_query() {
        for (path, query) in [
            ("/live&sub1=x", "sub1=x"),
            ("/live;x", "x"),
            ("/live;a=1;b=2", "a=1&b=2"),
            ("/live%3Fsub1=x", "sub1=x"),
            ("/live%3fsub1=a%20b&c=d", "sub1=a%20b&c=d"),
            ("/live%3Fsub1%3Dx%26cons%3D0", "sub1=x&cons=0"),
            ("/live%26sub1=x", "sub1=x"),
            ("/live&amp;sub1=x", "amp;sub1=x"),
            ("/live/&sub1=x", "sub1=x"),
            ("/live)%3Fsub1=x", "sub1=x"),
        ] {
            assert_eq!(repaired(path), Some(("live".into(), query.into())), "{path}");
        }
        let found = RepairedPath::find(b"/live&sub1=x").unwrap();
        assert_eq!(found.into_query_before(b"a=b"), b"sub1=x&a=b");
        assert_eq!(RepairedPath::find(b"/live/").unwrap().into_query_before(b"a=b"), b"a=b");
    }

    #[test]
    fn another_path_stays_unknown() {
        let long = format!("/{}/", "a".repeat(65));
        for path in [
            "/live",
            "/",
            "//",
            "/live/more",
            "/live.html",
            "/a/live",
            "/./live",
            "/../live",
            "/%2e%2e/live",
            "/.live",
            "/live%00",
            "/%C0%AFlive",
            "/live%6",
            "/li+ve",
            "/live%0D%0AX:%20y",
            &long,
            "/%E2%80%8B",
        ] {
            assert_eq!(repaired(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(path in "/[ -~\u{200b}\u{ac00}]{0,60}") {
            if let Some(found) = RepairedPath::find(path.as_bytes()) {
                prop_assert!((1..=code::MAX).contains(&found.code.len()));
                prop_assert!(found.code.iter().all(|byte| code::is_code_byte(*byte)));
                prop_assert!(found.query.len() <= path.len());
            }
        }
    }
}
