//! `waypost links import`: exports of other shorteners become the records of a links file, or are refused with their
//! place.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::{api::client::ApiSite, dsl::Site};

/// The configuration of all samples.
const CONFIG: &str = r#"
    [domains."go.example.com"]
    [domains."fold.example.com"]
    case_insensitive = true
    [links]
    allowed_hosts = ["shop.example.com", "*.example.org"]
"#;

/// Each sample and its options.
const SAMPLES: [(&str, &str); 17] = [
    ("bitly.json", "--format bitly-json --map-host links.example.net=go.example.com"),
    ("bitly.csv", "--format bitly-csv --map-host links.example.net=go.example.com --zone UTC"),
    ("bitly-api.csv", "--format bitly-csv --map-host links.example.net=go.example.com"),
    ("dub.csv", "--format dub-csv --map-host links.example.net=go.example.com"),
    (
        "dub.json",
        "--format dub-json --map-host links.example.net=go.example.com --take partnerId=creator \
         --ignore-field externalId",
    ),
    ("shlink.json", "--format shlink-json --domain go.example.com --map-host s2.example.net=fold.example.com"),
    (
        "shlink-web.csv",
        "--format shlink-web-csv --map-host links.example.net=go.example.com \
         --map-host s2.example.net=fold.example.com",
    ),
    (
        "shlink-import.csv",
        "--format shlink-csv --map-host links.example.net=go.example.com --domain go.example.com \
         --created-at 2025-06-01T00:00:00Z",
    ),
    ("yourls.sql", "--format yourls-sql --domain go.example.com --zone Europe/Berlin"),
    ("yourls.csv", "--format yourls-csv --domain go.example.com --zone Europe/Berlin"),
    ("kutt.json", "--format kutt-json --domain go.example.com --map-host s2.example.net=fold.example.com"),
    ("rebrandly.json", "--format rebrandly-json --map-host links.example.net=go.example.com"),
    ("short-io.json", "--format short-io-json --map-host links.example.net=go.example.com"),
    ("pretty-links.csv", "--format pretty-links-csv --domain fold.example.com --zone Europe/Berlin"),
    ("pretty-links-old.csv", "--format pretty-links-csv --domain fold.example.com --created-at 2025-06-01T00:00:00Z"),
    (
        "thirsty-affiliates.csv",
        "--format thirsty-affiliates-csv --domain fold.example.com --created-at 2025-06-01T00:00:00Z",
    ),
    (
        "table.csv",
        "--format csv --separator ; --domain go.example.com --zone Asia/Ho_Chi_Minh --date-format %d.%m.%Y+%H:%M \
         --column code=Code --column url=Product+link --column product=Product+ID --column seller=Shop+ID \
         --column creator=Creator --column created_at=Made+on --column rate_percent=Commission \
         --defaults kind=product,plan=targeted,creator_type=affiliate",
    ),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/imports")
}

/// A site whose directory takes the output of imports.
fn site() -> Site {
    let site = Site::new(&[]);
    site.write("waypost.toml", CONFIG);
    site
}

/// Runs an import of `file`. In the options, words are parted by spaces, and `+` stands for a space.
fn import(site: &Site, file: &Path, options: &str, more: &[&str]) -> Output {
    let mut command = site.command(&["links", "import", "--config", "waypost.toml"]);
    command.args(options.split_whitespace().map(|word| word.replace('+', " ")));
    if !options.contains("--defaults") {
        command.args(["--defaults", "kind=plain"]);
    }
    command.args(more).arg(file).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes `text` beside the configuration and imports it.
fn import_text(site: &Site, text: &str, options: &str, more: &[&str]) -> Output {
    site.write("export", text);
    import(site, &site.path("export"), options, more)
}

fn described_files(section: &str) -> Vec<(String, Value)> {
    let text = fs::read_to_string(fixtures().join("faults.json")).unwrap();
    let described: Value = serde_json::from_str(&text).unwrap();
    described[section].as_object().unwrap().clone().into_iter().collect()
}

/// Row, line, column and rule of each mistake of a report.
fn mistakes(report: &str) -> Vec<(u64, u64, Option<String>, String)> {
    let lines = report.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "refused").map(|line| place_of(&line)).collect()
}

fn place_of(line: &Value) -> (u64, u64, Option<String>, String) {
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    (line["row"].as_u64().unwrap(), line["line"].as_u64().unwrap(), text("column"), text("rule").unwrap())
}

