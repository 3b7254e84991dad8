//! `waypost receipts`: signed counts of a creator's day, verified by the program of `deploy/receipts`.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    clock::{Clock, HOUR},
    dsl::{Site, TIMEOUT, link},
    kafka::{
        broker::{Broker, Kind},
        site::{send_clicks, site_with_own_lanes_topic, wait_until_delivered},
    },
    need::needed_in_ci,
    python::{python_with, run_python},
};

/// Damages a proof.
type Change = fn(&mut Value);

const DAY_MS: i64 = 24 * HOUR;
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/receipts");

/// `deploy/receipts/verify_receipt.py`, with the package that it needs.
fn verifier() -> Option<Command> {
    let python = python_with("cryptography", &["cryptography==48.0.0"]);
    let mut command = Command::new(needed_in_ci("cryptography for Python", python)?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/receipts/verify_receipt.py"));
    Some(command)
}

fn verify(site: &Site, file: &str, text: &str) -> String {
    site.write(file, text);
    let Some(mut command) = verifier() else { return String::new() };
    run_python(command.args(["--key", "public.pem", file]).current_dir(site.path("")))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(site: &Site, args: &[&str]) -> Output {
    site.command(args).output().unwrap()
}

/// Runs a command that must succeed, and gives its standard output.
fn run_and_get_stdout(site: &Site, args: &[&str]) -> String {
    let output = run(site, args);
    assert!(output.status.success(), "{args:?}: {}", text_of(&output.stderr));
    text_of(&output.stdout)
}

/// Makes a key in `key.pem`, and writes its public key to `public.pem`.
fn make_key(site: &Site) {
    let public = run_and_get_stdout(site, &["keys", "new-receipt-key", "--out", "key.pem"]);
    assert_eq!(run_and_get_stdout(site, &["keys", "receipt-public-key", "key.pem"]), public);
    site.write("public.pem", &public);
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_program_of_others_verifies_the_golden_receipts_and_refuses_each_damaged_one() {
    let Some(mut command) = verifier() else { return };
    let golden = |name: &str| format!("{FIXTURES}/{name}");
    let key = golden("public-key.pem");
    let files = [golden("first.jsonl"), golden("receipt.jsonl"), golden("proofs.jsonl")];
    let said = run_python(command.args(["--key", &key]).args(&files));
    for expected in [
        "creator c_48213, 2026-11-21, revision 1: 0 clicks, 0 count; the signature is genuine",
        "creator c_48213, 2026-11-21, revision 2: 7 clicks, 6 count; the signature is genuine",
        "counts and roots follow from its 10 leaves",
        "it earned: {\"clawed_back_minor\":-12000",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(said.matches("is counted").count(), 7);
    let directory = tempfile::tempdir().unwrap();
    let refuse = |what: &str, text: &str| {
        let path = directory.path().join("damaged.jsonl");
        fs::write(&path, text).unwrap();
        let output = verifier().unwrap().args(["--key", &key]).arg(&path).output().unwrap();
        assert!(!output.status.success(), "{what}: {}", text_of(&output.stdout));
        assert!(text_of(&output.stderr).contains("NOT VERIFIED"), "{what}: {}", text_of(&output.stderr));
    };
    let receipt = fs::read_to_string(golden("receipt.jsonl")).unwrap();
    let mut lines: Vec<&str> = receipt.lines().collect();
    refuse("a count", &receipt.replacen("\"countable\":6", "\"countable\":7", 1));
    refuse("a leaf", &receipt.replace("\"click_id\":\"01a1fb65-0003", "\"click_id\":\"01a1fb65-0013"));
    refuse("an amount of a line", &receipt.replace("9007199254728991", "9007199254728990"));
    lines.remove(3);
    refuse("a leaf that is absent", &lines.join("\n"));
    for (number, proof) in json_lines(&fs::read_to_string(golden("proofs.jsonl")).unwrap()).into_iter().enumerate() {
        let changes: [(&str, Change); 5] = [
            ("countable", |proof| proof["click"]["countable"] = json!(!proof["click"]["countable"].as_bool().unwrap())),
            ("index", |proof| proof["index"] = json!((proof["index"].as_u64().unwrap() + 1) % 7)),
            ("path", |proof| proof["path"][0] = json!("0".repeat(64))),
            ("shorter path", |proof| drop(proof["path"].as_array_mut().unwrap().pop())),
            ("root", |proof| proof["receipt"]["receipt"]["clicks"]["root"] = json!("0".repeat(64))),
        ];
        for (what, change) in changes {
            let mut changed = proof.clone();
            change(&mut changed);
            refuse(&format!("{what} of proof {number}"), &changed.to_string());
        }
    }
}

#[test]
fn a_creator_gets_counts_and_proofs_from_click_files_that_others_can_verify() {
    let site = Site::new(&[link("tea"), link("cup").replace("c_1", "c_2")]).start();
    make_key(&site);
    send_clicks_on(&site, "tea", 0..5);
    send_clicks_on(&site, "cup", 5..6);
    let events = site.wait_for_events("clicks", 6);
    let data = site.data().display().to_string();
    let day = day_of(&events[0]);
    let base = ["receipts", "--data-dir", &data, "--key", "key.pem", "--day", &day];
    let all = json_lines(&run_and_get_stdout(&site, &[&base[..], &["--json"]].concat()));
    let creators: Vec<&Value> = all.iter().map(|signed| &signed["receipt"]["creator_id"]).collect();
    assert_eq!(creators, ["c_1", "c_2"]);
    let of_one = [&base[..], &["--creator", "c_1", "--json", "--leaves"]].concat();
    let issued = run_and_get_stdout(&site, &of_one);
    let signed = &json_lines(&issued)[0];
    let clicks = &signed["receipt"]["clicks"];
    assert_eq!((&clicks["count"], &clicks["countable"]), (&json!(5), &json!(0)), "test links never count");
    assert_eq!(
        clicks["groups"],
        json!([{"class": "human", "clicks": 5, "code": "tea", "countable": false, "domain": "*"}])
    );
    assert_eq!(signed["receipt"]["complete"], json!(false), "click files prove nothing");
    let said = verify(&site, "receipt.jsonl", &issued);
    assert!(said.is_empty() || said.contains("follow from its 5 leaves"), "{said}");
    // A table for a person.
    let table = run_and_get_stdout(&site, &[&base[..], &["--creator", "c_1"]].concat());
    assert!(table.contains("creator c_1") && table.contains("does not count"), "{table}");
    // The proof of one click, by its id and by nobody else's receipt.
    let id = events[3]["click_id"].as_str().unwrap();
    let prove = |id: &str| run(&site, &["receipts", "prove", id, "--data-dir", &data, "--receipt", "receipt.jsonl"]);
    let proof = text_of(&prove(id).stdout);
    assert_eq!(json_lines(&proof)[0]["click"]["click_id"], id);
    let said = verify(&site, "proof.jsonl", &proof);
    assert!(said.is_empty() || said.contains(&format!("click {id} is counted")), "{said}");
    let other = prove(events[5]["click_id"].as_str().unwrap());
    assert!(text_of(&other.stderr).contains("creator c_2 has no receipt"), "{}", text_of(&other.stderr));
    // A click more, and the receipt does not state the day any longer.
    send_clicks_on(&site, "tea", 6..7);
    site.wait_for_events("clicks", 7);
    assert!(text_of(&prove(id).stderr).contains("states other counts"));
    let corrected = [&of_one[..6], &of_one[6..], &["--previous", "receipt.jsonl"]].concat();
    let corrected = json_lines(&run_and_get_stdout(&site, &corrected));
    assert_eq!((&corrected[0]["receipt"]["revision"], corrected.len()), (&json!(2), 7));
    // The issued receipt, as it was, if nothing has changed.
    site.write("corrected.jsonl", &format!("{}\n", corrected[0]));
    let again = [&of_one[..], &["--previous", "corrected.jsonl"]].concat();
    assert_eq!(json_lines(&run_and_get_stdout(&site, &again))[0], corrected[0]);
}

fn send_clicks_on(site: &Site, code: &str, numbers: std::ops::Range<u64>) {
    let mut wire = site.connect();
    for number in numbers {
        assert_eq!(wire.send(&crate::dsl::numbered_tap(code, number)).status, 302);
    }
}

fn day_of(event: &Value) -> String {
    let at = jiff::Timestamp::from_millisecond(event["clicked_at_ms"].as_i64().unwrap()).unwrap();
    at.to_string()[..10].to_owned()
}

#[test]
fn receipts_are_published_once_the_topics_prove_that_the_day_is_complete() {
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let now = jiff::Timestamp::now().as_millisecond();
    let midnight = now / DAY_MS * DAY_MS;
    // Ten minutes before the midnight of today, so that the day ends when the test says so.
    let Some(clock) = Clock::ahead_by(midnight - 600_000 - now) else { return };
    broker.create_click_topics("clicks", 2, &[]);
    let address = broker.address();
    let site = site_with_own_lanes_topic(&address, "clicks").env("WAYPOST__EDGE__ID", "edge-1");
    let created = jiff::Timestamp::from_millisecond(midnight - DAY_MS).unwrap();
    let paid = link("live").replace(r#""test":true"#, &format!(r#""created_at":"{created}""#));
    site.write("links.jsonl", &(paid + "\n"));
    let mut site = clock.on(site).start();
    make_key(&site);
    let setup =
        ["kafka", "setup", "--kafka", &address, "--replication", "1", "--receipts-topic", "receipts", "--apply"];
    run_and_get_stdout(&site, &setup);
    send_clicks(&site, 0..20);
    wait_until_delivered(&site, "clicks", 20);
    let events: Vec<Value> = broker.read(&["clicks"], 20, TIMEOUT).iter().map(|record| record.json()).collect();
    let day = day_of(&events[0]);
    let token = json!({"verdict": "valid", "kind": "url", "click_id": events[7]["click_id"],
        "clicked_at_ms": events[7]["clicked_at_ms"], "domain": "*", "code": "live", "audience_kind": "seller",
        "audience": "s_1"});
    let order = json!({"order_id": "o_1", "updated_at_ms": 1, "paid_at_ms": events[7]["clicked_at_ms"],
        "click_tokens": [token], "lines": [{"line_id": "1", "seller_id": "s_1", "product_id": "p_1", "quantity": 1,
        "value_minor": 100_000, "currency": "VND"}]});
    site.write("orders.jsonl", &order.to_string());
    let publish = [
        "receipts",
        "--kafka",
        &address,
        "--key",
        "key.pem",
        "--day",
        &day,
        "--creator",
        "c_1",
        "--json",
        "--orders",
        "orders.jsonl",
        "--publish",
        "--edges",
        "edge-1",
    ];
    // Before midnight; then after it, before the edge has said that it is past the day.
    let refused = text_of(&run(&site, &publish).stderr);
    assert!(refused.contains("is not over"), "{refused}");
    site.kill();
    clock.set(midnight + 60_000 - now);
    let refused = text_of(&run(&site, &publish).stderr);
    assert!(refused.contains("is not complete") && refused.contains("edge edge-1 topic clicks lane"), "{refused}");
    site.restart();
    site.stop();
    let issued = run_and_get_stdout(&site, &publish);
    let signed = json_lines(&issued)[0].clone();
    let receipt = &signed["receipt"];
    assert_eq!((&receipt["revision"], &receipt["complete"]), (&json!(1), &json!(true)));
    assert_eq!((&receipt["clicks"]["count"], &receipt["clicks"]["countable"]), (&json!(20), &json!(20)));
    assert_eq!(receipt["lines"]["totals"][0]["commission_minor"], json!(12_000));
    // It stands on the topic, and the same counts are not published twice.
    let record = &broker.read(&["receipts"], 1, TIMEOUT)[0];
    assert_eq!((record.json(), record.key.as_deref()), (signed.clone(), Some(&*format!("c_1/{day}"))));
    assert_eq!(json_lines(&run_and_get_stdout(&site, &publish))[0], signed);
    // The proof of a click, with the line that it earned.
    let id = events[7]["click_id"].as_str().unwrap();
    let prove = ["receipts", "prove", id, "--kafka", &address, "--orders", "orders.jsonl"];
    let proof = run_and_get_stdout(&site, &prove);
    assert_eq!(json_lines(&proof)[0]["lines"][0]["line"]["order_id"], "o_1");
    let said = verify(&site, "proof.jsonl", &(issued + &proof));
    assert!(said.is_empty() || said.contains("it earned"), "{said}");
    // Without its orders the receipt is another one: a correction, that names the one before.
    let without: Vec<&str> = publish.into_iter().filter(|arg| !arg.contains("orders")).collect();
    let corrected = json_lines(&run_and_get_stdout(&site, &without))[0].clone();
    assert_eq!(corrected["receipt"]["revision"], json!(2));
    assert!(corrected["receipt"]["previous"].as_str().is_some_and(|hash| hash.len() == 64));
}
