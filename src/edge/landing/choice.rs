//! Chooses where a click lands: its target, its destination, and whether a page leads there in place of a redirect.

use http::StatusCode;

use crate::{
    attribution::{click_id::ClickId, keyring::KeyId},
    client::user_agent::agent_traits::AgentTraits,
    edge::{
        agent_memo::{AgentMemo, cut_as_click_keeps},
        client_kind::ClientKind,
        code_request::CodeRequest,
        decision::{Action, Decision},
        destination::{
            has_place_for_token, render_destination_and_return_token_offset, sign_url_token_if_answer_may_carry_it,
        },
        fact_finder::FactFinder,
        landing::{exit::Exit, kind::LandingPage},
        next_hop::AskedNextHop,
        scratch::ScratchBuffers,
        target_choice::{ChosenTarget, SplitIds, TriedTargets},
    },
    links::{
        Link,
        destination::{TokenOffset, TokenPlace, UrlTemplate},
        facts::{Fact, FactSet},
    },
    model::click::Text,
};

/// The ids of a click.
#[derive(Clone, Copy)]
pub(in crate::edge) struct ClickIds {
    pub(in crate::edge) click: ClickId,
    /// The visitor's, if the click has one.
    pub(in crate::edge) visitor: Option<[u8; 16]>,
}

/// Where a click lands. Token and destination are in the scratch buffers.
pub(in crate::edge) struct Landing<'a> {
    pub(in crate::edge) target: ChosenTarget<'a>,
    /// The key that signed the URL token, if there is one.
    pub(in crate::edge) token_key: Option<KeyId>,
    /// Where the first token stands in `scratch.location`, bytes; `None` without a token there.
    pub(in crate::edge) token_offset: Option<TokenOffset>,
}

impl<'a> Landing<'a> {
    /// Chooses where the click lands, and leaves token and destination in `scratch.token` and `scratch.location`, which
    /// are empty. If a page leads on, the decision says so afterwards, and `scratch.way_on` has the URL of the web that
    /// the page of an app's destination goes on to.
    ///
    /// A function of its own, so that its state is not part of each click's.
    #[inline(never)]
    pub(in crate::edge) fn choose_and_render(
        request: &CodeRequest<'a>,
        decision: &mut Decision<'a>,
        link: &'a Link,
        ids: ClickIds,
        scratch: &mut ScratchBuffers,
    ) -> Landing<'a> {
        let mut finder = FactFinder::new(request);
        let split_ids = SplitIds { visitor: ids.visitor.as_ref(), click: &ids.click.0 };
        let ScratchBuffers { agents, target_facts, .. } = scratch;
        let asked = facts_that_the_domain_asks_for(decision);
        let next_hop = AskedNextHop::find_on_live_link(request, decision, link);
        let followed = next_hop.as_ref().and_then(|next_hop| next_hop.template().ok());
        let tried = match followed {
            // What the URL shows is where the click ends.
            Some(_) => TriedTargets::default(),
            None => TriedTargets::find(link, request.domain).unwrap_or_default(),
        };
        let mut target =
            ChosenTarget::choose_and_record_facts(link, tried, asked, &mut finder, split_ids, agents, target_facts);
        if let Some(next_hop) = &next_hop {
            target.set_next_hop(next_hop.choice());
        }
        let landed = followed.map_or(target, |next_hop| target.led_on_to(next_hop));
        let page = LandingPage::choose(request, decision, link, &landed, agents);
        if let Some(LandingPage::OpenOutside(exit)) = page {
            target.set_way_out(exit.way_out());
        }
        let own_url = link.url_template();
        let has_place = has_place_for_token_on_page(page, &landed.template, &own_url, decision);
        let id = ids.click;
        let token_key = sign_url_token_if_answer_may_carry_it(request, decision, link, has_place, id, scratch);
        let mut finder = Some(finder);
        let query = next_hop.as_ref().map_or(request.target.destination_query, |next_hop| &next_hop.other_query);
        if page == Some(LandingPage::TryApp) {
            render_destination_and_return_token_offset(request, &own_url, query, id, &mut finder, scratch);
            std::mem::swap(&mut scratch.location, &mut scratch.way_on);
            scratch.location.clear();
        }
        let token_offset =
            render_destination_and_return_token_offset(request, &landed.template, query, id, &mut finder, scratch);
        decision.lead_to(link, page);
        Landing { target, token_key, token_offset }
    }
}

