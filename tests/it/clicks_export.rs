//! `waypost clicks export`: clicks of whole days as JSON lines and as Parquet, read back by DuckDB.

use std::{collections::HashSet, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    attribute::attribute,
    dsl::Site,
    need::needed_in_ci,
    python::{python_with, run_python},
};

/// The start of 2026-11-21.
const DAY_START_MS: u64 = 1_795_219_200_000;
const DAY_MS: u64 = 86_400_000;

/// The click of a golden event, at a time.
fn click(number: u64, at_ms: u64) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../fixtures/events/ordinary.json")).unwrap();
    event["click_id"] = json!(format!("01a1fb65-0000-7000-8000-{number:012x}"));
    event["clicked_at_ms"] = json!(at_ms);
    event["seq"] = json!(number);
    event
}

fn stub(number: u64, at_ms: u64) -> Value {
    let click = click(number, at_ms);
    json!({"type": "dead_lettered", "schema_version": 1, "click_id": click["click_id"], "clicked_at_ms": at_ms,
        "edge": "e", "lane": 0, "epoch": 1, "seq": number, "safe": 0, "reason": "too_large", "size": 9})
}

/// A site whose click files hold these events, as a server writes them.
fn site_with_events(clicks: &[Value], orphans: &[Value]) -> Site {
    let site = Site::new(&[]);
    fs::create_dir_all(site.data().join("clicks")).unwrap();
    for (name, events) in [("clicks-000001.jsonl", clicks), ("clicks.orphan-000001.jsonl", orphans)] {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        site.write(&format!("data/clicks/{name}"), &lines);
    }
    site
}

/// Runs the export of the site's click files: exit code, output, error output.
fn export(site: &Site, args: &[&str]) -> (Option<i32>, String, String) {
    let data = site.data().display().to_string();
    let output = site.command(&[&["clicks", "export", "--data-dir", &data], args].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a directory, by its name there, with its bytes.
fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => {
                    files.push((path.strip_prefix(directory).unwrap().display().to_string(), fs::read(path).unwrap()))
                }
            }
        }
    }
    files.sort();
    files
}

/// Three days: two clicks and a repeat on the first, a click and a stub on the second, an orphan click on the third.
fn site_of_three_days() -> Site {
    let mut repeat = click(1, DAY_START_MS);
    repeat["duplicate"] = json!(true);
    let mut new_field = click(3, DAY_START_MS + DAY_MS);
    new_field["field_of_a_later_version"] = json!({"a": [1]});
    let mut orphan = click(5, DAY_START_MS + 2 * DAY_MS);
    orphan["outcome"] = json!("expired");
    let first = [repeat, click(2, DAY_START_MS + DAY_MS - 1), click(1, DAY_START_MS)];
    let clicks = [&first[..], &[stub(4, DAY_START_MS + DAY_MS), new_field, click(6, DAY_START_MS - 1)]].concat();
    site_with_events(&clicks, &[orphan])
}

const RANGE: [&str; 4] = ["--from", "2026-11-21", "--to", "2026-11-22"];

#[test]
fn an_export_has_each_click_of_the_days_once_by_time() {
    let site = site_of_three_days();
    let (code, out, error) = export(&site, &RANGE);
    assert_eq!(code, Some(0), "{error}");
    let seqs: Vec<u64> = json_lines(&out).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(json_lines(&out)[0]["duplicate"], json!(false), "the record that stands is no duplicate");
    assert!(error.contains("3 records are exported, 1 repeats") && error.contains("1 stubs"), "{error}");
    let (_, all, _) = export(&site, &[&RANGE[..], &["--all-records"]].concat());
    assert_eq!(json_lines(&all).len(), 5);
    let (_, whole, _) = export(&site, &[]);
    assert_eq!(json_lines(&whole).len(), 5, "five clicks on four days");
}

#[test]
fn files_of_an_export_are_the_same_bytes_at_each_run_and_lie_by_day() {
    let site = site_of_three_days();
    for format in ["parquet", "jsonl"] {
        let out = site.path(format).display().to_string();
        let args = [&RANGE[..], &["--out", &out, "--format", format]].concat();
        assert_eq!(export(&site, &args).0, Some(0));
        let first = files_below(&site.path(format));
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
        let name = |day: u64| format!("date=2026-11-{day}/part-00000.{format}");
        assert_eq!(names, [name(21), name(22)], "and nothing is left of what was written aside");
        // In other files and in another order.
        let text = fs::read_to_string(site.path("data/clicks/clicks-000001.jsonl")).unwrap();
        let lines: Vec<&str> = text.lines().rev().collect();
        site.write("data/clicks/clicks-000001.jsonl", &(lines[..3].join("\n") + "\n"));
        site.write("data/clicks/clicks-000002.jsonl", &(lines[3..].join("\n") + "\n"));
        assert_eq!(export(&site, &args).0, Some(0));
        assert!(files_below(&site.path(format)) == first, "{format}");
    }
}

