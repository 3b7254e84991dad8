//! The hash of a visitor, by which a split chooses the variant. It never changes: another one would move every visitor.

/// The buckets of a split: a hundredth of a percent each.
pub(super) const BUCKETS: u16 = 10_000;

/// One byte of FNV-1a with 64 bits.
pub(super) const fn fnv1a_step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The last steps of MurmurHash3 with 64 bits: every bit of the result depends on every bit of the hash.
pub(super) const fn finish_hash(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
