//! Runs every case of `tests/fixtures/attribution`, in the order of the file and shuffled, with repeats.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::world::World;

#[derive(Deserialize)]
struct Case {
    name: String,
    as_of_ms: u64,
    policy: Value,
    clicks: Vec<Value>,
    orders: Vec<Value>,
    product_sets: Vec<Value>,
    links: Vec<Value>,
    expected: Vec<Value>,
}

impl Case {
    fn world(&self) -> World {
        World {
            clicks: self.clicks.clone(),
            orders: self.orders.clone(),
            product_sets: self.product_sets.clone(),
            links: self.links.clone(),
            policy: self.policy.clone(),
            as_of_ms: self.as_of_ms,
        }
    }
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

#[test]
fn every_case_gives_the_expected_rows() {
    let cases = read_cases();
    assert!(cases.len() >= 131, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let rows = case.world().rows();
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
        let product_sets = backwards_twice(&case.product_sets);
        let world = World { clicks, orders, product_sets, ..case.world() };
        assert_eq!(world.rows(), case.expected, "{}", case.name);
    }
}
