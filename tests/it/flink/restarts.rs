//! The jobs run while records come, stop with a savepoint, are killed, and start again; records come late, twice and
//! out of order; the clock of the states moves. In the end the rows are those of the cases, and a run over the same
//! topics from the beginning gives the same rows.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rdkafka::message::OwnedHeaders;
use serde_json::{Value, json};

use super::{
    cases::{self, AS_OF_MS, Case, key_of},
    install::{FlinkInstall, flink_install},
    topics::Topics,
};
use crate::kafka::{
    broker::{Broker, Kind, stop},
    install::output,
};

const JOBS: [&str; 3] = ["winners", "commissions", "statistics"];
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long the jobs may take to start or to write what they were sent, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The launcher in continuous mode; killed when dropped.
struct Launcher {
    child: Child,
    log: std::path::PathBuf,
}

impl Launcher {
    fn start(install: &FlinkInstall, topics: &Topics, dir: &Path, number: usize) -> Launcher {
        let log = dir.join(format!("flink-{number}.log"));
        let file = fs::File::create(&log).unwrap();
        let mut command = install.run_sql("run", &JOBS);
        command.args(topics.settings()).arg(format!("STATE_DIR={}", dir.join("state").display()));
        command.args(["CHECKPOINT_INTERVAL=500 ms", &format!("TICK_MS={HOUR_MS}")]);
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Launcher { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a condition holds; fails with the log if the launcher ends before.
    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.log()) {
            assert!(self.child.try_wait().unwrap().is_none(), "the launcher ended: {}", self.log());
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// SIGTERM; every job must write a savepoint.
    fn stop_with_savepoints(mut self) {
        stop(&mut self.child);
        let log = self.log();
        assert_eq!(log.matches("stopped, savepoint ").count(), JOBS.len(), "{log}");
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows of a topic without the time that they are of, which here is that of the last change.
fn rows_without_time(topics: &Topics, topic: &str) -> BTreeMap<String, Value> {
    let mut rows = topics.rows(&topics.name(topic));
    rows.values_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("as_of_ms")));
    rows
}

/// The cases that do not ask for a time before a version of their orders: the jobs know each version at once.
fn cases_of_the_default_policy() -> Vec<Case> {
    let default = cases::by_policy().into_iter().find(|policy| policy.settings.is_empty()).unwrap();
    let is_known = |case: &Case| case.orders.iter().all(|order| order["updated_at_ms"].as_i64().unwrap() <= AS_OF_MS);
    default.cases.into_iter().filter(is_known).collect()
}

fn send_ticks(topics: &Topics, until_ms: i64) {
    for at in ((AS_OF_MS - 60 * DAY_MS)..=until_ms).step_by(HOUR_MS as usize) {
        topics.send("ticks", &at.to_string(), &json!({ "as_of_ms": at }).to_string(), None, OwnedHeaders::new());
    }
}

/// An order that arrives an hour after its freeze, and a record that is no order.
fn send_late_and_refused(topics: &Topics, case: &Case) {
    let mut order = case.orders[0].clone();
    order["order_id"] = "late".into();
    topics.send_order_at(&order, Some(order["paid_at_ms"].as_i64().unwrap() + 14 * DAY_MS + HOUR_MS));
    order["order_id"] = "wrong".into();
    order["lines"][0]["quantity"] = 0.into();
    topics.send_order(&order);
}

#[test]
#[ignore = "long: Flink starts four times"]
fn rows_stay_right_over_a_savepoint_a_kill_repeats_late_records_and_a_replay() {
    let Some(install) = flink_install() else { return };
    let Some(broker) = Broker::start(Kind::Plain) else { return };
    let dir = tempfile::tempdir().unwrap();
    let topics = Topics::create(&broker);
    let cases = cases_of_the_default_policy();
    let (early, late) = cases.split_at(cases.len() / 2);

    // Orders before their clicks and links.
    early.iter().flat_map(|case| &case.orders).for_each(|order| topics.send_order(order));
    topics.flush();
    let mut launcher = Launcher::start(install, &topics, dir.path(), 1);
    let lines = |cases: &[Case]| cases.iter().map(|case| case.expected.len()).sum::<usize>();
    launcher
        .wait_until("a row for each early line", |_| topics.rows(&topics.name("commissions")).len() >= lines(early));
    early.iter().for_each(|case| topics.send_case(case));
    send_late_and_refused(&topics, &early[0]);
    topics.flush();
    launcher.stop_with_savepoints();

    late.iter().for_each(|case| topics.send_case(case));
    send_ticks(&topics, AS_OF_MS - 10 * DAY_MS);
    topics.flush();
    let mut launcher = Launcher::start(install, &topics, dir.path(), 2);
    launcher.wait_until("every job continues from its savepoint", |log| {
        log.matches("running, from /").count() == JOBS.len()
    });
    launcher.wait_until("a row for each line", |_| topics.rows(&topics.name("commissions")).len() >= lines(&cases));
    launcher.child.kill().unwrap();
    drop(launcher);

    cases.iter().for_each(|case| topics.send_case(case));
    send_ticks(&topics, AS_OF_MS);
    topics.flush();
    let mut launcher = Launcher::start(install, &topics, dir.path(), 3);
    let mut expected = BTreeMap::new();
    for row in cases.iter().flat_map(|case| &case.expected) {
        let mut row = row.clone();
        row.as_object_mut().unwrap().remove("as_of_ms");
        expected.insert(key_of(&row), row);
    }
    launcher.wait_until("every row is that of its case", |_| rows_without_time(&topics, "commissions") == expected);
    launcher.stop_with_savepoints();
    for (topic, what) in [("late_orders", "late"), ("refused_orders", "wrong")] {
        let records = broker.read(&[&topics.name(topic)], 0, Duration::from_secs(30));
        assert_eq!(records.len(), 1, "exactly once: {records:?}");
        assert!(records[0].value.as_ref().unwrap().contains(what), "{records:?}");
    }

    // From the beginning, to other topics.
    let mut replay = install.run_sql("run", &["winners", "commissions"]);
    replay.args(topics.settings()).args(["MODE=bounded", "GROUP=replay", &format!("TICK_MS={HOUR_MS}")]);
    let again = ["winners", "commissions", "late_orders", "refused_orders"].map(|topic| {
        broker.create_topic(&topics.name(&format!("{topic}-again")), 1, &[("retention.ms", "-1")]);
        format!("TOPIC_{}={}", topic.to_uppercase(), topics.name(&format!("{topic}-again")))
    });
    output(replay.args(again)).unwrap();
    assert_eq!(topics.rows(&topics.name("commissions-again")), topics.rows(&topics.name("commissions")));
}
