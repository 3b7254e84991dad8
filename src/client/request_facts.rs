//! What a request says about itself: navigation, prefetch, privacy signals, and the header texts that a click keeps.
//!
//! The headers are read in one pass: nine look-ups by name cost 1150 instructions a request. The first value counts
//! where a header comes twice; cookies are read from every `Cookie` header.

use http::{HeaderMap, header};

use crate::{
    model::{click::Consent, link_parameter::LinkParameter},
    uri::{percent, query},
};

/// The most bytes that [`RequestFacts::write_sec_fetch`] writes.
pub const MAX_SEC_FETCH_LEN: usize = 64;
/// The most bytes kept of each `Sec-Fetch` header; three of them and two slashes fit [`MAX_SEC_FETCH_LEN`]. The longest
/// value in use is `speculationrules`.
const MAX_SEC_FETCH_PART: usize = 20;

/// The facts in one request's headers, borrowed from them.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    headers: &'a HeaderMap,
    first_cookie: Option<&'a [u8]>,
    has_more_cookies: bool,
    /// `User-Agent`. This text and those below are empty where the header is absent.
    pub user_agent: &'a [u8],
    /// `Referer`
    pub referer: &'a [u8],
    /// `Accept-Language`
    pub accept_language: &'a [u8],
    /// `X-Requested-With`: on Android the app's package.
    pub app_package: &'a [u8],
    sec_fetch_mode: &'a [u8],
    sec_fetch_dest: &'a [u8],
    sec_fetch_user: &'a [u8],
    /// The request is a prefetch, a prerender or a preview: nobody looks at the page yet.
    pub is_prefetch: bool,
    /// What the `Sec-Fetch` headers say about navigation.
    pub navigation: Navigation,
    /// `Sec-GPC: 1` (Global Privacy Control).
    pub has_gpc: bool,
}

/// Whether a request navigates a browser tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Navigation {
    /// The browser says that a tab navigates (`Sec-Fetch-Dest: document`).
    Tab,
    /// The browser says that no tab navigates: an image, a frame, a script's request.
    NoTab,
    /// The request does not say. The click is treated as a navigation.
    Unknown,
}

impl<'a> RequestFacts<'a> {
    /// Reads all headers in one pass.
    pub fn read_all_headers(headers: &'a HeaderMap) -> RequestFacts<'a> {
        let mut facts = RequestFacts::with_no_facts(headers);
        for (name, value) in headers {
            let value = value.as_bytes();
            match name.as_str() {
                "cookie" if facts.first_cookie.is_some() => facts.has_more_cookies = true,
                "cookie" => facts.first_cookie = Some(value),
                "user-agent" => set_if_empty(&mut facts.user_agent, value),
                "referer" => set_if_empty(&mut facts.referer, value),
                "accept-language" => set_if_empty(&mut facts.accept_language, value),
                "x-requested-with" => set_if_empty(&mut facts.app_package, value),
                "sec-fetch-mode" => set_if_empty(&mut facts.sec_fetch_mode, value),
                "sec-fetch-dest" => set_if_empty(&mut facts.sec_fetch_dest, value),
                "sec-fetch-user" => set_if_empty(&mut facts.sec_fetch_user, value),
                "sec-purpose" | "purpose" | "x-purpose" | "x-moz" => facts.is_prefetch |= is_prefetch_purpose(value),
                "sec-gpc" => facts.has_gpc |= value == b"1",
                _ => {}
            }
        }
        facts.navigation = Navigation::from_sec_fetch(facts.sec_fetch_dest, facts.sec_fetch_mode);
        facts
    }

    fn with_no_facts(headers: &'a HeaderMap) -> RequestFacts<'a> {
        RequestFacts {
            headers,
            first_cookie: None,
            has_more_cookies: false,
            user_agent: b"",
            referer: b"",
            accept_language: b"",
            app_package: b"",
            sec_fetch_mode: b"",
            sec_fetch_dest: b"",
            sec_fetch_user: b"",
            is_prefetch: false,
            navigation: Navigation::Unknown,
            has_gpc: false,
        }
    }

    /// All headers, for what few requests are asked.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Whether the request says that nobody tapped: a prefetch, an image, a frame, a script.
    pub fn is_no_tap(&self) -> bool {
        self.is_prefetch || self.navigation == Navigation::NoTab
    }

    /// The value of each `Cookie` header.
    pub fn cookie_headers(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let others = self.has_more_cookies.then(|| self.headers.get_all(header::COOKIE).iter().skip(1));
        self.first_cookie.into_iter().chain(others.into_iter().flatten().map(|value| value.as_bytes()))
    }

    /// Writes the three `Sec-Fetch` headers as `mode/dest/user` (`navigate/document/?1`) to the start of `buffer`, and
    /// returns what was written. Empty if none of the three came. Longer values are cut.
    pub fn write_sec_fetch<'b>(&self, buffer: &'b mut [u8; MAX_SEC_FETCH_LEN]) -> &'b [u8] {
        let parts = [self.sec_fetch_mode, self.sec_fetch_dest, self.sec_fetch_user];
        if parts.iter().all(|part| part.is_empty()) {
            return b"";
        }
        let mut len = 0;
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                buffer[len] = b'/';
                len += 1;
            }
            let part = &part[..part.len().min(MAX_SEC_FETCH_PART)];
            buffer[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        &buffer[..len]
    }
}

