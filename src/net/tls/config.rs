//! `[tls]`: the certificates of the listeners with `tls = true`, and what belongs to `https`.

use std::path::PathBuf;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;

/// `[tls]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The files of certificates. The first certificate is sent to a client that asks for no server name, or for one
    /// that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    /// A directory of certificates: `NAME.crt` with `NAME.key`, or folders with `fullchain.pem` and `privkey.pem`. They
    /// come after `certificates`, sorted by path.
    pub directory: Option<PathBuf>,
    /// `Strict-Transport-Security` of answers over TLS, such as `max-age=31536000`, for domains without a value of
    /// their own.
    pub hsts: Option<String>,
    /// The port to which a listener with `redirect_to_https = true` redirects clients.
    pub https_port: u16,
    /// The directory into which an ACME client writes its challenges. Each file is served under its name.
    pub acme_challenges: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config { certificates: Vec::new(), directory: None, hsts: None, https_port: 443, acme_challenges: None }
    }
}

/// The files of one certificate.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM: the certificate, then the chain from it to a root that clients know.
    pub cert: PathBuf,
    /// PEM: the private key as PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl Config {
    /// Whether neither certificates nor a directory of them are configured.
    pub fn has_no_certificates(&self) -> bool {
        self.certificates.is_empty() && self.directory.is_none()
    }

    /// All values that are not allowed: the key relative to `tls`, then what is wrong. The files are checked when they
    /// are read: at the start, and by `waypost check`.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if self.certificates.iter().any(|files| files.cert.as_os_str().is_empty() || files.key.as_os_str().is_empty()) {
            errors.push(InvalidValue::new("certificates", "an empty path; allowed: files in PEM".to_owned()));
        }
        if let Some(text) = &self.hsts
            && parse_hsts(text).is_none()
        {
            errors.push(InvalidValue::new("hsts", format!("{text:?}; allowed: {HSTS_FORM}")));
        }
        if self.https_port == 0 {
            errors.push(InvalidValue::new("https_port", "0; allowed: 1 to 65535".to_owned()));
        }
        errors
    }
}

/// The form that [`parse_hsts`] accepts, for error messages.
pub const HSTS_FORM: &str = "max-age=SECONDS, then ; includeSubDomains and ; preload if they are meant";

/// Checks a value of `Strict-Transport-Security` and returns it as a header. `None`: it has not the form [`HSTS_FORM`].
pub fn parse_hsts(text: &str) -> Option<HeaderValue> {
    let mut parts = text.split(';').map(str::trim);
    let age = parts.next()?.strip_prefix("max-age=")?;
    let is_number = !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit());
    let is_valid = is_number && parts.all(|part| matches!(part, "includeSubDomains" | "preload"));
    HeaderValue::from_str(text).ok().filter(|_| is_valid)
}
