//! Where a link leads: its URL is checked and taken apart once, when the link enters, and put together for each click.
//!
//! A destination is an absolute `http` or `https` URL, or one of an allow-listed app scheme. It may have holes, in path
//! segments, in values of the query and in the fragment, never in scheme, host or port: `{click_id}`, `{click_token}`,
//! `{sub1}`…`{sub5}` are filled at each click, `{code}` and `{creator}` when the link is loaded.
//!
//! # The skeleton's bytes
//!
//! ```text
//!   flags u8: policy 0-1, holes 2, append token 3, allow-list 4, fragment 5, query 6, token hole 7
//!   with "fragment":   u16 where it starts, which is where parameters are added; else at the end
//!   with "holes":      u8 count, then per hole: u16 place in the text, u8 what (bit 7: in the path)
//!   with "allow-list": u16 length, then the names, joined by '&'
//!   the URL's text without its holes
//! ```
//!
//! # Filling it
//!
//! 1. The URL's text up to the fragment, holes filled; under `incoming-wins` without the parameters that are replaced.
//! 2. Incoming parameters that the rules let through (`query`).
//! 3. The token, where the URL has no hole for it and the cookie does not reach the host.
//! 4. The fragment.
//!
//! Whatever comes from outside is percent-encoded; nothing of it can leave its path segment, parameter or fragment. No
//! allocation is made beyond the growth of the caller's buffer.

use std::ops::Range;

use crate::{links::destination::query::Incoming, model::link::QueryPolicy};

pub mod entry;
pub(crate) mod query;

/// What `{…}` may hold, in the order of their bytes.
const HOLES: [&str; 7] = ["click_id", "click_token", "sub1", "sub2", "sub3", "sub4", "sub5"];
const CLICK_ID: u8 = 0;
const CLICK_TOKEN: u8 = 1;
const SUB1: u8 = 2;
const IN_PATH: u8 = 0x80;

const POLICY: u8 = 3;
const HAS_HOLES: u8 = 1 << 2;
const APPEND: u8 = 1 << 3;
const HAS_ALLOW: u8 = 1 << 4;
const HAS_FRAGMENT: u8 = 1 << 5;
const HAS_QUERY: u8 = 1 << 6;
const TOKEN_HOLE: u8 = 1 << 7;

#[derive(Clone, Copy)]
struct Hole {
    at: u16,
    what: u8,
}

/// What a click puts into the holes. `click_id` and `token` are unreserved characters of our own making and are copied as
/// they are.
#[derive(Clone, Copy, Debug)]
pub struct Fill<'a> {
    /// The click's id, as text.
    pub click_id: &'a [u8],
    /// The click token; `None` leaves its place empty and appends nothing.
    pub token: Option<&'a [u8]>,
    /// The incoming query, without `?`.
    pub query: &'a [u8],
    /// The domain's name for the token's parameter.
    pub token_param: &'a [u8],
}

/// A destination's skeleton, borrowed from its link.
#[derive(Clone, Copy, Debug)]
pub struct Skeleton<'a> {
    flags: u8,
    /// Where parameters are added: before the fragment.
    insert_at: usize,
    holes: &'a [u8],
    allow: &'a [u8],
    text: &'a [u8],
}

