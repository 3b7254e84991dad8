//! Chooses the target of a click: the first one whose conditions all hold, else the link's own URL. Writes down what
//! the conditions and the domain asked for and what they saw, and nothing else about the click.

use crate::{
    edge::{agent_memo::AgentMemo, fact_finder::FactFinder},
    links::{
        Link,
        destination::UrlTemplate,
        domains::Domain,
        facts::{Fact, FactSet, Facts},
        targets::{AskedParameter, Target, Targets},
    },
    model::target_choice::{NextHop, SplitBasis, SplitChoice, TargetChoice, WayOut},
    uri::percent,
};

/// The ids that a split hashes.
#[derive(Clone, Copy)]
pub(super) struct SplitIds<'i> {
    /// The visitor's, if the click has one.
    pub(super) visitor: Option<&'i [u8; 16]>,
    pub(super) click: &'i [u8; 16],
}

/// The target of a click. Its facts are in a buffer.
#[derive(Clone, Copy)]
pub(super) struct ChosenTarget<'a> {
    pub(super) template: UrlTemplate<'a>,
    /// What the conditions of the chosen target ask for.
    asks: FactSet,
    index: Option<u8>,
    split: Option<SplitChoice<'a>>,
    way_out: Option<WayOut>,
    is_of_domain: bool,
    next_hop: Option<NextHop>,
}

/// The targets that are tried for a click; none by default.
#[derive(Clone, Copy, Default)]
pub(super) struct TriedTargets<'a> {
    pub(super) targets: Targets<'a>,
    /// Whether they are those of the domain, because the link has none.
    pub(super) is_of_domain: bool,
}

impl<'a> TriedTargets<'a> {
    /// The link's own targets, else those of the domain; `None`: neither has any.
    pub(super) fn find(link: &'a Link, domain: &'a Domain) -> Option<TriedTargets<'a>> {
        let own = link.targets().map(|targets| TriedTargets { targets, is_of_domain: false });
        let of_domain = || {
            let targets = domain.default_targets.as_ref()?.targets();
            Some(TriedTargets { targets, is_of_domain: true })
        };
        own.or_else(of_domain)
    }
}

impl<'a> ChosenTarget<'a> {
    /// Chooses the target, and leaves the record of the facts in `record`. `asked`: what the domain asks for by itself.
    pub(super) fn choose_and_record_facts(
        link: &'a Link,
        tried: TriedTargets<'a>,
        mut asked: FactSet,
        finder: &mut FactFinder<'_, 'a>,
        ids: SplitIds<'_>,
        agents: &mut AgentMemo,
        record: &mut Vec<u8>,
    ) -> ChosenTarget<'a> {
        let TriedTargets { targets, is_of_domain } = tried;
        let mut chosen = ChosenTarget { is_of_domain, ..ChosenTarget::own_url_of(link) };
        finder.find(asked, agents);
        let mut tried = 0;
        for (index, target) in targets.iter().enumerate() {
            asked = asked.union(target.asks);
            tried += 1;
            finder.find_for_target(&target, agents);
            if target.asks.has(Fact::Split) && chosen.split.is_none() {
                chosen.split = split_by_visitor_else_click(targets, finder, ids);
            }
            if target.matches(&finder.facts) {
                chosen.lead_to(&target, index);
                break;
            }
        }
        record.clear();
        record_facts(asked, finder, record);
        if asked.has(Fact::Query) {
            record_parameters(targets, tried, &finder.facts, record);
        }
        chosen
    }

    /// The link's own URL.
    pub(super) fn own_url_of(link: &'a Link) -> ChosenTarget<'a> {
        let asks = FactSet::default();
        ChosenTarget {
            template: link.url_template(),
            asks,
            index: None,
            split: None,
            way_out: None,
            is_of_domain: false,
            next_hop: None,
        }
    }

    /// Leads to a target in place of the link's own URL. A target of the domain keeps the link's rules for the query
    /// and the token.
    pub(super) fn lead_to(&mut self, target: &Target<'a>, index: usize) {
        let own = self.template;
        self.template = if self.is_of_domain { target.template.with_rules_of(&own) } else { target.template };
        (self.asks, self.index) = (target.asks, Some(index as u8));
    }

    /// Leads to a next hop in place of the link's own URL, whose rules for the query and the token it keeps.
    pub(super) fn led_on_to<'b>(self, next_hop: UrlTemplate<'b>) -> ChosenTarget<'b>
    where
        'a: 'b,
    {
        ChosenTarget { template: next_hop.with_rules_of(&self.template), ..self }
    }

    /// Records what became of the next hop that the request names.
    pub(super) fn set_next_hop(&mut self, next_hop: NextHop) {
        self.next_hop = Some(next_hop);
    }

    /// This choice among targets of the domain.
    pub(super) fn among(self, tried: TriedTargets<'_>) -> ChosenTarget<'a> {
        ChosenTarget { is_of_domain: tried.is_of_domain, ..self }
    }

    /// Whether a condition of the chosen target asks for the fact.
    pub(super) fn asks_for(&self, fact: Fact) -> bool {
        self.asks.has(fact)
    }

    /// Records that the page offers this way out of an app's own browser.
    pub(super) fn set_way_out(&mut self, way_out: WayOut) {
        self.way_out = Some(way_out);
    }

    /// The choice as the click records it.
    pub(super) fn to_record<'r>(self, facts: &'r [u8]) -> TargetChoice<'r>
    where
        'a: 'r,
    {
        TargetChoice {
            index: self.index,
            split: self.split,
            facts,
            way_out: self.way_out,
            is_of_domain: self.is_of_domain,
            next_hop: self.next_hop,
        }
    }
}

