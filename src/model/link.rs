//! A link's words, and its facts as each of its clicks carries them.
//!
//! # The facts' bytes, format 1
//!
//! Encoded once, when a link is loaded. The worker copies the bytes into the click (`click::Text::Link`), and `events`
//! decodes them. Little-endian; at most 32 bytes beyond the strings.
//!
//! ```text
//!   0 format u8 | bits u8: kind 0-1, creator type 2-3, plan 4-5 (0 none, else 1 + its number), test 6, own end 7
//!   2 created_ms u48 | rate_bp u16, 0 for none
//!  10 ends_ms u48, only with "own end": else it is created_ms + 100 days; all ones if the link has no end
//!     version LEB128 | creator, partner, seller, campaign, product, product_set: each u8 length, then bytes
//! ```
//!
//! A reader refuses a format that it does not know, and ignores bytes behind the last string: newer builds may add
//! some.

use serde::{Deserialize, Serialize};

use crate::word_enum::word_enum;

mod lenient_fields;
pub mod record;
pub mod target;

/// How long a link that may earn can be live, from its creation: 100 days, milliseconds.
pub const LINK_LIFETIME_MS: u64 = 100 * 24 * 60 * 60 * 1000;
/// The longest creator, partner, seller, campaign, product or product-set id, in bytes.
pub const MAX_ID: usize = 128;
/// The `ends_ms` of a link without an end, milliseconds since the epoch: the largest time in 48 bits, in the year
/// 10889.
pub const NO_END_MS: u64 = (1 << 48) - 1;
const FORMAT: u8 = 1;
const TEST: u8 = 1 << 6;
const OWN_END: u8 = 1 << 7;

word_enum! {
    /// What a link refers to.
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum LinkKind {
        /// One product.
        Product = "product",
        /// A creator's list of products.
        Showcase = "showcase",
        /// A campaign's products.
        Campaign = "campaign",
        /// No product: the link redirects and records, and is never credited.
        Plain = "plain",
    }
}
word_enum! {
    /// Which links a creator may own.
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum CreatorType {
        /// May own every kind of link.
        Affiliate = "affiliate",
        /// May not own a showcase.
        LinkshareOnly = "linkshare-only",
    }
}
word_enum! {
    /// The seller's plan behind a rate.
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Plan {
        /// Open to every creator.
        Open = "open",
        /// By an agency, at a higher rate.
        Targeted = "targeted",
    }
}
word_enum! {
    /// Which parameter wins if the incoming query and the stored URL have one of the same name.
    #[derive(Default, Deserialize, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum QueryPolicy {
        /// The stored one. Incoming parameters of other names are added.
        #[default]
        StoredWins = "stored-wins",
        /// The incoming one: it replaces the stored one.
        IncomingWins = "incoming-wins",
        /// No incoming parameter is forwarded.
        Drop = "drop",
    }
}

/// The facts about a link that each of its clicks carries, as they were at the click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts<'a> {
    /// The version of the catalog that made the link what it was.
    pub version: u64,
    /// What the link refers to.
    pub kind: LinkKind,
    /// Its creation, milliseconds since the epoch.
    pub created_ms: u64,
    /// When the link ends, milliseconds since the epoch: 100 days after its creation, or earlier. A plain link ends
    /// only if it says so; else it has [`NO_END_MS`].
    pub ends_ms: u64,
    /// Which links its creator may own.
    pub creator_type: Option<CreatorType>,
    /// The plan behind the rate.
    pub plan: Option<Plan>,
    /// The rate in hundredths of a percent; 0 for none.
    pub rate_bp: u16,
    /// Whether it is a test link, never paid.
    pub test: bool,
    /// The creator's id; "" for none, as for all that follow.
    pub creator: &'a str,
    /// The partner's (agency's) id.
    pub partner: &'a str,
    /// The seller's id.
    pub seller: &'a str,
    /// The campaign's id.
    pub campaign: &'a str,
    /// The product's id.
    pub product: &'a str,
    /// The id of the set of products.
    pub product_set: &'a str,
}

