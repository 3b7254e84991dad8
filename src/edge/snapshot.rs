//! The snapshot of everything that answers depend on besides the request: links, keys, domains, certificates, files of
//! countries and settings.

use std::sync::Arc;

use http::HeaderValue;

use crate::{
    attribution::keyring::Keyring,
    client::address::TrustedProxies,
    edge::{acme::AcmeChallenges, domain_responses::DomainResponses, https_redirect::HttpsRedirect},
    geoip::Databases,
    links::{
        LockedLink, Table,
        domains::{Domain, Domains},
        suspensions::Suspensions,
    },
};

/// One snapshot. Its parts are shared, so a clone is cheap: a reload publishes a clone with one part replaced, and a
/// request is answered from one snapshot from start to end. Of all parts only the table changes in place, a link at a
/// time; a request looks its link up and keeps it.
#[derive(Clone)]
pub struct Edge {
    pub(super) links: Arc<Table>,
    pub(super) suspensions: Arc<Suspensions>,
    pub(super) keys: Arc<Keyring>,
    pub(super) domains: Arc<Domains>,
    /// In the order of the domains' ids.
    domain_responses: Arc<[DomainResponses]>,
    pub(super) trusted_proxies: Arc<TrustedProxies>,
    pub(super) geoip: Arc<Databases>,
    /// `tls.hsts`, for domains without an `hsts` of their own.
    pub(super) default_hsts: Option<HeaderValue>,
    pub(super) https_redirect: Option<Arc<HttpsRedirect>>,
    pub(super) acme_challenges: Arc<AcmeChallenges>,
}

impl Edge {
    /// A snapshot without MMDB files and without TLS: no HSTS, no redirect to `https`, no ACME challenges. Formats
    /// every domain's responses.
    pub fn new(
        links: Arc<Table>,
        keys: Arc<Keyring>,
        domains: Arc<Domains>,
        trusted_proxies: Arc<TrustedProxies>,
    ) -> Edge {
        Edge {
            links,
            suspensions: Arc::default(),
            keys,
            domain_responses: domains.all().iter().map(DomainResponses::new).collect(),
            domains,
            trusted_proxies,
            geoip: Arc::default(),
            default_hsts: None,
            https_redirect: None,
            acme_challenges: Arc::default(),
        }
    }

    /// How many links there are.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// The domains.
    pub fn domains(&self) -> &Arc<Domains> {
        &self.domains
    }

    /// The links that requests are answered from.
    #[cfg(test)]
    pub(crate) fn links(&self) -> &Arc<Table> {
        &self.links
    }

    /// This snapshot with other links.
    pub fn with_links(&self, links: Arc<Table>) -> Edge {
        Edge { links, ..self.clone() }
    }

    /// This snapshot with other suspensions.
    pub fn with_suspensions(&self, suspensions: Arc<Suspensions>) -> Edge {
        Edge { suspensions, ..self.clone() }
    }

    /// This snapshot with other domains. Formats every domain's responses.
    pub fn with_domains(&self, domains: Arc<Domains>) -> Edge {
        let domain_responses = domains.all().iter().map(DomainResponses::new).collect();
        Edge { domains, domain_responses, ..self.clone() }
    }

    /// This snapshot with other keys.
    pub fn with_keys(&self, keys: Arc<Keyring>) -> Edge {
        Edge { keys, ..self.clone() }
    }

    /// This snapshot with other files of countries and networks.
    pub fn with_geoip(&self, geoip: Arc<Databases>) -> Edge {
        Edge { geoip, ..self.clone() }
    }

    /// This snapshot with other ACME challenges.
    pub fn with_acme_challenges(&self, acme_challenges: Arc<AcmeChallenges>) -> Edge {
        Edge { acme_challenges, ..self.clone() }
    }

    /// This snapshot with the settings of `[tls]`: the default of `Strict-Transport-Security`, and the redirect from
    /// `http`.
    pub fn with_tls(&self, default_hsts: Option<HeaderValue>, https_redirect: Option<HttpsRedirect>) -> Edge {
        Edge { default_hsts, https_redirect: https_redirect.map(Arc::new), ..self.clone() }
    }

    /// The link of a code, which may be any bytes, under the lock of its shard: an answer takes some microseconds and
    /// waits for nothing. A clone in place of the lock would be written by all workers that answer for one popular
    /// link. A caller drops one link before it asks for another: a second lock of one shard can wait for a change that
    /// waits for the first.
    pub(super) fn find_link(&self, domain: &Domain, code: &[u8]) -> Option<LockedLink<'_>> {
        self.links.get(domain.id, code)
    }

    /// The formatted responses of a domain.
    pub(super) fn responses_of(&self, domain: &Domain) -> &DomainResponses {
        &self.domain_responses[domain.id.index()]
    }
}
