//! The disk rows of the table of guarantees: the real process on a real file system that is full, frozen, fails, is read-only or is
//! taken away, with a real broker that is well or away. Rings lie on tmpfs, as the shipped unit has it.

use std::{
    collections::HashSet,
    fs::File,
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Answer, PATIENCE, Site, Wire, link, request, until},
    inject::Injected,
    kafka::{
        broker::{Broker, Kind},
        reader::Record,
        site::{backlog, click, delivered, each_once, identity_holds, numbers, streaming},
    },
    mount::Mount,
};

/// No answer may take longer while the disk is in trouble and Kafka is well, but for one in a hundred, which a busy machine may hold
/// up. And none at all may take [`WORST`].
const PROMPT: Duration = Duration::from_millis(250);

/// Half of the shortest stall that is made here: who waits for the disk waits longer.
const WORST: Duration = Duration::from_secs(1);

/// What a request waits for room: the default of `wait_for_room`, less what the clocks of two processes may differ in.
const WAIT: Duration = Duration::from_millis(90);

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

    /// `rm -rf` on what lies in the data directory.
    fn removed(&self) {
        for entry in std::fs::read_dir(self.site.data()).unwrap() {
            let path = entry.unwrap().path();
            let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            gone.unwrap();
        }
    }

    /// Every answered click is on the topic, each once by its id, and the audit proves it from the topics alone.
    fn proved(&mut self, broker: &Broker, topic: &str, answered: &[u64], unrecorded: usize) {
        assert_eq!(self.site.metric("waypost_clicks_unrecorded_total", "reason=\"full\""), unrecorded as f64);
        self.found(broker, topic, answered, unrecorded);
    }

    /// The same of a process that was started anew, and counts from there.
    fn found(&mut self, broker: &Broker, topic: &str, answered: &[u64], unrecorded: usize) {
        let recorded = answered.len() - unrecorded;
        until("nothing waits", || (backlog(&self.site) == 0.0).then_some(()));
        identity_holds(&self.site);
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
                    std::thread::sleep(Duration::from_millis(3));
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
        let [p99, p999, worst] = [990, 999, 1000].map(|rank| took[(took.len() * rank / 1000).min(took.len() - 1)]);
        println!("{what}: {} answers, p99 {p99:?}, p99.9 {p999:?}, the slowest {worst:?}", took.len());
        assert!(p99 < PROMPT && worst < WORST, "p99 {p99:?}, the slowest {worst:?}");
        clicks.into_iter().map(|(number, ..)| number).collect()
    }
}

/// Clicks with these numbers, one after the other; each is redirected.
fn clicked(site: &Site, range: std::ops::Range<u64>) -> Vec<u64> {
    click(site, range.clone());
    range.collect()
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
    case.site.tells("journal_room_low", "bounded", "journal-fills-up");
    let room = || case.site.metric("waypost_journal_disk_room_bytes", "");
    until("no room, whatever the budget is", || (room() < 1e6).then_some(()));
    alarmed(&case.site, "No space left");
    assert!(case.site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"") > 0.0);
    clicking.more(1000);
    std::fs::remove_file(filler).unwrap();
    case.site.logged("spilling again");
    until("no alarm", || (case.site.metric("waypost_journal_spill_stopped", "") == 0.0).then_some(()));
    until("room again", || (room() > 10e6).then_some(()));
    let answered = clicking.end(trouble, "disk full");
    case.proved(&broker, "diskfull", &answered, 0);
}

#[test]
fn a_disk_frozen_for_seconds_loses_no_click_and_slows_none_while_kafka_is_well() {
    frozen("diskfrozen", Duration::ZERO);
}

#[test]
#[ignore = "long form: the disk is frozen for a minute"]
fn a_disk_frozen_for_a_minute_loses_no_click_and_slows_none_while_kafka_is_well() {
    frozen("diskfrozenlong", Duration::from_secs(55));
}

/// Frozen until it is told of, which takes 2 s, and then for so long.
fn frozen(topic: &str, longer: Duration) {
    let Some(broker) = Broker::shared() else { return };
    let Some(mut case) = Case::new(&broker, topic).map(Case::start) else { return };
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let Some(frozen) = case.disk.freeze() else { return };
    let trouble = Instant::now();
    let journaled = || case.site.metric("waypost_clicks_journaled_total", "");
    let before = journaled();
    alarmed(&case.site, "has not answered");
    assert!(case.site.metric("waypost_journal_spill_errors_total", "reason=\"stalled\"") >= 1.0);
    until("the metrics go on", || (journaled() > before + 300.0).then_some(()));
    identity_holds(&case.site);
    while trouble.elapsed() < longer {
        clicking.more(100);
    }
    drop(frozen);
    case.site.logged("the disk answers again");
    until("no alarm", || (case.site.metric("waypost_journal_spill_stopped", "") == 0.0).then_some(()));
    let answered = clicking.end(trouble, "disk frozen");
    case.proved(&broker, topic, &answered, 0);
}

