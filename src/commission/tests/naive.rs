//! The rule once more, written slowly and only for tests: for each line it looks at every click of the world, as JSON.

use serde_json::{Map, Value, json};

use super::world::{DAY, World};

fn number(value: &Value) -> i128 {
    value.as_i64().map_or(0, i128::from)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The policy's word, or the default.
fn policy<'a>(world: &'a World, key: &str, default: &'a str) -> &'a str {
    world.policy[key].as_str().unwrap_or(default)
}

fn days(world: &World, key: &str, default: u64) -> i128 {
    i128::from(world.policy[key].as_u64().unwrap_or(default) * DAY)
}

/// The record that stands for a click, whenever it arrived.
fn standing<'a>(world: &'a World, id: &str) -> Option<&'a Value> {
    let of_click = world.clicks.iter().filter(|click| click["type"] == "click" && click["click_id"] == id);
    of_click.min_by_key(|click| {
        let number_of_click =
            (word(&click["edge"]), number(&click["lane"]), number(&click["epoch"]), number(&click["seq"]));
        (
            number(&click["arrived_at_ms"]),
            -number(&click["labels_version"]),
            click["duplicate"] == true,
            number_of_click,
        )
    })
}

/// Record, or link, as the same fields. `None`: neither is known.
fn facts(world: &World, token: &Value, freeze: i128) -> Option<Value> {
    let record = standing(world, word(&token["click_id"])).filter(|click| number(&click["arrived_at_ms"]) < freeze);
    if let Some(record) = record {
        return Some(record.clone());
    }
    let link = world.links.iter().find(|link| link["domain"] == token["domain"] && link["code"] == token["code"])?;
    let created: jiff::Timestamp = word(&link["created_at"]).parse().unwrap();
    let created = created.as_millisecond();
    Some(json!({"token_only": true, "domain": link["domain"], "code": link["code"], "link_kind": link["kind"],
        "link_created_at_ms": created, "link_ends_at_ms": created + 100 * DAY as i64, "link_test": link["test"] == true,
        "creator_id": link["creator"], "creator_type": link["creator_type"], "partner_id": link["partner"],
        "seller_id": link["seller"], "product_id": link["product"], "product_set_id": link["product_set"],
        "campaign_id": link["campaign"], "plan": link["plan"], "rate_bp": link["rate_bp"]}))
}

fn fits(token: &Value, facts: &Value) -> bool {
    let audience = if !facts["seller_id"].is_null() {
        (json!("seller"), facts["seller_id"].clone())
    } else if !facts["partner_id"].is_null() {
        (json!("partner"), facts["partner_id"].clone())
    } else {
        (json!("domain"), token["domain"].clone())
    };
    token["domain"] == facts["domain"]
        && token["code"] == facts["code"]
        && (token["kind"] == "cookie" || (token["audience_kind"].clone(), token["audience"].clone()) == audience)
}

struct Touch {
    id: String,
    domain: String,
    code: String,
    time: i128,
    own: bool,
    fits: bool,
    by_token: bool,
    unjournaled: bool,
    facts: Option<Value>,
}

