//! `waypost kafka setup`: compares the topics with the recommended ones, prints the differences, and with `--apply`
//! creates and alters topics.

use std::{io::Write, time::Duration};

use crate::{
    catalog::topic::{find_generation_of_topic, write_new_generation},
    config::Config,
    kafka::{PlanStep, REQUEST_TIMEOUT, TopicAdmin, TopicPlan, TopicSpec, validate_topic_name},
};

/// How long tombstones of links stay: an edge that is away for longer reads the topic from its beginning.
const TOMBSTONE_RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// How long the audit of links stays.
const AUDIT_RETENTION: Duration = Duration::from_secs(400 * 86_400);

/// The flags of `waypost kafka setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// Create and alter the topics; without this flag nothing is changed
    #[arg(long)]
    pub apply: bool,
    /// Partitions of a topic that is created; the partitions of an existing topic are not changed
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Replicas of each partition of a topic that is created
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=32))]
    pub replication: i32,
    /// Replicas that must hold a click before it counts as delivered [default: 2, or 1 with fewer than three replicas]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=32))]
    pub min_insync: Option<i32>,
    /// Shortest retention of clicks, in days; a topic with a longer retention is not changed
    ///
    /// The default covers 14 days to the order, 30 to its delivery, 14 to its confirmation, 30 to its payment, and as
    /// many again for a dispute.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub retention_days: u64,
    /// Also the compacted topic for the receipts of `waypost receipts --publish`
    #[arg(long, value_name = "TOPIC")]
    pub receipts_topic: Option<String>,
}

impl SetupArgs {
    /// The recommended settings of every topic that the configuration names.
    fn build_recommended_topic_specs(&self, config: &Config) -> anyhow::Result<Vec<TopicSpec>> {
        // With two replicas and two in sync, the restart of one broker would stop every delivery.
        let min_insync = self.min_insync.unwrap_or(if self.replication >= 3 { 2 } else { 1 });
        if min_insync > self.replication {
            anyhow::bail!(
                "--min-insync {min_insync} is more than --replication {}: no click could be delivered",
                self.replication
            );
        }
        let days = Duration::from_secs(self.retention_days * 86_400);
        let recommend = |name: &str| {
            // One partition: an edge looks for its checkpoint in one place.
            let is_checkpoints = name == config.kafka.topics.checkpoints;
            let (partitions, retention) = if is_checkpoints { (1, None) } else { (self.partitions, Some(days)) };
            TopicSpec {
                name: name.to_owned(),
                partitions,
                replication: self.replication,
                min_insync,
                retention,
                tombstone_retention: None,
            }
        };
        let mut specs: Vec<TopicSpec> = config.kafka.list_written_topics().into_iter().map(recommend).collect();
        specs.extend(recommend_links_topics(config, self.replication, min_insync));
        if let Some(name) = &self.receipts_topic {
            validate_topic_name(name).map_err(|why| anyhow::anyhow!("--receipts-topic: {why}"))?;
            specs.push(TopicSpec {
                name: name.clone(),
                partitions: self.partitions,
                replication: self.replication,
                min_insync,
                retention: None,
                tombstone_retention: None,
            });
        }
        Ok(specs)
    }
}

/// The recommended settings of the topic of links and of its audit, if the configuration names them. Each has one
/// partition: the changes of links have one order.
pub(super) fn recommend_links_topics(config: &Config, replication: i32, min_insync: i32) -> Vec<TopicSpec> {
    let Some((links, audit)) = config.links.topics() else { return Vec::new() };
    let spec = |name, retention, tombstone_retention| TopicSpec {
        name,
        partitions: 1,
        replication,
        min_insync,
        retention,
        tombstone_retention,
    };
    vec![spec(links, None, Some(TOMBSTONE_RETENTION)), spec(audit, Some(AUDIT_RETENTION), None)]
}

