//! The journals of a data directory: one for each topic, under one lock.

use std::path::Path;

use crate::{
    journal::{Config, DirectoryLocks, Journal, JournalParts, OpenError, RecoveryReport},
    lifecycle,
    model::click::Topic,
};

/// The opened journal of one topic.
pub struct TopicJournal {
    /// The topic whose clicks it holds.
    pub topic: Topic,
    /// What recovery found in each lane.
    pub reports: Vec<RecoveryReport>,
    /// The ends of its lanes.
    pub parts: JournalParts,
}

impl TopicJournal {
    fn new(topic: Topic, journal: Journal) -> TopicJournal {
        TopicJournal { topic, reports: journal.recovery_reports().to_vec(), parts: journal.into_parts() }
    }

    /// Closes every lane in good order, so that a reboot that removes the rings is no alarm.
    fn close_without_serving(self) {
        let JournalParts { writers, readers, spiller } = self.parts;
        drop((writers, readers));
        let (stopper, stop) = lifecycle::stop_signal();
        stopper.stop();
        spiller.run_until_stopped_then_close(stop);
    }
}

/// Opens the journal of each topic with a lane for each worker. `locks`: of the data directory and the ring directory.
///
/// # Errors
/// As [`Journal::open`].
pub(super) fn open_journals(
    data_dir: &Path,
    config: &Config,
    workers: usize,
    locks: &DirectoryLocks,
) -> Result<[TopicJournal; Topic::ALL.len()], OpenError> {
    let open = |topic: Topic| -> Result<TopicJournal, OpenError> {
        let journal = Journal::open(data_dir, topic.name(), &config_of_topic(config, topic), workers, locks)?;
        Ok(TopicJournal::new(topic, journal))
    };
    let clicks = open(Topic::Clicks)?;
    match open(Topic::Orphan) {
        Ok(orphans) => Ok([clicks, orphans]),
        Err(error) => {
            clicks.close_without_serving();
            Err(error)
        }
    }
}

/// Locks the data directory that another process left, and opens the journal of each topic to deliver it. `ring_dir`:
/// where the rings are now; by default where the last run had them. Called by `journal drain`.
///
/// # Errors
/// As [`Journal::open_existing_to_drain`].
pub fn open_existing_journals_to_drain(
    data_dir: &Path,
    config: &Config,
    ring_dir: Option<&Path>,
) -> Result<[TopicJournal; Topic::ALL.len()], OpenError> {
    let locks = DirectoryLocks::lock_existing_to_drain(data_dir, ring_dir)?;
    let open = |topic: Topic| -> Result<TopicJournal, OpenError> {
        let config = config_of_topic(config, topic);
        let journal = Journal::open_existing_to_drain(data_dir, topic.name(), &config, ring_dir, &locks)?;
        Ok(TopicJournal::new(topic, journal))
    };
    Ok([open(Topic::Clicks)?, open(Topic::Orphan)?])
}

fn config_of_topic(config: &Config, topic: Topic) -> Config {
    match topic {
        Topic::Clicks => config.clone(),
        Topic::Orphan => config.for_orphans(),
    }
}
