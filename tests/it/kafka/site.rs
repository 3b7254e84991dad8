//! The real process before a broker of the tests, and clients that click on it and remember what was answered.

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
    dsl::{Site, Wire, link, request, until},
    kafka::reader::Record,
};

/// Between two clicks of one client, so that a test's load is a load and not a flood.
const PACE: Duration = Duration::from_millis(1);

/// The topic for what lanes say.
pub(crate) fn lanes(topic: &str) -> String {
    format!("{topic}.lanes")
}

/// A site with the live links `live` and `other` that streams to `topic` and `TOPIC.orphan` on this broker. Not started yet.
pub(crate) fn streaming(address: &str, topic: &str) -> Site {
    Site::new(&[link("live"), link("other")])
        .arg("--kafka")
        .arg(address)
        .env("WAYPOST__KAFKA__CLICKS", topic)
        .env("WAYPOST__KAFKA__ORPHAN", &orphan(topic))
        // A client of a test asks more often on its one connection than a buyer ever does.
        .env("WAYPOST__EDGE__LIMITS__REQUESTS", "1000000")
        // The default of 5 s would have a test wait for the next attempt.
        .env("WAYPOST__KAFKA__PROPERTIES__RECONNECT_BACKOFF_MAX_MS", "500")
}

/// The topic for what is not on a live link.
pub(crate) fn orphan(topic: &str) -> String {
    format!("{topic}.orphan")
}

/// As [`streaming`], with a topic of lanes of its own, so that an audit of these topics is about this site alone.
pub(crate) fn audited(address: &str, topic: &str) -> Site {
    streaming(address, topic).env("WAYPOST__KAFKA__LANES", &lanes(topic))
}

/// Clicks on the live link with these numbers as `sub1`, one after the other on one connection; each is redirected.
pub(crate) fn click(site: &Site, numbers: std::ops::Range<u64>) {
    let mut wire = site.wire();
    for number in numbers {
        assert_eq!(wire.send(&numbered("live", number)).status, 302);
    }
}

/// A request for a code that says its number.
pub(crate) fn numbered(code: &str, number: u64) -> String {
    request("GET", &format!("/{code}?sub1={number}"), &[])
}

/// Waits until so many clicks of a topic (by its name in the metrics) are delivered by this process.
pub(crate) fn delivered(site: &Site, topic: &str, count: u64) {
    let label = format!("topic=\"{topic}\"");
    until(&format!("{count} delivered of {topic}"), || {
        (site.metric("waypost_clicks_delivered_total", &label) >= count as f64).then_some(())
    });
}

/// Clicks that are journaled or recovered and not delivered yet.
pub(crate) fn backlog(site: &Site) -> f64 {
    site.metric("waypost_journal_backlog_clicks", "")
}

/// recovered + journaled = delivered + backlog + dead-lettered + quarantined, once the numbers stand still.
pub(crate) fn identity_holds(site: &Site) {
    let sum = |name: &str| site.metric(name, "");
    until("recovered + journaled = delivered + backlog + dead-lettered + quarantined", || {
        let left = sum("waypost_clicks_recovered_total") + sum("waypost_clicks_journaled_total");
        let delivered = sum("waypost_clicks_delivered_total");
        let aside = sum("waypost_clicks_dead_lettered_total") + sum("waypost_clicks_quarantined_total");
        let right = delivered + backlog(site) + aside;
        (left == right && delivered > 0.0).then_some(())
    });
}

/// How often each number stands in `sub1`, told apart by click id: (numbers of distinct clicks, records beyond one a click).
pub(crate) fn numbers(records: &[Record]) -> (HashMap<u64, usize>, usize) {
    let (mut ids, mut numbers) = (HashSet::new(), HashMap::new());
    for record in records {
        let event = record.json();
        if ids.insert(event["click_id"].as_str().unwrap().to_owned()) {
            *numbers.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    (numbers, records.len() - ids.len())
}

/// Every number once, and nothing else: as many clicks as answers, whatever was sent twice.
pub(crate) fn each_once(found: &HashMap<u64, usize>, answered: impl IntoIterator<Item = u64>) {
    let answered: HashSet<u64> = answered.into_iter().collect();
    let missing: Vec<_> = answered.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "answered and not there: {missing:?}");
    let odd: Vec<_> = found.iter().filter(|(number, times)| **times != 1 || !answered.contains(number)).collect();
    assert!(odd.is_empty(), "there under two click ids, or never answered: {odd:?}");
}

/// Clients that click until they are told to end. A click that is not redirected fails the test.
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
            let (mut wire, next, stop): (Wire, _, _) = (site.wire(), next.clone(), stop.clone());
            let answered = answered.clone();
            std::thread::spawn(move || {
                let mut answers = Answers::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let answer = wire.send(&numbered("live", number));
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
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more clicks were answered.
    pub(crate) fn more(&self, count: u64) {
        let before = self.answered();
        until("more clicks", || (self.answered() >= before + count).then_some(()));
    }

    /// Ends it and gives what was answered.
    pub(crate) fn end(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients.flat_map(|client| client.join().expect("every click is redirected")).collect()
    }
}
