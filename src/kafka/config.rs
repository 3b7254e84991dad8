//! The section `[kafka]`, and the client settings that it makes.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError, producer::BaseProducer};
use serde::{Deserialize, Serialize};

use super::{
    ClientObserver, Encoding, Properties, broker_list::validate_broker_list, guarded_keys, login::validate_login,
    topic_spec::validate_topic_name,
};
use crate::invalid_value::InvalidValue;

/// The section `[kafka]`. Without `brokers` there is no Kafka, and clicks go into files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The brokers to connect to first: `host:port`, several with commas. Set also by `--kafka`. Default: none.
    pub brokers: Option<String>,
    /// The names of the topics.
    pub topics: TopicNames,
    /// How clicks reach their topics. Default: `at-least-once`.
    pub delivery: Delivery,
    /// How the values of clicks are encoded. Default: `json`.
    pub encoding: Encoding,
    /// The id of `click.v1.proto` in a schema registry: its prefix stands in front of each value. Default: none.
    pub schema_id: Option<u32>,
    /// Whether records have the headers of CloudEvents. Default: false.
    pub cloudevents: bool,
    /// Any key of librdkafka; `KEY_file` takes the value from a file. Default: none.
    pub properties: Properties,
}

/// The section `[kafka.topics]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicNames {
    /// The topic for clicks on live links. Default: `clicks`.
    pub clicks: String,
    /// The topic for clicks on unknown, expired, disabled and not yet started codes. Default: `clicks.orphan`.
    pub orphan: String,
    /// The topic of lane statements, from which a reader proves that no click is missing. Default: `clicks.lanes`.
    pub lanes: String,
    /// The compacted topic of checkpoints. Under exactly-once an edge commits there, together with its clicks, how far
    /// it is. Default: `clicks.checkpoints`.
    pub checkpoints: String,
}

/// How clicks reach their topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// After the death of a process or a broker, clicks can be sent again under their `click_id`.
    #[default]
    AtLeastOnce,
    /// A reader with `isolation.level=read_committed` sees each click once.
    ExactlyOnce,
}

impl Default for TopicNames {
    fn default() -> TopicNames {
        TopicNames {
            clicks: "clicks".to_owned(),
            orphan: "clicks.orphan".to_owned(),
            lanes: "clicks.lanes".to_owned(),
            checkpoints: "clicks.checkpoints".to_owned(),
        }
    }
}

/// The producer's settings unless the user says otherwise. The queue's bounds hold every click that may be in flight:
/// 200 000 clicks of 1 KB fit 256 MiB. A linger above 20 ms would delay acknowledgements past the spill and double the
/// disk's work.
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

impl TopicNames {
    /// The topics of clicks, in the order of [`Topic::ALL`](crate::model::click::Topic::ALL).
    pub fn click_topics(&self) -> [&str; 2] {
        [&self.clicks, &self.orphan]
    }

    fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        let by_key = [
            ("clicks", &self.clicks),
            ("orphan", &self.orphan),
            ("lanes", &self.lanes),
            ("checkpoints", &self.checkpoints),
        ];
        for (key, name) in by_key {
            if let Err(why) = validate_topic_name(name) {
                errors.push(InvalidValue::new(format!("topics.{key}"), why));
            }
        }
        if self.clicks == self.orphan {
            let why = format!("`{}` is already the topic of `clicks`; readers rely on two topics", self.orphan);
            errors.push(InvalidValue::new("topics.orphan", why));
        }
        if self.click_topics().contains(&&*self.lanes) {
            let why = format!("`{}` is already a topic of clicks; statements need a topic of their own", self.lanes);
            errors.push(InvalidValue::new("topics.lanes", why));
        }
        if [&self.clicks, &self.orphan, &self.lanes].contains(&&self.checkpoints) {
            let why = format!(
                "`{}` is already another topic; checkpoints are compacted, and clicks must not be",
                self.checkpoints
            );
            errors.push(InvalidValue::new("topics.checkpoints", why));
        }
        errors
    }
}

impl Config {
    /// Whether clicks go to Kafka.
    pub fn is_enabled(&self) -> bool {
        self.brokers.is_some()
    }