fn set_if_empty<'a>(field: &mut &'a [u8], value: &'a [u8]) {
    if field.is_empty() {
        *field = value;
    }
}

/// Whether a purpose header names a request ahead of the visit. Values in use: `prefetch`, `prefetch;prerender`,
/// `prefetch;anonymous-client-ip`, `prerender`, `preview` and `: preview` (Safari, Facebook's app), `instant`.
fn is_prefetch_purpose(value: &[u8]) -> bool {
    value.split(|byte| !byte.is_ascii_alphanumeric()).any(|word| {
        [&b"prefetch"[..], b"prerender", b"preview", b"instant"].iter().any(|known| word.eq_ignore_ascii_case(known))
    })
}

impl Navigation {
    /// Judges `Sec-Fetch-Dest` first, then `Sec-Fetch-Mode`.
    ///
    /// A frame has the mode `navigate` too, and hidden frames are used to plant affiliate cookies, so the destination
    /// decides. `empty` is a script's `fetch`, a beacon or a ping; with the mode `navigate` it is a service worker that
    /// passes a tab's navigation on. A destination that this build does not know is judged by its mode. Safari before
    /// 16.4 and many webviews send no
    /// `Sec-Fetch` header.
    fn from_sec_fetch(dest: &[u8], mode: &[u8]) -> Navigation {
        match dest {
            b"document" => Navigation::Tab,
            b"" => Navigation::Unknown,
            b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object" => Navigation::NoTab,
            _ if mode == b"navigate" => Navigation::Unknown,
            _ => Navigation::NoTab,
        }
    }
}

/// What a link's query says to Waypost itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryFacts {
    /// The consent signal: `cons=0` or `cons=1`. A refusal anywhere in the query wins.
    pub consent: Consent,
    /// The query has a parameter of the token's name: the link stands behind another short link.
    pub has_token_param: bool,
}

impl QueryFacts {
    /// Reads a raw query in one pass. The case and the encoding of names and values do not count.
    pub fn read(raw_query: &[u8], token_param: &[u8]) -> QueryFacts {
        let mut facts = QueryFacts { consent: Consent::None, has_token_param: false };
        if raw_query.is_empty() {
            return facts;
        }
        for pair in query::split_link_query_into_pairs(raw_query) {
            let (name, value) = pair.split_name_and_value();
            facts.has_token_param |= has_name(name, token_param);
            if LinkParameter::find_by_name(name) != Some(LinkParameter::Consent) {
                continue;
            }
            let mut value = percent::decode_form(value);
            match (value.next(), value.next()) {
                (Some(b'0'), None) => facts.consent = Consent::Refused,
                (Some(b'1'), None) if facts.consent == Consent::None => facts.consent = Consent::Granted,
                _ => {}
            }
        }
        facts
    }
}

/// Whether an encoded name is this one; its case and encoding do not count.
#[inline]
pub fn has_name(encoded: &[u8], name: &[u8]) -> bool {
    // Most names end here, before anything is decoded.
    let could_be = match (encoded.first(), name.first()) {
        (Some(b'%'), Some(_)) => true,
        (Some(first), Some(wanted)) => first.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    could_be
        && percent::decode_form(encoded)
            .map(|byte| byte.to_ascii_lowercase())
            .eq(name.iter().map(u8::to_ascii_lowercase))
}

#[cfg(test)]
mod tests;
