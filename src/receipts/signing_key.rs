//! The key pair that signs receipts: Ed25519 (RFC 8032). A secret that both sides know could not convince a third.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::attribution::private_file::{
    PrivateFileError, read_file_if_private, replace_private_file_atomically_and_sync,
};

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The digits of a key id.
const KEY_ID_DIGITS: usize = 16;

/// Why a key cannot be made or read. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptKeyError {
    /// The file cannot be read or written, or others than its owner may read it.
    #[error("receipt key {0}")]
    File(PrivateFileError),
    /// The file exists already.
    #[error("receipt key {0}: exists already; receipts that it signed need it. Give another file for a new key")]
    Exists(PathBuf),
    /// The content is no key.
    #[error("receipt key {0}: is no Ed25519 private key in PEM (PKCS#8); make one with `waypost keys new-receipt-key`")]
    Content(PathBuf),
    /// The system gives no random bytes.
    #[error("receipt key {0}: the system gives no random bytes")]
    Random(PathBuf),
}

/// The key pair.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a key and writes it to a new file of mode 0600.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn create_file(path: &Path) -> Result<SigningKey, ReceiptKeyError> {
        if path.exists() {
            return Err(ReceiptKeyError::Exists(path.to_owned()));
        }
        let random = |_| ReceiptKeyError::Random(path.to_owned());
        let key = Ed25519KeyPair::generate().map_err(random)?;
        let pkcs8 = key.to_pkcs8v1().map_err(random)?;
        let pem = Zeroizing::new(to_pem(PRIVATE_LABEL, pkcs8.as_ref()));
        replace_private_file_atomically_and_sync(path, pem.as_bytes()).map_err(ReceiptKeyError::File)?;
        Ok(SigningKey(key))
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or it holds no key.
    pub fn load(path: &Path) -> Result<SigningKey, ReceiptKeyError> {
        let bytes = read_file_if_private(path).map_err(ReceiptKeyError::File)?;
        SigningKey::parse_pem(&bytes).ok_or_else(|| ReceiptKeyError::Content(path.to_owned()))
    }

    pub(super) fn parse_pem(pem: &[u8]) -> Option<SigningKey> {
        let pkcs8 = from_pem(PRIVATE_LABEL, pem)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok().map(SigningKey)
    }

    /// The 32 bytes of the public key.
    pub(super) fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// The public key as others need it: SubjectPublicKeyInfo in PEM.
    pub fn public_key_pem(&self) -> String {
        to_pem(PUBLIC_LABEL, &[&SPKI_PREFIX[..], &self.public_key()].concat())
    }

    /// The name of the key in receipts.
    pub fn key_id(&self) -> String {
        let digest = Sha256::digest(self.public_key());
        digest.iter().take(KEY_ID_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Signs bytes; base64url without padding.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(bytes))
    }
}

/// Whether a signature of [`SigningKey::sign`] is genuine.
pub(super) fn verify_signature(public_key: &[u8; 32], bytes: &[u8], signature: &str) -> bool {
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, &signature).is_ok()
}

fn to_pem(label: &str, der: &[u8]) -> String {
    // A line of PEM has 64 characters; a key of this kind has one.
    let base64 = Zeroizing::new(STANDARD.encode(der));
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", *base64)
}

fn from_pem(label: &str, pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = str::from_utf8(pem).ok()?.trim();
    let base64 = text.strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let base64 = base64.strip_suffix(&format!("-----END {label}-----"))?;
    let joined = Zeroizing::new(base64.split_ascii_whitespace().collect::<String>());
    STANDARD.decode(&*joined).ok().map(Zeroizing::new)
}
