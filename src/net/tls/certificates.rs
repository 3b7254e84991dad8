//! Certificates: read from their files, checked, and found by server name.
//!
//! A name that a client asks for is looked up exactly, then with its first label as `*`; names come from the certificate alone. Of two
//! certificates with one name the earlier is shown. No name, or one that nobody has: the first certificate.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::net::tls::{Config, PairFiles};

/// A file of PEM larger than this is none, bytes: the longest chains in use take some 20 KiB.
const MAX_FILE: u64 = 1 << 20;

/// Why a pair is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}; the process's user must be able to read it")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of pairs has none.
    #[error("{0}: no pair in it; put NAME.crt and NAME.key there, or a folder with fullchain.pem and privkey.pem")]
    Empty(PathBuf),
    /// Nothing of the kind wanted stands in the file.
    #[error("{path}: no {wanted} in PEM ({why}); {hint}")]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// `certificate` or `private key`
        wanted: &'static str,
        /// What the reader said.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The certificate cannot be parsed.
    #[error("{path}: the certificate is damaged: {why}; ask its issuer for it again")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// The key is not the certificate's, or of a kind that cannot sign.
    #[error("{key}: not the key of {cert}: {why}; give the key that the certificate was asked for with")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library said.
        why: String,
    },
    /// Outside its days.
    #[error("{path}: {what}; get a new one")]
    NotValidNow {
        /// Which file.
        path: PathBuf,
        /// Expired, or not valid yet.
        what: &'static str,
    },
}

impl CertificateError {
    fn not_pem(path: &Path, wanted: &'static str, why: String, hint: &'static str) -> CertificateError {
        CertificateError::NotPem { path: path.to_owned(), wanted, why, hint }
    }
}

/// One certificate with its key, ready to be shown.
#[derive(Debug)]
pub struct Pair {
    files: PairFiles,
    /// What is shown.
    shown: Arc<CertifiedKey>,
    /// The DNS names in lower case, `*.` in front of wildcards; addresses as text.
    names: Vec<String>,
    /// Seconds since the epoch.
    not_before: i64,
    not_after: i64,
}

impl Pair {
    /// Reads and checks a pair: both files can be read, the key is the certificate's. Its days are for the caller to judge.
    pub fn read(files: &PairFiles) -> Result<Pair, CertificateError> {
        let chain = certificates_in(&files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&zeroize::Zeroizing::new(read(&files.key)?)).map_err(|error| {
            let hint = "it must be PKCS#8, PKCS#1 or SEC1 without a passphrase";
            CertificateError::not_pem(&files.key, "private key", error.to_string(), hint)
        })?;
        let (names, not_before, not_after) = said(&files.cert, &chain[0])?;
        let mismatch = |why: rustls::Error| CertificateError::Mismatch {
            cert: files.cert.clone(),
            key: files.key.clone(),
            why: why.to_string(),
        };
        let signing = aws_lc_rs::sign::any_supported_type(&key).map_err(mismatch)?;
        let shown = CertifiedKey::new(chain, signing);
        shown.keys_match().map_err(mismatch)?;
        Ok(Pair { files: files.clone(), shown: Arc::new(shown), names, not_before, not_after })
    }

    /// Why it is not valid at this time, seconds since the epoch, if it is not.
    pub fn not_valid_at(&self, now: i64) -> Option<CertificateError> {
        let what = match now {
            _ if now > self.not_after => "the certificate has expired",
            _ if now < self.not_before => "the certificate is not valid yet",
            _ => return None,
        };
        Some(CertificateError::NotValidNow { path: self.files.cert.clone(), what })
    }

    /// The first name, or the file where it has none: what metrics and logs call it.
    pub fn name(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.files.cert.display().to_string())
    }

    /// Its files.
    pub fn files(&self) -> &PairFiles {
        &self.files
    }

    /// When it ends, seconds since the epoch.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    fn same(&self, other: &Pair) -> bool {
        self.files == other.files && self.shown.cert == other.shown.cert
    }
}

/// Shown by a client, to whoever asks for one.
impl ResolvesClientCert for Pair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let not_pem = |why, hint| CertificateError::not_pem(path, "certificate", why, hint);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(not_pem("nothing found".into(), "it begins with -----BEGIN CERTIFICATE-----")),
        Err(error) => Err(not_pem(error.to_string(), "write the file again")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(unreadable(io::Error::other("larger than 1 MiB")));
    }
    std::fs::read(path).map_err(unreadable)
}

