//! `waypost links domains`, `qr`, `patch --effective-at`, `acts`, `cancel` and `check`: on a data directory, and on a
//! server.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    api::client::{ApiSite, new_key},
    dsl::{Site, link, request, until},
};

/// Where commands run.
enum Place {
    Server(ApiSite),
    Directory(Site),
}

impl Place {
    fn both() -> [Place; 2] {
        let site = Site::without_links_file().config("[domains.\"configured.example.com\"]\n");
        let key = new_key(&site, &["--name", "operator", "--scope", "read,write,suspend,admin"]);
        let directory = Site::without_links_file().config("[domains.\"configured.example.com\"]\n");
        [Place::Server(ApiSite { site: site.start(), key }), Place::Directory(directory)]
    }

    fn site(&self) -> &Site {
        match self {
            Place::Server(api) => &api.site,
            Place::Directory(site) => site,
        }
    }

    /// Exit code, and what was printed.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = match self {
            Place::Server(api) => {
                let server = format!("http://{}", api.site.admin_address());
                let mut command = api.site.command(&[&["links", "--server", &server], args].concat());
                command.env("WAYPOST_API_KEY", &api.key);
                command
            }
            Place::Directory(site) => {
                let data = site.data().display().to_string();
                site.command(&[&["links", "--config", "waypost.toml", "--data-dir", &data], args].concat())
            }
        };
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn succeed(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
        stdout
    }

    fn fail(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 1, "{args:?}: {stdout}{stderr}");
        stderr
    }
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn domains_are_listed_shown_set_and_removed_on_a_server_and_on_a_directory() {
    for place in Place::both() {
        let hosts = |place: &Place| -> Vec<(String, String)> {
            let text = |domain: &Value, field: &str| domain[field].as_str().unwrap().to_owned();
            objects(&place.succeed(&["domains", "list"]))
                .iter()
                .map(|at| (text(at, "host"), text(at, "source")))
                .collect()
        };
        let pair = |host: &str, source: &str| (host.to_owned(), source.to_owned());
        let configured = [pair("*", "default"), pair("configured.example.com", "configuration")];
        assert_eq!(hosts(&place), configured);
        let set = ["domains", "set", "New.example.com", "root_url=https://shop.example.com/", "prefetch=record"];
        let (code, out, error) = place.run(&set[..4]);
        assert_eq!(code, 0, "{out}{error}");
        let domain = &objects(&out)[0];
        assert_eq!((&domain["host"], &domain["source"]), (&json!("new.example.com"), &json!("catalog")));
        // A second command leaves what the first one set.
        place.succeed(&["domains", "set", "new.example.com", "not_found_url=https://shop.example.com/404"]);
        let shown = &objects(&place.succeed(&["domains", "show", "new.example.com"]))[0];
        assert_eq!(shown["settings"]["root_url"], "https://shop.example.com/", "{shown}");
        assert_eq!(shown["settings"]["not_found_url"], "https://shop.example.com/404", "{shown}");
        place.succeed(&["domains", "set", "new.example.com", "root_url=null", "--reason", "no root"]);
        let shown = &objects(&place.succeed(&["domains", "show", "new.example.com"]))[0];
        assert_eq!(shown["settings"]["root_url"], Value::Null, "{shown}");
        assert_eq!(hosts(&place).len(), 3);
        for (args, told) in [
            (&["domains", "set", "new.example.com", "colour=red"][..], "colour"),
            (&["domains", "set", "new.example.com", "root_url=javascript:x"], "root_url"),
            (&["domains", "set", "configured.example.com", "root_url=https://a.example/"], "configured.example.com"),
            (&["domains", "set", "a b", "root_url=https://a.example/"], "is not a host name"),
            (&["domains", "show", "nothing.example.com"], "nothing.example.com"),
            (&["domains", "rm", "nothing.example.com"], "nothing.example.com"),
        ] {
            let error = place.fail(args);
            assert!(error.contains(told), "{args:?}: {error}");
        }
        // A link of the domain, which then is not removed.
        place.site().write("record.jsonl", &link("tea").replacen('{', r#"{"domain":"new.example.com","#, 1));
        let record = place.site().path("record.jsonl").display().to_string();
        place.succeed(&["add", &record]);
        assert!(place.fail(&["domains", "rm", "new.example.com"]).contains("link"));
        place.succeed(&["rm", "tea", "--domain", "new.example.com"]);
        place.succeed(&["domains", "rm", "new.example.com", "--reason", "over"]);
        assert_eq!(hosts(&place), configured);
    }
}

#[test]
fn a_patch_for_later_is_asked_for_listed_and_cancelled_and_a_server_carries_out_that_of_its_directory() {
    for place in Place::both() {
        let records = ["tea", "cup"].map(|code| link(code) + "\n").concat();
        place.site().write("records.jsonl", &records);
        place.succeed(&["add", &place.site().path("records.jsonl").display().to_string()]);
        let patch = ["patch", "--where", "host=shop.example.com", "--set", "title=winter", "--effective-at"];
        let said = place.succeed(&[&patch[..], &["2099-01-01T00:00:00Z", "--reason", "next season"]].concat());
        let act = said.split_whitespace().nth(1).unwrap().to_owned();
        assert!(said.contains("waits for 2099-01-01T00:00:00Z") && said.contains(&format!("cancel {act}")), "{said}");
        let listed = objects(&place.succeed(&["acts", "--state", "scheduled"]));
        assert_eq!((&listed[0]["id"], &listed[0]["reason"]), (&json!(act), &json!("next season")));
        assert_eq!(listed[0]["progress"]["effective_at"], "2099-01-01T00:00:00Z");
        place.succeed(&["cancel", &act]);
        assert!(place.fail(&["cancel", &act]).contains("cancelled"));
        assert!(place.fail(&["cancel", "01a22d5b-e0e6-720c-911a-685ab55cddca"]).contains("there is no change"));
        assert_eq!(place.succeed(&["acts", "--state", "scheduled"]), "");
        assert!(place.fail(&["acts", "--state", "lost"]).contains("allowed are scheduled"));
        // A time that is past: now, or at the next start.
        let said = place.succeed(&[&patch[..], &["2020-01-01T00:00:00Z"]].concat());
        let act = said.split_whitespace().nth(1).unwrap().to_owned();
        let is_done = |lines: &str| objects(lines).iter().any(|change| change["id"] == act.as_str());
        match place {
            Place::Server(_) => {
                until("the patch to be made", || is_done(&place.succeed(&["acts", "--state", "done"])).then_some(()))
            }
            Place::Directory(mut site) => {
                site.restart();
                until("the patch to be made by the server", || {
                    let connection = rusqlite::Connection::open(site.data().join("catalog.db")).ok()?;
                    let sql = "SELECT 1 FROM kept_change WHERE act = ?1 AND state = 'done'";
                    connection.prepare(sql).ok()?.exists([&act]).ok()?.then_some(())
                });
            }
        }
    }
}

#[test]
fn links_files_are_checked_by_the_rules_of_the_configuration_and_every_mistake_has_its_line() {
    let [_, place] = Place::both();
    let site = place.site();
    site.write("good.jsonl", &(link("tea") + "\n" + &link("cup") + "\n"));
    site.write("bad.jsonl", &(link("tea") + "\n{\"code\":\"cup\"}\n" + &link("tea") + "\n"));
    let path = |name: &str| site.path(name).display().to_string();
    assert!(place.succeed(&["check", &path("good.jsonl")]).contains("links: good, 2 in"));
    let (code, out, error) = place.run(&["check", &path("good.jsonl"), &path("bad.jsonl")]);
    assert!(code == 2 && out.contains("good.jsonl"), "{code}: {out}{error}");
    assert!(error.contains("bad.jsonl:2") && error.contains("bad.jsonl:3"), "{error}");
}

#[test]
fn a_qr_code_takes_the_names_that_its_domain_has_for_sub_ids_so_that_the_scan_is_recorded() {
    for place in Place::both() {
        place.succeed(&["domains", "set", "old.example.com", "sub_names=[\"aff_sub\",\"aff_sub2\"]"]);
        let file = place.site().path("links.jsonl");
        let mug = link("mug").replacen('{', "{\"domain\":\"old.example.com\",", 1);
        std::fs::write(&file, mug).unwrap();
        place.succeed(&["add", file.to_str().unwrap()]);
        let (code, _, url) = place.run(&["qr", "mug", "--domain", "old.example.com", "--sub", "sub2"]);
        assert_eq!((code, url.trim()), (0, "https://old.example.com/mug?aff_sub2=qr"));
        let refused = place.fail(&["qr", "mug", "--domain", "old.example.com", "--sub", "sub3"]);
        assert!(refused.contains("--sub: is sub3; the domain's sub_names name 2 sub ids"), "{refused}");
        if let Place::Server(api) = &place {
            let drawn = place.run(&["qr", "mug", "--domain", "old.example.com"]).1;
            assert_eq!(api.request("GET", "/v1/links/old.example.com/mug/qr").send().text(), drawn);
            let refused = api.request("GET", "/v1/links/old.example.com/mug/qr?sub=sub5").send();
            assert!(refused.status == 400 && refused.text().contains("name 2 sub ids"), "{}", refused.text());
            let click = request("GET", "/mug?aff_sub=qr", &[]).replace("go.example.com", "old.example.com");
            let click = api.site.send(&click);
            assert_eq!(click.status, 302);
            let event = &api.site.wait_for_events("clicks", 1)[0];
            assert_eq!(event["sub1"], "qr", "{event}");
        }
    }
}

#[test]
fn a_qr_code_is_drawn_by_a_server_and_on_a_directory_and_by_the_api_alike() {
    let mut images = Vec::new();
    for place in Place::both() {
        let file = place.site().path("links.jsonl");
        std::fs::write(&file, link("mug")).unwrap();
        place.succeed(&["add", file.to_str().unwrap()]);
        let missing = place.run(&["qr", "nothing", "--host", "go.example.com"]);
        assert!(missing.0 == 1 && missing.2.contains("there is no link nothing on *"), "{missing:?}");
        assert!(place.fail(&["qr", "mug"]).contains("--host is missing"));
        assert!(place.fail(&["qr", "mug", "--host", "go example"]).contains("is no host"));
        let (code, svg, url) = place.run(&["qr", "mug", "--host", "go.example.com", "--sub", "sub2"]);
        assert_eq!((code, url.trim()), (0, "https://go.example.com/mug?sub2=qr"));
        images.push(svg);
        let png = place.site().path("mug.png");
        place.succeed(&["qr", "mug", "--host", "go.example.com", "--format", "png", "--output", png.to_str().unwrap()]);
        assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
        if let Place::Server(api) = &place {
            let answer = api.request("GET", "/v1/links/*/mug/qr?host=go.example.com&sub=sub2").send();
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/svg+xml")));
            images.push(answer.text());
            let refused = api.request("GET", "/v1/links/*/mug/qr?size=10&host=go.example.com").send();
            assert!(refused.status == 400 && refused.text().contains("allowed are 200 to 4096"), "{}", refused.text());
            assert_eq!(api.request("GET", "/v1/links/*/mug/qr").send().status, 400);
            assert_eq!(api.request("GET", "/v1/links/*/nothing/qr?host=a.example").send().status, 404);
        }
    }
    assert!(images.iter().all(|image| *image == images[0] && image.starts_with("<svg")), "{images:?}");
}
