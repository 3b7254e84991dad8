//! Splitting a query into its parameters, and the comparison of their names. Names and values stay percent-encoded.

use crate::uri::percent;

/// The longest name that [`fold_name`] folds, bytes; the longest known one has twelve.
pub const MAX_KNOWN_NAME_LEN: usize = 16;

/// The most parameters of a query among which one is searched. It bounds the work of one click.
pub const MAX_SEARCHED_PARAMETERS: usize = 64;

/// One parameter of a query: `name=value`, or `name` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryPair<'a> {
    /// Name, `=` and value.
    pub whole: &'a [u8],
    /// Where the pair starts in the query, in bytes.
    pub offset: usize,
}

impl<'a> QueryPair<'a> {
    /// The bytes before the first `=`.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.split_name_and_value().0
    }

    /// The bytes behind the first `=`; empty without one.
    pub fn value(&self) -> &'a [u8] {
        self.split_name_and_value().1
    }

    /// Name and value.
    #[inline]
    pub fn split_name_and_value(&self) -> (&'a [u8], &'a [u8]) {
        match find_equals_sign(self.whole) {
            Some(at) => (&self.whole[..at], &self.whole[at + 1..]),
            None => (self.whole, &[]),
        }
    }
}

/// Where the first `=` stands. Names are short: a loop over the first bytes costs less than the set-up of a search, and
/// what lies behind them is searched.
#[inline]
fn find_equals_sign(pair: &[u8]) -> Option<usize> {
    let (head, tail) = pair.split_at(pair.len().min(MAX_KNOWN_NAME_LEN));
    match head.iter().position(|byte| *byte == b'=') {
        None if !tail.is_empty() => memchr::memchr(b'=', tail).map(|at| head.len() + at),
        found => found,
    }
}

/// Splits a query, given without its `?`, at every `&`. Empty pairs are kept: an empty query gives one, and so does a
/// trailing `&`.
pub fn split_into_pairs(query: &[u8]) -> impl Iterator<Item = QueryPair<'_>> {
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let offset = start?;
        let rest = &query[offset..];
        let end = memchr::memchr(b'&', rest);
        start = end.map(|end| offset + end + 1);
        Some(QueryPair { whole: end.map_or(rest, |end| &rest[..end]), offset })
    })
}

/// Splits the query of a short link as people send it, given without its `?`. A leading `amp;` of a name is dropped: it
/// remains of `&amp;` where somebody pasted a link out of HTML.
pub fn split_link_query_into_pairs(query: &[u8]) -> impl Iterator<Item = QueryPair<'_>> {
    split_into_pairs(query).map(|mut pair| {
        while let Some(rest) = strip_amp_entity(pair.whole) {
            pair.offset += pair.whole.len() - rest.len();
            pair.whole = rest;
        }
        pair
    })
}

/// The bytes behind `amp;`, whose semicolon may be encoded.
#[inline]
fn strip_amp_entity(pair: &[u8]) -> Option<&[u8]> {
    match pair {
        [b'a' | b'A', b'm' | b'M', b'p' | b'P', b';', rest @ ..]
        | [b'a' | b'A', b'm' | b'M', b'p' | b'P', b'%', b'3', b'b' | b'B', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// A parameter's name, decoded and in lower case. Every module that knows a parameter by its name compares it in this
/// form, so that none of them misses a spelling that another one takes. `None` if the name is longer than every known
/// one.
pub fn fold_name<'b>(name: &[u8], buffer: &'b mut [u8; MAX_KNOWN_NAME_LEN]) -> Option<&'b [u8]> {
    let mut len = 0;
    for byte in percent::decode_form(name) {
        *buffer.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    Some(&buffer[..len])
}

/// The value of the first parameter of a name that has one, still encoded. The case and the encoding of a name do not
/// count. Looks at the first [`MAX_SEARCHED_PARAMETERS`] parameters.
pub fn find_value_of_parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    split_link_query_into_pairs(query)
        .take(MAX_SEARCHED_PARAMETERS)
        .map(|pair| pair.split_name_and_value())
        .find(|(found, value)| !value.is_empty() && is_same_name(found, name))
        .map(|(_, value)| value)
}

/// Whether the name of a parameter, which is still encoded, is this one. Encoding and case do not count.
pub fn is_same_name(encoded: &[u8], name: &[u8]) -> bool {
    percent::decode_form(encoded).map(|byte| byte.to_ascii_lowercase()).eq(name.iter().map(u8::to_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_split_into_names_and_values() {
        let split: Vec<_> = split_into_pairs(b"a=1&b&=x&c=d=e").map(|pair| pair.split_name_and_value()).collect();
        assert_eq!(split, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"", b"x"), (b"c", b"d=e")]);
        let long = [&b"a"[..], &[b'b'; MAX_KNOWN_NAME_LEN], b"=c=d"].concat();
        assert_eq!(split_into_pairs(&long).next().map(|pair| pair.value()), Some(&b"c=d"[..]));
        assert_eq!(split_into_pairs(b"").map(|pair| pair.whole).collect::<Vec<_>>(), [b""]);
        assert_eq!(split_into_pairs(b"a&").map(|pair| pair.offset).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn an_amp_of_pasted_html_is_dropped_before_a_name_and_nowhere_else() {
        let split = |query| split_link_query_into_pairs(query).map(|pair| pair.whole).collect::<Vec<_>>();
        assert_eq!(split(b"a=1&amp;sub1=reel"), [&b"a=1"[..], b"sub1=reel"]);
        assert_eq!(split(b"amp;a=1&AMP;b&amp%3Bc=2&amp;amp%3bd"), [&b"a=1"[..], b"b", b"c=2", b"d"]);
        assert_eq!(split(b"amp=1&amp&a=amp;b&xamp;c"), [&b"amp=1"[..], b"amp", b"a=amp;b", b"xamp;c"]);
        let offsets: Vec<usize> = split_link_query_into_pairs(b"a&amp;b").map(|pair| pair.offset).collect();
        assert_eq!(offsets, [0, 6]);
    }

    #[test]
    fn a_name_is_folded_whatever_its_case_and_encoding() {
        let mut buffer = [0; MAX_KNOWN_NAME_LEN];
        for name in ["sub1", "SUB1", "%73ub1", "s%55b%31"] {
            assert_eq!(fold_name(name.as_bytes(), &mut buffer), Some(&b"sub1"[..]), "{name}");
        }
        assert_eq!(fold_name(b"", &mut buffer), Some(&b""[..]));
        assert_eq!(fold_name(&[b'a'; MAX_KNOWN_NAME_LEN + 1], &mut buffer), None);
    }

    proptest! {
        #[test]
        fn pairs_are_the_query_split_at_its_ampersands(query in "[a=&%]{0,40}") {
            let query = query.as_bytes();
            let expected: Vec<&[u8]> = query.split(|byte| *byte == b'&').collect();
            let found: Vec<QueryPair<'_>> = split_into_pairs(query).collect();
            prop_assert_eq!(found.iter().map(|pair| pair.whole).collect::<Vec<_>>(), expected);
            for pair in found {
                prop_assert_eq!(&query[pair.offset..][..pair.whole.len()], pair.whole);
                prop_assert!(pair.name().len() + pair.value().len() <= pair.whole.len());
            }
        }
    }
}
