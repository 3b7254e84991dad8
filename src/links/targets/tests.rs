//! Exactly one target decides, order matters, a negation is the complement, and the figures of splits.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Targets;
use crate::{
    links::{
        Link,
        domains::{Config, Domains},
        facts::{Facts, LanguageTag},
    },
    model::{
        device::{DeviceClass, Os},
        link::{record::Record, target::Visitor},
    },
};

const NOW_MS: u64 = 1_796_083_200_000; // 2026-12-01T00:00:00Z, a Tuesday

/// The link of a record with these fields, or its errors.
fn build(fields: Value) -> Result<Link, Vec<String>> {
    let mut record = json!({"code": "a", "url": "https://shop.example.com/own", "kind": "plain", "test": true});
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let record: Record = serde_json::from_value(record).unwrap();
    let domains = Domains::new(&Config::default()).unwrap();
    Link::check_and_build_from_record(&record, &Default::default(), &domains, NOW_MS, 1)
        .map(|valid| valid.link)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn link(conditions: &[Value], split: Value) -> Link {
    let target = |(at, when): (usize, &Value)| json!({"when": when, "url": format!("https://shop.example.com/{at}")});
    build(json!({"targets": conditions.iter().enumerate().map(target).collect::<Vec<_>>(), "split": split})).unwrap()
}

/// The index of the target that decides.
fn decide(link: &Link, facts: &Facts<'_>) -> Option<usize> {
    let mut facts = *facts;
    link.targets().unwrap().iter().position(|target| {
        target.find_parameters(&mut facts);
        target.matches(&facts)
    })
}

fn holds(when: Value, facts: &Facts<'_>) -> bool {
    decide(&link(&[when], Value::Null), facts).is_some()
}

fn facts() -> Facts<'static> {
    Facts::of_click(NOW_MS, b"")
}

fn variants(weights: [u8; 2]) -> Value {
    json!([{"name": "a", "weight": weights[0]}, {"name": "b", "weight": weights[1]}])
}

#[test]
fn each_condition_holds_for_what_it_names_and_for_nothing_else() {
    let vietnam = Facts { country: Some(*b"VN"), ..facts() };
    let california = Facts { country: Some(*b"US"), region: b"CA", ..facts() };
    let instagram = Facts { is_in_app: true, app: "instagram", source: "instagram", ..facts() };
    let phone = Facts { os: Os::Ios, device: DeviceClass::Phone, ..facts() };
    let vietnamese = Facts { language: LanguageTag::parse(b"VI").unwrap(), ..facts() };
    let returning = Facts { visitor: Visitor::Returning, ..facts() };
    let query = Facts::of_click(NOW_MS, b"x&Color=dark%20red&size=");
    for (when, facts, expected) in [
        (json!({"os": "ios"}), &phone, true),
        (json!({"os": ["android", "windows"]}), &phone, false),
        (json!({"device": ["phone", "tablet"]}), &phone, true),
        (json!({"device": "desktop"}), &phone, false),
        (json!({"in_app": true}), &instagram, true),
        (json!({"in_app": false}), &instagram, false),
        (json!({"in_app": false}), &phone, true),
        (json!({"not": {"in_app": false}}), &instagram, true),
        (json!({"in_app": ["tiktok", "instagram"]}), &instagram, true),
        (json!({"in_app": "tiktok"}), &instagram, false),
        (json!({"source": "instagram"}), &instagram, true),
        (json!({"source": ["youtube", "x"]}), &instagram, false),
        (json!({"country": ["TH", "VN"]}), &vietnam, true),
        (json!({"country": "TH"}), &vietnam, false),
        (json!({"region": ["US-NY", "US-CA"]}), &california, true),
        (json!({"region": "US-NY"}), &california, false),
        (json!({"region": "CA-CA"}), &california, false),
        (json!({"language": ["th", "vi"]}), &vietnamese, true),
        (json!({"language": "th"}), &vietnamese, false),
        (json!({"visitor": "returning"}), &returning, true),
        (json!({"visitor": "new"}), &returning, false),
        (json!({"query": {"color": true}}), &query, true),
        (json!({"query": {"color": "dark red"}}), &query, true),
        (json!({"query": {"color": ["blue", "dark red"]}}), &query, true),
        (json!({"query": {"color": ["blue", "dark"]}}), &query, false),
        (json!({"query": {"size": true}}), &query, false),
        (json!({"query": {"size": false, "color": true}}), &query, true),
        (json!({"os": "ios", "device": "tablet"}), &phone, false),
    ] {
        assert_eq!(holds(when.clone(), facts), expected, "{when}");
    }
}