#[test]
fn a_frozen_disk_and_kafka_away_show_their_age_fill_the_ring_and_recover_by_the_thaw() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(mut case) = Case::new(&broker, "clicks").map(Case::start) else { return };
    let mut answered = clicked(&case.site, 0..50);
    broker.stop();
    let Some(frozen) = case.disk.freeze() else { return };
    answered.extend(clicked(&case.site, 50..100));
    let age = || case.site.metric("waypost_journal_oldest_undurable_age_seconds", "");
    until("what a power loss would cost, though nothing moves", || (age() > 3.0).then_some(()));
    answered.extend(fill_ring(&case.site, 100));
    room_is_missing(&case.site, "has not answered");
    let unrecorded = until("they are counted", || {
        let count = case.site.metric("waypost_clicks_unrecorded_total", "reason=\"full\"");
        (count >= 3.0).then_some(count as usize)
    });
    drop(frozen);
    case.site.logged("the disk answers again");
    case.site.logged("ready again");
    answered.extend(clicked(&case.site, 31_000..31_200));
    until("all of them are synced", || (age() == 0.0).then_some(()));
    broker.restart();
    case.proved(&broker, "clicks", &answered, unrecorded);
}

/// Clicks on one connection until three answers in a row are no redirect or came late: one alone may be this machine's. Gives the
/// numbers that were redirected.
fn fill_ring(site: &Site, from: u64) -> Vec<u64> {
    let mut wire = site.wire();
    let pad = "x".repeat(1500);
    let (mut answered, mut late) = (Vec::new(), 0);
    for number in from..from + 20_000 {
        let begun = Instant::now();
        let status = wire.send(&request("GET", &format!("/live?sub1={number}&sub2={pad}"), &[])).status;
        late = if status != 302 || begun.elapsed() >= WAIT { late + 1 } else { 0 };
        if status == 302 {
            answered.push(number);
        }
        if late == 3 {
            return answered;
        }
    }
    panic!("the ring never filled");
}

/// Whether the answer's token says that there is no record of the click.
fn flagged(site: &Site, answer: &Answer) -> bool {
    let mut verify = site.command(&["token", "verify", "--json", "--data-dir"]);
    let said = verify.arg(site.data()).arg(answer.token().unwrap()).output().unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    verdict["flags"].to_string().contains("unjournaled")
}

fn room_is_missing(site: &Site, reason: &str) {
    let answer = until("not ready", || site.admin("/readyz").filter(|answer| answer.status == 503));
    assert!(answer.text().contains("room"), "{}", answer.text());
    assert_eq!(site.tells("not_ready", "yes", "edge-not-ready")["missing"], "lane 0 has room");
    until("the alarm", || (site.metric("waypost_journal_spill_stopped", "") == 1.0).then_some(()));
    let line = site.tells("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
}

#[test]
fn a_full_disk_and_kafka_away_fill_the_ring_then_redirect_with_a_flag_until_the_disk_has_room() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(mut case) = Case::new(&broker, "clicks").map(Case::start) else { return };
    let mut answered = clicked(&case.site, 0..50);
    let filler = case.disk.fill();
    broker.stop();
    answered.extend(fill_ring(&case.site, 50));
    let begun = Instant::now();
    let answer = case.site.get("/live?sub1=30000", &[]);
    assert!(answer.status == 302 && answer.header("set-cookie").is_some() && flagged(&case.site, &answer));
    assert!(begun.elapsed() >= WAIT, "it waited for room first");
    answered.push(30_000);
    room_is_missing(&case.site, "No space left");
    let unrecorded = || case.site.metric("waypost_clicks_unrecorded_total", "reason=\"full\"");
    let lost = until("they are counted", || Some(unrecorded()).filter(|count| *count >= 4.0));
    // The disk comes back first.
    std::fs::remove_file(filler).unwrap();
    case.site.logged("spilling again");
    case.site.logged("ready again");
    answered.extend(clicked(&case.site, 31_000..31_500));
    assert_eq!(unrecorded(), lost, "and are recorded again");
    broker.restart();
    case.proved(&broker, "clicks", &answered, lost as usize);
}

