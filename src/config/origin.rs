//! Where a configuration comes from: for the log of the start, and to find out later that the file has changed.

use std::{fmt, path::PathBuf};

use super::errors::ValueSource;

/// Where the values of a configuration come from.
#[derive(Clone, Debug, Default)]
pub struct ConfigOrigin {
    /// The file, if one was given.
    pub file: Option<ConfigFile>,
    /// The values that were written and are not in force.
    pub overridden: Vec<OverriddenValue>,
}

/// The configuration file as it was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

/// A value that another one overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverriddenValue {
    /// The full key.
    pub key: String,
    /// Where the value was written.
    pub written: ValueSource,
    /// Where the value in force was written.
    pub overrides: ValueSource,
}

impl fmt::Display for OverriddenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is overridden by {}", self.written, self.key, self.overrides)
    }
}
