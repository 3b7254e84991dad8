//! Finds the facts that a link's targets and destination ask for: each at most once a click, and only if it is asked
//! for. A link without targets and without their placeholders asks for none.

use crate::{
    client::{
        device::DeviceHints,
        language::find_preferred_language,
        query_params::QueryParams,
        source::{InAppBrowser, find_in_app_browser, find_source_with_reason},
    },
    edge::{
        agent_memo::{AgentMemo, cut_as_click_keeps},
        client_place::ClientPlace,
        code_request::CodeRequest,
    },
    links::{
        facts::{Fact, FactSet, Facts, LanguageTag},
        targets::Target,
    },
    model::{click::Text, link::target::Visitor},
};

/// The facts of one click, as far as they are found.
pub(super) struct FactFinder<'r, 'a> {
    request: &'r CodeRequest<'a>,
    found: FactSet,
    /// What was found. Facts that were not asked for have no meaning here.
    pub(super) facts: Facts<'a>,
}

impl<'r, 'a> FactFinder<'r, 'a> {
    /// A finder that has found nothing.
    pub(super) fn new(request: &'r CodeRequest<'a>) -> FactFinder<'r, 'a> {
        let mut facts = Facts::of_click(request.context.wall_ms, request.target.query);
        facts.code = request.code;
        FactFinder { request, found: FactSet::default(), facts }
    }

    /// Finds what a target asks for, but for the split.
    pub(super) fn find_for_target(&mut self, target: &Target<'_>, agents: &mut AgentMemo) {
        self.find(target.asks, agents);
        if target.asks.has(Fact::Query) {
            target.find_parameters(&mut self.facts);
        }
    }

    /// Finds what is asked for and not found yet, but for the split and for parameters.
    pub(super) fn find(&mut self, asked: FactSet, agents: &mut AgentMemo) {
        let missing = asked.without(self.found);
        if missing.is_empty() {
            return;
        }
        self.found = self.found.union(missing);
        if missing.has(Fact::Os) || missing.has(Fact::Device) || missing.has(Fact::InApp) || missing.has(Fact::Source) {
            self.find_by_agent(missing, agents);
        }
        let request = self.request;
        if missing.has(Fact::Country) || missing.has(Fact::Region) {
            // Whoever asks for the region asks for its country too.
            let place = ClientPlace::find(request, missing.has(Fact::Region));
            self.facts.country = place.country.map(|(country, _)| country);
            self.facts.region = place.region.map_or(b"", |(region, _)| region);
        }
        if missing.has(Fact::Language) {
            let language = find_preferred_language(request.facts.accept_language);
            self.facts.language = LanguageTag::parse(language).unwrap_or_default();
        }
        if missing.has(Fact::Visitor) && request.cookie.is_some() {
            self.facts.visitor = Visitor::Returning;
        }
    }

    fn find_by_agent(&mut self, missing: FactSet, agents: &mut AgentMemo) {
        let request = &self.request.facts;
        let package = cut_as_click_keeps(request.app_package, Text::AppPackage);
        let agent = agents.judge(cut_as_click_keeps(request.user_agent, Text::UserAgent));
        if missing.has(Fact::Os) || missing.has(Fact::Device) {
            let device = agent.device.corrected_by(DeviceHints::read(request.headers()));
            (self.facts.os, self.facts.device) = (device.os, device.class);
        }
        if missing.has(Fact::InApp) {
            let InAppBrowser { is_in_app, name } = find_in_app_browser(package, &agent.traits);
            (self.facts.is_in_app, self.facts.app) = (is_in_app, name);
        }
        if missing.has(Fact::Source) {
            let params = QueryParams::parse_known_params(self.request.target.query);
            let referer = cut_as_click_keeps(request.referer, Text::Referer);
            (self.facts.source, _) = find_source_with_reason(package, referer, &params, &agent.traits);
        }
    }
}
