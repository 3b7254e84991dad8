use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    links::{
        destination::{PlaceholderValues, TokenOffset, policy::DestinationPolicy},
        domains::Domains,
    },
    model::link::{LinkFacts, record::Record},
};

const NOW: u64 = 1_793_600_000_000;

fn link(changes: Value) -> Link {
    let mut record = json!({"code":"7Kq2ZpXa","url":"https://shop.example.com/view/product/1729384756?creator=c_48213",
        "kind":"product","creator":"c_48213","creator_type":"affiliate","partner":"tap_7","seller":"s_311",
        "product":"1729384756","plan":"targeted","rate_bp":1200,"created_at":"2026-11-01T00:00:00Z"});
    for (key, value) in changes.as_object().unwrap() {
        record[key] = value.clone();
    }
    let record: Record = serde_json::from_value(record).unwrap();
    let domains = Domains::new(&toml::from_str("[\"go.example.com\"]").unwrap()).unwrap();
    match Link::check_and_build_from_record(&record, &DestinationPolicy::default(), &domains, NOW, 9) {
        Ok(valid) => valid.link,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn plain(changes: Value) -> Link {
    let mut all = json!({"kind":"plain","product":null,"plan":null,"rate_bp":null,"seller":null});
    changes.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    link(all)
}

#[test]
fn a_link_gives_back_what_it_was_made_of() {
    let link = link(json!({"fallback_url":"https://shop.example.com","starts_at":"2026-11-02T00:00:00Z"}));
    let facts = LinkFacts::decode(link.facts()).unwrap();
    assert_eq!((link.code(), facts.product, facts.version), (&b"7Kq2ZpXa"[..], "1729384756", 9));
    assert_eq!(link.fallback_url(), Some("https://shop.example.com/"));
    assert_eq!(link.starts_ms(), facts.created_ms + 24 * 3600 * 1000);
    assert_eq!(
        link.url_template().to_url_text_with_placeholders(),
        "https://shop.example.com/view/product/1729384756?creator=c_48213"
    );
}

#[test]
fn an_ordinary_link_takes_at_most_84_bytes_beyond_its_url_and_a_slot_takes_8() {
    let link = link(json!({}));
    let url = "https://shop.example.com/view/product/1729384756?creator=c_48213".len();
    // Reference count, head and length, each a word; then the slice.
    let size = 3 * size_of::<usize>() + link.bytes().len();
    assert!(size - url <= 84, "{}", size - url);
    assert_eq!(size_of::<Link>(), 8);
    assert_eq!(size_of::<(Link, ())>(), 8);
}

#[test]
fn a_link_of_a_configured_domain_keeps_start_and_fallback() {
    let own = plain(json!({"partner":null,"domain":"go.example.com","fallback_url":"https://a.example/x",
        "starts_at":"2026-11-02T00:00:00Z"}));
    assert_eq!(own.fallback_url(), Some("https://a.example/x"));
    assert_eq!(own.state_at(own.starts_ms()), LinkState::Live);
}

#[test]
fn a_link_is_live_from_its_start_to_its_end() {
    let link = link(json!({"starts_at":"2026-11-02T00:00:00Z","expires_at":"2026-11-03T00:00:00Z"}));
    let (start, day) = (link.starts_ms(), 24 * 3600 * 1000);
    for (now, state) in [
        (start - 1, LinkState::NotStarted),
        (start, LinkState::Live),
        (start + day - 1, LinkState::Live),
        (start + day, LinkState::Expired),
    ] {
        assert_eq!(link.state_at(now), state);
    }
    assert_eq!(plain(json!({"enabled":false})).state_at(u64::MAX), LinkState::Disabled);
}

#[test]
fn a_link_renders_its_destination_with_its_token() {
    let link = link(json!({}));
    let fill = PlaceholderValues { click_id: b"id", token: Some(b"v1.t"), query: b"creator=thief", token_param: b"wp" };
    let mut out = Vec::new();
    assert_eq!(link.url_template().render_and_return_token_offset(&fill, &mut out), Some(TokenOffset(68)));
    assert_eq!(out, b"https://shop.example.com/view/product/1729384756?creator=c_48213&wp=v1.t");
}

#[test]
fn a_code_is_taken_once_in_its_domain() {
    let table = Table::with_capacity(2);
    assert!(table.try_insert_or_give_back(link(json!({}))).is_ok());
    assert_eq!(
        table.try_insert_or_give_back(link(json!({}))).map_err(|link| link.code().to_vec()),
        Err(b"7Kq2ZpXa".to_vec())
    );
    assert!(table.try_insert_or_give_back(link(json!({"domain":"go.example.com"}))).is_ok());
    assert_eq!(table.len(), 2);
}

proptest! {
    #[test]
    fn whatever_enters_is_found_again_with_its_facts_and_leads_somewhere(
        code in "[0-9A-Za-z_-]{1,64}", creator in ".{1,20}", partner in prop::option::of("[a-z]{1,9}"),
        url in "https://[a-z]{1,9}\\.example/[ -~]{0,30}",
        fallback in prop::option::of("https://a\\.example/[a-z]{0,9}"),
        own in any::<bool>(), starts in any::<bool>(), now in 0..NOW * 2,
    ) {
        let record: Record = serde_json::from_value(json!({"code":code,"url":url,"kind":"plain","creator":creator,
            "partner":partner,"created_at":"2026-11-01T00:00:00Z","fallback_url":fallback,
            "domain":if own { "go.example.com" } else { "*" },
            "starts_at":if starts { json!("2026-11-02T00:00:00Z") } else { Value::Null }})).unwrap();
        let domains = Domains::new(&toml::from_str("[\"go.example.com\"]").unwrap()).unwrap();
        let valid = Link::check_and_build_from_record(&record, &DestinationPolicy::default(), &domains, NOW, 1);
        let Ok(ValidLink { link, .. }) = valid else { return Ok(()) };
        let (domain, table) = (domains.find_by_name(&record.domain).unwrap(), Table::with_capacity(1));
        prop_assert!(table.try_insert_or_give_back(link).is_ok());
        let link = table.get(domain.id, code.as_bytes()).unwrap();
        let facts = LinkFacts::decode(link.facts()).unwrap();
        prop_assert_eq!((facts.creator, facts.partner), (&*creator, partner.as_deref().unwrap_or_default()));
        prop_assert_eq!(link.fallback_url(), fallback.as_deref());
        prop_assert_eq!(link.starts_ms() > 0, starts);
        let live = now < facts.ends_ms && now >= link.starts_ms();
        prop_assert_eq!(link.state_at(now) == LinkState::Live, live);
        let fill = PlaceholderValues { click_id: b"id", token: Some(b"v1.t"), query: b"a=b", token_param: b"wp" };
        let mut out = Vec::new();
        prop_assert!(link.url_template().render_and_return_token_offset(&fill, &mut out).is_some());
        prop_assert!(http::HeaderValue::from_bytes(&out).is_ok());
    }
}
