//! Query parameters of a destination: stored and incoming ones, and the encoding of incoming ones.

use std::ops::Range;

use crate::{
    links::destination::parameter_name::is_empty_name,
    model::link_parameter::LinkParameter,
    uri::{self, percent},
};

/// The most incoming parameters that are read; those behind are not forwarded. It bounds the work of one click.
const MAX_PARAMETERS: usize = 64;
/// The most bytes of forwarded parameters, as they are written.
pub(super) const MAX_FORWARDED_LEN: usize = 4096;
/// The most bytes of a `sub` parameter's decoded value that are used.
pub(super) const MAX_SUB_LEN: usize = 255;
/// One parameter of an incoming query, still encoded.
#[derive(Clone, Copy)]
pub(super) struct IncomingParameter<'a> {
    /// Name, `=` and value.
    pub(super) whole: &'a [u8],
    pub(super) name: &'a [u8],
}

/// The parameters of an incoming query that have a name, among its first [`MAX_PARAMETERS`].
pub(super) fn named_parameters_among_first_incoming(query: &[u8]) -> impl Iterator<Item = IncomingParameter<'_>> {
    uri::query::split_link_query_into_pairs(query)
        .take(MAX_PARAMETERS)
        .map(|pair| IncomingParameter { whole: pair.whole, name: pair.name() })
        .filter(|parameter| !is_empty_name(parameter.name))
}

/// Where the stored URL's query is: behind the first `?`, up to `insert_at`. Empty and at `insert_at` if there is no
/// query.
pub(super) fn stored_query_range(text: &[u8], insert_at: usize) -> Range<usize> {
    let start = memchr::memchr(b'?', &text[..insert_at]).map_or(insert_at, |at| at + 1);
    start..insert_at
}

/// One parameter of a stored query.
pub(super) struct StoredParameter<'a> {
    pub(super) name: &'a [u8],
    /// Name, `=` and value, as a range of the whole text.
    pub(super) range: Range<usize>,
}

/// The parameters of a stored query, which is at `query` in the text.
pub(super) fn split_stored_parameters(text: &[u8], query: Range<usize>) -> impl Iterator<Item = StoredParameter<'_>> {
    let start = query.start;
    uri::query::split_into_pairs(&text[query]).map(move |pair| {
        let from = start + pair.offset;
        StoredParameter { name: pair.name(), range: from..from + pair.whole.len() }
    })
}

/// Finds the value of `sub1` (index 0) to `sub5` in an incoming query, still encoded. Empty if absent; of several the
/// first that is not empty counts.
pub(super) fn find_encoded_sub_value_or_empty(query: &[u8], index: u8) -> &[u8] {
    named_parameters_among_first_incoming(query)
        .filter(|parameter| LinkParameter::find_by_name(parameter.name) == Some(LinkParameter::Sub { index }))
        .map(|parameter| parameter.whole.get(parameter.name.len() + 1..).unwrap_or_default())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

/// Whether a byte of a forwarded parameter stays as it is. `;` does not: some back ends separate parameters by it.
fn stays_in_query(byte: u8) -> bool {
    // A table, because each byte of a query is asked for.
    const STAYS: [bool; 256] = {
        let mut stays = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            stays[byte] = percent::is_unreserved(byte as u8)
                || matches!(byte as u8, b'=' | b'+' | b'/' | b':' | b'@' | b',' | b'!' | b'*' | b'(' | b')' | b'$');
            byte += 1;
        }
        stays
    };
    STAYS[usize::from(byte)]
}

/// Appends an incoming parameter. Its own escapes stay; every other byte that could end the parameter is escaped.
pub(super) fn push_parameter_keeping_escapes(parameter: &[u8], out: &mut Vec<u8>) {
    if parameter.iter().all(|byte| stays_in_query(*byte)) {
        return out.extend_from_slice(parameter);
    }
    for (at, &byte) in parameter.iter().enumerate() {
        let stays = stays_in_query(byte) || percent::starts_with_escape(&parameter[at..]);
        if stays { out.push(byte) } else { percent::push_escape(byte, out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_keeps_its_own_encoding_and_nothing_else() {
        let mut out = Vec::new();
        push_parameter_keeping_escapes("q=a%20b+c&%zz%;\u{e9}\"'<>\r\n#".as_bytes(), &mut out);
        assert_eq!(out, b"q=a%20b+c%26%25zz%25%3B%C3%A9%22%27%3C%3E%0D%0A%23");
    }

    #[test]
    fn the_first_sub_counts_and_absent_ones_are_empty() {
        assert_eq!(find_encoded_sub_value_or_empty(b"sub1=a&sub2&sub1=b&sub3=%41", 0), b"a");
        assert_eq!(find_encoded_sub_value_or_empty(b"sub1=a&sub2&sub1=b", 1), b"");
        assert_eq!(find_encoded_sub_value_or_empty(b"sub1=a", 4), b"");
        assert_eq!(find_encoded_sub_value_or_empty(b"a=1&amp;Sub1=&%73UB1=reel&sub1=b", 0), b"reel");
    }

    #[test]
    fn no_query_makes_a_click_expensive() {
        let many = b"a&".repeat(2048);
        assert_eq!(named_parameters_among_first_incoming(&many).count(), MAX_PARAMETERS);
    }
}