#[test]
fn an_unknown_country_or_region_holds_neither_way() {
    for when in [json!({"country": "VN"}), json!({"not": {"country": "VN"}}), json!({"not": {"region": "US-CA"}})] {
        assert!(!holds(when.clone(), &facts()), "{when}");
    }
    let without_region = Facts { country: Some(*b"US"), ..facts() };
    assert!(!holds(json!({"region": "US-CA"}), &without_region));
    assert!(!holds(json!({"not": {"region": "US-CA"}}), &without_region));
    assert!(holds(json!({"not": {"country": "VN"}}), &without_region));
}

/// The milliseconds of a time in UTC.
fn at(time: &str) -> Facts<'static> {
    let time: jiff::Timestamp = time.parse().unwrap();
    Facts::of_click(time.as_millisecond() as u64, b"")
}

#[test]
fn a_window_opens_and_closes_on_the_clock_of_its_zone() {
    let sale =
        json!({"time": {"zone": "Asia/Ho_Chi_Minh", "from": "2026-12-12T00:00", "until": "2026-12-13T00:00:00"}});
    for (time, expected) in [
        ("2026-12-11T16:59:59.999Z", false),
        ("2026-12-11T17:00:00Z", true),
        ("2026-12-12T16:59:59.999Z", true),
        ("2026-12-12T17:00:00Z", false),
    ] {
        assert_eq!(holds(sale.clone(), &at(time)), expected, "{time}");
    }
}

#[test]
fn hours_of_days_follow_summer_time_and_may_go_past_midnight() {
    let evenings = json!({"time": {"zone": "Europe/Berlin", "days": ["fri", "sun"], "hours": "18:00-02:00"}});
    for (time, expected) in [
        ("2026-12-04T16:59:59Z", false), // Friday 17:59 in winter
        ("2026-12-04T17:00:00Z", true),
        ("2026-12-05T00:59:59Z", true), // Saturday 01:59
        ("2026-12-05T01:00:00Z", false),
        ("2026-12-06T17:00:00Z", true), // Sunday 18:00
        ("2026-12-07T00:59:59Z", true), // Monday 01:59, past the end of the week
        ("2026-12-07T01:00:00Z", false),
        ("2027-07-02T15:59:59Z", false), // Friday 17:59 in summer
        ("2027-07-02T16:00:00Z", true),
        ("2049-07-02T16:00:00Z", true),
    ] {
        assert_eq!(holds(evenings.clone(), &at(time)), expected, "{time}");
    }
    let office = json!({"time": {"zone": "Asia/Kathmandu", "hours": "09:00-24:00"}});
    assert!(!holds(office.clone(), &at("2026-12-01T03:14:59Z")) && holds(office, &at("2026-12-01T03:15:00Z")));
}

#[test]
fn a_change_from_50_to_60_percent_moves_a_tenth_of_the_visitors() {
    let half = link(&[json!({"split": "a"})], variants([50, 50]));
    let more = link(&[json!({"split": "a"})], variants([60, 40]));
    let (half, more) = (half.targets().unwrap(), more.targets().unwrap());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut counts = [[0u32; 2]; 2];
    for _ in 0..100_000 {
        let mut id = [0; 16];
        for half in id.as_chunks_mut::<8>().0 {
            // SplitMix64: what visitor ids are is random bytes.
            random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *half = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes();
        }
        let variant = |targets: &Targets<'_>| targets.variant_of(targets.bucket_of(&id)).unwrap().0;
        counts[usize::from(variant(&half))][usize::from(variant(&more))] += 1;
    }
    assert_eq!(counts[0][1], 0, "nobody leaves the variant that grows");
    assert!((9_500..=10_500).contains(&counts[1][0]), "{counts:?}");
    assert!((49_500..=50_500).contains(&counts[0][0]), "{counts:?}");
}

