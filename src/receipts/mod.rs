//! Receipts: what was counted for a creator on a day, signed, so that others can verify it without Waypost.
//!
//! A receipt states the counts of the day's clicks of one creator, and the roots of two Merkle trees ([`merkle`]): one
//! over the clicks, one over the order lines that these clicks earned. The creator gets the receipt, and for any click
//! the path that leads from its leaf to the stated root.
//!
//! # Format
//!
//! Everything that is hashed or signed is one JSON object in the canonical form of RFC 8785: keys in alphabetical
//! order, no space, UTF-8. It holds only texts, booleans, whole numbers up to 2^53, lists and objects; so a verifier
//! can write an object that it has read once more, and gets the same bytes.
//!
//! - [`leaf`]: a click is a leaf of the tree of clicks, sorted by click id. The leaf has the facts by which it counted.
//!   An order line is a leaf of the tree of lines, sorted by order id and line id.
//! - [`receipt`]: the receipt, and `signature`: Ed25519 over the receipt's canonical bytes, in base64url.
//! - [`proof`]: a leaf with its place and its path, beside the signed receipt.
//! - [`signing_key`]: the operator's private key, as PKCS#8 in PEM; the public key as SPKI in PEM. `key_id` is the
//!   first 16 digits of the SHA-256 of the 32 bytes of the public key.
//!
//! A correction is a receipt of a higher revision, which names the SHA-256 of the canonical bytes of the one before. So
//! two different receipts of one revision prove that the operator told two people different things.
//!
//! `deploy/receipts/verify_receipt.py` is a second implementation; `tests/fixtures/receipts` has golden vectors.

mod canonical;
mod leaf;
mod merkle;
mod proof;
mod receipt;
mod signing_key;
#[cfg(test)]
mod tests;

pub use self::{
    leaf::{ClickLeaf, LineLeaf},
    proof::{ClickProof, NotProved},
    receipt::{CountedDay, Receipt, ReceiptTerms, SignedReceipt},
    signing_key::{ReceiptKeyError, SigningKey},
};
