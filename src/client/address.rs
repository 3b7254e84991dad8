//! The client's address: the peer's, or the one that trusted proxies wrote to a header.
//!
//! A header is believed only from a trusted proxy, and only as far as trusted proxies wrote it: its hops are read from
//! the right, and the first address that is no trusted proxy's is the client's.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use crate::{
    model::click::{AddressMode, AddressSource},
    net::peer::{Peer, PeerAddressSource, TrustedNetworks},
};

/// The most hops of a header that are followed. It bounds the work; no real chain of proxies is that long.
const MAX_HOPS: usize = 32;

// Made once: to look a header up by text, its text is parsed first.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED: HeaderName = header::FORWARDED;
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header to which the trusted proxies write the client's address. The other one is ignored: a proxy that writes
/// one of them may pass the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// `X-Forwarded-For: client, proxy`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239)
    Forwarded,
}

/// The proxies whose header about the client is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// `[edge] trusted_proxies`
    pub networks: TrustedNetworks,
    /// `[edge] address_header`
    pub header: AddressHeader,
    /// `[edge] country_header`
    pub country_header: Option<HeaderName>,
    /// `[edge] region_header`
    pub region_header: Option<HeaderName>,
}

/// The client's address and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The whole address, IPv4 in its canonical form.
    pub address: IpAddr,
    /// Where the address was found.
    pub source: AddressSource,
}

impl TrustedProxies {
    /// Finds the client's address: the peer's, or from a trusted proxy the rightmost address in the header that is no
    /// trusted proxy's. A hop that is no address ends the search at the hop before it. `X-Forwarded-Host` is never
    /// read.
    pub fn client_address(&self, headers: &HeaderMap, peer: Peer) -> ClientAddress {
        self.find_client_and_count_hops(headers, peer).client
    }

    /// Whether the client's own connection is HTTPS: by the peer's connection, or from a trusted proxy by
    /// `X-Forwarded-Proto` (or
    /// `proto` of `Forwarded`) for the hop that holds the client's address. A header with fewer values than hops counts
    /// by its leftmost value: some proxies replace it instead of appending to it.
    pub fn is_client_https(&self, headers: &HeaderMap, peer: Peer) -> bool {
        if peer.tls || !self.is_trusted(peer) {
            return peer.tls;
        }
        let hop_index = self.find_client_and_count_hops(headers, peer).hop_count.max(1) - 1;
        let is_https = |value: &[u8]| value.eq_ignore_ascii_case(b"https");
        match self.header {
            AddressHeader::XForwardedFor => {
                hops_from_right(headers, &X_FORWARDED_PROTO).take(hop_index + 1).last().is_some_and(is_https)
            }
            AddressHeader::Forwarded => hops_from_right(headers, &FORWARDED)
                .nth(hop_index)
                .and_then(|element| find_unquoted_forwarded_parameter(element, b"proto="))
                .is_some_and(is_https),
        }
    }

    /// The country that a trusted proxy wrote to its header, in capitals; `None` if it wrote none. Proxies write `XX`
    /// for an unknown country, and `T1` for Tor.
    pub fn find_country(&self, headers: &HeaderMap, peer: Peer) -> Option<[u8; 2]> {
        let value = self.find_only_value(self.country_header.as_ref()?, headers, peer)?;
        let country = <[u8; 2]>::try_from(value).ok()?.map(|letter| letter.to_ascii_uppercase());
        (country.iter().all(u8::is_ascii_uppercase) && country != *b"XX").then_some(country)
    }

