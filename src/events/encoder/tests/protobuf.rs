//! The Protobuf encoding of events, and its reader: both encodings have the same facts.

use proptest::prelude::*;
use serde_json::Value;

use super::{IDENTITY, click, event_in, facts, fixture, goldens, goldens_in};
use crate::{
    events::{
        duplicates::DuplicateVerdict,
        encoder::{ClickIdentity, DerivedFacts, EventEncoder, ValueEncoding},
        place_labels::PlaceLabels,
        protobuf_reader::{ProtobufError, append_protobuf_event_as_json, value_as_json},
    },
    model::{
        click::{Flags, Text},
        link::LinkFacts,
    },
};

const PLAIN: ValueEncoding = ValueEncoding::Protobuf { schema_id: None };

fn as_json(value: &[u8]) -> Result<String, ProtobufError> {
    let mut json = Vec::new();
    append_protobuf_event_as_json(value, &mut json)?;
    Ok(String::from_utf8(json).unwrap())
}

/// `WAYPOST_BLESS=1` writes the golden files anew; a reviewer judges the difference.
#[test]
fn protobuf_values_are_byte_for_byte_the_golden_files_and_read_as_the_json_of_the_same_event() {
    for ((name, value), (_, json)) in goldens_in(PLAIN).into_iter().zip(goldens()) {
        let path = fixture("tests/fixtures/events").join(format!("{name}.pb"));
        if std::env::var_os("WAYPOST_BLESS").is_some() {
            std::fs::write(&path, &value).unwrap();
        }
        assert_eq!(value, std::fs::read(&path).unwrap(), "{name}");
        assert_eq!(as_json(&value).unwrap(), json, "{name}");
    }
}

/// The figure of the documents: half of JSON. The texts alone are 750 bytes.
#[test]
fn an_ordinary_click_in_protobuf_is_about_925_bytes() {
    let (_, value) = goldens_in(PLAIN).swap_remove(1);
    assert!((900..950).contains(&value.len()), "{}", value.len());
}

/// A reader that knows nothing but the generated `click.v1.proto` reads what the JSON value says.
#[test]
fn another_library_reads_every_golden_value_by_the_generated_file() {
    let descriptors = protox::compile(["click.v1.proto"], [fixture("deploy/schemas")]).unwrap();
    let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(descriptors).unwrap();
    let descriptor = pool.get_message_by_name("waypost.v1.Click").unwrap();
    let options = prost_reflect::SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    for ((name, value), (_, json)) in goldens_in(PLAIN).into_iter().zip(goldens()) {
        let message = prost_reflect::DynamicMessage::decode(descriptor.clone(), &value[..]).unwrap();
        assert_eq!(message.unknown_fields().count(), 0, "{name}");
        let read = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(&json).unwrap(), "{name}");
    }
}

#[test]
fn a_prefix_of_a_schema_registry_has_the_id_and_the_first_message_and_is_skipped() {
    let prefixed = goldens_in(ValueEncoding::Protobuf { schema_id: Some(0x0102_0304) });
    for ((name, prefixed), (_, plain)) in prefixed.into_iter().zip(goldens_in(PLAIN)) {
        assert_eq!(prefixed[..6], [0, 1, 2, 3, 4, 0], "{name}");
        assert_eq!(prefixed[6..], plain, "{name}");
        assert_eq!(as_json(&prefixed), as_json(&plain), "{name}");
        // Some writers give the list of indexes in full: one index, and it is 0.
        let long = [&prefixed[..5], &[2, 0], &plain[..]].concat();
        assert_eq!(as_json(&long), as_json(&plain), "{name}");
        let second_message = [&prefixed[..5], &[2, 2], &plain[..]].concat();
        assert_eq!(as_json(&second_message), Err(ProtobufError::OtherMessage), "{name}");
    }
}

#[test]
fn a_value_that_is_json_or_neither_is_returned_as_it_is() {
    let mut buffer = Vec::new();
    for value in [&b"{\"type\":\"click\"}"[..], b"", b"hello", b"\0", b"[1]", &[0xff; 40]] {
        assert_eq!(value_as_json(value, &mut buffer), value);
    }
}

