use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&V2_SIGNATURE[..], &[command, family], &len, rest].concat()
}

fn complete(len: usize, client: &str) -> HeaderParse {
    HeaderParse::Complete { len, client: Some(client.parse().unwrap()) }
}

#[test]
fn version_1_is_parsed_as_specified() {
    for (line, client) in [
        ("PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n", Some("203.0.113.7")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255")),
        ("PROXY TCP6 2001:db8::7 ::1 1 0\r\n", Some("2001:db8::7")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    ] {
        let want = HeaderParse::Complete { len: line.len(), client: client.map(|text| text.parse().unwrap()) };
        assert_eq!(parse_header(line.as_bytes()), want, "{line}");
        assert_eq!(parse_header(format!("{line}GET / HTTP/1.1\r\n\r\n").as_bytes()), want, "{line}");
    }
}

#[test]
fn a_line_with_the_signature_and_a_mistake_is_malformed() {
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
        assert_eq!(parse_header(line.as_bytes()), HeaderParse::Malformed, "{line}");
    }
    let endless_line = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1_LEN));
    assert_eq!(parse_header(&endless_line.as_bytes()[..MAX_V1_LEN - 1]), HeaderParse::Incomplete);
    assert_eq!(parse_header(endless_line.as_bytes()), HeaderParse::Malformed);
}

#[test]
fn version_2_is_parsed_as_specified() {
    let ipv4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 1, 0xbb];
    assert_eq!(parse_header(&v2(0x21, 0x11, &ipv4)), complete(28, "203.0.113.7"));
    let mut ipv6 = [0; 36];
    ipv6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(parse_header(&v2(0x21, 0x21, &ipv6)), complete(52, "2001:db8::7"));
    // TLVs are skipped; bytes behind the header do not belong to it.
    let with_tlv = v2(0x21, 0x11, &[&ipv4[..], &[0x04, 0, 2, 0, 0]].concat());
    assert_eq!(parse_header(&[&with_tlv[..], b"GET"].concat()), complete(33, "203.0.113.7"));
    for (command, family, rest) in
        [(0x20, 0x00, &[][..]), (0x20, 0x11, &ipv4), (0x21, 0x00, &[]), (0x21, 0x31, &[0; 216])]
    {
        assert_eq!(
            parse_header(&v2(command, family, rest)),
            HeaderParse::Complete { len: 16 + rest.len(), client: None }
        );
    }
    for (command, family, rest) in
        [(0x11, 0x11, &ipv4[..]), (0x22, 0x11, &ipv4), (0x21, 0x11, &ipv4[..11]), (0x21, 0x21, &ipv4)]
    {
        assert_eq!(parse_header(&v2(command, family, rest)), HeaderParse::Malformed, "{command:x} {family:x}");
    }
    assert_eq!(parse_header(&v2(0x21, 0x11, &[0; MAX_HEADER_LEN - 16])), complete(MAX_HEADER_LEN, "0.0.0.0"));
    // The length alone decides, before the addresses have arrived.
    assert_eq!(parse_header(&v2(0x21, 0x11, &[0; MAX_HEADER_LEN - 15])[..16]), HeaderParse::Malformed);
}

#[test]
fn the_start_of_a_request_is_not_a_header() {
    for start in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "POST /", "\r\nGET", "\x16\x03\x01", "proxy TCP4"] {
        assert_eq!(parse_header(start.as_bytes()), HeaderParse::NotAHeader, "{start:?}");
    }
}

fn valid_headers() -> impl Strategy<Value = (Vec<u8>, Option<IpAddr>)> {
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
    fn every_prefix_is_incomplete_and_bytes_behind_the_header_are_not_part_of_it(
        (bytes, client) in valid_headers(),
        rest in any::<Vec<u8>>(),
    ) {
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse_header(&bytes[..cut]), HeaderParse::Incomplete);
        }
        let want = HeaderParse::Complete { len: bytes.len(), client };
        prop_assert_eq!(parse_header(&bytes), want);
        prop_assert_eq!(parse_header(&[bytes, rest].concat()), want);
    }

    #[test]
    fn the_longest_header_length_decides_every_input(
        signature in prop_oneof![
            Just(&b""[..]),
            Just(V1_SIGNATURE),
            Just(&V2_SIGNATURE[..]),
            Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..]),
        ],
        rest in proptest::collection::vec(any::<u8>(), MAX_HEADER_LEN),
    ) {
        let bytes = [signature, &rest].concat();
        match parse_header(&bytes[..MAX_HEADER_LEN]) {
            HeaderParse::Incomplete => prop_assert!(false, "{:?}", bytes),
            HeaderParse::Complete { len, .. } => prop_assert!(len <= MAX_HEADER_LEN),
            HeaderParse::NotAHeader | HeaderParse::Malformed => {}
        }
    }
}
