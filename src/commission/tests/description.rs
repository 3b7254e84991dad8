//! The code and the description of commissions agree: `deploy/schemas/commission.v1.schema.json`.

use std::collections::BTreeSet;

use crate::commission::reason::{LineReason, LineState};

#[test]
fn states_and_reasons_are_those_of_the_description() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schemas/commission.v1.schema.json");
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let described = |field: &str| -> BTreeSet<String> {
        let values = schema["properties"][field]["enum"].as_array().unwrap().iter();
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(described("state"), LineState::ALL.map(|state| state.as_str().to_owned()).into());
    assert_eq!(described("reason"), LineReason::ALL.map(|reason| reason.as_str().to_owned()).into());
}
