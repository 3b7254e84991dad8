//! Random small worlds. Times lie at the bounds of the rules and a millisecond beside them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{DAY, PAID, World, token_of, with};

/// A source of choices that shrinks: the first choice is the plainest one.
struct Choices {
    bytes: std::vec::IntoIter<u8>,
}

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.bytes.next().unwrap_or(0)) % count
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// True in one of `count` cases.
    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }
}

/// Random worlds.
pub(super) fn any_world() -> impl Strategy<Value = World> {
    prop::collection::vec(any::<u8>(), 0..400).prop_map(|bytes| build_world(&mut Choices { bytes: bytes.into_iter() }))
}

/// The links of a world, as the events of their clicks carry them.
fn link_facts(choices: &mut Choices, code: usize) -> Value {
    let created = PAID - choices.pick(&[30, 99, 100, 101]) * DAY - choices.pick(&[0, 1]) + choices.pick(&[0, 1]);
    let kinds = ["product", "product", "showcase", "campaign", "product", "plain"];
    let kind = kinds[code % kinds.len()];
    let facts = json!({
        "domain": "*", "code": format!("code-{code}"), "link_kind": kind, "link_created_at_ms": created,
        "link_ends_at_ms": choices.pick(&[created + 100 * DAY, PAID, PAID + 1, created + 200 * DAY]),
        "link_test": choices.one_in(12), "creator_id": format!("c{}", choices.below(3)),
        "creator_type": choices.pick(&["affiliate", "affiliate", "linkshare-only"]),
    });
    let facts = if choices.one_in(12) { with(facts, json!({"creator_id": null})) } else { facts };
    let partner = choices.pick(&[Value::Null, json!("tap")]);
    let facts = with(facts, json!({"partner_id": partner}));
    match kind {
        "product" => with(
            facts,
            json!({"seller_id": choices.pick(&["s", "s", "t"]), "plan": "open",
            "product_id": choices.pick(&["p0", "p0", "p1"]), "rate_bp": choices.pick(&[1_000, 555, 1, 10_000])}),
        ),
        "plain" => facts,
        "showcase" => {
            with(facts, json!({"product_set_id": "set-0", "seller_id": choices.pick(&[json!("s"), Value::Null])}))
        }
        _ => with(facts, json!({"product_set_id": "set-1", "campaign_id": "k"})),
    }
}

fn record(choices: &mut Choices, at: usize, links: &[Value]) -> Value {
    let ages = [DAY, 0, 1, 2 * DAY, 14 * DAY - 1, 14 * DAY, 14 * DAY + 1, 13 * DAY];
    let at_ms = if choices.one_in(10) { PAID + 1 } else { PAID - choices.pick(&ages) };
    let base = json!({
        "type": "click", "click_id": format!("click-{at}"), "clicked_at_ms": at_ms, "edge": "e", "lane": 0, "epoch": 1,
        "seq": at * 10, "outcome": if choices.one_in(10) { "expired" } else { "redirected" },
        "class": if choices.one_in(8) { "bot" } else { "human" }, "source": choices.pick(&["instagram", "tiktok"]),
        "labels_version": 1, "duplicate": choices.one_in(3),
    });
    let visitor = choices.pick(&[Value::Null, json!("va"), json!("vb")]);
    let arrived =
        if choices.one_in(6) { json!(PAID + choices.pick(&[14 * DAY - 1, 14 * DAY, DAY])) } else { Value::Null };
    with(with(base, choices.pick(links)), json!({"visitor_id": visitor, "arrived_at_ms": arrived}))
}

/// A click's records: itself, perhaps a stub, perhaps with other labels.
fn add_records(choices: &mut Choices, click: &Value, clicks: &mut Vec<Value>) {
    if choices.one_in(8) {
        let id = &click["click_id"];
        clicks.push(json!({"type": "dead_lettered", "click_id": id, "clicked_at_ms": 1, "arrived_at_ms": 1}));
    }
    // A record that never came, or only as a stub.
    if !choices.one_in(5) {
        clicks.push(click.clone());
    }
    if choices.one_in(6) {
        let seq = click["seq"].as_u64().unwrap() + 1;
        let changes = json!({"seq": seq, "labels_version": choices.pick(&[1, 2]), "duplicate": choices.one_in(2),
            "class": choices.pick(&["human", "bot"]),
            "arrived_at_ms": choices.pick(&[Value::Null, json!(1), json!(PAID)])});
        clicks.push(with(click.clone(), changes));
    }
}

fn token(choices: &mut Choices, click: &Value) -> Value {
    let at_ms = click["clicked_at_ms"].as_u64().unwrap();
    let landings = [at_ms + 5, at_ms - 1, at_ms - DAY, at_ms - DAY - 1];
    let changes = json!({
        "verdict": choices.pick(&["valid", "valid", "valid", "expired", "bad_mac"]),
        "landed_by": choices.pick(&[Value::Null, json!("b"), json!("stranger")]),
        "landed_at_ms": if choices.one_in(3) { json!(choices.pick(&landings)) } else { Value::Null },
    });
    let mut token = with(token_of(click), changes);
    if choices.one_in(4) {
        token = with(
            token,
            json!({"kind": "cookie", "visitor_id": choices.pick(&["va", "vb"]), "audience_kind": null,
            "audience": null}),
        );
    }
    if choices.one_in(8) {
        token = with(token, json!({"audience": "somebody"}));
    }
    if choices.one_in(10) {
        token = with(token, json!({"code": "code-0"}));
    }
    if choices.one_in(5) {
        token = with(token, json!({"flags": ["navigation", "unjournaled"]}));
    }
    token
}

