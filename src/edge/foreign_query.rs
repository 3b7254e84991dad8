//! The query of another tracker's URL: the sub ids get their own names, and no destination in it reaches the shop.
//!
//! Such a query often says where the tracker shall redirect to. That value is recorded and never followed. The shop
//! does not get it either, because the shop's own redirects could follow it.

use crate::{
    links::{domains::SubNames, routes::SUB_COUNT},
    model::{ad_parameter::AdParameter, link_parameter::LinkParameter},
    uri::{
        percent,
        query::{self, MAX_KNOWN_NAME_LEN},
    },
};

/// The names under which trackers take a destination. Values that are URLs are found under any name.
const DESTINATION_NAMES: [&str; 14] = [
    "url",
    "u",
    "ued",
    "murl",
    "urllink",
    "destination",
    "dest",
    "deeplink",
    "deep_link",
    "dl",
    "redirect",
    "redirect_url",
    "origin_link",
    "landing_page",
];

/// How often a value can be encoded before it is taken for a URL as a precaution.
const MAX_ENCODINGS: usize = 8;

/// The two queries of a click.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ForeignQuery {
    /// What the click records: the sub ids by their own names, then everything that the client sent.
    pub(super) recorded: Vec<u8>,
    /// What the destination is built from.
    pub(super) for_destination: Vec<u8>,
}

impl ForeignQuery {
    /// A query that is recorded and forwarded as it is.
    pub(super) fn unchanged(query: Vec<u8>) -> ForeignQuery {
        ForeignQuery { for_destination: query.clone(), recorded: query }
    }

    /// The query of a request that a route reads. The sub ids are those of the route alone. The shop gets what it can
    /// read whatever the tracker: `utm_` parameters and ids of ad clicks. The other parameters mean something else to
    /// it.
    pub(super) fn with_subs_of_route(subs: &[Vec<u8>; SUB_COUNT], raw_query: &[u8]) -> ForeignQuery {
        let mut query = ForeignQuery { recorded: Vec::new(), for_destination: Vec::new() };
        for (number, sub) in (1..).zip(subs).filter(|(_, sub)| !sub.is_empty()) {
            let mut encoded = Vec::new();
            percent::push_percent_encoded(sub.iter().copied(), &mut encoded);
            query.push_sub_to_both(number, &encoded);
        }
        for pair in query::split_link_query_into_pairs(raw_query) {
            let (name, value) = pair.split_name_and_value();
            if is_sub_id(name, |_| true) {
                continue;
            }
            push_parameter(pair.whole, &mut query.recorded);
            if is_utm_or_ad_click_id(name) && !may_be_url(value) {
                push_parameter(pair.whole, &mut query.for_destination);
            }
        }
        query
    }

    /// The query of a host whose sub ids have other names. Parameters are forwarded as on every host, but for the sub
    /// ids and for destinations.
    pub(super) fn with_renamed_subs(names: &SubNames, raw_query: &[u8]) -> ForeignQuery {
        let mut query = ForeignQuery { recorded: Vec::new(), for_destination: Vec::new() };
        let pairs = || query::split_link_query_into_pairs(raw_query).map(|pair| (pair, pair.split_name_and_value()));
        for (number, wanted) in (1..).zip(names.iter()) {
            let mut values = pairs().filter(|(_, (name, _))| is_name(name, wanted)).map(|(_, (_, value))| value);
            if let Some(value) = values.find(|value| !value.is_empty()) {
                query.push_sub_to_both(number, value);
            }
        }
        for (pair, (name, value)) in pairs() {
            if is_sub_id(name, |index| usize::from(index) < names.iter().len()) {
                continue;
            }
            push_parameter(pair.whole, &mut query.recorded);
            let is_sub = names.iter().any(|sub| is_name(name, sub));
            let is_destination = DESTINATION_NAMES.iter().any(|known| is_name(name, known)) || may_be_url(value);
            if !is_sub && !is_destination {
                push_parameter(pair.whole, &mut query.for_destination);
            }
        }
        query
    }

