//! The attribution cookie in a request.

use crate::{
    attribution::{claims::CookieClaims, keyring::Keyring, token::PayloadBuffer},
    model::click::CookieState,
};

/// The cookie's name where it has a `Domain`.
pub const SHARED_COOKIE: &str = "wp";
/// The cookie's name where it belongs to one host. The prefix `__Host-` keeps sub-domains from planting one (RFC
/// 6265bis §4.1.3.2).
pub const HOST_COOKIE: &str = "__Host-wp";

/// The attribution cookie that a request presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedCookie<'a> {
    /// The result of verifying it.
    pub state: CookieState,
    /// Its claims, if the state is `Valid`.
    pub claims: Option<CookieClaims<'a>>,
}

/// The most cookies of our name that are verified in one request, the first ones. Each costs a hash.
const MAX_VERIFIED: usize = 8;

/// The values of a cookie, by its name, in one header or several (HTTP/2 splits them, RFC 9113 §8.2.3).
pub fn find_cookie_values<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    let mut headers = headers.into_iter();
    let mut rest: &[u8] = &[];
    std::iter::from_fn(move || {
        loop {
            while rest.is_empty() {
                rest = headers.next()?;
            }
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            let pair = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
        }
    })
}

impl Keyring {
    /// Finds the cookies of this name in a request's `Cookie` headers and verifies them. Another program of the site, a
    /// sub-domain or another path can plant one beside ours; of several the latest click of the genuine ones counts.
    /// The claims borrow from the buffer.
    pub fn find_and_verify_cookie<'a, 'b>(
        &self,
        now_ms: u64,
        headers: impl IntoIterator<Item = &'a [u8]>,
        name: &str,
        buffer: &'b mut PayloadBuffer,
    ) -> PresentedCookie<'b> {
        let mut values = find_cookie_values(headers, name);
        let Some(first) = values.next() else {
            return PresentedCookie { state: CookieState::None, claims: None };
        };
        let value = match values.next() {
            None => first,
            Some(second) => {
                let several = [first, second].into_iter().chain(values).take(MAX_VERIFIED);
                match self.find_value_of_latest_click(now_ms, several, buffer) {
                    Some(latest) => latest,
                    None => return PresentedCookie { state: CookieState::Duplicate, claims: None },
                }
            }
        };
        match self.verify_cookie_token(now_ms, value, buffer) {
            Ok(claims) => PresentedCookie { state: CookieState::Valid, claims: Some(claims) },
            Err(error) => PresentedCookie { state: error.into(), claims: None },
        }
    }

    /// The value with the latest click among those that are genuine; `None` if none is.
    #[cold]
    fn find_value_of_latest_click<'a>(
        &self,
        now_ms: u64,
        values: impl Iterator<Item = &'a [u8]>,
        buffer: &mut PayloadBuffer,
    ) -> Option<&'a [u8]> {
        // The id of a click begins with its time.
        let genuine =
            values.filter_map(|value| Some((self.verify_cookie_token(now_ms, value, buffer).ok()?.click_id, value)));
        genuine.max_by_key(|(click_id, _)| *click_id).map(|(_, value)| value)
    }
}
