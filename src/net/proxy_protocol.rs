//! The PROXY protocol, versions 1 and 2: the header in which a proxy names its client, before the first byte of the
//! connection that it forwards. Section numbers are those of HAProxy's `doc/proxy-protocol.txt`.
//!
//! ```text
//! 1: PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n   at most 107 bytes; also TCP6, and UNKNOWN with anything behind
//! 2: 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | version 2, command | family, transport | length u16, big-endian
//!    | source, destination, source port, destination port | TLVs, which are skipped
//! ```
//! A header without a TCP address (`UNKNOWN`, `LOCAL`, `UNSPEC`, a Unix socket) leaves the peer as it is; proxies send
//! it with their health checks. The header is peeked at in the socket's buffer and read once it is whole, without a
//! byte behind it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};

use crate::net::{
    close_reason::CloseReason,
    peer::{Peer, PeerAddressSource, TrustedNetworks},
    stream::Stream,
};

/// Whether the connections of a listener begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not. A header is malformed HTTP.
    #[default]
    Off,
    /// They may if their peer is trusted.
    Optional,
    /// They must, and their peer must be trusted.
    Required,
}

/// The longest accepted header in bytes: the length that version 2 promises to pass in one TCP segment (§2.2).
const MAX_HEADER_LEN: usize = 536;
/// The longest header of version 1 in bytes, its line end included (§2.1).
const MAX_V1_LEN: usize = 107;
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of signature, command, family and length in version 2.
const V2_FIXED_LEN: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderParse {
    /// No PROXY protocol header.
    NotAHeader,
    /// A prefix of a header, perhaps empty.
    Incomplete,
    /// A whole header.
    Complete {
        /// Its length in bytes.
        len: usize,
        /// The client that it names. `None`: it names none, and the peer itself is the client.
        client: Option<IpAddr>,
    },
    /// The signature of a header, followed by something else.
    Malformed,
}

/// Parses the first bytes of a connection, without allocation. Every prefix of a header is `Incomplete`.
pub fn parse_header(bytes: &[u8]) -> HeaderParse {
    let may_become = |signature: &[u8]| bytes.starts_with(signature) || signature.starts_with(bytes);
    match bytes {
        _ if bytes.starts_with(V1_SIGNATURE) => parse_v1_text_header(bytes),
        _ if bytes.starts_with(V2_SIGNATURE) => parse_v2_binary_header(bytes),
        _ if may_become(V1_SIGNATURE) || may_become(V2_SIGNATURE) => HeaderParse::Incomplete,
        _ => HeaderParse::NotAHeader,
    }
}

fn parse_v1_text_header(bytes: &[u8]) -> HeaderParse {
    let bounded = &bytes[..bytes.len().min(MAX_V1_LEN)];
    let Some(end) = bounded.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1_LEN { HeaderParse::Incomplete } else { HeaderParse::Malformed };
    };
    let line = std::str::from_utf8(&bounded[V1_SIGNATURE.len()..end]).ok();
    match line.and_then(parse_v1_line_after_signature) {
        Some(V1Client(client)) => HeaderParse::Complete { len: end + 2, client },
        None => HeaderParse::Malformed,
    }
}

/// The client that a header of version 1 names, if it names one.
struct V1Client(Option<IpAddr>);

/// Parses the line after `PROXY `, without its end. `None`: the line is malformed.
fn parse_v1_line_after_signature(line: &str) -> Option<V1Client> {
    fn parse_address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
        text.parse().ok().map(A::into)
    }
    let mut words = line.split(' ');
    let parse_address = match words.next()? {
        "UNKNOWN" => return Some(V1Client(None)),
        "TCP4" => parse_address::<Ipv4Addr>,
        "TCP6" => parse_address::<Ipv6Addr>,
        _ => return None,
    };
    let (source, _destination) = (parse_address(words.next()?)?, parse_address(words.next()?)?);
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let has_ports = is_port(words.next()?) && is_port(words.next()?);
    (has_ports && words.next().is_none()).then_some(V1Client(Some(source)))
}

