//! The topic monitor: a thread that checks whether each topic exists, may be described, keeps enough replicas, and
//! keeps its records for long enough.
//!
//! Nothing waits for it. A missing topic is logged, by its name and with what to do, and raises an alarm until it
//! exists.

use std::{
    io,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics::Gauge;

use super::{Config, REQUEST_TIMEOUT, Refusal, TopicAdmin, TopicDescription, TopicState};
use crate::{
    faults::{self, log_fault},
    lifecycle::StopSignal,
    metrics as table,
    word_enum::word_enum,
};

/// With fewer replicas, acknowledged clicks can be lost together with one broker.
const WANTED_REPLICATION: usize = 3;
/// With fewer in-sync replicas, an acknowledged click can be on one disk only.
const WANTED_MIN_INSYNC: usize = 2;
/// How long a click can be needed: 14 days to the order, 30 to its delivery, 14 to its confirmation, 30 to its payment.
const PAY_WINDOW: Duration = Duration::from_secs(88 * 86_400);
/// The time between two checks until every topic was described.
const FIRST_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two checks afterwards: somebody can alter or delete a topic.
const CHECK_INTERVAL: Duration = Duration::from_secs(300);
/// How often the thread checks whether to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// One topic, and the alarms of its last check.
struct MonitoredTopic {
    name: String,
    cleanup: RequiredCleanup,
    replication: Gauge,
    min_insync: Gauge,
    alarm_gauges: [(TopicAlarm, Gauge); TopicAlarm::ALL.len()],
    /// The alarms that were logged last; `None` before the first check.
    logged: Option<Vec<TopicAlarm>>,
}

/// How a topic must remove old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequiredCleanup {
    /// By age alone, after the pay window: clicks, and the statements that prove them.
    AfterPayWindow,
    /// By key alone: the last checkpoint of an edge stays for good.
    Compaction,
    /// By key alone, and no record may be lost with a leader: the links themselves.
    Links,
    /// By age alone, whenever: the audit of links.
    Audit,
}

impl RequiredCleanup {
    /// The alarm of a topic whose policy is another one.
    const fn alarm_of_wrong_policy(self) -> TopicAlarm {
        match self {
            RequiredCleanup::AfterPayWindow | RequiredCleanup::Compaction => TopicAlarm::CleanupPolicy,
            RequiredCleanup::Links | RequiredCleanup::Audit => TopicAlarm::LinksUnsafe,
        }
    }
}

/// The topic of links and that of its audit.
#[derive(Clone, Debug)]
pub struct LinkTopics {
    /// The links.
    pub links: String,
    /// Their audit.
    pub audit: String,
}

word_enum! {
    /// What is wrong with a topic; the word is the value of the label `reason` in metrics.
    enum TopicAlarm {
        Missing = "missing",
        NotAuthorized = "not_authorized",
        Replication = "replication",
        MinInsync = "min_insync",
        CleanupPolicy = "cleanup_policy",
        Retention = "retention",
        LinksUnsafe = "links_unsafe",
    }
}

/// Starts the thread `wp-kafka-watch` for the topics of `config`. `server` starts it once if Kafka is configured. The
/// thread ends within [`REQUEST_TIMEOUT`] of `stop`; nobody has to wait for it.
///
/// # Errors
/// The system gives no thread.
pub fn spawn_topic_monitor_thread(
    config: Config,
    edge: String,
    link_topics: Option<LinkTopics>,
    stop: StopSignal,
) -> io::Result<JoinHandle<()>> {
    let mut topics: Vec<MonitoredTopic> = config
        .list_written_topics()
        .into_iter()
        .map(|name| {
            let is_checkpoints = name == config.topics.checkpoints;
            MonitoredTopic::new(
                name,
                if is_checkpoints { RequiredCleanup::Compaction } else { RequiredCleanup::AfterPayWindow },
            )
        })
        .collect();
    if let Some(LinkTopics { links, audit }) = link_topics {
        topics.push(MonitoredTopic::new(&links, RequiredCleanup::Links));
        topics.push(MonitoredTopic::new(&audit, RequiredCleanup::Audit));
    }
    std::thread::Builder::new().name("wp-kafka-watch".to_owned()).spawn(move || {
        while !stop.is_set() {
            let all_described = update_topic_gauges_and_return_if_all_described(&config, &edge, &mut topics);
            let next = Instant::now() + if all_described { CHECK_INTERVAL } else { FIRST_CHECK_INTERVAL };
            while Instant::now() < next && !stop.is_set() {
                std::thread::sleep(STOP_CHECK_INTERVAL);
            }
        }
    })
}

