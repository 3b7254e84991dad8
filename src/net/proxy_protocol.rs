//! The PROXY protocol, versions 1 and 2: the header in which a proxy says, before the first byte of the connection it passes on,
//! who is at its other end. Written after HAProxy's `doc/proxy-protocol.txt`.
//!
//! ```text
//! 1: PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n      at most 107 bytes; also TCP6, and UNKNOWN with anything after it
//! 2: 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | version 2, command | family, transport | length u16, big-endian
//!    | source, destination, source port, destination port | TLVs, which are skipped
//! ```
//! A header that names no TCP address (`UNKNOWN`, `LOCAL`, `UNSPEC`, a Unix socket) leaves the peer as it is: so proxies ask after our
//! health. The header is looked at in the socket's buffer and taken from there once it is whole: not a byte beyond it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use rustix::net::{RecvFlags, recv};
use serde::Deserialize;

use crate::net::{
    counts::Closed,
    peer::{Networks, Peer, Source},
    stream::Stream,
};

/// Whether a listener's connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not: a header is bad HTTP.
    #[default]
    Off,
    /// They may, if their peer is trusted.
    Optional,
    /// They do, and every peer is a trusted one.
    Required,
}

/// The longest header that is read: the length that version 2 promises to pass in one segment (§2.2).
pub const MAX: usize = 536;
/// The longest of version 1, its end included (§2.1).
const MAX_V1: usize = 107;
const V1: &[u8] = b"PROXY ";
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length of version 2.
const FIXED_V2: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Something else.
    Other,
    /// The beginning of a header, or nothing yet: more bytes decide.
    Partial,
    /// A header of `len` bytes.
    Header {
        /// Its length in bytes.
        len: usize,
        /// The client it names; `None`: the peer itself.
        client: Option<IpAddr>,
    },
    /// A header's signature, and no header behind it.
    Malformed,
}

/// Reads the first bytes of a connection. Pure and without allocation; for every prefix of a header it says `Partial`.
pub fn read(bytes: &[u8]) -> Start {
    let begins = |signature: &[u8]| bytes.starts_with(signature) || signature.starts_with(bytes);
    match bytes {
        _ if bytes.starts_with(V1) => read_v1(bytes),
        _ if bytes.starts_with(V2) => read_v2(bytes),
        _ if begins(V1) || begins(V2) => Start::Partial,
        _ => Start::Other,
    }
}

fn read_v1(bytes: &[u8]) -> Start {
    let bounded = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = bounded.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1 { Start::Partial } else { Start::Malformed };
    };
    let len = end + 2;
    let client = std::str::from_utf8(&bounded[V1.len()..end]).ok().and_then(line_v1);
    client.map_or(Start::Malformed, |client| Start::Header { len, client })
}

/// What follows `PROXY `, without the line's end. `None`: malformed.
fn line_v1(line: &str) -> Option<Option<IpAddr>> {
    fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
        text.parse().ok().map(A::into)
    }
    let mut words = line.split(' ');
    let address = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => address::<Ipv4Addr>,
        "TCP6" => address::<Ipv6Addr>,
        _ => return None,
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let ports = port(words.next()?) && port(words.next()?);
    (ports && words.next().is_none()).then_some(Some(source))
}

fn read_v2(bytes: &[u8]) -> Start {
    let Some(fixed) = bytes.first_chunk::<FIXED_V2>() else { return Start::Partial };
    let [.., version_command, family, high, low] = *fixed;
    let len = FIXED_V2 + usize::from(u16::from_be_bytes([high, low]));
    // LOCAL (0) and PROXY (1) of version 2; nothing else is to be accepted (§2.2).
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Start::Malformed,
    };
    if len > MAX {
        return Start::Malformed;
    }
    let Some(addresses) = bytes.get(FIXED_V2..len) else { return Start::Partial };
    let client = match family {
        _ if local => Some(None),
        // TCP over IPv4 and IPv6: two addresses and two ports, or it is malformed.
        0x11 => addresses.first_chunk::<12>().map(|[a, b, c, d, ..]| Some(IpAddr::from([*a, *b, *c, *d]))),
        0x21 => {
            addresses.first_chunk::<36>().and_then(|both| both.first_chunk::<16>()).map(|own| Some(IpAddr::from(*own)))
        }
        // Whatever else is named, it is no TCP client.
        _ => Some(None),
    };
    client.map_or(Start::Malformed, |client| Start::Header { len, client })
}

/// Takes the header off a new connection, if its listener wants one; gives who is at the other end then. The caller bounds the
/// time. `Err`: the connection ends, and why.
pub(super) async fn open(
    wanted: ProxyProtocol,
    trusted: &Networks,
    stream: &Stream,
    peer: Peer,
) -> Result<Peer, Closed> {
    let believed = peer.source == Source::Unix || trusted.contains(peer.address.to_canonical());
    match wanted {
        ProxyProtocol::Off => return Ok(peer),
        ProxyProtocol::Required if !believed => return Err(Closed::ProxyUntrusted),
        ProxyProtocol::Optional | ProxyProtocol::Required => {}
    }
    let (len, client) = match look(stream).await? {
        Start::Other if wanted == ProxyProtocol::Required => return Err(Closed::ProxyMissing),
        Start::Other => return Ok(peer),
        _ if !believed => return Err(Closed::ProxyUntrusted),
        Start::Malformed | Start::Partial => return Err(Closed::ProxyMalformed),
        Start::Header { len, client } => (len, client),
    };
    take(stream, len).map_err(|_| Closed::Reset)?;
    Ok(match client {
        Some(address) => Peer { address: address.to_canonical(), source: Source::ProxyProtocol, ..peer },
        None => peer,
    })
}

/// Looks at the first bytes until they say what they are.
async fn look(stream: &Stream) -> Result<Start, Closed> {
    let (mut buffer, mut seen) = ([0; MAX], 0);
    loop {
        let ready = stream.ready().await.map_err(|_| Closed::Reset)?;
        // No more than was there before counts as nothing there: the runtime then waits for the next segment.
        let looked = stream.try_read_io(|| match stream.peek(&mut buffer)? {
            0 => Ok(0),
            len if len == seen => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        });
        match looked {
            Ok(0) => return Err(if seen == 0 { Closed::Done } else { Closed::Incomplete }),
            Ok(len) => seen = len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Whoever closed its side sends no more.
                if ready.is_read_closed() {
                    return Err(Closed::Incomplete);
                }
                continue;
            }
            Err(_) => return Err(Closed::Reset),
        }
        match read(&buffer[..seen]) {
            Start::Partial => {}
            decided => return Ok(decided),
        }
    }
}

/// Takes a header that was seen whole: its bytes are there, so that nothing waits.
fn take(stream: &Stream, len: usize) -> io::Result<()> {
    let (mut buffer, mut left) = ([0; MAX], len);
    while left > 0 {
        match recv(stream.as_fd(), &mut buffer[..left], RecvFlags::DONTWAIT)? {
            (_, 0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, taken) => left -= taken,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
