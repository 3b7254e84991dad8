mod damage;
mod mmdb_writer;

use std::net::{IpAddr, Ipv4Addr};

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use self::mmdb_writer::MmdbWriter;
use super::{DatabaseKind, Databases, Network, Place, database::Database, load_error::RefusedFile};

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The databases with this one; the error is what a person reads.
pub(super) fn load(kind: DatabaseKind, bytes: Vec<u8>) -> Result<Databases, String> {
    let loaded = Database::from_bytes(bytes);
    let loaded = loaded.and_then(|database| Databases::default().with_database(kind, database));
    loaded.map_err(|refused: RefusedFile| refused.to_string())
}

fn city(country: &str, region: &str) -> Value {
    json!({"city": {"names": {"en": "somewhere"}}, "country": {"iso_code": country, "names": {"en": country}},
        "location": {"accuracy_radius": 100}, "subdivisions": [{"iso_code": region}, {"iso_code": "second"}]})
}

#[test]
fn country_and_region_are_read_in_each_layout() {
    let nested = [("198.51.100.0/24", city("US", "CA")), ("2001:db8::/32", json!({"country": {"iso_code": "VN"}}))];
    let loaded = load(DatabaseKind::Country, MmdbWriter::new("City", &nested).to_bytes()).unwrap();
    let found = |text: &str| loaded.find_place(address(text));
    assert_eq!(found("198.51.100.255"), Place { country: Some(*b"US"), region: b"CA" });
    assert_eq!(loaded.find_place(address("198.51.100.0")).country, Some(*b"US"));
    assert_eq!(found("2001:db8:ffff::1"), Place { country: Some(*b"VN"), region: b"" });
    assert_eq!((found("198.51.101.0"), found("2001:db9::")), (Place::default(), Place::default()));
    assert_eq!((loaded.database_type(DatabaseKind::Country), loaded.has(DatabaseKind::Network)), (Some("City"), false));
    assert_eq!(loaded.built_at_secs(DatabaseKind::Country), Some(1_795_000_000));

    let flat = [
        ("192.0.2.0/24", json!({"country_code": "kr"})),
        ("203.0.113.0/24", json!({"country_code": "ZZ"})),
        ("203.0.113.7/32", json!({"country": "text", "country_code": "long"})),
    ];
    let loaded = load(DatabaseKind::Country, MmdbWriter::new("flat", &flat).to_bytes()).unwrap();
    let found = |text: &str| loaded.find_place(address(text)).country;
    assert_eq!((found("192.0.2.1"), found("203.0.113.1"), found("203.0.113.7")), (Some(*b"KR"), None, None));
}

#[test]
fn networks_and_data_centres_are_read_in_each_layout() {
    let numbers = [
        ("192.0.2.0/24", json!({"autonomous_system_number": 64500, "autonomous_system_organization": "Example \"1\""})),
        ("192.0.2.128/25", json!({"autonomous_system_number": 4_200_000_000_u32})),
        ("198.51.100.0/24", json!({"autonomous_system_organization": "nobody"})),
    ];
    let texts = [("192.0.2.0/24", json!({"as_name": "Example", "asn": "AS64501", "country_code": "US"}))];
    let loaded = load(DatabaseKind::Network, MmdbWriter::new("ASN", &numbers).to_bytes()).unwrap();
    let found = |text: &str| loaded.find_network(address(text));
    assert_eq!(found("192.0.2.1"), Some(Network { number: 64500, name: "Example \"1\"" }));
    assert_eq!(found("192.0.2.200"), Some(Network { number: 4_200_000_000, name: "" }));
    assert_eq!((found("198.51.100.1"), found("8.8.8.8"), found("::1")), (None, None, None));
    let loaded = load(DatabaseKind::Network, MmdbWriter::new("lite", &texts).to_bytes()).unwrap();
    assert_eq!(loaded.find_network(address("192.0.2.1")), Some(Network { number: 64501, name: "Example" }));

    let hosting = [("192.0.2.0/24", json!({"is_anonymous": true, "is_hosting_provider": true}))];
    let vpn = ("198.51.100.0/24", json!({"is_anonymous": true}));
    let bytes = MmdbWriter::new("Anonymous", &[&hosting[..], &[vpn]].concat()).to_bytes();
    let loaded = load(DatabaseKind::DataCentre, bytes).unwrap();
    let found = |text: &str| loaded.is_data_centre(address(text));
    assert_eq!((found("192.0.2.9"), found("198.51.100.9"), found("8.8.8.8")), (Some(true), Some(false), Some(false)));
    assert_eq!(Databases::default().is_data_centre(address("192.0.2.9")), None);
    let of_ipv4 = MmdbWriter { ip_version: 4, ..MmdbWriter::new("Anonymous", &hosting) };
    let loaded = load(DatabaseKind::DataCentre, of_ipv4.to_bytes()).unwrap();
    let found = |text: &str| loaded.is_data_centre(address(text));
    assert_eq!((found("192.0.2.9"), found("2001:db8::1")), (Some(true), None));
}