/// Describes the topics, sets their gauges and logs changes. Returns whether every topic could be described.
fn update_topic_gauges_and_return_if_all_described(config: &Config, edge: &str, topics: &mut [MonitoredTopic]) -> bool {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let states = TopicAdmin::new(config, edge).and_then(|admin| admin.describe_topics(&names, REQUEST_TIMEOUT));
    match states {
        Ok(states) => {
            for (topic, state) in topics.iter_mut().zip(&states) {
                topic.set_gauges_and_log_changes(state);
            }
            states.iter().all(|state| matches!(state, TopicState::Present(_)))
        }
        Err(why) => {
            // The producer's own client logs, rate-limited, that brokers are away.
            tracing::debug!("the topics cannot be checked: {why}");
            false
        }
    }
}

impl MonitoredTopic {
    fn new(name: &str, cleanup: RequiredCleanup) -> MonitoredTopic {
        MonitoredTopic {
            name: name.to_owned(),
            cleanup,
            replication: table::gauge(&table::KAFKA_TOPIC_REPLICATION, &[name]),
            min_insync: table::gauge(&table::KAFKA_TOPIC_MIN_INSYNC, &[name]),
            alarm_gauges: TopicAlarm::ALL.map(|alarm| {
                let gauge = table::gauge(&table::KAFKA_TOPIC_ALARM, &[name, alarm.as_str()]);
                gauge.set(0.0);
                (alarm, gauge)
            }),
            logged: None,
        }
    }

    /// Sets the gauges, and logs the alarms if they have changed.
    fn set_gauges_and_log_changes(&mut self, state: &TopicState) {
        let raised = find_topic_alarms(state, self.cleanup);
        if let TopicState::Present(topic) = state {
            self.replication.set(topic.replication as f64);
            self.min_insync.set(topic.min_insync().unwrap_or(0) as f64);
        }
        for (alarm, gauge) in &self.alarm_gauges {
            gauge.set(f64::from(u8::from(raised.contains(alarm))));
        }
        if self.logged.as_ref() != Some(&raised) {
            self.log_topic_alarms_or_all_clear(state, &raised);
            self.logged = Some(raised);
        }
    }

    fn log_topic_alarms_or_all_clear(&self, state: &TopicState, raised: &[TopicAlarm]) {
        let topic = self.name.as_str();
        match state {
            TopicState::Missing => {
                log_fault!(error, faults::TOPIC_MISSING, topic, "{}", Refusal::TopicMissing.advice_for_operator(topic))
            }
            TopicState::NotAuthorized => {
                log_fault!(
                    error,
                    faults::TOPIC_NOT_AUTHORIZED,
                    topic,
                    "{}",
                    Refusal::NotAuthorized.advice_for_operator(topic)
                )
            }
            TopicState::Present(TopicDescription { partitions, replication, .. }) if raised.is_empty() => {
                tracing::info!(topic, partitions, replication, "the topic has the wanted settings");
            }
            TopicState::Present(description) => {
                if raised.iter().any(|alarm| matches!(alarm, TopicAlarm::Replication | TopicAlarm::MinInsync)) {
                    log_fault!(
                        warn,
                        faults::TOPIC_FEW_COPIES,
                        topic,
                        replication = description.replication,
                        min_insync = description.min_insync(),
                        "an acknowledged record can be lost with one broker: {WANTED_REPLICATION} replicas and \
                         min.insync.replicas={WANTED_MIN_INSYNC} are needed; `waypost kafka setup` shows what to change"
                    );
                }
                let is_about_removal = |alarm: &TopicAlarm| {
                    matches!(alarm, TopicAlarm::CleanupPolicy | TopicAlarm::Retention | TopicAlarm::LinksUnsafe)
                };
                if raised.iter().any(is_about_removal) {
                    self.log_cleanup_alarm(description);
                }
            }
        }
    }

