//! Kafka as Waypost uses it: client settings, what an error means, statistics as metrics, and the topics' health.
//!
//! Settings come from three places, the later ones winning: librdkafka's defaults, [`RECOMMENDED`], the user's
//! `[kafka.properties]`. [`promise`] names the keys that a promise to the reader of the topic rests on; a user's value that would
//! break it is a mistake with its reason, never silently replaced.

mod context;
mod error;
mod health;
mod last;
mod promise;
mod properties;
mod topics;

use std::time::Duration;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError, producer::BaseProducer};
use serde::Deserialize;

pub use context::Observer;
pub use error::Refusal;
pub use health::watch;
pub use last::{Found, LastCommitted, PARTITION as CHECKPOINTS_PARTITION};
pub use properties::Properties;
pub use topics::{Change, Plan, Step, TopicAim, TopicFacts, TopicState, Topics};

/// The section `[kafka]`. Without `brokers` there is no Kafka, and clicks go into files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port`, several with commas: the brokers to ask first. Set also by `--kafka`. Default: none.
    pub brokers: Option<String>,
    /// The topic for clicks on live links. Default: `clicks`.
    pub clicks: String,
    /// The topic for clicks on unknown, expired, disabled and not yet started codes. Default: `clicks.orphan`.
    pub orphan: String,
    /// The topic on which lanes say how far they are, so that a reader can prove that no click is missing. Default:
    /// `clicks.lanes`.
    pub lanes: String,
    /// How clicks reach their topics. Default: `at-least-once`.
    pub delivery: Delivery,
    /// The compacted topic on which an edge that delivers exactly once commits, with the clicks themselves, how far it is.
    /// Default: `clicks.checkpoints`.
    pub checkpoints: String,
    /// Any key of librdkafka; `KEY_file` takes the value from a file. Default: none.
    pub properties: Properties,
}

/// How clicks reach their topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// A process or broker that dies can have clicks sent again, under their `click_id`.
    #[default]
    AtLeastOnce,
    /// Whoever reads with `isolation.level=read_committed` sees each click once.
    ExactlyOnce,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            brokers: None,
            clicks: "clicks".to_owned(),
            orphan: "clicks.orphan".to_owned(),
            lanes: "clicks.lanes".to_owned(),
            delivery: Delivery::default(),
            checkpoints: "clicks.checkpoints".to_owned(),
            properties: Properties::default(),
        }
    }
}

/// What the producer is told unless the user says otherwise. The queue bounds hold what the process may have in flight: 200 000
/// clicks near 1 KB fit 256 MiB. A linger above 20 ms would delay acknowledgements past the spill and double the disk's work.
pub const RECOMMENDED: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("max.in.flight.requests.per.connection", "5"),
    ("message.timeout.ms", "0"),
    ("linger.ms", "5"),
    ("batch.num.messages", "10000"),
    ("batch.size", "1000000"),
    ("compression.type", "lz4"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.messages", "200000"),
    ("queue.buffering.max.kbytes", "262144"),
    ("socket.timeout.ms", "30000"),
    ("socket.keepalive.enable", "true"),
    ("connections.max.idle.ms", "0"),
    ("reconnect.backoff.max.ms", "5000"),
    ("topic.metadata.refresh.interval.ms", "60000"),
    ("allow.auto.create.topics", "false"),
    ("statistics.interval.ms", "15000"),
];

impl Config {
    /// Whether clicks go to Kafka at all.
    pub fn enabled(&self) -> bool {
        self.brokers.is_some()
    }

    /// The topic names in the order of the journal's streams.
    pub fn topics(&self) -> [&str; 2] {
        [&self.clicks, &self.orphan]
    }

    /// Every topic that is written to: those of clicks, the lanes', and the checkpoints' under exactly-once.
    pub fn all_topics(&self) -> Vec<&str> {
        let mut topics = vec![&*self.clicks, &*self.orphan, &*self.lanes];
        if self.exactly_once() {
            topics.push(&self.checkpoints);
        }
        topics
    }

