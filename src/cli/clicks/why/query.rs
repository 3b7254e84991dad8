//! The argument of `waypost clicks why`: a click id, or a token that contains one.

use std::path::Path;

use serde::Serialize;

use crate::attribution::{
    claims::UrlFlags,
    click_id::ClickId,
    keyring::Keyring,
    token::{self, PayloadBuffer, TokenError},
};

/// A click id, or a token and the click id that it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ClickQuery {
    click_id: ClickId,
    token: Option<String>,
}

/// The result of verifying the token of a query.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TokenCheck {
    /// `valid`, `not_checked` without a key ring, or the reason why the token is not valid.
    pub(super) verdict: &'static str,
    /// `cookie` or `url`, if a key verifies the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// The click was answered without a record: it has no event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unrecorded: bool,
    /// Why the token must not be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

/// A token that a key of the ring verifies.
struct GenuineToken {
    kind: &'static str,
    unrecorded: bool,
}

impl ClickQuery {
    /// Parses the argument.
    ///
    /// # Errors
    /// It is neither a click id nor a token; the message says what is expected.
    pub(in crate::cli) fn parse_click_id_or_token(text: &str) -> Result<ClickQuery, String> {
        let text = text.trim();
        if text.starts_with("v1.") {
            let id = token::find_unverified_click_id(text.as_bytes())
                .ok_or("the token contains no click id; check that it is complete (v1.KEY.PAYLOAD.MAC)")?;
            return Ok(ClickQuery { click_id: ClickId(id), token: Some(text.to_owned()) });
        }
        let id = ClickId::parse(text.as_bytes()).filter(|id| id.is_uuid_v7());
        let click_id = id.ok_or("expected a click id (a UUID of version 7) or a token (v1.…)")?;
        Ok(ClickQuery { click_id, token: None })
    }

    pub(in crate::cli) fn click_id(&self) -> ClickId {
        self.click_id
    }

    /// Verifies the token with the keys in `ring_file`. `None` if the query is a click id. A token that is not genuine
    /// does not prevent a search: its click can exist, and then the token was tampered with.
    pub(super) fn verify_token_if_given(&self, ring_file: &Path, now_ms: u64) -> Option<TokenCheck> {
        let token = self.token.as_ref()?;
        let unverified = TokenCheck { verdict: "not_checked", kind: None, unrecorded: false, warning: None };
        let ring = match Keyring::load(ring_file) {
            Ok(ring) => ring,
            Err(why) => {
                let warning = Some(format!("the token was not checked, so anybody may have written it: {why}"));
                return Some(TokenCheck { warning, ..unverified });
            }
        };
        Some(match verify_as_cookie_else_url_token_of_any_age(&ring, token.as_bytes(), now_ms) {
            Ok(GenuineToken { kind, unrecorded }) => match token::check_token_age(self.click_id.0, now_ms) {
                Ok(()) => TokenCheck { verdict: "valid", kind: Some(kind), unrecorded, warning: None },
                Err(why) => {
                    let warning = Some(format!("the token is genuine, but not valid any more: {why}"));
                    TokenCheck { verdict: why.as_str(), kind: Some(kind), unrecorded, warning }
                }
            },
            Err(why) => {
                let warning = Some(format!("the token is NOT genuine, do not credit anything by it: {why}"));
                TokenCheck { verdict: why.as_str(), warning, ..unverified }
            }
        })
    }
}

/// Verifies the token as a cookie, then as a URL token. Its age is not checked.
fn verify_as_cookie_else_url_token_of_any_age(
    ring: &Keyring,
    token: &[u8],
    now_ms: u64,
) -> Result<GenuineToken, TokenError> {
    let mut payload = PayloadBuffer::default();
    if ring.verify_cookie_token_of_any_age(now_ms, token, &mut payload).is_ok() {
        return Ok(GenuineToken { kind: "cookie", unrecorded: false });
    }
    let (url, _) = ring.verify_url_token_of_any_age(now_ms, token, &mut payload)?;
    Ok(GenuineToken { kind: "url", unrecorded: url.flags.has(UrlFlags::UNRECORDED) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_click_id_or_a_complete_token_is_accepted() {
        let id = "01a1dc80-f000-7505-8505-050505050505";
        let query = ClickQuery::parse_click_id_or_token(&format!(" {id}\n")).unwrap();
        assert_eq!(query.click_id().text(), *id.as_bytes().first_chunk().unwrap());
        assert!(ClickQuery::parse_click_id_or_token(&id.to_uppercase()).is_ok());
        for wrong in ["", "abc", "01a1dc80-f000-4505-8505-050505050505", &id[1..], "v1.", "v1.nonsense", "v2.a.b.c"] {
            assert!(ClickQuery::parse_click_id_or_token(wrong).is_err(), "{wrong}");
        }
    }
}