    fn log_cleanup_alarm(&self, description: &TopicDescription) {
        let setting = |key| description.find_setting(key).unwrap_or("unknown");
        let wanted = match self.cleanup {
            RequiredCleanup::AfterPayWindow => format!(
                "Kafka removes records of this topic before they are paid: it needs cleanup.policy=delete, \
                 retention.bytes=-1 and a retention.ms of at least {} ({} days)",
                PAY_WINDOW.as_millis(),
                PAY_WINDOW.as_secs() / 86_400
            ),
            RequiredCleanup::Compaction => {
                "Kafka removes the checkpoints of edges: this topic needs cleanup.policy=compact".to_owned()
            }
            RequiredCleanup::Links => "Kafka can lose links: this topic needs one partition, cleanup.policy=compact \
                                       alone, and unclean.leader.election.enable=false"
                .to_owned(),
            RequiredCleanup::Audit => {
                "Kafka keeps one change of each link: this topic needs cleanup.policy=delete".to_owned()
            }
        };
        let fault = match self.cleanup {
            RequiredCleanup::AfterPayWindow | RequiredCleanup::Compaction => faults::TOPIC_REMOVES_CLICKS,
            RequiredCleanup::Links | RequiredCleanup::Audit => faults::TOPIC_REMOVES_LINKS,
        };
        log_fault!(
            error,
            fault,
            topic = self.name.as_str(),
            cleanup_policy = setting("cleanup.policy"),
            retention_ms = setting("retention.ms"),
            retention_bytes = setting("retention.bytes"),
            "{wanted}; `waypost kafka setup` shows what to change"
        );
    }
}

