//! A directory that was copied and runs twice, and one that is opened with fewer workers than it has lanes: what the topics prove.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::Output,
};

use serde_json::Value;

use crate::{
    dsl::{PATIENCE, Site, link, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{backlog, click, delivered, orphan},
    },
};

/// A site that streams to these topics, from [`to`] a broker on.
fn site(topic: &str) -> Site {
    Site::new(&[link("live")])
        .config("")
        .env("WAYPOST__KAFKA__CLICKS", topic)
        .env("WAYPOST__KAFKA__ORPHAN", &orphan(topic))
        .env("WAYPOST__KAFKA__LANES", &format!("{topic}.lanes"))
}

/// Where the site's next process finds its broker.
fn to(site: &Site, address: &str) {
    site.write("waypost.toml", &format!("[kafka]\nbrokers = \"{address}\"\n"));
}

/// An address at which nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn topics(broker: &Broker, topic: &str) {
    broker.create(topic, 3, &[]);
    broker.create(&orphan(topic), 1, &[]);
    broker.create(&format!("{topic}.lanes"), 1, &[]);
}

/// The exit code, and what it said.
fn audit(site: &Site, broker: &Broker) -> (Option<i32>, String) {
    let mut command = site.command(&["clicks", "audit", "--kafka", &broker.address()]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), said)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).unwrap(),
        }
    }
}

/// How many records each number has, and how many of these are repeats of the same click.
fn read(broker: &Broker, topic: &str, at_least: usize) -> (HashMap<u64, HashSet<String>>, usize) {
    let records: Vec<Value> = broker.read(&[topic], at_least, PATIENCE).iter().map(Record::json).collect();
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
    let Some(broker) = Broker::shared() else { return };
    topics(&broker, "copied");
    let mut original = site("copied");
    to(&original, &broker.address());
    original.restart();
    click(&original, 0..100);
    delivered(&original, "clicks", 100);
    original.kill();
    // Twenty clicks wait in the journal when it is copied: both will send them.
    to(&original, &nobody());
    original.restart();
    click(&original, 100..120);
    original.kill();
    let mut twin = site("copied");
    copy(&original.data(), &twin.data());
    [&original, &twin].into_iter().for_each(|site| to(site, &broker.address()));
    original.restart();
    twin.restart();
    click(&original, 200..300);
    click(&twin, 300..400);
    for site in [&original, &twin] {
        until("nothing waits", || (backlog(site) == 0.0).then_some(()));
    }
    assert_eq!(twin.stop().0, Some(0));
    assert_eq!(original.stop().0, Some(0));
    let (found, repeats) = read(&broker, "copied", 340);
    let numbers: HashSet<u64> = found.keys().copied().collect();
    assert_eq!(numbers, (0..120).chain(200..400).collect(), "nothing is lost");
    assert!(found.values().all(|ids| ids.len() == 1), "and nothing merged: one id a click");
    assert!((20..=120).contains(&repeats), "{repeats} repeats: of what was copied at most");
    // Once the original has ended its epoch, nobody but the twin could close the twin's.
    original.restart();
    assert_eq!(original.stop().0, Some(0));
    let (code, said) = audit(&original, &broker);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("was never closed: a copy of its directory ran, or statements are gone"), "{said}");
    assert!(!said.contains("missing:"), "{said}");
    assert!(said.contains(&format!("{repeats} repeats")), "{repeats}: {said}");
}

#[test]
fn lanes_without_a_worker_are_drained_say_so_and_the_audit_is_complete() {
    let Some(broker) = Broker::shared() else { return };
    topics(&broker, "fewer");
    let mut site = site("fewer").env("WAYPOST__EDGE__WORKERS", "3");
    to(&site, &nobody());
    site.restart();
    let holding = |site: &Site| {
        let holds = |lane: &u16| site.metric("waypost_journal_backlog_clicks", &format!("lane=\"{lane}\"")) > 0.0;
        (0..3).filter(holds).count()
    };
    let mut asked = 0;
    // The kernel spreads connections over the workers.
    until("clicks in every lane", || {
        assert_eq!(site.get(&format!("/live?sub1={asked}"), &[]).status, 302);
        asked += 1;
        (holding(&site) == 3).then_some(())
    });
    site.kill();
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "1");
    to(&site, &broker.address());
    site.restart();
    click(&site, asked..asked + 50);
    until("nothing waits", || (backlog(&site) == 0.0).then_some(()));
    assert_eq!(site.stop().0, Some(0));
    let (found, repeats) = read(&broker, "fewer", asked as usize + 50);
    assert_eq!((found.len() as u64, repeats), (asked + 50, 0));
    let (code, said) = audit(&site, &broker);
    assert_eq!(code, Some(0), "{said}");
    for lane in 0..3 {
        assert!(said.contains(&format!("lane {lane}: COMPLETE")), "{said}");
    }
    let said = broker.read(&["fewer.lanes"], 1, PATIENCE);
    let drained: HashSet<u64> = said
        .iter()
        .map(Record::json)
        .filter(|said| said["kind"] == "drained")
        .map(|said| said["lane"].as_u64().unwrap())
        .collect();
    assert_eq!(drained, HashSet::from([1, 2]), "each lane without a worker has its last word");
}
