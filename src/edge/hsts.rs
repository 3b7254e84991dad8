//! `Strict-Transport-Security` (HSTS, RFC 6797): tells browsers to use `https` alone for a host.

use http::HeaderValue;

use crate::links::domains::Domain;

/// The header of an answer over TLS: the domain's own, else the default.
pub(super) fn hsts_header(domain: &Domain, default: Option<&HeaderValue>) -> Option<HeaderValue> {
    domain.hsts.as_ref().or(default).cloned()
}
