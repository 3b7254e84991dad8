//! The format of the attribution token: one click in at most 512 bytes of a cookie, or in a destination's query.
//!
//! # Format, version 1
//!
//! ```text
//! v1.<key id>.<payload>.<mac>                   payload and mac in base64url without padding
//!
//! cookie payload   visitor 16 | click id 16 | domain_len u8 | domain | code
//! URL payload      click id 16 | flags u8 | domain_len u8 | domain | scope_len u8 | scope's name | code
//! flags            1 navigation, 2 gpc, 4 unrecorded | scope's kind << 6 (0 domain, 1 seller, 2 partner)
//! mac              first 16 bytes of HMAC-SHA-256(derived key, payload)
//! ```
//!
//! The derived key (`keyring`) depends on the version, the kind of token and the scope. So a cookie is never taken for
//! a URL token, nor one seller's token for another's. A scope's name of length 0 stands for the domain itself. A
//! payload stays within 55 bytes, one hash block, while domain, scope's name and code add up to at most 36 (URL), or
//! domain and code to 22 (cookie).
//!
//! The click id is a UUIDv7, so the token holds its time. A token is valid for 14 days from that time. A token that is
//! dated at most a day ahead is valid too: its MAC shows that an edge signed it, so that edge's clock was ahead, and a
//! refusal would take a creator's money for an operator's clock. The day bounds how much longer such a token is valid.
//!
//! # Verification by a shop
//!
//! A shop takes the key that the token names from `waypost keys export --seller …`, compares the MAC in constant time,
//! and reads the payload ([`UrlKeys::verify_token`](super::url_keys::UrlKeys::verify_token)). An edge's ring verifies
//! the tokens of every scope, and each shop could sign for its own scope. So whoever credits a click with the ring
//! compares the token's scope with the link's
//! ([`Keyring::verify_url_token`](super::keyring::Keyring::verify_url_token)).

use std::ops::Range;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;

use crate::{
    attribution::{
        claims::{CookieClaims, UrlClaims, UrlFlags},
        click_id::ClickId,
        key_scope::{KeyScope, MAX_SCOPE_NAME_LEN},
        keyring::{KeyId, Mac},
        window::ATTRIBUTION_WINDOW_MS,
    },
    model::{click::CookieState, code},
    word_enum::word_enum,
};

/// How far ahead of the clock a token may be dated: a day, milliseconds.
pub const MAX_AHEAD_MS: u64 = 86_400_000;

const PREFIX: &[u8] = b"v1.";
const MAC_LEN: usize = 16;
/// [`MAC_LEN`] bytes in base64url.
const MAC_TEXT_LEN: usize = 22;
/// The shortest text of a token's form: prefix, key id, a payload of one character, and MAC.
pub const MIN_TOKEN_LEN: usize = PREFIX.len() + 8 + 1 + 1 + 1 + MAC_TEXT_LEN;
const MAX_DOMAIN_LEN: usize = 255;
const MAX_PAYLOAD_LEN: usize = 16 + 1 + 1 + MAX_DOMAIN_LEN + 1 + MAX_SCOPE_NAME_LEN + code::MAX;
/// [`MAX_PAYLOAD_LEN`] bytes in base64url.
const MAX_PAYLOAD_TEXT_LEN: usize = (MAX_PAYLOAD_LEN * 4).div_ceil(3);
/// The longest token, bytes: prefix, key id, payload and MAC.
const MAX_TOKEN_LEN: usize = PREFIX.len() + 8 + 1 + MAX_PAYLOAD_TEXT_LEN + 1 + MAC_TEXT_LEN;

word_enum! {
    /// Why a token is treated as absent.
    #[derive(thiserror::Error)]
    pub enum TokenError {
        /// The bytes are not of the format, or this build cannot read the genuine payload.
        #[error("not a token of version 1")]
        Malformed = "malformed",
        /// The key is not in the ring, or was retired more than 14 days ago.
        #[error("signed by a key that is not in the ring, or was retired more than 14 days ago")]
        UnknownKey = "unknown_key",
        /// The token is forged or damaged, or made as another kind or for another scope.
        #[error("the MAC does not fit: forged, damaged, or made as another kind of token or for another scope")]
        BadMac = "bad_mac",
        /// The token is older than 14 days, or dated more than [`MAX_AHEAD_MS`] ahead.
        #[error("older than 14 days, or dated more than a day ahead")]
        Expired = "expired",
        /// The token is genuine, but its scope is not the link's.
        #[error("genuine, but made for another scope")]
        WrongScope = "wrong_audience",
    }
}

