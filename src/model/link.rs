//! A link: the words it is made of, and its facts as they travel in each click.
//!
//! # The facts' bytes, format 1
//!
//! Built once, when a link is loaded; the worker copies them as they are into the click (`click::Text::Link`), the
//! shipper reads them. Little-endian; at most [`OVERHEAD`] bytes beyond the strings.
//!
//! ```text
//!   0 format u8 | bits u8: kind 0-1, creator type 2-3, plan 4-5 (0 none, else 1 + its place), test 6, own end 7
//!   2 created_ms u48 | rate_bp u16, 0 for none
//!  10 ends_ms u48, only with "own end": else it is created_ms + 100 days
//!     version LEB128 | creator, partner, seller, campaign, product, product_set: each u8 length, then bytes
//! ```
//!
//! A reader refuses a format it does not know. Bytes behind the last string are left to newer builds.

use serde::{Deserialize, Serialize};

pub mod record;

/// A link earns for at most 100 days from its creation, in milliseconds.
pub const EARNS_MS: u64 = 100 * 24 * 60 * 60 * 1000;
/// The longest creator, partner, seller, campaign, product or product-set id, in bytes.
pub const MAX_ID: usize = 128;
/// The most bytes the facts take beyond their strings.
pub const OVERHEAD: usize = 10 + 6 + 10 + 6;

const FORMAT: u8 = 1;
const TEST: u8 = 1 << 6;
const OWN_END: u8 = 1 << 7;
/// The largest time that fits 48 bits: the year 10889.
const MAX_TIME: u64 = (1 << 48) - 1;

/// Makes an enum with a word in JSON, in events and in metrics.
macro_rules! worded {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// Every value, in the order of its place.
            pub const ALL: &[$name] = &[$($name::$variant),*];
            /// The word in JSON, events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }
    };
}

worded! {
    /// What a link stands for.
    Kind {
        /// One product.
        Product = "product",
        /// A creator's list of products.
        Showcase = "showcase",
        /// A campaign's products.
        Campaign = "campaign",
        /// Nothing: it redirects and records, and can never be credited.
        Plain = "plain",
    }
}
worded! {
    /// What a creator may own.
    CreatorType {
        /// May own every kind of link.
        Affiliate = "affiliate",
        /// May not own a showcase.
        LinkshareOnly = "linkshare-only",
    }
}
worded! {
    /// The seller's plan behind a rate.
    Plan {
        /// Open to every creator.
        Open = "open",
        /// By an agency, at a higher rate.
        Targeted = "targeted",
    }
}
worded! {
    /// Which parameter wins where the incoming query and the stored URL name the same one.
    #[derive(Default)]
    QueryPolicy {
        /// Incoming parameters are added, those that the stored URL names already are not taken.
        #[default]
        StoredWins = "stored-wins",
        /// An incoming parameter replaces a stored one of its name.
        IncomingWins = "incoming-wins",
        /// No incoming parameter is taken.
        Drop = "drop",
    }
}

/// What a click says about its link, as of the click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts<'a> {
    /// From the links file: its modification time in milliseconds since the epoch.
    pub version: u64,
    /// What the link stands for.
    pub kind: Kind,
    /// Its creation, milliseconds since the epoch.
    pub created_ms: u64,
    /// When it stops earning: 100 days after its creation, or its own earlier end.
    pub ends_ms: u64,
    /// What its creator may own.
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

