//! The rule once more, written slowly and only for tests: for each line it looks at every click of the world, as JSON.

use serde_json::{Value, json};

use super::{
    naive_settlement::{days, settle},
    world::{DAY, World, number, word},
};

/// The policy's word, or the default.
fn policy<'a>(world: &'a World, key: &str, default: &'a str) -> &'a str {
    world.policy[key].as_str().unwrap_or(default)
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
    let contest = contest(world, first, line, touches);
    let candidates: Vec<Value> = (0..touches.len()).map(|at| candidate(touches, &contest, at)).collect();
    let mut row = json!({"order_id": first["order_id"], "line_id": line["line_id"], "as_of_ms": world.as_of_ms,
        "freeze_at_ms": freeze as u64, "seller_id": line["seller_id"], "product_id": line["product_id"],
        "state": "rejected", "reason": line_reason(touches, &contest), "commission_minor": 0});
    let no_tokens = Vec::new();
    let tokens = first["click_tokens"].as_array().unwrap_or(&no_tokens);
    let bad = tokens.iter().filter(|token| token["verdict"] != "valid" && token["verdict"] != "expired").count();
    if bad > 0 {
        row["bad_tokens"] = json!(bad);
    }
    if !candidates.is_empty() {
        row["candidates"] = json!(candidates);
    }
    let winner = contest.winner.filter(|_| contest.is_alive).map(|at| &touches[at]);
    let terms = winner.map(|touch| terms(world, touch, line).unwrap());
    settle(world, last, line, terms.as_ref().map(|terms| number(&terms["rate_bp"])), &mut row);
    if let (Some(touch), Some(terms)) = (winner, terms) {
        add_winner(&mut row, touch, &terms);
    }
    row
}

/// Who competes for a line, and who is the best.
struct Contest<'a> {
    is_any: bool,
    refusals: Vec<Option<&'static str>>,
    /// For those that are not refused: why they do not stand for the line.
    stands_not: Vec<Option<&'static str>>,
    best: Option<usize>,
    winner: Option<usize>,
    is_alive: bool,
    touches: &'a [Touch],
}

fn contest<'a>(world: &World, first: &Value, line: &Value, touches: &'a [Touch]) -> Contest<'a> {
    let refusals: Vec<Option<&str>> = touches.iter().map(|touch| refusal(world, first, touch)).collect();
    let able = |at: &usize| refusals[*at].is_none();
    let stands_not: Vec<Option<&str>> =
        (0..touches.len()).map(|at| if able(&at) { terms(world, &touches[at], line).err() } else { None }).collect();
    let is_any = policy(world, "scope", "product") == "any";
    let pool: Vec<usize> = (0..touches.len()).filter(able).filter(|at| is_any || stands_not[*at].is_none()).collect();
    // Touches are sorted: the first own one of the pool wins, else the first one.
    let best = pool.iter().find(|at| touches[**at].own).or(pool.first()).copied();
    let winner = best.filter(|at| stands_not[*at].is_none());
    let paid = number(&first["paid_at_ms"]);
    let is_alive = winner.is_some_and(|at| {
        let facts = touches[at].facts.as_ref().unwrap();
        paid < number(&facts["link_ends_at_ms"]) && paid < number(&facts["link_created_at_ms"]) + 100 * i128::from(DAY)
    });
    Contest { is_any, refusals, stands_not, best, winner, is_alive, touches }
}

impl Contest<'_> {
    fn reason(&self, at: usize) -> &'static str {
        if let Some(reason) = self.refusals[at] {
            return reason;
        }
        let is_best = self.best == Some(at);
        match self.stands_not[at] {
            Some(reason) if is_best || !self.is_any => return reason,
            None if is_best => return if self.is_alive { "last_click" } else { "link_ended" },
            _ => {}
        }
        let is_best_own = self.best.is_some_and(|best| self.touches[best].own);
        if is_best_own && !self.touches[at].own { "shared_token" } else { "earlier_click" }
    }
}

fn candidate(touches: &[Touch], contest: &Contest<'_>, at: usize) -> Value {
    let (touch, reason) = (&touches[at], contest.reason(at));
    json!({"click_id": touch.id, "domain": touch.domain, "code": touch.code, "clicked_at_ms": touch.time as u64,
        "found_by": if touch.by_token { "token" } else { "visitor" },
        "result": if reason == "last_click" { "won" } else { "lost" }, "reason": reason})
}

fn line_reason(touches: &[Touch], contest: &Contest<'_>) -> &'static str {
    let cases = [
        (contest.is_alive, "last_click"),
        (contest.winner.is_some(), "link_ended"),
        (touches.is_empty(), "no_click"),
        (contest.refusals.iter().any(Option::is_none), "not_linked_product"),
        (contest.refusals.contains(&Some("click_over_14_days")), "click_over_14_days"),
    ];
    cases.iter().find(|(applies, _)| *applies).map_or("no_creditable_click", |(_, reason)| reason)
}

fn add_winner(row: &mut Value, touch: &Touch, terms: &Value) {
    let facts = touch.facts.as_ref().unwrap();
    let token_only = facts["token_only"] == true;
    let flags =
        [(token_only, "token_only"), (token_only && touch.unjournaled, "unjournaled"), (!touch.own, "shared_token")];
    let flags: Vec<&str> = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
    let fields = [
        ("click_id", json!(touch.id)),
        ("clicked_at_ms", json!(touch.time as u64)),
        ("domain", json!(touch.domain)),
        ("code", json!(touch.code)),
        ("rate_bp", json!(number(&terms["rate_bp"]) as u64)),
        ("plan", terms["plan"].clone()),
        ("partner_id", terms["partner_id"].clone()),
        ("link_kind", facts["link_kind"].clone()),
        ("creator_id", facts["creator_id"].clone()),
        ("campaign_id", facts["campaign_id"].clone()),
        ("product_set_id", facts["product_set_id"].clone()),
        ("flags", json!(flags)),
    ];
    for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_null() && *value != json!([])) {
        row[key] = value;
    }
}
