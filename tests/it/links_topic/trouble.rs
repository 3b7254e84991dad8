//! Trouble of an edge that reads a topic: its disk fails, its catalog is gone, damaged or locked, and writes that do
//! not end.

use std::fs;

use rdkafka::producer::Producer;
use rusqlite::Connection;
use serde_json::json;

use super::site::{OtherProgram, api_edge, next_offset, plain, set_up, wait_for_status, wait_until_leads_to};
use crate::{
    api::client::{ApiSite, body},
    dsl::{PHONE_BROWSER, until},
    inject::Injected,
    kafka::broker::{Broker, Kind},
};

fn put_links(site: &ApiSite, codes: &[&str]) {
    for code in codes {
        assert_eq!(site.put_link(code, plain(code, &format!("https://shop.example.com/{code}"))).status, 201);
    }
}

fn suspend(site: &ApiSite, creator: &str) {
    let path = format!("/v1/suspensions/creator/{creator}");
    assert_eq!(site.request("PUT", &path).json(&json!({"reason": "case"})).send().status, 201);
}

#[test]
fn records_of_a_topic_are_served_while_the_disk_fails_and_kept_once_it_works_and_clicks_go_on() {
    let Some(broker) = Broker::start_or_share() else { return };
    for (topic, calls) in [("links.eio", "fsync:error=EIO"), ("links.enospc", "pwrite64:error=ENOSPC")] {
        set_up(&broker, topic);
        let mut site = api_edge(&broker, topic);
        put_links(&site, &["tea"]);
        let program = OtherProgram::new(&broker, topic);
        let kept = next_offset(&site.site);
        let Some(fault) = Injected::into(&site.site, "wp-catalog", calls) else { return };
        let mut other = plain("cup", "https://shop.example.com/cup");
        other["creator"] = "c_2".into();
        program.write_links(&[other, plain("pot", "https://shop.example.com/pot")]);
        wait_until_leads_to(&site.site, "cup", "https://shop.example.com/cup");
        wait_until_leads_to(&site.site, "pot", "https://shop.example.com/pot");
        program.write(&[(Some("s/creator/c_2"), Some("{\"reason\":\"case\"}"))]);
        wait_for_status(&site.site, "cup", 410);
        program.write_tombstone("pot");
        wait_for_status(&site.site, "pot", 404);
        assert_eq!(site.site.get("/tea", &PHONE_BROWSER).status, 302, "{calls}: clicks go on");
        assert_eq!(next_offset(&site.site), kept, "{calls}: the offset stays");
        site.site.wait_for_fault("catalog_failing", "bounded", "catalog-failing");
        // A start from this disk would not have them: the file is as it was.
        let connection = Connection::open(site.site.data().join("catalog.db")).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM link"), 1, "{calls}");
        drop(fault);
        until("the records to be kept", || (count("SELECT count(*) FROM gone WHERE code = 'pot'") == 1).then_some(()));
        until("the offset to go on", || (next_offset(&site.site) > kept).then_some(()));
        drop(connection);
        site.site.kill();
        site.site.restart();
        for (code, status) in [("tea", 302), ("cup", 410), ("pot", 404)] {
            wait_for_status(&site.site, code, status);
        }
        assert_eq!(site.site.metric("waypost_links_topic_rereads_total", ""), 0.0, "{calls}");
    }
}