impl<'a> Skeleton<'a> {
    /// Reads what [`build`] wrote. Bytes that it did not write give an empty skeleton.
    pub fn read(bytes: &'a [u8]) -> Skeleton<'a> {
        Skeleton::try_read(bytes).unwrap_or(Skeleton { flags: 0, insert_at: 0, holes: &[], allow: &[], text: &[] })
    }

    fn try_read(bytes: &'a [u8]) -> Option<Skeleton<'a>> {
        let (&flags, mut rest) = bytes.split_first()?;
        let mut insert_at = usize::MAX;
        let (mut holes, mut allow) = (&[][..], &[][..]);
        if flags & HAS_FRAGMENT != 0 {
            let (at, behind) = rest.split_first_chunk::<2>()?;
            (insert_at, rest) = (usize::from(u16::from_le_bytes(*at)), behind);
        }
        if flags & HAS_HOLES != 0 {
            let (count, behind) = rest.split_first()?;
            (holes, rest) = behind.split_at_checked(usize::from(*count) * 3)?;
        }
        if flags & HAS_ALLOW != 0 {
            let (len, behind) = rest.split_first_chunk::<2>()?;
            (allow, rest) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        }
        Some(Skeleton { flags, insert_at: insert_at.min(rest.len()), holes, allow, text: rest })
    }

    /// Whether a token would be placed; if not, none needs to be signed.
    pub fn wants_token(&self) -> bool {
        self.flags & (APPEND | TOKEN_HOLE) != 0
    }

    /// What becomes of the incoming query.
    pub fn policy(&self) -> QueryPolicy {
        match self.flags & POLICY {
            0 => QueryPolicy::StoredWins,
            1 => QueryPolicy::IncomingWins,
            _ => QueryPolicy::Drop,
        }
    }

    /// The URL as it was written, in its normal form, with its holes; for people, not for the click path.
    pub fn template(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for hole in self.holes() {
            let at = usize::from(hole.at);
            out.push_str(&String::from_utf8_lossy(&self.text[from..at]));
            out.push_str(&format!("{{{}}}", HOLES.get(usize::from(hole.what & !IN_PATH)).unwrap_or(&"")));
            from = at;
        }
        out.push_str(&String::from_utf8_lossy(&self.text[from..]));
        out
    }

    /// Appends the destination to `out`. Gives where the token stands, counted from the destination's own start; there
    /// is at most one.
    pub fn render(&self, fill: &Fill<'_>, out: &mut Vec<u8>) -> Option<u16> {
        let mut render = Render { skeleton: self, fill, start: out.len(), out, query: OpenQuery::No, token_at: None };
        let passes = !fill.query.is_empty() && self.flags & POLICY != QueryPolicy::Drop as u8;
        if passes && self.flags & HAS_QUERY != 0 && self.policy() == QueryPolicy::IncomingWins {
            render.kept_parameters();
        } else {
            render.stored_whole();
        }
        if passes {
            render.incoming();
        }
        if let (true, Some(token)) = (self.flags & APPEND != 0, fill.token) {
            render.separator();
            render.out.extend_from_slice(fill.token_param);
            render.out.push(b'=');
            render.token(token);
        }
        if self.insert_at < self.text.len() {
            render.range(self.insert_at + 1..self.text.len());
        }
        render.token_at
    }

    fn holes(&self) -> impl Iterator<Item = Hole> + 'a {
        let (holes, _) = self.holes.as_chunks::<3>();
        holes.iter().map(|[low, high, what]| Hole { at: u16::from_le_bytes([*low, *high]), what: *what })
    }

    /// Whether the stored parameter at `range` holds the click's id or token, and so is never replaced.
    fn names_the_click(&self, range: &Range<usize>) -> bool {
        self.holes().any(|hole| {
            hole.what & !IN_PATH <= CLICK_TOKEN && (range.start..=range.end).contains(&usize::from(hole.at))
        })
    }

    /// Whether a parameter may be taken from the incoming query. Those addressed to Waypost, and the token's, never are.
    fn takes(&self, name: &[u8], token_param: &[u8]) -> bool {
        let allowed = || self.allow.split(|byte| *byte == b'&').any(|allowed| query::same_name(allowed, name));
        if query::is_reserved(name) || query::same_name(name, token_param) {
            return false;
        }
        if self.flags & HAS_ALLOW != 0 && !allowed() {
            return false;
        }
        if self.flags & HAS_QUERY == 0 {
            return true;
        }
        let all = self.policy() == QueryPolicy::StoredWins;
        let mut stored = query::parts(self.text, query::stored(self.text, self.insert_at));
        !stored.any(|part| query::same_name(part.name, name) && (all || self.names_the_click(&part.range)))
    }
}

/// One rendering under way.
struct Render<'r, 'a> {
    skeleton: &'r Skeleton<'a>,
    fill: &'r Fill<'r>,
    out: &'r mut Vec<u8>,
    /// Where the destination starts in `out`.
    start: usize,
    query: OpenQuery,
    token_at: Option<u16>,
}

/// What the next parameter needs in front of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenQuery {
    /// `?`
    No,
    /// Nothing: `?` or `&` stands there already.
    Fresh,
    /// `&`
    Yes,
}

