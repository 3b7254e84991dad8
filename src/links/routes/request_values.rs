//! The values of one request that a route reads, each decoded once.

use crate::{
    links::routes::{mismatch::RouteMismatch, path_pattern::PathValues, value_source::ValueSource},
    uri::{percent, query},
};

/// The values of one request.
pub(super) struct RequestValues<'a> {
    pub(super) path: PathValues<'a>,
    /// The raw query, without `?`.
    pub(super) query: &'a [u8],
}

impl RequestValues<'_> {
    /// The one value of a source.
    ///
    /// # Errors
    /// The value is missing or empty, or the request gives several that differ.
    pub(super) fn find_only_value(&self, source: &ValueSource) -> Result<Vec<u8>, RouteMismatch> {
        let mut values = self.list_values(source).into_iter();
        let only = values.next().ok_or(RouteMismatch::Incomplete)?;
        if values.any(|value| value != only) {
            return Err(RouteMismatch::Ambiguous);
        }
        if only.is_empty() { Err(RouteMismatch::Incomplete) } else { Ok(only) }
    }

    /// The first value of a source that is not empty; empty if there is none.
    pub(super) fn find_first_value_or_empty(&self, source: &ValueSource) -> Vec<u8> {
        self.list_values(source).into_iter().find(|value| !value.is_empty()).unwrap_or_default()
    }

    /// Every value of a source, in the order of the request.
    fn list_values(&self, source: &ValueSource) -> Vec<Vec<u8>> {
        match source {
            ValueSource::PathSegment(name) => {
                let named = self.path.variables.iter().filter(|(variable, _)| *variable == &**name);
                named.map(|(_, value)| value.clone()).collect()
            }
            ValueSource::PathPair(name) => {
                let named = self.path.pairs.iter().filter(|(pair, _)| *pair == name.as_bytes());
                named.map(|(_, value)| value.clone()).collect()
            }
            ValueSource::QueryParameter(name) => query::split_link_query_into_pairs(self.query)
                .map(|pair| pair.split_name_and_value())
                .filter(|(parameter, _)| percent::decode_form(parameter).eq(name.bytes()))
                .map(|(_, value)| percent::decode_form(value).collect())
                .collect(),
        }
    }
}
