//! What is known of a token after its verification.

use std::str::from_utf8;

use jiff::Timestamp;
use serde::Serialize;

use crate::attribution::{
    ATTRIBUTION_WINDOW_MS,
    claims::UrlFlags,
    click_id::ClickId,
    keyring::Keyring,
    token::{self, PayloadBuffer, TokenError},
    url_keys::UrlKeys,
};

/// The result for one token; without claims if the token is not genuine.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct TokenReport {
    /// `valid`, or the reason why the token is not valid.
    pub(in crate::cli) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<String>,
    #[serde(flatten)]
    pub(in crate::cli) claims: Option<Claims>,
}

/// The claims of a genuine token.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Claims {
    pub(in crate::cli) kind: &'static str,
    pub(in crate::cli) click_id: String,
    pub(in crate::cli) clicked_at: Timestamp,
    pub(in crate::cli) clicked_at_ms: u64,
    expires_at_ms: u64,
    pub(in crate::cli) domain: String,
    pub(in crate::cli) code: String,
    pub(in crate::cli) key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) visitor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) audience_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) flags: Option<Vec<&'static str>>,
}

/// The keys that a token is verified with.
pub(in crate::cli) enum VerificationKeys {
    Ring(Keyring),
    Shop(UrlKeys),
}

/// Verifies a token at a time, milliseconds since the epoch.
pub(in crate::cli) fn verify_token_and_build_report(keys: &VerificationKeys, now_ms: u64, token: &str) -> TokenReport {
    match read_claims(keys, now_ms, token) {
        Err(error) => invalid_token(error, None),
        Ok((id, claims)) => match token::check_token_age(id, now_ms) {
            Err(error) => invalid_token(error, Some(claims)),
            Ok(()) => TokenReport { verdict: "valid", reason: None, claims: Some(claims) },
        },
    }
}

fn invalid_token(error: TokenError, claims: Option<Claims>) -> TokenReport {
    TokenReport { verdict: error.as_str(), reason: Some(error.to_string()), claims }
}

/// The claims of a genuine token, expired or not. The key that verifies the token tells whether it is a cookie or a URL
/// token.
fn read_claims(keys: &VerificationKeys, now_ms: u64, token: &str) -> Result<([u8; 16], Claims), TokenError> {
    let mut payload = PayloadBuffer::default();
    let bytes = token.as_bytes();
    if let VerificationKeys::Ring(ring) = keys
        && let Ok(cookie) = ring.verify_cookie_token_of_any_age(now_ms, bytes, &mut payload)
    {
        let visitor = uuid::Uuid::from_bytes(cookie.visitor).simple().to_string();
        let claims = Claims {
            visitor_id: Some(visitor),
            ..Claims::new("cookie", token, cookie.click_id, cookie.domain, cookie.code)
        };
        return Ok((cookie.click_id, claims));
    }
    let (url, scope) = match keys {
        VerificationKeys::Ring(ring) => ring.verify_url_token_of_any_age(now_ms, bytes, &mut payload)?,
        VerificationKeys::Shop(shop) => shop.verify_token_of_any_age(now_ms, bytes, &mut payload)?,
    };
    let named = [(UrlFlags::NAVIGATION, "navigation"), (UrlFlags::GPC, "gpc"), (UrlFlags::UNRECORDED, "unrecorded")];
    let claims = Claims {
        audience_kind: Some(scope.kind_word()),
        audience: Some(scope.name().to_owned()),
        flags: Some(named.iter().filter(|(flag, _)| url.flags.has(*flag)).map(|(_, name)| *name).collect()),
        ..Claims::new("url", token, url.click_id, url.domain, url.code)
    };
    Ok((url.click_id, claims))
}

impl Claims {
    fn new(kind: &'static str, token: &str, id: [u8; 16], domain: &[u8], code: &[u8]) -> Claims {
        let id = ClickId(id);
        Claims {
            kind,
            click_id: from_utf8(&id.text()).unwrap_or_default().to_owned(),
            // 48 bits of milliseconds reach beyond the year 9999, the last that `Timestamp` can hold.
            clicked_at: Timestamp::from_millisecond(id.timestamp_ms() as i64).unwrap_or(Timestamp::MAX),
            clicked_at_ms: id.timestamp_ms(),
            expires_at_ms: id.timestamp_ms() + ATTRIBUTION_WINDOW_MS,
            domain: String::from_utf8_lossy(domain).into_owned(),
            code: String::from_utf8_lossy(code).into_owned(),
            key_id: token.get(3..11).unwrap_or_default().to_owned(),
            visitor_id: None,
            audience_kind: None,
            audience: None,
            flags: None,
        }
    }
}
