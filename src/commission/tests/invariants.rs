//! What holds in every world.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::Value;

use super::{
    naive,
    naive_settlement::commission,
    random::any_world,
    world::{DAY, PAID, World},
};
use crate::commission::{CandidateReason, LineReason, LineState};

/// The fields that say who is credited for a line, by what and on which terms.
const WINNER: [&str; 13] = [
    "order_id",
    "line_id",
    "freeze_at_ms",
    "click_id",
    "clicked_at_ms",
    "domain",
    "code",
    "creator_id",
    "partner_id",
    "plan",
    "rate_bp",
    "flags",
    "bad_tokens",
];

fn rows_as_of(world: &World, as_of_ms: u64) -> Vec<Value> {
    World { as_of_ms, ..world.clone() }.rows()
}

/// Moments at which some state can change, and one between each two.
fn moments() -> Vec<u64> {
    let days = [0u64, 2, 3, 10, 16, 17, 18, 20, 22, 23, 24, 25, 28, 33, 40, 60];
    let around = |day: &u64| [PAID + day * DAY - u64::from(*day > 0), PAID + day * DAY];
    days.iter().flat_map(around).collect::<BTreeSet<u64>>().into_iter().collect()
}

#[test]
fn random_worlds_have_every_reason_state_and_flag() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for _ in 0..3_000 {
        let world = any_world().new_tree(&mut runner).unwrap().current();
        for row in world.rows() {
            let word = |kind: &str, value: &Value| format!("{kind} {}", value.as_str().unwrap());
            seen.extend([word("state", &row["state"]), word("line", &row["reason"])]);
            seen.extend(row["flags"].as_array().into_iter().flatten().map(|flag| word("flag", flag)));
            let candidates = row["candidates"].as_array().into_iter().flatten();
            seen.extend(candidates.map(|candidate| word("candidate", &candidate["reason"])));
        }
    }
    let words = |kind: &str, words: &[&str]| words.iter().map(|word| format!("{kind} {word}")).collect::<Vec<_>>();
    let expected = [
        words("state", &LineState::ALL.map(LineState::as_str)),
        words("line", &LineReason::ALL.map(LineReason::as_str)),
        words("candidate", &CandidateReason::ALL.map(CandidateReason::as_str)),
        words("flag", &["token_only", "unjournaled", "shared_token"]),
    ];
    let missing: Vec<String> = expected.concat().into_iter().filter(|word| !seen.contains(word)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whether a line may go from one state to another while time passes and nothing else changes.
fn may_follow(before: &str, after: &str) -> bool {
    before == after
        || match before {
            "pending" => true,
            "confirmed" => matches!(after, "payable" | "reversed"),
            _ => false,
        }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_rule_and_its_slow_copy_give_the_same_rows(world in any_world()) {
        let (rows, slow) = (world.rows(), naive::rows(&world));
        for (row, slow) in rows.iter().zip(&slow) {
            prop_assert_eq!(row, slow);
        }
        prop_assert_eq!(rows.len(), slow.len());
    }
}

proptest! {
    #[test]
    fn shuffling_or_repeating_any_input_changes_nothing(
        (world, clicks, orders, sets, links) in any_world().prop_flat_map(|world| {
            let twice = |values: &[Value]| Just([values, values].concat()).prop_shuffle();
            let once = |values: &[Value]| Just(values.to_vec()).prop_shuffle();
            let shuffled = (twice(&world.clicks), twice(&world.orders), once(&world.product_sets), twice(&world.links));
            (Just(world), shuffled.0, shuffled.1, shuffled.2, shuffled.3)
        })
    ) {
        let shuffled = World { clicks, orders, product_sets: sets, links, ..world.clone() };
        prop_assert_eq!(shuffled.rows(), world.rows());
    }

    #[test]
    fn the_winner_does_not_depend_on_the_time_asked_for(world in any_world()) {
        // Links are judged as of the time; every one of these worlds' links exists at payment.
        let winners_at = |as_of_ms: u64| -> Vec<BTreeMap<&str, Value>> {
            let winner = |row: &Value| WINNER.iter().map(|field| (*field, row[*field].clone())).collect();
            rows_as_of(&world, as_of_ms).iter().map(winner).collect()
        };
        let first = winners_at(PAID);
        for as_of_ms in moments() {
            prop_assert_eq!(&winners_at(as_of_ms), &first);
        }
    }

    #[test]
    fn states_move_only_as_allowed(world in any_world()) {
        let mut before: Option<Vec<Value>> = None;
        for as_of_ms in moments() {
            let rows = rows_as_of(&world, as_of_ms);
            for (old, new) in before.iter().flatten().zip(&rows) {
                let (old_state, new_state) = (old["state"].as_str().unwrap(), new["state"].as_str().unwrap());
                prop_assert!(may_follow(old_state, new_state), "{old} then {new}");
                if old_state == "payable" {
                    prop_assert_eq!(&old["commission_minor"], &new["commission_minor"], "clawbacks alone change it");
                }
            }
            before = Some(rows);
        }
    }

    #[test]
    fn a_line_and_its_clawbacks_are_the_commission_for_what_the_buyer_kept(world in any_world()) {
        for row in rows_as_of(&world, PAID + 100 * DAY).iter().filter(|row| !row["click_id"].is_null()) {
            let number = |value: &Value| i128::from(value.as_i64().unwrap());
            let clawbacks = row["clawbacks"].as_array().cloned().unwrap_or_default();
            let taken: i128 = clawbacks.iter().map(|clawback| number(&clawback["quantity"])).sum();
            let amounts: i128 = clawbacks.iter().map(|clawback| number(&clawback["amount_minor"])).sum();
            let kept = number(&row["kept_quantity"]) - taken;
            prop_assert!(kept >= 0 && clawbacks.iter().all(|clawback| number(&clawback["amount_minor"]) <= 0));
            let expected = commission(row, kept, number(&row["rate_bp"]));
            prop_assert_eq!(number(&row["commission_minor"]) + amounts, expected);
        }
    }

    #[test]
    fn what_cannot_earn_displaces_nothing(world in any_world()) {
        // Without cookie jars: a token whose click cannot earn may still open one.
        let mut world = world;
        world.clicks.iter_mut().for_each(|click| click["visitor_id"] = Value::Null);
        for token in tokens_of(&mut world) {
            token["visitor_id"] = Value::Null;
        }
        let rows = world.rows();
        let unable = keys_of_unable_candidates(&rows, world.policy["shared_token"] == "refuse");
        let mut without = world.clone();
        for order in &mut without.orders {
            let order_id = order["order_id"].clone();
            let is_able = |token: &Value| !unable.contains(&key_of(&order_id, token));
            order["click_tokens"].as_array_mut().unwrap().retain(is_able);
        }
        let creators = |rows: &[Value]| -> Vec<Value> { rows.iter().map(|row| row["creator_id"].clone()).collect() };
        prop_assert_eq!(creators(&without.rows()), creators(&rows));
    }
}

fn tokens_of(world: &mut World) -> impl Iterator<Item = &mut Value> {
    world.orders.iter_mut().flat_map(|order| order["click_tokens"].as_array_mut().unwrap())
}

/// Order, click and code of a token or candidate.
fn key_of(order_id: &Value, named: &Value) -> [String; 3] {
    [order_id, &named["click_id"], &named["code"]].map(Value::to_string)
}

fn keys_of_unable_candidates(rows: &[Value], refuses_shared_tokens: bool) -> BTreeSet<[String; 3]> {
    let is_able = |candidate: &Value| match candidate["reason"].as_str().unwrap() {
        "last_click" | "earlier_click" | "other_product" | "not_in_set" | "link_ended" => true,
        "shared_token" => !refuses_shared_tokens,
        _ => false,
    };
    let candidates = rows.iter().flat_map(|row| {
        let candidates = row["candidates"].as_array().cloned().unwrap_or_default();
        candidates.into_iter().map(|candidate| (row["order_id"].clone(), candidate))
    });
    candidates.filter(|(_, one)| !is_able(one)).map(|(order_id, one)| key_of(&order_id, &one)).collect()
}
