//! The decision about a click: from the link's state and the facts about the request to one outcome.
//!
//! More than one rule can apply. They are tried in this order: prefetch, suspension, the link's state, preview fetcher,
//! app, HEAD, non-navigation. Privacy signals only ever take something away. An app gets JSON in each state, and for
//! HEAD what it gets for GET.

use http::StatusCode;

use crate::{
    edge::{client_kind::ClientKind, code_request::CodeRequest, landing::kind::LandingPage},
    links::{
        Link, LinkState,
        domains::{Domain, DomainUrl, OnExpired, Prefetch},
        suspensions::Suspension,
    },
    model::click::{Outcome, Privacy, Topic},
};

/// The answer to a click.
#[derive(Clone, Copy)]
pub(super) enum Action<'a> {
    /// A redirect to the link's destination.
    RedirectToDestination(&'a Link),
    /// The link's destination outside the app's own browser, if the chosen target allows it: becomes a page or a
    /// redirect when the target is chosen.
    LeaveAppBrowser(&'a Link),
    /// A page that leads to the link's destination.
    ShowLandingPage(LandingPage),
    /// A redirect to the fallback URL of the link or of its suspension, which was checked before it was served.
    RedirectToFallback(&'a str),
    /// A redirect to a URL of the domain.
    RedirectToDomainUrl(&'a DomainUrl),
    /// The click as JSON, for an app that resolves the link itself.
    ReturnJson(&'a Link),
    /// The page of a link that is not live.
    ShowGonePage,
    /// The page of an unknown code.
    ShowNotFoundPage,
    /// An empty body.
    Empty,
}

/// What is done about one click.
#[derive(Clone, Copy)]
pub(super) struct Decision<'a> {
    /// The outcome that is recorded and counted.
    pub(super) outcome: Outcome,
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// The answer.
    pub(super) action: Action<'a>,
    /// The topic of the click's event.
    pub(super) topic: Topic,
    /// What the answer does with the attribution cookie.
    pub(super) cookie: CookieAction,
    /// Whether the destination may carry a URL token.
    pub(super) allows_token: bool,
    /// For an app: why there is no live link. The answer is JSON, with the URL that the action leads to.
    pub(super) reason_for_app: Option<&'static str>,
}

/// What an answer does with the attribution cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieAction {
    /// Sets it anew: the last click wins.
    Set,
    /// Expires a presented cookie: the buyer must not be linked.
    Expire,
    /// Leaves it alone.
    Keep,
}

impl<'a> Decision<'a> {
    /// Decides about one request.
    pub(super) fn new(request: &CodeRequest<'a>) -> Decision<'a> {
        let state = request.link.map(|link| (link, link.state_at(request.context.wall_ms)));
        let is_live = matches!(state, Some((_, LinkState::Live))) && request.suspension.is_none();
        let topic = if is_live { Topic::Clicks } else { Topic::Orphan };
        if request.facts.is_prefetch && request.domain.prefetch == Prefetch::Refuse {
            let (outcome, status) = (Outcome::RefusedPrefetch, StatusCode::SERVICE_UNAVAILABLE);
            return Decision::bare(topic, outcome, status, Action::Empty);
        }
        if let (Some((link, _)), Some(suspension)) = (state, request.suspension) {
            return Decision::fallback_or_gone_for_suspended_link(link, suspension, request.domain).as_json_if(
                request.is_app_resolve(),
                StatusCode::GONE,
                Outcome::Disabled.as_str(),
            );
        }
        match state {
            None => Decision::redirect_or_404_for_unknown_code(request.domain).as_json_if(
                request.is_app_resolve(),
                StatusCode::NOT_FOUND,
                Outcome::NotFound.as_str(),
            ),
            Some((link, LinkState::Live)) => Decision::decide_answer_cookie_and_token_for_live_link(link, request),
            Some((link, state)) => Decision::fallback_or_gone_for_link_not_live(link, state, request.domain)
                .as_json_if(request.is_app_resolve(), StatusCode::GONE, reason_of_state(state)),
        }
    }

    /// The decision as JSON with this status and reason, if an app asks. An app that followed a redirect would get a
    /// page.
    fn as_json_if(self, is_app_resolve: bool, status: StatusCode, reason: &'static str) -> Decision<'a> {
        if is_app_resolve { Decision { status, reason_for_app: Some(reason), ..self } } else { self }
    }

    /// Whether the answer is for an app that resolves the link itself.
    pub(super) fn is_for_app(&self) -> bool {
        self.reason_for_app.is_some() || matches!(self.action, Action::ReturnJson(_))
    }

    /// A decision that leaves the cookie alone and carries no token.
    fn bare(topic: Topic, outcome: Outcome, status: StatusCode, action: Action<'a>) -> Decision<'a> {
        let cookie = CookieAction::Keep;
        Decision { outcome, status, action, topic, cookie, allows_token: false, reason_for_app: None }
    }

    fn redirect_or_404_for_unknown_code(domain: &'a Domain) -> Decision<'a> {
        let (status, action) = match domain.not_found_url.as_ref().or(domain.root_url.as_ref()) {
            Some(url) => (StatusCode::FOUND, Action::RedirectToDomainUrl(url)),
            None => (StatusCode::NOT_FOUND, Action::ShowNotFoundPage),
        };
        Decision::bare(Topic::Orphan, Outcome::NotFound, status, action)
    }

    /// Only a buyer's own navigation gets a cookie and a token; an app gets the token alone.
    fn decide_answer_cookie_and_token_for_live_link(link: &'a Link, request: &CodeRequest<'_>) -> Decision<'a> {
        let redirect = Decision {
            outcome: Outcome::Redirected,
            status: StatusCode::FOUND,
            action: Action::RedirectToDestination(link),
            topic: Topic::Clicks,
            cookie: if request.privacy == Privacy::None { CookieAction::Set } else { CookieAction::Expire },
            allows_token: request.privacy != Privacy::Strict,
            reason_for_app: None,
        };
        // A prefetch that the domain lets through is decided before the app.
        match request.client_kind {
            ClientKind::ResolvingApp if !request.is_fetched_for_others() => {
                let action = Action::ReturnJson(link);
                Decision { status: StatusCode::OK, action, cookie: CookieAction::Keep, ..redirect }
            }
            _ if request.is_fetched_without_tap() => {
                Decision { cookie: CookieAction::Keep, allows_token: false, ..redirect }
            }
            ClientKind::AppBrowser(_) => Decision { action: Action::LeaveAppBrowser(link), ..redirect },
            ClientKind::Browser | ClientKind::ResolvingApp => redirect,
        }
    }

    /// A suspended link is answered as a disabled one, but for a fallback URL of the suspension.
    fn fallback_or_gone_for_suspended_link(
        link: &'a Link,
        suspension: &'a Suspension,
        domain: &'a Domain,
    ) -> Decision<'a> {
        match suspension.fallback_url() {
            Some(url) => {
                let action = Action::RedirectToFallback(url);
                Decision::bare(Topic::Orphan, Outcome::Fallback, StatusCode::FOUND, action)
            }
            None => Decision::fallback_or_gone_for_link_not_live(link, LinkState::Disabled, domain),
        }
    }

    /// A link that is expired, disabled or not started: a fallback URL of the link or the domain, else as its state
    /// says.
    fn fallback_or_gone_for_link_not_live(link: &'a Link, state: LinkState, domain: &'a Domain) -> Decision<'a> {
        let orphan = |outcome, status, action| Decision::bare(Topic::Orphan, outcome, status, action);
        if let Some(url) = link.fallback_url() {
            return orphan(Outcome::Fallback, StatusCode::FOUND, Action::RedirectToFallback(url));
        }
        if let Some(url) = &domain.fallback_url {
            return orphan(Outcome::Fallback, StatusCode::FOUND, Action::RedirectToDomainUrl(url));
        }
        match state {
            LinkState::Expired if domain.on_expired == OnExpired::Pass => {
                orphan(Outcome::Passed, StatusCode::FOUND, Action::RedirectToDestination(link))
            }
            LinkState::NotStarted => orphan(Outcome::NotStarted, StatusCode::GONE, Action::ShowGonePage),
            LinkState::Disabled => orphan(Outcome::Disabled, StatusCode::GONE, Action::ShowGonePage),
            LinkState::Expired | LinkState::Live => orphan(Outcome::Expired, StatusCode::GONE, Action::ShowGonePage),
        }
    }
}

/// Why a link is not live, as an app is told.
fn reason_of_state(state: LinkState) -> &'static str {
    match state {
        LinkState::NotStarted => Outcome::NotStarted.as_str(),
        LinkState::Disabled => Outcome::Disabled.as_str(),
        LinkState::Expired | LinkState::Live => Outcome::Expired.as_str(),
    }
}