impl Render<'_, '_> {
    /// A range of the text with its holes, those at both ends included. Ranges are parted by a separator (`?`, `&`, `#`),
    /// so no hole belongs to two; behind the first one, a range brings the separator in front of it along.
    fn range(&mut self, range: Range<usize>) {
        let text = self.skeleton.text;
        let mut from = if range.start > 0 { range.start - 1 } else { 0 };
        for hole in self.skeleton.holes() {
            let at = usize::from(hole.at);
            if at < range.start || at > range.end {
                continue;
            }
            self.out.extend_from_slice(&text[from..at]);
            self.hole(hole.what);
            from = at;
        }
        self.out.extend_from_slice(&text[from..range.end]);
    }

    fn hole(&mut self, what: u8) {
        match what & !IN_PATH {
            CLICK_ID => self.out.extend_from_slice(self.fill.click_id),
            CLICK_TOKEN => {
                if let Some(token) = self.fill.token {
                    self.token(token);
                }
            }
            sub => {
                let value = query::sub(self.fill.query, sub - SUB1);
                // In a path a segment of dots would climb; encoded dots do as well.
                if what & IN_PATH == 0 || query::decode(value).any(|byte| byte != b'.') {
                    query::encode_value(query::decode(value).take(query::MAX_SUB), self.out);
                }
            }
        }
    }

    fn token(&mut self, token: &[u8]) {
        self.token_at = u16::try_from(self.out.len() - self.start).ok();
        self.out.extend_from_slice(token);
    }

    fn separator(&mut self) {
        match self.query {
            OpenQuery::No => self.out.push(b'?'),
            OpenQuery::Fresh => {}
            OpenQuery::Yes => self.out.push(b'&'),
        }
        self.query = OpenQuery::Yes;
    }

    /// The text up to the fragment.
    fn stored_whole(&mut self) {
        let skeleton = self.skeleton;
        self.range(0..skeleton.insert_at);
        if skeleton.flags & HAS_QUERY != 0 {
            // A value may end in '?' too, hence the look at where the query starts.
            let own = &skeleton.text[..skeleton.insert_at];
            let fresh = match own.last() {
                Some(b'&') => true,
                Some(b'?') => memchr::memchr(b'?', own) == Some(own.len() - 1),
                _ => false,
            };
            self.query = if fresh { OpenQuery::Fresh } else { OpenQuery::Yes };
        }
    }

    /// The text up to the fragment without the parameters that incoming ones replace.
    fn kept_parameters(&mut self) {
        let skeleton = self.skeleton;
        let stored = query::stored(skeleton.text, skeleton.insert_at);
        self.range(0..stored.start - 1);
        for part in query::parts(skeleton.text, stored) {
            let replaced = || {
                let mut incoming = Incoming::new(self.fill.query);
                incoming.any(|pair| {
                    query::same_name(pair.name, part.name) && skeleton.takes(pair.name, self.fill.token_param)
                })
            };
            if skeleton.names_the_click(&part.range) || !replaced() {
                self.separator();
                self.parameter(part.range);
            }
        }
    }

    /// One stored parameter with its holes, without the separator in front of it.
    fn parameter(&mut self, range: Range<usize>) {
        let mut from = range.start;
        for hole in self.skeleton.holes().filter(|hole| (range.start..=range.end).contains(&usize::from(hole.at))) {
            self.out.extend_from_slice(&self.skeleton.text[from..usize::from(hole.at)]);
            self.hole(hole.what);
            from = usize::from(hole.at);
        }
        self.out.extend_from_slice(&self.skeleton.text[from..range.end]);
    }