fn touches(world: &World, order: &Value, freeze: i128) -> Vec<Touch> {
    let paid = number(&order["paid_at_ms"]);
    let no_tokens = Vec::new();
    let tokens: Vec<&Value> = order["click_tokens"]
        .as_array()
        .unwrap_or(&no_tokens)
        .iter()
        .filter(|token| token["verdict"] == "valid" || token["verdict"] == "expired")
        .collect();
    let is_own = |token: &Value| token["landed_by"].is_null() || token["landed_by"] == order["buyer_id"];
    let mut keys: Vec<(String, String, String)> = Vec::new();
    let mut jars: Vec<&str> = Vec::new();
    for token in &tokens {
        keys.push((word(&token["click_id"]).into(), word(&token["domain"]).into(), word(&token["code"]).into()));
        if let Some(facts) = facts(world, token, freeze).filter(|facts| fits(token, facts) && is_own(token)) {
            let cookie = if token["kind"] == "cookie" { word(&token["visitor_id"]) } else { "" };
            let record = if facts["token_only"] == true {
                ""
            } else {
                word(&standing(world, word(&token["click_id"])).unwrap()["visitor_id"])
            };
            jars.push(if cookie.is_empty() { record } else { cookie });
        }
    }
    let mut in_jar = Vec::new();
    for click in &world.clicks {
        let Some(record) = standing(world, word(&click["click_id"])) else { continue };
        let at = number(&record["clicked_at_ms"]);
        let visitor = word(&record["visitor_id"]);
        let window = at <= paid && paid - at < 14 * i128::from(DAY);
        if !visitor.is_empty() && jars.contains(&visitor) && window && number(&record["arrived_at_ms"]) < freeze {
            let key = (word(&record["click_id"]).into(), word(&record["domain"]).into(), word(&record["code"]).into());
            in_jar.push(key);
        }
    }
    keys.extend(in_jar.clone());
    keys.sort();
    keys.dedup();
    keys.into_iter().map(|key| touch(world, &tokens, key, &in_jar, freeze, &is_own)).collect()
}

fn touch(
    world: &World,
    tokens: &[&Value],
    key: (String, String, String),
    in_jar: &[(String, String, String)],
    freeze: i128,
    is_own: &dyn Fn(&Value) -> bool,
) -> Touch {
    let (id, domain, code) = key.clone();
    let named = json!({"click_id": id, "domain": domain, "code": code});
    let facts = facts(world, &named, freeze);
    let mine: Vec<&&Value> = tokens
        .iter()
        .filter(|token| token["click_id"] == id && token["domain"] == domain && token["code"] == code)
        .collect();
    let fitting: Vec<&&&Value> =
        mine.iter().filter(|token| facts.as_ref().is_some_and(|facts| fits(token, facts))).collect();
    let is_in_jar = in_jar.contains(&key);
    let told = match &facts {
        Some(facts) if facts["token_only"] != true => number(&facts["clicked_at_ms"]),
        _ => mine.iter().map(|token| number(&token["clicked_at_ms"])).min().unwrap(),
    };
    let landing = fitting
        .iter()
        .filter(|token| !token["landed_at_ms"].is_null())
        .map(|token| number(&token["landed_at_ms"]))
        .min();
    let time = landing.filter(|landing| *landing < told && told - *landing <= i128::from(DAY)).unwrap_or(told);
    let says_unjournaled =
        |token: &Value| token["flags"].as_array().is_some_and(|flags| flags.contains(&json!("unjournaled")));
    Touch {
        id,
        domain,
        code,
        time,
        facts,
        own: is_in_jar || fitting.iter().any(|token| is_own(token)),
        fits: is_in_jar || !fitting.is_empty(),
        by_token: !mine.is_empty(),
        unjournaled: fitting.iter().any(|token| says_unjournaled(token)),
    }
}

fn refusal(world: &World, order: &Value, touch: &Touch) -> Option<&'static str> {
    let Some(facts) = &touch.facts else {
        return Some(if standing(world, &touch.id).is_some() { "arrived_too_late" } else { "unknown_click" });
    };
    let token_only = facts["token_only"] == true;
    let paid = number(&order["paid_at_ms"]);
    let no_sources = Vec::new();
    let sources = world.policy["excluded_sources"].as_array().unwrap_or(&no_sources);
    let list = [
        (!touch.fits, "token_mismatch"),
        (!token_only && (facts["outcome"] != "redirected" || facts["link_kind"].is_null()), "orphan"),
        (!token_only && facts["class"] != "human", "not_human"),
        (facts["link_test"] == true, "test_link"),
        (facts["link_kind"] == "plain", "plain_link"),
        (facts["creator_id"].is_null(), "no_creator"),
        (facts["link_kind"] == "showcase" && facts["creator_type"] != "affiliate", "showcase_not_affiliate"),
        (!token_only && sources.contains(&facts["source"]), "excluded_source"),
        (
            policy(world, "self_purchase", "refuse") == "refuse" && facts["creator_id"] == order["buyer_creator_id"],
            "self_purchase",
        ),
        (token_only && policy(world, "token_only", "credit") == "refuse", "token_only"),
        (!touch.own && policy(world, "shared_token", "credit") == "refuse", "shared_token"),
        (touch.time > paid, "after_payment"),
        (paid >= touch.time + 14 * i128::from(DAY), "click_over_14_days"),
    ];
    list.iter().find(|(applies, _)| *applies).map(|(_, reason)| *reason)
}