impl From<TokenError> for CookieState {
    fn from(error: TokenError) -> CookieState {
        match error {
            TokenError::Malformed | TokenError::WrongScope => CookieState::Malformed,
            TokenError::UnknownKey => CookieState::UnknownKey,
            TokenError::BadMac => CookieState::BadMac,
            TokenError::Expired => CookieState::Expired,
        }
    }
}

/// The buffer for a token's decoded payload. The token's claims borrow from it.
#[derive(Clone, Debug, Default)]
pub struct PayloadBuffer(Vec<u8>);

/// Builds a token's payload, then signs it.
pub(super) struct TokenBuilder {
    payload: [u8; MAX_PAYLOAD_LEN],
    len: usize,
}

impl TokenBuilder {
    /// A builder with an empty payload.
    #[inline]
    pub(super) const fn empty() -> TokenBuilder {
        TokenBuilder { payload: [0; MAX_PAYLOAD_LEN], len: 0 }
    }

    /// Adds all claims of a cookie.
    #[inline]
    pub(super) fn push_cookie_claims(&mut self, claims: &CookieClaims<'_>) {
        self.push(&claims.visitor);
        self.push(&claims.click_id);
        self.push_len_byte_and_truncated_bytes(claims.domain);
        self.push_code(claims.code);
    }

    /// Adds all claims of a URL token, and its scope.
    #[inline]
    pub(super) fn push_url_claims_and_scope(&mut self, claims: &UrlClaims<'_>, scope: KeyScope<'_>) {
        self.push(&claims.click_id);
        self.push(&[claims.flags.token_bits() | scope.kind_number() << 6]);
        self.push_len_byte_and_truncated_bytes(claims.domain);
        let is_own_domain = matches!(scope, KeyScope::Domain(name) if name.as_bytes() == claims.domain);
        self.push_len_byte_and_truncated_bytes(if is_own_domain { &[] } else { scope.bounded_name().as_bytes() });
        self.push_code(claims.code);
    }

    /// Adds bytes. The parts of each payload add up to at most [`MAX_PAYLOAD_LEN`].
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.payload[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds the first 255 bytes at most, behind their length.
    #[inline]
    fn push_len_byte_and_truncated_bytes(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(255)];
        self.push(&[bytes.len() as u8]);
        self.push(bytes);
    }

    #[inline]
    fn push_code(&mut self, code: &[u8]) {
        self.push(&code[..code.len().min(code::MAX)]);
    }

    /// Signs the payload and appends the token to `out`. `mac` has the derived key, `id` names its master key.
    pub(super) fn sign_and_append_token(&self, id: &KeyId, mut mac: Mac, out: &mut Vec<u8>) {
        let payload = &self.payload[..self.len];
        mac.update(payload);
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(id);
        out.push(b'.');
        push_base64(payload, out);
        out.push(b'.');
        push_base64(&mac.finalize().into_bytes()[..MAC_LEN], out);
    }
}

fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + (bytes.len() * 4).div_ceil(3), 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[at..]);
    debug_assert_eq!(written.ok(), Some(out.len() - at), "the buffer has the encoded length");
}

/// The parts of a token between its dots.
pub(super) struct TokenParts<'a> {
    pub(super) key_id: &'a KeyId,
    encoded_payload: &'a [u8],
    mac: [u8; MAC_LEN],
}