/// Whether the answer has a place for its token: in the destination, or where a page leads on to.
fn has_place_for_token_on_page(
    page: Option<LandingPage>,
    destination: &UrlTemplate<'_>,
    own_url: &UrlTemplate<'_>,
    decision: &Decision<'_>,
) -> bool {
    match page {
        // The other browser has another cookie jar.
        Some(LandingPage::OpenOutside(_)) => destination.token_place() != TokenPlace::None,
        Some(LandingPage::TryApp) => {
            has_place_for_token(destination, decision) || has_place_for_token(own_url, decision)
        }
        None => has_place_for_token(destination, decision),
    }
}

/// The facts by which the domain decides whether it leaves an app's own browser.
fn facts_that_the_domain_asks_for(decision: &Decision<'_>) -> FactSet {
    let mut asked = FactSet::default();
    if matches!(decision.action, Action::LeaveAppBrowser(_)) {
        asked.insert(Fact::Os);
        asked.insert(Fact::InApp);
    }
    asked
}

impl LandingPage {
    /// The page that leads to the chosen destination; `None`: a redirect does, or an app resolves the link.
    pub(in crate::edge) fn choose(
        request: &CodeRequest<'_>,
        decision: &Decision<'_>,
        link: &Link,
        target: &ChosenTarget<'_>,
        agents: &mut AgentMemo,
    ) -> Option<LandingPage> {
        match decision.action {
            Action::RedirectToDestination(_) | Action::LeaveAppBrowser(_)
                if is_of_other_app(&target.template) && is_web(&link.url_template()) =>
            {
                is_persons_tap(request, agents).then_some(LandingPage::TryApp)
            }
            // A target that asks for the app has decided about the app's buyers.
            Action::LeaveAppBrowser(_) if is_web(&target.template) && !target.asks_for(Fact::InApp) => {
                match request.client_kind {
                    ClientKind::AppBrowser(browser) => Some(LandingPage::OpenOutside(Exit::choose(browser))),
                    ClientKind::Browser | ClientKind::ResolvingApp => None,
                }
            }
            _ => None,
        }
    }
}

impl<'a> Decision<'a> {
    /// Leads to the link's destination by a redirect or by a page. An app that resolves the link keeps its JSON.
    fn lead_to(&mut self, link: &'a Link, page: Option<LandingPage>) {
        match (page, self.action) {
            (Some(page), _) => {
                self.action = Action::ShowLandingPage(page);
                self.status = StatusCode::OK;
            }
            (None, Action::LeaveAppBrowser(_)) => self.action = Action::RedirectToDestination(link),
            (None, _) => {}
        }
    }
}

fn is_web(template: &UrlTemplate<'_>) -> bool {
    let url = template.text_without_placeholders();
    url.starts_with(b"https://") || url.starts_with(b"http://")
}

/// Whether an app opens the URL, and nothing else does: an `intent:` URL names where a browser goes without the app.
fn is_of_other_app(template: &UrlTemplate<'_>) -> bool {
    !is_web(template) && !template.text_without_placeholders().starts_with(b"intent://")
}

/// Whether a person opens the link in a tab: others get the redirect, and go no further.
fn is_persons_tap(request: &CodeRequest<'_>, agents: &mut AgentMemo) -> bool {
    let AgentTraits { kind, .. } = agents.judge(cut_as_click_keeps(request.facts.user_agent, Text::UserAgent)).traits;
    !request.is_fetched_without_tap() && kind.is_none()
}