#[test]
fn every_sample_gives_exactly_its_records_on_the_standard_output_and_as_a_file() {
    let site = site();
    for (sample, options) in SAMPLES {
        let expected = fs::read_to_string(fixtures().join("expected").join(format!("{sample}.jsonl"))).unwrap();
        let file = fixtures().join("samples").join(sample);
        let output = import(&site, &file, options, &[]);
        assert_eq!(output.status.code(), Some(0), "{sample}: {}", stderr(&output));
        assert_eq!(String::from_utf8(output.stdout.clone()).unwrap(), expected, "{sample}");
        let output = import(&site, &file, options, &["--output", "out.jsonl"]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{sample}");
        assert_eq!(fs::read_to_string(site.path("out.jsonl")).unwrap(), expected, "{sample}");
    }
    let leftovers = fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers: Vec<_> = leftovers.filter(|name| name.to_string_lossy().starts_with(".waypost-import")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn every_fault_is_reported_with_its_place_and_nothing_is_written_unless_asked() {
    let site = site();
    for (name, about) in described_files("files") {
        let options = about["options"].as_str().unwrap();
        let expected: Vec<_> = about["faults"].as_array().unwrap().iter().map(place_of).collect();
        let output = import(&site, &fixtures().join(&name), options, &["--report", "report", "--output", "none"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert_eq!(mistakes(&fs::read_to_string(site.path("report")).unwrap()), expected, "{name}");
        assert!(!site.path("none").exists(), "{name}");
        for fault in about["faults"].as_array().unwrap() {
            let place = format!(":{}: row {}", fault["line"], fault["row"]);
            assert!(stderr(&output).contains(&place), "{place} is not in: {}", stderr(&output));
        }
        let output = import(&site, &fixtures().join(&name), options, &["--skip-bad"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let records = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(Some(records as u64), about["good"].as_u64(), "{name}");
    }
}

#[test]
fn a_broken_file_is_refused_as_a_whole_with_the_reason() {
    let site = site();
    let usual = described_files("files");
    for (name, about) in described_files("refused_whole") {
        let is_format = |(_, file): &&(String, Value)| file["format"] == about["format"];
        let options = match usual.iter().find(is_format) {
            Some((_, file)) => file["options"].as_str().unwrap().to_owned(),
            None => format!("--format {} --domain go.example.com", about["format"].as_str().unwrap()),
        };
        let output = import(&site, &fixtures().join(&name), &options, &["--skip-bad", "--output", "none"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        let why = about["why"].as_str().unwrap();
        assert!(stderr(&output).contains(why), "{name}: {why} is not in: {}", stderr(&output));
        assert!(!site.path("none").exists(), "{name}");
    }
}

/// The records of the catalog, by domain and code.
fn catalog_records(site: &Site, flags: &[&str]) -> Vec<String> {
    let output = site.command(&[&["links", "--config", "waypost.toml", "export"], flags].concat()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Domain and code, for the order of a catalog.
fn name_of(record: &str) -> (String, String) {
    let record: Value = serde_json::from_str(record).unwrap();
    let domain = record["domain"].as_str().unwrap_or("*").to_owned();
    let code = record["code"].as_str().unwrap();
    let folds = domain == "fold.example.com";
    (domain, if folds { code.to_lowercase() } else { code.to_owned() })
}

#[test]
fn every_sample_gives_exactly_its_records_in_the_catalog_and_a_second_import_changes_nothing() {
    for (sample, options) in SAMPLES {
        let site = site();
        let data = site.data().display().to_string();
        let to_catalog = ["--catalog", "--data-dir", &data, "--reason", "moved"];
        let expected = fs::read_to_string(fixtures().join("expected").join(format!("{sample}.jsonl"))).unwrap();
        let file = fixtures().join("samples").join(sample);
        let output = import(&site, &file, options, &[&to_catalog[..], &["--dry-run"]].concat());
        assert_eq!(output.status.code(), Some(0), "{sample}: {}", stderr(&output));
        assert_eq!(catalog_records(&site, &["--data-dir", &data]), [""; 0], "{sample}: a dry run writes nothing");
        let output = import(&site, &file, options, &to_catalog);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{sample}: {}", stderr(&output));
        let mut expected: Vec<&str> = expected.lines().collect();
        expected.sort_by_key(|record| name_of(record));
        assert_eq!(catalog_records(&site, &["--data-dir", &data]), expected, "{sample}");
        let output = import(&site, &file, options, &to_catalog);
        let unchanged = format!("0 created, 0 changed, {} unchanged, 0 refused", expected.len());
        assert!(stderr(&output).contains(&unchanged), "{sample}: {}", stderr(&output));
    }
}

#[test]
fn a_catalog_takes_all_rows_or_those_that_are_right_and_never_replaces_a_link_unasked() {
    let site = site();
    let data = site.data().display().to_string();
    let run = |export: &str, more: &[&str]| {
        import_text(&site, export, BITLY, &[&["--catalog", "--data-dir", &data], more].concat())
    };
    let row = |code: &str, path: &str| format!("b.example.net/{code},https://shop.example.com/{path},2025-05-01");
    let first = run(&bitly(&[&row("tea", "1"), &row("cup", "2")]), &[]);
    assert!(stderr(&first).contains("written to the catalog: 2 created"), "{}", stderr(&first));
    // A bad row of the file, and a row that the catalog refuses.
    let export = bitly(&[&row("new", "3"), &row("tea", "other"), "b.example.net/bad,ftp://x/,2025-05-01"]);
    for (more, text) in [(&[][..], "because rows are refused"), (&["--dry-run"], "--dry-run; 1 created")] {
        let output = run(&export, more);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
    }
    let export = bitly(&[&row("new", "3"), &row("tea", "other")]);
    let output = run(&export, &["--report", "report"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("export:3: row 2: version-needed: another link has this code"));
    assert!(stderr(&output).contains("nothing is written, because the catalog refuses 1 record"));
    let places = mistakes(&fs::read_to_string(site.path("report")).unwrap());
    assert_eq!(places, [(2, 3, None, "version-needed".to_owned())]);
    assert_eq!(catalog_records(&site, &["--data-dir", &data]).len(), 2);
    let output = run(&export, &["--skip-bad"]);
    assert!(stderr(&output).contains("1 created, 0 changed, 0 unchanged, 1 refused"), "{}", stderr(&output));
    let output = run(&export, &["--replace"]);
    assert!(stderr(&output).contains("0 created, 1 changed, 1 unchanged, 0 refused"), "{}", stderr(&output));
    let usage = run(&export, &["--output", "x"]);
    assert_eq!(usage.status.code(), Some(64), "{}", stderr(&usage));
    assert_eq!(import_text(&site, &export, BITLY, &["--replace"]).status.code(), Some(64));
}

#[test]
fn an_import_into_a_server_is_served_at_once_and_suspended_links_stay_suspended() {
    let api = ApiSite::start_of(Site::without_links_file().config(CONFIG));
    let site = &api.site;
    site.write("import.toml", CONFIG);
    site.write("key", &api.key);
    let server = format!("http://{}", site.admin_address());
    let suspended = api.request("PUT", "/v1/suspensions/host/shop.example.com").json(&json!({"reason": "fraud"}));
    assert_eq!(suspended.send().status, 403, "the key has no scope for that");
    let operator = ["api-keys", "new", "--server", &server, "--name", "o", "--scope", "suspend"];
    let made = site.command(&operator).env("WAYPOST_API_KEY", &api.key).output().unwrap();
    let operator = format!("Bearer {}", String::from_utf8(made.stdout).unwrap().trim());
    assert_eq!(suspended.authorization(Some(&operator)).send().status, 201);
    let row = |at: usize| format!("b.example.net/c{at},https://shop.example.com/{at},2025-05-01");
    let rows: Vec<String> = (0..2_345).map(row).collect();
    let export = bitly(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    site.write("export", &export);
    let mut command = site.command(&["links", "import", "--config", "import.toml", "--defaults", "kind=plain"]);
    command.args(BITLY.split(' ')).args(["--server", &server, "--key-file", "key", "export"]);
    let output = command.output().unwrap();
    assert!(stderr(&output).contains("written to the catalog: 2345 created"), "{}", stderr(&output));
    let ask = |host: &str| site.send(&format!("GET /c7 HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!(ask("go.example.com"), 410, "its host is suspended");
    let end = api.request("DELETE", "/v1/suspensions/host/shop.example.com").authorization(Some(&operator)).send();
    assert_eq!((end.status, ask("go.example.com")), (204, 302));
    let history = api.get_json("/v1/links/go.example.com/c2344/history");
    let first = api.get_json("/v1/links/go.example.com/c0/history");
    assert_eq!(history["items"][0]["act"], first["items"][0]["act"], "all rows are one act");
}

#[test]
fn an_imported_file_is_a_links_file_that_is_served() {
    let site = Site::new(&[]).config(CONFIG);
    let (sample, options) = SAMPLES[0];
    let output = import(&site, &fixtures().join("samples").join(sample), options, &["--output", "links.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let site = site.start();
    let answer = site.send("GET /Spring-25 HTTP/1.1\r\nHost: go.example.com\r\n\r\n");
    assert_eq!(answer.status, 302);
    assert!(answer.header("location").unwrap().starts_with("https://shop.example.com/view/product/1729384756"));
}

#[test]
fn options_that_do_not_fit_are_all_named_and_exit_with_64() {
    let site = site();
    let output = import_text(
        &site,
        "keyword,url,timestamp\n",
        "--format yourls-csv --domain other.example --map-host a.example=b.example --drop geo --defaults color=red",
        &[],
    );
    assert_eq!(output.status.code(), Some(64));
    for expected in [
        "--domain \"other.example\" is not configured; configured are",
        "--map-host \"b.example\" is not configured",
        "--zone is needed",
        "--drop \"geo\" is no feature of yourls-csv",
        "--defaults \"color\" is no field with a default",
        "--defaults needs kind=",
    ] {
        assert!(stderr(&output).contains(expected), "{expected} is not in: {}", stderr(&output));
    }
    let output = import_text(&site, "", "--format other-csv", &[]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
}

#[test]
fn a_row_names_the_mistakes_of_all_its_columns() {
    let site = site();
    let export = bitly(&["b.example.net/a.b,ftp://shop.example.com/,03/04/2025", "b.example.net/a,,2099-01-01", ",,"]);
    let output = import_text(&site, &export, BITLY, &["--report", "report"]);
    assert_eq!(output.status.code(), Some(2));
    let found = mistakes(&fs::read_to_string(site.path("report")).unwrap());
    let found: Vec<String> = found.into_iter().map(|(row, .., rule)| format!("{row} {rule}")).collect();
    assert_eq!(
        found,
        ["1 date-ambiguous", "1 code-character", "2 url-empty", "2 date-future", "3 url-empty", "3 code-empty"]
    );
}

/// A table of Bitly with these rows.
fn bitly(rows: &[&str]) -> String {
    format!("Bitlink,Long URL,Created\n{}\n", rows.join("\n"))
}

const BITLY: &str = "--format bitly-csv --zone Europe/Berlin --map-host b.example.net=go.example.com";

#[test]
fn braces_are_text_unless_they_are_said_to_be_placeholders() {
    let site = site();
    let export = bitly(&["b.example.net/a,https://shop.example.com/?q={click_id},2025-05-01 12:00:00"]);
    let output = import_text(&site, &export, BITLY, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("?q=%7Bclick_id%7D"), "{}", stderr(&output));
    assert!(stderr(&output).contains("note: braces-escaped 1, first "), "{}", stderr(&output));
    let output = import_text(&site, &export, BITLY, &["--placeholders", "keep"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("?q={click_id}"), "{}", stderr(&output));
}

#[test]
fn html_entities_are_refused_or_decoded() {
    let site = site();
    let export = bitly(&["b.example.net/a,https://shop.example.com/?a=1&#038;b=2,2025-05-01 12:00:00"]);
    let output = import_text(&site, &export, BITLY, &[]);
    assert!(stderr(&output).contains("column \"Long URL\": url-entity: holds &#038;"), "{}", stderr(&output));
    let output = import_text(&site, &export, BITLY, &["--html-entities", "decode"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("?a=1&b=2"), "{}", stderr(&output));
}

#[test]
fn an_hour_that_the_clock_skips_is_refused_and_one_that_it_repeats_is_noted() {
    let site = site();
    let row = |code: &str, time: &str| format!("b.example.net/{code},https://shop.example.com/,{time}");
    let export = bitly(&[&row("a", "2025-03-30 02:30:00"), &row("b", "2025-10-26 02:30:00")]);
    let output = import_text(&site, &export, BITLY, &["--skip-bad"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("2025-10-26T00:30:00Z"), "{}", stderr(&output));
    assert!(stderr(&output).contains("is a time that the clock of Europe/Berlin skipped"), "{}", stderr(&output));
    assert!(stderr(&output).contains("note: local-time-twice 1"), "{}", stderr(&output));
}

#[test]
fn a_feature_that_waypost_lacks_refuses_the_row_unless_it_is_dropped() {
    let site = site();
    let export = r#"[{"domain":"b.example.net","key":"a","url":"https://shop.example.com/","password":"x",
        "geo":{"VN":"https://shop.example.com/vn"},"createdAt":"2025-05-01T10:00:00Z"}]"#;
    let options = "--format dub-json --map-host b.example.net=go.example.com";
    let output = import_text(&site, export, options, &["--drop", "password"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("column \"geo\": unsupported") && !said.contains("column \"password\": unsupported"),
        "{said}"
    );
    let output = import_text(&site, export, options, &["--drop", "password", "--drop", "geo"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("note: feature-dropped 2"), "{}", stderr(&output));
}

#[test]
fn links_that_earn_arrive_ended_by_their_old_date_and_start_anew_with_a_new_one() {
    let site = site();
    let options = "--format bitly-csv --zone UTC --map-host b.example.net=go.example.com \
                   --defaults kind=product,product=1,seller=s_1,plan=open,rate_bp=1000";
    let export = bitly(&["b.example.net/a,https://shop.example.com/,2025-05-01 12:00:00"]);
    let output = import_text(&site, &export, options, &["--dry-run"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert!(stderr(&output).contains("1 record of a link that has ended"), "{}", stderr(&output));
    let output = import_text(&site, &export, options, &["--dry-run", "--created-at", "now"]);
    assert!(!stderr(&output).contains("that has ended"), "{}", stderr(&output));
    assert!(stderr(&output).contains("created_at of every record is the one of --created-at"), "{}", stderr(&output));
}

#[test]
fn a_prefix_is_cut_off_and_unknown_columns_are_left_out_by_name() {
    let site = site();
    let export = "Destination URL,Slug,Color\nhttps://shop.example.com/,recommends/tea,red\n";
    let options = "--format thirsty-affiliates-csv --domain go.example.com --created-at now";
    let output = import_text(&site, export, options, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("column \"Color\" is unknown; --ignore-column leaves it out"));
    let options = format!("{options} --ignore-column Color --strip-prefix recommends/");
    let output = import_text(&site, export, &options, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(r#"{"code":"tea","#), "{}", stderr(&output));
}

#[test]
fn all_pages_of_a_list_are_one_import() {
    let site = site();
    let page = |code: &str| {
        format!(
            r#"{{"total":2,"limit":1,"skip":0,"data":[{{"address":"{code}","target":"https://shop.example.com/",
            "created_at":"2025-05-01T10:00:00Z"}}]}}"#
        )
    };
    site.write("page-1", &page("a"));
    let options = "--format kutt-json --domain go.example.com";
    let output = import_text(&site, &page("b"), options, &[]);
    assert!(stderr(&output).contains("holds 1 of 2 links; give every page or --allow-partial"), "{}", stderr(&output));
    let output = import_text(&site, &page("b"), options, &["page-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    let output = import_text(&site, &page("a"), options, &["page-1"]);
    assert!(
        stderr(&output).contains("\"address\": code-twice: \"a\" stands on row 1 of file 1 already"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_dump_without_a_list_of_columns_has_those_of_its_table() {
    let site = site();
    let dump = "CREATE TABLE `db`.`my_url` (`url` text, `keyword` varchar(100) DEFAULT 'a,(b', `timestamp` timestamp,
                 KEY `k` (`url`));
\
                insert ignore into `db`.`my_url` values ('https://shop.example.com/','a','2025-05-01 12:00:00');\n";
    let options = "--format yourls-sql --domain go.example.com --zone UTC";
    let output = import_text(&site, dump, options, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""code":"a","url":"https://shop.example.com/""#));
    let output = import_text(&site, dump, options, &["--table", "other"]);
    assert!(stderr(&output).contains("no INSERT into a table other; --table names another"), "{}", stderr(&output));
}

#[test]
fn a_title_of_two_lines_and_a_quote_inside_a_field_are_data() {
    let site = site();
    let export = "Bitlink,Long URL,Title,Created\r\n\r\n\
                  b.example.net/a,https://shop.example.com/,\"two\r\n\"\"lines\"\"\",2025-05-01\r\n\
                  b.example.net/b,https://shop.example.com/,5\" pan,2025-05-01";
    let output = import_text(&site, export, BITLY, &["--report", "report"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = String::from_utf8(output.stdout).unwrap();
    assert!(records.contains(r#""title":"two\r\n\"lines\"""#) && records.contains(r#""title":"5\" pan""#), "{records}");
}
