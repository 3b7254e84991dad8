//! The configuration file is read at the start alone. A reload says so if the file has changed since.

use std::fs;

use crate::config::ConfigFile;

/// The configuration file of a serving process.
pub(in crate::server) struct ConfigFileCheck {
    file: ConfigFile,
}

impl ConfigFileCheck {
    /// Compares the file with `file`, which the process was started with.
    pub(in crate::server) fn new(file: ConfigFile) -> ConfigFileCheck {
        ConfigFileCheck { file }
    }

    /// Logs that the file's changes are not in force, if there are any.
    pub(super) fn log_if_changed_since_start(&self) {
        let path = self.file.path.display();
        match fs::read_to_string(&self.file.path) {
            Ok(text) if text == self.file.text => {}
            Ok(_) => tracing::warn!(
                "{path}: changed since the start, and is not read now: links, keys, certificates, challenges and MMDB \
                 files are; the configuration is at the next start. `waypost check` tells whether it is valid"
            ),
            Err(error) => tracing::warn!("{path}: cannot be read any more: {error}; the next start will need it"),
        }
    }
}
