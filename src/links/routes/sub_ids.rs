//! The sub ids of a route: one source for each, or one source that holds several.

use crate::links::routes::{request_values::RequestValues, value_source::ValueSource};

/// How many sub ids a click has.
pub const SUB_COUNT: usize = 5;

/// Where the sub ids of a request stand.
#[derive(Clone, Debug)]
pub(super) struct SubIds {
    /// The sources of `sub1` to `sub5`.
    sources: Vec<ValueSource>,
    /// What divides the only source into several sub ids.
    separator: Option<Box<str>>,
}

impl SubIds {
    /// Parses `sub` of a route; `separator` is its `split`.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse(written: &[String], separator: Option<&str>) -> Result<SubIds, String> {
        if written.len() > SUB_COUNT {
            return Err(format!("has {} sources; a click has at most {SUB_COUNT} sub ids", written.len()));
        }
        let sources = written.iter().map(|source| ValueSource::parse(source)).collect::<Result<_, String>>()?;
        Ok(SubIds { sources, separator: separator.map(Box::from) })
    }

    /// Every source.
    pub(super) fn sources(&self) -> &[ValueSource] {
        &self.sources
    }

    /// The sub ids of a request, decoded; empty where the request has none.
    pub(super) fn read(&self, values: &RequestValues<'_>) -> [Vec<u8>; SUB_COUNT] {
        let mut subs: [Vec<u8>; SUB_COUNT] = Default::default();
        let read = |source| values.find_first_value_or_empty(source);
        match (&self.separator, self.sources.as_slice()) {
            (Some(separator), [only]) => {
                let value = read(only);
                for (sub, part) in subs.iter_mut().zip(split_at_text(&value, separator.as_bytes())) {
                    *sub = part.to_vec();
                }
            }
            (_, sources) => subs.iter_mut().zip(sources).for_each(|(sub, source)| *sub = read(source)),
        }
        subs
    }
}

/// The parts of a value between each occurrence of `separator`, which is not empty.
fn split_at_text<'a>(value: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let at = memchr::memmem::find(value, separator);
        rest = at.map(|at| &value[at + separator.len()..]);
        Some(at.map_or(value, |at| &value[..at]))
    })
}
