//! Verifies the raw tokens of orders with a key ring.

use anyhow::Result;

use crate::{
    attribution::keyring::Keyring,
    cli::token::report::{Claims, TokenReport, VerificationKeys, verify_token_and_build_report},
    commission::{OrderVersion, TokenFields, TokenKind},
};

/// Verifies raw tokens. The ring is loaded with the first of them.
pub(super) struct RawTokenVerifier<'a> {
    load_ring: Box<dyn Fn() -> Result<Option<Keyring>> + 'a>,
    keys: Option<VerificationKeys>,
}

impl<'a> RawTokenVerifier<'a> {
    /// A verifier with the ring that `load_ring` gives; without a ring every raw token is an error.
    pub(super) fn new(load_ring: impl Fn() -> Result<Option<Keyring>> + 'a) -> RawTokenVerifier<'a> {
        RawTokenVerifier { load_ring: Box::new(load_ring), keys: None }
    }

    /// Replaces each raw token of a version by its verdict and claims. A token is verified as of the version's
    /// `updated_at_ms`, when the order came: so a key that retired since then still verifies it, while the ring holds
    /// the key.
    ///
    /// # Errors
    /// There is a raw token and no ring, or the ring cannot be read.
    pub(super) fn verify_raw_tokens(&mut self, version: &mut OrderVersion) -> Result<(), String> {
        let now_ms = version.updated_at_ms;
        for (at, token) in version.click_tokens.iter_mut().enumerate() {
            let Some(raw) = token.unverified() else { continue };
            let keys = match &mut self.keys {
                Some(keys) => keys,
                empty => empty.insert(load_keys(&self.load_ring, at)?),
            };
            let verified = convert_to_token_fields(verify_token_and_build_report(keys, now_ms, raw.trim()));
            token.set_verified(verified);
        }
        Ok(())
    }
}

/// Loads the ring for the raw token at a place of `click_tokens`.
fn load_keys(load_ring: &dyn Fn() -> Result<Option<Keyring>>, at: usize) -> Result<VerificationKeys, String> {
    match load_ring() {
        Ok(Some(ring)) => Ok(VerificationKeys::Ring(ring)),
        Ok(None) => Err(format!(
            "click_tokens[{at}] is a raw token; give the key ring (--keys FILE), or what `waypost token verify --json` \
             prints for the token"
        )),
        Err(error) => Err(format!("click_tokens[{at}] is a raw token, and the key ring cannot be read: {error}")),
    }
}

fn convert_to_token_fields(report: TokenReport) -> TokenFields {
    let verdict = Some(report.verdict.to_owned());
    let Some(claims) = report.claims else { return TokenFields { verdict, ..TokenFields::default() } };
    let Claims { kind, click_id, clicked_at_ms, domain, code, visitor_id, audience_kind, audience, flags, .. } = claims;
    TokenFields {
        verdict,
        kind: TokenKind::from_word(kind),
        click_id: Some(click_id),
        clicked_at_ms: Some(clicked_at_ms),
        domain: Some(domain),
        code: Some(code),
        audience_kind: audience_kind.map(str::to_owned),
        audience,
        flags: flags.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        visitor_id,
        ..TokenFields::default()
    }
}
