//! Reloads the MMDB files, each for itself. A bad version of a file keeps the one that is in use.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Result, bail};
use arc_swap::ArcSwap;

use crate::{
    edge::snapshot::Edge,
    faults,
    file_watch::{FileVersion, FileVersions, read_versions},
    geoip::{Config, DatabaseKind, Databases, LoadedFiles},
    metrics::{self, GEOIP_BUILD_TIME, GEOIP_RELOADS},
    server::reload::{LoadedSource, ReloadCounters, ReloadErrorKind, ReloadOutcome, ReloadSource},
};

/// One file of a serving process.
pub(in crate::server) struct GeoipReloader {
    kind: DatabaseKind,
    path: PathBuf,
    /// All files, for the delivery. The snapshot of the edge has them too.
    published: Arc<ArcSwap<Databases>>,
    counters: ReloadCounters,
}

/// The files at the start.
pub(in crate::server) struct LoadedGeoip {
    /// What the delivery labels by; reloads replace it.
    pub(in crate::server) published: Arc<ArcSwap<Databases>>,
    /// To be kept up to date, one for each configured file.
    pub(in crate::server) files: Vec<LoadedSource<GeoipReloader>>,
}

impl GeoipReloader {
    /// Loads every configured file.
    ///
    /// # Errors
    /// All files that cannot be used.
    pub(in crate::server) fn load_all(config: &Config) -> Result<LoadedGeoip> {
        let published: Arc<ArcSwap<Databases>> = Arc::default();
        let mut files = Vec::new();
        for kind in DatabaseKind::ALL {
            // The metrics of a file that is not configured exist too, so that a rule tells "none" from "missing".
            let counter_of = |result| metrics::counter(&GEOIP_RELOADS, &[kind.as_str(), result]);
            let counters = ReloadCounters::of_ok_and_refused(counter_of);
            metrics::gauge(&GEOIP_BUILD_TIME, &[kind.as_str()]).set(0.0);
            let Some(path) = config.file(kind).map(ToOwned::to_owned) else { continue };
            let versions = read_versions([path.clone()]);
            let source = GeoipReloader { kind, path, published: published.clone(), counters };
            files.push(LoadedSource { source, versions });
        }
        let LoadedFiles { databases, refused } = Databases::load(config);
        if !refused.is_empty() {
            let lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
            bail!("{}", lines.join("\n"));
        }
        published.store(Arc::new(databases));
        files.iter().for_each(|file| file.source.log_and_set_build_time());
        Ok(LoadedGeoip { published, files })
    }

    fn log_and_set_build_time(&self) {
        let databases = self.published.load();
        let built_at_secs = databases.built_at_secs(self.kind).unwrap_or(0);
        metrics::gauge(&GEOIP_BUILD_TIME, &[self.kind.as_str()]).set(built_at_secs as f64);
        let database_type = databases.database_type(self.kind).unwrap_or_default();
        tracing::info!(file = %self.path.display(), database_type, built_at_secs, "MMDB file read");
    }
}

impl ReloadSource for GeoipReloader {
    fn read_file_versions(&self) -> FileVersions {
        read_versions([self.path.clone()])
    }

    fn read_and_publish(&mut self, edge: &ArcSwap<Edge>) -> ReloadOutcome {
        let before = FileVersion::read(&self.path);
        let loaded = self.published.load().with_file(self.kind, &self.path);
        if FileVersion::read(&self.path) != before {
            return ReloadOutcome::ChangedWhileReading;
        }
        match loaded {
            Ok(databases) => {
                let databases = Arc::new(databases);
                self.published.store(databases.clone());
                edge.rcu(|edge| edge.with_geoip(databases.clone()));
                self.log_and_set_build_time();
                ReloadOutcome::Published
            }
            Err(error) => {
                let kind = match error.is_unreadable() {
                    true => ReloadErrorKind::Unreadable,
                    false => ReloadErrorKind::Refused,
                };
                let faults = [faults::GEOIP_UNREADABLE, faults::GEOIP_REFUSED];
                ReloadOutcome::failed(kind, faults, error.to_string())
            }
        }
    }

    fn kept_content(&self) -> &'static str {
        "its last version answers on"
    }

    fn counters(&self) -> &ReloadCounters {
        &self.counters
    }
}
