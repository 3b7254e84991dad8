//! Reloads the challenges of an ACME client: the small files of one directory, kept in memory.
//!
//! A certificate authority asks within a second of the file being written, so the directory is listed ten times a
//! second. It is empty except while a certificate is requested.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::{
    edge::{acme::AcmeChallenges, snapshot::Edge},
    file_watch::{FileVersion, FileVersions},
    server::reload::{LoadedSource, ReloadCounters, ReloadError, ReloadErrorKind, ReloadOutcome, ReloadSource},
};

/// How often the directory is listed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The most files that are looked at. A certificate has at most 100 names.
const MAX_FILES: usize = 1024;
/// The largest challenge that is served, bytes. The authorities in use ask for some 90.
const MAX_BYTES: u64 = 1024;

/// The challenge directory of a serving process.
pub(in crate::server) struct ChallengeReloader {
    directory: PathBuf,
    counters: ReloadCounters,
}

impl ChallengeReloader {
    /// Serves the files of `directory` from the first checks on; nothing is read yet.
    pub(in crate::server) fn new_unread(directory: PathBuf) -> LoadedSource<ChallengeReloader> {
        let uncounted = ::metrics::Counter::noop;
        let counters = ReloadCounters { published: uncounted(), refused: uncounted(), unreadable: uncounted() };
        LoadedSource { source: ChallengeReloader { directory, counters }, versions: FileVersions::new() }
    }

    /// The challenges in the directory: plain files alone, because a symbolic link could publish any file.
    fn list_valid_challenge_file_versions(&self) -> io::Result<BTreeMap<String, FileVersion>> {
        let mut challenges = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory)?.take(MAX_FILES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A file that is gone again has no metadata; the next check tells.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && metadata.len() <= MAX_BYTES && AcmeChallenges::is_token(&name) {
                challenges.insert(name, FileVersion::from_metadata(&metadata));
            }
        }
        Ok(challenges)
    }

    fn read_challenge_files(&self) -> io::Result<AcmeChallenges> {
        let bodies = self.list_valid_challenge_file_versions()?.into_keys().filter_map(|name| {
            let body = std::fs::read(self.directory.join(&name)).ok()?;
            Some((name, Bytes::from(body)))
        });
        Ok(AcmeChallenges::new(bodies))
    }
}

impl ReloadSource for ChallengeReloader {
    fn poll_interval(&self) -> Duration {
        POLL_INTERVAL
    }

    /// A directory that cannot be listed is itself a file without a version.
    fn read_file_versions(&self) -> FileVersions {
        match self.list_valid_challenge_file_versions() {
            Ok(challenges) => {
                challenges.into_iter().map(|(name, version)| (self.directory.join(name), Some(version))).collect()
            }
            Err(_) => FileVersions::from([(self.directory.clone(), None)]),
        }
    }

    fn read_and_publish(&mut self, edge: &ArcSwap<Edge>) -> ReloadOutcome {
        match self.read_challenge_files() {
            Ok(challenges) => {
                let challenges = Arc::new(challenges);
                edge.rcu(|edge| edge.with_acme_challenges(challenges.clone()));
                ReloadOutcome::Published
            }
            Err(error) => ReloadOutcome::Failed(vec![ReloadError {
                kind: ReloadErrorKind::Unreadable,
                fault: None,
                message: format!("tls.acme_challenges {}: cannot be read: {error}", self.directory.display()),
                details: Vec::new(),
            }]),
        }
    }

    fn kept_content(&self) -> &'static str {
        "the challenges read before are served on"
    }

    fn counters(&self) -> &ReloadCounters {
        &self.counters
    }
}
