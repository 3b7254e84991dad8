//! The scope of a URL key: the seller, the partner or the domain whose tokens it signs.

/// The longest name of a scope in key derivation and tokens, bytes. Longer names are cut. The ids of links are far
/// shorter.
pub const MAX_SCOPE_NAME_LEN: usize = 255;

/// The seller, partner or domain whose URL key signs a link's tokens. A shop gets the keys of its own scope, and can
/// neither forge nor verify the tokens of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyScope<'a> {
    /// The domain of a link that has neither seller nor partner.
    Domain(&'a str),
    /// The link's seller.
    Seller(&'a str),
    /// The partner of a link without a seller.
    Partner(&'a str),
}

impl<'a> KeyScope<'a> {
    /// The scope of a link: its seller, else its partner, else its domain. An empty name is none.
    pub fn of_seller_else_partner_else_domain(seller: &'a str, partner: &'a str, domain: &'a str) -> KeyScope<'a> {
        match (seller, partner) {
            ("", "") => KeyScope::Domain(domain),
            ("", partner) => KeyScope::Partner(partner),
            (seller, _) => KeyScope::Seller(seller),
        }
    }

    /// The scope of a kind's word, as files and output have it: `domain`, `seller` or `partner`.
    pub fn from_kind_word(kind: &str, name: &'a str) -> Option<KeyScope<'a>> {
        match kind {
            "domain" => Some(KeyScope::Domain(name)),
            "seller" => Some(KeyScope::Seller(name)),
            "partner" => Some(KeyScope::Partner(name)),
            _ => None,
        }
    }

    /// The word for the kind in files and output.
    pub const fn kind_word(self) -> &'static str {
        match self {
            KeyScope::Domain(_) => "domain",
            KeyScope::Seller(_) => "seller",
            KeyScope::Partner(_) => "partner",
        }
    }

    /// The name of the seller, partner or domain.
    pub const fn name(self) -> &'a str {
        match self {
            KeyScope::Domain(name) | KeyScope::Seller(name) | KeyScope::Partner(name) => name,
        }
    }

    /// The scope of a kind's number in key derivation and tokens.
    pub(super) const fn from_kind_number(number: u8, name: &'a str) -> Option<KeyScope<'a>> {
        match number {
            0 => Some(KeyScope::Domain(name)),
            1 => Some(KeyScope::Seller(name)),
            2 => Some(KeyScope::Partner(name)),
            _ => None,
        }
    }

    /// The kind's number in key derivation and tokens.
    pub(super) const fn kind_number(self) -> u8 {
        match self {
            KeyScope::Domain(_) => 0,
            KeyScope::Seller(_) => 1,
            KeyScope::Partner(_) => 2,
        }
    }

    /// The name cut to [`MAX_SCOPE_NAME_LEN`] bytes, at a character's end.
    pub(super) fn bounded_name(self) -> &'a str {
        let name = self.name();
        &name[..name.floor_char_boundary(MAX_SCOPE_NAME_LEN)]
    }

    /// Whether both scopes have the same keys.
    pub(super) fn has_same_keys_as(self, other: KeyScope<'_>) -> bool {
        self.kind_number() == other.kind_number() && self.bounded_name() == other.bounded_name()
    }
}