/// The address's network among these: the longest prefix, of equal ones the last.
fn expected_country(networks: &[(IpAddr, u8, [u8; 2])], address: IpAddr) -> Option<[u8; 2]> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 4),
        IpAddr::V6(v6) => (v6.to_bits(), 6),
    };
    let holds = |(network, prefix, _): &&(IpAddr, u8, [u8; 2])| {
        let ((network, its_version), (address, version)) = (bits(*network), bits(address));
        its_version == version && (network ^ address).checked_shr(128 - u32::from(*prefix)).unwrap_or(0) == 0
    };
    networks.iter().filter(holds).max_by_key(|(_, prefix, _)| *prefix).map(|(.., country)| *country)
}

fn any_network(with_ipv6: bool) -> impl Strategy<Value = (IpAddr, u8, [u8; 2])> {
    let country = (b'A'..=b'W', b'A'..=b'Y').prop_map(|(one, other)| [one, other]);
    // Few distinct first bits, so that networks lie in each other.
    let v4 = (0u32..256, 1u8..=32).prop_map(|(bits, prefix)| (IpAddr::from(Ipv4Addr::from(bits << 22 | bits)), prefix));
    let v6 =
        (1u128..256, 3u8..=128).prop_map(|(bits, prefix)| (IpAddr::V6((bits << 118 | 1 << 125 | bits).into()), prefix));
    let network = if with_ipv6 { prop_oneof![v4, v6].boxed() } else { v4.boxed() };
    (network, country).prop_map(|((address, prefix), country)| (address, prefix, country))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For both versions of IP and every size of records.
    #[test]
    fn every_address_has_the_record_of_its_longest_network(
        with_ipv6: bool,
        record_size in prop_oneof![Just(24u16), Just(28), Just(32)],
        seed in vec(any_network(true), 1..40),
        of_ipv4 in vec(any_network(false), 1..40),
        others in vec(any::<u32>(), 20),
    ) {
        let networks = if with_ipv6 { seed } else { of_ipv4 };
        let record = |(address, prefix, country): &(IpAddr, u8, [u8; 2])| {
            (*address, *prefix, json!({"country": {"iso_code": String::from_utf8_lossy(country)}}))
        };
        let writer = MmdbWriter {
            ip_version: if with_ipv6 { 6 } else { 4 },
            record_size,
            networks: networks.iter().map(record).collect(),
            ..MmdbWriter::new("random", &[])
        };
        let loaded = load(DatabaseKind::Country, writer.to_bytes()).unwrap();
        let edges = networks.iter().flat_map(|(address, ..)| match address {
            IpAddr::V4(v4) => [v4.to_bits(), v4.to_bits() ^ 1].map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(v6) => [v6.to_bits(), v6.to_bits() ^ 1].map(|bits| IpAddr::V6(bits.into())),
        });
        for address in edges.chain(others.iter().map(|bits| IpAddr::V4((*bits).into()))) {
            prop_assert_eq!(loaded.find_place(address).country, expected_country(&networks, address), "{}", address);
        }
    }
}
