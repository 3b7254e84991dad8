//! `--to-file`: writes a retired edge's undelivered clicks as JSON lines, labelled as a delivery would label them.
//! Clicks of all lanes are merged by time, oldest first.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use super::retired_edge::{RetiredEdge, print_lanes_whose_last_epoch_was_cut};
use crate::{
    cli::geoip_files::load_usable_geoip_files_and_warn,
    events::EventBuilder,
    journal::{self, ExportedLane, Frame, JournalParts, Watermark},
    lifecycle,
    model::click::{Click, Topic},
};

/// Writes the undelivered clicks to `file` and prints a summary. With `mark_delivered` they then count as delivered;
/// without it the data directory is unchanged. Exits 1 if a click could not be written.
pub(super) fn export_undelivered_to_file_and_print_summary(
    edge: &RetiredEdge,
    file: &Path,
    mark_delivered: bool,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let recovered = if mark_delivered { Some(edge.lock_and_recover_journals()?) } else { None };
    // Recovery takes the lock, and notes where the rings are.
    let ring_dir = edge.ring_dir.as_deref().filter(|_| recovered.is_none());
    let _lock = if recovered.is_none() { journal::lock_data_dir_if_lock_file_exists(edge.data_dir())? } else { None };
    let mut export = Export::create_new_private_file_for_each_topic(file)?;
    let exported = match export.write_undelivered_events_and_sync(edge, ring_dir, file) {
        Ok(exported) => exported,
        Err(why) => {
            export.remove_files_ignoring_errors();
            return Err(why);
        }
    };
    print_written_and_quarantined_counts(&exported, out)?;
    if export.unreadable > 0 {
        writeln!(
            out,
            "{} clicks have the format of a newer version and are not in the file: use that version",
            export.unreadable
        )?;
        return Ok(ExitCode::FAILURE);
    }
    let dir = edge.data_dir().display();
    match recovered {
        Some(journals) => {
            for (journal, topic) in journals.into_iter().zip(&export.topics) {
                print_lanes_whose_last_epoch_was_cut(&journal.reports, out)?;
                mark_all_delivered_and_close_journal(journal.parts, &topic.lane_ends)?;
            }
            writeln!(out, "done: these clicks count as delivered; no click remains in {dir}")?;
        }
        None => {
            for ExportedTopic { topic, lanes, .. } in &exported {
                for lane in lanes.iter().filter(|lane| !lane.is_complete) {
                    writeln!(
                        out,
                        "{} lane {}: its ring of this boot is absent; clicks that only the ring held are not in the \
                         file",
                        topic.name(),
                        lane.lane
                    )?;
                }
            }
            writeln!(out, "{dir} is unchanged: these clicks are still to be delivered (or repeat with --done)")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Acknowledges every click in every lane, and leaves the directory as after a clean stop.
fn mark_all_delivered_and_close_journal(parts: JournalParts, lane_ends: &LaneEnds) -> Result<()> {
    for reader in &parts.readers {
        let recovered = reader.recovered_watermark();
        let delivered = lane_ends.get(&reader.lane()).map_or(recovered, |written| recovered.max(*written));
        reader.acknowledge(reader.head(), delivered, reader.recovered_sink_note());
    }
    let (stopper, stop) = lifecycle::stop_signal();
    stopper.stop();
    let closing = std::thread::Builder::new()
        .name("wp-spiller".to_owned())
        .spawn(move || parts.spiller.run_until_stopped_then_close(stop));
    closing.context("cannot start the spiller thread")?.join().ok().context("the data directory could not be closed")
}

/// Of each lane, the watermark after the last click written.
type LaneEnds = BTreeMap<u16, Watermark>;

/// The files being written, and what was written to them.
struct Export {
    topics: Vec<TopicFile>,
    /// Clicks of a newer version's format.
    unreadable: u64,
}

/// The file of one topic.
struct TopicFile {
    topic: Topic,
    path: PathBuf,
    file: BufWriter<File>,
    lane_ends: LaneEnds,
}

/// What the lanes of a topic held.
struct ExportedTopic {
    topic: Topic,
    path: PathBuf,
    lanes: Vec<ExportedLane>,
}

impl Export {
    /// Creates one file for each topic, because each topic has its own numbers. Mode 0600: the files hold client
    /// addresses.
    ///
    /// # Errors
    /// A file exists already or cannot be created; none is left behind.
    fn create_new_private_file_for_each_topic(file: &Path) -> Result<Export> {
        let mut export = Export { topics: Vec::new(), unreadable: 0 };
        for topic in Topic::ALL {
            let mut path = OsString::from(file);
            if topic == Topic::Orphan {
                path.push(".orphan");
            }
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    let file = BufWriter::with_capacity(1 << 20, file);
                    export.topics.push(TopicFile { topic, path, file, lane_ends: LaneEnds::new() });
                }
                Err(why) => {
                    export.remove_files_ignoring_errors();
                    return Err(why).with_context(|| format!("cannot create {}", path.display()));
                }
            }
        }
        Ok(export)
    }

    /// Writes every undelivered click, then syncs the files. Returns what each lane held.
    fn write_undelivered_events_and_sync(
        &mut self,
        edge: &RetiredEdge,
        ring_dir: Option<&Path>,
        file_for_errors: &Path,
    ) -> Result<Vec<ExportedTopic>> {
        let builder = EventBuilder::new(&edge.config.delivery.duplicate).context("the table of user agents")?;
        let builder = builder.with_geoip(load_usable_geoip_files_and_warn(&edge.config));
        let mut builder = builder.with_device_labels(edge.config.delivery.device_labels);
        let mut line = Vec::new();
        let time = |frame: &Frame<'_>| Click::decode(frame.payload).map_or(0, |click| click.at_ms);
        let mut exported = Vec::new();
        for TopicFile { topic, path, file, lane_ends } in &mut self.topics {
            let write = |lane: u16, frame: &Frame<'_>| {
                line.clear();
                if !builder.try_append_event_and_remember_click(&edge.edge_id, *topic, lane, frame, &mut line) {
                    self.unreadable += 1;
                    return Ok(());
                }
                line.push(b'\n');
                lane_ends.insert(lane, Watermark::after(frame.epoch, frame.seq));
                file.write_all(&line)
            };
            let lanes = journal::visit_undelivered_by_time_and_count_by_lane(
                edge.data_dir(),
                topic.name(),
                ring_dir,
                time,
                write,
            )?;
            exported.push(ExportedTopic { topic: *topic, path: path.clone(), lanes });
        }
        self.flush_and_sync_files_and_directories()
            .with_context(|| format!("cannot write {}", file_for_errors.display()))?;
        Ok(exported)
    }

    /// Makes the files and their directory entries durable.
    fn flush_and_sync_files_and_directories(&mut self) -> io::Result<()> {
        for TopicFile { path, file, .. } in &mut self.topics {
            file.flush()?;
            file.get_ref().sync_all()?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes the incomplete files. A file that cannot be removed makes the next export fail with its name.
    fn remove_files_ignoring_errors(&self) {
        for TopicFile { path, .. } in &self.topics {
            let _ = fs::remove_file(path);
        }
    }
}

fn print_written_and_quarantined_counts(exported: &[ExportedTopic], out: &mut impl Write) -> Result<()> {
    for ExportedTopic { topic, path, lanes } in exported {
        let written: u64 = lanes.iter().map(|lane| lane.frames).sum();
        let quarantined: u64 = lanes.iter().map(|lane| lane.missing).sum();
        writeln!(out, "{}: {written} clicks in {}, {quarantined} quarantined", topic.name(), path.display())?;
    }
    Ok(())
}
