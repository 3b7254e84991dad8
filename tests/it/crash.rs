//! kill -9 under load, with an oracle: every click whose 302 was read to its last byte is found afterwards, exactly once.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    dsl::{PATIENCE, Site, Wire, link, request, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{backlog, streaming},
    },
};

/// Clients that click at the same time.
const CLIENTS: usize = 4;

fn cycles() -> usize {
    std::env::var("WAYPOST_CRASH_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(20)
}

/// Clicks until told to stop or the connection breaks; gives the numbers of the clicks that were answered.
fn click_on(mut wire: Wire, next: &AtomicU64, stop: &AtomicBool) -> Vec<u64> {
    let mut answered = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match wire.try_send(&request("GET", &format!("/live?sub1={number}"), &[])) {
            Some(answer) => {
                assert_eq!(answer.status, 302);
                answered.push(number);
            }
            None => break,
        }
    }
    answered
}

/// How often each click number stands in the file sink.
fn found(events: &[Value]) -> HashMap<u64, usize> {
    let mut found = HashMap::new();
    for event in events {
        *found.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    found
}

/// Starts the site and kills it under load, so often; gives the numbers of the clicks that were answered, and how many were asked for.
pub(crate) fn kill_under_load(site: &mut Site) -> (Vec<u64>, u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut answered = Vec::new();
    for cycle in 0..cycles() {
        site.restart();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (wire, next, stop) = (site.wire(), next.clone(), stop.clone());
                std::thread::spawn(move || click_on(wire, &next, &stop))
            })
            .collect();
        // The kill falls at another moment of batches, syncs and checkpoints in each cycle.
        let before = next.load(Ordering::Relaxed);
        let load = 20 + (cycle as u64 * 37) % 300;
        until("some clicks of this cycle", || (next.load(Ordering::Relaxed) > before + load).then_some(()));
        std::thread::sleep(Duration::from_millis(cycle as u64 * 13 % 120));
        site.kill();
        stop.store(true, Ordering::Relaxed);
        answered.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
    }
    (answered, next.load(Ordering::Relaxed))
}

/// Two workers, so that a restart with lanes of different fill is part of it.
#[test]
fn no_kill_loses_or_repeats_an_answered_click() {
    let mut site = Site::new(&[link("live")]).env("WAYPOST__EDGE__WORKERS", "2");
    let (answered, asked) = kill_under_load(&mut site);
    site.restart();
    let found = until("every answered click", || {
        let found = found(&site.events("clicks"));
        answered.iter().all(|number| found.contains_key(number)).then_some(found)
    });
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let repeated: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "in the file more than once: {repeated:?}");
    assert!(found.keys().all(|number| *number < asked), "nothing is there that was not asked for");
    println!("{} answered clicks over {} kills, each found once", answered.len(), cycles());
}

#[test]
fn no_kill_loses_a_click_on_its_way_to_kafka_and_the_topics_prove_it() {
    let Some(broker) = Broker::shared() else { return };
    for (topic, partitions) in [("killed", 4), ("killed.orphan", 1), ("killed.lanes", 1)] {
        broker.create(topic, partitions, &[]);
    }
    let mut site = streaming(&broker.address(), "killed")
        .env("WAYPOST__KAFKA__LANES", "killed.lanes")
        .env("WAYPOST__EDGE__WORKERS", "2");
    let (answered, asked) = kill_under_load(&mut site);
    site.restart();
    until("nothing waits", || (backlog(&site) == 0.0).then_some(()));
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let events: Vec<Value> = broker.read(&["killed"], answered.len(), PATIENCE).iter().map(Record::json).collect();
    let found = found(&events);
    let lost: Vec<_> = answered.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(lost.is_empty(), "answered, and not there: {lost:?}");
    assert!(found.keys().all(|number| *number < asked), "nothing is there that was not asked for");
    let ids: HashSet<&str> = events.iter().map(|event| event["click_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), found.len(), "a repeat is the same click");
    let mut audit = site.command(&["clicks", "audit", "--kafka", &broker.address()]);
    let audit = audit.output().unwrap();
    let said = String::from_utf8_lossy(&audit.stdout);
    assert_eq!(audit.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&audit.stderr));
    println!(
        "{} answered clicks over {} kills, each found; {} repeats",
        answered.len(),
        cycles(),
        events.len() - found.len()
    );
}

#[test]
fn a_drain_delivers_everything_and_says_so() {
    let mut site = Site::with_codes(&["live"]);
    let mut wire = site.wire();
    for number in 0..200 {
        assert_eq!(wire.send(&request("GET", &format!("/live?sub1={number}"), &[])).status, 302);
    }
    let (code, log) = site.stop();
    assert_eq!(code, Some(0));
    assert_eq!(found(&site.events("clicks")).len(), 200);
    let last = log.lines().last().unwrap();
    assert!(last.contains("\"delivered\":200") && last.contains("\"remain\":0"), "{last}");
}

#[test]
fn a_second_process_on_the_same_directory_refuses_to_start() {
    let site = Site::with_codes(&["live"]);
    let (code, log) = site.refused();
    assert_eq!(code, Some(1));
    assert!(log.contains("lock") && log.contains("data"), "{log}");
    assert_eq!(site.get("/live", &[]).status, 302, "the first goes on");
}
