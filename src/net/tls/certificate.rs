//! One certificate with its key: read from its files and checked.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::net::tls::config::CertificateFiles;

/// The largest PEM file that is read, in bytes. The longest chains in use take some 20 KiB.
const MAX_FILE_LEN: u64 = 1 << 20;

/// A certificate is refused.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}; the process's user must be able to read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The configured directory holds no certificate.
    #[error("{0}: no pair in it; put NAME.crt and NAME.key there, or a folder with fullchain.pem and privkey.pem")]
    EmptyDirectory(PathBuf),
    /// A file holds nothing of the expected kind.
    #[error("{path}: no {expected} in PEM ({why}); {advice}")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`
        expected: &'static str,
        /// The parser's error.
        why: String,
        /// What to do.
        advice: &'static str,
    },
    /// A certificate cannot be parsed.
    #[error("{path}: the certificate is damaged: {why}; ask its issuer for it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        why: String,
    },
    /// The key is not the certificate's, or is of a kind that cannot sign.
    #[error("{key}: not the key of {cert}: {why}; give the key that the certificate was asked for with")]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The library's error.
        why: String,
    },
    /// The time is outside the certificate's validity.
    #[error("{path}: {what}; get a new one")]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// Expired, or not valid yet.
        what: &'static str,
    },
}

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Certificate {
    files: CertificateFiles,
    pub(super) certified_key: Arc<CertifiedKey>,
    contents: CertificateContents,
}

/// What the parsed certificate says.
#[derive(Debug)]
struct CertificateContents {
    /// The DNS names in lower case, `*.` in front of wildcards, and addresses as text.
    names: Vec<String>,
    /// The validity in seconds since the Unix epoch.
    not_before: i64,
    not_after: i64,
}

impl Certificate {
    /// Reads both files and checks that they hold a certificate and its key. The caller checks the validity by
    /// [`Certificate::check_valid_at_unix_secs`].
    pub fn read_and_check_key_matches(files: &CertificateFiles) -> Result<Certificate, CertificateError> {
        let chain = read_pem_certificates(&files.cert)?;
        let key = read_pem_private_key(&files.key)?;
        let contents = parse_certificate_names_and_validity(&files.cert, &chain[0])?;
        let mismatch = |why: rustls::Error| CertificateError::KeyMismatch {
            cert: files.cert.clone(),
            key: files.key.clone(),
            why: why.to_string(),
        };
        let signing_key = aws_lc_rs::sign::any_supported_type(&key).map_err(mismatch)?;
        let certified_key = CertifiedKey::new(chain, signing_key);
        certified_key.keys_match().map_err(mismatch)?;
        Ok(Certificate { files: files.clone(), certified_key: Arc::new(certified_key), contents })
    }

    /// Checks the validity at a time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`CertificateError::NotValidNow`]
    pub fn check_valid_at_unix_secs(&self, now_unix_secs: i64) -> Result<(), CertificateError> {
        let what = match now_unix_secs {
            _ if now_unix_secs > self.contents.not_after => "the certificate has expired",
            _ if now_unix_secs < self.contents.not_before => "the certificate is not valid yet",
            _ => return Ok(()),
        };
        Err(CertificateError::NotValidNow { path: self.files.cert.clone(), what })
    }

    /// The name for metrics and logs: the first DNS name or address, or the file if it has none.
    pub fn display_name(&self) -> String {
        self.contents.names.first().cloned().unwrap_or_else(|| self.files.cert.display().to_string())
    }

    /// The DNS names in lower case, `*.` in front of wildcards, and addresses as text.
    pub(super) fn names(&self) -> &[String] {
        &self.contents.names
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// The end of its validity in seconds since the Unix epoch.
    pub fn not_after(&self) -> i64 {
        self.contents.not_after
    }

    /// Whether `other` has the same files and the same chain.
    pub(super) fn is_same_as(&self, other: &Certificate) -> bool {
        self.files == other.files && self.certified_key.cert == other.certified_key.cert
    }
}

/// As a client, it authenticates with this certificate to every server that asks for one.
impl ResolvesClientCert for Certificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Reads the certificates of a PEM file, at least one.
pub(super) fn read_pem_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let not_pem = |why, advice| not_pem(path, "certificate", why, advice);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read_file_unless_above_max_len(path)?).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(not_pem("nothing found".into(), "it begins with -----BEGIN CERTIFICATE-----")),
        Err(error) => Err(not_pem(error.to_string(), "write the file again")),
    }
}

fn read_pem_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let pem = Zeroizing::new(read_file_unless_above_max_len(path)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        not_pem(path, "private key", error.to_string(), "it must be PKCS#8, PKCS#1 or SEC1 without a passphrase")
    })
}

fn not_pem(path: &Path, expected: &'static str, why: String, advice: &'static str) -> CertificateError {
    CertificateError::NotPem { path: path.to_owned(), expected, why, advice }
}

/// Reads a file of at most [`MAX_FILE_LEN`] bytes.
fn read_file_unless_above_max_len(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(unreadable)?.len();
    if len > MAX_FILE_LEN {
        return Err(unreadable(io::Error::other("larger than 1 MiB")));
    }
    std::fs::read(path).map_err(unreadable)
}

/// Parses the names and the validity of a certificate. `path` is for the error.
fn parse_certificate_names_and_validity(
    path: &Path,
    der: &CertificateDer<'_>,
) -> Result<CertificateContents, CertificateError> {
    let damaged = |why: String| CertificateError::Damaged { path: path.to_owned(), why };
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
    let alternative_names = parsed.subject_alternative_name().map_err(|error| damaged(error.to_string()))?;
    let to_text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => ip_address_to_text(bytes),
        _ => None,
    };
    let names = alternative_names.iter().flat_map(|names| &names.value.general_names).filter_map(to_text).collect();
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Ok(CertificateContents { names, not_before, not_after })
}

/// The text of an IPv4 or IPv6 address. `None`: the bytes are neither.
fn ip_address_to_text(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}