    /// Every topic that is written to: clicks, statements, and checkpoints under exactly-once.
    pub fn list_written_topics(&self) -> Vec<&str> {
        let TopicNames { clicks, orphan, lanes, checkpoints } = &self.topics;
        let mut topics = vec![&**clicks, &**orphan, &**lanes];
        if self.exactly_once() {
            topics.push(checkpoints);
        }
        topics
    }

    /// Whether each click is delivered exactly once.
    pub fn exactly_once(&self) -> bool {
        self.delivery == Delivery::ExactlyOnce
    }

    /// The transactional id of a producer. A producer that takes the id fences every earlier producer that had it.
    pub fn transactional_id(producer_name: &str) -> String {
        format!("waypost-{producer_name}")
    }

    /// Every error of the section: the key relative to it, and what was found and what is allowed. Reads the files that
    /// `…_file` keys name; connects to no broker.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if let Some(brokers) = &self.brokers
            && let Err(why) = validate_broker_list(brokers)
        {
            errors.push(InvalidValue::new("brokers", why));
        }
        if let Some(id) = self.schema_id.filter(|_| self.encoding == Encoding::Json) {
            let why = format!("`{id}` is the id of a Protobuf schema; set `encoding = \"protobuf\"` or remove the id");
            errors.push(InvalidValue::new("schema_id", why));
        }
        errors.extend(self.topics.list_invalid_values());
        errors.extend(self.properties.list_invalid_values());
        errors.extend(
            self.properties.list_values_and_read_value_files().ok().and_then(|values| validate_login(&values).err()),
        );
        if errors.is_empty()
            && let Err(why) = self.validate_settings_by_building_client()
        {
            errors.push(InvalidValue::new("properties", why));
        }
        errors
    }

    /// Builds a client to see whether the settings fit together (`message.timeout.ms` below `linger.ms`, a CA file
    /// without a certificate): only librdkafka knows. The client gets no brokers, so it connects to nothing.
    fn validate_settings_by_building_client(&self) -> Result<(), String> {
        let mut settings = self.build_producer_settings("check")?;
        settings.remove("bootstrap.servers").set_log_level(RDKafkaLogLevel::Emerg);
        match settings.create_with_context::<_, BaseProducer<ClientObserver>>(ClientObserver::silent()) {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientCreation(why)) => Err(format!("librdkafka refuses these settings together: {why}")),
            Err(other) => Err(format!("librdkafka refuses these settings: {other}")),
        }
    }

    /// The settings of the producer. `edge` becomes part of the client id that the broker logs.
    ///
    /// # Errors
    /// A file that a `…_file` key names cannot be read. [`Config::list_invalid_values`] finds that at the start; the
    /// file can vanish later.
    pub fn build_producer_settings(&self, producer_name: &str) -> Result<ClientConfig, String> {
        let mut settings = ClientConfig::new();
        for (key, value) in RECOMMENDED {
            settings.set(*key, *value);
        }
        self.add_user_and_connection_settings(&mut settings, producer_name)?;
        if self.exactly_once() {
            // A record must not wait longer than its transaction may stay open; it is sent again in another
            // transaction.
            let longest = settings.get("transaction.timeout.ms").unwrap_or("60000").to_owned();
            settings
                .set("message.timeout.ms", longest)
                .set("transactional.id", Config::transactional_id(producer_name));
        }
        Ok(settings)
    }

    /// The settings of clients that read or administer topics: the user's, without those of the producer.
    ///
    /// # Errors
    /// As [`Config::build_producer_settings`].
    pub fn build_non_producer_settings(&self, edge: &str) -> Result<ClientConfig, String> {
        let mut settings = ClientConfig::new();
        settings.set("allow.auto.create.topics", "false").set("socket.keepalive.enable", "true");
        self.add_user_and_connection_settings(&mut settings, edge)?;
        for key in guarded_keys::PRODUCER_ONLY {
            settings.remove(key);
        }
        Ok(settings)
    }

    fn add_user_and_connection_settings(&self, settings: &mut ClientConfig, edge: &str) -> Result<(), String> {
        settings.set("client.id", format!("waypost-{edge}"));
        for (key, value) in self.properties.list_values_and_read_value_files()? {
            // Under the canonical name, because librdkafka would apply a key and its alias in no certain order.
            settings.set(guarded_keys::canonical_key(&key), value);
        }
        if let Some(brokers) = &self.brokers {
            settings.set("bootstrap.servers", brokers);
        }
        settings.set_log_level(choose_librdkafka_log_level_from_tracing());
        Ok(())
    }
}