#[test]
fn a_full_disk_and_kafka_away_fill_the_ring_then_refuse_where_that_is_the_policy_until_kafka_is_back() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(case) = Case::new(&broker, "clicks") else { return };
    let mut case = case.env("WAYPOST__JOURNAL__ON_FULL", "refuse").start();
    let mut answered = clicked(&case.site, 0..50);
    let _filler = case.disk.fill();
    broker.stop();
    answered.extend(fill_ring(&case.site, 50));
    let begun = Instant::now();
    assert_eq!(case.site.get("/live?sub1=30000", &[]).status, 503);
    assert!(begun.elapsed() >= WAIT, "it waited for room first");
    room_is_missing(&case.site, "No space left");
    until("they are counted", || {
        (case.site.metric("waypost_clicks_unrecorded_total", "reason=\"refused\"") >= 4.0).then_some(())
    });
    // Kafka comes back, the disk stays full.
    broker.restart();
    case.site.logged("ready again");
    answered.extend(clicked(&case.site, 31_000..31_500));
    case.proved(&broker, "clicks", &answered, 0);
}

/// What a broken disk says to each of the calls that the spiller makes.
const REFUSALS: [(&str, &str); 4] = [
    ("pwrite64:error=EIO", "Input/output error"),
    ("fdatasync:error=EIO", "Input/output error"),
    ("pwrite64:error=ENOSPC", "No space left"),
    ("openat:error=EROFS", "Read-only file system"),
];

#[test]
fn errors_on_write_on_sync_and_on_create_lose_no_click_and_slow_none_while_kafka_is_well() {
    let Some(broker) = Broker::shared() else { return };
    let Some(case) = Case::new(&broker, "diskerrors") else { return };
    let mut case = case.env("WAYPOST__JOURNAL__SPILL", "always").start();
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let trouble = Instant::now();
    for (calls, reason) in REFUSALS {
        let (told, healed) = (case.site.told("spill_stopped"), healed(&case.site));
        let Some(injected) = Injected::into(&case.site, "wp-spiller", calls) else { return };
        until("it is told", || (case.site.told("spill_stopped") > told).then_some(()));
        alarmed(&case.site, "");
        let log = case.site.log();
        let last = log.lines().rfind(|line| line.contains("\"event\":\"spill_stopped\"")).unwrap();
        assert!(last.contains(reason), "{calls}: {last}");
        assert!(case.site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"") > told as f64);
        clicking.more(200);
        drop(injected);
        until("it heals by itself", || (self::healed(&case.site) > healed).then_some(()));
        until("no alarm", || (case.site.metric("waypost_journal_spill_stopped", "") == 0.0).then_some(()));
    }
    let answered = clicking.end(trouble, "disk errors");
    case.proved(&broker, "diskerrors", &answered, 0);
}

fn healed(site: &Site) -> usize {
    site.log().matches("spilling again").count()
}

#[test]
fn syncs_that_fail_while_kafka_is_away_fill_the_ring_and_a_kill_then_loses_no_click_that_was_recorded() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(mut case) = Case::new(&broker, "clicks").map(Case::start) else { return };
    let mut answered = clicked(&case.site, 0..50);
    broker.stop();
    // Some are in a segment, the rest meets the error.
    answered.extend(clicked(&case.site, 50..500));
    until("clicks in a segment", || (case.site.metric("waypost_journal_spilled_bytes_total", "") > 0.0).then_some(()));
    let Some(injected) = Injected::into(&case.site, "wp-spiller", "fdatasync:error=EIO") else { return };
    answered.extend(fill_ring(&case.site, 1_000));
    room_is_missing(&case.site, "Input/output error");
    let unrecorded = until("they are counted", || {
        let count = case.site.metric("waypost_clicks_unrecorded_total", "reason=\"full\"");
        (count >= 3.0).then_some(count as usize)
    });
    case.site.kill();
    drop(injected);
    case.site.restart();
    assert!(case.site.metric("waypost_clicks_recovered_total", "") >= (answered.len() - unrecorded - 50) as f64);
    answered.extend(clicked(&case.site, 31_000..31_200));
    broker.restart();
    case.found(&broker, "clicks", &answered, unrecorded);
}

