//! What the two kinds of token say.

/// The content of a cookie's token: the visitor and the last click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieClaims<'a> {
    /// 16 random bytes, the same in each click of the visitor.
    pub visitor: [u8; 16],
    /// The last click.
    pub click_id: [u8; 16],
    /// The domain of the click's code, at most 255 bytes.
    pub domain: &'a [u8],
    /// The click's code, at most 64 bytes.
    pub code: &'a [u8],
}

/// The content of a URL token, which a destination carries: one referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlClaims<'a> {
    /// The click.
    pub click_id: [u8; 16],
    /// The domain of the click's code, at most 255 bytes.
    pub domain: &'a [u8],
    /// The click's code, at most 64 bytes.
    pub code: &'a [u8],
    /// One-bit facts.
    pub flags: UrlFlags,
}

/// One-bit facts in a URL token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlFlags(u8);

impl UrlFlags {
    /// The browser said that a tab navigates (`Sec-Fetch-Dest: document`).
    pub const NAVIGATION: UrlFlags = UrlFlags(1);
    /// The request carried `Sec-GPC: 1`.
    pub const GPC: UrlFlags = UrlFlags(2);
    /// The click has no record: no event of it will come.
    pub const UNRECORDED: UrlFlags = UrlFlags(4);
    const ALL: u8 = 7;

    /// Whether every bit of `flags` is set.
    pub const fn has(self, flags: UrlFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets the bits of `flags` if the condition holds.
    pub const fn set_if(&mut self, flags: UrlFlags, condition: bool) {
        if condition {
            self.0 |= flags.0;
        }
    }

    /// The flags in the low bits of a token's byte.
    pub(super) const fn from_token_byte(byte: u8) -> UrlFlags {
        UrlFlags(byte & UrlFlags::ALL)
    }

    /// The low bits of a token's byte.
    pub(super) const fn token_bits(self) -> u8 {
        self.0
    }
}