/// The level at which librdkafka logs: what our own log would keep.
fn choose_librdkafka_log_level_from_tracing() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        // Connections that end are told at this level, and a message of ours may need them. Our log drops the others.
        RDKafkaLogLevel::Info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn the_defaults_are_valid_and_name_no_brokers() {
        let config = Config::default();
        assert!(!config.is_enabled());
        assert_eq!(config.list_invalid_values(), []);
        assert_eq!(config.topics.click_topics(), ["clicks", "clicks.orphan"]);
    }

    #[test]
    fn a_users_property_wins_over_a_recommended_one_even_by_its_alias() {
        let config =
            config("brokers = \"h:9092\"\n[properties]\n\"queue.buffering.max.ms\" = 10\ncompression.codec = \"zstd\"");
        assert_eq!(config.list_invalid_values(), []);
        let settings = config.build_producer_settings("e1").unwrap();
        assert_eq!(settings.get("linger.ms"), Some("10"));
        assert_eq!(settings.get("queue.buffering.max.ms"), None);
        assert_eq!(settings.get("compression.type"), Some("zstd"));
        assert_eq!(settings.get("acks"), Some("all"));
        assert_eq!(settings.get("client.id"), Some("waypost-e1"));
        assert_eq!(settings.get("bootstrap.servers"), Some("h:9092"));
    }

    #[test]
    fn every_error_of_the_section_is_reported_at_once() {
        let config = config(
            "brokers = \"nowhere\"\n[topics]\nclicks = \"a b\"\norphan = \"\"\n[properties]\nacks = 1\n\
             linger.msec = 5\n\"sasl.password_file\" = \"/does/not/exist\"\nsocket.timeout.ms = \"soon\"",
        );
        let keys: Vec<String> = config.list_invalid_values().into_iter().map(|value| value.key).collect();
        assert_eq!(
            keys,
            [
                "brokers",
                "topics.clicks",
                "topics.orphan",
                "properties.acks",
                "properties.linger.msec",
                "properties.sasl.password_file",
                "properties.socket.timeout.ms"
            ]
        );
    }

    #[test]
    fn an_id_of_a_schema_is_an_error_beside_json() {
        let errors = config("schema_id = 7").list_invalid_values();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, "schema_id");
        assert_eq!(config("encoding = \"protobuf\"\nschema_id = 7").list_invalid_values(), []);
    }

    #[test]
    fn settings_that_do_not_fit_together_are_found_without_a_broker() {
        let config = config("[properties]\nsecurity.protocol = \"ssl\"\nssl.ca.location = \"/does/not/exist.pem\"");
        let errors = config.list_invalid_values();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].message.contains("ssl.ca.location"), "{errors:?}");
    }

    #[test]
    fn the_recommended_settings_are_known_to_librdkafka_and_pass_our_own_rules() {
        for (key, value) in RECOMMENDED {
            let properties: Properties = [((*key).to_owned(), (*value).to_owned())].into_iter().collect();
            assert_eq!(properties.list_invalid_values(), [], "{key}");
        }
    }

    #[test]
    fn a_client_of_a_command_has_the_connection_settings_and_not_the_producers() {
        let config = config("brokers = \"h:1\"\n[properties]\nsasl.username = \"u\"\nlinger.ms = 1\nacks = \"all\"");
        let settings = config.build_non_producer_settings("tool").unwrap();
        assert_eq!(settings.get("sasl.username"), Some("u"));
        assert_eq!((settings.get("linger.ms"), settings.get("acks")), (None, None));
    }
}
