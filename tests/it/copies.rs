//! A data directory that is copied and runs twice, and one that is opened with fewer workers than it has lanes: the
//! topics prove what became of the clicks. A ring whose blocks a copy shares.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    dsl::{Site, TIMEOUT, link, request, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{backlog_clicks, orphan_topic, send_clicks, wait_until_delivered},
    },
    mount::Mount,
};

/// A site that delivers to these topics, once [`set_broker`] has named a broker.
fn site(topic: &str) -> Site {
    Site::new(&[link("live")])
        .config("")
        .env("WAYPOST__KAFKA__TOPICS__CLICKS", topic)
        .env("WAYPOST__KAFKA__TOPICS__ORPHAN", &orphan_topic(topic))
        .env("WAYPOST__KAFKA__TOPICS__LANES", &format!("{topic}.lanes"))
}

/// Sets the broker of the site's next process.
fn set_broker(site: &Site, address: &str) {
    site.write("waypost.toml", &format!("[kafka]\nbrokers = \"{address}\"\n"));
}

/// An address at which no process listens.
fn unused_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn create_topics(broker: &Broker, topic: &str) {
    broker.create_topic(topic, 3, &[]);
    broker.create_topic(&orphan_topic(topic), 1, &[]);
    broker.create_topic(&format!("{topic}.lanes"), 1, &[]);
}

/// Runs the audit; gives its exit code and its output.
fn run_audit(site: &Site, broker: &Broker) -> (Option<i32>, String) {
    let mut command = site.command(&["clicks", "audit", "--kafka", &broker.address()]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), output)
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_directory(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).unwrap(),
        }
    }
}

/// Reads a topic; gives the ids of each number, and how many records are repeats.
fn read_clicks(broker: &Broker, topic: &str, at_least: usize) -> (HashMap<u64, HashSet<String>>, usize) {
    let records: Vec<Value> = broker.read(&[topic], at_least, TIMEOUT).iter().map(Record::json).collect();
    let mut found: HashMap<u64, HashSet<String>> = HashMap::new();
    for record in &records {
        let number = record["sub1"].as_str().unwrap().parse().unwrap();
        found.entry(number).or_default().insert(record["click_id"].as_str().unwrap().to_owned());
    }
    let distinct: usize = found.values().map(HashSet::len).sum();
    (found, records.len() - distinct)
}

#[test]
fn a_copied_directory_that_runs_beside_its_original_loses_nothing_and_the_audit_names_its_epoch() {
    let Some(broker) = Broker::start_or_share() else { return };
    create_topics(&broker, "copied");
    let mut original = site("copied");
    set_broker(&original, &broker.address());
    original.restart();
    send_clicks(&original, 0..100);
    wait_until_delivered(&original, "clicks", 100);
    original.kill();
    // Twenty clicks wait in the journal when it is copied: both processes will deliver them.
    set_broker(&original, &unused_address());
    original.restart();
    send_clicks(&original, 100..120);
    original.kill();
    let mut twin = site("copied");
    copy_directory(&original.data(), &twin.data());
    [&original, &twin].into_iter().for_each(|site| set_broker(site, &broker.address()));
    original.restart();
    twin.restart();
    send_clicks(&original, 200..300);
    send_clicks(&twin, 300..400);
    for site in [&original, &twin] {
        until("no click waits", || (backlog_clicks(site) == 0.0).then_some(()));
    }
    assert_eq!(twin.stop().0, Some(0));
    assert_eq!(original.stop().0, Some(0));
    let (found, repeats) = read_clicks(&broker, "copied", 340);
    let numbers: HashSet<u64> = found.keys().copied().collect();
    assert_eq!(numbers, (0..120).chain(200..400).collect(), "no click is lost");
    assert!(found.values().all(|ids| ids.len() == 1), "each number has one id");
    assert!((20..=120).contains(&repeats), "{repeats} repeats: at most of the copied clicks");
    // Once the original has ended its epoch, only the twin could close the twin's.
    original.restart();
    assert_eq!(original.stop().0, Some(0));
    let (code, output) = run_audit(&original, &broker);
    assert_eq!(code, Some(3), "{output}");
    assert!(output.contains("has no stated end: a copy of the data directory ran, or statements are gone"), "{output}");
    assert!(!output.contains("missing:"), "{output}");
    assert!(output.contains(&format!("{repeats} repeats")), "{repeats}: {output}");
}