impl<'a> TokenParts<'a> {
    /// Splits a token at its dots and decodes its MAC.
    pub(super) fn split(token: &'a [u8]) -> Result<TokenParts<'a>, TokenError> {
        TokenParts::try_split_and_decode_mac(token).ok_or(TokenError::Malformed)
    }

    fn try_split_and_decode_mac(token: &'a [u8]) -> Option<TokenParts<'a>> {
        let (key_id, rest) = token.strip_prefix(PREFIX)?.split_first_chunk()?;
        let rest = rest.strip_prefix(b".")?;
        let (encoded_payload, tail) = rest.split_at_checked(rest.len().checked_sub(MAC_TEXT_LEN + 1)?)?;
        let mut mac = [0; MAC_TEXT_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(tail.strip_prefix(b".")?, &mut mac).ok()?;
        Some(TokenParts { key_id, encoded_payload, mac: *mac.first_chunk().filter(|_| len == MAC_LEN)? })
    }

    /// Decodes the payload into the buffer. The payload is not verified yet.
    pub(super) fn decode_unverified_payload<'b>(&self, buffer: &'b mut PayloadBuffer) -> Result<&'b [u8], TokenError> {
        buffer.0.clear();
        if self.encoded_payload.len() > MAX_PAYLOAD_TEXT_LEN {
            return Err(TokenError::Malformed);
        }
        match URL_SAFE_NO_PAD.decode_vec(self.encoded_payload, &mut buffer.0) {
            Ok(()) => Ok(&buffer.0),
            Err(_) => Err(TokenError::Malformed),
        }
    }

    /// Compares the payload's MAC with the token's, in constant time. `mac` has the derived key.
    pub(super) fn verify_mac(&self, payload: &[u8], mut mac: Mac) -> Result<(), TokenError> {
        mac.update(payload);
        mac.verify_truncated_left(&self.mac).map_err(|_| TokenError::BadMac)
    }
}

/// Finds the click id that a token names, without any key: anybody may have written the token. Use it to look a click
/// up, never to credit one. `None` if the bytes are no token.
///
/// The kind of token follows from where a UUIDv7 stands: at that place of a cookie's payload, a URL token has text, and
/// a cookie's visitor id is random.
pub fn find_unverified_click_id(token: &[u8]) -> Option<[u8; 16]> {
    let mut buffer = PayloadBuffer::default();
    let parts = TokenParts::try_split_and_decode_mac(token).filter(|_| token.len() <= MAX_TOKEN_LEN)?;
    let payload = parts.decode_unverified_payload(&mut buffer).ok()?;
    let in_cookie = parse_cookie_payload(payload).map(|claims| claims.click_id);
    let in_url = || parse_url_payload(payload).map(|(claims, _)| claims.click_id);
    let is_click_id = |id: &[u8; 16]| ClickId(*id).is_uuid_v7();
    in_cookie.filter(is_click_id).or_else(|| in_url().filter(is_click_id))
}

/// Finds the first text of a token's form in a text, such as a query. It may be genuine or not.
pub fn find_token_in_text(text: &[u8]) -> Option<Range<usize>> {
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    memchr::memmem::find_iter(text, PREFIX).find_map(|start| {
        let (key_id, rest) = text[start + PREFIX.len()..].split_first_chunk::<8>()?;
        let rest = rest.strip_prefix(b".").filter(|_| key_id.iter().all(is_base64url))?;
        let payload_len = rest.iter().position(|byte| !is_base64url(byte))?;
        let mac = rest[payload_len..].strip_prefix(b".")?.get(..MAC_TEXT_LEN)?;
        let len = PREFIX.len() + key_id.len() + 1 + payload_len + 1 + mac.len();
        (payload_len > 0 && mac.iter().all(is_base64url)).then_some(start..start + len)
    })
}

/// Checks that a token of this click is valid at this time: [`TokenError::Expired`] if not.
pub fn check_token_age(click_id: [u8; 16], now_ms: u64) -> Result<(), TokenError> {
    let clicked_ms = ClickId(click_id).timestamp_ms();
    let is_valid =
        now_ms < clicked_ms.saturating_add(ATTRIBUTION_WINDOW_MS) && clicked_ms <= now_ms.saturating_add(MAX_AHEAD_MS);
    if is_valid { Ok(()) } else { Err(TokenError::Expired) }
}

/// Parses the payload of a cookie's token.
pub(super) fn parse_cookie_payload(payload: &[u8]) -> Option<CookieClaims<'_>> {
    let (visitor, rest) = payload.split_first_chunk()?;
    let (click_id, rest) = rest.split_first_chunk()?;
    let (domain, code) = split_with_len(rest)?;
    Some(CookieClaims { visitor: *visitor, click_id: *click_id, domain, code })
}

/// Parses the payload of a URL token, and the scope that it names.
pub(super) fn parse_url_payload(payload: &[u8]) -> Option<(UrlClaims<'_>, KeyScope<'_>)> {
    let (click_id, rest) = payload.split_first_chunk()?;
    let (flags, rest) = rest.split_first()?;
    let (domain, rest) = split_with_len(rest)?;
    let (scope_name, code) = split_with_len(rest)?;
    let scope_name = if scope_name.is_empty() { domain } else { scope_name };
    let scope = KeyScope::from_kind_number(flags >> 6, std::str::from_utf8(scope_name).ok()?)?;
    let flags = UrlFlags::from_token_byte(*flags);
    Some((UrlClaims { click_id: *click_id, domain, code, flags }, scope))
}

/// Splits bytes behind their length from the rest.
fn split_with_len(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