/// What ext4 does by itself when it meets an error it cannot pass: from then on nothing can be written.
#[test]
fn a_file_system_that_turns_read_only_loses_no_click_through_kafkas_absence_a_kill_and_its_repair() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(case) = Case::new(&broker, "clicks") else { return };
    let mut case = case.env("WAYPOST__JOURNAL__SPILL", "always").start();
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let trouble = Instant::now();
    case.disk.abort();
    alarmed(&case.site, "");
    clicking.more(1000);
    let mut answered = clicking.end(trouble, "read-only disk");
    broker.stop();
    answered.extend(clicked(&case.site, 20_000..20_500));
    case.site.kill();
    // On the broken disk it says so and does not start.
    let (code, log) = case.site.refused();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("Read-only file system") && log.contains(&case.site.data().display().to_string()), "{log}");
    assert!(log.contains("healthy disk"), "what to do: {log}");
    case.disk.mount_again();
    case.site.restart();
    assert!(case.site.metric("waypost_clicks_recovered_total", "") >= 500.0);
    broker.restart();
    case.found(&broker, "clicks", &answered, 0);
}

#[test]
fn a_data_directory_removed_under_it_loses_no_click_while_kafka_is_well_and_is_told() {
    let Some(broker) = Broker::shared() else { return };
    let Some(mut case) = Case::new(&broker, "diskremoved").map(Case::start) else { return };
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let trouble = Instant::now();
    case.removed();
    let line = case.site.tells("checkpoint_failed", "none", "spill-stopped");
    assert!(line["error"].as_str().unwrap().contains("removed by somebody else"), "{line}");
    assert!(case.site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"") > 0.0);
    clicking.more(1000);
    let answered = clicking.end(trouble, "data directory removed");
    case.proved(&broker, "diskremoved", &answered, 0);
}

#[test]
fn a_data_directory_removed_under_it_while_kafka_is_away_keeps_the_ring_and_the_next_start_can_take_it_over() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    let Some(mut case) = Case::new(&broker, "clicks").map(|case| case.env("WAYPOST__EDGE__ID", "e1").start()) else {
        return;
    };
    let mut answered = clicked(&case.site, 0..50);
    delivered(&case.site, "clicks", 50);
    case.removed();
    broker.stop();
    answered.extend(clicked(&case.site, 50..500));
    alarmed(&case.site, "");
    case.site.kill();
    let (code, log) = case.site.refused();
    assert_eq!(code, Some(1), "{log}");
    let ring = case.site.path("rings/lane-0000.ring").display().to_string();
    let lane = case.site.data().join("journal/lane-0000");
    assert!(log.contains(&ring) && log.contains(&lane.display().to_string()), "what to do: {log}");
    std::fs::create_dir_all(lane).unwrap();
    case.site.restart();
    broker.restart();
    case.found(&broker, "clicks", &answered, 0);
}

#[test]
fn rings_removed_under_it_are_told_and_a_restart_in_good_order_loses_no_click() {
    let Some(broker) = Broker::shared() else { return };
    let Some(mut case) = Case::new(&broker, "ringremoved").map(Case::start) else { return };
    let clicking = Clicking::start(&case.site);
    clicking.more(300);
    let trouble = Instant::now();
    let ring = case.site.path("rings/lane-0000.ring");
    std::fs::remove_file(&ring).unwrap();
    let line = case.site.tells("ring_gone", "bounded", "ring-gone");
    assert_eq!(line["path"], ring.display().to_string());
    until("the alarm", || (case.site.metric("waypost_journal_ring_gone", "") == 1.0).then_some(()));
    clicking.more(500);
    let mut answered = clicking.end(trouble, "ring removed");
    let (code, log) = case.site.stop();
    assert_eq!(code, Some(0), "{log}");
    case.site.restart();
    assert_eq!(case.site.metric("waypost_journal_ring_gone", ""), 0.0);
    assert_eq!(case.site.told("lane_cut"), 0, "everything had a home");
    answered.extend(clicked(&case.site, 30_000..30_100));
    case.found(&broker, "ringremoved", &answered, 0);
}

#[test]
fn a_log_on_a_full_disk_ends_no_process_and_costs_no_click() {
    let [listen, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen, admin] = [listen, admin].map(|held| held.local_addr().unwrap());
    let site = Site::new(&[link("live")]);
    let (links, data) = (site.path("links.jsonl"), site.data());
    let mut serve = site.command(&["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    serve.arg("--links").arg(&links).arg("--data-dir").arg(&data);
    // Every write to it fails with ENOSPC.
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut child = Ended(serve.stdout(full()).stderr(full()).spawn().unwrap());
    until("it listens", || TcpStream::connect(listen).ok());
    let mut wire = Wire::to(listen);
    for number in 0..20 {
        // Each makes it log.
        let pid = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        let answer = wire.send(&request("GET", &format!("/live?sub1={number}"), &[]));
        assert_eq!(answer.status, 302);
    }
    assert!(child.0.try_wait().unwrap().is_none(), "it runs");
    assert_eq!(site.events_until("clicks", 20).len(), 20);
}

/// Ended when dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
