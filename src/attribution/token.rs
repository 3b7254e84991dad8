//! The attribution token: one click in at most 512 bytes of a cookie or in a destination's query.
//!
//! # Format, version 1
//!
//! ```text
//! v1.<key id>.<payload>.<mac>                   payload and mac in base64url without padding
//!
//! cookie payload   visitor 16 | click id 16 | domain_len u8 | domain | code
//! URL payload      click id 16 | flags u8 | domain_len u8 | domain | audience_len u8 | audience | code
//! flags            1 navigation, 2 gpc, 4 unjournaled | audience's kind << 6 (0 domain, 1 seller, 2 partner)
//! mac              first 16 bytes of HMAC-SHA-256(derived key, payload)
//! ```
//!
//! The derived key ([`super::keys`]) depends on version, carrier and audience, so a cookie is no URL token and one seller's
//! token none of another's. An audience of length 0 is the domain itself. Payloads stay within 55 bytes, one hash block,
//! while domain, audience and code add up to at most 36 (URL) or domain and code to 22 (cookie).
//!
//! The click id is a UUIDv7, so the token's time is in it. A token is good for 14 days from that time. One that is dated
//! ahead is good too, up to [`AHEAD_MS`]: the MAC says that an edge signed it, so an edge's clock was ahead, and refusing
//! would take a creator's money for an operator's clock; a day bounds how much longer such a token can live.
//!
//! # Verifying as a shop
//!
//! Take the key whose id the token names from `waypost keys export --seller …`, compare the MAC in constant time, read the
//! payload. [`UrlKeys::verify`] is that. An edge's ring verifies any audience's token; as each shop could sign for its own
//! audience, whoever credits a click compares the audience with the link's ([`Keyring::verify_url`] does).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;

use crate::{
    attribution::{
        LIFETIME_MS,
        keys::{self, Audience, KeyId, Keyring, Mac, SellerKeys, UrlKeys},
        mint::ClickId,
    },
    model::click::CookieState,
};

/// The longest cookie value that is looked at, bytes. The longest that is made has 505.
pub const COOKIE_MAX: usize = 512;
/// How far ahead of the clock a token may be dated, milliseconds: a day.
pub const AHEAD_MS: u64 = 86_400_000;
/// The cookie's name with a `Domain`.
pub const SHARED_COOKIE: &str = "wp";
/// The cookie's name without: `__Host-` keeps sub-domains from planting one (RFC 6265bis §4.1.3.2).
pub const HOST_COOKIE: &str = "__Host-wp";

const PREFIX: &[u8] = b"v1.";
const MAC_LEN: usize = 16;
const MAC_TEXT: usize = 22;
const DOMAIN_MAX: usize = 255;
const CODE_MAX: usize = 64;
const PAYLOAD_MAX: usize = 16 + 1 + 1 + DOMAIN_MAX + 1 + keys::AUDIENCE_MAX + CODE_MAX;
/// The decoder asks for whole groups of three bytes.
const PAYLOAD_ROOM: usize = PAYLOAD_MAX.next_multiple_of(3) + 3;

/// No token is longer: prefix, key id, payload and MAC.
const TOKEN_TEXT_MAX: usize = PREFIX.len() + 8 + 1 + (PAYLOAD_MAX * 4).div_ceil(3) + 1 + MAC_TEXT;

/// Why a token is treated as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the format, or a genuine payload that this build cannot read.
    #[error("not a token of version 1")]
    Malformed,
    /// Signed by a key that is not in the ring, or that was retired more than 14 days ago.
    #[error("signed by a key that is not in the ring, or was retired more than 14 days ago")]
    UnknownKey,
    /// Forged, damaged, or made for another carrier or audience.
    #[error("the MAC does not fit: forged, damaged, or made for another carrier or audience")]
    BadMac,
    /// Older than 14 days, or dated more than [`AHEAD_MS`] ahead.
    #[error("older than 14 days, or dated more than a day ahead")]
    Expired,
    /// Genuine, but made for another audience than the link's.
    #[error("genuine, but made for another audience")]
    WrongAudience,
}

impl TokenError {
    /// The word in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenError::Malformed => "malformed",
            TokenError::UnknownKey => "unknown_key",
            TokenError::BadMac => "bad_mac",
            TokenError::Expired => "expired",
            TokenError::WrongAudience => "wrong_audience",
        }
    }
}

