//! MMDB files with records as large as those of published ones, and visits to a link whose target asks for a place.

use std::sync::Arc;

use serde_json::{Value, json};
use waypost::geoip::{Config, Databases};

use super::{Domains, Visit, domains, insert_link_with, links_in, visit_of_table};

#[path = "../../src/geoip/tests/mmdb_writer.rs"]
mod mmdb_writer;

/// A name in the eight languages of published files.
fn names(name: &str) -> Value {
    let languages = ["de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN"];
    languages.iter().map(|language| (language.to_string(), json!(format!("{name} ({language})")))).collect()
}

/// The record of a city, with the fields that published files have.
fn city_in_california() -> Value {
    let country = json!({ "geoname_id": 6_252_001, "iso_code": "US", "names": names("United States") });
    json!({
        "city": { "geoname_id": 5_368_361, "names": names("Los Angeles") },
        "continent": { "code": "NA", "geoname_id": 6_255_149, "names": names("North America") },
        "country": country,
        "location": { "accuracy_radius": 20, "time_zone": "America/Los_Angeles" },
        "postal": { "code": "90009" },
        "registered_country": country,
        "subdivisions": [{ "geoname_id": 5_332_921, "iso_code": "CA", "names": names("California") }],
    })
}

/// Databases of countries and networks. The address of every visit is in a network of 24 bits, as deep in the tree as
/// those of published files are.
pub(crate) fn databases() -> Databases {
    let dir = tempfile::tempdir().unwrap();
    let network = json!({
        "autonomous_system_number": 64_500, "autonomous_system_organization": "Example Mobile Communications, Inc.",
    });
    let write = |name: &str, record: Value| {
        let networks = [("192.0.2.0/24", record.clone()), ("2001:db8::/48", record)];
        let path = dir.path().join(name);
        std::fs::write(&path, mmdb_writer::MmdbWriter::new(name, &networks).to_bytes()).unwrap();
        Some(path)
    };
    let config = Config {
        country_file: write("City", city_in_california()),
        network_file: write("ASN", network),
        data_centre_file: None,
    };
    let loaded = Databases::load(&config);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    loaded.databases
}

/// A first visit to a link with one target, which asks for this condition alone. The target decides.
pub(crate) fn visit_with_condition(condition: &str) -> Visit {
    let links = links_in(&Domains::new(&domains::Config::default()).unwrap(), "*");
    let target = json!({
        "when": serde_json::from_str::<Value>(condition).unwrap(),
        "url": "https://shop.example.com/view/product/0?creator=c_48213",
    });
    insert_link_with(&links, &json!({ "targets": [target] }));
    visit_of_table(links.table, Some(Arc::new(databases())), Some(0))
}