    /// What the rules let through of the incoming query, within its bounds.
    fn incoming(&mut self) {
        let mut room = query::MAX_FORWARDED;
        for pair in Incoming::new(self.fill.query) {
            if !self.skeleton.takes(pair.name, self.fill.token_param) {
                continue;
            }
            let before = (self.out.len(), self.query);
            self.separator();
            query::encode_part(pair.whole, self.out);
            let Some(left) = room.checked_sub(self.out.len() - before.0) else {
                self.out.truncate(before.0);
                self.query = before.1;
                return;
            };
            room = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use url::Url;

    use super::*;
    use crate::links::destination::entry::{Destination, MAX_URL, Rules, UrlError, build, plain_url, plain_web_url};

    const TOKEN: &[u8] = b"v1.abcdefgh.cGF5bG9hZA.bWFj";

    fn destination(url: &str) -> Destination<'_> {
        Destination {
            url,
            code: "7Kq2ZpXa",
            creator: "c 48/213",
            query: QueryPolicy::StoredWins,
            allow: None,
            append_token: true,
            token_param: "wp",
        }
    }

    fn built(destination: &Destination<'_>) -> Result<Vec<u8>, UrlError> {
        let rules =
            Rules { app_schemes: vec!["shopapp".to_owned(), "javascript".to_owned()], allowed_hosts: Vec::new() };
        let mut bytes = Vec::new();
        build(destination, &rules, |host| host == "own.example", &mut bytes).map(|()| bytes)
    }

    fn rendered(destination: &Destination<'_>, query: &str, token: Option<&[u8]>) -> String {
        let bytes = built(destination).unwrap();
        let fill = Fill { click_id: b"0199-id", token, query: query.as_bytes(), token_param: b"wp" };
        let mut out = b"before".to_vec();
        let at = Skeleton::read(&bytes).render(&fill, &mut out);
        let out = String::from_utf8(out).unwrap().split_off("before".len());
        if let (Some(at), Some(token)) = (at, token) {
            assert_eq!(&out.as_bytes()[usize::from(at)..][..token.len()], token);
        }
        out
    }

    fn plain(url: &str, query: &str) -> String {
        rendered(&destination(url), query, None)
    }

    #[test]
    fn a_foreign_destination_gets_the_token_before_its_fragment() {
        let token = String::from_utf8_lossy(TOKEN);
        for (url, expected) in [
            ("https://a.example", format!("https://a.example/?wp={token}")),
            ("https://a.example/p?x=1", format!("https://a.example/p?x=1&wp={token}")),
            ("https://a.example/p?", format!("https://a.example/p?wp={token}")),
            ("https://a.example/p?x=1&", format!("https://a.example/p?x=1&wp={token}")),
            ("https://a.example/p?x=what?", format!("https://a.example/p?x=what?&wp={token}")),
            ("https://a.example/p#top?x", format!("https://a.example/p?wp={token}#top?x")),
            ("http://own.example/p", format!("http://own.example/p?wp={token}")),
            ("shopapp://product/1", format!("shopapp://product/1?wp={token}")),
        ] {
            assert_eq!(rendered(&destination(url), "", Some(TOKEN)), expected);
        }
    }

    #[test]
    fn no_token_is_appended_where_the_cookie_reaches_or_the_link_forbids_it_or_there_is_none() {
        assert_eq!(rendered(&destination("https://own.example/p"), "", Some(TOKEN)), "https://own.example/p");
        let forbids = Destination { append_token: false, ..destination("https://a.example/p") };
        assert_eq!(rendered(&forbids, "", Some(TOKEN)), "https://a.example/p");
        assert_eq!(rendered(&destination("https://a.example/p"), "", None), "https://a.example/p");
        for (destination, wants) in [(forbids, false), (destination("https://a.example/{click_token}"), true)] {
            assert_eq!(Skeleton::read(&built(&destination).unwrap()).wants_token(), wants);
        }
    }

    #[test]
    fn holes_are_filled_percent_encoded_in_path_query_and_fragment() {
        let url = "https://a.example/{sub1}/{code}?c={creator}&id={click_id}&t={click_token}&s={sub2}#{sub3}";
        let token = String::from_utf8_lossy(TOKEN);
        assert_eq!(
            rendered(&destination(url), "sub1=a/b&sub2=x%26y+z&sub3=%22&other=1", Some(TOKEN)),
            format!("https://a.example/a%2Fb/7Kq2ZpXa?c=c%2048%2F213&id=0199-id&t={token}&s=x%26y%20z&other=1#%22")
        );
        assert_eq!(
            rendered(&destination(url), "", None),
            "https://a.example//7Kq2ZpXa?c=c%2048%2F213&id=0199-id&t=&s=#"
        );
        let normal = Skeleton::read(&built(&destination(url)).unwrap()).template();
        assert_eq!(normal, url.replace("{code}", "7Kq2ZpXa").replace("{creator}", "c%2048%2F213"));
    }

    #[test]
    fn no_value_climbs_out_of_its_path_segment() {
        for dots in ["..", ".", "%2e%2E", ".%2e"] {
            assert_eq!(plain("https://a.example/x/{sub1}/y", &format!("sub1={dots}")), "https://a.example/x//y");
        }
        assert_eq!(plain("https://a.example/x/{sub1}", "sub1=../../etc"), "https://a.example/x/..%2F..%2Fetc");
    }

    #[test]
    fn stored_parameters_win_by_default() {
        let url = "https://a.example/p?ref=good&x=1";
        for thief in ["ref=bad", "REF=bad", "%72ef=bad", "ref[]=bad", "a;ref=bad"] {
            let out = plain(url, thief);
            assert!(out == url || out == format!("{url}&a%3Bref=bad"), "{out}");
        }
        assert_eq!(plain(url, "utm_source=ig&ref=bad&utm_source=b&&=x"), format!("{url}&utm_source=ig&utm_source=b"));
        assert_eq!(plain("https://a.example/p", "a=1&b"), "https://a.example/p?a=1&b");
    }

    #[test]
    fn incoming_parameters_win_where_the_link_says_so_but_never_over_the_clicks_own() {
        let url = "https://a.example/p?ref=stored&id={click_id}&x={sub1}#f";
        let link = Destination { query: QueryPolicy::IncomingWins, append_token: false, ..destination(url) };
        assert_eq!(rendered(&link, "ref=new&id=forged&y=2", None), "https://a.example/p?id=0199-id&x=&ref=new&y=2#f");
        assert_eq!(rendered(&link, "x=3", None), "https://a.example/p?ref=stored&id=0199-id&x=3#f");
        let only = Destination { allow: Some(&["ref".to_owned()]), ..link };
        let only = Destination { url: "https://a.example/p?ref=stored", ..only };
        assert_eq!(rendered(&only, "ref=new&y=2", None), "https://a.example/p?ref=new");
        assert_eq!(rendered(&only, "y=2", None), "https://a.example/p?ref=stored");
    }

    #[test]
    fn an_allow_list_lets_only_its_names_through_and_drop_none() {
        let allow = ["utm_source".to_owned(), "gclid".to_owned()];
        let link = Destination { allow: Some(&allow), ..destination("https://a.example/p") };
        assert_eq!(rendered(&link, "a=1&utm_source=x&gclid=g", None), "https://a.example/p?utm_source=x&gclid=g");
        let none = Destination { query: QueryPolicy::Drop, ..destination("https://a.example/p") };
        assert_eq!(rendered(&none, "a=1&utm_source=x", None), "https://a.example/p");
    }

    #[test]
    fn what_is_addressed_to_waypost_is_not_forwarded() {
        assert_eq!(plain("https://a.example/p", "wp=forged&WP=x&sub1=a&cons=0&sub6=b"), "https://a.example/p?sub6=b");
    }

    #[test]
    fn forwarding_is_bounded() {
        let long = format!("a={}&b=2&c={}", "x".repeat(3000), "y".repeat(3000));
        let out = plain("https://a.example/p", &long);
        assert!(out.ends_with("&b=2"), "{out}");
        let none = plain("https://a.example/p", &format!("a={}", "\u{e9}".repeat(1000)));
        assert_eq!(none, "https://a.example/p");
    }

    #[test]
    fn a_url_that_must_not_enter_says_why() {
        for (url, why) in [
            ("/relative", "not an absolute URL"),
            ("//a.example/", "not an absolute URL"),
            ("https:a.example", "no // behind the scheme"),
            ("javascript://a/%0aalert(1)", "has the scheme"),
            ("ftp://a.example/", "allowed are https, http, shopapp"),
            ("mailto:a@b.example", "has the scheme"),
            ("https://user@a.example/", "user name or password"),
            ("https://u:p@a.example/", "user name or password"),
            ("https://a.example/\n", "control character"),
            ("https://a.example/\tx", "control character"),
            (" https://a.example/", "white space"),
            ("https://a.example/{nope}", "holds \"{nope}\""),
            ("https://a.example/{\"a\":1}", "holds \"{\\\"a\\\":1}\""),
            ("https://a.example/}", "holds \"}\""),
            ("https://a.example/{", "holds \"{\""),
            ("https://{sub1}.example/", "in scheme, host"),
            ("https://a.example:{sub1}/", "in scheme, host"),
            ("{sub1}://a.example/", "in scheme, host"),
            ("https:///{code}/x", "no host behind //"),
            ("https://a.example{sub1}", "in scheme, host"),
            ("https://{sub1}@a.example/", "in scheme, host"),
            ("https://a.example/{sub1}/../x", "in scheme, host"),
            ("https://a.example/?{sub1}=x", "a parameter's name"),
            ("https://a.example/?a=1&b{sub1}=x", "a parameter's name"),
            ("https://a.example/{click_token}?t={click_token}", "too many holes"),
            ("https://a.example/?WP=1", "the name of the token's"),
            ("https://", "absolute URL"),
            ("https://a b.example/", "absolute URL"),
        ] {
            let error = built(&destination(url)).expect_err(url).to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL));
        assert!(matches!(built(&destination(&long)), Err(UrlError::Long(_))));
        let nobody = Destination { creator: "", ..destination("https://a.example/{creator}") };
        assert_eq!(built(&nobody), Err(UrlError::NoCreator));
        assert_eq!(plain_web_url("https://a.example/{sub1}"), Err(UrlError::NoHoles));
    }