/// The owners of the keys that sign a link's URL tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SellerAndPartner<'a> {
    /// The seller's id; "" for none.
    pub seller: &'a str,
    /// The partner's id; "" for none.
    pub partner: &'a str,
}

impl<'a> LinkFacts<'a> {
    /// When the link ends; `None` if it has no end.
    pub fn end_ms(&self) -> Option<u64> {
        (self.ends_ms < NO_END_MS).then_some(self.ends_ms)
    }

    /// Appends the encoded facts to `out`. Ids are cut to [`MAX_ID`] bytes and times to 48 bits; the record's
    /// validation refuses both before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let own_end = self.ends_ms != self.created_ms.saturating_add(LINK_LIFETIME_MS);
        let creator_type = self.creator_type.map_or(0, |creator_type| creator_type as u8 + 1);
        let plan = self.plan.map_or(0, |plan| plan as u8 + 1);
        let mut bits = self.kind as u8 | creator_type << 2 | plan << 4;
        bits |= if self.test { TEST } else { 0 } | if own_end { OWN_END } else { 0 };
        out.extend_from_slice(&[FORMAT, bits]);
        out.extend_from_slice(&self.created_ms.min(NO_END_MS).to_le_bytes()[..6]);
        out.extend_from_slice(&self.rate_bp.to_le_bytes());
        if own_end {
            out.extend_from_slice(&self.ends_ms.min(NO_END_MS).to_le_bytes()[..6]);
        }
        let mut version = self.version;
        while version >= 0x80 {
            out.push(version as u8 | 0x80);
            version >>= 7;
        }
        out.push(version as u8);
        for text in [self.creator, self.partner, self.seller, self.campaign, self.product, self.product_set] {
            let kept = &text.as_bytes()[..text.floor_char_boundary(MAX_ID)];
            out.push(kept.len() as u8);
            out.extend_from_slice(kept);
        }
    }

    /// Whether the bytes begin with the number of a format that is newer than this build's.
    pub fn is_newer_format(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|format| *format > FORMAT)
    }

    /// Decodes facts; `None` if the bytes are no facts, or of a newer format.
    pub fn decode(bytes: &'a [u8]) -> Option<LinkFacts<'a>> {
        let (fixed, _) = bytes.split_first_chunk::<10>()?;
        let bits = fixed[1];
        let LinkTimes { created_ms, ends_ms } = LinkFacts::decode_times(bytes)?;
        let mut rest = skip_fixed_part_and_own_end(bytes)?;
        let version = take_leb128_integer(&mut rest)?;
        let mut texts = [""; 6];
        for text in &mut texts {
            *text = str::from_utf8(take_length_prefixed(&mut rest)?).ok()?;
        }
        let [creator, partner, seller, campaign, product, product_set] = texts;
        Some(LinkFacts {
            version,
            kind: LinkKind::ALL[usize::from(bits & 3)],
            created_ms,
            ends_ms,
            creator_type: decode_optional_variant_if_known(&CreatorType::ALL, bits >> 2 & 3)?,
            plan: decode_optional_variant_if_known(&Plan::ALL, bits >> 4 & 3)?,
            rate_bp: u16::from_le_bytes([fixed[8], fixed[9]]),
            test: bits & TEST != 0,
            creator,
            partner,
            seller,
            campaign,
            product,
            product_set,
        })
    }

    /// Decodes the ids of seller and partner alone, for the click path.
    pub fn decode_seller_and_partner(bytes: &'a [u8]) -> Option<SellerAndPartner<'a>> {
        let mut rest = skip_fixed_part_and_own_end(bytes)?;
        take_leb128_integer(&mut rest)?;
        let _creator = take_length_prefixed(&mut rest)?;
        let partner = str::from_utf8(take_length_prefixed(&mut rest)?).ok()?;
        let seller = str::from_utf8(take_length_prefixed(&mut rest)?).ok()?;
        Some(SellerAndPartner { seller, partner })
    }

    /// Decodes the version alone.
    pub fn decode_version(bytes: &[u8]) -> Option<u64> {
        take_leb128_integer(&mut skip_fixed_part_and_own_end(bytes)?)
    }

    /// Whether two encoded facts say the same but for the version. With `ignore_times` their times may differ too.
    pub fn are_same_except_version(one: &'a [u8], other: &'a [u8], ignore_times: bool) -> bool {
        let split = |bytes: &'a [u8]| {
            let mut rest = skip_fixed_part_and_own_end(bytes)?;
            let fixed = &bytes[..bytes.len() - rest.len()];
            take_leb128_integer(&mut rest)?;
            Some((fixed, rest))
        };
        let is_same_fixed_part = |one: &[u8], other: &[u8]| match ignore_times {
            true => one[..2] == other[..2] && one[8..10] == other[8..10],
            false => one == other,
        };
        let (Some(one), Some(other)) = (split(one), split(other)) else { return false };
        is_same_fixed_part(one.0, other.0) && one.1 == other.1
    }

    /// Decodes the link's creation and end alone, for the click path.
    pub fn decode_times(bytes: &[u8]) -> Option<LinkTimes> {
        let created_ms = decode_u48(bytes.get(2..8)?);
        let own_end = bytes[1] & OWN_END != 0;
        let ends_ms =
            if own_end { decode_u48(bytes.get(10..16)?) } else { created_ms.saturating_add(LINK_LIFETIME_MS) };
        Some(LinkTimes { created_ms, ends_ms })
    }
}

