//! A token of an order: what `waypost token verify --json` said when the order came, and what the shop knows about it.

use std::fmt;

use serde::{Deserialize, Deserializer, de, de::value::MapAccessDeserializer};

use super::json::value_or_default;
use crate::word_enum::word_enum;

word_enum! {
    /// The carrier that a token was made for.
    #[derive(Deserialize, PartialOrd, Ord)]
    #[serde(rename_all = "snake_case")]
    pub enum TokenKind { Url = "url", Cookie = "cookie" }
}

/// The verdicts of genuine tokens. The age is judged at payment.
const GENUINE_VERDICTS: [&str; 2] = ["valid", "expired"];
/// The words for a token whose click the edge could not record.
const UNJOURNALED_FLAGS: [&str; 2] = ["unjournaled", "unrecorded"];

/// One element of an order's `click_tokens`: an object of claims, or a raw token that is still to be verified, as a
/// text or as an object with `token`. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderToken(TokenFields);

/// The fields of a token's object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct TokenFields {
    /// The raw token, where the order has it without a verdict.
    #[serde(default)]
    pub token: Option<String>,
    /// `valid`, `expired`, or why the token is not genuine.
    #[serde(default)]
    pub verdict: Option<String>,
    /// The carrier.
    #[serde(default)]
    pub kind: Option<TokenKind>,
    /// The click.
    #[serde(default)]
    pub click_id: Option<String>,
    /// The click's time.
    #[serde(default)]
    pub clicked_at_ms: Option<u64>,
    /// The domain of the code.
    #[serde(default)]
    pub domain: Option<String>,
    /// The link's code.
    #[serde(default)]
    pub code: Option<String>,
    /// `seller`, `partner` or `domain`.
    #[serde(default)]
    pub audience_kind: Option<String>,
    /// The seller, partner or domain that the token was signed for.
    #[serde(default)]
    pub audience: Option<String>,
    /// One-bit facts by their words.
    #[serde(default, deserialize_with = "value_or_default")]
    pub flags: Vec<String>,
    /// The cookie jar, which only a cookie names.
    #[serde(default)]
    pub visitor_id: Option<String>,
    /// When the shop first received the token.
    #[serde(default)]
    pub landed_at_ms: Option<u64>,
    /// The account that brought the token to the shop.
    #[serde(default)]
    pub landed_by: Option<String>,
}

/// The claims of a genuine token.
#[derive(Clone, Copy, Debug)]
pub(super) struct GenuineToken<'a> {
    pub(super) kind: TokenKind,
    pub(super) click_id: &'a str,
    pub(super) clicked_at_ms: u64,
    pub(super) domain: &'a str,
    pub(super) code: &'a str,
    /// Kind and name of the audience; empty if the token names none.
    pub(super) audience: (&'a str, &'a str),
    pub(super) is_unjournaled: bool,
    /// The cookie jar; empty if the token names none.
    pub(super) visitor_id: &'a str,
    pub(super) landed_at_ms: Option<u64>,
    landed_by: &'a str,
}

impl GenuineToken<'_> {
    /// Whether the buyer brought the token to the shop, as far as the shop knows.
    pub(super) fn was_landed_by(&self, buyer_id: &str) -> bool {
        self.landed_by.is_empty() || self.landed_by == buyer_id
    }
}

impl OrderToken {
    /// The raw token, if it is still to be verified.
    pub fn unverified(&self) -> Option<&str> {
        self.0.token.as_deref().filter(|_| self.0.verdict.is_none())
    }

    /// Sets verdict and claims. What the shop knows about the token stays.
    pub fn set_verified(&mut self, verified: TokenFields) {
        let TokenFields { landed_at_ms, landed_by, .. } = std::mem::take(&mut self.0);
        self.0 = TokenFields { landed_at_ms, landed_by, ..verified };
    }

    /// The cookie jar that a cookie names; a URL token names none.
    pub fn cookie_visitor_id(&self) -> Option<&str> {
        self.genuine().filter(|token| token.kind == TokenKind::Cookie).map(|token| token.visitor_id)
    }

    /// The click of a genuine token.
    pub fn genuine_click_id(&self) -> Option<&str> {
        self.genuine().map(|token| token.click_id)
    }

    /// Checks that a genuine token has its claims.
    ///
    /// # Errors
    /// The verdict or a claim is missing; the text names it.
    pub fn check(&self) -> Result<(), String> {
        let fields = &self.0;
        let Some(verdict) = &fields.verdict else {
            return Err("verdict is missing; give what `waypost token verify --json` prints, or the raw token".into());
        };
        if !GENUINE_VERDICTS.contains(&verdict.as_str()) {
            return Ok(());
        }
        let claims = [
            ("kind", fields.kind.is_some()),
            ("click_id", fields.click_id.as_ref().is_some_and(|id| !id.is_empty())),
            ("clicked_at_ms", fields.clicked_at_ms.is_some()),
            ("domain", fields.domain.is_some()),
            ("code", fields.code.is_some()),
        ];
        match claims.iter().find(|(_, is_given)| !is_given) {
            Some((claim, _)) => Err(format!("{claim} is missing; a token whose verdict is {verdict:?} has it")),
            None => Ok(()),
        }
    }

    /// The claims, if the token is genuine: `valid` or `expired`.
    pub(super) fn genuine(&self) -> Option<GenuineToken<'_>> {
        let fields = &self.0;
        fields.verdict.as_ref().filter(|verdict| GENUINE_VERDICTS.contains(&verdict.as_str()))?;
        Some(GenuineToken {
            kind: fields.kind?,
            click_id: fields.click_id.as_deref()?,
            clicked_at_ms: fields.clicked_at_ms?,
            domain: fields.domain.as_deref()?,
            code: fields.code.as_deref()?,
            audience: (
                fields.audience_kind.as_deref().unwrap_or_default(),
                fields.audience.as_deref().unwrap_or_default(),
            ),
            is_unjournaled: fields.flags.iter().any(|flag| UNJOURNALED_FLAGS.contains(&flag.as_str())),
            visitor_id: fields.visitor_id.as_deref().unwrap_or_default(),
            landed_at_ms: fields.landed_at_ms,
            landed_by: fields.landed_by.as_deref().unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for OrderToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderToken, D::Error> {
        struct TokenVisitor;
        impl<'de> de::Visitor<'de> for TokenVisitor {
            type Value = OrderToken;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that `waypost token verify --json` printed, or a raw token as a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<OrderToken, E> {
                Ok(OrderToken(TokenFields { token: Some(text.to_owned()), ..TokenFields::default() }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<OrderToken, A::Error> {
                TokenFields::deserialize(MapAccessDeserializer::new(map)).map(OrderToken)
            }
        }
        deserializer.deserialize_any(TokenVisitor)
    }
}