/// Plan, rate and partner, or why the link does not stand for the line.
fn terms(world: &World, touch: &Touch, line: &Value) -> Result<Value, &'static str> {
    let facts = touch.facts.as_ref().unwrap();
    if facts["link_kind"] == "product" {
        let is_same = facts["seller_id"] == line["seller_id"] && facts["product_id"] == line["product_id"];
        return if is_same { Ok(facts.clone()) } else { Err("other_product") };
    }
    let mut entry: Option<&Value> = None;
    for other in &world.product_sets {
        let is_of_line = other["product_set_id"] == facts["product_set_id"]
            && other["seller_id"] == line["seller_id"]
            && other["product_id"] == line["product_id"];
        let from = number(&other["valid_from_ms"]);
        if is_of_line && from <= touch.time && entry.is_none_or(|best| from >= number(&best["valid_from_ms"])) {
            entry = Some(other);
        }
    }
    match entry {
        Some(entry) if entry["removed"] != true => {
            let partner = if entry["partner_id"].is_null() { &facts["partner_id"] } else { &entry["partner_id"] };
            Ok(json!({"plan": entry["plan"], "rate_bp": entry["rate_bp"], "partner_id": partner}))
        }
        _ => Err("not_in_set"),
    }
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

/// Every row of a world.
pub(super) fn rows(world: &World) -> Vec<Value> {
    let mut ids: Vec<&str> = world.orders.iter().map(|order| word(&order["order_id"])).collect();
    ids.sort();
    ids.dedup();
    ids.into_iter().flat_map(|id| rows_of_order(world, id)).collect()
}

fn rows_of_order(world: &World, id: &str) -> Vec<Value> {
    let mut versions: Vec<&Value> = world.orders.iter().filter(|order| order["order_id"] == id).collect();
    versions.sort_by_key(|version| number(&version["updated_at_ms"]));
    let Some(first) = versions.iter().find(|version| !version["paid_at_ms"].is_null()) else { return Vec::new() };
    let last = versions.last().unwrap();
    let paid = number(&first["paid_at_ms"]);
    if paid > i128::from(world.as_of_ms) {
        return Vec::new();
    }
    let freeze = paid + days(world, "confirm_days", 14);
    let mut touches = touches(world, first, freeze);
    touches.sort_by(|one, other| {
        let key = |touch: &Touch| (touch.time, touch.id.clone(), touch.domain.clone(), touch.code.clone());
        key(other).cmp(&key(one))
    });
    let mut lines: Vec<&Value> = first["lines"].as_array().unwrap().iter().collect();
    lines.sort_by_key(|line| word(&line["line_id"]));
    lines.into_iter().map(|line| row(world, first, last, line, &touches, freeze)).collect()
}