    fn push_sub_to_both(&mut self, number: usize, encoded_value: &[u8]) {
        for query in [&mut self.recorded, &mut self.for_destination] {
            push_parameter(format!("sub{number}=").as_bytes(), query);
            query.extend_from_slice(encoded_value);
        }
    }
}

/// Appends a parameter, behind `&` if it is not the first. An empty one is left out.
fn push_parameter(parameter: &[u8], query: &mut Vec<u8>) {
    if parameter.is_empty() {
        return;
    }
    if !query.is_empty() {
        query.push(b'&');
    }
    query.extend_from_slice(parameter);
}

/// Whether an encoded name is that of one of these sub ids.
fn is_sub_id(name: &[u8], is_meant: impl Fn(u8) -> bool) -> bool {
    matches!(LinkParameter::find_by_name(name), Some(LinkParameter::Sub { index }) if is_meant(index))
}

/// Whether an encoded name is this one. Its case and encoding do not count, as for every parameter that is for Waypost.
fn is_name(encoded: &[u8], name: &str) -> bool {
    percent::decode_form(encoded)
        .map(|byte| byte.to_ascii_lowercase())
        .eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn is_utm_or_ad_click_id(name: &[u8]) -> bool {
    let mut buffer = [0; MAX_KNOWN_NAME_LEN];
    let is_known = |name: &[u8]| name.starts_with(b"utm_") || AdParameter::find_by_folded_name(name).is_some();
    query::fold_name(name, &mut buffer).is_some_and(is_known)
}

/// Whether a value is a URL, or holds one, however often it is encoded.
fn may_be_url(value: &[u8]) -> bool {
    let mut value = value.to_vec();
    for _ in 0..MAX_ENCODINGS {
        let starts_like_url = value.starts_with(b"//") || value.starts_with(b"\\\\") || value.starts_with(b"/\\");
        if starts_like_url || memchr::memmem::find(&value, b"://").is_some() {
            return true;
        }
        let decoded: Vec<u8> = percent::decode_form(&value).collect();
        if decoded.len() == value.len() {
            return false;
        }
        value = decoded;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_route(subs: [&str; SUB_COUNT], raw_query: &str) -> (String, String) {
        let query = ForeignQuery::with_subs_of_route(&subs.map(|sub| sub.as_bytes().to_vec()), raw_query.as_bytes());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(query.recorded), text(query.for_destination))
    }

    #[test]
    fn the_subs_of_a_route_stand_in_front_and_the_shop_gets_what_it_can_read() {
        let raw = "offer=1&aff_sub=a%20b&utm_source=x&gclid=g&Sub3=mine&utm_medium=https%253A%252F%252Fevil.example";
        let (recorded, for_destination) = of_route(["a b", "", "c", "", ""], raw);
        let rest = "offer=1&aff_sub=a%20b&utm_source=x&gclid=g&utm_medium=https%253A%252F%252Fevil.example";
        assert_eq!(recorded, format!("sub1=a%20b&sub3=c&{rest}"));
        assert_eq!(for_destination, "sub1=a%20b&sub3=c&utm_source=x&gclid=g");
    }

    #[test]
    fn values_that_are_urls_are_found_however_they_are_encoded() {
        let encode = |text: &str, times: usize| {
            (0..times).fold(text.as_bytes().to_vec(), |text, _| {
                let mut encoded = Vec::new();
                percent::push_percent_encoded(text.into_iter(), &mut encoded);
                encoded
            })
        };
        for url in ["https://evil.example", "//evil.example", "\\\\evil.example", "x HTTP://evil.example/"] {
            for times in 0..10 {
                assert!(may_be_url(&encode(url, times)), "{url} {times}");
            }
        }
        for value in ["", "video-7", "a/b", "a:b", "100%", "a%2Fb", "/path"] {
            assert!(!may_be_url(value.as_bytes()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_url_reaches_a_destination(raw_query in "[a-z=&%:/3AF2+]{0,60}") {
            let query = ForeignQuery::with_subs_of_route(&Default::default(), raw_query.as_bytes());
            prop_assert!(memchr::memmem::find(&query.for_destination, b"://").is_none());
        }
    }
}
