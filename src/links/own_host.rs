//! Destinations on hosts that this server answers itself. Such a link leads to another link, or in a circle: a browser
//! follows some twenty redirects, then shows an error. Checked when links are loaded.

use std::collections::{HashMap, HashSet};

use crate::{
    links::{
        domains::{Domain, Domains},
        link_key::LinkKey,
    },
    model::{
        code,
        link::record::{RecordError, RecordErrorKind},
    },
    uri::{host::find_scheme_and_host, percent},
};

/// How many links are followed from one link to find a circle. It bounds the work of a load.
const MAX_FOLLOWED: usize = 1000;

/// The link that a URL is checked for.
#[derive(Clone, Copy)]
pub(super) struct CheckedLink<'a> {
    pub(super) domain: &'a Domain,
    /// In lower case if the domain ignores case.
    pub(super) code: &'a str,
    /// Whether the record says that its URLs may be on an own host.
    pub(super) allows_own_host: bool,
}

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UrlTarget {
    /// To a host that is not configured.
    OtherHost,
    /// To this link of this server, if there is one.
    OwnLink(LinkKey),
}

/// Finds where a URL leads, without its placeholders; `full_url` gives the URL with its placeholders in braces.
///
/// # Errors
/// The URL leads back to the link, or to an own host that the link does not allow.
pub(super) fn check_url_leaves_own_hosts_unless_allowed(
    field: &'static str,
    url: &[u8],
    full_url: impl FnOnce() -> String,
    link: CheckedLink<'_>,
    domains: &Domains,
) -> Result<UrlTarget, RecordError> {
    let Some(target) = find_own_domain_of_web_url(url, domains) else { return Ok(UrlTarget::OtherHost) };
    let full_url = full_url();
    let segment = find_first_path_segment(&full_url);
    let code = decode_leading_code(segment, target);
    let host = &target.name;
    if target.id == link.domain.id && code == link.code.as_bytes() {
        let message = "leads back to this link: browsers would go in a circle; name a URL of the shop";
        return Err(RecordError::of_rule(field, "url-own-host", message));
    }
    if !link.allows_own_host {
        let message = format!(
            "names the host {host}, which this server answers itself; name a URL of the shop, or set \
             \"allow_own_host\":true if a link to a link is meant"
        );
        let error = RecordError::of_rule(field, "url-own-host", message);
        return Err(error.with_kind(RecordErrorKind::NotAcceptedHere));
    }
    if segment.contains('{') {
        let message =
            format!("has a placeholder in place of a code of {host}, which may lead back to this link; write the code");
        return Err(RecordError::of_rule(field, "url-own-host", message));
    }
    Ok(UrlTarget::OwnLink(LinkKey { domain: target.id, code }))
}

fn find_own_domain_of_web_url<'a>(url: &[u8], domains: &'a Domains) -> Option<&'a Domain> {
    let parts = find_scheme_and_host(url)?;
    matches!(parts.scheme, b"http" | b"https").then(|| domains.find_configured_by_host(parts.host))?
}

/// What stands between the first `/` behind the authority and the next `/`, `?` or `#`.
fn find_first_path_segment(url: &str) -> &str {
    let behind = url.split_once("://").map_or("", |(_, behind)| behind);
    let path = behind.find(['/', '?', '#']).map_or("", |at| behind[at..].strip_prefix('/').unwrap_or_default());
    &path[..path.find(['/', '?', '#']).unwrap_or(path.len())]
}

/// The code at the start of a segment. What is glued to it does not count: on a miss the server looks it up alone.
fn decode_leading_code(segment: &str, domain: &Domain) -> Vec<u8> {
    let mut code: Vec<u8> = percent::decode(segment.as_bytes()).take_while(|byte| code::is_code_byte(*byte)).collect();
    if domain.id.ignores_case() {
        code.make_ascii_lowercase();
    }
    code
}

/// A link that leads to other links of this server.
pub(super) struct OwnHostLink {
    /// The number that the source gave its record.
    pub(super) number: u64,
    pub(super) key: LinkKey,
    /// Where its destination and its fallback lead.
    pub(super) targets: Vec<LinkKey>,
}

/// The error of each link from which other links lead back to it, with the number of its record.
pub(super) fn find_circles(links: &[OwnHostLink]) -> Vec<(u64, RecordError)> {
    let targets: HashMap<&LinkKey, &[LinkKey]> = links.iter().map(|link| (&link.key, &*link.targets)).collect();
    let leads_back = |link: &&OwnHostLink| {
        let mut seen: HashSet<&LinkKey> = HashSet::new();
        let mut next: Vec<&LinkKey> = link.targets.iter().collect();
        while let Some(key) = next.pop() {
            if *key == link.key {
                return true;
            }
            if seen.len() < MAX_FOLLOWED && seen.insert(key) {
                next.extend(targets.get(key).copied().unwrap_or_default());
            }
        }
        false
    };
    let message = "leads back to this link through other links: browsers would go in a circle; name a URL of the shop";
    links
        .iter()
        .filter(leads_back)
        .map(|link| (link.number, RecordError::of_rule("url", "url-own-host", message)))
        .collect()
}
