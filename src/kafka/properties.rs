//! The section `[kafka.properties]`: any key of librdkafka.
//!
//! A key has three spellings: `"sasl.password" = "x"`, TOML's `sasl.password = "x"` (nested tables), and
//! `sasl_password`, for environment variables (`WAYPOST__KAFKA__PROPERTIES__SASL_PASSWORD`). Of the keys that can be
//! set as text only `log_level` has an underscore itself. `KEY_file` (`…__SASL_PASSWORD_FILE`) takes the value from a
//! file, without one trailing newline, so that a secret is neither in the configuration nor in the environment.

use std::{collections::BTreeMap, fmt};

use rdkafka::{ClientConfig, error::KafkaError};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::guarded_keys;
use crate::invalid_value::InvalidValue;

/// A user's settings for librdkafka by dotted key. Its debug output hides secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, PropertyValue>);

#[derive(Clone, PartialEq, Eq)]
enum PropertyValue {
    Text(String),
    /// The path of the file that holds the value.
    File(String),
}

/// The endings of keys whose values never appear in a log or a message.
const SECRET_ENDINGS: &[&str] = &["password", "secret", ".pem", "passphrase"];

fn is_secret(key: &str) -> bool {
    SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending))
}

impl Properties {
    /// Whether no property is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key and value of each property. Reads the files of `…_file` keys.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn list_values_and_read_value_files(&self) -> Result<Vec<(String, String)>, String> {
        self.0
            .iter()
            .map(|(key, value_or_file)| match value_or_file {
                PropertyValue::Text(value) => Ok((key.clone(), value.clone())),
                PropertyValue::File(path) => read_value_file_without_last_newline(path)
                    .map(|value| (key.clone(), value))
                    .map_err(|why| format!("properties.{key}_file: {why}")),
            })
            .collect()
    }

    /// Every error, by `properties.KEY`: a key that librdkafka does not know, a value that it refuses or that would
    /// break a guarantee, or a file that cannot be read.
    pub(super) fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        for (key, value_or_file) in &self.0 {
            let (suffix, value) = match value_or_file {
                PropertyValue::Text(value) => ("", Ok(value.clone())),
                PropertyValue::File(path) => ("_file", read_value_file_without_last_newline(path)),
            };
            let checked = value.and_then(|value| {
                guarded_keys::validate_value_keeps_guarantees(key, &value)?;
                validate_with_librdkafka(key, &value)
            });
            if let Err(why) = checked {
                errors.push(InvalidValue::new(format!("properties.{key}{suffix}"), why));
            }
        }
        errors
    }

    fn insert_text_or_file_property(&mut self, key: &str, value: String) {
        let dotted = |key: &str| if key == "log_level" { key.to_owned() } else { key.replace('_', ".") };
        match key.strip_suffix("_file") {
            Some(key) => self.0.insert(dotted(key), PropertyValue::File(value)),
            None => self.0.insert(dotted(key), PropertyValue::Text(value)),
        };
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Properties {
        let mut properties = Properties::default();
        for (key, value) in pairs {
            properties.insert_text_or_file_property(&key, value);
        }
        properties
    }
}

fn read_value_file_without_last_newline(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {path}: {why}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Lets librdkafka check one key and value. Its message names the key, and the allowed values where it has a list of
/// them.
fn validate_with_librdkafka(key: &str, value: &str) -> Result<(), String> {
    let mut settings = ClientConfig::new();
    settings.set(key, value);
    match settings.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, _, _, _)) if is_secret(key) => Err("librdkafka refuses this value".to_owned()),
        Err(KafkaError::ClientConfig(_, why, _, _)) => Err(format!("librdkafka refuses it: {why}")),
        Err(other) => Err(format!("librdkafka refuses it: {other}")),
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value_or_file) in &self.0 {
            match value_or_file {
                PropertyValue::Text(_) if is_secret(key) => map.entry(key, &"(secret)"),
                PropertyValue::Text(value) => map.entry(key, value),
                PropertyValue::File(path) => map.entry(&format!("{key}_file"), path),
            };
        }
        map.finish()
    }
}

/// The properties as the configuration writes them; the value of a secret is `(secret)`.
impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| match value {
            PropertyValue::Text(_) if is_secret(key) => (key.clone(), "(secret)"),
            PropertyValue::Text(value) => (key.clone(), value.as_str()),
            PropertyValue::File(path) => (format!("{key}_file"), path.as_str()),
        }))
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Properties, D::Error> {
        let FlatToml::Table(pairs) = deserializer.deserialize_map(FlatTomlVisitor)? else {
            return Err(serde::de::Error::custom("expected a table of librdkafka's keys"));
        };
        Ok(pairs.into_iter().collect())
    }
}

/// A TOML value: a scalar as text, or a table flattened to dotted keys.
enum FlatToml {
    Scalar(String),
    Table(Vec<(String, String)>),
}

impl<'de> Deserialize<'de> for FlatToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FlatToml, D::Error> {
        deserializer.deserialize_any(FlatTomlVisitor)
    }
}

struct FlatTomlVisitor;

impl<'de> Visitor<'de> for FlatTomlVisitor {
    type Value = FlatToml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, or a table of these")
    }
    fn visit_str<E>(self, text: &str) -> Result<FlatToml, E> {
        Ok(FlatToml::Scalar(text.to_owned()))
    }
    fn visit_bool<E>(self, value: bool) -> Result<FlatToml, E> {
        Ok(FlatToml::Scalar(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<FlatToml, E> {
        Ok(FlatToml::Scalar(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<FlatToml, E> {
        Ok(FlatToml::Scalar(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<FlatToml, E> {
        Ok(FlatToml::Scalar(value.to_string()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FlatToml, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, node)) = map.next_entry::<String, FlatToml>()? {
            match node {
                FlatToml::Scalar(value) => pairs.push((key, value)),
                FlatToml::Table(inner) => {
                    pairs.extend(inner.into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)))
                }
            }
        }
        Ok(FlatToml::Table(pairs))
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
        assert_eq!(properties("socket.keepalive.enable = true").list_invalid_values(), []);
    }

    #[test]
    fn a_secret_is_read_from_its_file_without_the_newline_and_is_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let from_file = properties(&format!("sasl.password_file = {path:?}\nssl.key.password = \"hunter3\""));
        assert_eq!(from_file.list_invalid_values(), []);
        let resolved = from_file.list_values_and_read_value_files().unwrap();
        assert!(resolved.contains(&("sasl.password".to_owned(), "hunter2".to_owned())), "{resolved:?}");
        let printed = format!("{from_file:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }

    #[test]
    fn an_unknown_key_and_a_refused_value_are_named() {
        let errors = properties("lingerms = 5\ncompression.type = \"brotli\"").list_invalid_values();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].message.contains("compression.type") || errors[0].message.contains("brotli"), "{errors:?}");
        assert_eq!(errors[1].key, "properties.lingerms");
        assert!(errors[1].message.contains("lingerms"), "{errors:?}");
    }
}
