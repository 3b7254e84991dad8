//! The real process with a broker of the tests, and clients that click on it and keep the answers.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    dsl::{Connection, Site, link, numbered_tap, until},
    kafka::reader::Record,
};

/// The pause between two clicks of one client, so that the load does not saturate the machine.
const PACE: Duration = Duration::from_millis(1);

/// The topic of lane statements.
pub(crate) fn lanes_topic(topic: &str) -> String {
    format!("{topic}.lanes")
}

/// A site with the live links `live` and `other` that streams to `topic` and `TOPIC.orphan` on this broker. Not started
/// yet.
pub(crate) fn site_with_kafka(address: &str, topic: &str) -> Site {
    Site::new(&[link("live"), link("other")])
        .arg("--kafka")
        .arg(address)
        .env("WAYPOST__KAFKA__TOPICS__CLICKS", topic)
        .env("WAYPOST__KAFKA__TOPICS__ORPHAN", &orphan_topic(topic))
        // A client of a test asks more often on its one connection than a buyer ever does.
        .env("WAYPOST__EDGE__LIMITS__MAX_REQUESTS", "1000000")
        // The default of 5 s would have a test wait for the next attempt.
        .env("WAYPOST__KAFKA__PROPERTIES__RECONNECT_BACKOFF_MAX_MS", "500")
}

/// The topic of clicks that are not on a live link.
pub(crate) fn orphan_topic(topic: &str) -> String {
    format!("{topic}.orphan")
}

/// As [`site_with_kafka`], with a topic of lanes of its own, so that an audit of these topics is about this site alone.
pub(crate) fn site_with_own_lanes_topic(address: &str, topic: &str) -> Site {
    site_with_kafka(address, topic).env("WAYPOST__KAFKA__TOPICS__LANES", &lanes_topic(topic))
}

/// Clicks on the live link with these numbers as `sub1`, one after the other on one connection; each is redirected.
pub(crate) fn send_clicks(site: &Site, numbers: std::ops::Range<u64>) {
    let mut wire = site.connect();
    for number in numbers {
        assert_eq!(wire.send(&numbered_tap("live", number)).status, 302);
    }
}

/// Waits until so many clicks of a topic (by its name in the metrics) are delivered by this process.
pub(crate) fn wait_until_delivered(site: &Site, topic: &str, count: u64) {
    let label = format!("topic=\"{topic}\"");
    until(&format!("{count} delivered of {topic}"), || {
        (site.metric("waypost_clicks_delivered_total", &label) >= count as f64).then_some(())
    });
}

/// The clicks that are journaled or recovered and not delivered yet.
pub(crate) fn backlog_clicks(site: &Site) -> f64 {
    site.metric("waypost_journal_backlog_clicks", "")
}

/// Waits until recovered + journaled = delivered + backlog + dead-lettered + quarantined.
pub(crate) fn wait_until_counts_add_up(site: &Site) {
    let sum = |name: &str| site.metric(name, "");
    until("recovered + journaled = delivered + backlog + dead-lettered + quarantined", || {
        let left = sum("waypost_clicks_recovered_total") + sum("waypost_clicks_journaled_total");
        let delivered = sum("waypost_clicks_delivered_total");
        let aside = sum("waypost_clicks_dead_lettered_total") + sum("waypost_clicks_quarantined_total");
        let right = delivered + backlog_clicks(site) + aside;
        (left == right && delivered > 0.0).then_some(())
    });
}

/// How often each number stands in `sub1`, told apart by click id: (numbers of distinct clicks, records beyond one a
/// click).
pub(crate) fn count_clicks(records: &[Record]) -> (HashMap<u64, usize>, usize) {
    let (mut ids, mut numbers) = (HashSet::new(), HashMap::new());
    for record in records {
        let event = record.json();
        if ids.insert(event["click_id"].as_str().unwrap().to_owned()) {
            *numbers.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    (numbers, records.len() - ids.len())
}

/// Asserts that every answered number was found under exactly one click id, and no other number was.
pub(crate) fn assert_each_once(found: &HashMap<u64, usize>, answered: impl IntoIterator<Item = u64>) {
    let answered: HashSet<u64> = answered.into_iter().collect();
    let missing: Vec<_> = answered.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "answered and not there: {missing:?}");
    let odd: Vec<_> = found.iter().filter(|(number, times)| **times != 1 || !answered.contains(number)).collect();
    assert!(odd.is_empty(), "there under two click ids, or never answered: {odd:?}");
}

/// Clients that click until they are stopped. A click that is not redirected fails the test.
pub(crate) struct Load {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Answers>>,
}

/// Where each click's number was redirected to.
pub(crate) type Answers = HashMap<u64, String>;

impl Load {
    /// Starts so many clients, whose clicks are numbered from 0.
    pub(crate) fn start(site: &Site, clients: usize) -> Load {
        let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new(AtomicU64::new(0));
        let clients = (0..clients).map(|_| {
            let (mut wire, next, stop): (Connection, _, _) = (site.connect(), next.clone(), stop.clone());
            let answered = answered.clone();
            std::thread::spawn(move || {
                let mut answers = Answers::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let answer = wire.send(&numbered_tap("live", number));
                    assert_eq!(answer.status, 302);
                    answers.insert(number, answer.header("location").unwrap().to_owned());
                    answered.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PACE);
                }
                answers
            })
        });
        Load { clients: clients.collect(), answered, stop }
    }

    /// Clicks whose answer was read to its last byte.
    pub(crate) fn answered_clicks(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more clicks were answered.
    pub(crate) fn wait_for_more_answers(&self, count: u64) {
        let before = self.answered_clicks();
        until("more clicks", || (self.answered_clicks() >= before + count).then_some(()));
    }

    /// Stops the clients and returns their answers.
    pub(crate) fn stop_and_collect(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients.flat_map(|client| client.join().expect("every click is redirected")).collect()
    }
}