fn row(world: &World, first: &Value, last: &Value, line: &Value, touches: &[Touch], freeze: i128) -> Value {
    let refusals: Vec<Option<&str>> = touches.iter().map(|touch| refusal(world, first, touch)).collect();
    let stands: Vec<bool> = touches
        .iter()
        .zip(&refusals)
        .map(|(touch, refusal)| refusal.is_none() && terms(world, touch, line).is_ok())
        .collect();
    let is_any = policy(world, "scope", "product") == "any";
    let pool: Vec<usize> =
        (0..touches.len()).filter(|at| if is_any { refusals[*at].is_none() } else { stands[*at] }).collect();
    // Touches are sorted: the first own one of the pool wins, else the first one.
    let best = pool.iter().find(|at| touches[**at].own).or(pool.first()).copied();
    let winner = best.filter(|at| stands[*at]);
    let paid = number(&first["paid_at_ms"]);
    let is_alive = winner.is_some_and(|at| {
        let facts = touches[at].facts.as_ref().unwrap();
        paid < number(&facts["link_ends_at_ms"]) && paid < number(&facts["link_created_at_ms"]) + 100 * i128::from(DAY)
    });
    let mut candidates = Vec::new();
    for (at, touch) in touches.iter().enumerate() {
        let reason = match (refusals[at], best) {
            (Some(reason), _) => reason,
            (None, Some(best)) if best == at && stands[at] => {
                if is_alive {
                    "last_click"
                } else {
                    "link_ended"
                }
            }
            (None, Some(best)) if is_any && best != at => {
                if touches[best].own && !touch.own {
                    "shared_token"
                } else {
                    "earlier_click"
                }
            }
            (None, Some(best)) if stands[at] => {
                if touches[best].own && !touch.own {
                    "shared_token"
                } else {
                    "earlier_click"
                }
            }
            (None, _) => terms(world, touch, line).unwrap_err(),
        };
        candidates.push(json!({"click_id": touch.id, "domain": touch.domain, "code": touch.code,
            "clicked_at_ms": touch.time as u64, "found_by": if touch.by_token { "token" } else { "visitor" },
            "result": if reason == "last_click" { "won" } else { "lost" }, "reason": reason}));
    }
    let reason = if is_alive {
        "last_click"
    } else if winner.is_some() {
        "link_ended"
    } else if touches.is_empty() {
        "no_click"
    } else if refusals.iter().any(Option::is_none) {
        "not_linked_product"
    } else if refusals.contains(&Some("click_over_14_days")) {
        "click_over_14_days"
    } else {
        "no_creditable_click"
    };
    let mut row = json!({"order_id": first["order_id"], "line_id": line["line_id"], "as_of_ms": world.as_of_ms,
        "freeze_at_ms": freeze as u64, "seller_id": line["seller_id"], "product_id": line["product_id"],
        "state": "rejected", "reason": reason, "commission_minor": 0});
    let no_tokens = Vec::new();
    let tokens = first["click_tokens"].as_array().unwrap_or(&no_tokens);
    let bad = tokens.iter().filter(|token| token["verdict"] != "valid" && token["verdict"] != "expired").count();
    let fields = row.as_object_mut().unwrap();
    if bad > 0 {
        fields.insert("bad_tokens".into(), json!(bad));
    }
    if !candidates.is_empty() {
        fields.insert("candidates".into(), json!(candidates));
    }
    let winner = winner.filter(|_| is_alive).map(|at| (&touches[at], terms(world, &touches[at], line).unwrap()));
    settle(world, last, line, winner, fields);
    row
}