#[test]
fn lanes_without_a_worker_are_drained_say_so_and_the_audit_is_complete() {
    let Some(broker) = Broker::start_or_share() else { return };
    create_topics(&broker, "fewer");
    let mut site = site("fewer").env("WAYPOST__EDGE__WORKERS", "3");
    set_broker(&site, &unused_address());
    site.restart();
    let count_holding_lanes = |site: &Site| {
        let holds = |lane: &u16| site.metric("waypost_journal_backlog_clicks", &format!("lane=\"{lane}\"")) > 0.0;
        (0..3).filter(holds).count()
    };
    let mut sent = 0;
    // The kernel spreads connections over the workers.
    until("clicks in every lane", || {
        assert_eq!(site.get(&format!("/live?sub1={sent}"), &[]).status, 302);
        sent += 1;
        (count_holding_lanes(&site) == 3).then_some(())
    });
    site.kill();
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "1");
    set_broker(&site, &broker.address());
    site.restart();
    send_clicks(&site, sent..sent + 50);
    until("no click waits", || (backlog_clicks(&site) == 0.0).then_some(()));
    assert_eq!(site.stop().0, Some(0));
    let (found, repeats) = read_clicks(&broker, "fewer", sent as usize + 50);
    assert_eq!((found.len() as u64, repeats), (sent + 50, 0));
    let (code, output) = run_audit(&site, &broker);
    assert_eq!(code, Some(0), "{output}");
    for lane in 0..3 {
        assert!(output.contains(&format!("lane {lane}: COMPLETE")), "{output}");
    }
    let statements = broker.read(&["fewer.lanes"], 1, TIMEOUT);
    let drained: HashSet<u64> = statements
        .iter()
        .map(Record::json)
        .filter(|statement| statement["kind"] == "drained")
        .map(|statement| statement["lane"].as_u64().unwrap())
        .collect();
    assert_eq!(drained, HashSet::from([1, 2]), "each lane without a worker states that it is drained");
}

#[test]
fn a_ring_that_is_copied_on_xfs_survives_a_full_disk() {
    let mut site = Site::new(&[link("live")]).env("WAYPOST__EDGE__LIMITS__MAX_REQUESTS", "1000000");
    let Some(mount) = Mount::xfs(&site.data(), 320) else { return };
    site.restart();
    let copy_ring = |site: &Site, to: &str| {
        let copied = Command::new("cp")
            .args(["-a", "--reflink=always"])
            .args([site.data().join("journal"), site.data().join(to)])
            .status();
        assert!(copied.unwrap().success());
    };
    let ring = site.data().join("journal/clicks/lane-0000.ring");
    copy_ring(&site, "copy-1");
    // The spiller looks once a second.
    until("blocks of its own", || (!has_shared_blocks(&ring)).then_some(()));
    let filler = mount.fill();
    store_in_every_page_of_the_ring(&site);
    std::fs::remove_file(filler).unwrap();
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");

    // Copied while it is stopped: the start has to do it.
    copy_ring(&site, "copy-2");
    assert!(has_shared_blocks(&ring), "the test sees shared blocks");
    site.restart();
    assert!(!has_shared_blocks(&ring));
    let filler = mount.fill();
    store_in_every_page_of_the_ring(&site);
    std::fs::remove_file(filler).unwrap();
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");

    // Without room the start is refused with what to do, and nothing is changed.
    copy_ring(&site, "copy-3");
    let filler = mount.fill();
    let (code, log) = site.run_refused_start();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("lane-0000.ring shares its blocks with a copy"), "{log}");
    std::fs::remove_file(filler).unwrap();
    site.restart();
    assert_eq!(site.stop().0, Some(0));
}

/// Sends clicks until the ring has no room for another one, because neither sink nor segments take any.
fn store_in_every_page_of_the_ring(site: &Site) {
    let mut wire = site.connect();
    let path = format!("/live?sub1={}", "x".repeat(1500));
    until("a full ring", || {
        for _ in 0..50 {
            assert_eq!(wire.send(&request("GET", &path, &[])).status, 302);
        }
        (site.metric("waypost_clicks_unrecorded_total", "reason=\"no_room\"") > 0.0).then_some(())
    });
}

/// Whether a file shares blocks with another one, as filefrag tells.
fn has_shared_blocks(file: &Path) -> bool {
    let output = Command::new("filefrag").arg("-v").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).contains("shared")
}
