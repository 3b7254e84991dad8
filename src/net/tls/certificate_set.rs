//! The certificates that a listener serves, looked up by server name.
//!
//! A server name is looked up as it is, then with its first label replaced by `*`. The names come from the certificates
//! alone. If two certificates have one name, the earlier one is served. A client without a server name, or with an
//! unknown one, gets the first certificate.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::net::tls::{
    certificate::{Certificate, CertificateError},
    config::{CertificateFiles, Config},
};

/// Lists the files of all configured certificates: first `certificates`, then the directory's as it is now, by path.
pub fn list_configured_certificate_files(config: &Config) -> Result<Vec<CertificateFiles>, CertificateError> {
    let mut files = config.certificates.clone();
    if let Some(directory) = &config.directory {
        files.extend(list_certificate_files_in_directory(directory)?);
    }
    Ok(files)
}

/// Lists the certificates of a directory, at least one.
fn list_certificate_files_in_directory(directory: &Path) -> Result<BTreeSet<CertificateFiles>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: directory.to_owned(), source };
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            // Such as `..data`, by which Kubernetes swaps the files of a mounted secret.
        } else if path.extension().is_some_and(|extension| extension == "crt") {
            found.insert(CertificateFiles { key: path.with_extension("key"), cert: path });
        } else if path.join("fullchain.pem").exists() {
            found.insert(CertificateFiles { cert: path.join("fullchain.pem"), key: path.join("privkey.pem") });
        }
    }
    if found.is_empty() { Err(CertificateError::EmptyDirectory(directory.to_owned())) } else { Ok(found) }
}

/// An immutable set of certificates with an index by name. A reload builds a new one.
#[derive(Debug, Default)]
pub struct CertificateSet {
    certificates: Vec<Arc<Certificate>>,
    /// By name in lower case; the value is an index into `certificates`.
    by_name: HashMap<String, usize>,
}

impl CertificateSet {
    /// Reads every configured certificate, for a start.
    ///
    /// # Errors
    /// All certificates that cannot be served. One outside its validity can be served: the clock of this machine may be
    /// wrong, some clients do not check, and a refused start would take all other names and the plain listeners down
    /// too. `waypost check` refuses it.
    pub fn load_all_even_if_expired(config: &Config) -> Result<CertificateSet, Vec<CertificateError>> {
        let files = list_configured_certificate_files(config).map_err(|error| vec![error])?;
        let (mut certificates, mut errors) = (Vec::new(), Vec::new());
        for files in &files {
            match Certificate::read_and_check_key_matches(files) {
                Ok(certificate) => certificates.push(Arc::new(certificate)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(CertificateSet::index_by_name_first_wins(certificates)) } else { Err(errors) }
    }

    /// Reads every configured certificate again. A certificate that is refused now keeps its old version, if there is
    /// one; if the directory cannot be listed, the whole set stays. A certificate outside its validity at
    /// `now_unix_secs` is refused, unless it is the one of before. Returns the new set, and the refusals.
    pub fn reload_keeping_old_and_return_refusals(
        &self,
        config: &Config,
        now_unix_secs: i64,
    ) -> (CertificateSet, Vec<CertificateError>) {
        let files = match list_configured_certificate_files(config) {
            Ok(files) => files,
            Err(error) => return (CertificateSet::index_by_name_first_wins(self.certificates.clone()), vec![error]),
        };
        let (mut certificates, mut refusals) = (Vec::new(), Vec::new());
        for files in &files {
            let old = self.certificates.iter().find(|certificate| certificate.files() == files);
            match read_replacement_and_check_validity_if_changed(files, old, now_unix_secs) {
                Ok(new) => certificates.push(Arc::new(new)),
                Err(error) => {
                    refusals.push(error);
                    certificates.extend(old.cloned());
                }
            }
        }
        (CertificateSet::index_by_name_first_wins(certificates), refusals)
    }

    fn index_by_name_first_wins(certificates: Vec<Arc<Certificate>>) -> CertificateSet {
        let mut by_name = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in certificate.names() {
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        CertificateSet { certificates, by_name }
    }

    /// Every certificate, the default first.
    pub fn all(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// Finds the certificate for a server name in any case, with wildcards.
    pub fn find_by_name(&self, name: &str) -> Option<&Arc<Certificate>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let index = self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))?;
        self.certificates.get(*index)
    }
}

/// Reads a certificate that is to replace `old`. It must be valid at `now_unix_secs`, unless it is the same as `old`.
fn read_replacement_and_check_validity_if_changed(
    files: &CertificateFiles,
    old: Option<&Arc<Certificate>>,
    now_unix_secs: i64,
) -> Result<Certificate, CertificateError> {
    let new = Certificate::read_and_check_key_matches(files)?;
    if !old.is_some_and(|old| old.is_same_as(&new)) {
        new.check_valid_at_unix_secs(now_unix_secs)?;
    }
    Ok(new)
}

/// The set that handshakes use now. A reload replaces it.
#[derive(Debug)]
pub struct ServedCertificates(ArcSwap<CertificateSet>);

impl ServedCertificates {
    /// Serves this set.
    pub fn new(certificates: CertificateSet) -> ServedCertificates {
        ServedCertificates(ArcSwap::from_pointee(certificates))
    }

    /// Serves this set from the next handshake on. Open connections stay as they are.
    pub fn replace(&self, certificates: CertificateSet) {
        self.0.store(Arc::new(certificates));
    }

    /// Whether the first certificate, which is the default one, is exactly this.
    pub(super) fn is_default_certificate(&self, other: &CertificateDer<'_>) -> bool {
        let served = self.0.load();
        let default = served.certificates.first().and_then(|certificate| certificate.certified_key.cert.first());
        default.is_some_and(|default| default == other)
    }

    /// The set that is served now.
    pub fn current(&self) -> Arc<CertificateSet> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for ServedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.0.load();
        let found = hello.server_name().and_then(|name| served.find_by_name(name));
        found.or(served.certificates.first()).map(|certificate| certificate.certified_key.clone())
    }
}
