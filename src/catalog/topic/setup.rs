//! Writes the record `a/generation` to a topic that has none: for `waypost kafka setup`. A server never does.

use std::time::{Duration, Instant};

use rand::{TryRng, rngs::SysRng};
use rdkafka::{
    config::FromClientConfigAndContext,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    consumer::{Isolation, PARTITION, Polled, TopicConsumer},
    record::{GenerationValue, RecordContent},
    record_key::RecordKey,
};
use crate::kafka::{ClientObserver, Config};

/// How long reading a topic may take. The record is the first one of a topic that `kafka setup` made.
const READ_TIME: Duration = Duration::from_secs(60);
/// How long writing the record may take.
const WRITE_TIME: Duration = Duration::from_secs(15);

/// The generation of a topic of links; `None` if it has no record of it.
///
/// # Errors
/// The topic cannot be read to its end.
pub fn find_generation_of_topic(config: &Config, topic: &str) -> Result<Option<String>, String> {
    let consumer = TopicConsumer::new(config, "setup", topic, Isolation::ReadCommitted)?;
    consumer.read_from(None)?;
    let deadline = Instant::now() + READ_TIME;
    let mut found = None;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Polled::Record(record) => match record.parse() {
                // The first record, as a rule: the rest need not be read.
                Ok(RecordContent::Generation { id }) => found = Some(id),
                _ if found.is_some() => return Ok(found),
                _ => {}
            },
            Polled::End => return Ok(found),
            Polled::Lost(why) => return Err(why),
            Polled::Nothing => {}
        }
    }
    Err(consumer.explain(&format!("topic `{topic}` cannot be read to its end in {READ_TIME:?}")))
}

/// Gives a topic of links a new generation.
///
/// # Errors
/// The record is not written.
pub fn write_new_generation(config: &Config, topic: &str) -> Result<(), String> {
    let mut random = [0; 16];
    SysRng.try_fill_bytes(&mut random).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    let generation = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
    let value = serde_json::to_string(&GenerationValue { generation }).map_err(|error| error.to_string())?;
    let mut settings = config.build_producer_settings("setup")?;
    settings.remove("transactional.id");
    settings.set("message.timeout.ms", "10000").set("statistics.interval.ms", "0");
    let producer: BaseProducer<ClientObserver> =
        BaseProducer::from_config_and_context(&settings, ClientObserver::silent()).map_err(|why| why.to_string())?;
    let key = RecordKey::Generation.to_string();
    let record = BaseRecord::to(topic).key(&key).payload(&value).partition(PARTITION);
    producer.send(record).map_err(|(why, _)| why.to_string())?;
    producer.flush(WRITE_TIME).map_err(|why| format!("topic `{topic}`: the record {key} is not written: {why}"))?;
    // A record that is refused leaves the queue too.
    match find_generation_of_topic(config, topic)? {
        Some(found) if value.contains(&found) => Ok(()),
        _ => Err(format!("topic `{topic}`: the record {key} was refused; it needs WRITE on the topic")),
    }
}
