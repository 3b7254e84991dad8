//! The URL keys of one scope, with which a shop verifies its own tokens.

use serde::{Deserialize, Serialize};

use crate::attribution::{
    claims::UrlClaims,
    key_scope::KeyScope,
    keyring::{Keyring, MasterKey, mac_with_key, may_verify},
    secret::Secret,
    token::{PayloadBuffer, TokenError, TokenParts, check_token_age, parse_url_payload},
};

/// The URL keys of one scope, as `waypost keys export --seller` writes them (JSON) and a shop reads them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlKeys {
    /// The scope's kind: `seller`, `partner` or `domain`.
    pub kind: String,
    /// The scope's name.
    pub name: String,
    /// One derived key for each master key of the ring.
    pub keys: Vec<UrlKey>,
}

/// One derived URL key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlKey {
    /// The id of the master key, as tokens name it.
    pub id: String,
    /// The HMAC-SHA-256 key, 32 bytes.
    pub key: Secret,
    /// When the master key starts to sign, milliseconds since the epoch.
    pub not_before_ms: u64,
    /// When the master key stops signing, milliseconds since the epoch. Its tokens are valid for 14 days more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at_ms: Option<u64>,
}

impl Keyring {
    /// The URL keys of one scope, for a shop that verifies its own tokens. They are secrets.
    pub fn derive_and_export_url_keys(&self, scope: KeyScope<'_>) -> UrlKeys {
        let export = |key: &MasterKey| UrlKey {
            id: String::from_utf8_lossy(&key.id).into_owned(),
            key: Secret::new(key.derive_url_key(scope).to_vec()),
            not_before_ms: key.not_before_ms,
            retired_at_ms: key.retired_at_ms,
        };
        UrlKeys {
            kind: scope.kind_word().to_owned(),
            name: scope.name().to_owned(),
            keys: self.keys().iter().map(export).collect(),
        }
    }
}

impl UrlKeys {
    /// Verifies a URL token as a shop does: genuine, and not expired.
    pub fn verify_token<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<UrlClaims<'b>, TokenError> {
        let (claims, _) = self.verify_token_of_any_age(now_ms, token, buffer)?;
        check_token_age(claims.click_id, now_ms)?;
        Ok(claims)
    }

    /// Verifies that a URL token is genuine, expired or not, and returns the scope that it names.
    pub fn verify_token_of_any_age<'b>(
        &self,
        now_ms: u64,
        token: &[u8],
        buffer: &'b mut PayloadBuffer,
    ) -> Result<(UrlClaims<'b>, KeyScope<'b>), TokenError> {
        let parts = TokenParts::split(token)?;
        let is_named = |key: &&UrlKey| key.id.as_bytes() == parts.key_id && may_verify(key.retired_at_ms, now_ms);
        let key = self.keys.iter().find(is_named).ok_or(TokenError::UnknownKey)?;
        let secret: &[u8; 32] = key.key.bytes().try_into().map_err(|_| TokenError::UnknownKey)?;
        let payload = parts.decode_unverified_payload(buffer)?;
        parts.verify_mac(payload, mac_with_key(secret))?;
        parse_url_payload(payload).ok_or(TokenError::Malformed)
    }
}
