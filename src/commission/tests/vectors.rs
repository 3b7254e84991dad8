//! Runs every case of `tests/fixtures/attribution`, in the order of the file and shuffled, with repeats.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::commission::{
    ClickRecord, ClickRecords, Links, OrderVersion, Policy, ProductSetEntry, ProductSets, Programme,
    group_versions_into_orders,
};

#[derive(Deserialize)]
struct Case {
    name: String,
    as_of_ms: u64,
    policy: Policy,
    clicks: Vec<Value>,
    orders: Vec<Value>,
    product_sets: Vec<Value>,
    links: Vec<Value>,
    expected: Vec<Value>,
}

fn read_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/attribution");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    paths.iter().map(read).collect()
}

/// The rows of the inputs, as JSON.
fn rows_of(case: &Case, clicks: &[Value], orders: &[Value], product_sets: &[Value]) -> Vec<Value> {
    let clicks: Vec<String> = clicks.iter().map(Value::to_string).collect();
    let records = clicks.iter().map(|click| {
        let record: ClickRecord<'_> = serde_json::from_str(click).unwrap();
        record.check().unwrap();
        record
    });
    let records = ClickRecords::choose_standing_records(records);
    let orders: Vec<OrderVersion> = orders.iter().map(|order| serde_json::from_value(order.clone()).unwrap()).collect();
    orders.iter().for_each(|order| order.check().unwrap());
    let entries: Vec<ProductSetEntry> =
        product_sets.iter().map(|entry| serde_json::from_value(entry.clone()).unwrap()).collect();
    entries.iter().for_each(|entry| entry.check().unwrap());
    let product_sets = ProductSets::from_entries_in_written_order(entries);
    let mut links = Links::valid_as_of(case.as_of_ms);
    for link in &case.links {
        links.add(serde_json::from_value(link.clone()).unwrap()).unwrap();
    }
    let programme = Programme {
        records: &records,
        product_sets: &product_sets,
        links: &links,
        policy: &case.policy,
        as_of_ms: case.as_of_ms,
    };
    let credited = group_versions_into_orders(&orders).into_iter().map(|order| programme.credit_order(order));
    credited.flat_map(|order| order.rows).map(|row| serde_json::to_value(row).unwrap()).collect()
}

#[test]
fn every_case_gives_the_expected_rows() {
    let cases = read_cases();
    assert!(cases.len() >= 131, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let rows = rows_of(case, &case.clicks, &case.orders, &case.product_sets);
        if rows != case.expected {
            wrong.push(format!("{}\n  is       {rows:?}\n  expected {:?}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn shuffled_and_repeated_inputs_give_the_same_rows() {
    for case in &read_cases() {
        let backwards_twice = |values: &[Value]| -> Vec<Value> { values.iter().rev().chain(values).cloned().collect() };
        let clicks = backwards_twice(&case.clicks);
        let orders = backwards_twice(&case.orders);
        let rows = rows_of(case, &clicks, &orders, &backwards_twice(&case.product_sets));
        assert_eq!(rows, case.expected, "{}", case.name);
    }
}
