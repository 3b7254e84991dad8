//! The targets of a link, as a click asks them: compiled when the link is loaded, at the end of the link's own
//! allocation. A link without targets has none of these bytes.
//!
//! # The bytes, little-endian
//!
//! ```text
//!   seed u64, which tells the splits of links apart
//!   variants u8, then for each: end bucket u16 | name length u8 | name
//!   targets, each: length u32 of what follows | facts u16 | conditions length u16 | conditions | URL template
//!   condition: kind u8, bit 7 negated | operand length u16 | operand ([`condition`])
//! ```
//!
//! A visitor's bucket is one of `hash::BUCKETS`. The variants take the buckets in their order, each as many as its
//! weight says, so that a change of weights moves only the visitors between the old and the new bounds.

mod compile;
mod condition;
mod describe;
mod hash;
#[cfg(test)]
mod tests;

pub(super) use self::compile::{CompiledTarget, compile_targets};
pub use self::condition::{AskedParameter, CompiledCondition, Verdict};
use self::hash::{BUCKETS, finish_hash, fnv1a_step};
use crate::links::{
    destination::UrlTemplate,
    facts::{FactSet, Facts},
};

/// The targets of a link, borrowed from its bytes; none by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Targets<'a> {
    seed: u64,
    variants: &'a [u8],
    targets: &'a [u8],
}

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The facts that its conditions ask for.
    pub asks: FactSet,
    conditions: &'a [u8],
    /// Its destination.
    pub template: UrlTemplate<'a>,
}

impl<'a> Targets<'a> {
    /// The targets in these bytes; none if the bytes end early.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Targets<'a> {
        let none = Targets::default();
        let Some((seed, rest)) = bytes.split_first_chunk::<8>() else { return none };
        let Some((count, rest)) = rest.split_first() else { return none };
        let mut targets = rest;
        for _ in 0..*count {
            let Some(variant) = split_variant(targets) else { return none };
            targets = variant.behind;
        }
        let variants = &rest[..rest.len() - targets.len()];
        Targets { seed: u64::from_le_bytes(*seed), variants, targets }
    }

    /// The targets, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = Target<'a>> + use<'a> {
        let mut rest = self.targets;
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first_chunk::<4>()?;
            let (target, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            rest = behind;
            Target::from_bytes(target)
        })
    }

    /// The bucket of a visitor, or of a click, by the hash of its id.
    pub fn bucket_of(&self, id: &[u8; 16]) -> u16 {
        let hash = id.iter().fold(self.seed, |hash, byte| fnv1a_step(hash, *byte));
        // FNV mixes its upper bits poorly.
        ((u128::from(finish_hash(hash)) * u128::from(BUCKETS)) >> 64) as u16
    }

    /// The index and the name of the variant that a bucket belongs to; `None` without a split.
    pub fn variant_of(&self, bucket: u16) -> Option<(u8, &'a [u8])> {
        let mut rest = self.variants;
        let mut index = 0;
        while let Some(SplitVariant { end, name, behind }) = split_variant(rest) {
            if bucket < end {
                return Some((index, name));
            }
            (index, rest) = (index + 1, behind);
        }
        None
    }

    /// The names of the variants, in their order.
    pub fn variant_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.variants;
        std::iter::from_fn(move || {
            let variant = split_variant(rest)?;
            rest = variant.behind;
            Some(variant.name)
        })
    }
}

impl<'a> Target<'a> {
    fn from_bytes(bytes: &'a [u8]) -> Option<Target<'a>> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (conditions, template) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[2], head[3]])))?;
        let asks = FactSet::from_bits(u16::from_le_bytes([head[0], head[1]]));
        Some(Target { asks, conditions, template: UrlTemplate::from_bytes(template) })
    }

    /// Its conditions.
    pub fn conditions(&self) -> impl Iterator<Item = CompiledCondition<'a>> + use<'a> {
        condition::split_conditions(self.conditions)
    }

    /// Looks for the parameters of the query that the conditions ask for, unless a target before did.
    pub fn find_parameters(&self, facts: &mut Facts<'_>) {
        for AskedParameter { number, name } in self.conditions().filter_map(|condition| condition.parameter()) {
            facts.find_parameter(number, name);
        }
    }

    /// Whether every condition holds. `facts` has what the target asks for.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.conditions().all(|condition| condition.judge(facts).holds)
    }
}

/// A variant, and the bytes behind it.
struct SplitVariant<'a> {
    /// The bucket behind its last one.
    end: u16,
    name: &'a [u8],
    behind: &'a [u8],
}

/// The first variant in these bytes.
fn split_variant(bytes: &[u8]) -> Option<SplitVariant<'_>> {
    let (end, rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = rest.split_first()?;
    let (name, behind) = rest.split_at_checked(usize::from(*len))?;
    Some(SplitVariant { end: u16::from_le_bytes(*end), name, behind })
}
