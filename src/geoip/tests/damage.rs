//! Files that are cut, changed or of another kind: each is refused with the reason, or serves without a panic.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::{MmdbWriter, address, city, load};
use crate::geoip::{Config, DatabaseKind, Databases, LoadError};

fn whole_file() -> Vec<u8> {
    let networks = [
        ("192.0.2.0/24", city("US", "CA")),
        ("198.51.100.0/25", city("VN", "SG")),
        ("2001:db8::/32", json!({"country": {"iso_code": "KR"}})),
    ];
    MmdbWriter::new("City", &networks).to_bytes()
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let whole = whole_file();
    assert!(load(DatabaseKind::Country, whole.clone()).is_ok());
    for len in 0..whole.len() {
        let refused = load(DatabaseKind::Country, whole[..len].to_vec()).unwrap_err();
        assert!(refused.starts_with("is no whole MMDB file: "), "{len}: {refused}");
    }
}

#[test]
fn a_file_of_another_type_is_refused_by_what_it_lacks() {
    let networks = [("192.0.2.0/24", json!({"autonomous_system_number": 64500}))];
    let bytes = MmdbWriter::new("GeoLite2-ASN", &networks).to_bytes();
    let expected = "has country.iso_code or country_code in no record; its type is \"GeoLite2-ASN\"; name a file that \
                    has it";
    assert_eq!(load(DatabaseKind::Country, bytes.clone()).unwrap_err(), expected);
    assert!(load(DatabaseKind::DataCentre, bytes).unwrap_err().starts_with("has is_hosting_provider in no record"));
    assert!(load(DatabaseKind::Network, whole_file()).unwrap_err().contains("its type is \"City\""));
    let empty = MmdbWriter::new("empty", &[]).to_bytes();
    assert!(load(DatabaseKind::Country, empty).unwrap_err().contains("in no record"));
    let wrong = [("192.0.2.0/24", json!({"is_hosting_provider": "yes"}))];
    let refused = load(DatabaseKind::DataCentre, MmdbWriter::new("texts", &wrong).to_bytes()).unwrap_err();
    assert!(refused.starts_with("is damaged: "), "{refused}");
}

#[test]
fn every_file_that_cannot_be_used_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| Some(dir.path().join(name));
    std::fs::write(dir.path().join("text"), "<html>").unwrap();
    let config = Config { country_file: path("absent"), network_file: path("text"), data_centre_file: path("") };
    let errors = Databases::load(&config).refused;
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (error, expected) in said.iter().zip([
        "geoip.country_file: DIR/absent: cannot be read: No such file",
        "geoip.network_file: DIR/text: is no whole MMDB file: ",
        "geoip.data_centre_file: DIR/: is no regular file",
    ]) {
        let expected = expected.replace("DIR", &dir.path().display().to_string());
        assert!(error.starts_with(&expected), "{error}");
    }
    let unreadable: Vec<bool> = errors.iter().map(LoadError::is_unreadable).collect();
    assert_eq!(unreadable, [true, false, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A tree with a circle ends the load too.
    #[test]
    fn a_file_with_changed_bytes_is_refused_or_answers_without_a_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        addresses in vec(any::<u32>(), 4),
    ) {
        let mut bytes = whole_file();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for kind in DatabaseKind::ALL {
            let Ok(loaded) = load(kind, bytes.clone()) else { continue };
            let others = ["192.0.2.1", "198.51.100.1", "2001:db8::1", "ffff::1"].map(address);
            for found in addresses.iter().map(|bits| std::net::IpAddr::V4((*bits).into())).chain(others) {
                loaded.find_place(found);
                loaded.find_network(found);
                loaded.is_data_centre(found);
            }
        }
    }
}
