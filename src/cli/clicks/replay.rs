//! `waypost clicks replay`: writes the records of whole days once more, to fresh topics, so that a consumer can be run
//! over them from the beginning.
//!
//! A record keeps its value, key, headers and timestamp. With them it keeps its arrival (`wp_shipped_at_ms`) and, in a
//! topic of as many partitions, its partition. Repeats and stubs are replayed too. So a consumer gives the same rows
//! over the fresh topics as over the old ones.

mod envelope;
mod producer;
mod target;

use std::{io::Write, path::PathBuf};

use anyhow::{Result, bail};

use self::{
    envelope::{OutgoingClick, rebuild_click_from_line},
    producer::ReplayProducer,
    target::ReplayTarget,
};
use super::{
    day_range::DayRange,
    event::ClickEvent,
    source::{ClickSource, EventRecord, ReadProgress},
};
use crate::{cli::json_line::visit_lines, kafka::Config, model::click::Topic};

/// The flags of `waypost clicks replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    days: DayRange,
    /// The fresh topics: TOPIC for clicks on live links, TOPIC.orphan for the others; created if they are missing, with
    /// the partitions and the retention of the old ones
    #[arg(long, value_name = "TOPIC")]
    into: String,
    /// The brokers of the fresh topics [default: those of --kafka]
    #[arg(long, value_name = "HOST:PORT")]
    into_kafka: Option<String>,
    /// Replay exported JSON lines instead of topics; can be given several times
    #[arg(long, value_name = "FILE")]
    clicks: Vec<PathBuf>,
}

/// What became of the records that were read.
#[derive(Debug, Default)]
struct ReplayCounts {
    sent: [u64; Topic::ALL.len()],
    unreadable: u64,
}

/// Replays the records of the days.
///
/// # Errors
/// The source cannot be read; a fresh topic has records, or cannot be created or written. Then the fresh topics hold a
/// part of the records: delete them.
pub fn replay_clicks_into_fresh_topics(config: &Config, args: &ReplayArgs, out: &mut impl Write) -> Result<()> {
    args.days.check()?;
    let from_topics = args.clicks.is_empty();
    if from_topics && !config.is_enabled() {
        bail!("a replay reads topics: give --kafka HOST:PORT, or exported JSON lines (--clicks FILE)");
    }
    let into = Config { brokers: args.into_kafka.clone().or_else(|| config.brokers.clone()), ..config.clone() };
    if !into.is_enabled() {
        bail!("--into-kafka is missing; give the brokers of the fresh topics");
    }
    let target = ReplayTarget::new(into, &args.into, from_topics.then_some(config))?;
    target.create_missing_topics_and_check_that_all_are_empty()?;
    let mut producer = ReplayProducer::new(&target)?;
    let mut counts = ReplayCounts::default();
    if from_topics {
        let source = ClickSource::Kafka(Box::new(config.clone()));
        for topic in Topic::ALL {
            source.visit_records_and_follow_if_asked(
                &[topic],
                args.days.read_range(),
                &mut |progress| match progress {
                    ReadProgress::Record(record) => args.replay_record(topic, &record, &mut producer, &mut counts),
                    ReadProgress::CaughtUp => Ok(()),
                },
            )?;
        }
    }
    for path in &args.clicks {
        visit_lines(path, |_, line| {
            args.replay_line(line, &mut producer, &mut counts).map_err(|error| format!("{error:#}"))
        })?;
    }
    producer.wait_until_all_are_delivered()?;
    for (topic, sent) in Topic::ALL.into_iter().zip(counts.sent) {
        writeln!(out, "{}  {sent} records", target.topic_name(topic))?;
    }
    if counts.unreadable > 0 {
        eprintln!("waypost: {} records are not clicks and are not replayed", counts.unreadable);
    }
    Ok(out.flush()?)
}

impl ReplayArgs {
    fn replay_record(
        &self,
        topic: Topic,
        record: &EventRecord<'_>,
        producer: &mut ReplayProducer<'_>,
        counts: &mut ReplayCounts,
    ) -> Result<()> {
        let Some(message) = record.message.filter(|_| self.is_in_days(record.value, counts)) else { return Ok(()) };
        counts.sent[topic as usize] += 1;
        producer.send(topic, &OutgoingClick::copy_of(message))
    }

    fn replay_line(&self, line: &[u8], producer: &mut ReplayProducer<'_>, counts: &mut ReplayCounts) -> Result<()> {
        if !self.is_in_days(line, counts) {
            return Ok(());
        }
        let (topic, click) = rebuild_click_from_line(line)?;
        counts.sent[topic as usize] += 1;
        producer.send(topic, &click)
    }

    /// Whether an event is of the days. What is no click of Waypost is of no day.
    fn is_in_days(&self, value: &[u8], counts: &mut ReplayCounts) -> bool {
        let event = ClickEvent::parse(value).filter(|event| !event.click_id.is_empty() && event.clicked_at_ms > 0);
        counts.unreadable += u64::from(event.is_none());
        event.is_some_and(|event| self.days.contains_ms(event.clicked_at_ms))
    }
}
