//! The redirect from `http` to `https`, on listeners with `redirect_to_https`.

use std::sync::Arc;

use http::{HeaderValue, Uri};

use crate::{
    edge::{
        answer::{Accounting, Answer},
        target::RequestedHost,
    },
    net::tls::ServedCertificates,
};

/// Redirects requests for hosts that have a certificate.
#[derive(Debug)]
pub struct HttpsRedirect {
    /// The certificates that are served now.
    certificates: Arc<ServedCertificates>,
    /// `tls.https_port`
    https_port: u16,
}

impl HttpsRedirect {
    /// A redirect to this port, for the hosts of these certificates.
    pub fn new(certificates: Arc<ServedCertificates>, https_port: u16) -> HttpsRedirect {
        HttpsRedirect { certificates, https_port }
    }

    /// A `302` to the same host, path and query by `https`. `None` if no certificate names the host: the redirect would
    /// lead the client to a certificate error.
    ///
    /// The status is `302` because caches do not keep it unless they are told to (RFC 9110 §15.4), and only GET and
    /// HEAD reach this point, so there is no method to preserve. Path and query stay as they are, byte by byte.
    pub(super) fn redirect_if_host_has_certificate(&self, host: &RequestedHost<'_>, uri: &Uri) -> Option<Answer> {
        let name = std::str::from_utf8(host.name).ok()?;
        self.certificates.current().find_by_name(name)?;
        let port = if self.https_port == 443 { String::new() } else { format!(":{}", self.https_port) };
        let path_and_query = uri.path_and_query().map_or("/", |path_and_query| path_and_query.as_str());
        let location = HeaderValue::try_from(format!("https://{name}{port}{path_and_query}")).ok()?;
        Some(Answer::redirect_302_to(location, host.domain, Accounting::HttpsRedirect))
    }
}
