//! `waypost kafka setup`: the topics as they should be. Says what it would do; does it with `--apply`.

use std::{io::Write, time::Duration};

use crate::kafka::{Config, PATIENCE, Plan, Step, TopicAim, Topics};

/// The flags of `waypost kafka setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// Do it; without this flag nothing is changed.
    #[arg(long)]
    pub apply: bool,
    /// Partitions of a topic that is created. An existing one is left as it is.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Copies of each partition of a topic that is created.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=32))]
    pub replication: i32,
    /// Copies that have to hold a click before it counts as delivered [default: 2, or 1 below three copies].
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=32))]
    pub min_insync: Option<i32>,
    /// Days that clicks stay at least: a topic that keeps them longer is left as it is. 14 to the order, 30 to its delivery, 14 to its confirmation, 30 to its payment, and as much again
    /// to dispute it.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub retention_days: u64,
}

impl Setup {
    fn aims(&self, config: &Config) -> anyhow::Result<Vec<TopicAim>> {
        // With two copies and two in sync, one broker's restart would stop all deliveries.
        let min_insync = self.min_insync.unwrap_or(if self.replication >= 3 { 2 } else { 1 });
        if min_insync > self.replication {
            anyhow::bail!(
                "--min-insync {min_insync} is more than --replication {}: no click could be delivered",
                self.replication
            );
        }
        let days = Duration::from_secs(self.retention_days * 86_400);
        let aim = |name: &str| {
            // One partition: an edge looks for its checkpoint in one place.
            let checkpoints = name == config.checkpoints;
            let (partitions, retention) = if checkpoints { (1, None) } else { (self.partitions, Some(days)) };
            TopicAim { name: name.to_owned(), partitions, replication: self.replication, min_insync, retention }
        };
        Ok(config.all_topics().into_iter().map(aim).collect())
    }
}

/// Compares the topics of `config` with the recommended ones and says to `out` what there is to do; does it if told to.
///
/// # Errors
/// No broker is configured or none answers; a topic cannot be made or altered as asked (the others still are); `out` cannot be
/// written. Each says what to do.
pub fn setup(config: &Config, flags: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(brokers) = &config.brokers else {
        anyhow::bail!("no broker is configured: give --kafka HOST:PORT, or set kafka.brokers in the configuration");
    };
    let aims = flags.aims(config)?;
    let topics = Topics::new(config, "setup").map_err(anyhow::Error::msg)?;
    let size = topics.brokers(PATIENCE).map_err(anyhow::Error::msg)?;
    writeln!(out, "Kafka at {brokers}: {size} broker{}", if size == 1 { "" } else { "s" })?;
    let states = topics.look(&config.all_topics(), PATIENCE).map_err(anyhow::Error::msg)?;
    let plans: Vec<Plan> = aims.iter().zip(&states).map(|(aim, state)| aim.plan(state)).collect();

    let mut failures = Vec::new();
    for plan in &plans {
        describe(plan, out)?;
        let outcome = if flags.apply { topics.apply(plan) } else { foreseen(plan, size) };
        match outcome {
            Ok(()) if flags.apply && plan.step != Step::Nothing => writeln!(out, "    done")?,
            Ok(()) => {}
            Err(why) => {
                writeln!(out, "    not possible: {why}")?;
                failures.push(plan.aim.name.as_str());
            }
        }
    }
    if !failures.is_empty() {
        anyhow::bail!("{} cannot be set up as asked", failures.join(" and "));
    }
    if plans.iter().all(|plan| plan.step == Step::Nothing) {
        writeln!(out, "Nothing to do.")?;
    } else if !flags.apply {
        writeln!(out, "Nothing was changed; run it again with --apply.")?;
    }
    Ok(())
}

/// What `--apply` would be refused for, as far as it can be known.
fn foreseen(plan: &Plan, brokers: usize) -> Result<(), String> {
    match plan.step {
        Step::Blocked => Err(plan.notes.join("; ")),
        Step::Create if plan.aim.replication as usize > brokers => Err(format!(
            "{} replicas need as many brokers: add brokers, or give --replication {brokers} (a click is then as safe as so many disks)",
            plan.aim.replication
        )),
        _ => Ok(()),
    }
}

fn counted(number: i32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn describe(plan: &Plan, out: &mut impl Write) -> std::io::Result<()> {
    let TopicAim { name, partitions, replication, min_insync, retention } = &plan.aim;
    match &plan.step {
        Step::Create => {
            let kept = retention.map_or("compacted".to_owned(), |kept| format!("{} days", kept.as_secs() / 86_400));
            let (partitions, replicas) = (counted(*partitions, "partition"), counted(*replication, "replica"));
            writeln!(out, "{name}: create with {partitions}, {replicas}, min.insync.replicas={min_insync}, {kept}")?
        }
        Step::Alter(changes) => {
            writeln!(out, "{name}: alter")?;
            for change in changes {
                writeln!(out, "    {}: {} -> {}", change.key, change.from, change.to)?;
            }
        }
        Step::Nothing => writeln!(out, "{name}: as it should be")?,
        Step::Blocked => return writeln!(out, "{name}: may not be seen"),
    }
    for note in &plan.notes {
        writeln!(out, "    note: {note}")?;
    }
    Ok(())
}
