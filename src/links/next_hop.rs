//! The next hop: the URL to which a click's own URL leads it on, as in `/CODE?url=https%3A%2F%2Fshop.example.com%2F`.
//! Ad platforms demand that a click tracker shows in its URL where it leads, and leads there (Google Ads, "Guidelines
//! for third-party click tracking services"). A server that followed any such URL would lend its good name to every
//! page of the web, so a link lists the hosts that it may lead on to, or a key of the server has signed the URL.

use std::net::IpAddr;

use crate::{
    links::{
        destination::{
            UrlTemplate,
            builder::{self, Destination},
            policy::{DestinationPolicy, host_matches_name_or_star_pattern},
            url_error::UrlError,
        },
        domains::{Domain, Domains, parse_host_or_asterisk, signature_param_of},
    },
    model::link::{
        QueryPolicy,
        record::{RecordError, RecordErrorKind},
    },
    uri::{host::find_scheme_and_host, percent},
};

/// The most hosts that a link lists.
const MAX_HOSTS: usize = 16;
/// What separates the hosts in a link's bytes; no host has it.
const SEPARATOR: char = ' ';
/// The only scheme of a next hop.
const SCHEME: &str = "https://";

/// The hosts that a link lists, in lower case and punycode; `*.example.com` stands for every host below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHopHosts<'a>(&'a str);

impl<'a> NextHopHosts<'a> {
    /// The hosts in a link's bytes.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> NextHopHosts<'a> {
        NextHopHosts(str::from_utf8(bytes).unwrap_or_default())
    }

    /// The hosts, in the order of the record.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split(SEPARATOR)
    }

    /// The rules of a URL that needs no signature.
    fn policy(self) -> DestinationPolicy {
        DestinationPolicy { app_schemes: Vec::new(), allowed_hosts: self.iter().map(str::to_owned).collect() }
    }
}

/// Who allows a next hop.
#[derive(Clone, Copy, Debug)]
pub enum NextHopBasis<'a> {
    /// The link, which lists these hosts.
    Listed(NextHopHosts<'a>),
    /// A signature of the URL.
    Signed,
}

/// Why a next hop is not followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopError {
    /// Which of several URLs is meant is unknown.
    #[error("the parameter is there more than once")]
    GivenTwice,
    /// The URL is no text.
    #[error("the URL is not UTF-8")]
    NotUtf8,
    /// The signature is missing, or is none of this URL, link and domain by a key of this server.
    #[error("the signature is none of this URL")]
    Signature,
    /// Neither does the link list hosts, nor is there a signature.
    #[error("the link lists no hosts, and the URL is not signed")]
    NotAllowed,
    /// The URL would be refused in a link too, or its host is not listed.
    #[error("the URL {0}")]
    Url(UrlError),
    /// The URL is not one of `https`.
    #[error("the URL is not one of https")]
    NotHttps,
    /// The URL names a port, behind which other programs answer than the host's shop.
    #[error("the URL names a port")]
    Port,
    /// This server answers the host itself.
    #[error("this server answers the host of the URL itself")]
    OwnHost,
    /// The host is suspended.
    #[error("the host of the URL is suspended")]
    SuspendedHost,
}

/// Checks the next hop of a click on a link of `domain`, and builds its URL template. The click's own parameters and
/// its token belong behind it, as behind the link's own URL. Braces stay as they are: a next hop has no placeholders.
///
/// # Errors
/// The rule that the URL breaks.
pub fn check_and_build_next_hop_template(
    url: &str,
    basis: NextHopBasis<'_>,
    domain: &Domain,
    domains: &Domains,
) -> Result<Vec<u8>, NextHopError> {
    let without_braces = url.replace('{', "%7B").replace('}', "%7D");
    let destination = Destination {
        url: &without_braces,
        code: None,
        domain: &domain.name,
        creator: "",
        query: QueryPolicy::default(),
        allow: None,
        append_token: true,
        token_param: &domain.token_param,
    };
    let of_link;
    let policy = match basis {
        NextHopBasis::Signed => domain.next_hop.policy(),
        NextHopBasis::Listed(hosts) => {
            of_link = hosts.policy();
            &of_link
        }
    };
    let mut template = Vec::with_capacity(without_braces.len() + 16);
    let is_reached = |host: &str| domain.is_cookie_sent_to_host(host);
    builder::check_destination_and_append_template(&destination, policy, is_reached, &mut template)
        .map_err(NextHopError::Url)?;
    let text = UrlTemplate::from_bytes(&template).text_without_placeholders();
    let Some(behind_scheme) = text.strip_prefix(SCHEME.as_bytes()) else { return Err(NextHopError::NotHttps) };
    let authority = behind_scheme.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next().unwrap_or_default();
    let host = find_scheme_and_host(text).map_or(&[][..], |parts| parts.host);
    if authority != host {
        return Err(NextHopError::Port);
    }
    if domains.find_configured_by_host(host).is_some() {
        return Err(NextHopError::OwnHost);
    }
    Ok(template)
}

/// The short URL of a code on `host` that names a next hop, with the signature of it if there is one.
pub fn short_url_with_next_hop(
    host: &str,
    code: &str,
    url_param: &str,
    next_hop: &str,
    signature: Option<&str>,
) -> String {
    let mut encoded = Vec::with_capacity(next_hop.len() + 32);
    percent::push_percent_encoded(next_hop.bytes(), &mut encoded);
    let encoded = String::from_utf8_lossy(&encoded);
    let signature =
        signature.map_or(String::new(), |signature| format!("&{}={signature}", signature_param_of(url_param)));
    format!("https://{host}/{code}?{url_param}={encoded}{signature}")
}

