//! What a links file may not have, and what is made of it otherwise.

use crate::dsl::Site;

/// A link of kind `plain` with this destination; `more` is the rest of its fields.
fn plain(code: &str, url: &str, more: &str) -> String {
    let url = serde_json::to_string(url).unwrap();
    format!(r#"{{"code":"{code}","url":{url},"kind":"plain","created_at":"2026-11-01T00:00:00Z"{more}}}"#)
}

/// What `waypost check` prints about these links, both streams, and its exit code.
fn check(site: &Site) -> (Option<i32>, String) {
    let links = site.path("links.jsonl").display().to_string();
    let output = site.command(&["check", "--links", &links, "--data-dir", "data"]).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

#[test]
fn a_bad_destination_is_refused_with_its_line_and_the_characters_place() {
    let links: Vec<String> = [
        "https://https://shop.example.com/",
        "https://shop.example.com/a\u{200b}",
        "\u{200e}https://shop.example.com/",
        "\u{feff}https://shop.example.com/",
        "https://shop,example.com/",
        "https://shop..example.com/",
        "https://12345/",
        "https://shop.example.com/a https://shop.example.com/b",
        "https://shop.example.com/?a=1&amp;sub1=reel",
    ]
    .iter()
    .enumerate()
    .map(|(at, url)| plain(&format!("c{at}"), url, ""))
    .collect();
    let (code, printed) = check(&Site::new(&links));
    assert_eq!(code, Some(64), "{printed}");
    for expected in [
        "links.jsonl:1:14: url: names the host \"https:\", wrong at character 14: a port is missing",
        ":2:14: url: holds an invisible character (U+200B) at character 27",
        ":3:14: url: holds an invisible mark of direction (U+200E) at character 1",
        ":4:14: url: holds a byte order mark (U+FEFF) at character 1",
        ":5:14: url: names the host \"shop,example.com\", wrong at character 13",
        ":6:14: url: names the host \"shop..example.com\", wrong at character 14",
        ":7:14: url: names the host \"12345\", wrong at character 9",
        ":8:14: url: holds a second URL at character 28",
        ":9:14: url: holds &amp; at character 30",
        "9 errors; a links file with an error is refused as a whole",
    ] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
}

#[test]
fn what_rfc_3986_does_not_allow_leaves_encoded_in_location() {
    let url = "https://shop.example.com/a|b^[c]`?q=x|y^[z]`&off=5%#f|g";
    let site = Site::new(&[plain("tea", url, r#","append_token":false"#)]).start();
    let answer = site.get("/tea?utm_content=a|b^[c]`", &[]);
    assert_eq!(
        answer.header("location"),
        Some(
            "https://shop.example.com/a%7Cb%5E%5Bc%5D%60?q=x%7Cy%5E%5Bz%5D%60&off=5%25\
             &utm_content=a%7Cb%5E%5Bc%5D%60#f%7Cg"
        )
    );
}

#[test]
fn a_plain_link_of_long_ago_is_live_and_its_event_names_no_end() {
    let old = plain("tea", "https://shop.example.com/", "").replace("2026-11-01", "2019-05-01");
    let site = Site::new(&[old]).start();
    let answer = site.get("/tea", &[]);
    assert_eq!(answer.status, 302);
    assert!(answer.token().is_some());
    let event = site.wait_for_events("clicks", 1).remove(0);
    assert_eq!((&event["link_kind"], event.get("link_ends_at_ms")), (&"plain".into(), None), "{event}");
}

#[test]
fn a_byte_order_mark_far_dates_and_null_are_taken() {
    let far = plain("tea", "https://shop.example.com/", r#","expires_at":"9999-12-31T23:59:59Z","query":null"#);
    let site = Site::new(&[format!("\u{feff}{far}")]).start();
    assert_eq!(site.get("/tea", &[]).status, 302);
}

#[test]
fn an_empty_links_file_is_refused_at_the_start_and_by_check_unless_allowed() {
    let site = Site::new(&[]);
    let (code, output) = site.run_refused_start();
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("links.jsonl: holds no link: every buyer would be answered 404"), "{output}");
    let (code, printed) = check(&site);
    assert_eq!(code, Some(64), "{printed}");
    assert!(printed.contains("if that is meant, start with --allow-shrink"), "{printed}");
    let site = site.arg("--allow-shrink").start();
    assert_eq!(site.get("/tea", &[]).status, 404);
    assert_eq!(site.metric("waypost_links", ""), 0.0);
}

#[test]
fn a_file_that_shrank_is_said_with_how_many_links_went() {
    let links = |codes: std::ops::Range<u32>| {
        let lines: Vec<String> = codes.map(|n| plain(&format!("c{n}"), "https://shop.example.com/", "")).collect();
        lines.join("\n")
    };
    let site = Site::new(&[links(0..30)]).start();
    site.write("links.jsonl", &links(2..30));
    site.wait_for_log("2 of 30 links are gone, their codes answer 404 now");
}

#[test]
fn links_and_redirects_of_a_host_to_itself_are_refused() {
    let domain = |code: &str, url: &str| plain(code, url, r#","domain":"go.example.com""#);
    let site = Site::new(&[domain("tea", "https://go.example.com/tea"), domain("cup", "https://go.example.com/tea")])
        .config("[domains.\"go.example.com\"]\nroot_url = \"https://shop.example.com/\"\n");
    let (code, output) = site.run_refused_start();
    assert_eq!(code, Some(1), "{output}");
    for expected in [
        "links.jsonl:1:15: url: leads back to this link: browsers would go in a circle; name a URL of the shop",
        "links.jsonl:2:15: url: names the host go.example.com, which this server answers itself",
        "true if a link to a link is meant",
    ] {
        assert!(output.contains(expected), "{expected} is not in:\n{output}");
    }
    for key in ["not_found_url", "root_url", "fallback_url"] {
        let site =
            Site::new(&[]).config(&format!("[domains.\"go.example.com\"]\n{key} = \"https://go.example.com/x\"\n"));
        let (code, output) = site.run_refused_start();
        let expected =
            format!("waypost.toml:2: domains.\"go.example.com\".{key}: leads to go.example.com, this host itself");
        assert!(code == Some(64) && output.contains(&expected), "{output}");
    }
}
