//! The challenges of an ACME client: every file of a directory, kept in memory. A certificate authority asks within a second of the
//! file being written, so the directory is listed ten times a second; it is empty but while a certificate is asked for.

use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::edge::{Edge, secure};

/// The most challenges that are kept, and the largest, bytes: a certificate has at most 100 names, an answer is 90 bytes.
const MOST: usize = 1024;
const LARGEST: u64 = 1024;

/// Whoever keeps the challenges up to their directory.
pub(super) struct Challenges {
    directory: PathBuf,
    served: Arc<secure::Challenges>,
    /// Whether it was said that the directory cannot be read.
    unreadable: bool,
}

impl Challenges {
    pub(super) fn of(directory: PathBuf) -> Challenges {
        Challenges { directory, served: Arc::default(), unreadable: false }
    }

    /// Ten times a second.
    pub(super) fn look(&mut self, edge: &ArcSwap<Edge>) {
        let found = match self.list() {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::warn!(%error, "tls.acme_challenges {}: cannot be read", self.directory.display());
                }
                return;
            }
        };
        self.unreadable = false;
        if *self.served != found {
            self.served = Arc::new(found);
            edge.rcu(|edge| edge.with_challenges(self.served.clone()));
        }
    }

    /// Plain files alone: a symbolic link could show anything.
    fn list(&self) -> io::Result<secure::Challenges> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)?.take(MOST) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let plain = entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
            // Gone again, or not yet readable: the next look tells.
            if plain
                && secure::Challenges::is_name(&name)
                && let Ok(body) = std::fs::read(entry.path())
            {
                files.push((name, Bytes::from(body)));
            }
        }
        Ok(secure::Challenges::new(files))
    }
}
