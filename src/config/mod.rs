//! The configuration: one TOML file, the environment and flags. A flag wins over `WAYPOST__SECTION__KEY`, a variable
//! over the file, the file over the default.
//!
//! Each module owns its section's type and rules; this module gathers them and reports every error at once, with its
//! key and where it was written. A value is validated here and nowhere later.

mod edge;
mod effective;
mod environment;
mod errors;
mod load;
mod log_directives;
mod origin;
mod ports;
mod server;
mod type_error;
mod values;

use crate::{
    admin, attribution, delivery, geoip, journal, kafka,
    links::{self, domains, routes},
    net,
};
pub use edge::{EdgeConfig, is_edge_id};
pub use effective::EffectiveValue;
pub use errors::{ConfigError, ConfigErrors, ValueSource};
pub use load::{ConfigInputs, FlagValues};
pub use log_directives::validate_and_complete_log_directives;
pub use origin::{ConfigFile, ConfigOrigin, OverriddenValue};
pub use server::{LogFormat, ServerConfig};

/// The whole configuration, validated.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[edge]`
    pub edge: EdgeConfig,
    /// `[tls]`
    pub tls: net::tls::Config,
    /// `[admin]`
    pub admin: admin::Config,
    /// `[journal]`
    pub journal: journal::Config,
    /// `[links]`
    pub links: links::Config,
    /// `[domains."host"]`
    pub domains: domains::Config,
    /// `[[routes]]`; `domains` has each of them too.
    pub routes: routes::Config,
    /// `[delivery]`
    pub delivery: delivery::Config,
    /// `[attribution]`
    pub attribution: attribution::Config,
    /// `[geoip]`
    pub geoip: geoip::Config,
    /// `[kafka]`
    pub kafka: kafka::Config,
    /// Where the values come from.
    pub origin: ConfigOrigin,
}

#[cfg(test)]
mod tests;