#[test]
fn a_value_that_breaks_the_description_is_an_error_that_names_the_field() {
    let field = |bytes: &[u8]| as_json(&[b"\x0a\x05click", bytes].concat());
    assert_eq!(field(b"").unwrap(), r#"{"type":"click"}"#);
    // 4 clicked_at_ms, 5 edge, 6 lane, 15 cookie_set.
    assert_eq!(field(b"\x28\x01"), Err(ProtobufError::WrongType("edge")));
    assert_eq!(field(b"\x2d\0\0\0\0"), Err(ProtobufError::WrongType("edge")));
    assert_eq!(field(b"\x2a\x01\xff"), Err(ProtobufError::NotUtf8("edge")));
    assert_eq!(field(b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Err(ProtobufError::Negative("lane")));
    assert_eq!(field(b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), Err(ProtobufError::Malformed));
    for malformed in [&b"\x2a\x05ab"[..], b"\x30", b"\x30\x80", b"\x33", b"\x34", b"\x02\0", b"\x2f"] {
        assert_eq!(field(malformed), Err(ProtobufError::Malformed), "{malformed:?}");
    }
    assert_eq!(as_json(b""), Err(ProtobufError::NoField));
}

#[test]
fn unknown_fields_are_skipped_and_of_two_values_the_last_counts() {
    // Number 200: a varint, bytes, and both fixed lengths.
    let unknown = b"\xc0\x0c\x07\xc2\x0c\x02ab\xc1\x0c12345678\xc5\x0c1234";
    let value = [&b"\x30\x07\x0a\x05click"[..], unknown, b"\x30\x80\x01"].concat();
    assert_eq!(as_json(&value).unwrap(), r#"{"type":"click","lane":128}"#);
}

proptest! {
    #[test]
    fn a_random_event_is_the_same_from_both_encodings(
        texts in proptest::collection::vec(
            prop_oneof![proptest::collection::vec(0u8.., 0..40), ".{0,20}".prop_map(String::into_bytes)],
            Text::COUNT,
        ),
        (lane, epoch, seq, safe) in (0u16.., 0u64..1 << 53, 0u64..1 << 53, 0u64..1 << 53),
        (at_ms, flags, token_at, schema_id) in (0u64..1 << 53, 0u16..64, 0u16..60, proptest::option::of(0u32..)),
        address in proptest::option::of(any::<std::net::IpAddr>()),
        (with_link, version) in (any::<bool>(), 0u64..1 << 53),
    ) {
        let mut click = click();
        texts.iter().enumerate().for_each(|(index, text)| click.texts[index] = text.as_slice());
        (click.at_ms, click.flags, click.token_at, click.address) = (at_ms, Flags(flags), Some(token_at), address);
        let link = LinkFacts { version, ..facts() };
        let identity = ClickIdentity { lane, epoch, seq, safe, ..IDENTITY };
        let event = |encoding| {
            let params = crate::client::query_params::QueryParams::parse_known_params(click.text(Text::Query));
            let labels = super::LABELLER.lock().unwrap().compute_labels(&click, &params);
            let link = with_link.then_some(&link);
            let place = PlaceLabels::default();
            let duplicate = DuplicateVerdict::Visitor;
            let (params, labels, place) = (&params, &labels, &place);
            let derived = DerivedFacts { link, params, labels, place, device: None, duplicate };
            let mut out = Vec::new();
            EventEncoder::default().append_event(&mut out, encoding, &identity, &click, &derived);
            out
        };
        let json = String::from_utf8(event(ValueEncoding::Json)).unwrap();
        prop_assert_eq!(as_json(&event(ValueEncoding::Protobuf { schema_id })).unwrap(), json);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_what_is_read_is_one_line_of_json(
        value in proptest::collection::vec(0u8.., 0..200),
    ) {
        if let Ok(json) = as_json(&value) {
            prop_assert!(!json.contains('\n'));
            serde_json::from_str::<serde_json::Map<String, Value>>(&json).unwrap();
        }
    }

    #[test]
    fn a_damaged_value_is_read_without_a_panic(at in 0_usize..900, byte: u8, end in 0_usize..900) {
        let mut value = event_in(PLAIN, &click(), Some(&facts()), DuplicateVerdict::First);
        value[at] = byte;
        for value in [&value[..], &value[..end]] {
            if let Ok(json) = as_json(value) {
                serde_json::from_str::<serde_json::Map<String, Value>>(&json).unwrap();
            }
        }
    }
}