    #[test]
    fn hosts_are_normal_and_an_allow_list_holds_them() {
        assert_eq!(
            plain("HTTPS://B\u{fc}cher.Example/\u{e4}?\u{f6}", ""),
            "https://xn--bcher-kva.example/%C3%A4?%C3%B6"
        );
        let rules = Rules { app_schemes: Vec::new(), allowed_hosts: vec!["a.example".into(), "*.b.example".into()] };
        for (url, allowed) in [
            ("https://a.example/", true),
            ("https://A.example:8443/", true),
            ("https://x.b.example/", true),
            ("https://b.example/", false),
            ("https://xb.example/", false),
            ("https://x.a.example/", false),
        ] {
            assert_eq!(plain_url(url, &rules).is_ok(), allowed, "{url}");
        }
    }

    fn names(url: &Url) -> Vec<(String, String)> {
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    proptest! {
        #[test]
        fn whatever_comes_in_the_answer_is_a_header_value_on_the_same_host_with_the_same_stored_parameters(
            query in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"&=%?#;/.+ref2sub1wp[]\r\n"[..])], 0..200),
            stored in prop::sample::select(&[
                "https://shop.example.com:8443/a/{sub1}/b?ref=c_1&x=%26&s={sub2}#frag{sub3}",
                "https://shop.example.com/", "https://shop.example.com/?", "https://shop.example.com/{sub1}{sub2}",
                "https://shop.example.com/p?ref={click_id}&t={click_token}",
            ][..]),
            policy in prop::sample::select(QueryPolicy::ALL),
            token: bool,
        ) {
            let link = Destination { query: policy, ..destination(stored) };
            let bytes = built(&link).unwrap();
            let fill = Fill { click_id: b"0199-id", token: token.then_some(TOKEN), query: &query, token_param: b"wp" };
            let mut out = Vec::new();
            let at = Skeleton::read(&bytes).render(&fill, &mut out);
            prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
            prop_assert_eq!(at.is_some(), token);
            let text = String::from_utf8(out).unwrap();
            let (url, base) = (Url::parse(&text).unwrap(), Url::parse(&plain(stored, "")).unwrap());
            // Nothing is left for a browser to normalise, so it goes where we say.
            prop_assert_eq!(url.as_str(), &text);
            prop_assert_eq!(url.origin(), base.origin());
            let depth = |url: &Url| url.path_segments().map(Iterator::count);
            prop_assert_eq!(depth(&url), depth(&base));
            if policy == QueryPolicy::StoredWins {
                let (all, own) = (names(&url), names(&base));
                for (place, (name, value)) in own.iter().enumerate() {
                    prop_assert_eq!(&all[place].0, name);
                    let filled = name == "s" || name == "t";
                    prop_assert!(filled || all[place].1 == *value);
                    prop_assert_eq!(all.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count(), 1);
                }
            }
            prop_assert!(names(&url).iter().filter(|(name, _)| name.eq_ignore_ascii_case("wp")).count() <= usize::from(token));
        }

        #[test]
        fn no_url_makes_building_panic_and_what_enters_is_a_header_value(url in ".{0,60}", front in prop::sample::select(
            &["", "https://a.example/", "https://", "https://a.example/?", "shopapp://", "https://a.example/{sub1}"][..])) {
            let url = format!("{front}{url}");
            if let Ok(bytes) = built(&destination(&url)) {
                let fill = Fill { click_id: b"id", token: Some(TOKEN), query: b"a=b", token_param: b"wp" };
                let mut out = Vec::new();
                Skeleton::read(&bytes).render(&fill, &mut out);
                prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let skeleton = Skeleton::read(&bytes);
            let _ = (skeleton.wants_token(), skeleton.policy());
        }
    }
}
