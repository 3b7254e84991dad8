//! The parameters of a click's query that the event names: sub ids, ad click ids, utm. The case and the encoding of a
//! name do not count; values stay encoded.

use crate::{
    model::{
        ad_parameter::{AdParameter, is_instagram_share_id},
        link_parameter::LinkParameter,
    },
    uri::query::{self, MAX_KNOWN_NAME_LEN},
};

/// The id that an ad platform adds to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdClickId<'a> {
    /// The parameter's name.
    pub(crate) name: &'static str,
    /// Its value, encoded.
    pub(crate) value: &'a [u8],
    /// The platform.
    pub(crate) source: &'static str,
}

/// The parameters that the event names. Of a parameter given twice the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryParams<'a> {
    /// `sub1` to `sub5`.
    pub(crate) subs: [&'a [u8]; 5],
    /// The first ad click id.
    pub(crate) ad_click_id: Option<AdClickId<'a>>,
    /// The query has Instagram's mark on a shared link (`igsh`, formerly `igshid`).
    pub(crate) has_instagram_share_id: bool,
    /// `utm_source`
    pub(crate) utm_source: &'a [u8],
    /// `utm_medium`
    pub(crate) utm_medium: &'a [u8],
    /// `utm_campaign`
    pub(crate) utm_campaign: &'a [u8],
}

impl<'a> QueryParams<'a> {
    /// Parses a query, given without `?`.
    pub(crate) fn parse_known_params(query: &'a [u8]) -> QueryParams<'a> {
        let mut params = QueryParams::default();
        for pair in query::split_link_query_into_pairs(query) {
            let (name, value) = pair.split_name_and_value();
            params.set_if_known_and_unset(name, value);
        }
        params
    }

    fn set_if_known_and_unset(&mut self, name: &[u8], value: &'a [u8]) {
        let mut buffer = [0; MAX_KNOWN_NAME_LEN];
        let Some(name) = query::fold_name(name, &mut buffer) else { return };
        let field = match name {
            b"utm_source" => &mut self.utm_source,
            b"utm_medium" => &mut self.utm_medium,
            b"utm_campaign" => &mut self.utm_campaign,
            _ if is_instagram_share_id(name) => {
                self.has_instagram_share_id = true;
                return;
            }
            _ => match LinkParameter::find_by_name(name) {
                Some(LinkParameter::Sub { index }) => &mut self.subs[usize::from(index)],
                Some(LinkParameter::Consent) => return,
                None => {
                    if self.ad_click_id.is_none() && !value.is_empty() {
                        self.ad_click_id = AdParameter::find_by_folded_name(name)
                            .map(|AdParameter { name, source }| AdClickId { name, value, source });
                    }
                    return;
                }
            },
        };
        if field.is_empty() {
            *field = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_ids_ad_click_ids_and_utm_are_found_and_the_first_of_two_counts() {
        let query = b"sub1=reel-9&x&sub1=other&gclid=&ttclid=E.C.P&fbclid=no&utm_source=a%20b&igsh=1&sub5=&=";
        let params = QueryParams::parse_known_params(query);
        assert_eq!(params.subs, [&b"reel-9"[..], b"", b"", b"", b""]);
        assert_eq!(params.ad_click_id, Some(AdClickId { name: "ttclid", value: b"E.C.P", source: "tiktok" }));
        assert_eq!(params.utm_source, b"a%20b");
        assert!(params.has_instagram_share_id);
        assert_eq!(QueryParams::parse_known_params(b""), QueryParams::default());
    }

    #[test]
    fn a_name_is_known_in_any_case_and_encoding() {
        let params = QueryParams::parse_known_params(b"Sub1=a&SUB2=b&%73ub3=c&amp;sub4=d&UTM_Source=ig&Fbclid=f");
        assert_eq!(params.subs, [&b"a"[..], b"b", b"c", b"d", b""]);
        assert_eq!((params.utm_source, params.ad_click_id.map(|ad| ad.value)), (&b"ig"[..], Some(&b"f"[..])));
        for snapchat in [&b"ScCid=1"[..], b"sccid=1", b"SCCID=1"] {
            let expected = AdClickId { name: "ScCid", value: b"1", source: "snapchat" };
            assert_eq!(QueryParams::parse_known_params(snapchat).ad_click_id, Some(expected));
        }
    }
}
