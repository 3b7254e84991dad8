//! What TLS changes in answers: `Strict-Transport-Security`, the way from `http` to `https`, and the challenges of an ACME client.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Uri};

use crate::{
    edge::{
        Answer, Record,
        pages::{self, Page},
        target::{Asked, Fixed, Target},
    },
    links::domains::Domains,
    net::tls::certificates::Served,
};

/// The settings of `[tls]` that answers depend on.
#[derive(Debug, Default)]
pub struct Secure {
    /// For domains that say nothing of their own.
    pub hsts: Option<HeaderValue>,
    /// What a client must be able to check before it is sent to `https`.
    pub served: Option<Arc<Served>>,
    /// The port of `https`.
    pub port: u16,
}

impl Secure {
    /// The `Strict-Transport-Security` of the host that is asked for.
    pub(super) fn hsts(&self, target: &Target<'_>, domains: &Domains) -> Option<HeaderValue> {
        let domain = domains.of_host(host(target)?);
        domain.hsts.as_ref().or(self.hsts.as_ref()).cloned()
    }

    /// The same target by `https`, if a certificate has the host's name: else the client would be sent to an error, and the answer
    /// here is better than none.
    ///
    /// `302`, because of all redirects it alone is never kept by a cache that was not asked to (RFC 9110 §15.4), and every client
    /// follows it; with GET and HEAD alone there is no method to preserve. The path and the query go on byte by byte.
    pub(super) fn upgrade(&self, target: &Target<'_>, uri: &Uri, domains: &Domains) -> Option<Answer> {
        if matches!(target, Target::Fixed(Fixed::WellKnown, _)) {
            return None;
        }
        let host = host(target)?;
        let name = std::str::from_utf8(host).ok()?;
        self.served.as_ref()?.now().named(name)?;
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
        let location = HeaderValue::try_from(format!("https://{name}{port}{rest}")).ok()?;
        Some(Answer::redirect(location, domains.of_host(host), Record::Upgraded))
    }
}

fn host<'a>(target: &Target<'a>) -> Option<&'a [u8]> {
    match target {
        Target::Code(Asked { host, .. }) | Target::Fixed(_, host) => Some(host),
        Target::Refused(..) => None,
    }
}

/// The longest name of a challenge, bytes; the CAs in use take 43.
const MAX_NAME: usize = 128;

/// The bodies under `/.well-known/acme-challenge/`, by name. Immutable: a change builds another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Challenges(HashMap<String, Bytes>);

impl Challenges {
    /// These; a name that is none is left out.
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Challenges {
        Challenges(files.into_iter().filter(|(name, _)| Challenges::is_name(name)).collect())
    }

    /// Whether this may be a challenge's name: letters, digits, `-` and `_` (RFC 8555 §8.3).
    pub fn is_name(name: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(known)
    }

    /// The answer for a path, if there is one.
    pub(super) fn answer(&self, path: &str) -> Option<Page> {
        let body = self.0.get(path.strip_prefix("/.well-known/acme-challenge/")?)?;
        Some(Page { content_type: Some(pages::TEXT), body: body.clone() })
    }
}