/// Checks the hosts that a record lists, and joins them as a link's bytes have them; empty without hosts.
///
/// # Errors
/// Every host that breaks a rule, with its place.
pub(super) fn check_and_join_hosts(
    written: &[String],
    policy: &DestinationPolicy,
    domains: &Domains,
) -> Result<String, Vec<RecordError>> {
    if written.len() > MAX_HOSTS {
        let message = format!("are {}, allowed are {MAX_HOSTS}", written.len());
        return Err(vec![RecordError::new("next_hop_hosts", message)]);
    }
    let (mut hosts, mut errors) = (Vec::with_capacity(written.len()), Vec::new());
    for (at, host) in written.iter().enumerate() {
        match check_and_normalize_host(host, policy, domains) {
            Ok(host) => hosts.push(host),
            Err(error) => errors.push(error.inside(&format!("/{at}"))),
        }
    }
    if errors.is_empty() { Ok(hosts.join(&SEPARATOR.to_string())) } else { Err(errors) }
}

/// A host, or `*.` and a host, in lower case and punycode.
fn check_and_normalize_host(
    written: &str,
    policy: &DestinationPolicy,
    domains: &Domains,
) -> Result<String, RecordError> {
    let error = |message: String| RecordError::new("next_hop_hosts", message);
    let (star, name) = match written.strip_prefix("*.") {
        Some(parent) => ("*.", parent),
        None => ("", written),
    };
    let Some(host) = parse_host_or_asterisk(name).ok().filter(|host| is_name_of_shop(host)) else {
        return Err(error(format!(
            "{written:?} is no host of a shop; allowed are names such as shop.example.com and *.shop.example.com"
        )));
    };
    if domains.find_configured_by_host(host.as_bytes()).is_some() {
        return Err(error(format!("{written:?} is a host that this server answers itself; name a host of the shop")));
    }
    let host = format!("{star}{host}");
    let is_allowed = policy.allowed_hosts.iter().any(|allowed| host_matches_name_or_star_pattern(allowed, &host));
    if !policy.allowed_hosts.is_empty() && !is_allowed {
        let message = format!("{written:?} is a host that links.allowed_hosts does not list");
        return Err(error(message).with_kind(RecordErrorKind::NotAcceptedHere));
    }
    Ok(host)
}

/// Whether somebody can own the host: no address, and no public suffix such as `co.uk`.
fn is_name_of_shop(host: &str) -> bool {
    host.parse::<IpAddr>().is_err() && !host.starts_with('[') && psl::domain_str(host).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::links::domains::Config;

    /// Two domains, the first of them with its default rules.
    fn domains() -> Domains {
        Domains::new(&toml::from_str::<Config>("[\"go.example.com\"]\n[\"own.example.org\"]").unwrap()).unwrap()
    }

    fn check(url: &str, domains: &Domains) -> Result<String, NextHopError> {
        let domain = domains.find_by_name("go.example.com").unwrap();
        let basis = NextHopBasis::Listed(NextHopHosts("shop.example.com *.example.org"));
        let template = check_and_build_next_hop_template(url, basis, domain, domains)?;
        Ok(String::from_utf8(UrlTemplate::from_bytes(&template).text_without_placeholders().to_vec()).unwrap())
    }

    #[test]
    fn hosts_are_kept_in_lower_case_and_punycode_and_a_star_stands_for_every_host_below() {
        let policy = DestinationPolicy::default();
        let written = ["Shop.Example.com", "*.EXAMPLE.org", "bücher.example"].map(str::to_owned);
        let joined = check_and_join_hosts(&written, &policy, &domains()).unwrap();
        assert_eq!(joined, "shop.example.com *.example.org xn--bcher-kva.example");
        let hosts: Vec<&str> = NextHopHosts::from_bytes(joined.as_bytes()).iter().collect();
        assert_eq!(hosts, ["shop.example.com", "*.example.org", "xn--bcher-kva.example"]);
        assert_eq!(check_and_join_hosts(&[], &policy, &domains()).unwrap(), "");
    }

    /// Parts of URLs that parsers read in different ways.
    fn tricky_url() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "https:",
            "http:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ":443",
            ":8443",
            "shop.example.com",
            "evil.example",
            "a.example.org",
            "own.example.org",
            "example.org",
            ".",
            "#",
            "?",
            "%2f",
            "%40",
            "%00",
            "{",
            "}",
            "\u{ff0f}",
            "\u{3002}",
            "\t",
            " ",
            "[::1]",
            "127.0.0.1",
            "x",
            "wp=v1.a",
        ]);
        prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_followed_url_leads_a_browser_to_a_listed_host_by_https(
            url in prop_oneof![tricky_url(), tricky_url().prop_map(|rest| format!("https://{rest}"))],
        ) {
            let domains = domains();
            if let Ok(text) = check(&url, &domains) {
                let read_by_browser = Url::parse(&text).unwrap();
                let host = read_by_browser.host_str().unwrap();
                prop_assert_eq!(read_by_browser.scheme(), "https");
                prop_assert!(host == "shop.example.com" || host.ends_with(".example.org") && host != "own.example.org");
                prop_assert!(read_by_browser.port().is_none() && read_by_browser.username().is_empty());
                prop_assert_eq!(read_by_browser.as_str(), &text, "nothing is left to read in another way");
            }
        }

        // No name is that of the token, `wp`, which no stored URL has either.
        #[test]
        fn a_listed_host_is_followed_with_any_path_and_query(rest in "[a-z0-9/._-]{0,30}[?][a-v0-9=&.-]{0,30}") {
            let url = format!("https://shop.example.com/{rest}");
            prop_assert_eq!(check(&url, &domains()).map(|text| text.len() > 25), Ok(true));
        }
    }
}