impl From<TokenError> for CookieState {
    fn from(error: TokenError) -> CookieState {
        match error {
            TokenError::Malformed | TokenError::WrongAudience => CookieState::Malformed,
            TokenError::UnknownKey => CookieState::UnknownKey,
            TokenError::BadMac => CookieState::BadMac,
            TokenError::Expired => CookieState::Expired,
        }
    }
}

/// What a cookie says: the visitor and the last click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieClaims<'a> {
    /// 16 random bytes, kept across clicks.
    pub visitor: [u8; 16],
    /// The last click.
    pub click_id: [u8; 16],
    /// The domain its code was found in, at most 255 bytes.
    pub domain: &'a [u8],
    /// Its code, at most 64 bytes.
    pub code: &'a [u8],
}

/// What a destination's token says: one referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlClaims<'a> {
    /// The click.
    pub click_id: [u8; 16],
    /// The domain its code was found in, at most 255 bytes.
    pub domain: &'a [u8],
    /// Its code, at most 64 bytes.
    pub code: &'a [u8],
    /// One-bit facts.
    pub flags: UrlFlags,
}

/// Facts of one bit each in a URL token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlFlags(u8);

impl UrlFlags {
    /// The browser said that a person navigated (`Sec-Fetch-Dest: document`).
    pub const NAVIGATION: UrlFlags = UrlFlags(1);
    /// The request carried `Sec-GPC: 1`.
    pub const GPC: UrlFlags = UrlFlags(2);
    /// The lane had no room: no event of this click will ever come.
    pub const UNJOURNALED: UrlFlags = UrlFlags(4);
    const ALL: UrlFlags = UrlFlags(7);

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: UrlFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other` if `yes`.
    pub const fn set_if(&mut self, other: UrlFlags, yes: bool) {
        if yes {
            self.0 |= other.0;
        }
    }
}

/// Where a token's payload is decoded to; its claims borrow from here. Lives on the caller's stack or in its scratch.
#[derive(Clone, Debug)]
pub struct Payload([u8; PAYLOAD_ROOM]);

impl Default for Payload {
    fn default() -> Payload {
        Payload([0; PAYLOAD_ROOM])
    }
}

/// A payload while it is put together.
struct Draft {
    bytes: [u8; PAYLOAD_MAX],
    len: usize,
}

impl Draft {
    const fn new() -> Draft {
        Draft { bytes: [0; PAYLOAD_MAX], len: 0 }
    }

    /// Adds bytes; every caller's sum is bounded by [`PAYLOAD_MAX`].
    fn add(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds at most 255 bytes behind their length.
    fn add_sized(&mut self, bytes: &[u8]) {
        let kept = &bytes[..bytes.len().min(255)];
        self.add(&[kept.len() as u8]);
        self.add(kept);
    }

    fn add_code(&mut self, code: &[u8]) {
        self.add(&code[..code.len().min(CODE_MAX)]);
    }

    /// Signs and appends the token.
    fn seal(&self, id: &KeyId, mut mac: Mac, out: &mut Vec<u8>) {
        let payload = &self.bytes[..self.len];
        mac.update(payload);
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(id);
        out.push(b'.');
        add_base64(payload, out);
        out.push(b'.');
        add_base64(&mac.finalize().into_bytes()[..MAC_LEN], out);
    }
}

fn add_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + (bytes.len() * 4).div_ceil(3), 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[at..]);
    debug_assert_eq!(written.ok(), Some(out.len() - at), "the room is the encoded length");
}

/// A token cut at its dots.
struct Parts<'a> {
    id: &'a KeyId,
    payload: &'a [u8],
    mac: [u8; MAC_LEN],
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Parts<'a>> {
        let (id, rest) = token.strip_prefix(PREFIX)?.split_first_chunk()?;
        let rest = rest.strip_prefix(b".")?;
        let (payload, tail) = rest.split_at_checked(rest.len().checked_sub(MAC_TEXT + 1)?)?;
        let mut mac = [0; MAC_TEXT];
        let len = URL_SAFE_NO_PAD.decode_slice(tail.strip_prefix(b".")?, &mut mac).ok()?;
        Some(Parts { id, payload, mac: *mac.first_chunk().filter(|_| len == MAC_LEN)? })
    }

    fn decode(&self, into: &mut Payload) -> Option<usize> {
        URL_SAFE_NO_PAD.decode_slice(self.payload, &mut into.0).ok()
    }

    /// Compares in constant time.
    fn check(&self, payload: &[u8], mut mac: Mac) -> Result<(), TokenError> {
        mac.update(payload);
        mac.verify_truncated_left(&self.mac).map_err(|_| TokenError::BadMac)
    }
}

/// The click id that a token names, taken at its word: no key is asked, so anybody may have written it. `None` if it is no
/// token. For looking a click up, never for crediting it. Which of both carriers it is shows in where a UUIDv7 stands: a
/// destination's token has text at those bits of a cookie's, and a cookie's visitor is random.
pub fn claimed_click_id(token: &[u8]) -> Option<[u8; 16]> {
    let mut payload = Payload::default();
    let parts = Parts::of(token).filter(|_| token.len() <= TOKEN_TEXT_MAX)?;
    let len = parts.decode(&mut payload)?;
    let is_click = |id: &[u8; 16]| uuid::Uuid::from_bytes(*id).get_version() == Some(uuid::Version::SortRand);
    let cookie = read_cookie_payload(&payload.0[..len]).map(|claims| claims.click_id);
    let url = || read_url_payload(&payload.0[..len]).map(|(claims, _)| claims.click_id);
    cookie.filter(|id| is_click(id)).or_else(|| url().filter(|id| is_click(id)))
}

/// Whether a token of this click is within its time: [`TokenError::Expired`] if not.
pub fn check_time(click_id: [u8; 16], now_ms: u64) -> Result<(), TokenError> {
    let at_ms = ClickId(click_id).ms();
    let good = now_ms < at_ms.saturating_add(LIFETIME_MS) && at_ms <= now_ms.saturating_add(AHEAD_MS);
    if good { Ok(()) } else { Err(TokenError::Expired) }
}

fn read_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

fn read_cookie_payload(payload: &[u8]) -> Option<CookieClaims<'_>> {
    let (visitor, rest) = payload.split_first_chunk()?;
    let (click_id, rest) = rest.split_first_chunk()?;
    let (domain, code) = read_sized(rest)?;
    Some(CookieClaims { visitor: *visitor, click_id: *click_id, domain, code })
}

fn read_url_payload(payload: &[u8]) -> Option<(UrlClaims<'_>, Audience<'_>)> {
    let (click_id, rest) = payload.split_first_chunk()?;
    let (flags, rest) = rest.split_first()?;
    let (domain, rest) = read_sized(rest)?;
    let (audience, code) = read_sized(rest)?;
    let audience = if audience.is_empty() { domain } else { audience };
    let audience = Audience::from_code(flags >> 6, std::str::from_utf8(audience).ok()?)?;
    let flags = UrlFlags(flags & UrlFlags::ALL.0);
    Some((UrlClaims { click_id: *click_id, domain, code, flags }, audience))
}

impl Keyring {
    /// Appends the cookie's value to `out`: at most 505 bytes. Called by the edge for a buyer's own navigation.
    pub fn sign_cookie(&self, now_ms: u64, claims: &CookieClaims<'_>, out: &mut Vec<u8>) {
        let mut draft = Draft::new();
        draft.add(&claims.visitor);
        draft.add(&claims.click_id);
        draft.add_sized(claims.domain);
        draft.add_code(claims.code);
        let key = self.signer(now_ms);
        draft.seal(&key.id, key.cookie.clone(), out);
    }

    /// Verifies a cookie's value; the claims borrow from `into`.
    pub fn verify_cookie<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        into: &'b mut Payload,
    ) -> Result<CookieClaims<'b>, TokenError> {
        let claims = self.inspect_cookie(now_ms, token, into)?;
        check_time(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Reads a genuine cookie's value whatever its age; `now_ms` decides which keys still verify.
    pub fn inspect_cookie<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        into: &'b mut Payload,
    ) -> Result<CookieClaims<'b>, TokenError> {
        if token.len() > COOKIE_MAX {
            return Err(TokenError::Malformed);
        }
        let parts = Parts::of(token).ok_or(TokenError::Malformed)?;
        let key = self.verifier(parts.id, now_ms).ok_or(TokenError::UnknownKey)?;
        let len = parts.decode(into).ok_or(TokenError::Malformed)?;
        let payload = &into.0[..len];
        parts.check(payload, key.cookie.clone())?;
        read_cookie_payload(payload).ok_or(TokenError::Malformed)
    }

    /// Finds the cookie of this name among the request's `Cookie` headers and verifies it. No state but `Valid` comes with
    /// claims.
    pub fn read_cookie<'a, 'b>(
        &self,
        now_ms: u64,
        headers: impl IntoIterator<Item = &'a [u8]>,
        name: &str,
        into: &'b mut Payload,
    ) -> (CookieState, Option<CookieClaims<'b>>) {
        match find_cookie(headers, name) {
            Presented::None => (CookieState::None, None),
            Presented::Duplicate => (CookieState::Duplicate, None),
            Presented::One(value) => match self.verify_cookie(now_ms, value, into) {
                Ok(claims) => (CookieState::Valid, Some(claims)),
                Err(error) => (error.into(), None),
            },
        }
    }

    /// Appends the destination's token to `out` and returns the id of the key that signed it. It is in base64url and dots:
    /// nothing in it needs percent-encoding. Called by the edge for every live link.
    pub fn sign_url(
        &self,
        memo: &mut SellerKeys,
        now_ms: u64,
        audience: Audience<'_>,
        claims: &UrlClaims<'_>,
        out: &mut Vec<u8>,
    ) -> KeyId {
        let mut draft = Draft::new();
        draft.add(&claims.click_id);
        draft.add(&[claims.flags.0 | audience.code() << 6]);
        draft.add_sized(claims.domain);
        let own_domain = matches!(audience, Audience::Domain(name) if name.as_bytes() == claims.domain);
        draft.add_sized(if own_domain { &[] } else { audience.bounded().as_bytes() });
        draft.add_code(claims.code);
        let key = self.signer(now_ms);
        draft.seal(&key.id, memo.mac(self, key, audience), out);
        key.id
    }

    /// Verifies a URL token for the audience of its link: what crediting needs.
    pub fn verify_url<'b>(
        &self,
        now_ms: u64,
        audience: Audience<'_>,
        token: &[u8],
        into: &'b mut Payload,
    ) -> Result<UrlClaims<'b>, TokenError> {
        let (claims, of) = self.inspect_url(now_ms, token, into)?;
        if of.code() != audience.code() || of.bounded() != audience.bounded() {
            return Err(TokenError::WrongAudience);
        }
        check_time(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Reads a genuine URL token whatever its age, by the audience that it names itself, and says which. Shows that this
    /// audience's key signed it, not that the code is one of that audience's links.
    pub fn inspect_url<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        into: &'b mut Payload,
    ) -> Result<(UrlClaims<'b>, Audience<'b>), TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Malformed)?;
        let key = self.verifier(parts.id, now_ms).ok_or(TokenError::UnknownKey)?;
        let len = parts.decode(into).ok_or(TokenError::Malformed)?;
        let payload = &into.0[..len];
        let (claims, audience) = read_url_payload(payload).ok_or(TokenError::Malformed)?;
        parts.check(payload, keys::prekeyed(&key.url_key(audience)))?;
        Ok((claims, audience))
    }
}

impl UrlKeys {
    /// Verifies a URL token with one audience's exported keys, as a shop does.
    pub fn verify<'b>(&self, now_ms: u64, token: &[u8], into: &'b mut Payload) -> Result<UrlClaims<'b>, TokenError> {
        let (claims, _) = self.inspect(now_ms, token, into)?;
        check_time(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Reads a genuine URL token whatever its age, with one audience's exported keys.
    pub fn inspect<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        into: &'b mut Payload,
    ) -> Result<(UrlClaims<'b>, Audience<'b>), TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Malformed)?;
        let named = |key: &&keys::UrlKey| key.id.as_bytes() == parts.id && keys::verifies(key.retired_at_ms, now_ms);
        let key = self.keys.iter().find(named).ok_or(TokenError::UnknownKey)?;
        let secret: &[u8; 32] = key.key.bytes().try_into().map_err(|_| TokenError::UnknownKey)?;
        let len = parts.decode(into).ok_or(TokenError::Malformed)?;
        let payload = &into.0[..len];
        parts.check(payload, keys::prekeyed(secret))?;
        read_url_payload(payload).ok_or(TokenError::Malformed)
    }
}

/// What the `Cookie` headers of a request hold of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No such cookie.
    None,
    /// One, with this value.
    One(&'a [u8]),
    /// More than one: a sub-domain or another path may have planted one, so none counts.
    Duplicate,
}

/// Finds a cookie by its name, in one header or several (HTTP/2 splits them, RFC 9113 §8.2.3).
pub fn find_cookie<'a>(headers: impl IntoIterator<Item = &'a [u8]>, name: &str) -> Presented<'a> {
    let mut found = Presented::None;
    for header in headers {
        let mut rest = header;
        while !rest.is_empty() {
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            let pair = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            let value = pair.strip_prefix(name.as_bytes()).and_then(|behind| behind.strip_prefix(b"="));
            match (value, found) {
                (None, _) => {}
                (Some(value), Presented::None) => found = Presented::One(value),
                (Some(_), _) => return Presented::Duplicate,
            }
        }
    }
    found
}
