//! The descriptions are true: every click, order, product set and commission of the cases of
//! `tests/fixtures/attribution` is valid by its schema. The cases are what the program and the pipeline take and give.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::description::{load_present_schema, read, root};

#[test]
fn every_record_of_the_cases_of_attribution_is_valid_by_its_schema() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    let kinds = [
        ("clicks", "click.v1"),
        ("orders", "order.v1"),
        ("product_sets", "product_set.v1"),
        ("expected", "commission.v1"),
    ];
    let compiled = kinds.map(|(list, record)| {
        let url = format!("{record}.json");
        compiler.add_resource(&url, load_present_schema(record)).unwrap();
        (list, compiler.compile(&url, &mut schemas).unwrap())
    });
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(root().join("tests/fixtures/attribution")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_str(&read(&path)).unwrap();
        for (list, schema) in compiled {
            for value in case[list].as_array().unwrap() {
                let mut value = value.clone();
                // The time of arrival is a header, and candidates are the command's alone.
                value.as_object_mut().unwrap().retain(|key, _| key != "arrived_at_ms" && key != "candidates");
                let result = schemas.validate(&value, schema);
                result.unwrap_or_else(|why| panic!("{}: {list}: {value}: {why:#}", path.display()));
                *counts.entry(list).or_insert(0) += 1;
            }
        }
    }
    assert!(counts["clicks"] > 100 && counts["orders"] > 100 && counts["expected"] > 100, "{counts:?}");
    assert!(counts["product_sets"] > 10, "{counts:?}");
}
