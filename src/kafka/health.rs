//! A thread that looks at the topics from start on: are they there, may we see them, how many copies do they keep.
//!
//! It never holds anything up: a missing topic is said (by its name, with what to do) and shown as an alarm until it is there.

use std::{
    io,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics::Gauge;

use super::{Config, PATIENCE, Refusal, TopicFacts, TopicState, Topics};
use crate::{
    faults::{self, say},
    lifecycle::Stop,
    metrics as table,
};

/// Copies below which the loss of one broker can take acknowledged clicks with it.
const REPLICATION: usize = 3;
/// In-sync copies below which an acknowledgement stands on one disk.
const MIN_INSYNC: usize = 2;
/// Until every topic was seen.
const SOON: Duration = Duration::from_secs(10);
/// Afterwards: a topic can be altered or deleted behind our back.
const LATER: Duration = Duration::from_secs(300);
/// How often the thread looks whether to stop.
const STOP: Duration = Duration::from_millis(100);

/// What the last look at one topic found.
struct Watched {
    name: String,
    replication: Gauge,
    min_insync: Gauge,
    alarms: [(Alarm, Gauge); 4],
    said: Option<Vec<Alarm>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    Missing,
    NotAuthorized,
    Replication,
    MinInsync,
}

impl Alarm {
    const ALL: [Alarm; 4] = [Alarm::Missing, Alarm::NotAuthorized, Alarm::Replication, Alarm::MinInsync];

    fn as_str(self) -> &'static str {
        match self {
            Alarm::Missing => "missing",
            Alarm::NotAuthorized => "not_authorized",
            Alarm::Replication => "replication",
            Alarm::MinInsync => "min_insync",
        }
    }
}

/// Starts the watch on the topics of `config`; `server` starts it once if Kafka is configured. The thread ends within
/// [`PATIENCE`] of `stop`; nobody has to wait for it.
///
/// # Errors
/// The system gives no thread.
pub fn watch(config: Config, edge: String, stop: Stop) -> io::Result<JoinHandle<()>> {
    let mut topics: Vec<Watched> = config.all_topics().into_iter().map(Watched::new).collect();
    std::thread::Builder::new().name("wp-kafka-watch".to_owned()).spawn(move || {
        while !stop.is_set() {
            let seen = look(&config, &edge, &mut topics);
            let next = Instant::now() + if seen { LATER } else { SOON };
            while Instant::now() < next && !stop.is_set() {
                std::thread::sleep(STOP);
            }
        }
    })
}

/// One look; whether every topic was seen.
fn look(config: &Config, edge: &str, topics: &mut [Watched]) -> bool {
    let names = config.all_topics();
    let states = Topics::new(config, edge).and_then(|client| client.look(&names, PATIENCE));
    match states {
        Ok(states) => {
            for (topic, state) in topics.iter_mut().zip(&states) {
                topic.found(state);
            }
            states.iter().all(|state| matches!(state, TopicState::Present(_)))
        }
        Err(why) => {
            // The shipper's own client says, rate-limited, that brokers are away.
            tracing::debug!("topics not looked at: {why}");
            false
        }
    }
}

impl Watched {
    fn new(name: &str) -> Watched {
        Watched {
            name: name.to_owned(),
            replication: table::gauge(&table::KAFKA_TOPIC_REPLICATION, &[name]),
            min_insync: table::gauge(&table::KAFKA_TOPIC_MIN_INSYNC, &[name]),
            alarms: Alarm::ALL.map(|alarm| {
                let gauge = table::gauge(&table::KAFKA_TOPIC_ALARM, &[name, alarm.as_str()]);
                gauge.set(0.0);
                (alarm, gauge)
            }),
            said: None,
        }
    }

    fn found(&mut self, state: &TopicState) {
        let raised = alarms(state);
        if let TopicState::Present(facts) = state {
            self.replication.set(facts.replication as f64);
            self.min_insync.set(facts.min_insync().unwrap_or(0) as f64);
        }
        for (alarm, gauge) in &self.alarms {
            gauge.set(f64::from(u8::from(raised.contains(alarm))));
        }
        if self.said.as_ref() != Some(&raised) {
            self.say(state, &raised);
            self.said = Some(raised);
        }
    }

    fn say(&self, state: &TopicState, raised: &[Alarm]) {
        let topic = self.name.as_str();
        match state {
            TopicState::Missing => say!(error, faults::TOPIC_MISSING, topic, "{}", Refusal::TopicMissing.advice(topic)),
            TopicState::NotAuthorized => {
                say!(error, faults::TOPIC_NOT_AUTHORIZED, topic, "{}", Refusal::NotAuthorized.advice(topic))
            }
            TopicState::Present(TopicFacts { partitions, replication, .. }) if raised.is_empty() => {
                tracing::info!(topic, partitions, replication, "topic is as it should be");
            }
            TopicState::Present(facts) => say!(
                warn,
                faults::TOPIC_FEW_COPIES,
                topic,
                replication = facts.replication,
                min_insync = facts.min_insync(),
                "an acknowledged click can be lost with one broker: {REPLICATION} replicas and min.insync.replicas={MIN_INSYNC} \
                 are wanted; `waypost kafka setup` shows the way"
            ),
        }
    }
}

/// What is wrong with a topic. A setting that may not be read raises nothing.
fn alarms(state: &TopicState) -> Vec<Alarm> {
    match state {
        TopicState::Missing => vec![Alarm::Missing],
        TopicState::NotAuthorized => vec![Alarm::NotAuthorized],
        TopicState::Present(facts) => [
            (facts.replication < REPLICATION).then_some(Alarm::Replication),
            facts.min_insync().is_some_and(|copies| copies < MIN_INSYNC).then_some(Alarm::MinInsync),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(replication: usize, min_insync: Option<&str>) -> TopicState {
        let settings = min_insync
            .map(|copies| ("min.insync.replicas".to_owned(), (copies.to_owned(), true)))
            .into_iter()
            .collect();
        TopicState::Present(TopicFacts { partitions: 1, replication, settings })
    }

    #[test]
    fn fewer_than_three_copies_or_two_in_sync_alarm() {
        assert_eq!(alarms(&present(3, Some("2"))), []);
        assert_eq!(alarms(&present(3, None)), []);
        assert_eq!(alarms(&present(2, Some("2"))), [Alarm::Replication]);
        assert_eq!(alarms(&present(1, Some("1"))), [Alarm::Replication, Alarm::MinInsync]);
        assert_eq!(alarms(&TopicState::Missing), [Alarm::Missing]);
    }
}