    /// The region in its country that a trusted proxy wrote to its header, such as `CA`; empty if it wrote none.
    pub fn find_region_or_empty<'h>(&self, headers: &'h HeaderMap, peer: Peer) -> &'h [u8] {
        let value = self.region_header.as_ref().and_then(|name| self.find_only_value(name, headers, peer));
        let is_part = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        value.filter(|value| (1..=3).contains(&value.len()) && value.iter().all(is_part)).unwrap_or_default()
    }

    /// The value of a header that a trusted proxy sets. A header that comes twice was not set by one.
    fn find_only_value<'h>(&self, name: &HeaderName, headers: &'h HeaderMap, peer: Peer) -> Option<&'h [u8]> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none() && self.is_trusted(peer))?;
        Some(value.as_bytes().trim_ascii())
    }

    /// Whether the peer's header is believed. A Unix socket is: its file's permissions say who may connect.
    fn is_trusted(&self, peer: Peer) -> bool {
        peer.source == PeerAddressSource::Unix || self.networks.contains(peer.address.to_canonical())
    }

    /// Follows the header's hops from the nearest one to the client.
    fn find_client_and_count_hops(&self, headers: &HeaderMap, peer: Peer) -> ClientAndHopCount {
        let source = match peer.source {
            PeerAddressSource::Network | PeerAddressSource::Unix => AddressSource::Peer,
            PeerAddressSource::ProxyProtocol => AddressSource::Proxy,
        };
        let mut walk =
            ClientAndHopCount { client: ClientAddress { address: peer.address.to_canonical(), source }, hop_count: 0 };
        if !self.is_trusted(peer) {
            return walk;
        }
        let (name, source, parse_hop): (_, _, HopParser) = match self.header {
            AddressHeader::XForwardedFor => (&X_FORWARDED_FOR, AddressSource::Xff, parse_address_ignoring_port),
            AddressHeader::Forwarded => (&FORWARDED, AddressSource::Forwarded, parse_forwarded_for),
        };
        for (hop_count, hop) in (1..).zip(hops_from_right(headers, name)) {
            let Some(address) = parse_hop(hop) else { break };
            walk = ClientAndHopCount { client: ClientAddress { address, source }, hop_count };
            if !self.networks.contains(address) {
                break;
            }
        }
        walk
    }
}

/// The result of following a header's hops.
struct ClientAndHopCount {
    client: ClientAddress,
    /// How many hops were read to find the client; 0 if the client is the peer.
    hop_count: usize,
}

/// Parses the address in one hop of a header.
type HopParser = fn(&[u8]) -> Option<IpAddr>;

/// The hops of a header, the nearest first. The values are split at each comma, quoted or not: what the client sent
/// stands on the left, and an open quote of the client must not hide what a proxy appended.
fn hops_from_right<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii).take(MAX_HOPS)
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn parse_address_ignoring_port(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = IpAddr::from_str(bare).or_else(|_| SocketAddr::from_str(text).map(|socket| socket.ip())).ok()?;
    Some(address.to_canonical())
}

/// Parses the address in the `for` parameter of one element of `Forwarded` (RFC 7239 §4). `unknown` and `_hidden` are
/// no addresses.
fn parse_forwarded_for(element: &[u8]) -> Option<IpAddr> {
    parse_address_ignoring_port(find_unquoted_forwarded_parameter(element, b"for=")?)
}

/// Finds the value of a parameter in one element of `Forwarded`, without its quotes. `name_with_equals` ends with `=`.
fn find_unquoted_forwarded_parameter<'a>(element: &'a [u8], name_with_equals: &[u8]) -> Option<&'a [u8]> {
    let mut parameters = element
        .split(|byte| *byte == b';')
        .filter_map(|parameter| parameter.trim_ascii().split_at_checked(name_with_equals.len()));
    let (_, value) = parameters.find(|(found, _)| found.eq_ignore_ascii_case(name_with_equals))?;
    Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

/// Keeps as much of an address as the mode allows: all of it, /24 of IPv4 and /48 of IPv6, or nothing.
pub fn truncate_address(address: IpAddr, mode: AddressMode) -> Option<IpAddr> {
    match (mode, address.to_canonical()) {
        (AddressMode::Full, address) => Some(address),
        (AddressMode::Truncated, IpAddr::V4(v4)) => Some(Ipv4Addr::from_bits(v4.to_bits() & !0xff).into()),
        (AddressMode::Truncated, IpAddr::V6(v6)) => Some(Ipv6Addr::from_bits(v6.to_bits() & !0 << 80).into()),
        (AddressMode::None, _) => None,
    }
}

#[cfg(test)]
mod tests;
