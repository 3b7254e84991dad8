//! The next hop of a click: finds the URL in the click's own query and decides whether it is followed. Only for live
//! links that list hosts, and on domains that follow signed URLs; others pay nothing for it.

use crate::{
    attribution::next_hop_signature::SignedNextHop,
    edge::{code_request::CodeRequest, decision::Decision, snapshot::Edge},
    links::{
        Link,
        destination::UrlTemplate,
        domains::{Domain, NextHopRules},
        next_hop::{NextHopBasis, NextHopError, check_and_build_next_hop_template, short_url_with_next_hop},
    },
    model::{click::Topic, target_choice::NextHop},
    uri::{
        percent,
        query::{is_same_name, split_link_query_into_pairs},
    },
};

/// The next hop that a request names.
pub(super) struct AskedNextHop {
    /// Why it is not followed, if it is not.
    followed: Result<FollowedNextHop, NextHopError>,
    /// The query for a destination, without the parameters of the next hop.
    pub(super) other_query: Vec<u8>,
}

/// A next hop that is followed.
struct FollowedNextHop {
    /// The bytes of its URL template.
    template: Vec<u8>,
    choice: NextHop,
}

impl AskedNextHop {
    /// The next hop that the request names; `None`: it names none, the link is not live, or neither link nor domain
    /// allow any. Its cost is that of parsing one URL, and only such requests pay it.
    pub(super) fn find_on_live_link(
        request: &CodeRequest<'_>,
        decision: &Decision<'_>,
        link: &Link,
    ) -> Option<AskedNextHop> {
        // An expired link that passes its clicks on passes them to its own URL alone.
        if decision.topic != Topic::Clicks {
            return None;
        }
        if link.next_hop_hosts().is_none() && !request.domain.next_hop.follows_signed {
            return None;
        }
        let NextHopRules { url_param, signature_param, .. } = &request.domain.next_hop;
        let query = SplitQuery::new(request.target.destination_query, url_param, signature_param);
        let encoded_url = query.url?;
        let followed = if query.has_several_urls {
            Err(NextHopError::GivenTwice)
        } else {
            check_permission_and_url(encoded_url, query.signature, request, link)
        };
        Some(AskedNextHop { followed, other_query: query.others })
    }

    /// The template of the URL.
    ///
    /// # Errors
    /// Why the URL is not followed.
    pub(super) fn template(&self) -> Result<UrlTemplate<'_>, &NextHopError> {
        self.followed.as_ref().map(|followed| UrlTemplate::from_bytes(&followed.template))
    }

    /// What became of it.
    pub(super) fn choice(&self) -> NextHop {
        self.followed.as_ref().map_or(NextHop::Refused, |followed| followed.choice)
    }
}

/// Checks who allows the URL, and the URL itself.
fn check_permission_and_url(
    encoded_url: &[u8],
    signature: Option<&[u8]>,
    request: &CodeRequest<'_>,
    link: &Link,
) -> Result<FollowedNextHop, NextHopError> {
    let url = String::from_utf8(percent::decode_form(encoded_url).collect()).map_err(|_| NextHopError::NotUtf8)?;
    let (domain, edge) = (request.domain, request.edge);
    let now_ms = request.context.wall_ms;
    let is_signed = || {
        let next_hop = SignedNextHop { domain: &domain.name, code: link.code(), url: &url };
        signature.is_some_and(|signature| edge.keys.is_signature_of_next_hop(now_ms, signature, next_hop))
    };
    let (basis, choice) = match link.next_hop_hosts() {
        _ if domain.next_hop.follows_signed && is_signed() => (NextHopBasis::Signed, NextHop::Signed),
        Some(hosts) => (NextHopBasis::Listed(hosts), NextHop::Listed),
        None => return Err(if signature.is_some() { NextHopError::Signature } else { NextHopError::NotAllowed }),
    };
    let template = edge.build_next_hop_unless_refused(&url, basis, domain, request.target.host.name, now_ms)?;
    Ok(FollowedNextHop { template, choice })
}

/// A short URL with a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopUrl {
    /// The short URL.
    pub url: String,
    /// Who allows its next hop.
    pub choice: NextHop,
}