/// The names of a certificate, and its first and last second.
fn said(path: &Path, der: &CertificateDer<'_>) -> Result<(Vec<String>, i64, i64), CertificateError> {
    let damaged = |why: String| CertificateError::Damaged { path: path.to_owned(), why };
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
    let alternative = parsed.subject_alternative_name().map_err(|error| damaged(error.to_string()))?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    let names = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
    let days = parsed.validity();
    Ok((names, days.not_before.timestamp(), days.not_after.timestamp()))
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        _ => None,
    }
}

/// The pairs that the configuration names now, its directory listed anew: those written out, then those of the directory by name.
pub fn pairs(config: &Config) -> Result<Vec<PairFiles>, CertificateError> {
    let mut pairs = config.certificates.clone();
    if let Some(directory) = &config.directory {
        let unreadable = |source| CertificateError::Unreadable { path: directory.clone(), source };
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                // `..data` and its like: a mounted secret's own machinery.
            } else if path.extension().is_some_and(|extension| extension == "crt") {
                found.insert(PairFiles { key: path.with_extension("key"), cert: path });
            } else if path.join("fullchain.pem").exists() {
                found.insert(PairFiles { cert: path.join("fullchain.pem"), key: path.join("privkey.pem") });
            }
        }
        if found.is_empty() {
            return Err(CertificateError::Empty(directory.clone()));
        }
        pairs.extend(found);
    }
    Ok(pairs)
}

/// Certificates by name. Immutable: a reload builds another.
#[derive(Debug, Default)]
pub struct Certificates {
    pairs: Vec<Arc<Pair>>,
    /// A name, lower case, to its place in `pairs`.
    by_name: HashMap<String, usize>,
}

impl Certificates {
    /// Reads every pair, for a start.
    ///
    /// # Errors
    /// Every pair that cannot be served. One outside its days can: it may be this machine's clock that is wrong, buyers by a clock of
    /// their own and those who do not look still come through, and a start that is refused would take every other name and the plain
    /// listeners with it. `waypost check` refuses it.
    pub fn open(config: &Config) -> Result<Certificates, Vec<CertificateError>> {
        let files = pairs(config).map_err(|error| vec![error])?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for files in &files {
            match Pair::read(files) {
                Ok(pair) => good.push(Arc::new(pair)),
                Err(error) => bad.push(error),
            }
        }
        if bad.is_empty() { Ok(Certificates::of(good)) } else { Err(bad) }
    }

    /// Reads every pair anew while `self` is served. A pair that is bad now stays as it is served, and so does the whole set where
    /// the directory cannot be listed; a pair outside its days replaces only what is gone. What was refused comes beside it.
    pub fn renewed(&self, config: &Config, now: i64) -> (Certificates, Vec<CertificateError>) {
        let files = match pairs(config) {
            Ok(files) => files,
            Err(error) => return (Certificates::of(self.pairs.clone()), vec![error]),
        };
        let (mut pairs, mut refused) = (Vec::new(), Vec::new());
        for files in &files {
            let old = self.pairs.iter().find(|pair| pair.files == *files);
            let new = Pair::read(files).and_then(|new| match (old, new.not_valid_at(now)) {
                (Some(old), Some(error)) if !old.same(&new) => Err(error),
                (None, Some(error)) => Err(error),
                _ => Ok(new),
            });
            match new {
                Ok(new) => pairs.push(Arc::new(new)),
                Err(error) => {
                    refused.push(error);
                    pairs.extend(old.cloned());
                }
            }
        }
        (Certificates::of(pairs), refused)
    }

    fn of(pairs: Vec<Arc<Pair>>) -> Certificates {
        let mut by_name = HashMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            for name in &pair.names {
                by_name.entry(name.clone()).or_insert(place);
            }
        }
        Certificates { pairs, by_name }
    }

    /// Every pair, the default first.
    pub fn pairs(&self) -> &[Arc<Pair>] {
        &self.pairs
    }

    /// The pair for a name, in any case, if one has it.
    pub fn named(&self, name: &str) -> Option<&Arc<Pair>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let place = self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?));
        place.and_then(|place| self.pairs.get(*place))
    }
}

/// The certificates in force; each handshake looks here.
#[derive(Debug)]
pub struct Served(ArcSwap<Certificates>);

impl Served {
    /// Serves these.
    pub fn new(certificates: Certificates) -> Served {
        Served(ArcSwap::from_pointee(certificates))
    }

    /// Serves these from the next handshake on. Open connections are not touched.
    pub fn serve(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }

    /// Whether this is the default certificate itself, as it is shown now.
    pub(super) fn shows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0.load().pairs.first().and_then(|pair| pair.shown.cert.first()).is_some_and(|own| own == certificate)
    }

    /// Those in force now.
    pub fn now(&self) -> Arc<Certificates> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let named = hello.server_name().and_then(|name| certificates.named(name));
        named.or(certificates.pairs.first()).map(|pair| pair.shown.clone())
    }
}
