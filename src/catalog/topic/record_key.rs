//! The keys of the topic's records.

use std::fmt;

use crate::{
    catalog::change::LinkName,
    links::{
        domains::parse_host_or_asterisk,
        suspensions::{Dimension, canonical_value},
    },
};

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RecordKey {
    /// `l/DOMAIN/CODE`
    Link(LinkName),
    /// `s/DIMENSION/VALUE`
    Suspension(Dimension, String),
    /// `d/HOST`
    Domain(String),
    /// `a/generation`
    Generation,
    /// `f/freeze`
    Freeze,
}

impl RecordKey {
    /// Reads a key; `None` if it is none of the topic. A value of a suspension and a host of a domain are in their
    /// canonical form.
    pub(super) fn parse(key: &str) -> Option<RecordKey> {
        let (sort, rest) = key.split_once('/')?;
        match sort {
            "l" => {
                let (domain, code) = rest.split_once('/')?;
                let is_name = !domain.is_empty() && !code.is_empty() && !code.contains('/');
                is_name.then(|| RecordKey::Link(LinkName { domain: domain.to_owned(), code: code.to_owned() }))
            }
            "s" => {
                let (dimension, value) = rest.split_once('/')?;
                let dimension = Dimension::from_word(dimension)?;
                let is_canonical = !value.is_empty() && canonical_value(dimension, value) == value;
                is_canonical.then(|| RecordKey::Suspension(dimension, value.to_owned()))
            }
            "d" => {
                let is_canonical = parse_host_or_asterisk(rest).is_ok_and(|host| host == rest);
                is_canonical.then(|| RecordKey::Domain(rest.to_owned()))
            }
            "a" => (rest == "generation").then_some(RecordKey::Generation),
            "f" => (rest == "freeze").then_some(RecordKey::Freeze),
            _ => None,
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordKey::Link(LinkName { domain, code }) => write!(f, "l/{domain}/{code}"),
            RecordKey::Suspension(dimension, value) => write!(f, "s/{}/{value}", dimension.as_str()),
            RecordKey::Domain(host) => write!(f, "d/{host}"),
            RecordKey::Generation => f.write_str("a/generation"),
            RecordKey::Freeze => f.write_str("f/freeze"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_the_topic_are_read_and_others_are_not() {
        for key in ["l/*/tea", "l/go.example.com/7Kq2ZpXa", "s/creator/c_7/x", "s/host/a.example", "f/freeze"] {
            assert_eq!(RecordKey::parse(key).unwrap().to_string(), key);
        }
        for key in ["d/*", "d/go.example.com", "d/xn--bcher-kva.example"] {
            assert_eq!(RecordKey::parse(key).unwrap().to_string(), key);
        }
        for key in
            ["", "l", "l/", "l/*", "l/*/", "l//tea", "l/*/a/b", "s/creator/", "s/who/x", "s/host/A.example", "x/y"]
        {
            assert_eq!(RecordKey::parse(key), None, "{key}");
        }
        for key in ["d/", "d/Go.example.com", "d/b\u{fc}cher.example", "d/a b", "d/go.example.com/x"] {
            assert_eq!(RecordKey::parse(key), None, "{key}");
        }
        assert_eq!(RecordKey::parse("a/generations"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_that_is_written_as_it_was_read_or_none(key in "[lsdaf]?/?[a-z*./]{0,12}/?.{0,12}") {
            if let Some(parsed) = RecordKey::parse(&key) {
                prop_assert_eq!(parsed.to_string(), key);
            }
        }
    }
}
