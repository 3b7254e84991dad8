//! The checks of where a click lands: each condition of the link's targets with the value that it saw, up to the target
//! that decides, and the page that leads there.

use crate::{
    attribution::click_id::ClickId,
    edge::{
        agent_memo::AgentMemo,
        code_request::CodeRequest,
        decision::{Action, Decision},
        explain::Check,
        fact_finder::FactFinder,
        landing::kind::LandingPage,
        minted_click::known_or_new_visitor,
        next_hop::AskedNextHop,
        target_choice::{ChosenTarget, SplitIds, TriedTargets, split_by_visitor_else_click},
    },
    links::{Link, facts::Fact},
};

/// The checks of the targets and the page; none where the answer does not lead to the link's destination.
pub(super) fn list_checks_of_landing<'a>(
    request: &CodeRequest<'a>,
    decision: &Decision<'a>,
    agents: &mut AgentMemo,
) -> Vec<Check> {
    let (Action::RedirectToDestination(link) | Action::LeaveAppBrowser(link) | Action::ReturnJson(link)) =
        decision.action
    else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    let next_hop = AskedNextHop::find_on_live_link(request, decision, link);
    if let Some(next_hop) = &next_hop {
        checks.push(Check { check: "next_hop", result: describe_next_hop(next_hop) });
    }
    let own_url = ChosenTarget::own_url_of(link);
    let followed = next_hop.as_ref().and_then(|next_hop| next_hop.template().ok());
    let chosen = match (followed, TriedTargets::find(link, request.domain)) {
        (Some(next_hop), _) => own_url.led_on_to(next_hop),
        (None, Some(tried)) => list_checks_of_targets(request, decision, link, tried, agents, &mut checks),
        (None, None) => own_url,
    };
    let page = LandingPage::choose(request, decision, link, &chosen, agents);
    let result = match (page, decision.action) {
        (Some(LandingPage::TryApp), _) => "tries the app, then goes to the link's own url".to_owned(),
        (Some(LandingPage::OpenOutside(exit)), _) => {
            format!("leaves the app's own browser: {}", exit.way_out().as_str())
        }
        (None, Action::LeaveAppBrowser(_)) => "none; the target asks for the app, or leads to an app".to_owned(),
        (None, _) => return checks,
    };
    checks.push(Check { check: "page", result });
    checks
}

/// Where the next hop leads and who allows it, or why it is not followed.
fn describe_next_hop(next_hop: &AskedNextHop) -> String {
    match next_hop.template() {
        Ok(template) => {
            let url = String::from_utf8_lossy(template.text_without_placeholders());
            format!("followed, {}: {url}", next_hop.choice().as_str())
        }
        Err(error) => format!("refused: {error}"),
    }
}

/// Adds the checks of the targets, and returns the choice.
fn list_checks_of_targets<'a>(
    request: &CodeRequest<'a>,
    decision: &Decision<'a>,
    link: &'a Link,
    tried: TriedTargets<'a>,
    agents: &mut AgentMemo,
    checks: &mut Vec<Check>,
) -> ChosenTarget<'a> {
    let mut chosen = ChosenTarget::own_url_of(link).among(tried);
    let targets = tried.targets;
    let mut add = |check, result: String| checks.push(Check { check, result });
    if tried.is_of_domain {
        add("targets", "those of the domain; the link has none".to_owned());
    }
    let mut finder = FactFinder::new(request);
    let visitor = known_or_new_visitor(request, decision);
    let click = ClickId::mint(request.context.id_ms, &request.context.entropy.click_id);
    let mut is_split = false;
    for (index, target) in targets.iter().enumerate() {
        finder.find_for_target(&target, agents);
        if target.asks.has(Fact::Split) && !is_split {
            is_split = true;
            let ids = SplitIds { visitor: visitor.as_ref(), click: &click.0 };
            let bucket = split_by_visitor_else_click(targets, &mut finder, ids).map_or(0, |split| split.bucket);
            let by = match (&request.cookie, visitor) {
                (Some(_), _) => "by the visitor's id",
                (None, Some(_)) => "by the id of a new visitor, which each click draws anew",
                (None, None) => "by the click's id, which differs each time",
            };
            add("split", format!("bucket {bucket} of 10000, {by}"));
        }
        for condition in target.conditions() {
            add("condition", format!("targets/{index}: {}", condition.describe(&targets, &finder.facts)));
        }
        if target.matches(&finder.facts) {
            add("target", format!("targets/{index}"));
            chosen.lead_to(&target, index);
            return chosen;
        }
    }
    add("target", "none; the link's own url".to_owned());
    chosen
}
