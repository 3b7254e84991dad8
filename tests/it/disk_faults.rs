//! The disk rows of the table of guarantees: the real process on a real file system that is full, frozen, fails, is read-only or is
//! taken away, with a real broker that is well or away. Rings lie on tmpfs, as the shipped unit has it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    dsl::{PATIENCE, Site, request, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{backlog, each_once, identity_holds, numbers, streaming},
    },
    mount::Mount,
};

/// No answer may take longer while the disk is in trouble and Kafka is well: far below the stalls that are made here (seconds), far
/// above what a busy machine of two cores does to a client's thread.
const PROMPT: Duration = Duration::from_millis(250);

/// A site whose data directory is a small file system of its own, and whose rings are in memory.
struct Case {
    // In this order they go: first the process, then what it stands on.
    site: Site,
    disk: Mount,
    _memory: Mount,
}

impl Case {
    /// On a broker's topics `TOPIC`, `TOPIC.orphan` and `TOPIC.lanes`, which are made. `None` where one may not mount.
    fn new(broker: &Broker, topic: &str) -> Option<Case> {
        let lanes = format!("{topic}.lanes");
        let site = streaming(&broker.address(), topic).env("WAYPOST__KAFKA__LANES", &lanes);
        let disk = Mount::ext4(&site.data(), 24)?;
        let rings = site.path("rings");
        let memory = Mount::tmpfs(&rings, "16m")?;
        for (name, partitions) in [(topic, 3), (&format!("{topic}.orphan"), 1), (&lanes, 1)] {
            broker.create(name, partitions, &[]);
        }
        let site = site
            .env("WAYPOST__JOURNAL__RING_DIR", &rings.display().to_string())
            .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB");
        Some(Case { site, disk, _memory: memory })
    }

    fn env(mut self, key: &str, value: &str) -> Case {
        self.site = self.site.env(key, value);
        self
    }

    fn start(mut self) -> Case {
        self.site.restart();
        self
    }

    /// Every answered click is on the topic, each once by its id, and the audit proves it from the topics alone.
    fn proved(&mut self, broker: &Broker, topic: &str, answered: &[u64], unrecorded: usize) {
        let recorded = answered.len() - unrecorded;
        until("nothing waits", || (backlog(&self.site) == 0.0).then_some(()));
        identity_holds(&self.site);
        assert_eq!(self.site.metric("waypost_clicks_unrecorded_total", ""), unrecorded as f64);
        let (code, log) = self.site.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let records: Vec<Record> = broker.read(&[topic], recorded, PATIENCE);
        let (found, repeated) = numbers(&records);
        if unrecorded == 0 {
            each_once(&found, answered.iter().copied());
        } else {
            let answered: HashSet<u64> = answered.iter().copied().collect();
            assert!(found.iter().all(|(number, times)| *times == 1 && answered.contains(number)), "never answered");
            assert_eq!(found.len(), recorded, "all but those that were counted as unrecorded");
        }
        let audit = self.site.command(&["clicks", "audit", "--kafka", &broker.address()]).output().unwrap();
        let said = String::from_utf8_lossy(&audit.stdout);
        assert_eq!(audit.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&audit.stderr));
        println!("{topic}: {recorded} clicks recorded and found, {unrecorded} unrecorded, {repeated} repeats");
    }
}

/// Two clients that click until told to end; each answer is a redirect, and its time is kept.
struct Clicking {
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<(u64, Instant, Duration)>>>,
}

impl Clicking {
    fn start(site: &Site) -> Clicking {
        let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let clients = (0..2).map(|_| {
            let (mut wire, next, stop) = (site.wire(), next.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let begun = Instant::now();
                    assert_eq!(wire.send(&request("GET", &format!("/live?sub1={number}"), &[])).status, 302);
                    answered.push((number, begun, begun.elapsed()));
                    std::thread::sleep(Duration::from_millis(1));
                }
                answered
            })
        });
        Clicking { clients: clients.collect(), next, stop }
    }

    fn more(&self, count: u64) {
        let before = self.next.load(Ordering::Relaxed);
        until("more clicks", || (self.next.load(Ordering::Relaxed) >= before + count).then_some(()));
    }

    /// Ends it; gives the numbers answered. Whatever was asked from `trouble` on was answered promptly.
    fn end(self, trouble: Instant, what: &str) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let clicks: Vec<_> =
            self.clients.into_iter().flat_map(|client| client.join().expect("each is redirected")).collect();
        let mut took: Vec<Duration> =
            clicks.iter().filter(|(_, begun, _)| *begun >= trouble).map(|(_, _, took)| *took).collect();
        took.sort_unstable();
        let (worst, p999) = (took[took.len() - 1], took[took.len() * 999 / 1000]);
        println!("{what}: {} answers, p99.9 {p999:?}, the slowest {worst:?}", took.len());
        assert!(worst < PROMPT, "an answer took {worst:?}");
        clicks.into_iter().map(|(number, ..)| number).collect()
    }
}

/// The alarm of a disk that takes nothing, and its line in the log.
fn alarmed(site: &Site, reason: &str) {
    until("the alarm", || (site.metric("waypost_journal_spill_stopped", "") == 1.0).then_some(()));
    let line = site.tells("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "a disk alone is no reason not to serve");
}

/// Everything is to be spilled here, so that the disk is asked though Kafka acknowledges in time.
#[test]
fn a_full_disk_loses_no_click_and_slows_none_while_kafka_is_well_and_the_topics_prove_it() {
    let Some(broker) = Broker::shared() else { return };
    let Some(case) = Case::new(&broker, "diskfull") else { return };
    let mut case = case.env("WAYPOST__JOURNAL__SPILL", "always").start();
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let filler = case.disk.fill();
    let trouble = Instant::now();
    alarmed(&case.site, "No space left");
    assert!(case.site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"") > 0.0);
    clicking.more(3000);
    std::fs::remove_file(filler).unwrap();
    case.site.logged("spilling again");
    assert_eq!(case.site.metric("waypost_journal_spill_stopped", ""), 0.0);
    let answered = clicking.end(trouble, "disk full");
    case.proved(&broker, "diskfull", &answered, 0);
}

#[test]
fn a_disk_frozen_for_seconds_loses_no_click_and_slows_none_while_kafka_is_well() {
    let Some(broker) = Broker::shared() else { return };
    let Some(mut case) = Case::new(&broker, "diskfrozen").map(Case::start) else { return };
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let frozen = case.disk.freeze();
    let trouble = Instant::now();
    let journaled = || case.site.metric("waypost_clicks_journaled_total", "");
    let before = journaled();
    alarmed(&case.site, "has not answered");
    until("the metrics go on", || (journaled() > before + 500.0).then_some(()));
    identity_holds(&case.site);
    drop(frozen);
    case.site.logged("the disk answers again");
    until("no alarm", || (case.site.metric("waypost_journal_spill_stopped", "") == 0.0).then_some(()));
    let answered = clicking.end(trouble, "disk frozen");
    case.proved(&broker, "diskfrozen", &answered, 0);
}
