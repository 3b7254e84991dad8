//! `[[routes]]` as the configuration writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{
    invalid_value::InvalidValue,
    links::{
        domains::host::parse_host_or_asterisk,
        routes::{route::Route, settings::RouteSettings},
    },
};

/// The routes as written, by their number in the configuration, from 1.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<u32, RouteSettings>);

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Config, D::Error> {
        let written = BTreeMap::<String, RouteSettings>::deserialize(deserializer)?;
        let number = |key: String| key.parse::<u32>().map_err(|_| D::Error::custom("is no list; write [[routes]]"));
        written.into_iter().map(|(key, route)| Ok((number(key)?, route))).collect::<Result<_, _>>().map(Config)
    }
}

impl Config {
    /// Every error, as a key (relative to `routes`) and a message that says what is allowed.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        let mut names: BTreeMap<(String, &str), u32> = BTreeMap::new();
        for (number, route) in &self.0 {
            let mut add = |error: InvalidValue| errors.push(error.below(&number.to_string()));
            match parse_host_or_asterisk(&route.domain) {
                Ok(host) if route.name.is_empty() => drop(host),
                Ok(host) => {
                    if let Some(other) = names.insert((host, &route.name), *number) {
                        let message = format!("is {:?}, the name of route {other} of this host", route.name);
                        add(InvalidValue::new("name", message));
                    }
                }
                Err(message) => add(InvalidValue::new("domain", format!("{:?} {message}", route.domain))),
            }
            Route::compile(route).err().unwrap_or_default().into_iter().for_each(&mut add);
        }
        errors
    }
}
