//! The data directory of an edge that no process runs on any more: its name, its journal, and what recovery lost.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    config::Config,
    journal::{Epoch, InspectError, LaneCondition, OpenError, RecoveryReport},
    model::click::Topic,
    server::{TopicJournal, log_lane_recovery_unless_clean, open_existing_journals_to_drain, read_edge_id},
};

/// A retired edge, and the configuration with which its clicks are delivered.
pub(super) struct RetiredEdge {
    pub(super) config: Config,
    /// The name under which the clicks were numbered.
    pub(super) edge_id: String,
    /// Directory of the rings, if not where the edge had them.
    pub(super) ring_dir: Option<PathBuf>,
}

impl RetiredEdge {
    /// Finds the edge's name. Changes nothing in the data directory.
    ///
    /// # Errors
    /// `server.data_dir` holds no journal; or its edge name is unknown, or differs from `edge.id`.
    pub(super) fn identify_without_changing_data_dir(config: Config, ring_dir: Option<PathBuf>) -> Result<RetiredEdge> {
        let dir = &config.server.data_dir;
        // Before any other question about a directory that may not exist.
        if !dir.join("journal").is_dir() {
            return Err(InspectError::NoJournal { path: dir.clone() }.into());
        }
        let configured = config.edge.id.clone();
        let edge_id = match read_edge_id(dir) {
            Some(kept) if configured.as_ref().is_some_and(|id| *id != kept) => {
                bail!(
                    "{} belongs to edge `{kept}`, but edge.id is `{}`: remove edge.id from the configuration",
                    dir.display(),
                    configured.unwrap_or_default()
                )
            }
            Some(kept) => kept,
            None => configured.with_context(|| {
                format!(
                    "{} does not name its edge: set edge.id (WAYPOST__EDGE__ID) to the edge name in its earlier clicks",
                    dir.display()
                )
            })?,
        };
        Ok(RetiredEdge { config, edge_id, ring_dir })
    }

    /// The data directory.
    pub(super) fn data_dir(&self) -> &Path {
        &self.config.server.data_dir
    }

    /// Locks and recovers the journal of each topic, without opening a new epoch.
    ///
    /// # Errors
    /// Another process holds the lock; the directory cannot be written; the journal cannot be recovered.
    pub(super) fn lock_and_recover_journals(&self) -> Result<[TopicJournal; Topic::ALL.len()]> {
        let journals = open_existing_journals_to_drain(self.data_dir(), &self.config.journal, self.ring_dir.as_deref());
        let journals = journals.map_err(|why| match why {
            why @ OpenError::Io { .. } => anyhow::Error::new(why).context(
                "a drain writes to the data directory: drain a writable copy of it, or read it with --to-file",
            ),
            why => why.into(),
        })?;
        journals.iter().flat_map(|journal| &journal.reports).for_each(log_lane_recovery_unless_clean);
        Ok(journals)
    }
}

/// Prints the lanes whose last epoch was cut: they lost the clicks that only the ring held.
pub(super) fn print_lanes_whose_last_epoch_was_cut(reports: &[RecoveryReport], out: &mut impl Write) -> Result<()> {
    for lane in reports.iter().filter(|lane| lane.condition == LaneCondition::Cut) {
        let epoch = lane.last_epoch.map_or(Epoch::NONE, |last| last.epoch);
        writeln!(
            out,
            "{} lane {}: epoch {epoch} was cut: its ring is gone or incomplete; clicks that only the ring held are \
             lost",
            lane.log, lane.lane
        )?;
    }
    Ok(())
}