#[test]
fn the_bucket_of_a_visitor_never_changes_and_differs_between_links() {
    let split = link(&[json!({"split": "a"})], variants([50, 50]));
    let targets = split.targets().unwrap();
    assert_eq!([[7; 16], [8; 16], [0; 16]].map(|id| targets.bucket_of(&id)), GOLDEN_BUCKETS);
    let other = build(json!({"code": "b", "split": variants([50, 50]),
        "targets": [{"when": {"split": "a"}, "url": "https://shop.example.com/0"}]}));
    assert_ne!(other.unwrap().targets().unwrap().bucket_of(&[7; 16]), GOLDEN_BUCKETS[0]);
}

/// Another hash would move every visitor of every split.
const GOLDEN_BUCKETS: [u16; 3] = [2290, 380, 3425];

#[test]
fn sequential_ids_fill_the_buckets_evenly() {
    // Click ids of one millisecond differ in few bits.
    let split = link(&[json!({"split": "a"})], variants([50, 50]));
    let targets = split.targets().unwrap();
    let first = (0..100_000u128).filter(|id| targets.bucket_of(&id.to_be_bytes()) < 5_000).count();
    assert!((49_300..=50_700).contains(&first), "{first}");
}

#[test]
fn targets_that_cannot_be_right_are_refused_with_their_place() {
    let split = variants([50, 50]);
    let target = |when: Value| json!([{"when": when, "url": "https://shop.example.com/0"}]);
    for (fields, expected) in [
        (json!({"targets": target(json!({}))}), "targets/0/when: has no condition"),
        (json!({"targets": ["x"]}), "targets/0: is no target"),
        (json!({"targets": [{"when": {"os": "ios"}, "url": "https://a.example/", "x": 1}]}), "targets/0/x: is unknown"),
        (json!({"targets": target(json!({"os": "symbian"}))}), "targets/0/when/os: \"symbian\" is unknown; known are"),
        (json!({"targets": target(json!({"ois": "ios"}))}), "targets/0/when/ois: is no condition; there are os,"),
        (json!({"targets": target(json!({"os": []}))}), "targets/0/when/os: is not a name or a list"),
        (json!({"targets": target(json!({"in_app": "myspace"}))}), "targets/0/when/in_app: \"myspace\" is unknown"),
        (json!({"targets": target(json!({"country": "vn"}))}), "targets/0/when/country: \"vn\" is not a country"),
        (json!({"targets": target(json!({"region": "US"}))}), "targets/0/when/region: \"US\" is not a region"),
        (json!({"targets": target(json!({"language": "vi-VN"}))}), "targets/0/when/language: \"vi-VN\" is not the"),
        (json!({"targets": target(json!({"visitor": "old"}))}), "targets/0/when/visitor: is \"old\"; allowed are"),
        (json!({"targets": target(json!({"not": {"not": {}}}))}), "targets/0/when/not/not: is an object of"),
        (json!({"targets": target(json!({"query": {"a/b": true}}))}), "targets/0/when/query/a~1b: \"a/b\" is no name"),
        (
            json!({"targets": target(json!({"time": {"zone": "Mars/Base"}}))}),
            "targets/0/when/time/zone: is \"Mars/Base\"",
        ),
        (json!({"targets": target(json!({"time": {"zone": "UTC"}}))}), "targets/0/when/time: bounds nothing"),
        (
            json!({"targets": target(json!({"time": {"zone": "UTC", "from": "2026-12-12T00:00Z"}}))}),
            "targets/0/when/time/from: is \"2026-12-12T00:00Z\", and no time on the zone's clock",
        ),
        (
            json!({"targets": target(json!({"time": {"zone": "UTC", "hours": "9-17"}}))}),
            "targets/0/when/time/hours: is \"9-17\", and no span",
        ),
        (json!({"targets": target(json!({"split": "a"}))}), "targets/0/when/split: asks for a variant, but"),
        (json!({"targets": target(json!({"split": "c"})), "split": split}), "targets/0/when/split: \"c\" is unknown"),
        (json!({"split": split}), "split: is asked for by no target"),
        (json!({"split": variants([50, 40])}), "split: has weights that add up to 90; they must add up to 100"),
        (json!({"split": variants([100, 0])}), "split/0/weight: is 100; allowed are 1 to 99"),
        (json!({"split": variants([0, 100])}), "split/0/weight: is 0; allowed are 1 to 99"),
        (
            json!({"targets": [{"when": {"os": "ios"}, "url": "https://a.example/"},
                {"when": {"os": "ios", "device": "phone"}, "url": "https://b.example/"}]}),
            "targets/1: is never reached: targets/0 stands before it",
        ),
        (json!({"targets": [{"when": {"os": "ios"}, "url": "a.example/"}]}), "targets/0/url: is not an absolute URL"),
        (
            json!({"targets": [{"when": {"query": {"sub1": false}}, "url": "https://a.example/{sub1}"}]}),
            "targets/0/url: has a placeholder of sub1, which the target's conditions say is absent",
        ),
    ] {
        let errors = build(fields.clone()).err().unwrap_or_default();
        assert!(errors.iter().any(|error| error.starts_with(expected)), "{fields}\n{expected}\n{errors:?}");
    }
}

