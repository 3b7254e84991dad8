//! Signing and verification of tokens with the key ring.

use crate::attribution::{
    claims::{CookieClaims, UrlClaims},
    key_scope::KeyScope,
    keyring::{KeyId, Keyring, mac_with_key},
    token::{
        PayloadBuffer, TokenBuilder, TokenError, TokenParts, check_token_age, parse_cookie_payload, parse_url_payload,
    },
    url_key_cache::UrlKeyCache,
};

/// The longest cookie value that is read, bytes. The longest that is signed has 505.
pub(super) const MAX_COOKIE_LEN: usize = 512;

impl Keyring {
    /// Signs a cookie's token and appends it to `out`: at most 505 bytes.
    pub fn sign_and_append_cookie_token(&self, now_ms: u64, claims: &CookieClaims<'_>, out: &mut Vec<u8>) {
        let mut builder = TokenBuilder::empty();
        builder.push_cookie_claims(claims);
        let key = self.signing_key(now_ms);
        builder.sign_and_append_token(&key.id, key.cookie_mac.clone(), out);
    }

    /// Verifies a cookie's token: genuine, and not expired. The claims borrow from the buffer.
    pub fn verify_cookie_token<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<CookieClaims<'b>, TokenError> {
        let claims = self.verify_cookie_token_of_any_age(now_ms, token, buffer)?;
        check_token_age(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Verifies that a cookie's token is genuine, expired or not. `now_ms` decides which keys still verify.
    pub fn verify_cookie_token_of_any_age<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<CookieClaims<'b>, TokenError> {
        if token.len() > MAX_COOKIE_LEN {
            return Err(TokenError::Malformed);
        }
        let parts = TokenParts::split(token)?;
        let key = self.find_verifying_key(parts.key_id, now_ms).ok_or(TokenError::UnknownKey)?;
        let payload = parts.decode_unverified_payload(buffer)?;
        parts.verify_mac(payload, key.cookie_mac.clone())?;
        parse_cookie_payload(payload).ok_or(TokenError::Malformed)
    }

    /// Signs a URL token for a scope, appends it to `out`, and returns the id of the key that signed it. The token is
    /// base64url and dots: nothing in it needs percent-encoding.
    pub fn sign_and_append_url_token_and_return_key_id(
        &self,
        cache: &mut UrlKeyCache,
        now_ms: u64,
        scope: KeyScope<'_>,
        claims: &UrlClaims<'_>,
        out: &mut Vec<u8>,
    ) -> KeyId {
        let mut builder = TokenBuilder::empty();
        builder.push_url_claims_and_scope(claims, scope);
        let key = self.signing_key(now_ms);
        builder.sign_and_append_token(&key.id, cache.get_cached_or_derive_mac(self, key, scope), out);
        key.id
    }

    /// Verifies a URL token for the scope of its link: genuine, of this scope, and not expired. Crediting a click needs
    /// all three.
    pub fn verify_url_token<'b>(
        &self,
        now_ms: u64,
        scope: KeyScope<'_>,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<UrlClaims<'b>, TokenError> {
        let (claims, token_scope) = self.verify_url_token_of_any_age(now_ms, token, buffer)?;
        if !token_scope.has_same_keys_as(scope) {
            return Err(TokenError::WrongScope);
        }
        check_token_age(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Verifies that a URL token is genuine, expired or not, and returns the scope that it names. A genuine token shows
    /// that the key of that scope signed it, not that the code belongs to a link of that scope.
    pub fn verify_url_token_of_any_age<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<(UrlClaims<'b>, KeyScope<'b>), TokenError> {
        let parts = TokenParts::split(token)?;
        let key = self.find_verifying_key(parts.key_id, now_ms).ok_or(TokenError::UnknownKey)?;
        let payload = parts.decode_unverified_payload(buffer)?;
        let (claims, scope) = parse_url_payload(payload).ok_or(TokenError::Malformed)?;
        parts.verify_mac(payload, mac_with_key(&key.derive_url_key(scope)))?;
        Ok((claims, scope))
    }
}
