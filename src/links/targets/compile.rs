//! Compiles the targets of a record to bytes, when the link is loaded.

use crate::{
    links::{
        facts::{Fact, FactSet},
        targets::{
            condition::{ConditionKind, NEGATED},
            hash::{BUCKETS, fnv1a_step},
        },
    },
    model::link::target::{LinkTargets, Target, TargetCondition, Test, TimeWindow},
};

/// A target with its checked destination.
pub(in crate::links) struct CompiledTarget<'a> {
    pub(in crate::links) target: &'a Target<'a>,
    /// The bytes of the URL template.
    pub(in crate::links) template: Vec<u8>,
}

/// The bytes of a link's targets; empty without targets. `domain` and `code` tell its split from those of other links.
pub(in crate::links) fn compile_targets(
    record: &LinkTargets<'_>,
    targets: &[CompiledTarget<'_>],
    domain: &str,
    code: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    if targets.is_empty() {
        return out;
    }
    out.extend_from_slice(&seed_of_split(domain, code).to_le_bytes());
    out.push(record.variants.len() as u8);
    let mut end = 0;
    for variant in &record.variants {
        end += u16::from(variant.weight) * (BUCKETS / 100);
        out.extend_from_slice(&end.to_le_bytes());
        out.push(variant.name.len() as u8);
        out.extend_from_slice(variant.name.as_bytes());
    }
    let mut names = Vec::new();
    for compiled in targets {
        let (mut conditions, mut facts) = (Vec::new(), FactSet::default());
        for condition in &compiled.target.conditions {
            facts = facts.union(asked_fact(&condition.test));
            push_condition(condition, &mut names, &mut conditions);
        }
        let len = 4 + conditions.len() + compiled.template.len();
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&facts.bits().to_le_bytes());
        out.extend_from_slice(&(conditions.len() as u16).to_le_bytes());
        out.extend_from_slice(&conditions);
        out.extend_from_slice(&compiled.template);
    }
    out
}

/// The hash of a link's name, with which the hash of each visitor begins.
fn seed_of_split(domain: &str, code: &str) -> u64 {
    let name = domain.bytes().chain([0]).chain(code.bytes()).chain([0]);
    name.fold(0xcbf2_9ce4_8422_2325, fnv1a_step)
}

/// The facts that a test asks for.
fn asked_fact(test: &Test<'_>) -> FactSet {
    let mut facts = FactSet::default();
    match test {
        Test::Os(_) => facts.insert(Fact::Os),
        Test::Device(_) => facts.insert(Fact::Device),
        Test::InApp | Test::App(_) => facts.insert(Fact::InApp),
        Test::Source(_) => facts.insert(Fact::Source),
        Test::Country(_) => facts.insert(Fact::Country),
        Test::Region(_) => {
            facts.insert(Fact::Country);
            facts.insert(Fact::Region);
        }
        Test::Language(_) => facts.insert(Fact::Language),
        Test::Time(_) => {}
        Test::Query { .. } => facts.insert(Fact::Query),
        Test::Visitor(_) => facts.insert(Fact::Visitor),
        Test::Split(_) => facts.insert(Fact::Split),
    }
    facts
}

/// Appends the bytes of a condition. `names` are the parameters that the conditions before it ask for.
fn push_condition<'a>(condition: &TargetCondition<'a>, names: &mut Vec<&'a str>, out: &mut Vec<u8>) {
    let mut operand = Vec::new();
    let bits = |numbers: &mut dyn Iterator<Item = u8>| numbers.fold(0u16, |bits, at| bits | 1 << at).to_le_bytes();
    let kind = match &condition.test {
        Test::Os(systems) => {
            operand.extend_from_slice(&bits(&mut systems.iter().map(|os| *os as u8)));
            ConditionKind::Os
        }
        Test::Device(classes) => {
            operand.extend_from_slice(&bits(&mut classes.iter().map(|class| *class as u8)));
            ConditionKind::Device
        }
        Test::Split(variants) => {
            operand.extend_from_slice(&bits(&mut variants.iter().copied()));
            ConditionKind::Split
        }
        Test::Visitor(visitor) => {
            operand.push(*visitor as u8);
            ConditionKind::Visitor
        }
        Test::InApp => ConditionKind::InApp,
        Test::App(names) => push_texts(names, ConditionKind::App, &mut operand),
        Test::Source(names) => push_texts(names, ConditionKind::Source, &mut operand),
        Test::Country(codes) => push_texts(codes, ConditionKind::Country, &mut operand),
        Test::Region(codes) => push_texts(codes, ConditionKind::Region, &mut operand),
        Test::Language(tags) => push_texts(tags, ConditionKind::Language, &mut operand),
        Test::Query { name, values } => {
            operand.push(number_of_parameter(name, names));
            push_texts(&[name], ConditionKind::Query, &mut operand);
            push_texts(values, ConditionKind::Query, &mut operand)
        }
        Test::Time(window) => {
            push_window(window, &mut operand);
            ConditionKind::Time
        }
    };
    out.push(kind as u8 | if condition.is_negated { NEGATED } else { 0 });
    out.extend_from_slice(&(operand.len() as u16).to_le_bytes());
    out.extend_from_slice(&operand);
}

/// The number of a parameter in the link: each is looked for once a click.
fn number_of_parameter<'a>(name: &'a str, names: &mut Vec<&'a str>) -> u8 {
    let number = names.iter().position(|known| known.eq_ignore_ascii_case(name)).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    number as u8
}

fn push_texts(texts: &[&str], kind: ConditionKind, out: &mut Vec<u8>) -> ConditionKind {
    for text in texts {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    kind
}

fn push_window(window: &TimeWindow, out: &mut Vec<u8>) {
    out.extend_from_slice(&window.from_ms.to_le_bytes());
    out.extend_from_slice(&window.until_ms.to_le_bytes());
    out.push(window.weekly.len() as u8);
    for span in &window.weekly {
        out.extend_from_slice(&span.from.to_le_bytes());
        out.extend_from_slice(&span.until.to_le_bytes());
    }
    out.push(window.offsets.len() as u8);
    for offset in &window.offsets {
        out.extend_from_slice(&offset.from_ms.to_le_bytes());
        out.extend_from_slice(&offset.minutes.to_le_bytes());
    }
}
