//! The Merkle tree of RFC 6962, section 2.1, with SHA-256.
//!
//! - hash of no leaf: SHA-256 of nothing
//! - hash of a leaf: SHA-256(0x00 ‖ leaf)
//! - hash of more leaves: SHA-256(0x01 ‖ hash of the first k ‖ hash of the rest), k the greatest power of two below
//!   their number
//!
//! The first byte keeps a leaf from passing as a node. A path names the number of leaves beside its hashes, and a
//! verifier takes that number from the signed receipt: so a path fits one place of one tree.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// The hash of a leaf.
pub(super) fn hash_leaf(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

fn hash_node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The greatest power of two below `count`, which is at least 2.
const fn split_point(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The root of the tree over these leaves' hashes.
pub(super) fn compute_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split_point(leaves.len()));
            hash_node(&compute_root(left), &compute_root(right))
        }
    }
}

/// The path of a leaf: the hashes of the subtrees beside it, from the leaf up. `None` if there is no such leaf.
pub(super) fn compute_path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let split = split_point(leaves.len());
    let (left, right) = leaves.split_at(split);
    let (mut path, beside) = match index < split {
        true => (compute_path(left, index)?, right),
        false => (compute_path(right, index - split)?, left),
    };
    path.push(compute_root(beside));
    Some(path)
}

/// The root that a leaf's hash and its path lead to. `None` if a tree of `count` leaves has no such path.
pub(super) fn root_of_path(leaf: Hash, index: usize, count: usize, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    let Some((beside, below)) = path.split_last() else { return (count == 1).then_some(leaf) };
    if count == 1 {
        return None;
    }
    let split = split_point(count);
    match index < split {
        true => Some(hash_node(&root_of_path(leaf, index, split, below)?, beside)),
        false => Some(hash_node(beside, &root_of_path(leaf, index - split, count - split, below)?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(count: usize) -> Vec<Hash> {
        (0..count).map(|number| hash_leaf(&number.to_le_bytes())).collect()
    }

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The leaves and roots of the reference implementation of RFC 6962 in Certificate Transparency.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let hashes: Vec<Hash> = leaves.into_iter().map(hash_leaf).collect();
        let root_of = |count: usize| hex(compute_root(&hashes[..count]));
        assert_eq!(root_of(0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(root_of(1), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(root_of(2), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(root_of(3), "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
        assert_eq!(root_of(5), "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4");
        assert_eq!(root_of(8), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    proptest! {
        #[test]
        fn every_leaf_is_proved_and_nothing_else_by_its_path(
            count in 1..70usize, index in 0..70usize, other in 0..70usize, bit in 0..256usize, height in 0..8usize,
        ) {
            let (index, other) = (index % count, other % count);
            let leaves = hashes(count);
            let root = compute_root(&leaves);
            let path = compute_path(&leaves, index).unwrap();
            prop_assert_eq!(root_of_path(leaves[index], index, count, &path), Some(root));
            // Another leaf, another place, a path that is too short or too long.
            prop_assert_eq!(root_of_path(leaves[other], index, count, &path) == Some(root), other == index);
            prop_assert_eq!(root_of_path(leaves[index], other, count, &path) == Some(root), other == index);
            let longer = [&*path, &[root]].concat();
            prop_assert_eq!(root_of_path(leaves[index], index, count, &longer), None);
            if let Some((_, shorter)) = path.split_last() {
                prop_assert_ne!(root_of_path(leaves[index], index, count, shorter), Some(root));
            }
            // One bit of the leaf, or of a hash of the path.
            let mut leaf = leaves[index];
            leaf[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root_of_path(leaf, index, count, &path), Some(root));
            if let Some(height) = (!path.is_empty()).then(|| height % path.len()) {
                let mut path = path;
                path[height][bit / 8] ^= 1 << (bit % 8);
                prop_assert_ne!(root_of_path(leaves[index], index, count, &path), Some(root));
            }
            prop_assert_eq!(compute_path(&leaves, count), None);
        }

        #[test]
        fn a_node_is_no_leaf(count in 2..70usize) {
            let leaves = hashes(count);
            let (left, right) = leaves.split_at(split_point(count));
            let node = [compute_root(left), compute_root(right)].concat();
            prop_assert_ne!(hash_leaf(&node), compute_root(&leaves));
        }
    }
}
