//! The last committed record of a key in a compacted topic: what an edge that delivers exactly once finds at its start.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{Config, Observer};

/// Records of every edge lie in the one partition that `waypost kafka setup` makes; of a topic with more, the first is used.
pub const PARTITION: i32 = 0;

/// A record found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its value.
    pub value: Vec<u8>,
    /// Where it lies; to be given as a hint the next time, so that little is read.
    pub offset: i64,
}

/// Reads the last committed value of a key, a step at a time, so that its thread can do something else in between.
///
/// What was committed before the first step is found for certain: the end of the log is noted, open transactions of others
/// included, and nothing is read before all of them are decided.
pub struct LastCommitted {
    topic: String,
    key: String,
    hint: Option<i64>,
    /// Sees the true end of the log.
    open: BaseConsumer<Observer>,
    /// Sees the end of what is decided.
    committed: BaseConsumer<Observer>,
    end: Option<i64>,
    /// Where reading began, once it did.
    from: Option<Offset>,
    found: Option<Found>,
}

impl LastCommitted {
    /// Makes the clients; connects to nothing yet. `hint`: where a record of the key was seen.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(config: &Config, edge: &str, key: &str, hint: Option<i64>) -> Result<LastCommitted, String> {
        let client = |isolation: &str| {
            let mut settings: ClientConfig = config.client(edge)?;
            settings
                .set("isolation.level", isolation)
                // Never joined nor committed to: the partition is assigned by hand.
                .set("group.id", format!("waypost-{edge}"))
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "earliest");
            BaseConsumer::from_config_and_context(&settings, Observer::silent())
                .map_err(|why| format!("no Kafka consumer: {why}"))
        };
        Ok(LastCommitted {
            topic: config.checkpoints.clone(),
            key: key.to_owned(),
            hint,
            open: client("read_uncommitted")?,
            committed: client("read_committed")?,
            end: None,
            from: None,
            found: None,
        })
    }

    /// Goes on for `patience` at most: `None` if there is more to do, else the record, if the key has one.
    ///
    /// # Errors
    /// What a broker refused. It may be tried again.
    pub fn step(&mut self, patience: Duration) -> Result<Option<Option<Found>>, KafkaError> {
        let deadline = Instant::now() + patience;
        if self.from.is_none() {
            let end = match self.end {
                Some(end) => end,
                None => self.open.fetch_watermarks(&self.topic, PARTITION, patience)?.1,
            };
            self.end = Some(end);
            let (first, decided) = self.committed.fetch_watermarks(&self.topic, PARTITION, patience)?;
            if decided < end {
                return Ok(None);
            }
            let hint = self.hint.filter(|hint| (first..decided).contains(hint));
            self.read_from(hint.map_or(Offset::Beginning, Offset::Offset))?;
        }
        loop {
            match self.committed.poll(deadline.saturating_duration_since(Instant::now())) {
                None => return Ok(None),
                Some(Ok(message)) if message.key() == Some(self.key.as_bytes()) => {
                    let value = message.payload().map(<[u8]>::to_vec);
                    self.found = value.map(|value| Found { value, offset: message.offset() });
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(_))) => match (self.found.take(), self.from) {
                    // The hint was for another topic of this name, which is gone.
                    (None, Some(Offset::Offset(_))) => self.read_from(Offset::Beginning)?,
                    (found, _) => return Ok(Some(found)),
                },
                Some(Err(why)) if transient(&why) => {}
                Some(Err(why)) => return Err(why),
            }
        }
    }

    /// The last error that a client met, as librdkafka words it.
    pub fn last_error(&self) -> Option<String> {
        [&self.committed, &self.open].into_iter().find_map(|client| client.context().last_error())
    }

    fn read_from(&mut self, from: Offset) -> Result<(), KafkaError> {
        let mut partition = TopicPartitionList::new();
        partition.add_partition_offset(&self.topic, PARTITION, from)?;
        self.committed.assign(&partition)?;
        self.from = Some(from);
        Ok(())
    }
}

/// Errors that a consumer reports on its way to the next broker.
fn transient(why: &KafkaError) -> bool {
    matches!(
        why.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve)
    )
}
