//! Delivers a retired edge's clicks to Kafka and closes its data directory.

use std::{io::Write, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;

use super::retired_edge::{RetiredEdge, print_lanes_whose_last_epoch_was_cut};
use crate::{
    cli::geoip_files::load_usable_geoip_files_and_warn,
    delivery::{self, DrainSummary, EngineInputs},
    geoip::Databases,
    journal::{JournalParts, RecoveryReport},
    lifecycle,
    model::click::Topic,
    server::TopicJournal,
    sinks::kafka::KafkaSink,
};

/// Progress is reported once a second; one report in this many is logged.
const LOG_EVERY: u64 = 5;

/// Delivers the clicks until none remains, or none was delivered for `stall_timeout`. Prints a summary; exits 0 if no
/// click remains.
pub(super) fn deliver_to_kafka_until_empty_or_stalled_and_print_summary(
    edge: RetiredEdge,
    stall_timeout: Duration,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let journals = edge.lock_and_recover_journals()?;
    let reports: Vec<RecoveryReport> = journals.iter().flat_map(|journal| journal.reports.clone()).collect();
    let undelivered: u64 = reports.iter().map(|lane| lane.recovered).sum();
    writeln!(out, "edge {}: {} lanes, {undelivered} clicks to deliver", edge.edge_id, reports.len())?;
    out.flush()?;
    let geoip = load_usable_geoip_files_and_warn(&edge.config);
    let mut drained = Vec::new();
    for journal in journals {
        let topic = journal.topic;
        drained.push((topic, drain_topic_and_close_journal(&edge, journal, geoip.clone(), stall_timeout)?));
    }
    print_drain_summary_and_return_exit_code(edge.data_dir(), &reports, &drained, out)
}

/// The result of one topic's drain.
struct DrainedTopic {
    summary: DrainSummary,
    journal_closed: bool,
}

fn drain_topic_and_close_journal(
    edge: &RetiredEdge,
    journal: TopicJournal,
    geoip: Arc<ArcSwap<Databases>>,
    stall_timeout: Duration,
) -> Result<DrainedTopic> {
    let TopicJournal { topic, reports, parts: JournalParts { readers, spiller, .. } } = journal;
    let undelivered: u64 = reports.iter().map(|lane| lane.recovered).sum();
    let (stopper, stop) = lifecycle::stop_signal();
    let spiller_thread = std::thread::Builder::new()
        .name(format!("wp-spill-{}", topic.short_name()))
        .spawn(move || spiller.run_until_stopped_then_close(stop))
        .context("cannot start the spiller thread")?;
    let inputs = EngineInputs {
        topic,
        config: edge.config.delivery.clone(),
        dead_letter_dir: edge.data_dir().join("dead-letters"),
        edge: edge.edge_id.clone(),
        readers,
        geoip,
    };
    let max_in_flight = inputs.config.max_in_flight as usize;
    let mut progress_reports = 0;
    let on_progress = |delivered: u64, quiet: Duration| {
        progress_reports += 1;
        if progress_reports % LOG_EVERY == 0 {
            tracing::info!(
                event = "draining",
                topic = topic.name(),
                delivered,
                of = undelivered,
                quiet_seconds = quiet.as_secs(),
                "draining"
            );
        }
    };
    let drained = KafkaSink::new(topic, edge.config.kafka.clone(), &inputs.edge, &inputs.sink_notes(), max_in_flight)
        .map_err(anyhow::Error::from)
        .and_then(|sink| Ok(delivery::drain_to_sink(inputs, sink, stall_timeout, on_progress)?));
    // Even if the delivery could not start: the spiller makes durable what it was given.
    stopper.stop();
    let journal_closed = spiller_thread.join().is_ok();
    Ok(DrainedTopic { summary: drained?, journal_closed })
}

/// Prints the counts by topic and what to do about clicks that remain. Exits 0 if no click remains and the directory is
/// closed.
fn print_drain_summary_and_return_exit_code(
    data_dir: &Path,
    reports: &[RecoveryReport],
    drained: &[(Topic, DrainedTopic)],
    out: &mut impl Write,
) -> Result<ExitCode> {
    for (topic, DrainedTopic { summary, .. }) in drained {
        writeln!(
            out,
            "{}: {} delivered, {} already delivered, {} dead-lettered, {} quarantined, {} remain",
            topic.name(),
            summary.delivered - summary.already_delivered,
            summary.already_delivered,
            summary.dead_lettered,
            summary.quarantined,
            summary.remaining
        )?;
    }
    print_lanes_whose_last_epoch_was_cut(reports, out)?;
    let all = |holds: fn(&DrainedTopic) -> bool| drained.iter().all(|(_, topic)| holds(topic));
    let remaining: u64 = drained.iter().map(|(_, topic)| topic.summary.remaining).sum();
    let counted_all = all(|topic| topic.summary.counted_all);
    if remaining > 0 || !counted_all {
        let at_least = if counted_all { "" } else { "at least " };
        writeln!(
            out,
            "{at_least}{remaining} clicks remain in {}: check the broker, then run the drain again",
            data_dir.display()
        )?;
    } else if !all(|topic| topic.summary.stated) {
        writeln!(out, "every click is delivered, but not every lane could state so on its topic: run the drain again")?;
    } else if !all(|topic| topic.journal_closed) {
        writeln!(out, "every click is delivered, but the data directory could not be closed: run the drain again")?;
    } else {
        writeln!(out, "drained: no click remains")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