/// The alarms of a topic. A setting that may not be read raises none.
fn find_topic_alarms(state: &TopicState, cleanup: RequiredCleanup) -> Vec<TopicAlarm> {
    match state {
        TopicState::Missing => vec![TopicAlarm::Missing],
        TopicState::NotAuthorized => vec![TopicAlarm::NotAuthorized],
        TopicState::Present(topic) => [
            (topic.replication < WANTED_REPLICATION).then_some(TopicAlarm::Replication),
            topic.min_insync().is_some_and(|replicas| replicas < WANTED_MIN_INSYNC).then_some(TopicAlarm::MinInsync),
            is_cleanup_policy_wrong(topic, cleanup).then_some(cleanup.alarm_of_wrong_policy()),
            is_retention_too_short(topic, cleanup).then_some(TopicAlarm::Retention),
            can_lose_links(topic, cleanup).then_some(TopicAlarm::LinksUnsafe),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn is_cleanup_policy_wrong(topic: &TopicDescription, required: RequiredCleanup) -> bool {
    let policy = match required {
        RequiredCleanup::AfterPayWindow | RequiredCleanup::Audit => "delete",
        RequiredCleanup::Compaction | RequiredCleanup::Links => "compact",
    };
    topic.find_setting("cleanup.policy").is_some_and(|found| found.trim() != policy)
}

/// Whether a replica that lacks links may become the leader, or links are in partitions that nobody reads.
fn can_lose_links(topic: &TopicDescription, required: RequiredCleanup) -> bool {
    let unclean = topic.find_setting("unclean.leader.election.enable");
    required == RequiredCleanup::Links
        && (topic.partitions != 1 || unclean.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")))
}

/// Whether age or size removes records within the pay window. -1 is no limit.
fn is_retention_too_short(topic: &TopicDescription, required: RequiredCleanup) -> bool {
    let number = |key| topic.find_setting(key)?.parse::<i128>().ok();
    required == RequiredCleanup::AfterPayWindow
        && (number("retention.ms").is_some_and(|ms| ms >= 0 && ms < PAY_WINDOW.as_millis() as i128)
            || number("retention.bytes").is_some_and(|bytes| bytes >= 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::SettingValue;

    fn present(replication: usize, min_insync: Option<&str>) -> TopicState {
        let settings = min_insync
            .map(|replicas| {
                ("min.insync.replicas".to_owned(), SettingValue { value: replicas.to_owned(), is_own: true })
            })
            .into_iter()
            .collect();
        TopicState::Present(TopicDescription { partitions: 1, replication, settings })
    }

    #[test]
    fn a_topic_that_removes_clicks_by_key_by_size_or_before_they_are_paid_raises_an_alarm() {
        let with = |settings: &[(&str, &str)], cleanup| {
            let TopicState::Present(mut topic) = present(3, Some("2")) else { panic!() };
            for (key, value) in settings {
                let value = SettingValue { value: (*value).to_owned(), is_own: true };
                topic.settings.insert((*key).to_owned(), value);
            }
            find_topic_alarms(&TopicState::Present(topic), cleanup)
        };
        let clicks = |settings: &[(&str, &str)]| with(settings, RequiredCleanup::AfterPayWindow);
        let day_ms = 86_400_000u64;
        assert_eq!(clicks(&[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]), []);
        assert_eq!(clicks(&[("retention.ms", &(88 * day_ms).to_string())]), []);
        assert_eq!(clicks(&[("retention.ms", &(88 * day_ms - 1).to_string())]), [TopicAlarm::Retention]);
        assert_eq!(clicks(&[("retention.bytes", "1073741824")]), [TopicAlarm::Retention]);
        for policy in ["compact", "compact,delete", "delete,compact"] {
            assert_eq!(clicks(&[("cleanup.policy", policy)]), [TopicAlarm::CleanupPolicy], "{policy}");
        }
        let checkpoints = |settings: &[(&str, &str)]| with(settings, RequiredCleanup::Compaction);
        assert_eq!(checkpoints(&[("cleanup.policy", "compact"), ("retention.ms", "604800000")]), []);
        assert_eq!(checkpoints(&[("cleanup.policy", "delete")]), [TopicAlarm::CleanupPolicy]);
        let links = |settings: &[(&str, &str)]| with(settings, RequiredCleanup::Links);
        assert_eq!(links(&[("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false")]), []);
        assert_eq!(
            links(&[("cleanup.policy", "compact,delete"), ("unclean.leader.election.enable", "true")]),
            [TopicAlarm::LinksUnsafe, TopicAlarm::LinksUnsafe]
        );
    }

    #[test]
    fn fewer_than_three_replicas_or_two_in_sync_raise_an_alarm() {
        assert_eq!(find_topic_alarms(&present(3, Some("2")), RequiredCleanup::AfterPayWindow), []);
        assert_eq!(find_topic_alarms(&present(3, None), RequiredCleanup::AfterPayWindow), []);
        assert_eq!(
            find_topic_alarms(&present(2, Some("2")), RequiredCleanup::AfterPayWindow),
            [TopicAlarm::Replication]
        );
        assert_eq!(
            find_topic_alarms(&present(1, Some("1")), RequiredCleanup::AfterPayWindow),
            [TopicAlarm::Replication, TopicAlarm::MinInsync]
        );
        assert_eq!(find_topic_alarms(&TopicState::Missing, RequiredCleanup::AfterPayWindow), [TopicAlarm::Missing]);
    }
}
