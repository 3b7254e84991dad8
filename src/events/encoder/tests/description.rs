//! The code and the description of events agree: `deploy/schemas/click.v1.schema.json`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fixture;
use crate::{
    events::{
        field::{FIELDS, FieldType},
        labels::ClickClass,
    },
    model::{
        click::{AddressMode, AddressSource, Carrier, Consent, CookieState, HttpVersion, Method, Outcome, Privacy},
        device::{DeviceClass, Os},
        link::{CreatorType, LinkKind, Plan},
    },
};

fn schema() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("deploy/schemas/click.v1.schema.json")).unwrap()).unwrap()
}

#[test]
fn the_table_of_fields_is_what_the_description_says() {
    let schema = schema();
    let described = schema["properties"].as_object().unwrap();
    assert_eq!(described.len(), FIELDS.len());
    for field in FIELDS {
        let description = &described[field.name];
        assert_eq!(description["x-field-number"], field.number, "{}", field.name);
        let type_name = match field.field_type {
            FieldType::Text => "string",
            FieldType::Integer => "integer",
            FieldType::Boolean => "boolean",
        };
        let is_number = description["const"].is_number();
        assert!(description["type"] == type_name || (is_number && type_name == "integer"), "{}", field.name);
    }
}

#[test]
fn every_list_of_values_is_that_of_the_code() {
    let schema = schema();
    let check = |field: &str, words: &[&str]| {
        let described = schema["properties"][field]["enum"].as_array().unwrap().iter();
        let described: BTreeSet<&str> = described.map(|value| value.as_str().unwrap()).collect();
        assert_eq!(described, words.iter().copied().collect(), "{field}");
    };
    check("outcome", &Outcome::ALL.map(Outcome::as_str));
    check("carrier", &Carrier::ALL.map(Carrier::as_str));
    check("method", &Method::ALL.map(Method::as_str));
    check("http_version", &HttpVersion::ALL.map(HttpVersion::as_str));
    check("cookie_state", &CookieState::ALL.map(CookieState::as_str));
    check("consent", &Consent::ALL.map(Consent::as_str));
    // A click without a rule has no field.
    check("privacy_mode", &[Privacy::Unlinked, Privacy::Strict].map(Privacy::as_str));
    check("client_ip_mode", &AddressMode::ALL.map(AddressMode::as_str));
    check("client_ip_from", &AddressSource::ALL.map(AddressSource::as_str));
    check("link_kind", &LinkKind::ALL.map(LinkKind::as_str));
    check("creator_type", &CreatorType::ALL.map(CreatorType::as_str));
    check("plan", &Plan::ALL.map(Plan::as_str));
    check("device", &DeviceClass::ALL.map(DeviceClass::as_str));
    check("os", &Os::ALL.map(Os::as_str));
    check("class", &ClickClass::ALL.map(ClickClass::as_str));
}