#[test]
fn an_export_that_fails_changes_no_file() {
    let site = site_of_three_days();
    let out = site.path("out").display().to_string();
    let args = [&RANGE[..], &["--out", &out]].concat();
    assert_eq!(export(&site, &args).0, Some(0));
    let before = files_below(&site.path("out"));
    // There are more clicks of these days, and a file that cannot be read to its end.
    let more: String = (7..60).map(|number| format!("{}\n", click(number, DAY_START_MS + number))).collect();
    site.write("data/clicks/clicks-000002.jsonl", &more);
    fs::create_dir(site.path("data/clicks/clicks-000003.jsonl")).unwrap();
    let (code, _, error) = export(&site, &args);
    assert!(code == Some(1) && error.contains("clicks-000003.jsonl"), "{error}");
    assert!(files_below(&site.path("out")) == before);
    let (code, _, error) = export(&site, &["--from", "2026-11-23", "--to", "2026-11-21", "--out", &out]);
    assert!(code == Some(64) && error.contains("--from"), "{error}");
    fs::remove_dir(site.path("data/clicks/clicks-000003.jsonl")).unwrap();
    // What a killed export left is removed by the next.
    fs::create_dir_all(site.path("out/.waypost-export")).unwrap();
    site.write("out/.waypost-export/2026-11-21.parquet", "half");
    let (_, printed, _) = export(&site, &args);
    assert!(printed.contains("date=2026-11-21/part-00000.parquet  55 clicks"), "{printed}");
    assert_eq!(files_below(&site.path("out")).len(), 2);
}

#[test]
fn duckdb_reads_every_field_of_an_exported_click() {
    let Some(python) = needed_in_ci("DuckDB for Python", python_with("duckdb", &["duckdb==2.0.1", "pytz==2026.6"]))
    else {
        return;
    };
    let site = site_of_three_days();
    let out = site.path("out").display().to_string();
    assert_eq!(export(&site, &["--out", &out]).0, Some(0));
    let program = "import duckdb, json, sys\n\
        duckdb.execute(\"SET TimeZone = 'UTC'\")\n\
        rows = duckdb.sql(f\"SELECT *, epoch_ms(clicked_at_ms) AS ms FROM \
        read_parquet('{sys.argv[1]}/date=*/*.parquet', hive_partitioning = true) ORDER BY seq\")\n\
        names = rows.columns\n\
        types = dict(zip(names, map(str, rows.types)))\n\
        print(json.dumps(types))\n\
        for row in rows.fetchall():\n    \
            print(json.dumps(dict(zip(names, row)), default = str))\n";
    let lines = json_lines(&run_python(Command::new(python).args(["-c", program, &out])));
    let types = &lines[0];
    for (name, expected) in [
        ("clicked_at_ms", "TIMESTAMP WITH TIME ZONE"),
        ("countable", "BOOLEAN"),
        ("lane", "INTEGER"),
        ("seq", "BIGINT"),
        ("click_id", "VARCHAR"),
        ("date", "DATE"),
    ] {
        assert_eq!(types[name], expected, "{name}");
    }
    let rows = &lines[1..];
    assert_eq!(rows.len(), 5);
    let event = click(2, DAY_START_MS + DAY_MS - 1);
    assert_eq!(rows[1]["ms"], event["clicked_at_ms"]);
    assert_eq!(rows[1]["date"], "2026-11-21");
    let columns: HashSet<&String> = types.as_object().unwrap().keys().collect();
    for (name, value) in event.as_object().unwrap() {
        assert!(columns.contains(name), "{name}");
        if !name.ends_with("_at_ms") {
            assert_eq!(&rows[1][name], value, "{name}");
        }
    }
    assert_eq!(rows[1]["sub5"], Value::Null);
    assert_eq!(rows[2]["other_fields"], r#"{"field_of_a_later_version":{"a":[1]}}"#);
}

#[test]
fn commissions_over_an_export_are_those_over_the_click_files() {
    let site = site_of_three_days();
    let token = json!({"verdict": "valid", "kind": "url", "click_id": click(2, 0)["click_id"],
        "clicked_at_ms": DAY_START_MS, "domain": "*", "code": click(2, 0)["code"], "audience_kind": "seller",
        "audience": click(2, 0)["seller_id"]});
    let order = json!({"order_id": "o", "updated_at_ms": 1, "paid_at_ms": DAY_START_MS + 2 * DAY_MS,
        "click_tokens": [token], "lines": [{"line_id": "1", "seller_id": click(2, 0)["seller_id"],
        "product_id": click(2, 0)["product_id"], "quantity": 1, "value_minor": 100_000, "currency": "VND"}]});
    site.write("orders.jsonl", &order.to_string());
    let data = site.data().display().to_string();
    let as_of = (DAY_START_MS + 60 * DAY_MS).to_string();
    let rest = ["--orders", "orders.jsonl", "--as-of", &as_of, "--json"];
    let (_, original, error) = attribute(&site, &[&["--data-dir", &*data], &rest[..]].concat());
    assert_eq!(json_lines(&original)[0]["reason"], "last_click", "{original}{error}");
    let (_, lines, _) = export(&site, &[]);
    site.write("export.jsonl", &lines);
    assert_eq!(attribute(&site, &[&["--clicks", "export.jsonl"], &rest[..]].concat()).1, original);
}
