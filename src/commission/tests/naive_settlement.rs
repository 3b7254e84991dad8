//! Step 8 once more, written slowly and only for tests: a piece at a time.

use serde_json::{Value, json};

use super::world::{DAY, World, number};

/// Days of the policy, in milliseconds.
pub(super) fn days(world: &World, key: &str, default: u64) -> i128 {
    i128::from(world.policy[key].as_u64().unwrap_or(default) * DAY)
}

/// C(kept), by comparing twice the rest with the divisor.
pub(super) fn commission(line: &Value, kept: i128, rate: i128) -> i128 {
    let (top, bottom) = (number(&line["value_minor"]) * kept * rate, number(&line["quantity"]) * 10_000);
    let low = top.div_euclid(bottom);
    match (2 * (top - low * bottom)).cmp(&bottom) {
        std::cmp::Ordering::Less => low,
        std::cmp::Ordering::Greater => low + 1,
        std::cmp::Ordering::Equal => low + low % 2,
    }
}

/// The moments at which pieces are taken back, one a piece, and why.
fn moments(last: &Value, paid_line: &Value, now: i128) -> Vec<(i128, &'static str)> {
    let found = last["lines"].as_array().unwrap().iter().find(|line| line["line_id"] == paid_line["line_id"]);
    let line = found.unwrap_or(paid_line);
    let all = number(&line["quantity"]) as usize;
    let mut moments = Vec::new();
    for returned in found.and_then(|line| line["returns"].as_array()).into_iter().flatten() {
        let piece = (number(&returned["returned_at_ms"]), "returned");
        moments.extend(std::iter::repeat_n(piece, number(&returned["quantity"]) as usize));
    }
    if found.is_none() {
        moments.extend(std::iter::repeat_n((number(&last["updated_at_ms"]), "returned"), all));
    }
    if !last["cancelled_at_ms"].is_null() {
        moments.extend(std::iter::repeat_n((number(&last["cancelled_at_ms"]), "order_cancelled"), all));
    }
    moments.retain(|(at, _)| *at <= now);
    moments.sort_by_key(|(at, why)| (*at, *why == "order_cancelled"));
    moments.truncate(all);
    moments
}

/// Adds to a row what the last version says; with a rate also state, amount, times and clawbacks.
pub(super) fn settle(world: &World, last: &Value, paid_line: &Value, rate: Option<i128>, row: &mut Value) {
    let now = i128::from(world.as_of_ms);
    let found = last["lines"].as_array().unwrap().iter().find(|line| line["line_id"] == paid_line["line_id"]);
    let line = found.unwrap_or(paid_line);
    for key in ["currency", "quantity", "value_minor"] {
        row[key] = line[key].clone();
    }
    let Some(rate) = rate else { return };
    let moments = moments(last, paid_line, now);
    let all = number(&line["quantity"]);
    let kept_before = |at: i128| all - moments.iter().filter(|(moment, _)| *moment < at).count() as i128;
    let completed = Some(&last["completed_at_ms"]).filter(|at| !at.is_null()).map(number).filter(|at| *at <= now);
    let after = |key: &str, default: u64| completed.map(|at| at + days(world, key, default));
    let (confirmed, payable) = (after("confirm_days", 14), after("payable_from_days", 21));
    let kept = kept_before(payable.unwrap_or(i128::MAX));
    let state = match (completed, confirmed, payable) {
        (Some(at), ..) if kept_before(at) == 0 => "rejected",
        (None, ..) if kept == 0 => "rejected",
        _ if kept == 0 => "reversed",
        (.., Some(payable)) if now >= payable => "payable",
        (_, Some(confirmed), _) if now >= confirmed => "confirmed",
        _ => "pending",
    };
    row["state"] = json!(state);
    row["kept_quantity"] = json!(0);
    if matches!(state, "rejected" | "reversed") {
        row["reason"] = json!(moments.last().unwrap().1);
        return;
    }
    row["kept_quantity"] = json!(kept as i64);
    row["commission_minor"] = json!(commission(line, kept, rate) as i64);
    let Some(payable) = payable else { return };
    row["confirmed_at_ms"] = json!(confirmed.unwrap() as u64);
    row["payable_from_ms"] = json!(payable as u64);
    row["payable_until_ms"] = json!(after("payable_until_days", 30).unwrap() as u64);
    let mut late: Vec<i128> = moments.iter().map(|(at, _)| *at).filter(|at| *at >= payable).collect();
    late.dedup();
    let clawback = |at: i128| {
        let (before, after) = (kept_before(at), kept_before(at + 1));
        let amount = commission(line, after, rate) - commission(line, before, rate);
        json!({"returned_at_ms": at as u64, "quantity": (before - after) as u64, "amount_minor": amount as i64})
    };
    if !late.is_empty() {
        row["clawbacks"] = late.into_iter().map(clawback).collect();
    }
}
