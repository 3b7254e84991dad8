//! `waypost attribute`: orders and clicks go in, commission lines come out.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use crate::dsl::Site;

const FIXTURES: &str = "tests/fixtures/attribution";
/// The click time of `tests/fixtures/token_golden.jsonl`.
const GOLDEN_CLICK_MS: u64 = 1_794_697_200_000;
const DAY_MS: u64 = 86_400_000;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES).join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn fixture_names() -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    names
}

fn lines(values: &Value) -> String {
    values.as_array().unwrap().iter().map(|value| format!("{value}\n")).collect()
}

/// The exit code, the output and the error output of `waypost attribute`.
pub(crate) fn attribute(site: &Site, args: &[&str]) -> (Option<i32>, String, String) {
    let output = site.command(&[&["attribute"], args].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Writes the inputs of a case, and returns the flags that name them.
fn write_case(site: &Site, case: &Value) -> Vec<String> {
    let mut args = Vec::new();
    for (flag, key, name) in [
        ("--clicks", "clicks", "clicks.jsonl"),
        ("--orders", "orders", "orders.jsonl"),
        ("--product-sets", "product_sets", "product-sets.jsonl"),
        ("--links", "links", "links.jsonl"),
    ] {
        site.write(name, &lines(&case[key]));
        let is_optional = matches!(flag, "--links" | "--product-sets");
        if !is_optional || case[key].as_array().is_some_and(|values| !values.is_empty()) {
            args.extend([flag.to_owned(), name.to_owned()]);
        }
    }
    site.write("policy.json", &serde_json::to_string_pretty(&case["policy"]).unwrap());
    args.extend(["--policy", "policy.json", "--as-of"].map(str::to_owned));
    args.push(case["as_of_ms"].to_string());
    args
}

fn run_case(site: &Site, case: &Value, more: &[&str]) -> (Option<i32>, String, String) {
    let args = write_case(site, case);
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    attribute(site, &args)
}

/// The rows of an output of `--json`.
pub(crate) fn rows(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_command_prints_the_expected_rows_of_every_case() {
    let site = Site::new(&[]);
    for name in fixture_names() {
        let case = fixture(&name);
        let (code, out, error) = run_case(&site, &case, &["--json"]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{name}");
        assert_eq!(json!(rows(&out)), case["expected"], "{name}");
    }
}

/// Two orders of two buyers: in the first a later click wins, in the second nothing does.
fn two_orders() -> Value {
    let mut case = fixture("last_of_two_creators_links_wins.json");
    let mut other = case["orders"][0].clone();
    other["order_id"] = json!("o_0");
    other["click_tokens"] = json!([{"verdict": "bad_mac"}]);
    case["orders"].as_array_mut().unwrap().push(other);
    case
}

#[test]
fn rows_are_ordered_by_order_and_the_table_has_totals() {
    let site = Site::new(&[]);
    let (code, out, _) = run_case(&site, &two_orders(), &["--json"]);
    let ids: Vec<Value> = rows(&out).iter().map(|row| row["order_id"].clone()).collect();
    assert_eq!((code, ids), (Some(0), vec![json!("o_0"), json!("o_1")]));
    let (code, out, _) = run_case(&site, &two_orders(), &[]);
    let words: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, Some(0));
    assert_eq!(words[0][..4], ["order", "line", "state", "reason"], "{out}");
    assert_eq!(words[1][..4], ["o_0", "1", "rejected", "no_click"], "{out}");
    assert_eq!(words[2][..5], ["o_1", "1", "confirmed", "last_click", "c_binh"], "{out}");
    assert_eq!(
        words[4..],
        [vec!["rejected", "1", "lines", "0", "VND"], vec!["confirmed", "1", "lines", "15000", "VND"]]
    );
}

/// Bad lines of the orders file, and what the error says.
fn bad_orders(case: &Value) -> Vec<(&'static str, String, &'static str)> {
    let order = |changes: Value| {
        let mut order = case["orders"][0].clone();
        order.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        order.to_string()
    };
    let order_line = |changes: Value| {
        let mut line = case["orders"][0]["lines"][0].clone();
        line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        line
    };
    let lines_of = |changes: Value| order(json!({"lines": [order_line(changes)]}));
    let twice = order(json!({"lines": [order_line(json!({})), order_line(json!({}))]}));
    vec![
        ("orders.jsonl", "garbage".to_owned(), "no JSON object"),
        ("orders.jsonl", "{\"order_id\":".to_owned(), "is not JSON"),
        ("orders.jsonl", without_field(&case["orders"][0], "order_id"), "missing field `order_id`"),
        ("orders.jsonl", order(json!({"updated_at_ms": "1"})), "updated_at_ms"),
        ("orders.jsonl", lines_of(json!({"quantity": 0})), "quantity is 0"),
        ("orders.jsonl", lines_of(json!({"quantity": -3})), "quantity is -3"),
        ("orders.jsonl", lines_of(json!({"value_minor": -1})), "value_minor is -1"),
        ("orders.jsonl", lines_of(json!({"returns": [{"returned_at_ms": 1, "quantity": 0}]})), "quantity is 0"),
        ("orders.jsonl", order(json!({"completed_at_ms": 1})), "completed_at_ms 1 is before paid_at_ms"),
        (
            "orders.jsonl",
            order(json!({"updated_at_ms": 1u64 << 50, "completed_at_ms": 1, "paid_at_ms": null})),
            "before paid_at_ms",
        ),
        ("orders.jsonl", twice, "line_id \"1\" stands twice"),
        ("orders.jsonl", order(json!({"click_tokens": [{"verdict": "valid"}]})), "click_tokens[0]: kind is missing"),
        ("orders.jsonl", order(json!({"click_tokens": [{}]})), "verdict is missing"),
        ("orders.jsonl", order(json!({"click_tokens": ["v1.x"]})), "--keys FILE"),
    ]
}

/// Bad lines of the other files.
fn bad_lines_of_other_files(case: &Value) -> Vec<(&'static str, String, &'static str)> {
    let link = r#"{"code":"a","url":"https://shop.example.com/","kind":"product","created_at":"2026-11-01T00:00:00Z"}"#;
    let entry =
        r#"{"product_set_id":"a","seller_id":"s","product_id":"p","valid_from_ms":1,"plan":"open","rate_bp":RATE}"#;
    vec![
        ("clicks.jsonl", "[]".to_owned(), "no JSON object"),
        ("clicks.jsonl", "{\"type\":\"click\"".to_owned(), "is not JSON"),
        ("clicks.jsonl", without_field(&case["clicks"][0], "click_id"), "click_id is missing"),
        ("clicks.jsonl", "{\"click_id\":\"1\"}".to_owned(), "missing field `type`"),
        ("clicks.jsonl", case["clicks"][0].to_string().replace("\"product\"", "\"produkt\""), "produkt"),
        ("links.jsonl", link.to_owned(), "a product link needs it"),
        ("links.jsonl", link.replace("kind", "kynd"), "unknown field `kynd`"),
        ("product-sets.jsonl", entry.replace("RATE", "10001"), "rate_bp is 10001"),
        ("product-sets.jsonl", entry.replace(",\"rate_bp\":RATE", ""), "rate_bp is missing"),
    ]
}

fn without_field(value: &Value, field: &str) -> String {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(field);
    value.to_string()
}

#[test]
fn bad_input_prints_nothing_and_names_file_and_line() {
    let site = Site::new(&[]);
    let case = two_orders();
    let args = write_case(&site, &case);
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--json"]).collect();
    for (name, bad, message) in [bad_orders(&case), bad_lines_of_other_files(&case)].concat() {
        let good = fs::read_to_string(site.path(name)).unwrap();
        site.write(name, &format!("{good}\n{bad}\n{good}"));
        let number = good.lines().count() + 2;
        let mut args = args.clone();
        for (flag, optional) in [("--links", "links.jsonl"), ("--product-sets", "product-sets.jsonl")] {
            if optional == name {
                args.extend([flag, name]);
            }
        }
        let (code, out, error) = attribute(&site, &args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{bad}: {error}");
        assert!(error.contains(&format!("{name}:{number}: ")) && error.contains(message), "{message}: {error}");
        site.write(name, &good);
    }
}

#[test]
fn a_bad_policy_prints_nothing_and_names_file_and_line() {
    let site = Site::new(&[]);
    let args = write_case(&site, &two_orders());
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--json"]).collect();
    for (policy, message) in [
        ("{\n \"scope\": \"any\",\n \"skope\": 1\n}", "policy.json:3: unknown field `skope`"),
        ("{\"scope\": \"all\"}", "policy.json:1: "),
        ("{\"confirm_days\": 22}", "policy.json:1: confirm_days is 22, payable_from_days is 21"),
        ("[]", "policy.json:1: is no JSON object"),
    ] {
        site.write("policy.json", policy);
        let (code, out, error) = attribute(&site, &args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{policy}: {error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_exits_1_and_bad_usage_64() {
    let site = Site::new(&[]);
    write_case(&site, &two_orders());
    let (code, out, error) = attribute(&site, &["--clicks", "nowhere", "--orders", "orders.jsonl"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("nowhere"), "{error}");
    for usage in [
        &["--clicks", "clicks.jsonl"][..],
        &["--orders", "orders.jsonl"],
        &["--clicks", "clicks.jsonl", "--orders", "orders.jsonl", "--as-of", "yesterday"],
        &["--clicks", "clicks.jsonl", "--orders", "orders.jsonl", "--json", "--explain", "o_1"],
        &["--compare", "clicks.jsonl"],
        &["--compare", "a", "b", "--orders", "orders.jsonl"],
        &["--sets", "x"],
    ] {
        let (code, out, error) = attribute(&site, usage);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{usage:?}: {error}");
    }
}

#[test]
fn the_explanation_of_an_order_names_every_candidate_and_why_it_lost() {
    let site = Site::new(&[]);
    let (code, out, _) = run_case(&site, &two_orders(), &["--explain", "o_1"]);
    assert_eq!(code, Some(0));
    for part in [
        "Order o_1, paid 2026-11-20 12:00:00.000Z",
        "Line 1: 1 × p_tea of seller s_1, 100000 VND",
        "c_binh earns 15000 VND: the buyer's last click before payment",
        "State confirmed: the amount is owed; it is paid from",
        "lost  ",
        "creator c_an",
        "earlier_click: a later click took its place.",
        "last_click: the last click before payment on a link that stands for the product.",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    let (code, out, _) = run_case(&site, &two_orders(), &["--explain", "o_0"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Nobody earns: the order came with no genuine token"), "{out}");
    assert!(out.contains("1 of the order's tokens are not genuine"), "{out}");
    let (code, out, error) = run_case(&site, &two_orders(), &["--explain", "o_9"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("orders.jsonl has no order \"o_9\""), "{error}");
}

#[test]
fn a_comparison_lists_the_lines_that_two_policies_decide_differently() {
    let site = Site::new(&[]);
    let mut case = two_orders();
    let first = run_case(&site, &case, &["--json"]).1;
    // Without the platform of the last click, the click before wins.
    case["clicks"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|click| click["creator_id"] == "c_binh")
        .for_each(|click| click["source"] = json!("tiktok"));
    case["policy"] = json!({"excluded_sources": ["tiktok"]});
    let second = run_case(&site, &case, &["--json"]).1;
    site.write("a", &first);
    site.write("b", &second);
    let (code, out, _) = attribute(&site, &["--compare", "a", "b"]);
    assert_eq!(code, Some(2), "{out}");
    for part in [
        "order o_1, line 1\n",
        "A: confirmed, last_click: c_binh earns 15000 VND at 15 %",
        "B: confirmed, last_click: c_an earns 10000 VND at 10 %",
        "in A the click that wins in B has: earlier_click",
        "in B the click that wins in A has: excluded_source",
        "1 of 2 lines are decided differently",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    let (code, out, _) = attribute(&site, &["--compare", "a", "a"]);
    assert_eq!((code, out.as_str()), (Some(0), "0 of 2 lines are decided differently\n"));
    site.write("b", &first.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>());
    let (code, out, _) = attribute(&site, &["--compare", "a", "b"]);
    assert_eq!(code, Some(2));
    assert!(out.contains("order o_0, line 1\n") && out.contains("B: no such line"), "{out}");
    site.write("b", &first.lines().rev().map(|line| format!("{line}\n")).collect::<String>());
    let (code, _, error) = attribute(&site, &["--compare", "a", "b"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("b:2: order \"o_0\", line \"1\" is not behind the line before it"), "{error}");
}

/// An order that is paid a day after the golden click, with these tokens.
fn order_after_golden_click(tokens: &Value) -> String {
    let paid = GOLDEN_CLICK_MS + DAY_MS;
    json!({"order_id": "o", "updated_at_ms": paid, "buyer_id": "b", "paid_at_ms": paid, "click_tokens": tokens,
        "lines": [{"line_id": "1", "seller_id": "s_311", "product_id": "p", "quantity": 1, "value_minor": 1000,
            "currency": "USD"}]})
    .to_string()
}

#[test]
fn raw_tokens_are_verified_with_the_ring_as_of_the_order() {
    let site = Site::new(&[]);
    let golden = include_str!("../fixtures/token_golden.jsonl").lines().map(|line| {
        let token: Value = serde_json::from_str(line).unwrap();
        token["token"].as_str().unwrap().to_owned()
    });
    let golden: Vec<String> = golden.collect();
    site.write("ring.json", include_str!("../fixtures/token_ring.json"));
    fs::set_permissions(site.path("ring.json"), fs::Permissions::from_mode(0o600)).unwrap();
    site.write("clicks.jsonl", "");
    site.write(
        "links.jsonl",
        concat!(
            r#"{"code":"7Kq2ZpXa","url":"https://shop.example.com/","kind":"product","creator":"c","seller":"s_311","#,
            r#""product":"p","plan":"open","rate_bp":1000,"created_at":"2026-11-01T00:00:00Z"}"#,
            "\n",
        ),
    );
    let as_of = (GOLDEN_CLICK_MS + 400 * DAY_MS).to_string();
    let args = [
        "--clicks",
        "clicks.jsonl",
        "--orders",
        "orders.jsonl",
        "--links",
        "links.jsonl",
        "--keys",
        "ring.json",
        "--as-of",
        &as_of,
        "--json",
    ];
    let landed = json!({"token": golden[2], "landed_at_ms": GOLDEN_CLICK_MS - 1000, "landed_by": "b"});
    for (tokens, clicked_at_ms) in [(json!([golden[2]]), GOLDEN_CLICK_MS), (json!([landed]), GOLDEN_CLICK_MS - 1000)] {
        site.write("orders.jsonl", &order_after_golden_click(&tokens));
        let (code, out, error) = attribute(&site, &args);
        assert_eq!(code, Some(0), "{error}");
        let row = &rows(&out)[0];
        assert_eq!((&row["creator_id"], &row["flags"]), (&json!("c"), &json!(["token_only"])), "{row}");
        assert_eq!((&row["commission_minor"], &row["clicked_at_ms"]), (&json!(100), &json!(clicked_at_ms)), "{row}");
    }
    let forged = format!("{}A", &golden[2][..golden[2].len() - 1]);
    site.write("orders.jsonl", &order_after_golden_click(&json!([forged, "nonsense"])));
    let (code, out, error) = attribute(&site, &args);
    assert_eq!(code, Some(0), "{error}");
    let row = &rows(&out)[0];
    assert_eq!((&row["reason"], &row["bad_tokens"]), (&json!("no_click"), &json!(2)), "{row}");
}