#[test]
fn an_edge_whose_catalog_is_gone_or_damaged_has_links_suspensions_and_reserved_codes_from_the_topic_again() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.rebuilt";
    set_up(&broker, topic);
    let mut site = api_edge(&broker, topic);
    put_links(&site, &["tea", "cup", "pot"]);
    let mut other = plain("pan", "https://shop.example.com/pan");
    other["creator"] = "c_2".into();
    assert_eq!(site.put_link("pan", other).status, 201);
    assert_eq!(site.request("DELETE", "/v1/links/*/cup").send().status, 204);
    suspend(&site, "c_2");
    let catalog = site.site.data().join("catalog.db");
    for trouble in ["gone", "damaged at its beginning", "damaged in the middle"] {
        site.site.stop();
        let bytes = fs::read(&catalog).unwrap();
        match trouble {
            "gone" => {
                for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
                    let _ = fs::remove_file(site.site.data().join(name));
                }
            }
            "damaged at its beginning" => fs::write(&catalog, vec![7; 8192]).unwrap(),
            _ => {
                let mut damaged = bytes.clone();
                damaged[bytes.len() / 4..].fill(7);
                fs::write(&catalog, damaged).unwrap();
            }
        }
        site.site.restart();
        for (code, status) in [("tea", 302), ("pot", 302), ("pan", 410), ("cup", 404)] {
            assert_eq!(site.site.get(&format!("/{code}"), &PHONE_BROWSER).status, status, "{trouble}: {code}");
        }
        if trouble != "gone" {
            site.site.wait_for_fault("catalog_set_aside", "bounded", "catalog-failing");
            let aside = fs::read_dir(site.site.data()).unwrap().filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("catalog.db.damaged-")
            });
            assert!(aside.count() > 0, "{trouble}");
        }
        // The keys of the API were the catalog's alone.
        site.site.stop();
        site.key = crate::api::client::new_key(&site.site, &["--name", "again", "--scope", "read,write,admin,suspend"]);
        site.site.restart();
        let mut thief = plain("cup", "https://shop.example.com/thief");
        thief["creator"] = "c_2".into();
        let reserved = site.post_link(thief);
        let problem = body(&reserved);
        assert_eq!(
            (reserved.status, &problem["type"]),
            (409, &json!("urn:waypost:problem:code-reserved")),
            "{trouble}"
        );
        let patch = site.request("PATCH", "/v1/links/*/tea");
        let patch = patch.typed("application/merge-patch+json", br#"{"creator":"thief"}"#.to_vec()).send();
        assert_eq!(
            (patch.status, &body(&patch)["type"]),
            (409, &json!("urn:waypost:problem:unchangeable")),
            "{trouble}"
        );
    }
}

#[test]
fn a_suspension_holds_over_a_restart_without_kafka_and_a_locked_catalog_refuses_the_start() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let topic = "links.locked";
    set_up(&broker, topic);
    let mut site = api_edge(&broker, topic);
    put_links(&site, &["tea"]);
    suspend(&site, "c_1");
    wait_for_status(&site.site, "tea", 410);
    site.site.stop();
    broker.stop();
    let other = Connection::open(site.site.data().join("catalog.db")).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM tag").unwrap();
    let (code, said) = site.site.run_refused_start();
    let process = format!("(process {})", std::process::id());
    assert!(code == Some(1) && said.contains("has locked it") && said.contains(&process), "{code:?}: {said}");
    drop(other);
    site.site.restart();
    assert_eq!(site.site.get("/tea", &PHONE_BROWSER).status, 410, "the topic is away, and the suspension holds");
}

#[test]
fn a_client_that_waits_for_a_second_alone_is_told_the_act_of_a_write_that_another_program_holds_back() {
    let Some(broker) = Broker::start_or_share() else { return };
    let topic = "links.held";
    set_up(&broker, topic);
    let site = api_edge(&broker, topic);
    put_links(&site, &["tea"]);
    let other = OtherProgram::transactional(&broker, topic);
    other.producer().begin_transaction().unwrap();
    other.write(&[(Some("s/creator/nobody"), None)]);
    let put = site.request("PUT", "/v1/links/*/cup").header("Prefer: wait=1");
    let accepted = put.json(&plain("cup", "https://shop.example.com/cup")).send();
    assert_eq!((accepted.status, accepted.header("preference-applied")), (202, Some("wait=1")), "{}", accepted.text());
    assert_eq!(site.site.get("/cup", &[]).status, 404, "this edge does not serve it yet");
    other.producer().commit_transaction(std::time::Duration::from_secs(10)).unwrap();
    wait_until_leads_to(&site.site, "cup", "https://shop.example.com/cup");
    let path = accepted.header("location").unwrap().to_owned();
    let act = until("the act to be read", || Some(site.get(&path)).filter(|act| body(act)["items"][0].is_object()));
    assert_eq!(body(&act)["items"][0]["link"], "/v1/links/*/cup");
}
