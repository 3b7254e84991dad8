//! Who clicked, as far as a request says it: address, navigation, consent. Pure; shared by edge and shipper.
//!
//! [`Facts::read`] goes over the headers once: nine look-ups by name cost 1150 instructions a request. A header that comes
//! twice counts by its first value; only addresses and cookies look at all.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, header};
use serde::Deserialize;

use crate::{
    model::click::{AddressFrom, AddressMode, Consent},
    net::peer::{Networks, Peer, Source},
};

/// The headers of one request that count, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    headers: &'a HeaderMap,
    cookie: Option<&'a [u8]>,
    more_cookies: bool,
    /// `User-Agent`; this and the texts below are empty where the header is absent.
    pub user_agent: &'a [u8],
    /// `Referer`
    pub referer: &'a [u8],
    /// `Accept-Language`
    pub accept_language: &'a [u8],
    /// `Accept`
    pub accept: &'a [u8],
    /// `X-Requested-With`: on Android the app's package.
    pub app_package: &'a [u8],
    /// `Sec-Fetch-Mode`
    pub fetch_mode: &'a [u8],
    /// `Sec-Fetch-Dest`
    pub fetch_dest: &'a [u8],
    /// `Sec-Fetch-User`
    pub fetch_user: &'a [u8],
    /// The request says that nobody looks at the page yet: a prefetch, a prerender or a preview.
    pub prefetch: bool,
    /// The browser says that this is no navigation of a tab: an image, a frame, a script's request. See [`navigation`].
    pub non_navigation: bool,
    /// The browser says that it is a navigation of a tab (`Sec-Fetch-Dest: document`). Where it says nothing, neither this
    /// nor `non_navigation` is set, and the click is treated as a navigation.
    pub navigation: bool,
    /// `Sec-GPC: 1`
    pub gpc: bool,
    /// A body was announced: it is not read, so the connection cannot be kept.
    pub body: bool,
}

impl<'a> Facts<'a> {
    /// Reads the headers. Called once a click, by the edge.
    pub fn read(headers: &'a HeaderMap) -> Facts<'a> {
        let mut facts = Facts::none(headers);
        for (name, value) in headers {
            let value = value.as_bytes();
            match name.as_str() {
                "cookie" if facts.cookie.is_some() => facts.more_cookies = true,
                "cookie" => facts.cookie = Some(value),
                "user-agent" => keep(&mut facts.user_agent, value),
                "referer" => keep(&mut facts.referer, value),
                "accept-language" => keep(&mut facts.accept_language, value),
                "accept" => keep(&mut facts.accept, value),
                "x-requested-with" => keep(&mut facts.app_package, value),
                "sec-fetch-mode" => keep(&mut facts.fetch_mode, value),
                "sec-fetch-dest" => keep(&mut facts.fetch_dest, value),
                "sec-fetch-user" => keep(&mut facts.fetch_user, value),
                "sec-purpose" | "purpose" | "x-purpose" | "x-moz" => facts.prefetch |= is_prefetch(value),
                "sec-gpc" => facts.gpc |= value == b"1",
                "content-length" => facts.body |= value != b"0",
                "transfer-encoding" => facts.body = true,
                _ => {}
            }
        }
        let said = navigation(facts.fetch_dest, facts.fetch_mode);
        (facts.navigation, facts.non_navigation) = (said == Some(true), said == Some(false));
        facts
    }

    fn none(headers: &'a HeaderMap) -> Facts<'a> {
        Facts {
            headers,
            cookie: None,
            more_cookies: false,
            user_agent: b"",
            referer: b"",
            accept_language: b"",
            accept: b"",
            app_package: b"",
            fetch_mode: b"",
            fetch_dest: b"",
            fetch_user: b"",
            prefetch: false,
            non_navigation: false,
            navigation: false,
            gpc: false,
            body: false,
        }
    }

    /// Every `Cookie` header.
    pub fn cookies(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let others = self.more_cookies.then(|| self.headers.get_all(header::COOKIE).iter().skip(1));
        self.cookie.into_iter().chain(others.into_iter().flatten().map(|value| value.as_bytes()))
    }

    /// `mode/dest/user` as the event has it (`navigate/document/?1`), written to the start of `into`; empty if none of the
    /// three came. Longer values are cut.
    pub fn sec_fetch<'b>(&self, into: &'b mut [u8; 64]) -> &'b [u8] {
        let parts = [self.fetch_mode, self.fetch_dest, self.fetch_user];
        if parts.iter().all(|part| part.is_empty()) {
            return b"";
        }
        let mut len = 0;
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                into[len] = b'/';
                len += 1;
            }
            // 20 of each leave room for both slashes; the longest value in use is `speculationrules`.
            let kept = &part[..part.len().min(20)];
            into[len..len + kept.len()].copy_from_slice(kept);
            len += kept.len();
        }
        &into[..len]
    }
}

fn keep<'a>(field: &mut &'a [u8], value: &'a [u8]) {
    if field.is_empty() {
        *field = value;
    }
}

/// Whether a purpose header speaks of a page that nobody looks at yet. Seen in the wild: `prefetch`, `prefetch;prerender`,
/// `prefetch;anonymous-client-ip`, `prerender`, `preview` and `: preview` (Safari, Facebook's app), `instant`.
fn is_prefetch(value: &[u8]) -> bool {
    value.split(|byte| !byte.is_ascii_alphanumeric()).any(|word| {
        [&b"prefetch"[..], b"prerender", b"preview", b"instant"].iter().any(|known| word.eq_ignore_ascii_case(known))
    })
}

