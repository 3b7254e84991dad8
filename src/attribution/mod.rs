//! The attribution token and its keys: what a cookie and a destination carry of a click (design §6).
//!
//! [`keys`] is the ring in memory, [`file`] the ring on disk, [`token`] the format, [`mint`] the ids of clicks.

pub mod file;
pub mod keys;
pub mod mint;
pub mod token;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How long a click earns, and so how long a token is good and a retired key verifies, milliseconds: 14 days (design §1).
pub const LIFETIME_MS: u64 = 14 * 86_400_000;

/// `[attribution]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The key ring's file, where it is not `keys.json` in the data directory. A file named here is never created: a
    /// fleet's ring comes from elsewhere.
    pub keys: Option<PathBuf>,
}

impl Config {
    /// What is wrong with the values: key and reason. Whether the file can be read is seen when it is opened.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        match &self.keys {
            Some(path) if path.as_os_str().is_empty() => {
                vec![("keys".to_owned(), "is empty; name the key ring's file, or leave the key out".to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// Where the key ring lies.
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data_dir.join(file::NAME))
    }
}