impl Edge {
    /// The short URL that leads a link's clicks on to `next_hop`: without a signature if the link lists the host, else
    /// with one, if the domain follows them. `None`: no link has the code.
    ///
    /// # Errors
    /// A click would not follow the next hop.
    pub fn write_next_hop_url(
        &self,
        domain: &Domain,
        code: &[u8],
        host: &str,
        next_hop: &str,
        now_ms: u64,
    ) -> Option<Result<NextHopUrl, NextHopError>> {
        let link = self.find_link(domain, code)?;
        let check =
            |basis| self.build_next_hop_unless_refused(next_hop, basis, domain, host.as_bytes(), now_ms).map(|_| ());
        let listed = match link.next_hop_hosts() {
            Some(hosts) => check(NextHopBasis::Listed(hosts)),
            None => Err(NextHopError::NotAllowed),
        };
        let rules = &domain.next_hop;
        let written = match listed {
            Ok(()) => Ok(None),
            Err(_) if rules.follows_signed => check(NextHopBasis::Signed).map(|()| {
                let signed = SignedNextHop { domain: &domain.name, code: link.code(), url: next_hop };
                Some(self.keys.sign_next_hop(now_ms, signed))
            }),
            Err(error) => Err(error),
        };
        Some(written.map(|signature| NextHopUrl {
            url: short_url_with_next_hop(
                host,
                &String::from_utf8_lossy(link.code()),
                &rules.url_param,
                next_hop,
                signature.as_deref(),
            ),
            choice: if signature.is_some() { NextHop::Signed } else { NextHop::Listed },
        }))
    }

    /// The bytes of the URL template of a next hop. `short_host` is the host of the short URL, which `*` may serve.
    fn build_next_hop_unless_refused(
        &self,
        url: &str,
        basis: NextHopBasis<'_>,
        domain: &Domain,
        short_host: &[u8],
        now_ms: u64,
    ) -> Result<Vec<u8>, NextHopError> {
        let template = check_and_build_next_hop_template(url, basis, domain, &self.domains)?;
        let host = UrlTemplate::from_bytes(&template).web_host().unwrap_or_default();
        let short_host = short_host.strip_suffix(b".").unwrap_or(short_host);
        if host.as_bytes().eq_ignore_ascii_case(short_host) {
            return Err(NextHopError::OwnHost);
        }
        if self.suspensions.suspends_host(host, now_ms) {
            return Err(NextHopError::SuspendedHost);
        }
        Ok(template)
    }
}

/// A query, split into the parameters of the next hop and all others. Values stay encoded.
struct SplitQuery<'q> {
    /// The first one that is not empty.
    url: Option<&'q [u8]>,
    has_several_urls: bool,
    signature: Option<&'q [u8]>,
    others: Vec<u8>,
}

impl<'q> SplitQuery<'q> {
    fn new(query: &'q [u8], url_param: &str, signature_param: &str) -> SplitQuery<'q> {
        let others = Vec::with_capacity(query.len());
        let mut split = SplitQuery { url: None, has_several_urls: false, signature: None, others };
        for pair in split_link_query_into_pairs(query) {
            let (name, value) = pair.split_name_and_value();
            if is_same_name(name, url_param.as_bytes()) {
                if !value.is_empty() {
                    split.has_several_urls |= split.url.is_some();
                    split.url = split.url.or(Some(value));
                }
            } else if is_same_name(name, signature_param.as_bytes()) {
                split.signature = split.signature.or(Some(value));
            } else {
                if !split.others.is_empty() {
                    split.others.push(b'&');
                }
                split.others.extend_from_slice(pair.whole);
            }
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_the_next_hop_are_taken_out_of_the_query_in_any_case_and_encoding() {
        for (query, url, signature, others) in [
            ("a=1&url=x&b=2", Some("x"), None, "a=1&b=2"),
            ("URL=x&%75rl_sig=s&a=1", Some("x"), Some("s"), "a=1"),
            ("url=&a=1", None, None, "a=1"),
            ("url=&url=x", Some("x"), None, ""),
            ("a=1&amp;url=x&amp;b=2", Some("x"), None, "a=1&b=2"),
            ("urls=x&curl=y&url", None, None, "urls=x&curl=y"),
            ("", None, None, ""),
        ] {
            let split = SplitQuery::new(query.as_bytes(), "url", "url_sig");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(split.url.map(text).as_deref(), url, "{query}");
            assert_eq!(split.signature.map(text).as_deref(), signature, "{query}");
            assert_eq!((text(&split.others).as_str(), split.has_several_urls), (others, false), "{query}");
        }
        assert!(SplitQuery::new(b"url=x&a=1&url=x", "url", "url_sig").has_several_urls);
    }
}
