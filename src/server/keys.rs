//! The key ring while serving: read again when its file changes and at SIGHUP. A bad version keeps the old ring.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use arc_swap::ArcSwap;

use crate::{
    attribution::{
        Config,
        keys::{Gauges, Keyring},
    },
    clock,
    edge::Edge,
    faults::{self, say},
    metrics::{self, KEYRING_RELOADS},
    watch::{Seen, Version, Watch},
};

/// Whoever keeps the served ring up to its file.
pub(super) struct Keys {
    watch: Watch,
    /// What is served now.
    ring: Arc<Keyring>,
    gauges: Gauges,
    taken: ::metrics::Counter,
    refused: ::metrics::Counter,
    /// Whether it was said that the file is missing.
    missing: bool,
}

impl Keys {
    /// Reads the ring; makes one at the first start, unless the configuration names a file: a fleet's ring comes from
    /// elsewhere, and an edge with a ring of its own would refuse everybody's cookies.
    pub(super) fn open(config: &Config, data_dir: &Path) -> Result<(Keys, Arc<Keyring>)> {
        let path = config.path(data_dir);
        let version = version(&path);
        let now_ms = clock::wall_ms();
        let ring = match &config.keys {
            Some(_) => Keyring::load(&path)?,
            None => Keyring::open(&path, now_ms)?,
        };
        // A ring that was made just now is no change of it.
        let version = version.or_else(|| self::version(&path));
        let counter = |result| metrics::counter(&KEYRING_RELOADS, &[result]);
        let gauges = Gauges::default();
        gauges.set(&ring, now_ms);
        let watch = Watch::new(path, version);
        let ring = Arc::new(ring);
        let (taken, refused) = (counter("taken"), counter("refused"));
        Ok((Keys { watch, ring: ring.clone(), gauges, taken, refused, missing: false }, ring))
    }

    /// Once a second: looks whether the file changed; roles change with time, so the gauges are set anew either way.
    pub(super) fn look(&mut self, edge: &ArcSwap<Edge>) {
        match self.watch.look() {
            Ok(seen) => {
                self.missing = false;
                if seen == Seen::New {
                    self.reload(edge);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.missing, true) {
                    let path = self.watch.path().display();
                    say!(
                        error,
                        faults::KEYRING_UNREADABLE,
                        "key ring {path}: {error}; its last version signs and verifies on"
                    );
                }
            }
        }
        self.gauges.set(&self.ring, clock::wall_ms());
    }

    /// Reads the file now, changed or not.
    pub(super) fn reload(&mut self, edge: &ArcSwap<Edge>) {
        let version = version(self.watch.path());
        match Keyring::load(self.watch.path()) {
            Ok(ring) => {
                self.taken.increment(1);
                tracing::info!(ring = ring.fingerprint_text(), "key ring read");
                self.ring = Arc::new(ring);
                edge.rcu(|edge| edge.with_keys(self.ring.clone()));
            }
            Err(error) => {
                self.refused.increment(1);
                say!(error, faults::KEYRING_REFUSED, "{error}; its last version signs and verifies on");
            }
        }
        if let Some(version) = version {
            self.watch.take(version);
        }
    }
}

/// The version the file is at before it is read: what is written meanwhile is then new again.
fn version(path: &Path) -> Option<Version> {
    std::fs::metadata(path).ok().map(|metadata| Version::of(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::Trusted,
        links::{Table, domains::Domains},
    };

    #[test]
    fn a_ring_made_by_this_start_is_not_read_again_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut keys, ring) = Keys::open(&Config::default(), dir.path()).unwrap();
        let domains = Arc::new(Domains::new(&Default::default()).unwrap());
        let table = Arc::new(Table::with_capacity(0));
        let edge = ArcSwap::from_pointee(Edge::new(table, ring.clone(), domains, Arc::new(Trusted::default())));
        for _ in 0..3 {
            keys.look(&edge);
        }
        assert!(Arc::ptr_eq(&keys.ring, &ring));
        let text = std::fs::read_to_string(dir.path().join("keys.json")).unwrap();
        std::fs::write(dir.path().join("keys.json"), text + "\n").unwrap();
        for _ in 0..3 {
            keys.look(&edge);
        }
        assert!(!Arc::ptr_eq(&keys.ring, &ring));
    }
}