    /// Whether each click is to be seen once.
    pub fn exactly_once(&self) -> bool {
        self.delivery == Delivery::ExactlyOnce
    }

    /// The transactional id of an edge: whoever takes it up fences whoever had it before.
    pub fn transactional_id(edge: &str) -> String {
        format!("waypost-{edge}")
    }

    /// Every mistake of the section: the key relative to it, and what was found and what is allowed. Reads the files that
    /// `…_file` keys name; asks no broker.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(brokers) = &self.brokers
            && let Err(why) = check_brokers(brokers)
        {
            found.push(("brokers".to_owned(), why));
        }
        let names = [
            ("clicks", &self.clicks),
            ("orphan", &self.orphan),
            ("lanes", &self.lanes),
            ("checkpoints", &self.checkpoints),
        ];
        for (key, name) in names {
            if let Err(why) = topics::check_name(name) {
                found.push((key.to_owned(), why));
            }
        }
        if self.clicks == self.orphan {
            let why = format!("`{}` is already the topic of `clicks`; a reader counts on two topics", self.orphan);
            found.push(("orphan".to_owned(), why));
        }
        if self.topics().contains(&&*self.lanes) {
            let why = format!("`{}` is already a topic of clicks; statements stand apart", self.lanes);
            found.push(("lanes".to_owned(), why));
        }
        if [&self.clicks, &self.orphan, &self.lanes].contains(&&self.checkpoints) {
            let why = format!(
                "`{}` is already another topic; checkpoints are compacted, and clicks must not be",
                self.checkpoints
            );
            found.push(("checkpoints".to_owned(), why));
        }
        found.extend(self.properties.mistakes());
        if found.is_empty()
            && let Err(why) = self.try_creation()
        {
            found.push(("properties".to_owned(), why));
        }
        found
    }

    /// Settings that pass one by one can still refuse each other (`message.timeout.ms` below `linger.ms`, a CA file that is not
    /// one), and only a client in the making says so. It gets no brokers, so it connects to nothing.
    fn try_creation(&self) -> Result<(), String> {
        let mut config = self.producer("check")?;
        config.remove("bootstrap.servers").set_log_level(RDKafkaLogLevel::Emerg);
        match config.create_with_context::<_, BaseProducer<Observer>>(Observer::silent()) {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientCreation(why)) => Err(format!("librdkafka refuses these settings together: {why}")),
            Err(other) => Err(format!("librdkafka refuses these settings: {other}")),
        }
    }

    /// The shipper's producer settings; `edge` becomes part of the client id that the broker logs.
    ///
    /// # Errors
    /// A file named by a `…_file` key cannot be read. [`Config::mistakes`] finds it at start; it can vanish later.
    pub fn producer(&self, edge: &str) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        for (key, value) in RECOMMENDED {
            config.set(*key, *value);
        }
        self.overlay(&mut config, edge)?;
        if self.exactly_once() {
            // What a transaction holds must not wait longer than the transaction may stay open; it is sent again in another.
            let longest = config.get("transaction.timeout.ms").unwrap_or("60000").to_owned();
            config.set("message.timeout.ms", longest).set("transactional.id", Config::transactional_id(edge));
        }
        Ok(config)
    }

    /// Settings for the commands that read or set up topics: the user's connection settings without the producer's.
    ///
    /// # Errors
    /// As [`Config::producer`].
    pub fn client(&self, edge: &str) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        config.set("allow.auto.create.topics", "false").set("socket.keepalive.enable", "true");
        self.overlay(&mut config, edge)?;
        for key in promise::PRODUCER_ONLY {
            config.remove(key);
        }
        Ok(config)
    }

    fn overlay(&self, config: &mut ClientConfig, edge: &str) -> Result<(), String> {
        config.set("client.id", format!("waypost-{edge}"));
        for (key, value) in self.properties.resolved()? {
            // An alias of a recommended key replaces it: librdkafka would take the two in no certain order.
            config.set(promise::canonical(&key), value);
        }
        if let Some(brokers) = &self.brokers {
            config.set("bootstrap.servers", brokers);
        }
        config.set_log_level(log_level());
        Ok(())
    }
}

