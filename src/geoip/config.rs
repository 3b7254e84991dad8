//! `[geoip]`: the MMDB files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{invalid_value::InvalidValue, word_enum::word_enum};

word_enum! {
    /// What a file is asked for.
    pub enum DatabaseKind {
        /// Country and region.
        Country = "country",
        /// The network: number and name of the autonomous system.
        Network = "network",
        /// Whether the address is a data centre's.
        DataCentre = "data_centre",
    }
}

impl DatabaseKind {
    /// The key that names the file.
    pub const fn key(self) -> &'static str {
        match self {
            DatabaseKind::Country => "geoip.country_file",
            DatabaseKind::Network => "geoip.network_file",
            DatabaseKind::DataCentre => "geoip.data_centre_file",
        }
    }
}

/// `[geoip]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// An MMDB file with `country.iso_code` and, for regions, `subdivisions`; or with `country_code`.
    pub country_file: Option<PathBuf>,
    /// An MMDB file with `autonomous_system_number` and `autonomous_system_organization`; or with `asn` and `as_name`.
    pub network_file: Option<PathBuf>,
    /// An MMDB file with `is_hosting_provider`.
    pub data_centre_file: Option<PathBuf>,
}

impl Config {
    /// The file of a kind, if one is configured.
    pub fn file(&self, kind: DatabaseKind) -> Option<&Path> {
        let file = match kind {
            DatabaseKind::Country => &self.country_file,
            DatabaseKind::Network => &self.network_file,
            DatabaseKind::DataCentre => &self.data_centre_file,
        };
        file.as_deref()
    }

    /// Every wrong value: key and reason. Whether a file can be used is checked when it is loaded.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let is_empty = |kind: &DatabaseKind| self.file(*kind).is_some_and(|path| path.as_os_str().is_empty());
        let to_error = |kind: DatabaseKind| {
            InvalidValue::new(format!("{}_file", kind.as_str()), "is empty; name an MMDB file, or leave the key out")
        };
        DatabaseKind::ALL.into_iter().filter(is_empty).map(to_error).collect()
    }
}
