//! Golden vectors, which `deploy/receipts/verify_receipt.py` verifies too, and what no other receipt can pass for.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::{
    canonical::Canonical,
    leaf::{ClickLeaf, LineLeaf},
    proof::{ClickProof, NotProved},
    receipt::{CountedDay, ReceiptTerms, SignedReceipt},
    signing_key::SigningKey,
};

/// The start of 2026-11-21.
const DAY_START_MS: u64 = 1_795_219_200_000;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/receipts").join(name)
}

/// A key for tests alone, which everybody knows.
fn golden_key() -> SigningKey {
    SigningKey::parse_pem(&fs::read(fixture("key.pem")).unwrap()).unwrap()
}

fn click(number: u64, code: &str, class: &str, countable: bool) -> ClickLeaf {
    ClickLeaf {
        class: class.to_owned(),
        click_id: format!("01a1fb65-{number:04x}-7000-8000-000000000000"),
        clicked_at_ms: DAY_START_MS + number,
        code: code.to_owned(),
        countable,
        countable_reason: if countable { "human" } else { "bot" }.to_owned(),
        domain: "*".to_owned(),
    }
}

fn line(order: &str, click: &ClickLeaf, commission_minor: i64) -> LineLeaf {
    LineLeaf {
        clawed_back_minor: 0,
        click_id: click.click_id.clone(),
        commission_minor,
        currency: "VND".to_owned(),
        kept_quantity: 1,
        line_id: "1".to_owned(),
        order_id: order.to_owned(),
        product_id: "p_1".to_owned(),
        quantity: 1,
        rate_bp: 1200,
        reason: "last_click".to_owned(),
        state: "confirmed".to_owned(),
        value_minor: 100_000,
    }
}

/// Seven clicks, with codes that need care in JSON, and three order lines.
fn golden_day() -> CountedDay {
    let codes = ["tea", "tea", "trà-\"đá\"", "tab\there", "\u{1f375}", "\u{7f}\u{2028}", "tea"];
    let clicks: Vec<ClickLeaf> = (0u64..)
        .zip(codes)
        .map(|(number, code)| click(number, code, if number == 4 { "bot" } else { "human" }, number != 4))
        .collect();
    let mut clawed_back = line("o_2", &clicks[6], 12_000);
    (clawed_back.clawed_back_minor, clawed_back.state) = (-12_000, "payable".to_owned());
    let lines = vec![line("o_1", &clicks[0], 12_000), line("o_3", &clicks[0], 9_007_199_254_728_991), clawed_back];
    CountedDay::new(clicks, Some(lines))
}

fn terms(issued_at_ms: u64) -> ReceiptTerms<'static> {
    ReceiptTerms {
        creator_id: "c_48213",
        day: "2026-11-21",
        as_of_ms: DAY_START_MS + 40 * 86_400_000,
        issued_at_ms,
        complete: true,
    }
}

fn lines_of(values: &[impl Canonical]) -> String {
    values.iter().map(|value| String::from_utf8(value.canonical_bytes()).unwrap() + "\n").collect()
}

/// The files of `tests/fixtures/receipts` that are made from the golden day.
fn golden_files() -> Vec<(&'static str, String)> {
    let (key, day) = (golden_key(), golden_day());
    let first = SignedReceipt::issue(terms(DAY_START_MS + 90_000_000), &CountedDay::default(), None, &key);
    let second = SignedReceipt::issue(terms(DAY_START_MS + 99_000_000), &day, Some(&first), &key);
    let proofs = day.clicks().iter().map(|click| ClickProof::prove(&day, &click.click_id, &second).unwrap());
    let proofs: String = proofs.map(|proof| serde_json::to_string(&proof).unwrap() + "\n").collect();
    let receipt = |signed: &SignedReceipt| serde_json::to_string(signed).unwrap() + "\n";
    vec![
        ("public-key.pem", key.public_key_pem()),
        ("first.jsonl", receipt(&first)),
        ("receipt.jsonl", receipt(&second) + &lines_of(day.clicks()) + &lines_of(day.lines())),
        ("proofs.jsonl", proofs),
    ]
}

