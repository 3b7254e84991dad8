//! Redirects of domains that lead back to where they come from: a browser follows some twenty of them, then shows an
//! error.

use std::collections::HashMap;

use crate::{
    invalid_value::InvalidValue, links::domains::host::parse_host_or_asterisk, uri::host::find_scheme_and_host,
};

/// The URLs that a domain redirects to.
pub(super) struct DomainRedirects<'a> {
    /// The host as it is written.
    pub(super) name: &'a str,
    /// Each URL with its key.
    pub(super) urls: Vec<(&'static str, &'a str)>,
}

/// A URL of a domain that leads to a configured host.
struct Redirect {
    key: &'static str,
    /// Index of the host.
    target: usize,
}

/// The URLs of domains that lead back to their own domain, alone or through other domains: the key, relative to
/// `domains`, and what to do. Hosts and URLs that are none are left to the other checks.
pub(super) fn list_redirects_in_circles(domains: &[DomainRedirects<'_>]) -> Vec<InvalidValue> {
    let hosts: Vec<String> =
        domains.iter().map(|domain| parse_host_or_asterisk(domain.name).unwrap_or_default()).collect();
    let by_host: HashMap<&str, usize> = hosts.iter().enumerate().map(|(index, host)| (host.as_str(), index)).collect();
    let target_of = |url: &str| {
        let host = find_scheme_and_host(url.as_bytes())?.host;
        let host = parse_host_or_asterisk(str::from_utf8(host).ok()?).ok()?;
        by_host.get(host.as_str()).copied()
    };
    let redirects: Vec<Vec<Redirect>> = domains
        .iter()
        .map(|domain| {
            let urls = domain.urls.iter();
            urls.filter_map(|(key, url)| Some(Redirect { key, target: target_of(url)? })).collect()
        })
        .collect();
    let mut circles = Vec::new();
    for (index, own) in redirects.iter().enumerate() {
        for redirect in own.iter().filter(|redirect| leads_to(redirect.target, index, &redirects)) {
            let back = if redirect.target == index { "this host itself" } else { "a host that leads back to this one" };
            let message = format!(
                "leads to {}, {back}: browsers would go in a circle; name a URL of the shop",
                hosts[redirect.target]
            );
            circles.push(InvalidValue::new(format!("{:?}.{}", domains[index].name, redirect.key), message));
        }
    }
    circles
}

/// Whether redirects lead from one domain to another, or are there already.
fn leads_to(from: usize, to: usize, redirects: &[Vec<Redirect>]) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(&index) = seen.get(next) {
        if index == to {
            return true;
        }
        next += 1;
        for redirect in &redirects[index] {
            if !seen.contains(&redirect.target) {
                seen.push(redirect.target);
            }
        }
    }
    false
}
