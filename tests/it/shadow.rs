//! `waypost shadow`: an old access log, answered without a server.

use std::process::Output;

use serde_json::Value;

use crate::dsl::{Site, link};

const CONFIG: &str = include_str!("../fixtures/routes/routes.toml");
const HOST: &str = "tune.example.com";

fn link_to(code: &str, url: &str) -> String {
    link(code)
        .replacen('{', &format!(r#"{{"domain":"{HOST}","#), 1)
        .replace(&format!("https://shop.example.com/view/{code}?creator=c_1"), url)
}

fn site() -> Site {
    let links = [
        link_to("1-2", "https://shop.example.com/view/1?creator=c_1"),
        link_to("3-4", "https://shop.example.com/view/3?click={click_id}&s={sub1}"),
        link_to("5-6", "https://shop.example.com/view/5").replace(r#""test":true"#, r#""test":true,"enabled":false"#),
    ];
    Site::new(&links).config(CONFIG)
}

fn shadow(site: &Site, log: &str, args: &[&str]) -> (Option<i32>, String, String) {
    site.write("access.log", log);
    let all = [&["shadow", "--log", "access.log", "--links", "links.jsonl", "--config", "waypost.toml"], args].concat();
    let Output { status, stdout, stderr } = site.command(&all).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A line of the combined format with the host in front.
fn line(target: &str, status: u16, location: Option<&str>) -> String {
    let location = location.map_or(String::new(), |location| format!(" \"{location}\""));
    format!(
        "{HOST}:443 192.0.2.7 - - [29/Nov/2026:10:00:00 +0000] \"GET {target} HTTP/1.1\" {status} 0 \"-\" \"-\"\
         {location}\n"
    )
}

#[test]
fn a_log_that_leads_where_it_led_before_is_no_difference() {
    let log = [
        line("/aff_c?offer_id=1&aff_id=2", 302, None),
        line("/aff_c?offer_id=1&aff_id=2", 302, Some("https://shop.example.com/view/1?creator=c_1")),
        line("/aff_c?aff_sub=reel&offer_id=3&aff_id=4", 302, Some("https://shop.example.com/view/3?s=reel&click=77")),
        line("/1-2", 302, None),
        line("/robots.txt", 200, None),
        line("/aff_c?offer_id=9", 404, None),
        line("/aff_c", 302, None).replace("GET", "POST"),
        "\n".to_owned(),
    ];
    let (code, out, error) = shadow(&site(), &log.concat(), &[]);
    assert_eq!(code, Some(0), "{out}{error}");
    let counts: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 6] = [
        &["2", "same"],
        &["2", "resolves"],
        &["1", "failed_before"],
        &["1", "other_method"],
        &["1", "fixed_path"],
        &["7", "requests"],
    ];
    assert_eq!(counts, expected, "{out}");
}

#[test]
fn every_request_that_would_lead_elsewhere_is_listed_with_its_line_and_why() {
    let log = [
        (line("/aff_c?offer_id=1&aff_id=2", 302, Some("https://other.example.com/view/1?creator=c_1")), "other_host"),
        (line("/aff_c?offer_id=1&aff_id=2", 302, Some("https://shop.example.com/view/2?creator=c_1")), "other_path"),
        (line("/aff_c?offer_id=1&aff_id=2", 302, Some("https://shop.example.com/view/1?creator=c_2")), "other_query"),
        (line("/aff_c?offer_id=7&aff_id=8", 302, None), "no_link"),
        (line("/aff_c?offer_id=5&aff_id=6", 302, None), "not_live"),
        (line("/aff_x?offer_id=5&aff_id=6", 302, None), "unknown"),
        (line("/aff_c?offer_id=5", 302, None), "incomplete"),
        (line("/aff_c?offer_id=5&offer_id=6&aff_id=6", 302, None), "ambiguous"),
        (line("/aff_c?offer_id=1-2&aff_id=6", 302, None), "joiner"),
        (line("/aff_c?offer_id=1.2&aff_id=6", 302, None), "character"),
        (line(&format!("/aff_c?offer_id={}&aff_id=6", "1".repeat(63)), 302, None), "long"),
        (line("/", 302, Some("https://shop.example.com/")), "page"),
        ("not a line of a log\n".to_owned(), "unreadable"),
    ];
    let text: String = log.iter().map(|(line, _)| line.as_str()).collect();
    let (code, out, error) = shadow(&site(), &text, &["--json"]);
    assert_eq!(code, Some(2), "{out}{error}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts = lines.pop().unwrap();
    assert_eq!(counts["requests"], 13, "{out}");
    for (number, (found, (_, why))) in (1..).zip(lines.iter().zip(&log)) {
        assert_eq!((&found["line"], &found["result"]), (&Value::from(number), &Value::from(*why)), "{found}");
        assert_eq!(counts["counts"][why], 1, "{counts}");
    }
    assert_eq!(lines.len(), log.len());
    assert_eq!((&lines[3]["code"], &lines[3]["route"]), (&Value::from("7-8"), &Value::from("tune")));
    assert_eq!(lines[0]["new_destination"], "https://shop.example.com/view/1?creator=c_1&wp={click_token}");
    let (_, text_out, _) = shadow(&site(), &text, &[]);
    assert!(text_out.contains("       4  no_link      tune.example.com/aff_c?offer_id=7&aff_id=8\n"), "{text_out}");
}

#[test]
fn a_parameter_of_the_old_tracker_can_be_left_out_and_a_host_can_be_given() {
    let old = "https://shop.example.com/view/1?creator=c_1&transaction=77";
    let log = line("/aff_c?offer_id=1&aff_id=2", 302, Some(old)).replace(&format!("{HOST}:443 "), "");
    assert_eq!(shadow(&site(), &log, &["--host", HOST]).0, Some(2));
    assert_eq!(shadow(&site(), &log, &["--host", HOST, "--ignore-parameter", "transaction"]).0, Some(0));
}

#[test]
fn a_log_of_one_host_needs_no_host_and_lines_of_json_are_read() {
    let config = "[[routes]]\ndomain = \"old.example.com\"\nname = \"r\"\npath = \"/c/{a}\"\ncode = \"{path:a}\"\n";
    let site = Site::new(&[link("x").replacen('{', r#"{"domain":"old.example.com","#, 1)]).config(config);
    let log = "192.0.2.7 - - [29/Nov/2026:10:00:00 +0000] \"GET /c/x HTTP/1.1\" 302 5\n\
               {\"host\":\"old.example.com\",\"request\":\"GET /c/x HTTP/1.1\",\"status\":302}\n";
    let (code, out, _) = shadow(&site, log, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("2  resolves"), "{out}");
}

#[test]
fn a_log_that_cannot_be_read_is_a_failure_and_bad_usage_is_64() {
    let site = site();
    let (code, _, error) = shadow(&site, "one\ntwo\n", &[]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("access.log: no line is in a known format"), "{error}");
    let missing = site.command(&["shadow", "--log", "nowhere", "--links", "links.jsonl"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let usage = site.command(&["shadow", "--links", "links.jsonl"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(64));
    assert_eq!(shadow(&site, "", &[]).0, Some(0));
}
