mod next_versions;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::{
    links::{
        LinkState, Table,
        batch::BatchRules,
        destination::policy::DestinationPolicy,
        domains::{self, Domains},
        rules::ShrinkViolation,
        table::CODE_RESERVATION_MS,
    },
    model::link::LinkFacts,
};

const NOW: u64 = 1_793_600_000_000;

fn line(code: &str, more: &str) -> String {
    let rest = r#""kind":"plain","created_at":"2026-11-01T00:00:00Z""#;
    format!(r#"{{"code":"{code}","url":"https://shop.example.com/p/1",{rest}{more}}}"#)
}

/// A directory with one links file, and what it is loaded with.
struct LoadFixture {
    dir: tempfile::TempDir,
    policy: DestinationPolicy,
    domains: Domains,
    threads: usize,
    allow_shrink: bool,
    latest_version: std::sync::atomic::AtomicU64,
    now_ms: u64,
}

impl LoadFixture {
    fn new() -> LoadFixture {
        let config: domains::Config =
            toml::from_str("[\"go.example.com\"]\n[\"fold.example.com\"]\ncase_insensitive = true").unwrap();
        LoadFixture {
            dir: tempfile::tempdir().unwrap(),
            policy: DestinationPolicy::default(),
            domains: Domains::new(&config).unwrap(),
            threads: 2,
            allow_shrink: false,
            latest_version: Default::default(),
            now_ms: NOW,
        }
    }

    fn rules<'a>(&'a self, served: Option<&'a Table>) -> BatchRules<'a> {
        let LoadFixture { policy, domains, now_ms, allow_shrink, .. } = self;
        BatchRules {
            policy,
            domains,
            now_ms: *now_ms,
            served,
            latest_version: &self.latest_version,
            allow_shrink: *allow_shrink,
        }
    }

    fn load(&self, text: &str, served: Option<&Table>) -> Result<LoadedFile, LoadError> {
        let path = self.dir.path().join("links.jsonl");
        fs::write(&path, text).unwrap();
        load_and_validate_file(&LoadRequest {
            path: &path,
            rules: self.rules(served),
            threads: self.threads,
            progress: &|_| {},
        })
    }

    fn errors_of(&self, text: &str, served: Option<&Table>) -> LineErrors {
        match self.load(text, served) {
            Err(LoadError::Lines(errors)) => errors,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the file was loaded"),
        }
    }
}

fn listed(errors: &LineErrors) -> Vec<(u64, u64, &str)> {
    errors.listed.iter().map(|error| (error.line, error.column, error.message.as_str())).collect()
}

#[test]
fn links_are_found_by_domain_and_code() {
    let fixture = LoadFixture::new();
    let text = [
        line("a", ""),
        String::new(),
        line("A", ""),
        line("a", r#","domain":"GO.example.com""#) + "\r",
        line("MiXed", r#","domain":"fold.example.com""#),
    ];
    let loaded = fixture.load(&text.join("\n"), None).unwrap();
    assert_eq!((loaded.links, loaded.table.len()), (4, 4));
    let default = fixture.domains.find_serving_host(b"x").unwrap().id;
    let fold = fixture.domains.find_serving_host(b"fold.example.com").unwrap().id;
    for (domain, code, found) in [
        (default, "a", true),
        (default, "A", true),
        (default, "b", false),
        (default, "", false),
        (fixture.domains.find_serving_host(b"go.example.com").unwrap().id, "a", true),
        (fixture.domains.find_serving_host(b"go.example.com").unwrap().id, "A", false),
        (fold, "mixed", true),
        (fold, "mIXED", true),
        (default, "mixed", false),
    ] {
        assert_eq!(loaded.table.get(domain, code.as_bytes()).is_some(), found, "{code}");
    }
    assert!(loaded.table.get(default, &[b'a'; 65]).is_none());
    assert_eq!(loaded.table.get(fold, b"MIXED").unwrap().code(), b"mixed");
}

#[test]
fn every_error_is_named_by_line_and_column_and_nothing_is_loaded() {
    let fixture = LoadFixture::new();
    let text = [
        line("a", ""),
        line("b", r#","kynd":1"#),
        line("c c", ""),
        line("d", r#","domain":"other.example""#),
        "{".to_owned(),
        line("e", r#","fallback_url":"/x""#),
        line("f", "").replace("https://shop", "ftp://shop"),
    ];
    let errors = fixture.errors_of(&text.join("\n"), None);
    let listed = listed(&errors);
    assert_eq!(errors.total, 6, "{errors}");
    assert_eq!(listed[0].0, 2);
    assert!(listed[0].2.starts_with("unknown field `kynd`, expected one of `code`"), "{}", listed[0].2);
    assert_eq!((listed[1].0, listed[1].1), (3, 2));
    assert!(listed[1].2.starts_with("code: character 2"));
    assert!(listed[2].2.contains("configured are *, fold.example.com, go.example.com"), "{}", listed[2].2);
    assert_eq!((listed[3].0, listed[3].1), (5, 1));
    assert!(listed[4].2.starts_with("fallback_url: is not an absolute URL"));
    let url_column = text[6].find("\"url\"").unwrap() as u64 + 1;
    assert_eq!((listed[5].0, listed[5].1), (7, url_column));
    assert!(errors.to_string().contains("links.jsonl:3:2: code: "));
}

#[test]
fn a_value_of_the_wrong_kind_is_named_by_its_field() {
    let fixture = LoadFixture::new();
    for (was, is, says) in [
        (r#""https://shop.example.com/p/1""#, "17", "url: invalid type: integer `17`, expected a string"),
        (r#""plain""#, r#""plane""#, "kind: unknown variant `plane`, expected one of `product`, `showcase`"),
        ("2026-11-01T00:00:00Z", "2026-11-31", "created_at: "),
        ("2026-11-01T00:00:00Z\"", "2026-11-01T00:00:00Z\",\"rate_bp\":-5", "rate_bp: invalid value: integer `-5`"),
        (r#""kind":"plain","#, "", "missing field `kind`"),
        (r#""kind""#, r#""creator" : 1, "kind""#, "creator: invalid type"),
    ] {
        let errors = fixture.errors_of(&line("a", "").replace(was, is), None);
        assert!(errors.listed[0].message.starts_with(says), "{errors}");
        let (_, allowed) = errors.listed[0].message.split_once(": ").unwrap_or_default();
        let said = ["expected", "allowed"].iter().any(|word| allowed.contains(word));
        assert!(said || is.is_empty(), "what is allowed: {errors}");
    }
}

#[test]
fn a_line_that_is_not_one_object_is_refused_even_as_an_array_of_a_records_values() {
    let fixture = LoadFixture::new();
    let list = concat!(
        r#" ["a","https://shop.example.com/","plain",null,null,null,null,null,null,null,null,null,"#,
        r#""2026-11-01T00:00:00Z"]"#
    );
    for (line, column) in [(list, 2), ("\"a\"", 1), ("17", 1), ("null", 1)] {
        let errors = fixture.errors_of(line, None);
        assert_eq!(errors.listed[0].column, column, "{errors}");
        assert!(errors.listed[0].message.starts_with("is no JSON object; a line holds one"), "{errors}");
    }
    let two = fixture.errors_of(&format!("{} {}", line("a", ""), line("b", "")), None);
    assert!(two.listed[0].message.contains("a line holds one JSON object and nothing behind it"), "{two}");
}

#[test]
fn a_code_given_twice_is_named_by_both_lines() {
    let fixture = LoadFixture::new();
    let text = [line("a", ""), line("b", ""), line("a", ""), line("c", ""), line("b", r#","domain":"go.example.com""#)];
    let errors = fixture.errors_of(&text.join("\n"), None);
    assert_eq!(listed(&errors), [(3, 2, "code: \"a\" of domain \"*\" is on line 1 already")]);
    assert_eq!(errors.total, 1);
    let folded = [line("Ab", r#","domain":"fold.example.com""#), line("aB", r#","domain":"fold.example.com""#)];
    let errors = fixture.errors_of(&folded.join("\n"), None);
    assert_eq!(listed(&errors), [(2, 2, "code: \"ab\" of domain \"fold.example.com\" is on line 1 already")]);
}

#[test]
fn many_errors_are_counted_and_the_first_are_listed() {
    let fixture = LoadFixture::new();
    let text: Vec<String> = (0..30_000).map(|n| line(&format!("a{n} "), "")).collect();
    let errors = fixture.errors_of(&text.join("\n"), None);
    assert_eq!(errors.total, 30_000);
    assert_eq!(errors.listed.iter().map(|error| error.line).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_file_of_many_blocks_keeps_its_line_numbers_and_every_link() {
    let fixture = LoadFixture::new();
    let mut text: Vec<String> = (0..40_000).map(|n| line(&format!("a{n}"), "")).collect();
    let seen = AtomicU64::new(0);
    let loaded = fixture.load(&text.join("\n"), None).unwrap();
    assert_eq!((loaded.links, loaded.table.len()), (40_000, 40_000));
    let path = fixture.dir.path().join("links.jsonl");
    let progress = |progress: Progress| {
        seen.fetch_max(progress.bytes, Ordering::Relaxed);
        assert!(progress.bytes <= progress.total);
    };
    let again = load_and_validate_file(&LoadRequest {
        path: &path,
        rules: fixture.rules(Some(&loaded.table)),
        threads: 3,
        progress: &progress,
    });
    assert_eq!(again.unwrap().links, 40_000);
    assert_eq!(seen.into_inner(), fs::metadata(&path).unwrap().len());
    text[33_333].push('x');
    assert_eq!(fixture.errors_of(&text.join("\n"), None).listed[0].line, 33_334);
}

#[test]
fn a_line_may_have_16_kib_and_no_more() {
    let fixture = LoadFixture::new();
    let long = |len: usize| line("a", "") + &" ".repeat(len - line("a", "").len());
    assert_eq!(fixture.load(&long(MAX_LINE), None).unwrap().links, 1);
    let errors = fixture.errors_of(&long(MAX_LINE + 1), None);
    assert!(errors.listed[0].message.contains("allowed are 16384"));
    let errors = fixture.errors_of(&long(3 << 20), None);
    assert_eq!(errors.listed[0].line, 1);
}

#[test]
fn the_example_links_are_of_every_kind_and_live_whenever_they_are_loaded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/links.example.jsonl");
    let mut fixture = LoadFixture::new();
    for now_ms in [NOW, NOW * 2] {
        fixture.now_ms = now_ms;
        let rules = fixture.rules(None);
        let loaded = load_and_validate_file(&LoadRequest { path: &path, rules, threads: 1, progress: &|_| {} });
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings_total, 0);
        let mut kinds = std::collections::BTreeSet::new();
        loaded.table.for_each(|link| {
            let facts = LinkFacts::decode(link.facts()).unwrap();
            kinds.insert(facts.kind.as_str());
            assert_eq!((link.state_at(now_ms), facts.test), (LinkState::Live, true));
        });
        assert_eq!(kinds.len(), 4);
    }
}

#[test]
fn unusual_rates_warn_and_are_loaded() {
    let fixture = LoadFixture::new();
    let more = r#","seller":"s_1","product":"1","plan":"open","rate_bp":100"#;
    let loaded = fixture.load(&line("a", more).replace("plain", "product"), None).unwrap();
    assert_eq!((loaded.links, loaded.warnings_total), (1, 1));
    assert!(loaded.warnings[0].message.starts_with("rate_bp: is 100"));
}

#[test]
fn a_byte_order_mark_is_skipped_and_utf_16_is_named() {
    let fixture = LoadFixture::new();
    let bom = "\u{feff}";
    let text = format!("{bom}{}\n{bom}{}\n{bom}\n", line("a", ""), line("b", ""));
    assert_eq!(fixture.load(&text, None).unwrap().links, 2);
    let errors = fixture.errors_of(&format!("{bom}{{\n"), None);
    assert!(errors.listed[0].message.starts_with("is not JSON"), "{errors}");
    let path = fixture.dir.path().join("links.jsonl");
    let utf_16: Vec<u8> = format!("{bom}{}", line("a", "")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf_16).unwrap();
    let request = LoadRequest { path: &path, rules: fixture.rules(None), threads: 1, progress: &|_| {} };
    let Err(error) = load_and_validate_file(&request) else { panic!("loaded") };
    assert!(error.to_string().contains("zero bytes as UTF-16 has; save the file as UTF-8"), "{error}");
}

#[test]
fn a_link_to_a_link_is_refused_unless_it_says_so_and_never_leads_back() {
    let fixture = LoadFixture::new();
    let on = |code: &str, url: &str, more: &str| {
        line(code, &format!(r#","domain":"go.example.com"{more}"#)).replace("https://shop.example.com/p/1", url)
    };
    let allow = r#","allow_own_host":true"#;
    let fold = r#","domain":"fold.example.com""#;
    let errors = fixture.errors_of(
        &[
            on("a", "https://go.example.com/a", allow),
            on("b", "http://GO.example.com:80/%62/?x=1", allow),
            on("c", "https://go.example.com/{code}.", ""),
            on("d", "https://go.example.com/x", ""),
            on("e", "https://go.example.com/{sub1}", allow),
            on("f", "https://shop.example.com/", r#","fallback_url":"https://fold.example.com/""#),
            line("MiXed", fold).replace("https://shop.example.com/p/1", "https://fold.example.com/mixeD"),
        ]
        .join("\n"),
        None,
    );
    let back = "url: leads back to this link: browsers would go in a circle; name a URL of the shop";
    let messages: Vec<&str> = errors.listed.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages[..3], [back, back, back], "{errors}");
    assert!(messages[3].starts_with("url: names the host go.example.com, which this server answers itself;"));
    assert!(messages[4].starts_with("url: has a placeholder in place of a code of go.example.com"), "{errors}");
    assert!(messages[5].starts_with("fallback_url: names the host fold.example.com"), "{errors}");
    assert_eq!(messages[6..], [back], "{errors}");

    let good = [
        on("a", "https://go.example.com/b?sub1={sub1}", allow),
        on("b", "https://fold.example.com/c", allow),
        line("c", fold),
        line("go", "").replace("https://shop.example.com/p/1", "https://shop.example.com/go"),
        on("app", "https://shop.example.com/?u=https://go.example.com/app", ""),
    ];
    assert_eq!(fixture.load(&good.join("\n"), None).unwrap().links, 5);
    let circle = fixture.errors_of(
        &[
            on("a", "https://go.example.com/b", allow),
            on("b", "https://shop.example.com/", &format!(r#","fallback_url":"https://go.example.com/c"{allow}"#)),
            on("c", "https://go.example.com/a", allow),
            on("d", "https://go.example.com/a", allow),
        ]
        .join("\n"),
        None,
    );
    let lines: Vec<u64> = circle.listed.iter().map(|error| error.line).collect();
    assert_eq!((lines, circle.total), (vec![1, 2, 3], 3), "{circle}");
    assert!(circle.listed[0].message.starts_with("url: leads back to this link through other links"), "{circle}");
}
