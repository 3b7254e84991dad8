//! Reloads the key ring. A bad version of the file keeps the ring that is in use.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use arc_swap::ArcSwap;

use crate::{
    attribution::{Config, KeyringMetrics, file::KeyringError, keyring::Keyring},
    clock,
    edge::snapshot::Edge,
    faults,
    file_watch::{FileVersions, read_versions},
    metrics::{self, KEYRING_RELOADS},
    server::reload::{LoadedSource, ReloadCounters, ReloadErrorKind, ReloadOutcome, ReloadSource},
};

/// The key ring of a serving process.
pub(in crate::server) struct KeyringReloader {
    path: PathBuf,
    ring: Arc<Keyring>,
    metrics: KeyringMetrics,
    counters: ReloadCounters,
}

impl KeyringReloader {
    /// Reads the key ring. Creates one at the first start, unless the configuration names a file: a fleet's ring comes
    /// from elsewhere, and an edge with a ring of its own would refuse the cookies of all other edges.
    pub(in crate::server) fn load_or_create_if_no_file_configured(
        config: &Config,
        data_dir: &Path,
    ) -> Result<LoadedSource<KeyringReloader>> {
        let path = config.keyring_path(data_dir);
        let before = read_versions([path.clone()]);
        let now_ms = clock::wall_ms();
        let ring = match &config.keys {
            Some(_) => Keyring::load(&path)?,
            None => Keyring::load_or_create_file_with_new_key(&path, now_ms)?,
        };
        // A ring that was created by this start is not a change of the file.
        let is_new = before.values().all(Option::is_none);
        let versions = if is_new { read_versions([path.clone()]) } else { before };
        let ring_metrics = KeyringMetrics::default();
        ring_metrics.set_fingerprint_and_role_gauges(&ring, now_ms);
        let counters = ReloadCounters::of_ok_and_refused(|result| metrics::counter(&KEYRING_RELOADS, &[result]));
        let source = KeyringReloader { path, ring: Arc::new(ring), metrics: ring_metrics, counters };
        Ok(LoadedSource { source, versions })
    }

    /// The ring that is in use.
    pub(in crate::server) fn ring(&self) -> Arc<Keyring> {
        self.ring.clone()
    }
}

impl ReloadSource for KeyringReloader {
    fn read_file_versions(&self) -> FileVersions {
        read_versions([self.path.clone()])
    }

    fn read_and_publish(&mut self, edge: &ArcSwap<Edge>) -> ReloadOutcome {
        match Keyring::load(&self.path) {
            Ok(ring) => {
                tracing::info!(ring = ring.fingerprint_text(), "key ring read");
                self.ring = Arc::new(ring);
                edge.rcu(|edge| edge.with_keys(self.ring.clone()));
                ReloadOutcome::Published
            }
            Err(error) => {
                let kind = match error {
                    KeyringError::File(_) => ReloadErrorKind::Unreadable,
                    _ => ReloadErrorKind::Refused,
                };
                let faults = [faults::KEYRING_UNREADABLE, faults::KEYRING_REFUSED];
                ReloadOutcome::failed(kind, faults, error.to_string())
            }
        }
    }

    fn kept_content(&self) -> &'static str {
        "its last version signs and verifies on"
    }

    fn counters(&self) -> &ReloadCounters {
        &self.counters
    }

    /// Updates the gauges: the roles of keys change with time.
    fn update_after_check(&mut self) {
        self.metrics.set_fingerprint_and_role_gauges(&self.ring, clock::wall_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_watch::{ChangeDetector, FileChange};

    #[test]
    fn a_ring_created_by_this_start_is_not_read_again_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let LoadedSource { source: keyring, versions } =
            KeyringReloader::load_or_create_if_no_file_configured(&Config::default(), dir.path()).unwrap();
        let mut detector = ChangeDetector::new(versions);
        for _ in 0..3 {
            assert_eq!(
                detector.compare_with_loaded_and_last_check(keyring.read_file_versions()),
                FileChange::Unchanged
            );
        }
        let text = std::fs::read_to_string(dir.path().join("keys.json")).unwrap();
        std::fs::write(dir.path().join("keys.json"), text + "\n").unwrap();
        assert_eq!(detector.compare_with_loaded_and_last_check(keyring.read_file_versions()), FileChange::Settling);
        assert_eq!(detector.compare_with_loaded_and_last_check(keyring.read_file_versions()), FileChange::Settled);
    }
}
