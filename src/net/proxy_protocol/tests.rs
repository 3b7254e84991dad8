use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&V2[..], &[command, family], &len, rest].concat()
}

fn header(len: usize, client: &str) -> Start {
    Start::Header { len, client: Some(client.parse().unwrap()) }
}

#[test]
fn version_1_is_read_as_the_specification_writes_it() {
    for (line, client) in [
        ("PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n", Some("203.0.113.7")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255")),
        ("PROXY TCP6 2001:db8::7 ::1 1 0\r\n", Some("2001:db8::7")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    ] {
        let want = Start::Header { len: line.len(), client: client.map(|text| text.parse().unwrap()) };
        assert_eq!(read(line.as_bytes()), want, "{line}");
        assert_eq!(read(format!("{line}GET / HTTP/1.1\r\n\r\n").as_bytes()), want, "{line}");
    }
}

#[test]
fn a_line_that_is_nearly_a_header_is_malformed() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 203.0.113.7 192.0.2.1 51234 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 \r\n",
        "PROXY TCP4  203.0.113.7 192.0.2.1 51234 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 +1 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n",
        "PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 \u{e9} 192.0.2.1 1 2\r\n",
    ] {
        assert_eq!(read(line.as_bytes()), Start::Malformed, "{line}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1));
    assert_eq!(read(&endless.as_bytes()[..MAX_V1 - 1]), Start::Partial);
    assert_eq!(read(endless.as_bytes()), Start::Malformed);
}

#[test]
fn version_2_is_read_as_the_specification_writes_it() {
    let ipv4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 1, 0xbb];
    assert_eq!(read(&v2(0x21, 0x11, &ipv4)), header(28, "203.0.113.7"));
    let mut ipv6 = [0; 36];
    ipv6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(read(&v2(0x21, 0x21, &ipv6)), header(52, "2001:db8::7"));
    // TLVs are skipped, and what comes after the header is not its.
    let with_tlv = v2(0x21, 0x11, &[&ipv4[..], &[0x04, 0, 2, 0, 0]].concat());
    assert_eq!(read(&[&with_tlv[..], b"GET"].concat()), header(33, "203.0.113.7"));
    for (command, family, rest) in
        [(0x20, 0x00, &[][..]), (0x20, 0x11, &ipv4), (0x21, 0x00, &[]), (0x21, 0x31, &[0; 216])]
    {
        assert_eq!(read(&v2(command, family, rest)), Start::Header { len: 16 + rest.len(), client: None });
    }
    for (command, family, rest) in
        [(0x11, 0x11, &ipv4[..]), (0x22, 0x11, &ipv4), (0x21, 0x11, &ipv4[..11]), (0x21, 0x21, &ipv4)]
    {
        assert_eq!(read(&v2(command, family, rest)), Start::Malformed, "{command:x} {family:x}");
    }
    assert_eq!(read(&v2(0x21, 0x11, &[0; MAX - 16])), header(MAX, "0.0.0.0"));
    // Refused by its length alone, before any of it is waited for.
    assert_eq!(read(&v2(0x21, 0x11, &[0; MAX - 15])[..16]), Start::Malformed);
}

#[test]
fn a_request_is_no_header() {
    for start in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "POST /", "\r\nGET", "\x16\x03\x01", "proxy TCP4"] {
        assert_eq!(read(start.as_bytes()), Start::Other, "{start:?}");
    }
}

fn headers() -> impl Strategy<Value = (Vec<u8>, Option<IpAddr>)> {
    let v1 = (any::<bool>(), any::<[u8; 16]>(), any::<u16>()).prop_map(|(four, own, port)| {
        let (family, client) = match four {
            true => ("TCP4", IpAddr::from(*own.first_chunk::<4>().unwrap())),
            false => ("TCP6", IpAddr::from(own)),
        };
        (format!("PROXY {family} {client} {client} {port} {port}\r\n").into_bytes(), Some(client))
    });
    let v2 = (any::<bool>(), any::<bool>(), any::<[u8; 36]>(), proptest::collection::vec(any::<u8>(), 0..400))
        .prop_map(|(local, four, own, tlvs)| {
            let (family, len, client) = match four {
                true => (0x11, 12, IpAddr::from(*own.first_chunk::<4>().unwrap())),
                false => (0x21, 36, IpAddr::from(*own.first_chunk::<16>().unwrap())),
            };
            let bytes = v2(if local { 0x20 } else { 0x21 }, family, &[&own[..len], &tlvs].concat());
            (bytes, (!local).then_some(client))
        });
    prop_oneof![v1, v2]
}

proptest! {
    #[test]
    fn every_cut_of_a_header_waits_and_what_follows_it_is_left((bytes, client) in headers(), rest in any::<Vec<u8>>()) {
        for cut in 0..bytes.len() {
            prop_assert_eq!(read(&bytes[..cut]), Start::Partial);
        }
        let want = Start::Header { len: bytes.len(), client };
        prop_assert_eq!(read(&bytes), want);
        prop_assert_eq!(read(&[bytes, rest].concat()), want);
    }

    #[test]
    fn whatever_comes_is_decided_within_the_bound(
        signature in prop_oneof![Just(&b""[..]), Just(V1), Just(&V2[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..])],
        rest in proptest::collection::vec(any::<u8>(), MAX),
    ) {
        let bytes = [signature, &rest].concat();
        match read(&bytes[..MAX]) {
            Start::Partial => prop_assert!(false, "{:?}", bytes),
            Start::Header { len, .. } => prop_assert!(len <= MAX),
            Start::Other | Start::Malformed => {}
        }
    }
}
