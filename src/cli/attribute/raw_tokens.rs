//! Verifies the raw tokens of orders with a key ring.

use std::path::PathBuf;

use crate::{
    attribution::keyring::Keyring,
    cli::token::report::{Claims, TokenReport, VerificationKeys, verify_token_and_build_report},
    commission::{OrderVersion, TokenFields, TokenKind},
};

/// Verifies raw tokens. The ring is read with the first of them.
pub(super) struct RawTokenVerifier {
    ring_file: Option<PathBuf>,
    keys: Option<VerificationKeys>,
}

impl RawTokenVerifier {
    /// A verifier with the ring in a file; without a file every raw token is an error.
    pub(super) const fn with_ring_file(ring_file: Option<PathBuf>) -> RawTokenVerifier {
        RawTokenVerifier { ring_file, keys: None }
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
                empty => empty.insert(load_ring(self.ring_file.as_ref(), at)?),
            };
            let verified = convert_to_token_fields(verify_token_and_build_report(keys, now_ms, raw.trim()));
            token.set_verified(verified);
        }
        Ok(())
    }
}

fn load_ring(ring_file: Option<&PathBuf>, at: usize) -> Result<VerificationKeys, String> {
    let Some(path) = ring_file else {
        return Err(format!(
            "click_tokens[{at}] is a raw token; give the key ring (--keys FILE), or what `waypost token verify --json` \
             prints for the token"
        ));
    };
    let ring = Keyring::load(path).map_err(|error| format!("click_tokens[{at}] is a raw token: {error}"))?;
    Ok(VerificationKeys::Ring(ring))
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