#[test]
fn the_golden_receipts_have_not_changed() {
    for (name, text) in golden_files() {
        if std::env::var_os("WAYPOST_WRITE_GOLDEN").is_some() {
            fs::write(fixture(name), &text).unwrap();
        }
        assert_eq!(fs::read_to_string(fixture(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn a_correction_names_the_receipt_before_it_and_the_same_counts_are_no_correction() {
    let (key, day) = (golden_key(), golden_day());
    let first = SignedReceipt::issue(terms(1), &CountedDay::default(), None, &key);
    let second = SignedReceipt::issue(terms(2), &day, Some(&first), &key);
    assert_eq!((first.receipt.revision, second.receipt.revision), (1, 2));
    assert_eq!(second.receipt.previous, Some(first.receipt.hash_text()));
    assert_eq!(SignedReceipt::issue(terms(3), &day, Some(&second), &key), second);
    assert!(second.is_signed_by(&key));
}

#[test]
fn every_field_of_a_receipt_is_under_its_signature() {
    let (key, day) = (golden_key(), golden_day());
    let first = SignedReceipt::issue(terms(1), &CountedDay::default(), None, &key);
    let signed = SignedReceipt::issue(terms(2), &day, Some(&first), &key);
    let text = serde_json::to_value(&signed).unwrap();
    let fields = text["receipt"].as_object().unwrap();
    assert_eq!(fields.len(), 11);
    for (name, value) in fields {
        let mut changed = text.clone();
        changed["receipt"][name] = match value {
            serde_json::Value::String(text) => format!("{text}0").into(),
            serde_json::Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            serde_json::Value::Bool(flag) => (!flag).into(),
            object => {
                let mut object = object.clone();
                object["count"] = (object["count"].as_u64().unwrap() + 1).into();
                object
            }
        };
        let changed: SignedReceipt = serde_json::from_value(changed).unwrap();
        assert!(!changed.is_signed_by(&key), "{name}");
    }
}

#[test]
fn keys_stand_in_alphabetical_order_in_what_is_hashed_and_signed() {
    fn assert_sorted(value: &serde_json::Value, text: &str) {
        let mut again = Vec::new();
        write_sorted(value, &mut again);
        assert_eq!(String::from_utf8(again).unwrap(), text);
    }
    fn write_sorted(value: &serde_json::Value, out: &mut Vec<u8>) {
        match value {
            serde_json::Value::Object(object) => {
                let mut keys: Vec<&String> = object.keys().collect();
                keys.sort();
                let mut before = b'{';
                for key in keys {
                    out.push(before);
                    out.extend(serde_json::to_vec(key).unwrap());
                    out.push(b':');
                    write_sorted(&object[key], out);
                    before = b',';
                }
                out.push(b'}');
            }
            serde_json::Value::Array(values) => {
                let mut before = b'[';
                for value in values {
                    out.push(before);
                    write_sorted(value, out);
                    before = b',';
                }
                out.push(b']');
            }
            plain => out.extend(serde_json::to_vec(plain).unwrap()),
        }
    }
    let (key, day) = (golden_key(), golden_day());
    let first = SignedReceipt::issue(terms(1), &CountedDay::default(), None, &key);
    let signed = SignedReceipt::issue(terms(2), &day, Some(&first), &key);
    let texts = [signed.receipt.canonical_bytes(), day.clicks()[2].canonical_bytes(), day.lines()[0].canonical_bytes()];
    for text in texts {
        assert_sorted(&serde_json::from_slice(&text).unwrap(), str::from_utf8(&text).unwrap());
    }
}

#[test]
fn a_click_of_another_day_or_a_receipt_of_other_counts_proves_nothing() {
    let (key, day) = (golden_key(), golden_day());
    let signed = SignedReceipt::issue(terms(1), &day, None, &key);
    assert_eq!(ClickProof::prove(&day, "01a1fb65-0009-7000-8000-000000000000", &signed), Err(NotProved::NoSuchClick));
    let fewer = CountedDay::new(day.clicks()[1..].to_vec(), None);
    assert_eq!(ClickProof::prove(&fewer, &day.clicks()[1].click_id, &signed), Err(NotProved::OtherReceipt));
}

#[test]
fn a_public_key_is_as_others_write_it() {
    // RFC 8410, section 10.1.
    let private = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\n\
                  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                  -----END PUBLIC KEY-----\n";
    assert_eq!(SigningKey::parse_pem(private.as_bytes()).unwrap().public_key_pem(), public);
    assert!(SigningKey::parse_pem(public.as_bytes()).is_none());
}

#[test]
fn a_made_key_is_private_and_is_read_back() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("receipts.pem");
    let made = SigningKey::create_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SigningKey::load(&path).unwrap().public_key_pem(), made.public_key_pem());
    assert!(SigningKey::create_file(&path).is_err(), "a key is never replaced");
}

proptest! {
    #[test]
    fn every_click_of_a_day_is_proved_and_no_fact_of_it_can_be_changed(
        count in 1..40u64, at in 0..40usize, fact in 0..6usize, lines in 0..4usize,
    ) {
        let clicks: Vec<ClickLeaf> = (0..count).map(|number| click(number, "tea", "human", number % 3 > 0)).collect();
        let at = at % clicks.len();
        let earned = (0..lines).map(|order| line(&format!("o_{order}"), &clicks[order % clicks.len()], 5)).collect();
        let day = CountedDay::new(clicks, Some(earned));
        let signed = SignedReceipt::issue(terms(1), &day, None, &golden_key());
        let proof = ClickProof::prove(&day, &day.clicks()[at].click_id, &signed).unwrap();
        prop_assert!(proof.leads_to_stated_roots());
        let expected = day.lines().iter().filter(|line| line.click_id == proof.click.click_id).count();
        prop_assert_eq!(proof.lines.len(), expected);
        let mut forged = proof.clone();
        match fact {
            0 => forged.click.countable = !forged.click.countable,
            1 => forged.click.code.push('x'),
            2 => forged.click.clicked_at_ms += 1,
            3 => forged.click.class = "bot".to_owned(),
            4 => forged.index += 1,
            _ => forged.path.push("00".repeat(32)),
        }
        prop_assert!(!forged.leads_to_stated_roots());
        if let Some(line) = forged.lines.first().cloned() {
            let mut forged = proof;
            forged.lines[0].line.commission_minor = line.line.commission_minor + 1;
            prop_assert!(!forged.leads_to_stated_roots());
        }
    }
}