impl<'a> LinkFacts<'a> {
    /// Appends the bytes. Ids are at most [`MAX_ID`] long and times before the year 10889, as the record's validation
    /// sees to; beyond that they are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let own_end = self.ends_ms != self.created_ms.saturating_add(EARNS_MS);
        let creator_type = self.creator_type.map_or(0, |creator_type| creator_type as u8 + 1);
        let plan = self.plan.map_or(0, |plan| plan as u8 + 1);
        let mut bits = self.kind as u8 | creator_type << 2 | plan << 4;
        bits |= if self.test { TEST } else { 0 } | if own_end { OWN_END } else { 0 };
        out.extend_from_slice(&[FORMAT, bits]);
        out.extend_from_slice(&self.created_ms.min(MAX_TIME).to_le_bytes()[..6]);
        out.extend_from_slice(&self.rate_bp.to_le_bytes());
        if own_end {
            out.extend_from_slice(&self.ends_ms.min(MAX_TIME).to_le_bytes()[..6]);
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

    /// Reads what [`LinkFacts::encode`] wrote; `None` if the bytes are not that, or of a newer format.
    pub fn decode(bytes: &'a [u8]) -> Option<LinkFacts<'a>> {
        let (fixed, mut rest) = bytes.split_first_chunk::<10>()?;
        let bits = fixed[1];
        if fixed[0] != FORMAT {
            return None;
        }
        let (created_ms, ends_ms) = LinkFacts::times(bytes)?;
        if bits & OWN_END != 0 {
            rest = &rest[6..];
        }
        let version = leb128(&mut rest)?;
        let mut texts = [""; 6];
        for text in &mut texts {
            let (len, behind) = rest.split_first()?;
            let (own, behind) = behind.split_at_checked(usize::from(*len))?;
            (*text, rest) = (str::from_utf8(own).ok()?, behind);
        }
        let [creator, partner, seller, campaign, product, product_set] = texts;
        Some(LinkFacts {
            version,
            kind: Kind::ALL[usize::from(bits & 3)],
            created_ms,
            ends_ms,
            creator_type: choice(CreatorType::ALL, bits >> 2 & 3)?,
            plan: choice(Plan::ALL, bits >> 4 & 3)?,
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

    /// Creation and end alone, in milliseconds since the epoch: what the click path asks, without reading the rest.
    pub fn times(bytes: &[u8]) -> Option<(u64, u64)> {
        let created_ms = u48(bytes.get(2..8)?);
        let own_end = bytes[1] & OWN_END != 0;
        let ends_ms = if own_end { u48(bytes.get(10..16)?) } else { created_ms.saturating_add(EARNS_MS) };
        Some((created_ms, ends_ms))
    }
}

fn u48(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn leb128(rest: &mut &[u8]) -> Option<u64> {
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

/// `Some(None)` for 0, `None` for a place nobody has.
fn choice<T: Copy>(all: &[T], place: u8) -> Option<Option<T>> {
    match place.checked_sub(1) {
        None => Some(None),
        Some(place) => all.get(usize::from(place)).map(|value| Some(*value)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> LinkFacts<'static> {
        LinkFacts {
            version: 1_793_000_000_123,
            kind: Kind::Product,
            created_ms: 1_793_491_200_000,
            ends_ms: 1_793_491_200_000 + EARNS_MS,
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
    fn a_link_with_an_own_end_says_it() {
        let facts = LinkFacts { ends_ms: 1_793_500_000_000, ..example() };
        let mut bytes = Vec::new();
        facts.encode(&mut bytes);
        assert_eq!(LinkFacts::decode(&bytes), Some(facts));
        assert_eq!(LinkFacts::times(&bytes), Some((facts.created_ms, facts.ends_ms)));
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

    proptest! {
        #[test]
        fn facts_come_back_as_they_went_in_and_stay_within_their_bound(
            version: u64, created_ms in 0..1u64 << 47, end in 0..EARNS_MS * 2, rate_bp in 0..=10_000u16, test: bool,
            kind in prop::sample::select(Kind::ALL), creator_type in prop::option::of(prop::sample::select(CreatorType::ALL)),
            plan in prop::option::of(prop::sample::select(Plan::ALL)), ids in prop::array::uniform6("[ -~\u{e4}]{0,60}"),
        ) {
            let [creator, partner, seller, campaign, product, product_set] = ids.each_ref().map(String::as_str);
            let facts = LinkFacts { version, kind, created_ms, ends_ms: created_ms + end, creator_type, plan, rate_bp,
                test, creator, partner, seller, campaign, product, product_set };
            let mut bytes = Vec::new();
            facts.encode(&mut bytes);
            prop_assert!(bytes.len() <= OVERHEAD + ids.iter().map(String::len).sum::<usize>());
            prop_assert_eq!(LinkFacts::decode(&bytes), Some(facts));
            prop_assert_eq!(LinkFacts::times(&bytes), Some((created_ms, created_ms + end)));
        }

        #[test]
        fn no_bytes_make_decode_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = LinkFacts::decode(&bytes);
        }
    }
}
