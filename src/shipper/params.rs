//! What a click's query says about where it came from: sub ids, ad click ids, utm. One pass, values still encoded.

/// An ad click id and the platform that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ad<'a> {
    /// The parameter's name.
    pub(super) name: &'static str,
    /// Its value, still encoded.
    pub(super) value: &'a [u8],
    /// The platform.
    pub(super) source: &'static str,
}

/// The parameters that the event takes out of the query. Of one given twice the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Params<'a> {
    /// `sub1` to `sub5`.
    pub(super) subs: [&'a [u8]; 5],
    /// The first ad click id.
    pub(super) ad: Option<Ad<'a>>,
    /// Instagram's mark on a shared link (`igsh`, formerly `igshid`).
    pub(super) instagram_share: bool,
    /// `utm_source`
    pub(super) utm_source: &'a [u8],
    /// `utm_medium`
    pub(super) utm_medium: &'a [u8],
    /// `utm_campaign`
    pub(super) utm_campaign: &'a [u8],
}

impl<'a> Params<'a> {
    /// Reads a raw query, without `?`.
    pub(super) fn of(query: &'a [u8]) -> Params<'a> {
        let mut params = Params::default();
        if query.is_empty() {
            return params;
        }
        let mut from = 0;
        for end in memchr::memchr_iter(b'&', query).chain([query.len()]) {
            let pair = &query[from..end];
            from = end + 1;
            let (name, value) = match memchr::memchr(b'=', pair) {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            params.take(name, value);
        }
        params
    }

    fn take(&mut self, name: &'a [u8], value: &'a [u8]) {
        let place = match name {
            b"sub1" => &mut self.subs[0],
            b"sub2" => &mut self.subs[1],
            b"sub3" => &mut self.subs[2],
            b"sub4" => &mut self.subs[3],
            b"sub5" => &mut self.subs[4],
            b"utm_source" => &mut self.utm_source,
            b"utm_medium" => &mut self.utm_medium,
            b"utm_campaign" => &mut self.utm_campaign,
            b"igsh" | b"igshid" => {
                self.instagram_share = true;
                return;
            }
            _ => {
                if self.ad.is_none() && !value.is_empty() {
                    self.ad = ad(name).map(|(name, source)| Ad { name, value, source });
                }
                return;
            }
        };
        if place.is_empty() {
            *place = value;
        }
    }
}

/// The ad click ids in use, each with the platform that appends it. `fbclid` comes from Facebook and Instagram alike.
fn ad(name: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match name {
        b"fbclid" => ("fbclid", "facebook"),
        b"gclid" => ("gclid", "google"),
        b"gbraid" => ("gbraid", "google"),
        b"wbraid" => ("wbraid", "google"),
        b"dclid" => ("dclid", "google"),
        b"ttclid" => ("ttclid", "tiktok"),
        b"msclkid" => ("msclkid", "bing"),
        b"twclid" => ("twclid", "x"),
        b"li_fat_id" => ("li_fat_id", "linkedin"),
        b"ScCid" => ("ScCid", "snapchat"),
        b"epik" => ("epik", "pinterest"),
        b"rdt_cid" => ("rdt_cid", "reddit"),
        b"yclid" => ("yclid", "yandex"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_ids_ad_ids_and_utm_are_found_and_the_first_of_two_counts() {
        let params =
            Params::of(b"sub1=reel-9&x&sub1=other&gclid=&ttclid=E.C.P&fbclid=no&utm_source=a%20b&igsh=1&sub5=&=");
        assert_eq!(params.subs, [&b"reel-9"[..], b"", b"", b"", b""]);
        assert_eq!(params.ad, Some(Ad { name: "ttclid", value: b"E.C.P", source: "tiktok" }));
        assert_eq!(params.utm_source, b"a%20b");
        assert!(params.instagram_share);
        assert_eq!(Params::of(b""), Params::default());
    }
}