/// Any facts about a click.
fn any_facts() -> impl Strategy<Value = Facts<'static>> {
    let device = (prop::sample::select(&Os::ALL[..]), prop::sample::select(&DeviceClass::ALL[..]));
    let app = prop::sample::select(&[(false, ""), (true, ""), (true, "instagram"), (true, "tiktok")][..]);
    let place = prop::sample::select(vec![(None, &b""[..]), (Some(*b"VN"), b""), (Some(*b"US"), b"CA")]);
    let words = prop::sample::select(&["direct", "instagram", "tiktok"][..]);
    let language = prop::sample::select(vec![&b""[..], b"vi", b"en"]);
    let query = prop::sample::select(vec![&b""[..], b"color=red", b"color=blue&x=1", b"x"]);
    (device, app, place, words, language, query, any::<bool>(), 0..2_u8, 0..1_u64 << 42).prop_map(
        |((os, device), (is_in_app, app), (country, region), source, language, query, returns, variant, now_ms)| {
            Facts {
                os,
                device,
                is_in_app,
                app,
                source,
                country,
                region,
                language: LanguageTag::parse(language).unwrap_or_default(),
                visitor: if returns { Visitor::Returning } else { Visitor::New },
                variant,
                ..Facts::of_click(now_ms, query)
            }
        },
    )
}

/// A condition that is not of a country, as its name and its value.
fn any_condition() -> impl Strategy<Value = (&'static str, Value)> {
    prop::sample::select(vec![
        ("os", json!("ios")),
        ("os", json!(["android", "windows"])),
        ("device", json!("phone")),
        ("in_app", json!(true)),
        ("in_app", json!(["instagram"])),
        ("source", json!("instagram")),
        ("language", json!(["vi", "en"])),
        ("query", json!({"color": true})),
        ("query", json!({"color": "red"})),
        ("visitor", json!("new")),
        ("split", json!("a")),
        ("time", json!({"zone": "Europe/Berlin", "days": ["mon", "sat"], "hours": "08:00-20:00"})),
        ("time", json!({"zone": "UTC", "until": "2040-01-01T00:00"})),
    ])
}

/// One condition of each name, for conditions that hold together.
const CONDITION_NAMES: &[&str] = &["os", "device", "in_app", "source", "language", "query", "visitor", "split"];

fn value_of(name: &str) -> Value {
    match name {
        "os" => json!(["ios", "android", "windows"]),
        "device" => json!(["phone", "desktop"]),
        "in_app" => json!(true),
        "source" => json!(["instagram", "direct"]),
        "language" => json!("vi"),
        "query" => json!({"color": true}),
        "visitor" => json!("new"),
        _ => json!("a"),
    }
}

