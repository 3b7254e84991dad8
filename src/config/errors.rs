//! What is wrong with a configuration, and where each value of it was written.

use std::{fmt, path::Path, sync::Arc};

/// Where the value of a key was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// In the configuration file, on this line (from 1).
    File(Arc<Path>, usize),
    /// In this environment variable.
    Environment(String),
    /// After this flag of the command line.
    Flag(&'static str),
    /// Nowhere: the key has its default, or is missing.
    Default,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueSource::File(path, line) => write!(f, "{}:{line}", path.display()),
            ValueSource::Environment(name) => f.write_str(name),
            ValueSource::Flag(flag) => f.write_str(flag),
            ValueSource::Default => f.write_str("default"),
        }
    }
}

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the value was written.
    pub source: ValueSource,
    /// The full key, such as `edge.limits.max_header_bytes`; empty if the file itself cannot be read or parsed.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source != ValueSource::Default {
            write!(f, "{}: ", self.source)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// All errors of a configuration, at least one.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}")?;
        }
        write!(f, "{} error{} in the configuration", self.0.len(), if self.0.len() == 1 { "" } else { "s" })
    }
}
