//! The target that a click was led to, as the click records it. It is chosen once, on the click path; whoever reads the
//! click reads the choice.
//!
//! ```text
//!   length u16 of what follows
//!   target index u8, 0xff for the link's own URL | split basis u8, 0 for none | bucket u16
//!   length u8, the variant's name | length u16, the facts: `os=ios;language=vi`
//!   what else u8, if there is some: bits 0 to 2 the way out of an app's browser, bits 3 and 4 the next hop, each 0 for
//!   none; bit 7: the targets are those of the domain
//! ```
//!
//! A reader ignores bytes behind what it knows: newer builds may add some.

use crate::word_enum::word_enum;

/// The most bytes of a variant's name. The record's validation refuses a longer one.
pub const MAX_VARIANT_LEN: usize = 32;
/// The most bytes of the facts. Those of a link's conditions are bounded below it.
pub const MAX_FACTS_LEN: usize = 2048;
/// The most bytes of an encoded choice.
pub(super) const MAX_ENCODED_LEN: usize = 2 + 4 + 1 + MAX_VARIANT_LEN + 2 + MAX_FACTS_LEN + 1;
/// The index of the link's own URL.
const OWN_URL: u8 = u8::MAX;
/// The bits of the last byte that hold the way out of an app's browser.
const WAY_OUT_BITS: u8 = 7;
/// Where the bits of the last byte begin that hold the next hop, and which they are.
const NEXT_HOP_SHIFT: u8 = 3;
const NEXT_HOP_BITS: u8 = 3 << NEXT_HOP_SHIFT;
/// Set in the last byte if the targets are those of the domain.
const OF_DOMAIN: u8 = 1 << 7;

word_enum! {
    /// Whose id the split hashed.
    pub enum SplitBasis {
        /// The visitor's: the next click of the visitor has the same variant.
        Visitor = "visitor",
        /// The click's, because there is no cookie: the next click can have another variant.
        Click = "click",
    }
}

word_enum! {
    /// How a page offered to leave an app's own browser.
    pub enum WayOut {
        /// An `intent:` URL of Android, which the default browser answers.
        Intent = "intent",
        /// `x-safari-https:` of iOS.
        Safari = "safari",
        /// A URL of the app's own scheme.
        AppScheme = "app",
        /// A text that says how to do it by hand.
        Instructions = "page",
    }
}

word_enum! {
    /// What became of the next hop that the request's own URL names.
    pub enum NextHop {
        /// Followed: the link lists its host.
        Listed = "listed",
        /// Followed: a key of this server signed it.
        Signed = "signed",
        /// Not followed; the click ended where it ends without a next hop.
        Refused = "refused",
    }
}

/// The choice of one click on a link with targets, in an app's own browser that the domain leaves, or with a next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetChoice<'a> {
    /// The target, from 0; `None`: the link's own URL.
    pub index: Option<u8>,
    /// The split, if a target asked for it.
    pub split: Option<SplitChoice<'a>>,
    /// What the conditions asked for and what they saw.
    pub facts: &'a [u8],
    /// How the page offered to leave the app's own browser; `None`: there was no such page.
    pub way_out: Option<WayOut>,
    /// Whether the targets are those of the domain, because the link has none.
    pub is_of_domain: bool,
    /// What became of the next hop; `None`: the request names none, or neither link nor domain allow one.
    pub next_hop: Option<NextHop>,
}

/// The variant of a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitChoice<'a> {
    /// The variant's name.
    pub variant: &'a [u8],
    /// The bucket, of 10 000.
    pub bucket: u16,
    /// Whose id was hashed.
    pub basis: SplitBasis,
}

impl<'a> TargetChoice<'a> {
    /// What the conditions saw of a fact, such as `ios` of `os`; `None` if none asked for it.
    pub fn find_fact(&self, name: &str) -> Option<&'a [u8]> {
        let mut facts = self.facts.split(|byte| *byte == b';');
        facts.find_map(|fact| fact.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// Appends the encoded choice. Longer texts than the bounds are cut.
    #[cold]
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let variant = self.split.map_or(&[][..], |split| split.variant);
        let variant = &variant[..variant.len().min(MAX_VARIANT_LEN)];
        let facts = &self.facts[..self.facts.len().min(MAX_FACTS_LEN)];
        let next_hop = self.next_hop.map_or(0, |next_hop| next_hop as u8 + 1) << NEXT_HOP_SHIFT;
        let of_domain = if self.is_of_domain { OF_DOMAIN } else { 0 };
        let more = self.way_out.map_or(0, |way| way as u8 + 1) | next_hop | of_domain;
        let len = 4 + 1 + variant.len() + 2 + facts.len() + usize::from(more != 0);
        out.extend_from_slice(&(len as u16).to_le_bytes());
        out.push(self.index.unwrap_or(OWN_URL));
        out.push(self.split.map_or(0, |split| split.basis as u8 + 1));
        out.extend_from_slice(&self.split.map_or(0, |split| split.bucket).to_le_bytes());
        out.push(variant.len() as u8);
        out.extend_from_slice(variant);
        out.extend_from_slice(&(facts.len() as u16).to_le_bytes());
        out.extend_from_slice(facts);
        if more != 0 {
            out.push(more);
        }
    }

    /// Decodes a choice; `None` if the bytes are none.
    #[cold]
    pub(super) fn decode(bytes: &'a [u8]) -> Option<TargetChoice<'a>> {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (&[index, basis, low, high], rest) =
            rest.get(..usize::from(u16::from_le_bytes(*len)))?.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first()?;
        let (variant, rest) = rest.split_at_checked(usize::from(*len))?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (facts, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        let more = rest.first().copied().unwrap_or_default();
        let split = match basis.checked_sub(1) {
            None => None,
            Some(number) => {
                let basis = *SplitBasis::ALL.get(usize::from(number))?;
                Some(SplitChoice { variant, bucket: u16::from_le_bytes([low, high]), basis })
            }
        };
        Some(TargetChoice {
            index: Some(index).filter(|index| *index != OWN_URL),
            split,
            facts,
            way_out: find_variant(&WayOut::ALL, more & WAY_OUT_BITS),
            is_of_domain: more & OF_DOMAIN != 0,
            next_hop: find_variant(&NextHop::ALL, (more & NEXT_HOP_BITS) >> NEXT_HOP_SHIFT),
        })
    }
}

/// The variant of a number; `None` for 0, and for one that only a newer build knows.
fn find_variant<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number.checked_sub(1)?)).copied()
}
