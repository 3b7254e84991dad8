//! A world of clicks, orders, product sets and links as JSON, and the rows that the rule gives for it.

use serde_json::{Value, json};

use crate::commission::{
    ClickRecord, ClickRecords, Links, OrderVersion, Policy, ProductSetEntry, ProductSets, Programme,
    group_versions_into_orders,
};

pub(super) const DAY: u64 = 86_400_000;
/// When the orders of these tests are paid.
pub(super) const PAID: u64 = 1_795_176_000_000;

/// The inputs of one run.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) clicks: Vec<Value>,
    pub(super) orders: Vec<Value>,
    pub(super) product_sets: Vec<Value>,
    pub(super) links: Vec<Value>,
    pub(super) policy: Value,
    pub(super) as_of_ms: u64,
}

impl World {
    /// Nothing, as of 17 days after completion: lines are confirmed and not yet payable.
    pub(super) fn empty() -> World {
        World {
            clicks: Vec::new(),
            orders: Vec::new(),
            product_sets: Vec::new(),
            links: Vec::new(),
            policy: json!({}),
            as_of_ms: PAID + 20 * DAY,
        }
    }

    /// One order with these lines, completed three days after payment, and a token of each click.
    pub(super) fn of_clicks_and_lines(clicks: Vec<Value>, lines: Value) -> World {
        let tokens: Vec<Value> = clicks.iter().map(token_of).collect();
        let orders = vec![order(json!(tokens), lines)];
        World { clicks, orders, ..World::empty() }
    }

    /// The rows of every order, as JSON.
    pub(super) fn rows(&self) -> Vec<Value> {
        let clicks: Vec<String> = self.clicks.iter().map(Value::to_string).collect();
        let records = clicks.iter().map(|click| serde_json::from_str::<ClickRecord<'_>>(click).unwrap());
        let records = ClickRecords::choose_standing_records(records);
        let versions: Vec<OrderVersion> =
            self.orders.iter().map(|order| serde_json::from_value(order.clone()).unwrap()).collect();
        versions.iter().for_each(|version| version.check().unwrap());
        let entries: Vec<ProductSetEntry> =
            self.product_sets.iter().map(|entry| serde_json::from_value(entry.clone()).unwrap()).collect();
        entries.iter().for_each(|entry| entry.check().unwrap());
        let product_sets = ProductSets::from_entries_in_written_order(entries);
        let mut links = Links::valid_as_of(self.as_of_ms);
        for link in &self.links {
            links.add(serde_json::from_value(link.clone()).unwrap()).unwrap();
        }
        let policy: Policy = serde_json::from_value(self.policy.clone()).unwrap();
        policy.check_order_of_days().unwrap();
        let programme = Programme {
            records: &records,
            product_sets: &product_sets,
            links: &links,
            policy: &policy,
            as_of_ms: self.as_of_ms,
        };
        let orders = group_versions_into_orders(&versions).into_iter();
        let rows = orders.flat_map(|order| programme.credit_order(order).rows);
        rows.map(|row| serde_json::to_value(row).unwrap()).collect()
    }
}

/// A person's click on a product link of seller `s`, 30 days old and without an end of its own.
pub(super) fn product_click(id: &str, at_ms: u64, creator: &str, product: &str, rate_bp: u64) -> Value {
    let created_ms = PAID - 30 * DAY;
    json!({
        "type": "click", "click_id": id, "clicked_at_ms": at_ms, "edge": "e", "lane": 0, "epoch": 1, "seq": 1,
        "outcome": "redirected", "class": "human", "source": "instagram", "labels_version": 1, "duplicate": false,
        "domain": "*", "code": format!("code-{creator}-{product}"), "link_kind": "product", "link_test": false,
        "link_created_at_ms": created_ms, "link_ends_at_ms": created_ms + 100 * DAY, "creator_id": creator,
        "creator_type": "affiliate", "seller_id": "s", "product_id": product, "plan": "open", "rate_bp": rate_bp,
    })
}

/// The click with other values in some fields; `null` takes a field away.
pub(super) fn with(mut value: Value, changes: Value) -> Value {
    let fields = value.as_object_mut().unwrap();
    for (key, change) in changes.as_object().unwrap() {
        match change {
            Value::Null => fields.remove(key),
            change => fields.insert(key.clone(), change.clone()),
        };
    }
    value
}

/// The URL token that an edge would sign for a click.
pub(super) fn token_of(click: &Value) -> Value {
    let audience = |kind: &str, name: &Value| (json!(kind), name.clone());
    let (kind, name) = match (&click["seller_id"], &click["partner_id"]) {
        (Value::Null, Value::Null) => audience("domain", &click["domain"]),
        (Value::Null, partner) => audience("partner", partner),
        (seller, _) => audience("seller", seller),
    };
    json!({
        "verdict": "valid", "kind": "url", "click_id": click["click_id"], "clicked_at_ms": click["clicked_at_ms"],
        "domain": click["domain"], "code": click["code"], "audience_kind": kind, "audience": name,
    })
}

/// An order of buyer `b` that was completed three days after payment.
pub(super) fn order(tokens: Value, lines: Value) -> Value {
    json!({
        "order_id": "o", "updated_at_ms": PAID + 3 * DAY, "buyer_id": "b", "paid_at_ms": PAID,
        "completed_at_ms": PAID + 3 * DAY, "click_tokens": tokens, "lines": lines,
    })
}

/// One piece of a product of seller `s`, for 100 000 minor units.
pub(super) fn line(id: &str, product: &str) -> Value {
    json!({"line_id": id, "seller_id": "s", "product_id": product, "quantity": 1, "value_minor": 100_000,
        "currency": "VND"})
}

/// A number of JSON; 0 if absent.
pub(super) fn number(value: &Value) -> i128 {
    value.as_i64().map_or(0, i128::from)
}

/// A text of JSON; empty if absent.
pub(super) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
