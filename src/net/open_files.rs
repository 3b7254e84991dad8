//! The limit of open files (`RLIMIT_NOFILE`), and how many connections fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept for everything that is not a client: listeners, segments, files, brokers.
const RESERVED_DESCRIPTORS: u64 = 512;

/// The soft limit of open files of this process. `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFileLimit {
    /// At the start of the process.
    pub before: Option<u64>,
    /// Now.
    pub now: Option<u64>,
}

impl OpenFileLimit {
    /// Raises the soft limit to the hard one and returns both values. Called once, at the start. A refusal by the
    /// system leaves the limit as it is.
    pub fn raise_to_hard_limit() -> OpenFileLimit {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // `now` is read back below, so an error needs no handling.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        OpenFileLimit { before: limit.current, now: getrlimit(Resource::Nofile).current }
    }

    /// The number of connections that fit into the limit: `wanted` at most, one at least.
    pub fn clamp_max_connections(self, wanted: usize) -> usize {
        match self.now {
            Some(limit) => wanted.min(limit.saturating_sub(RESERVED_DESCRIPTORS).max(limit / 2).max(1) as usize),
            None => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else_and_a_tiny_limit_still_serves() {
        let fit = |now, wanted| OpenFileLimit { before: Some(1024), now }.clamp_max_connections(wanted);
        assert_eq!(fit(Some(2000), 100_000), 1488);
        assert_eq!((fit(Some(600), 100_000), fit(Some(1), 100_000)), (300, 1));
        assert_eq!((fit(Some(2000), 10), fit(None, 100_000)), (10, 100_000));
    }
}
