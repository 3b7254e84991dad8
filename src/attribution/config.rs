//! `[attribution]`

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{attribution::file, invalid_value::InvalidValue};

/// `[attribution]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The key ring's file, where it is not `keys.json` in the data directory. A file named here is never created: the
    /// key ring of a fleet comes from elsewhere.
    pub keys: Option<PathBuf>,
}

impl Config {
    /// Every wrong value: key and reason. Whether the file can be read is checked when it is opened.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        match &self.keys {
            Some(path) if path.as_os_str().is_empty() => {
                vec![InvalidValue::new("keys", "is empty; name the key ring's file, or leave the key out")]
            }
            _ => Vec::new(),
        }
    }

    /// The path of the key ring's file.
    pub fn keyring_path(&self, data_dir: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data_dir.join(file::FILE_NAME))
    }
}
