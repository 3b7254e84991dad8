//! `waypost journal drain`: the retirement of an edge. What its data directory still holds is delivered, from any machine:
//!
//! 1. **lock**: a process that runs on the directory is refused, before anything is touched;
//! 2. **recover**: as a start does, but no epoch is opened: the last one is stated as recovered, or as cut without its ring;
//! 3. **ship**: as the edge would have, under its name; then each lane states that it is drained;
//! 4. **close**: the directory is left as after a clean stop. What could not be delivered stays for the next drain.
//!
//! With `--to-file` the clicks are written out instead (**export**).

mod export;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    cli::{ConfigFile, log},
    config::{Config, Flags},
    journal::{InspectError, Journal, LaneReport, OpenError, Opening, Parts},
    lifecycle,
    model::click::Topic,
    server::{kept_edge_id, tell_recovered},
    shipper::{self, Drained, Start, Target},
};

/// How often it is said how far it is.
const SAY_EVERY: u64 = 5;

/// Delivers what a retired edge's data directory holds.
#[derive(Debug, Args)]
pub(in crate::cli) struct Drain {
    /// The data directory, or a copy of it
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    file: ConfigFile,
    /// Deliver to this Kafka
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Where the edge's rings are now [default: where they were; if that is not here, they are lost and the lanes are stated as cut]
    #[arg(long, value_name = "DIR")]
    ring_dir: Option<PathBuf>,
    /// Give up once nothing was delivered for so long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = patience)]
    wait: Duration,
    /// Write the clicks as JSON lines to this file, which must not be there (those on no live link to FILE.orphan), instead of
    /// delivering them; DIR stays as it is and may be read-only
    #[arg(long, value_name = "FILE", conflicts_with = "kafka")]
    to_file: Option<PathBuf>,
    /// The clicks in the file count as delivered: nothing delivers them again
    #[arg(long, requires = "to_file", conflicts_with = "kafka")]
    done: bool,
}

fn patience(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration = text.parse().map_err(|why: jiff::Error| why.to_string())?;
    Duration::try_from(time).map_err(|_| "less than no time".to_owned())
}

impl Drain {
    /// Exits 0 if nothing stays, 1 if something does.
    pub(super) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        let mut flags = Flags::default();
        flags.set("--kafka", &["kafka", "brokers"], self.kafka.clone());
        let config = self.file.gather(flags)?;
        log::init(&config.server);
        if self.to_file.is_none() && !config.kafka.enabled() {
            bail!(
                "nowhere to deliver to: give --kafka HOST:PORT, or set kafka.brokers in the configuration; --to-file FILE writes \
                 the clicks out where no broker is"
            );
        }
        let edge = self.edge(&config)?;
        match &self.to_file {
            Some(file) => export::run(self, &config, &edge, file, out),
            None => self.deliver(config, edge, out),
        }
    }

    /// The name under which the clicks were given their numbers.
    fn edge(&self, config: &Config) -> Result<String> {
        // Before anything else is asked of a directory that is none.
        if !self.dir.join("journal").is_dir() {
            return Err(InspectError::NoJournal { path: self.dir.clone() }.into());
        }
        let given = config.edge.id.clone();
        match kept_edge_id(&self.dir) {
            Some(kept) if given.as_ref().is_some_and(|given| *given != kept) => {
                bail!("{} belongs to edge `{kept}`, and edge.id says otherwise: leave it out", self.dir.display())
            }
            Some(kept) => Ok(kept),
            None => given.with_context(|| {
                format!(
                    "{} does not say which edge it belongs to: set edge.id (WAYPOST__EDGE__ID) to the name in its earlier clicks",
                    self.dir.display()
                )
            }),
        }
    }

    /// Locks and recovers the directory.
    fn open(&self, config: &Config) -> Result<(Vec<LaneReport>, Parts)> {
        let journal = Journal::adopt(&self.dir, &config.journal, self.ring_dir.as_deref());
        let journal = journal.map_err(|why| match why {
            why @ OpenError::Io { .. } => anyhow::Error::new(why).context(
                "the directory is written to as its clicks are delivered: work on a copy that can be, or read it out with --to-file",
            ),
            why => why.into(),
        })?;
        journal.recovered().iter().for_each(tell_recovered);
        Ok((journal.recovered().to_vec(), journal.into_parts()))
    }

    fn deliver(&self, config: Config, edge: String, out: &mut impl Write) -> Result<ExitCode> {
        let (reports, Parts { readers, spiller, .. }) = self.open(&config)?;
        let waiting: u64 = reports.iter().flat_map(|lane| lane.recovered).sum();
        writeln!(out, "edge {edge}: {} lanes, {waiting} clicks to deliver", reports.len())?;
        out.flush()?;
        let (stopper, stop) = lifecycle::stop();
        let spilling = std::thread::Builder::new()
            .name("wp-spiller".to_owned())
            .spawn(move || spiller.run(stop))
            .context("no thread for the spiller")?;
        let start = Start {
            config: config.shipper,
            target: Target::Kafka(config.kafka),
            dead_letters: self.dir.join("dead-letters"),
            edge,
            readers,
        };
        let mut said = 0;
        let drained = shipper::drain(start, self.wait, |delivered, quiet| {
            said += 1;
            if said % SAY_EVERY == 0 {
                let delivered: u64 = delivered.iter().sum();
                tracing::info!(
                    event = "draining",
                    delivered,
                    of = waiting,
                    quiet_seconds = quiet.as_secs(),
                    "draining"
                );
            }
        });
        // Also if it could not begin: what the spiller was given is made durable.
        stopper.stop();
        let closed = spilling.join().is_ok();
        tell(&self.dir, &reports, &drained?, closed, out)
    }
}

fn tell(dir: &Path, reports: &[LaneReport], drained: &Drained, closed: bool, out: &mut impl Write) -> Result<ExitCode> {
    for topic in Topic::ALL {
        let count = |of: &[u64; Topic::ALL.len()]| of[topic as usize];
        writeln!(
            out,
            "{}: {} delivered, {} found delivered, {} dead-lettered, {} quarantined, {} stay",
            topic.name(),
            count(&drained.delivered) - count(&drained.found),
            count(&drained.found),
            count(&drained.dead_lettered),
            count(&drained.quarantined),
            count(&drained.remaining)
        )?;
    }
    cuts(reports, out)?;
    let stay: u64 = drained.remaining.iter().sum();
    if stay > 0 || !drained.counted_all {
        let least = if drained.counted_all { "" } else { "at least " };
        writeln!(out, "{least}{stay} clicks stay in {}: see to the broker and drain it again", dir.display())?;
    } else if !drained.stated {
        writeln!(out, "every click is delivered, but not every lane could say so on its topic: drain it again")?;
    } else if !closed {
        writeln!(out, "every click is delivered, but the directory could not be closed: drain it again")?;
    } else {
        writeln!(out, "drained: nothing stays")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Names the lanes that lost what only their ring held.
fn cuts(reports: &[LaneReport], out: &mut impl Write) -> Result<()> {
    for lane in reports.iter().filter(|lane| lane.opening == Opening::Cut) {
        let epoch = lane.closed.map_or(0, |(epoch, _)| epoch);
        writeln!(
            out,
            "lane {}: cut: its ring is gone or was not written to the end, and what had no other home is lost (epoch {epoch})",
            lane.lane
        )?;
    }
    Ok(())
}