fn when((name, value): &(&str, Value), is_negated: bool) -> Value {
    let plain = json!({ *name: value });
    if is_negated { json!({ "not": plain }) } else { plain }
}

/// A link with these conditions; the split is there if one asks for it.
fn link_of(conditions: &[Value]) -> Link {
    let has_split = conditions.iter().any(|when| when.to_string().contains("\"split\""));
    link(conditions, if has_split { variants([50, 50]) } else { Value::Null })
}

proptest! {
    #[test]
    fn a_negated_condition_holds_exactly_where_the_plain_one_does_not(
        condition in any_condition(), facts in any_facts(),
    ) {
        let plain = decide(&link_of(&[when(&condition, false)]), &facts).is_some();
        let negated = decide(&link_of(&[when(&condition, true)]), &facts).is_some();
        prop_assert_ne!(plain, negated);
    }

    #[test]
    fn conditions_of_one_target_hold_together_exactly_where_each_of_them_holds(
        conditions in prop::collection::btree_map(prop::sample::select(CONDITION_NAMES), any::<bool>(), 1..5),
        facts in any_facts(),
    ) {
        let mut together = json!({});
        let mut expected = true;
        for (name, is_negated) in &conditions {
            let when = json!({*name: value_of(name)});
            expected &= decide(&link_of(&[self::when(&(*name, value_of(name)), *is_negated)]), &facts).is_some();
            match is_negated {
                true => together["not"][*name] = when[*name].clone(),
                false => together[*name] = when[*name].clone(),
            }
        }
        prop_assert_eq!(decide(&link_of(&[together]), &facts).is_some(), expected);
    }

    #[test]
    fn a_country_and_its_negation_hold_exactly_one_where_it_is_known_and_neither_where_it_is_not(
        facts in any_facts(), country in prop::sample::select(&["VN", "US", "KR"][..]),
    ) {
        let both = [false, true].map(|is_negated| {
            decide(&link_of(&[when(&("country", json!(country)), is_negated)]), &facts).is_some()
        });
        prop_assert_eq!(both.iter().filter(|holds| **holds).count(), usize::from(facts.country.is_some()));
    }

    #[test]
    fn a_condition_and_its_negation_as_two_targets_are_exhausted_by_exactly_one_of_them_in_either_order(
        condition in any_condition(), facts in any_facts(),
    ) {
        let (plain, negated) = (when(&condition, false), when(&condition, true));
        let forth = decide(&link_of(&[plain.clone(), negated.clone()]), &facts);
        let back = decide(&link_of(&[negated, plain]), &facts);
        prop_assert!(forth.is_some() && back.is_some() && forth != back);
    }

    #[test]
    fn the_first_target_that_holds_alone_decides_and_the_others_do_not_matter(
        conditions in prop::collection::vec((any_condition(), any::<bool>()), 1..5), facts in any_facts(),
    ) {
        let conditions: Vec<Value> = conditions.iter().map(|(condition, negated)| when(condition, *negated)).collect();
        let is_hidden = |at: usize| conditions[..at].contains(&conditions[at]);
        prop_assume!(!(0..conditions.len()).any(is_hidden));
        let alone: Vec<bool> =
            conditions.iter().map(|when| decide(&link_of(std::slice::from_ref(when)), &facts).is_some()).collect();
        prop_assert_eq!(decide(&link_of(&conditions), &facts), alone.iter().position(|holds| *holds));
    }

    #[test]
    fn any_bytes_are_read_as_targets_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let targets = Targets::from_bytes(&bytes);
        for target in targets.iter() {
            let mut facts = Facts::of_click(NOW_MS, b"a=b&=&c");
            target.find_parameters(&mut facts);
            let _ = target.matches(&facts);
            for condition in target.conditions() {
                let _ = (condition.find_listed_value(&facts), condition.describe(&targets, &facts));
            }
        }
        let _ = targets.variant_of(7);
    }
}