/// A link's creation and end, milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTimes {
    /// When the link was created.
    pub created_ms: u64,
    /// When the link ends.
    pub ends_ms: u64,
}

/// A little-endian integer of 48 bits.
fn decode_u48(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The bytes behind the fixed part and the link's own end; `None` if the bytes are no facts, or of a newer format.
fn skip_fixed_part_and_own_end(bytes: &[u8]) -> Option<&[u8]> {
    let (fixed, rest) = bytes.split_first_chunk::<10>()?;
    if fixed[0] != FORMAT {
        return None;
    }
    rest.get(if fixed[1] & OWN_END != 0 { 6 } else { 0 }..)
}

/// Takes a text whose first byte is its length.
fn take_length_prefixed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first()?;
    let (text, behind) = behind.split_at_checked(usize::from(*len))?;
    *rest = behind;
    Some(text)
}

/// Takes a LEB128 integer from the front of `rest`.
fn take_leb128_integer(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The optional variant of a number: 0 is an absent one. `None` if this build does not know the number.
fn decode_optional_variant_if_known<T: Copy>(all: &[T], number: u8) -> Option<Option<T>> {
    match number.checked_sub(1) {
        None => Some(None),
        Some(index) => all.get(usize::from(index)).map(|value| Some(*value)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> LinkFacts<'static> {
        LinkFacts {
            version: 1_793_000_000_123,
            kind: LinkKind::Product,
            created_ms: 1_793_491_200_000,
            ends_ms: 1_793_491_200_000 + LINK_LIFETIME_MS,
            creator_type: Some(CreatorType::Affiliate),
            plan: Some(Plan::Targeted),
            rate_bp: 1200,
            test: false,
            creator: "c_48213",
            partner: "tap_7",
            seller: "s_311",
            campaign: "",
            product: "1729384756",
            product_set: "",
        }
    }

    #[test]
    fn the_facts_of_an_ordinary_link_take_22_bytes_beyond_its_ids() {
        let mut bytes = Vec::new();
        example().encode(&mut bytes);
        assert_eq!(bytes.len(), 22 + 27);
        assert_eq!(bytes[..2], [1, 0b0010_0100]);
        assert_eq!(LinkFacts::decode(&bytes), Some(example()));
    }

    #[test]
    fn a_link_with_an_own_end_keeps_it() {
        let facts = LinkFacts { ends_ms: 1_793_500_000_000, ..example() };
        let mut bytes = Vec::new();
        facts.encode(&mut bytes);
        assert_eq!(LinkFacts::decode(&bytes), Some(facts));
        assert_eq!(
            LinkFacts::decode_times(&bytes),
            Some(LinkTimes { created_ms: facts.created_ms, ends_ms: facts.ends_ms })
        );
    }

    #[test]
    fn seller_and_partner_alone_are_those_of_the_whole() {
        for facts in [example(), LinkFacts { ends_ms: 1_793_500_000_000, seller: "", ..example() }] {
            let mut bytes = Vec::new();
            facts.encode(&mut bytes);
            let expected = SellerAndPartner { seller: facts.seller, partner: facts.partner };
            assert_eq!(LinkFacts::decode_seller_and_partner(&bytes), Some(expected));
            bytes[0] = 2;
            assert_eq!(LinkFacts::decode_seller_and_partner(&bytes), None, "a newer format");
        }
    }

    #[test]
    fn the_bytes_of_format_1_never_change() {
        let facts = LinkFacts { test: true, ends_ms: 1_793_500_000_000, campaign: "k", product_set: "ps", ..example() };
        let mut bytes = Vec::new();
        facts.encode(&mut bytes);
        let golden = b"\x01\xe4\x00\xe8\x67\x94\xa1\x01\xb0\x04\x00\x2f\xee\x94\xa1\x01\xfb\x94\x83\xb9\x97\x34\
            \x07c_48213\x05tap_7\x05s_311\x01k\x0a1729384756\x02ps";
        assert_eq!(bytes.escape_ascii().to_string(), golden.escape_ascii().to_string());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut bytes = Vec::new();
        example().encode(&mut bytes);
        bytes[0] = 2;
        assert_eq!(LinkFacts::decode(&bytes), None);
    }

    #[test]
    fn each_word_in_json_is_the_word_in_events() {
        let words = |json: serde_json::Value, word: &str| assert_eq!(json, word);
        LinkKind::ALL.iter().for_each(|kind| words(serde_json::to_value(kind).unwrap(), kind.as_str()));
        CreatorType::ALL.iter().for_each(|creator| words(serde_json::to_value(creator).unwrap(), creator.as_str()));
        Plan::ALL.iter().for_each(|plan| words(serde_json::to_value(plan).unwrap(), plan.as_str()));
        QueryPolicy::ALL.iter().for_each(|policy| words(serde_json::to_value(policy).unwrap(), policy.as_str()));
    }

    proptest! {
        #[test]
        fn facts_are_decoded_as_they_were_encoded_within_their_bound(
            version: u64, created_ms in 0..1u64 << 47, end in 0..LINK_LIFETIME_MS * 2,
            rate_bp in 0..=10_000u16, test: bool,
            kind in prop::sample::select(&LinkKind::ALL[..]),
            creator_type in prop::option::of(prop::sample::select(&CreatorType::ALL[..])),
            plan in prop::option::of(prop::sample::select(&Plan::ALL[..])),
            ids in prop::array::uniform6("[ -~\u{e4}]{0,60}"),
        ) {
            let [creator, partner, seller, campaign, product, product_set] = ids.each_ref().map(String::as_str);
            let facts = LinkFacts { version, kind, created_ms, ends_ms: created_ms + end, creator_type, plan, rate_bp,
                test, creator, partner, seller, campaign, product, product_set };
            let mut bytes = Vec::new();
            facts.encode(&mut bytes);
            prop_assert!(bytes.len() <= 32 + ids.iter().map(String::len).sum::<usize>());
            prop_assert_eq!(LinkFacts::decode(&bytes), Some(facts));
            prop_assert_eq!(LinkFacts::decode_times(&bytes), Some(LinkTimes { created_ms, ends_ms: created_ms + end }));
        }

        #[test]
        fn no_bytes_make_decode_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = LinkFacts::decode(&bytes);
        }
    }
}
