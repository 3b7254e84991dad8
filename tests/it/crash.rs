//! `kill -9` under load: every click whose 302 was read to its last byte is found afterwards, exactly once.

use std::{
    collections::{HashMap, HashSet},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    dsl::{Connection, Site, TIMEOUT, link, numbered_tap, until},
    kafka::{
        broker::Broker,
        reader::Record,
        site::{backlog_clicks, site_with_kafka},
    },
};

/// Clients that click at the same time.
const CLIENTS: usize = 4;

fn cycles() -> usize {
    std::env::var("WAYPOST_CRASH_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(20)
}

/// Clicks until `stop` is set or the connection breaks; gives the numbers of the clicks that were answered.
fn click_until_stopped(mut wire: Connection, next: &AtomicU64, stop: &AtomicBool) -> Vec<u64> {
    let mut answered = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match wire.try_send(&numbered_tap("live", number)) {
            Some(answer) => {
                assert_eq!(answer.status, 302);
                answered.push(number);
            }
            None => break,
        }
    }
    answered
}

/// How often each click number is in the events.
fn count_by_number(events: &[Value]) -> HashMap<u64, usize> {
    let mut found = HashMap::new();
    for event in events {
        *found.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    found
}

/// Starts the site and kills it under load, in each cycle; gives the numbers of the answered clicks, and how many were
/// sent.
pub(crate) fn kill_under_load(site: &mut Site) -> (Vec<u64>, u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut answered = Vec::new();
    for cycle in 0..cycles() {
        site.restart();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (wire, next, stop) = (site.connect(), next.clone(), stop.clone());
                std::thread::spawn(move || click_until_stopped(wire, &next, &stop))
            })
            .collect();
        // In each cycle the kill comes at another moment of batches, syncs and checkpoints.
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

/// With two workers, so that lanes of different lengths are recovered.
#[test]
fn no_kill_loses_or_repeats_an_answered_click() {
    let mut site = Site::new(&[link("live")]).env("WAYPOST__EDGE__WORKERS", "2");
    let (answered, sent) = kill_under_load(&mut site);
    site.restart();
    let found = until("every answered click", || {
        let found = count_by_number(&site.events("clicks"));
        answered.iter().all(|number| found.contains_key(number)).then_some(found)
    });
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let repeated: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "in the file more than once: {repeated:?}");
    assert!(found.keys().all(|number| *number < sent), "a click was never sent");
    println!("{} answered clicks over {} kills, each found once", answered.len(), cycles());
}

/// Starts the site until no click waits, and stops it. Asserts that every answered click is on the topic, that no other
/// click is, and that the audit proves it. Returns the number of repeats.
fn assert_topics_prove_all(site: &mut Site, broker: &Broker, topic: &str, answered: &[u64], sent: u64) -> usize {
    site.restart();
    until("no click waits", || (backlog_clicks(site) == 0.0).then_some(()));
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let events: Vec<Value> = broker.read(&[topic], answered.len(), TIMEOUT).iter().map(Record::json).collect();
    let found = count_by_number(&events);
    let lost: Vec<_> = answered.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(lost.is_empty(), "answered, and not on the topic: {lost:?}");
    assert!(found.keys().all(|number| *number < sent), "a click was never sent");
    let ids: HashSet<&str> = events.iter().map(|event| event["click_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), found.len(), "a repeat has the same id");
    let audit = site.command(&["clicks", "audit", "--kafka", &broker.address()]).output().unwrap();
    let said = String::from_utf8_lossy(&audit.stdout);
    assert_eq!(audit.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&audit.stderr));
    events.len() - found.len()
}

#[test]
fn no_kill_loses_a_click_on_its_way_to_kafka_and_the_topics_prove_it() {
    let Some(broker) = Broker::start_or_share() else { return };
    for (topic, partitions) in [("killed", 4), ("killed.orphan", 1), ("killed.lanes", 1)] {
        broker.create_topic(topic, partitions, &[]);
    }
    let mut site = site_with_kafka(&broker.address(), "killed")
        .env("WAYPOST__KAFKA__TOPICS__LANES", "killed.lanes")
        .env("WAYPOST__EDGE__WORKERS", "2");
    let (answered, sent) = kill_under_load(&mut site);
    let repeats = assert_topics_prove_all(&mut site, &broker, "killed", &answered, sent);
    println!("{} answered clicks over {} kills, each found; {} repeats", answered.len(), cycles(), repeats);
}

/// How many kills came at each stage of a process.
#[derive(Debug, Default)]
struct KillCounts {
    /// Before the process listened: opening the journal, recovery.
    starting: usize,
    /// The process listened, and recovered clicks were being delivered.
    listening: usize,
    /// Under load, while segments were closed and checkpoints written all the time.
    load: usize,
    /// After SIGTERM, with clicks coming in and a broker that takes some or none.
    drain: usize,
}

impl KillCounts {
    fn to_percentages(&self) -> String {
        let KillCounts { starting, listening, load, drain } = *self;
        let all = (starting + listening + load + drain).max(1);
        let share = |count: usize| format!("{count} ({} %)", count * 100 / all);
        format!(
            "{all} kills: {} before it listened, {} with what it recovered on its way, {} under load, {} in a drain",
            share(starting),
            share(listening),
            share(load),
            share(drain)
        )
    }
}

/// Starts the process and kills it after a time. Returns whether it had begun to listen.
fn start_and_kill_after(site: &Site, after: Duration) -> bool {
    let (links, data) = (site.path("links.jsonl").display().to_string(), site.data().display().to_string());
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--links", &links, "--data-dir", &data];
    let config = site.path("waypost.toml").display().to_string();
    let mut command = site.command(&args);
    command.args(["--config", &config]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_none(), "the process ended before it was killed: {log}");
    log.contains("\"event\":\"listening\"")
}

/// In each cycle: a run under load, with a broker or without, killed under load or in its drain; then two starts that
/// are killed.
fn kill_at_all_stages(site: &mut Site, brokers: &str, cycles: usize) -> (Vec<u64>, u64, KillCounts) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (next, mut answered, mut kills) = (Arc::new(AtomicU64::new(0)), Vec::new(), KillCounts::default());
    for cycle in 0..cycles {
        let away = cycle % 3 > 0;
        let address = if away { &nobody } else { brokers };
        site.write("waypost.toml", &format!("[kafka]\nbrokers = \"{address}\"\n"));
        site.restart();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (wire, next, stop) = (site.connect(), next.clone(), stop.clone());
                std::thread::spawn(move || click_until_stopped(wire, &next, &stop))
            })
            .collect();
        let before = next.load(Ordering::Relaxed);
        let load = 50 + (cycle as u64 * 101) % 400;
        until("some clicks of this cycle", || (next.load(Ordering::Relaxed) > before + load).then_some(()));
        // Without a broker a drain lasts until its deadline, so the kill always comes before its end.
        if cycle % 2 == 0 && away {
            site.signal("-TERM");
            site.wait_for_log("\"event\":\"draining\"");
            std::thread::sleep(Duration::from_millis(cycle as u64 * 29 % 200));
            kills.drain += 1;
        } else {
            kills.load += 1;
        }
        site.kill();
        stop.store(true, Ordering::Relaxed);
        answered.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
        for start in 0..2 {
            site.write("waypost.toml", &format!("[kafka]\nbrokers = \"{brokers}\"\n"));
            match start_and_kill_after(site, Duration::from_millis((cycle * 2 + start) as u64 * 17 % 230)) {
                false => kills.starting += 1,
                true => kills.listening += 1,
            }
        }
    }
    site.write("waypost.toml", &format!("[kafka]\nbrokers = \"{brokers}\"\n"));
    (answered, next.load(Ordering::Relaxed), kills)
}