/// Compares the topics of `config` with the recommended ones and prints a plan to `out`; with `--apply` carries it out.
///
/// # Errors
/// No broker is configured or none answers; a topic cannot be created or altered (the others still are); `out` cannot
/// be written. The message says what to do.
pub fn print_topic_plans_and_apply_if_asked(
    config: &Config,
    args: &SetupArgs,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let Some(brokers) = &config.kafka.brokers else {
        anyhow::bail!("no broker is configured: give --kafka HOST:PORT, or set kafka.brokers in the configuration");
    };
    let recommended = args.build_recommended_topic_specs(config)?;
    let admin = TopicAdmin::new(&config.kafka, "setup").map_err(anyhow::Error::msg)?;
    let broker_count = admin.count_brokers(REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
    writeln!(out, "Kafka at {brokers}: {broker_count} broker{}", if broker_count == 1 { "" } else { "s" })?;
    let names: Vec<&str> = recommended.iter().map(|spec| spec.name.as_str()).collect();
    let states = admin.describe_topics(&names, REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
    let plans: Vec<TopicPlan> =
        recommended.iter().zip(&states).map(|(spec, state)| spec.plan_creation_or_changes(state)).collect();

    let mut failures = Vec::new();
    for plan in &plans {
        print_topic_plan(plan, out)?;
        let result = if args.apply {
            admin.apply_plan(plan)
        } else {
            check_topic_is_visible_and_brokers_suffice(plan, broker_count)
        };
        match result {
            Ok(()) if args.apply && plan.step != PlanStep::Nothing => writeln!(out, "    done")?,
            Ok(()) => {}
            Err(why) => {
                writeln!(out, "    not possible: {why}")?;
                failures.push(plan.spec.name.as_str());
            }
        }
    }
    let links_topic = plans.iter().find(|plan| Some(&plan.spec.name) == config.links.topic.as_ref());
    let generation = match links_topic {
        Some(plan) if !failures.contains(&plan.spec.name.as_str()) => {
            set_up_generation_and_print_line(config, plan, args.apply, out)?
        }
        _ => GenerationStep::Nothing,
    };
    if !failures.is_empty() {
        anyhow::bail!("{} cannot be set up as asked", failures.join(" and "));
    }
    if plans.iter().all(|plan| plan.step == PlanStep::Nothing) && generation == GenerationStep::Nothing {
        writeln!(out, "Nothing to do.")?;
    } else if !args.apply {
        writeln!(out, "Nothing was changed; run it again with --apply.")?;
    }
    Ok(())
}

/// What to do about the record that names the generation of the topic of links.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GenerationStep {
    Nothing,
    Write,
}

/// Edges tell by the record `a/generation` that the topic was made again.
fn set_up_generation_and_print_line(
    config: &Config,
    plan: &TopicPlan,
    apply: bool,
    out: &mut impl Write,
) -> anyhow::Result<GenerationStep> {
    let topic = &plan.spec.name;
    let exists = apply || plan.step != PlanStep::Create;
    let found = if exists { find_generation_of_topic(&config.kafka, topic).map_err(anyhow::Error::msg)? } else { None };
    if let Some(generation) = found {
        writeln!(out, "{topic}: generation {generation}")?;
        return Ok(GenerationStep::Nothing);
    }
    writeln!(out, "{topic}: write the record a/generation, by which edges know this topic again")?;
    if apply {
        write_new_generation(&config.kafka, topic).map_err(anyhow::Error::msg)?;
        writeln!(out, "    done")?;
    }
    Ok(GenerationStep::Write)
}

/// Why `--apply` would fail, as far as that can be known without it.
fn check_topic_is_visible_and_brokers_suffice(plan: &TopicPlan, broker_count: usize) -> Result<(), String> {
    match plan.step {
        PlanStep::Blocked => Err(plan.notes.join("; ")),
        PlanStep::Create if plan.spec.replication as usize > broker_count => Err(format!(
            "{} replicas need as many brokers: add brokers, or give --replication {broker_count} (a click is then as \
             safe as so many disks)",
            plan.spec.replication
        )),
        _ => Ok(()),
    }
}

fn with_unit(number: i32, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn print_topic_plan(plan: &TopicPlan, out: &mut impl Write) -> std::io::Result<()> {
    let TopicSpec { name, partitions, replication, min_insync, retention, .. } = &plan.spec;
    match &plan.step {
        PlanStep::Create => {
            let days = |retention: Duration| format!("{} days", retention.as_secs() / 86_400);
            let retention = retention.map_or("compacted".to_owned(), days);
            let (partitions, replicas) = (with_unit(*partitions, "partition"), with_unit(*replication, "replica"));
            writeln!(
                out,
                "{name}: create with {partitions}, {replicas}, min.insync.replicas={min_insync}, {retention}"
            )?
        }
        PlanStep::Alter(changes) => {
            writeln!(out, "{name}: alter")?;
            for change in changes {
                writeln!(out, "    {}: {} -> {}", change.key, change.from, change.to)?;
            }
        }
        PlanStep::Nothing => writeln!(out, "{name}: as it should be")?,
        PlanStep::Blocked => return writeln!(out, "{name}: may not be seen"),
    }
    for note in &plan.notes {
        writeln!(out, "    note: {note}")?;
    }
    Ok(())
}