/// librdkafka writes what our own log would keep and no more.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else if tracing::enabled!(target: "librdkafka", tracing::Level::INFO) {
        RDKafkaLogLevel::Info
    } else {
        RDKafkaLogLevel::Warning
    }
}

/// `host:port` pieces; a scheme such as `SASL_SSL://` is librdkafka's way to name the protocol, and is allowed.
fn check_brokers(brokers: &str) -> Result<(), String> {
    for piece in brokers.split(',').map(str::trim) {
        let address = piece.split_once("://").map_or(piece, |(_, address)| address);
        let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !sound {
            return Err(format!("`{piece}` is not HOST:PORT; several brokers are written HOST:PORT,HOST:PORT"));
        }
    }
    Ok(())
}

/// How long a question to a broker may take before it counts as unanswered.
pub const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn the_defaults_have_no_mistakes_and_no_brokers() {
        let config = Config::default();
        assert!(!config.enabled());
        assert_eq!(config.mistakes(), []);
        assert_eq!(config.topics(), ["clicks", "clicks.orphan"]);
    }

    #[test]
    fn a_users_property_wins_over_a_recommended_one_even_by_its_alias() {
        let config =
            config("brokers = \"h:9092\"\n[properties]\n\"queue.buffering.max.ms\" = 10\ncompression.codec = \"zstd\"");
        assert_eq!(config.mistakes(), []);
        let client = config.producer("e1").unwrap();
        assert_eq!(client.get("linger.ms"), Some("10"));
        assert_eq!(client.get("queue.buffering.max.ms"), None);
        assert_eq!(client.get("compression.type"), Some("zstd"));
        assert_eq!(client.get("acks"), Some("all"));
        assert_eq!(client.get("client.id"), Some("waypost-e1"));
        assert_eq!(client.get("bootstrap.servers"), Some("h:9092"));
    }

    #[test]
    fn every_mistake_of_the_section_is_reported_at_once() {
        let config = config(
            "brokers = \"nowhere\"\nclicks = \"a b\"\norphan = \"\"\n[properties]\nacks = 1\nlinger.msec = 5\n\
             \"sasl.password_file\" = \"/does/not/exist\"\nsocket.timeout.ms = \"soon\"",
        );
        let keys: Vec<String> = config.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "brokers",
                "clicks",
                "orphan",
                "properties.acks",
                "properties.linger.msec",
                "properties.sasl.password_file",
                "properties.socket.timeout.ms"
            ]
        );
    }

    #[test]
    fn settings_that_refuse_each_other_are_found_without_a_broker() {
        let config = config("[properties]\nsecurity.protocol = \"ssl\"\nssl.ca.location = \"/does/not/exist.pem\"");
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].1.contains("ssl.ca.location"), "{mistakes:?}");
    }

    #[test]
    fn the_recommended_settings_are_known_to_librdkafka_and_pass_our_own_rules() {
        for (key, value) in RECOMMENDED {
            let properties: Properties = [((*key).to_owned(), (*value).to_owned())].into_iter().collect();
            assert_eq!(properties.mistakes(), [], "{key}");
        }
    }

    #[test]
    fn broker_lists_are_host_and_port_with_commas() {
        for good in ["h:9092", "a:1,b:2", "SASL_SSL://h:9093", "[::1]:9092", "a:1, b:2"] {
            assert_eq!(check_brokers(good), Ok(()), "{good}");
        }
        for bad in ["", "h", "h:", ":1", "h:0", "h:99999", "a:1,,b:2", "a b:1"] {
            assert!(check_brokers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tools_client_has_the_connection_settings_and_not_the_producers() {
        let config = config("brokers = \"h:1\"\n[properties]\nsasl.username = \"u\"\nlinger.ms = 1\nacks = \"all\"");
        let client = config.client("tool").unwrap();
        assert_eq!(client.get("sasl.username"), Some("u"));
        assert_eq!((client.get("linger.ms"), client.get("acks")), (None, None));
    }
}
