//! `[kafka.properties]`: any key of librdkafka, as a user writes it.
//!
//! Three spellings come to the same key: `"sasl.password" = "x"`, TOML's `sasl.password = "x"` (nested tables), and
//! `sasl_password`, which is what an environment variable can say (`WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD`); no key that can be
//! set from text holds an underscore itself apart from `log_level`. `KEY_file` (`…__SASL_PASSWORD_FILE`) takes the value from a file,
//! less one trailing newline, so that a secret is neither in the configuration nor in the environment.

use std::{collections::BTreeMap, fmt};

use rdkafka::{ClientConfig, error::KafkaError};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::promise;

/// A user's settings for librdkafka by their dotted keys; prints without its secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, Given>);

#[derive(Clone, PartialEq, Eq)]
enum Given {
    Value(String),
    File(String),
}

/// The keys whose values never reach a log or a message, by what they end in.
const SECRET_ENDINGS: &[&str] = &["password", "secret", ".pem", "passphrase"];

fn is_secret(key: &str) -> bool {
    SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending))
}

impl Properties {
    /// Whether the user set nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Key and value of each, files read.
    pub(super) fn resolved(&self) -> Result<Vec<(String, String)>, String> {
        self.0
            .iter()
            .map(|(key, given)| match given {
                Given::Value(value) => Ok((key.clone(), value.clone())),
                Given::File(path) => read_secret(path)
                    .map(|value| (key.clone(), value))
                    .map_err(|why| format!("properties.{key}_file: {why}")),
            })
            .collect()
    }

    /// What is wrong with each, by `properties.KEY`: a key librdkafka does not know, a value it refuses, a value that breaks a
    /// promise, a file that cannot be read.
    pub(super) fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (key, given) in &self.0 {
            let (suffix, value) = match given {
                Given::Value(value) => ("", Ok(value.clone())),
                Given::File(path) => ("_file", read_secret(path)),
            };
            let checked = value.and_then(|value| {
                promise::check(key, &value)?;
                known_to_librdkafka(key, &value)
            });
            if let Err(why) = checked {
                found.push((format!("properties.{key}{suffix}"), why));
            }
        }
        found
    }

    fn insert(&mut self, key: &str, value: String) {
        let dotted = |key: &str| if key == "log_level" { key.to_owned() } else { key.replace('_', ".") };
        match key.strip_suffix("_file") {
            Some(key) => self.0.insert(dotted(key), Given::File(value)),
            None => self.0.insert(dotted(key), Given::Value(value)),
        };
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Properties {
        let mut properties = Properties::default();
        for (key, value) in pairs {
            properties.insert(&key, value);
        }
        properties
    }
}

fn read_secret(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {path}: {why}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Asks librdkafka about one key and value; its message names the key, and the allowed values where it has a list of them.
fn known_to_librdkafka(key: &str, value: &str) -> Result<(), String> {
    let mut alone = ClientConfig::new();
    alone.set(key, value);
    match alone.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, _, _, _)) if is_secret(key) => Err("librdkafka refuses this value".to_owned()),
        Err(KafkaError::ClientConfig(_, why, _, _)) => Err(format!("librdkafka refuses it: {why}")),
        Err(other) => Err(format!("librdkafka refuses it: {other}")),
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, given) in &self.0 {
            match given {
                Given::Value(_) if is_secret(key) => map.entry(key, &"(secret)"),
                Given::Value(value) => map.entry(key, value),
                Given::File(path) => map.entry(&format!("{key}_file"), path),
            };
        }
        map.finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Properties, D::Error> {
        let Node::Table(pairs) = deserializer.deserialize_map(NodeVisitor)? else {
            return Err(serde::de::Error::custom("a table of librdkafka's keys is wanted"));
        };
        Ok(pairs.into_iter().collect())
    }
}

/// A scalar as text, or a table flattened to dotted keys.
enum Node {
    Scalar(String),
    Table(Vec<(String, String)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, or a table of these")
    }
    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(text.to_owned()))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, node)) = map.next_entry::<String, Node>()? {
            match node {
                Node::Scalar(value) => pairs.push((key, value)),
                Node::Table(inner) => {
                    pairs.extend(inner.into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)))
                }
            }
        }
        Ok(Node::Table(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(toml: &str) -> Properties {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn quoted_nested_and_underscored_keys_are_one_key() {
        let quoted = properties("\"sasl.password\" = \"x\"\n\"socket.timeout.ms\" = \"100\"");
        assert_eq!(quoted, properties("sasl.password = \"x\"\nsocket.timeout.ms = 100"));
        assert_eq!(quoted, properties("sasl_password = \"x\"\nsocket_timeout_ms = 100"));
        assert_eq!(properties("socket.keepalive.enable = true").mistakes(), []);
    }

    #[test]
    fn a_secret_is_taken_from_its_file_less_the_newline_and_is_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let from_file = properties(&format!("sasl.password_file = {path:?}\nssl.key.password = \"hunter3\""));
        assert_eq!(from_file.mistakes(), []);
        let resolved = from_file.resolved().unwrap();
        assert!(resolved.contains(&("sasl.password".to_owned(), "hunter2".to_owned())), "{resolved:?}");
        let printed = format!("{from_file:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }

    #[test]
    fn an_unknown_key_and_a_refused_value_are_named() {
        let mistakes = properties("lingerms = 5\ncompression.type = \"brotli\"").mistakes();
        assert_eq!(mistakes.len(), 2);
        assert!(mistakes[0].1.contains("compression.type") || mistakes[0].1.contains("brotli"), "{mistakes:?}");
        assert_eq!(mistakes[1].0, "properties.lingerms");
        assert!(mistakes[1].1.contains("lingerms"), "{mistakes:?}");
    }
}
