//! The checks of a link's targets: each condition with the value that it saw, up to the target that decides.

use crate::{
    attribution::click_id::ClickId,
    edge::{
        agent_memo::AgentMemo,
        code_request::CodeRequest,
        decision::{Action, Decision},
        explain::Check,
        fact_finder::FactFinder,
        minted_click::known_or_new_visitor,
        target_choice::{SplitIds, split_by_visitor_else_click},
    },
    links::facts::Fact,
};

/// The checks of the targets; none without targets, and where the answer does not lead to the link's destination.
pub(super) fn list_checks_of_targets<'a>(
    request: &CodeRequest<'a>,
    decision: &Decision<'a>,
    agents: &mut AgentMemo,
) -> Vec<Check> {
    let (Action::RedirectToDestination(link) | Action::ReturnJson(link)) = decision.action else { return Vec::new() };
    let Some(targets) = link.targets() else { return Vec::new() };
    let mut checks = Vec::new();
    let mut add = |check, result: String| checks.push(Check { check, result });
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
            return checks;
        }
    }
    add("target", "none; the link's own url".to_owned());
    checks
}
