//! The path of a route: literal segments, `{name}` for one whole segment, and `**` for the rest of the path.

use crate::uri::percent;

/// One segment of a route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatternSegment {
    /// This segment, decoded. Case counts.
    Literal(Box<[u8]>),
    /// Any segment, whose value the route can use by this name.
    Variable(Box<str>),
}

/// What `**` at the end of a route's path stands for: one segment or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternRest {
    /// Any segments.
    AnySegments,
    /// Segments of name and value, with this character between the two.
    Pairs(u8),
}

/// The path of a route.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    pub(super) segments: Vec<PatternSegment>,
    pub(super) rest: Option<PatternRest>,
}

/// The values in the path of a request, decoded once.
#[derive(Debug, Default)]
pub(super) struct PathValues<'p> {
    /// The values of `{name}`, in the order of the pattern.
    pub(super) variables: Vec<(&'p str, Vec<u8>)>,
    /// The pairs of `**`, in the order of the path.
    pub(super) pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The pair whose value is a URL: the slashes in it divide no pairs.
const DESTINATION_PAIR: &[u8] = b"destination";

impl PathPattern {
    /// Parses `path` of a route. `pair_separator` is the character of `pairs`.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse(path: &str, pair_separator: Option<u8>) -> Result<PathPattern, String> {
        let Some(inner) = path.strip_prefix('/') else {
            return Err(format!("is {path:?}; a path starts with /"));
        };
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut pattern = PathPattern { segments: Vec::new(), rest: None };
        if inner.is_empty() {
            return Ok(pattern);
        }
        let (segments, rest) = match inner.strip_suffix("**") {
            Some("") => ("", true),
            Some(front) if front.ends_with('/') => (&front[..front.len() - 1], true),
            _ => (inner, false),
        };
        if !segments.is_empty() {
            pattern.segments = segments.split('/').map(PatternSegment::parse).collect::<Result<_, String>>()?;
        }
        if let Some(name) = pattern.find_repeated_variable() {
            return Err(format!("has {{{name}}} twice; give each segment a name of its own"));
        }
        pattern.rest = match (rest, pair_separator) {
            (true, Some(separator)) => Some(PatternRest::Pairs(separator)),
            (true, None) => Some(PatternRest::AnySegments),
            (false, _) => None,
        };
        Ok(pattern)
    }

    /// Whether the pattern has a segment `{name}`.
    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.variables().any(|variable| variable == name)
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            PatternSegment::Variable(name) => Some(&**name),
            PatternSegment::Literal(_) => None,
        })
    }

    fn find_repeated_variable(&self) -> Option<&str> {
        let mut seen = Vec::new();
        self.variables().find(|name| {
            let is_repeated = seen.contains(name);
            seen.push(*name);
            is_repeated
        })
    }

    /// The values in the path of a request; `None` if the path has another shape. A slash at the end does not matter.
    pub(super) fn match_and_decode(&self, path: &[u8]) -> Option<PathValues<'_>> {
        let path = path.strip_prefix(b"/")?;
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let mut segments = path.split(|byte| *byte == b'/').filter(|_| !path.is_empty());
        let mut values = PathValues::default();
        for wanted in &self.segments {
            let segment = segments.next()?;
            match wanted {
                PatternSegment::Literal(literal) => {
                    if !percent::decode(segment).eq(literal.iter().copied()) {
                        return None;
                    }
                }
                PatternSegment::Variable(name) => values.variables.push((name, percent::decode(segment).collect())),
            }
        }
        let mut segments = segments.peekable();
        match self.rest {
            None if segments.peek().is_some() => return None,
            None => {}
            Some(_) if segments.peek().is_none() => return None,
            Some(PatternRest::AnySegments) => {}
            Some(PatternRest::Pairs(separator)) => values.pairs = split_pairs_before_url(segments, separator)?,
        }
        Some(values)
    }
}

/// The pairs of name and value in these segments, up to the first one whose value is a URL. `None` if a segment is no
/// pair.
fn split_pairs_before_url<'a>(
    segments: impl Iterator<Item = &'a [u8]>,
    separator: u8,
) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for segment in segments {
        let segment: Vec<u8> = percent::decode(segment).collect();
        let at = memchr::memchr(separator, &segment).filter(|at| *at > 0)?;
        let (name, value) = (&segment[..at], &segment[at + 1..]);
        let is_url = value.eq_ignore_ascii_case(b"https:") || value.eq_ignore_ascii_case(b"http:");
        if name.eq_ignore_ascii_case(DESTINATION_PAIR) || is_url {
            break;
        }
        pairs.push((name.to_vec(), value.to_vec()));
    }
    Some(pairs)
}

impl PatternSegment {
    fn parse(text: &str) -> Result<PatternSegment, String> {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_name_byte) {
                return Err(format!("has the segment {text:?}; allowed in braces are letters, digits, '_' and '-'"));
            }
            return Ok(PatternSegment::Variable(name.into()));
        }
        if text.is_empty() {
            return Err("has an empty segment; write one slash between two segments".to_owned());
        }
        let is_literal = |char: char| char.is_ascii_graphic() && !"{}*?#".contains(char);
        if !text.chars().all(is_literal) {
            return Err(format!(
                "has the segment {text:?}; allowed are plain text, {{name}} for a whole segment, and ** at the end"
            ));
        }
        Ok(PatternSegment::Literal(percent::decode(text.as_bytes()).collect()))
    }
}