fn parse_v2_binary_header(bytes: &[u8]) -> HeaderParse {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_LEN>() else { return HeaderParse::Incomplete };
    let [.., version_and_command, family_and_transport, len_high, len_low] = *fixed;
    let len = V2_FIXED_LEN + usize::from(u16::from_be_bytes([len_high, len_low]));
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        // Version 2 has no other command, and other versions must be refused (§2.2).
        _ => return HeaderParse::Malformed,
    };
    if len > MAX_HEADER_LEN {
        return HeaderParse::Malformed;
    }
    let Some(addresses) = bytes.get(V2_FIXED_LEN..len) else { return HeaderParse::Incomplete };
    let client = match family_and_transport {
        _ if is_local => None,
        // TCP over IPv4: two addresses and two ports.
        0x11 => match addresses.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Some(IpAddr::from([*a, *b, *c, *d])),
            None => return HeaderParse::Malformed,
        },
        // TCP over IPv6: the same.
        0x21 => match addresses.first_chunk::<36>().and_then(|block| block.first_chunk::<16>()) {
            Some(source) => Some(IpAddr::from(*source)),
            None => return HeaderParse::Malformed,
        },
        // Another family or transport names no TCP client.
        _ => None,
    };
    HeaderParse::Complete { len, client }
}

/// Reads the header from a new connection as its listener demands, and returns the peer whose requests follow. Bytes
/// behind the header are not read. The caller bounds the time. `Err`: the connection is to be closed.
pub(super) async fn read_header_and_resolve_peer(
    mode: ProxyProtocol,
    trusted: &TrustedNetworks,
    stream: &Stream,
    peer: Peer,
) -> Result<Peer, CloseReason> {
    let is_trusted = peer.source == PeerAddressSource::Unix || trusted.contains(peer.address.to_canonical());
    match mode {
        ProxyProtocol::Off => return Ok(peer),
        ProxyProtocol::Required if !is_trusted => return Err(CloseReason::ProxyUntrusted),
        ProxyProtocol::Optional | ProxyProtocol::Required => {}
    }
    let (len, client) = match peek_until_header_parse_is_decided(stream).await? {
        HeaderParse::NotAHeader if mode == ProxyProtocol::Required => return Err(CloseReason::ProxyMissing),
        HeaderParse::NotAHeader => return Ok(peer),
        _ if !is_trusted => return Err(CloseReason::ProxyUntrusted),
        HeaderParse::Malformed | HeaderParse::Incomplete => return Err(CloseReason::ProxyMalformed),
        HeaderParse::Complete { len, client } => (len, client),
    };
    read_and_discard_peeked_bytes(stream, len).map_err(|_| CloseReason::Reset)?;
    Ok(match client {
        Some(address) => Peer { address: address.to_canonical(), source: PeerAddressSource::ProxyProtocol, ..peer },
        None => peer,
    })
}

/// Peeks at the first bytes of a connection until the parse is no longer `Incomplete`. `Err`: the client closed it
/// before, or it broke.
async fn peek_until_header_parse_is_decided(stream: &Stream) -> Result<HeaderParse, CloseReason> {
    let (mut buffer, mut peeked_len) = ([0; MAX_HEADER_LEN], 0);
    loop {
        let ready = stream.wait_for_read_readiness_or_err_if_tls().await.map_err(|_| CloseReason::Reset)?;
        let peeked = stream.try_read_io_or_err_if_tls(|| match stream.peek(&mut buffer)? {
            0 => Ok(0),
            // The same bytes as before. `WouldBlock` makes the runtime wait for the next segment.
            len if len == peeked_len => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        });
        match peeked {
            Ok(0) if peeked_len == 0 => return Err(CloseReason::Done),
            Ok(0) => return Err(CloseReason::Incomplete),
            Ok(len) => peeked_len = len,
            // No further bytes can come.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && ready.is_read_closed() => {
                return Err(CloseReason::Incomplete);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(CloseReason::Reset),
        }
        match parse_header(&buffer[..peeked_len]) {
            HeaderParse::Incomplete => {}
            decided => return Ok(decided),
        }
    }
}

/// Reads and discards `len` bytes, which were peeked before, so that it need not wait.
fn read_and_discard_peeked_bytes(stream: &Stream, len: usize) -> io::Result<()> {
    let (mut buffer, mut bytes_left) = ([0; MAX_HEADER_LEN], len);
    while bytes_left > 0 {
        match recv(stream.as_fd(), &mut buffer[..bytes_left], RecvFlags::DONTWAIT)? {
            (_, 0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, read) => bytes_left -= read,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