fn order_line(choices: &mut Choices, at: usize) -> Value {
    let completed = PAID + 3 * DAY;
    let moments = [completed - 1, completed, completed + 21 * DAY - 1, completed + 21 * DAY, completed + 25 * DAY];
    let returns: Vec<Value> = (0..choices.below(4))
        .map(|_| json!({"returned_at_ms": choices.pick(&moments), "quantity": choices.pick(&[1, 2])}))
        .collect();
    json!({"line_id": at.to_string(), "seller_id": choices.pick(&["s", "s", "t"]),
        "product_id": choices.pick(&["p0", "p1", "p2"]), "quantity": choices.pick(&[1, 2, 3, 7]),
        "value_minor": choices.pick(&[100_000, 0, 5_000, 99_999, (1u64 << 53) - 1]), "currency": "VND",
        "returns": returns})
}

/// The versions of one order: paid; later completed or cancelled, with lines taken out or added.
fn order_versions(choices: &mut Choices, id: usize, clicks: &[Value]) -> Vec<Value> {
    let mut tokens: Vec<Value> = Vec::new();
    for click in clicks {
        for _ in 0..choices.pick(&[1, 1, 0, 2]) {
            tokens.push(token(choices, click));
        }
    }
    let lines: Vec<Value> = (0..choices.pick(&[1, 2, 3])).map(|at| order_line(choices, at)).collect();
    let paid = json!({"order_id": format!("o{id}"), "updated_at_ms": PAID, "buyer_id": "b", "paid_at_ms": PAID,
        "buyer_creator_id": choices.pick(&[Value::Null, json!("c0")]), "click_tokens": tokens, "lines": lines});
    let mut versions = vec![paid.clone()];
    if choices.one_in(6) {
        let not_paid = json!({"updated_at_ms": 1, "paid_at_ms": null, "click_tokens": [], "lines": []});
        versions.push(with(paid.clone(), not_paid));
    }
    if !choices.one_in(4) {
        let completed = PAID + 3 * DAY;
        let moments = [completed - 1, completed, completed + 10 * DAY, completed + 22 * DAY];
        let cancelled = if choices.one_in(5) { json!(choices.pick(&moments)) } else { Value::Null };
        let completed = if choices.one_in(6) { Value::Null } else { json!(completed) };
        let mut later_lines: Vec<Value> = lines.iter().filter(|_| !choices.one_in(8)).cloned().collect();
        if choices.one_in(8) {
            later_lines.push(order_line(choices, 9));
        }
        versions.push(with(
            paid,
            json!({"updated_at_ms": PAID + choices.pick(&[4, 20, 25]) * DAY,
            "completed_at_ms": completed, "cancelled_at_ms": cancelled, "lines": later_lines, "click_tokens": []}),
        ));
    }
    versions
}

fn set_entries(choices: &mut Choices) -> Vec<Value> {
    (0..choices.below(6))
        .map(|at| {
            // Each entry has a key of its own, so that the order of entries means nothing.
            let entry = json!({"product_set_id": format!("set-{}", at % 2), "seller_id": "s",
                "product_id": choices.pick(&["p0", "p1"]),
                "valid_from_ms": PAID - choices.pick(&[30, 10, 1]) * DAY + at as u64});
            if choices.one_in(4) {
                return with(entry, json!({"removed": true}));
            }
            with(
                entry,
                json!({"plan": "targeted", "rate_bp": choices.pick(&[1_200, 333]),
                "partner_id": choices.pick(&[Value::Null, json!("tap-of-set")])}),
            )
        })
        .collect()
}

/// Lines of the links file for some of the codes: a product link each.
fn link_records(choices: &mut Choices) -> Vec<Value> {
    let codes: Vec<usize> = (0..6).filter(|_| choices.one_in(2)).collect();
    let record = |code: usize| {
        json!({"domain": "*", "code": format!("code-{code}"), "url": "https://shop.example.com/", "kind": "product",
            "creator": "c9", "creator_type": "affiliate", "seller": choices.pick(&["s", "s", "t"]),
            "product": choices.pick(&["p0", "p1"]),
            "plan": "open", "rate_bp": 700, "created_at": "2026-10-21T12:00:00Z", "test": choices.one_in(9)})
    };
    codes.into_iter().map(record).collect()
}

fn policy(choices: &mut Choices) -> Value {
    let mut policy = json!({});
    if choices.one_in(3) {
        policy = with(policy, json!({"scope": "any"}));
    }
    if choices.one_in(4) {
        policy = with(policy, json!({"excluded_sources": ["tiktok"]}));
    }
    for (key, word) in [("self_purchase", "credit"), ("shared_token", "refuse"), ("token_only", "refuse")] {
        if choices.one_in(4) {
            policy[key] = json!(word);
        }
    }
    if choices.one_in(5) {
        policy = with(policy, json!({"confirm_days": 7, "payable_from_days": 15, "payable_until_days": 20}));
    }
    policy
}

fn build_world(choices: &mut Choices) -> World {
    let links: Vec<Value> = (0..6).map(|code| link_facts(choices, code)).collect();
    let of_clicks: Vec<Value> = (0..choices.pick(&[2, 3, 5, 1, 0])).map(|at| record(choices, at, &links)).collect();
    let mut clicks = Vec::new();
    for click in &of_clicks {
        add_records(choices, click, &mut clicks);
    }
    let completed = PAID + 3 * DAY;
    let times =
        [completed + 17 * DAY, completed - 1, completed + 14 * DAY, completed + 21 * DAY, completed + 40 * DAY, PAID];
    World {
        orders: (0..choices.pick(&[1, 2])).flat_map(|id| order_versions(choices, id, &of_clicks)).collect(),
        product_sets: set_entries(choices),
        links: link_records(choices),
        policy: policy(choices),
        as_of_ms: choices.pick(&times),
        clicks,
    }
}