/// Finds the variant of the click, for the facts and for the record; `None` if the link has no split.
pub(super) fn split_by_visitor_else_click<'a>(
    targets: Targets<'a>,
    finder: &mut FactFinder<'_, 'a>,
    ids: SplitIds<'_>,
) -> Option<SplitChoice<'a>> {
    let (id, basis) = match ids.visitor {
        Some(visitor) => (visitor, SplitBasis::Visitor),
        None => (ids.click, SplitBasis::Click),
    };
    let bucket = targets.bucket_of(id);
    let (index, variant) = targets.variant_of(bucket)?;
    finder.facts.variant = index;
    Some(SplitChoice { variant, bucket, basis })
}

/// Writes `name=value` for each fact that was asked for, separated by `;`. Values are words or short codes, so that
/// nothing in them needs an escape.
fn record_facts(asked: FactSet, finder: &FactFinder<'_, '_>, record: &mut Vec<u8>) {
    let facts = &finder.facts;
    let app = match (facts.is_in_app, facts.app) {
        (false, _) => "no",
        (true, "") => "unknown",
        (true, app) => app,
    };
    let country = facts.country.as_ref().map_or(&b"unknown"[..], |country| country);
    let region = or_unknown(facts.region);
    let language = or_unknown(facts.language.as_bytes());
    for (fact, name, value) in [
        (Fact::Os, "os", facts.os.as_str().as_bytes()),
        (Fact::Device, "device", facts.device.as_str().as_bytes()),
        (Fact::InApp, "in_app", app.as_bytes()),
        (Fact::Source, "source", facts.source.as_bytes()),
        (Fact::Country, "country", country),
        (Fact::Region, "region", region),
        (Fact::Language, "language", language),
        (Fact::Visitor, "visitor", facts.visitor.as_str().as_bytes()),
    ] {
        if asked.has(fact) {
            push_name(&[name.as_bytes()], record);
            record.extend_from_slice(value);
        }
    }
}

/// Writes for each parameter that the tried targets asked for the value that one of them lists, else `present` or
/// `absent`: a value that no target names is not recorded here.
fn record_parameters(targets: Targets<'_>, tried: usize, facts: &Facts<'_>, record: &mut Vec<u8>) {
    let conditions = || targets.iter().take(tried).flat_map(|target: Target<'_>| target.conditions());
    let mut recorded = 0u8;
    for AskedParameter { number, name } in conditions().filter_map(|condition| condition.parameter()) {
        let bit = 1u8.checked_shl(number.into()).unwrap_or(0);
        if recorded & bit != 0 {
            continue;
        }
        recorded |= bit;
        push_name(&[b"query.", name], record);
        let of_number =
            conditions().filter(|condition| condition.parameter().is_some_and(|parameter| parameter.number == number));
        match of_number.filter_map(|condition| condition.find_listed_value(facts)).next() {
            Some(value) => percent::push_percent_encoded(value.iter().copied(), record),
            None if facts.has_parameter(number) => record.extend_from_slice(b"present"),
            None => record.extend_from_slice(b"absent"),
        }
    }
}

fn or_unknown(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"unknown" } else { text }
}

/// Appends a name of these parts and `=`, behind a separator if it is not the first.
fn push_name(parts: &[&[u8]], record: &mut Vec<u8>) {
    if !record.is_empty() {
        record.push(b';');
    }
    parts.iter().for_each(|part| record.extend_from_slice(part));
    record.push(b'=');
}