/// Whether a tab navigates, by `Sec-Fetch-Dest` and `Sec-Fetch-Mode`; `None` where the request does not say.
///
/// A frame navigates too (mode `navigate`), and a hidden one is how cookies are stuffed, so the destination is judged
/// first. `empty` is `fetch`, a beacon or a ping, whatever its mode, except `navigate`: so a service worker passes a tab's
/// navigation on. A destination that this build does not know counts by its mode. No header, as from Safari before 16.4
/// and from many webviews, says nothing.
pub fn navigation(dest: &[u8], mode: &[u8]) -> Option<bool> {
    match dest {
        b"document" => Some(true),
        b"" => None,
        b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object" => Some(false),
        _ if mode == b"navigate" => None,
        _ => Some(false),
    }
}

/// What the raw query says about consent: `cons=0` or `cons=1`. A refusal anywhere counts.
pub fn consent(query: &[u8]) -> Consent {
    let mut said = Consent::None;
    for pair in query.split(|byte| *byte == b'&') {
        match pair {
            b"cons=0" => return Consent::Refused,
            b"cons=1" => said = Consent::Granted,
            _ => {}
        }
    }
    said
}

/// Keeps as much of an address as the mode allows: all, /24 (IPv4) and /48 (IPv6), or nothing.
pub fn coarsen(address: IpAddr, mode: AddressMode) -> Option<IpAddr> {
    match (mode, address.to_canonical()) {
        (AddressMode::Full, address) => Some(address),
        (AddressMode::Truncated, IpAddr::V4(v4)) => Some(Ipv4Addr::from_bits(v4.to_bits() & !0xff).into()),
        (AddressMode::Truncated, IpAddr::V6(v6)) => Some(Ipv6Addr::from_bits(v6.to_bits() & !0 << 80).into()),
        (AddressMode::None, _) => None,
    }
}

/// Which header the trusted proxies write the client's address to. Only one is believed: a proxy that writes the one may
/// pass the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// `X-Forwarded-For: client, proxy`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239)
    Forwarded,
}

/// The longest chain of trusted proxies that is followed: a bound on work, no real one has so many.
const HOPS: usize = 32;

/// Reads the address out of one hop of a header.
type ReadHop = fn(&[u8]) -> Option<IpAddr>;

/// Whose word about the client's address is taken, and which header it stands in.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// `[edge] trusted_proxies`
    pub proxies: Networks,
    /// `[edge] address_header`
    pub header: AddressHeader,
}

impl Trusted {
    /// The client's address: the peer's, unless that is a trusted proxy's; then the rightmost one in the header that is not.
    /// The walk ends at what is no address: who wrote it saw no further. `X-Forwarded-Host` is never looked at. Called once a
    /// click, by the edge.
    pub fn address(&self, headers: &HeaderMap, peer: Peer) -> (IpAddr, AddressFrom) {
        let (address, from, _) = self.walk(headers, peer);
        (address, from)
    }

    /// Whether the client came by HTTPS: by the connection itself, else by what the trusted proxies write to
    /// `X-Forwarded-Proto`, or to `Forwarded` as `proto`, for the hop that [`Trusted::address`] takes. Where a proxy replaces
    /// the header instead of adding to it, its one word counts. For whoever asks to upgrade.
    pub fn https(&self, headers: &HeaderMap, peer: Peer) -> bool {
        if peer.tls || !self.believes(peer) {
            return peer.tls;
        }
        let (_, _, hops_walked) = self.walk(headers, peer);
        let at = hops_walked.max(1) - 1;
        let https = |word: &[u8]| word.eq_ignore_ascii_case(b"https");
        match self.header {
            AddressHeader::XForwardedFor => hops(headers, "x-forwarded-proto").take(at + 1).last().is_some_and(https),
            AddressHeader::Forwarded => {
                hops(headers, "forwarded").nth(at).and_then(|hop| pair(hop, b"proto=")).is_some_and(https)
            }
        }
    }

    /// A Unix socket's file says who may write to it: nobody from outside.
    fn believes(&self, peer: Peer) -> bool {
        peer.source == Source::Unix || self.proxies.contains(peer.address.to_canonical())
    }

    /// The client's address, where it is from, and how many hops of the header were walked for it.
    fn walk(&self, headers: &HeaderMap, peer: Peer) -> (IpAddr, AddressFrom, usize) {
        let own = match peer.source {
            Source::Network | Source::Unix => AddressFrom::Peer,
            Source::ProxyProtocol => AddressFrom::Proxy,
        };
        let mut nearest = (peer.address.to_canonical(), own, 0);
        if !self.believes(peer) {
            return nearest;
        }
        let (name, from, read): (_, _, ReadHop) = match self.header {
            AddressHeader::XForwardedFor => ("x-forwarded-for", AddressFrom::Xff, address_in),
            AddressHeader::Forwarded => ("forwarded", AddressFrom::Forwarded, forwarded_for),
        };
        for (walked, hop) in (1..).zip(hops(headers, name)) {
            let Some(address) = read(hop) else { break };
            nearest = (address, from, walked);
            if !self.proxies.contains(address) {
                break;
            }
        }
        nearest
    }
}

/// The hops of a header, the nearest first. Cut at commas from the right, quotes or not: what a client sent stands on the
/// left and cannot swallow, by an open quote, what the proxy added.
fn hops<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii).take(HOPS)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_in(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = IpAddr::from_str(bare).or_else(|_| SocketAddr::from_str(text).map(|socket| socket.ip())).ok()?;
    Some(address.to_canonical())
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4); `unknown` and `_hidden` are no addresses.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    address_in(pair(element, b"for=")?)
}

/// The value of a pair in one element of `Forwarded`, without its quotes. `name` ends with `=`.
fn pair<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs =
        element.split(|byte| *byte == b';').filter_map(|pair| pair.trim_ascii().split_at_checked(name.len()));
    let (_, value) = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests;
