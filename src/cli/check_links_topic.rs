//! The part of `waypost check` about the topic of links.

use anyhow::{Result, anyhow, bail};

use super::kafka::recommend_links_topics;
use crate::{
    catalog::topic::find_generation_of_topic,
    config::Config,
    kafka::{PlanStep, REQUEST_TIMEOUT, TopicAdmin, TopicPlan, TopicState},
};

/// The replicas that a topic of links should have, and those that must hold a record before it counts as written.
const WANTED_REPLICATION: i32 = 3;
const WANTED_MIN_INSYNC: i32 = 2;
/// The settings without which links can be lost. The others are told as warnings.
const NEEDED_SETTINGS: [&str; 2] = ["cleanup.policy", "unclean.leader.election.enable"];

/// Describes the topic of links and that of its audit; returns the line about them. `None`: the configuration names no
/// topic.
pub(super) fn describe_links_topic_and_format_summary(config: &Config) -> Option<Result<String>> {
    let (topic, audit) = config.links.topics()?;
    Some(describe(config, &topic, &audit))
}

fn describe(config: &Config, topic: &str, audit: &str) -> Result<String> {
    let admin = TopicAdmin::new(&config.kafka, "check").map_err(anyhow::Error::msg)?;
    let states =
        admin.describe_topics(&[topic, audit], REQUEST_TIMEOUT).map_err(|why| anyhow!("links.topic: {why}"))?;
    let specs = recommend_links_topics(config, WANTED_REPLICATION, WANTED_MIN_INSYNC);
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    for (spec, state) in specs.iter().zip(&states) {
        let plan = spec.plan_creation_or_changes(state);
        if let TopicState::Present(found) = state
            && spec.name == topic
            && found.partitions != 1
        {
            errors.push(format!("{topic}: has {} partitions; links need one: make it again", found.partitions));
        }
        sort_differences(&plan, &mut errors, &mut warnings);
    }
    let generation = match states.first() {
        Some(TopicState::Present(_)) => find_generation_of_topic(&config.kafka, topic).map_err(anyhow::Error::msg)?,
        _ => None,
    };
    if generation.is_none() && matches!(states.first(), Some(TopicState::Present(_))) {
        errors.push(format!("{topic}: has no record a/generation, by which edges know it again"));
    }
    if !errors.is_empty() {
        bail!("links.topic: {}; `waypost kafka setup --apply` corrects what can be corrected", errors.join("; "));
    }
    let mut text = format!("links: topic {topic}, generation {}", generation.unwrap_or_default());
    for warning in warnings {
        text += &format!("\nlinks.topic: warning: {warning}");
    }
    Ok(text)
}

fn sort_differences(plan: &TopicPlan, errors: &mut Vec<String>, warnings: &mut Vec<String>) {
    let name = &plan.spec.name;
    match &plan.step {
        PlanStep::Create => errors.push(format!("topic `{name}` does not exist")),
        PlanStep::Blocked => errors.extend(plan.notes.iter().cloned()),
        PlanStep::Alter(changes) => {
            for change in changes {
                let text = format!("{name}: {} is {}; needed is {}", change.key, change.from, change.to);
                let is_needed = NEEDED_SETTINGS.contains(&change.key);
                if is_needed { errors.push(text) } else { warnings.push(text) }
            }
        }
        PlanStep::Nothing => {}
    }
    if plan.step != PlanStep::Blocked {
        warnings.extend(plan.notes.iter().cloned());
    }
}