/// Segments are small and everything is spilled, so that segments are closed and removed all the time.
#[test]
fn no_kill_in_start_up_recovery_roll_over_checkpoint_or_drain_loses_a_click() {
    let Some(broker) = Broker::start_or_share() else { return };
    for (topic, partitions) in [("moments", 4), ("moments.orphan", 1), ("moments.lanes", 1)] {
        broker.create_topic(topic, partitions, &[]);
    }
    let mut site = Site::new(&[link("live")])
        .config("")
        .env("WAYPOST__KAFKA__TOPICS__CLICKS", "moments")
        .env("WAYPOST__KAFKA__TOPICS__ORPHAN", "moments.orphan")
        .env("WAYPOST__KAFKA__TOPICS__LANES", "moments.lanes")
        .env("WAYPOST__KAFKA__PROPERTIES__RECONNECT_BACKOFF_MAX_MS", "500")
        .env("WAYPOST__JOURNAL__SEGMENT_BYTES", "1 MiB")
        .env("WAYPOST__JOURNAL__SYNC_INTERVAL", "4ms")
        .env("WAYPOST__JOURNAL__SPILL", "always")
        .env("WAYPOST__EDGE__WORKERS", "2");
    let cycles = cycles().div_ceil(3);
    let (answered, sent, kills) = kill_at_all_stages(&mut site, &broker.address(), cycles);
    assert_topics_prove_all(&mut site, &broker, "moments", &answered, sent);
    assert!(kills.starting > 0 && kills.listening > 0 && kills.load > 0 && kills.drain > 0, "{kills:?}");
    println!("{} answered clicks, each found; {}", answered.len(), kills.to_percentages());
}

#[test]
fn a_drain_delivers_everything_and_says_so() {
    let mut site = Site::with_codes(&["live"]);
    let mut wire = site.connect();
    for number in 0..200 {
        assert_eq!(wire.send(&numbered_tap("live", number)).status, 302);
    }
    let (code, log) = site.stop();
    assert_eq!(code, Some(0));
    assert_eq!(count_by_number(&site.events("clicks")).len(), 200);
    let last = log.lines().last().unwrap();
    assert!(last.contains("\"delivered\":200") && last.contains("\"remain\":0"), "{last}");
}

#[test]
fn a_second_process_on_the_same_directory_refuses_to_start() {
    let site = Site::with_codes(&["live"]);
    let (code, log) = site.run_refused_start();
    assert_eq!(code, Some(1));
    assert!(log.contains("lock") && log.contains("data"), "{log}");
    assert_eq!(site.get("/live", &[]).status, 302, "the first process continues");
}
