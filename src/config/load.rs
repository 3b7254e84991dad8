//! Loads the configuration: reads file, environment and flags, validates every section, then the rules between
//! sections.

use std::{ffi::OsString, path::Path};

use super::{
    Config, EdgeConfig, ServerConfig,
    effective::{self, EffectiveValue},
    errors::{ConfigError, ConfigErrors, ValueSource},
    origin::ConfigOrigin,
    ports::list_ports_that_are_used_twice,
    values::ConfigValues,
};
use crate::{
    admin, attribution, delivery, geoip,
    invalid_value::InvalidValue,
    journal, kafka,
    links::{self, domains, routes},
    net,
};

/// The sections, in the order in which the error about an unknown one lists them.
pub(super) const SECTIONS: &[&str] = &[
    "server",
    "edge",
    "admin",
    "tls",
    "journal",
    "links",
    "domains",
    "routes",
    "delivery",
    "attribution",
    "geoip",
    "kafka",
];

/// The values that flags of the command line set; they win over all others.
#[derive(Clone, Debug, Default)]
pub struct FlagValues(Vec<FlagValue>);

#[derive(Clone, Debug)]
struct FlagValue {
    flag: &'static str,
    key: &'static [&'static str],
    text: String,
}

impl FlagValues {
    /// Sets `key` to the flag's value, if the flag was given.
    pub fn set(&mut self, flag: &'static str, key: &'static [&'static str], value: Option<String>) {
        self.0.extend(value.map(|text| FlagValue { flag, key, text }));
    }
}

/// Where the values of a configuration come from.
pub struct ConfigInputs<'a, E> {
    /// The TOML file, if one is given.
    pub file: Option<&'a Path>,
    /// Every environment variable with its value.
    pub environment: E,
    /// The values of flags.
    pub flags: FlagValues,
}

impl<E: Iterator<Item = (OsString, OsString)>> ConfigInputs<'_, E> {
    fn read_file_environment_and_flags(self) -> ConfigValues {
        let mut values = ConfigValues::default();
        if let Some(file) = self.file {
            values.read_file_and_add_values(file);
        }
        values.add_values_of_environment(self.environment, SECTIONS);
        for FlagValue { flag, key, text } in self.flags.0 {
            values.set_value_from_flag(flag, key, text);
        }
        values
    }

    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// Every error of every section.
    pub fn load(self) -> Result<Config, ConfigErrors> {
        into_result(parse_and_validate_sections(&mut self.read_file_environment_and_flags()))
    }

    /// Reads and validates `[admin]` alone: a mistake elsewhere must not hide a running process from a health check.
    ///
    /// # Errors
    /// Every error of the section, and of the file if it cannot be read.
    pub fn load_admin_section_alone(self) -> Result<admin::Config, ConfigErrors> {
        let mut values = ConfigValues::default();
        if let Some(file) = self.file {
            values.read_file_and_add_values(file);
        }
        let is_file_unread = self.file.is_some() && values.take_file().is_none();
        values.add_values_of_environment(self.environment, SECTIONS);
        for FlagValue { flag, key, text } in self.flags.0 {
            values.set_value_from_flag(flag, key, text);
        }
        let admin = values.parse_and_validate_section("admin", admin::Config::list_invalid_values);
        let mut errors = values.take_errors_in_source_order();
        let is_unreadable_file = |error: &ConfigError| is_file_unread && error.source == ValueSource::Default;
        errors.retain(|error| error.key.split('.').next() == Some("admin") || is_unreadable_file(error));
        if errors.is_empty() { Ok(admin) } else { Err(ConfigErrors(errors)) }
    }

    /// Reads and validates the configuration, and lists every key with its effective value and where it comes from.
    ///
    /// # Errors
    /// Every error of every section.
    pub fn load_and_list_effective_values(self) -> Result<Vec<EffectiveValue>, ConfigErrors> {
        let mut values = self.read_file_environment_and_flags();
        let config = into_result(parse_and_validate_sections(&mut values))?;
        Ok(effective::list_effective_values(&config, &values))
    }
}

pub(super) fn into_result((config, errors): (Config, Vec<ConfigError>)) -> Result<Config, ConfigErrors> {
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

/// Reads and validates every section, then checks the rules between sections.
pub(super) fn parse_and_validate_sections(values: &mut ConfigValues) -> (Config, Vec<ConfigError>) {
    let mut config = Config {
        server: values.parse_and_validate_section("server", ServerConfig::list_invalid_values),
        edge: values.parse_and_validate_section("edge", EdgeConfig::list_invalid_values),
        tls: values.parse_and_validate_section("tls", net::tls::Config::list_invalid_values),
        admin: values.parse_and_validate_section("admin", admin::Config::list_invalid_values),
        journal: values.parse_and_validate_section("journal", journal::Config::list_invalid_values),
        links: values.parse_and_validate_section("links", links::Config::list_invalid_values),
        domains: values.parse_and_validate_section("domains", domains::Config::list_invalid_values),
        routes: values.parse_and_validate_section("routes", routes::Config::list_invalid_values),
        delivery: values.parse_and_validate_section("delivery", delivery::Config::list_invalid_values),
        attribution: values.parse_and_validate_section("attribution", attribution::Config::list_invalid_values),
        geoip: values.parse_and_validate_section("geoip", geoip::Config::list_invalid_values),
        kafka: values.parse_and_validate_section("kafka", kafka::Config::list_invalid_values),
        origin: ConfigOrigin { file: values.take_file(), overridden: values.take_overridden_values() },
    };
    config.domains.add_routes(&config.routes);
    config.domains.set_destination_policy(config.links.destination_policy());
    values.add_errors_of_unknown_sections(SECTIONS);
    let mut errors = values.take_errors_in_source_order();
    errors.extend(config.domains.list_invalid_targets().into_iter().map(|InvalidValue { key, message }| {
        let source = values.find_source_of_key_or_nearest_table("domains", &key);
        ConfigError { source, key: format!("domains.{key}"), message }
    }));
    // If the tls section has errors, it may have named certificates.
    let tls_is_valid = !errors.iter().any(|error| error.key.starts_with("tls"));
    let has_tls_listener = config.edge.listen.iter().any(|listener| listener.tls);
    if has_tls_listener && config.tls.has_no_certificates() && tls_is_valid {
        errors.push(ConfigError {
            source: ValueSource::Default,
            key: "tls.certificates".to_owned(),
            message: "not set, and a listener of edge.listen has tls = true; set this key, or tls.directory".to_owned(),
        });
    }
    if config.edge.listen.iter().any(|listener| listener.redirect_to_https) && !has_tls_listener {
        errors.push(ConfigError {
            source: ValueSource::Default,
            key: "edge.listen".to_owned(),
            message: "redirect_to_https = true, but no listener has tls = true, so https has no address".to_owned(),
        });
    }
    for (key, message) in list_ports_that_are_used_twice(&config.edge.listen, config.admin.listen) {
        let source = values.find_source_of_key_or_nearest_table(key.0, key.1);
        errors.push(ConfigError { source, key: format!("{}.{}", key.0, key.1), message });
    }
    (config, errors)
}