/// Step 8, a piece at a time: each piece is kept until a moment, or for ever.
fn settle(
    world: &World,
    last: &Value,
    paid_line: &Value,
    winner: Option<(&Touch, Value)>,
    row: &mut Map<String, Value>,
) {
    let now = i128::from(world.as_of_ms);
    let found = last["lines"].as_array().unwrap().iter().find(|line| line["line_id"] == paid_line["line_id"]);
    let line = found.unwrap_or(paid_line);
    for key in ["currency", "quantity", "value_minor"] {
        row.insert(key.into(), line[key].clone());
    }
    let Some((touch, terms)) = winner else { return };
    let no_returns = Vec::new();
    let mut returns: Vec<(i128, i128)> = line["returns"]
        .as_array()
        .unwrap_or(&no_returns)
        .iter()
        .map(|returned| (number(&returned["returned_at_ms"]), number(&returned["quantity"])))
        .collect();
    returns.sort();
    let mut moments: Vec<(i128, &str)> = Vec::new();
    for (at, quantity) in returns {
        moments.extend(std::iter::repeat_n((at, "returned"), quantity as usize));
    }
    let all = number(&line["quantity"]) as usize;
    if found.is_none() {
        moments.extend(std::iter::repeat_n((number(&last["updated_at_ms"]), "returned"), all));
    }
    if !last["cancelled_at_ms"].is_null() {
        moments.extend(std::iter::repeat_n((number(&last["cancelled_at_ms"]), "order_cancelled"), all));
    }
    moments.retain(|(at, _)| *at <= now);
    moments.sort_by_key(|(at, why)| (*at, *why == "order_cancelled"));
    moments.truncate(all);
    let completed = Some(&last["completed_at_ms"]).filter(|at| !at.is_null()).map(number).filter(|at| *at <= now);
    let kept_before = |at: i128| (all - moments.iter().filter(|(moment, _)| *moment < at).count()) as i128;
    let payable = completed.map(|at| at + days(world, "payable_from_days", 21));
    let confirmed = completed.map(|at| at + days(world, "confirm_days", 14));
    let kept = kept_before(payable.unwrap_or(i128::MAX));
    let state = match (completed, confirmed, payable) {
        (Some(at), ..) if kept_before(at) == 0 => "rejected",
        (None, ..) if kept == 0 => "rejected",
        _ if kept == 0 => "reversed",
        (.., Some(payable)) if now >= payable => "payable",
        (_, Some(confirmed), _) if now >= confirmed => "confirmed",
        _ => "pending",
    };
    let is_taken_back = matches!(state, "rejected" | "reversed");
    let kept = if is_taken_back { 0 } else { kept };
    let rate = number(&terms["rate_bp"]);
    let facts = touch.facts.as_ref().unwrap();
    let mut set = |key: &str, value: Value| {
        let is_empty = value.is_null() || value == json!("") || value == json!([]);
        if !is_empty {
            row.insert(key.into(), value);
        }
    };
    set("state", json!(state));
    set("reason", json!(if is_taken_back { moments.last().unwrap().1 } else { "last_click" }));
    set("commission_minor", json!(commission(line, kept, rate) as i64));
    set("kept_quantity", json!(kept as i64));
    set("click_id", json!(touch.id));
    set("clicked_at_ms", json!(touch.time as u64));
    set("domain", json!(touch.domain));
    set("code", json!(touch.code));
    set("rate_bp", json!(rate as u64));
    set("plan", terms["plan"].clone());
    set("partner_id", terms["partner_id"].clone());
    for key in ["link_kind", "creator_id", "campaign_id", "product_set_id"] {
        set(key, facts[key].clone());
    }
    let token_only = facts["token_only"] == true;
    let flags =
        [(token_only, "token_only"), (token_only && touch.unjournaled, "unjournaled"), (!touch.own, "shared_token")];
    set("flags", json!(flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect::<Vec<_>>()));
    let (Some(completed), false) = (completed, is_taken_back) else { return };
    let payable = completed + days(world, "payable_from_days", 21);
    set("confirmed_at_ms", json!((completed + days(world, "confirm_days", 14)) as u64));
    set("payable_from_ms", json!(payable as u64));
    set("payable_until_ms", json!((completed + days(world, "payable_until_days", 30)) as u64));
    let mut late: Vec<i128> = moments.iter().map(|(at, _)| *at).filter(|at| *at >= payable).collect();
    late.dedup();
    let clawbacks: Vec<Value> = late
        .into_iter()
        .map(|at| {
            let (before, after) = (kept_before(at), kept_before(at + 1));
            let amount = commission(line, after, rate) - commission(line, before, rate);
            json!({"returned_at_ms": at as u64, "quantity": (before - after) as u64, "amount_minor": amount as i64})
        })
        .collect();
    set("clawbacks", json!(clawbacks));
}
