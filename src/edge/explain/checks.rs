//! The checks of one request, read from what the edge's functions decide.

use http::Request;

use crate::{
    attribution::token::PayloadBuffer,
    client::request_facts::Navigation,
    edge::{
        client_kind::{AppBrowser, ClientKind, MobileSystem},
        client_place::{ClientPlace, PlaceSource},
        code_request::{AgentMemos, CodeRequest},
        context::RequestContext,
        decision::{Action, CookieAction, Decision},
        explain::{Check, ExplainedLink, target_checks::list_checks_of_landing},
        scratch::ScratchBuffers,
        second_lookup::SecondLookup,
        snapshot::Edge,
        target::{FixedPath, RequestRejection, RequestTarget, RequestedCode},
    },
    links::{
        Link, LinkState,
        domains::{Domain, InApp, Prefetch},
        routes::Route,
    },
    model::{
        click::{Consent, CookieState},
        link::LinkFacts,
    },
};

/// What the checks of a request found.
pub(super) struct LookedUp {
    pub(super) checks: Vec<Check>,
    pub(super) domain: Option<String>,
    pub(super) link: Option<ExplainedLink>,
}

/// The checks of a request in the order in which the edge makes them.
pub(super) fn list_checks(
    edge: &Edge,
    request: &Request<()>,
    context: &RequestContext,
    scratch: &mut ScratchBuffers,
) -> LookedUp {
    let target = RequestTarget::reject_or_classify_and_find_domain(request, &edge.domains);
    let mut found = LookedUp { checks: Vec::new(), domain: None, link: None };
    let rejection = match &target {
        RequestTarget::Rejected(rejection) => Some(*rejection),
        RequestTarget::Code(_) | RequestTarget::Fixed(..) => None,
    };
    found.add_request_line_checks(rejection);
    if let Some(host) = target.host() {
        found.domain = Some(host.domain.name.to_string());
        found.add(
            "domain",
            if &*host.domain.name == "*" { "*, which serves hosts without a section" } else { &host.domain.name },
        );
    }
    match target {
        RequestTarget::Rejected(_) => {}
        RequestTarget::Fixed(path, host) => {
            found.add("fixed_path", name_of_fixed_path(path));
            if path == FixedPath::Root && !host.domain.routes.all().is_empty() {
                found.add_route_checks(request, host.domain, None);
            }
        }
        RequestTarget::Code(code) => {
            found.add("fixed_path", "no");
            found.add_checks_of_code(edge, request, &code, context, scratch);
        }
    }
    found
}

impl LookedUp {
    fn add(&mut self, check: &'static str, result: impl Into<String>) {
        self.checks.push(Check { check, result: result.into() });
    }

    /// The checks before the domain is known, up to the one that rejects the request.
    fn add_request_line_checks(&mut self, rejection: Option<RequestRejection>) {
        for check in RequestRejection::ALL {
            let name = match check {
                RequestRejection::Method => "method",
                RequestRejection::Host => "host",
                RequestRejection::TargetTooLong => "target_length",
                RequestRejection::TargetForm => "target_form",
                RequestRejection::UnknownHost => "host_is_served",
            };
            if rejection == Some(check) {
                return self.add(name, format!("rejected: {}", check.explanation_for_client().trim_end()));
            }
            self.add(name, "good");
        }
    }

    fn add_checks_of_code(
        &mut self,
        edge: &Edge,
        request: &Request<()>,
        requested: &RequestedCode<'_>,
        context: &RequestContext,
        scratch: &mut ScratchBuffers,
    ) {
        let first = edge.find_link(requested.host.domain, requested.code.as_bytes());
        self.add("link_of_path", found_or_not(requested.code.as_bytes(), first.as_deref()));
        let is_missed = first.is_none();
        let found = SecondLookup::repair_or_route_unless_found(edge, request.uri().path().as_bytes(), requested, first);
        let target = found.target(requested);
        let link = found.link();
        if is_missed {
            self.add_checks_of_second_lookup(request, &target, link);
        }
        let sub_names: Vec<&str> = requested.host.domain.sub_names.iter().collect();
        if !sub_names.is_empty() {
            self.add("sub_names", sub_names.join(", "));
        }
        let mut payload = PayloadBuffer::default();
        let memos = AgentMemos { preview_fetchers: &mut scratch.preview_fetchers, agents: &mut scratch.agents };
        let request =
            CodeRequest::resolve_facts_and_verify_cookie(edge, request, &target, link, context, &mut payload, memos);
        self.link = link.map(|link| describe_link(link, context.wall_ms));
        self.add_checks_of_facts(&request);
        let decision = Decision::new(&request);
        self.add_decision(&decision);
        self.checks.extend(list_checks_of_landing(&request, &decision, &mut scratch.agents));
    }

    /// The repair, then the routes.
    fn add_checks_of_second_lookup(&mut self, request: &Request<()>, target: &RequestedCode<'_>, link: Option<&Link>) {
        let code = target.code.as_bytes();
        if target.is_repaired {
            return self.add("repair", format!("the path holds the code {}", String::from_utf8_lossy(code)));
        }
        self.add("repair", "no");
        self.add_route_checks(request, target.host.domain, target.route);
        if target.route.is_some() {
            self.add("link_of_route", found_or_not(code, link));
        }
    }

    /// Each route up to the one that decides.
    fn add_route_checks(&mut self, request: &Request<()>, domain: &Domain, deciding: Option<&Route>) {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let routes = domain.routes.all();
        if routes.is_empty() {
            self.add("routes", "none");
        }
        for route in routes {
            let result = match route.try_match(path.as_bytes(), query.as_bytes()) {
                Ok(found) => format!("{}: makes the code {}", route.name(), found.code),
                Err(mismatch) => format!("{}: {}", route.name(), mismatch.as_str()),
            };
            self.add("route", result);
            if deciding.is_some_and(|deciding| std::ptr::eq(deciding, route)) {
                break;
            }
        }
    }

    fn add_checks_of_facts(&mut self, request: &CodeRequest<'_>) {
        let facts = &request.facts;
        self.add(
            "link_state",
            request.link.map_or("no link", |link| state_word(link.state_at(request.context.wall_ms))),
        );
        self.add("suspension", request.suspension.map_or("none", |suspension| suspension.name()));
        self.add(
            "prefetch",
            match (facts.is_prefetch, request.domain.prefetch) {
                (false, _) => "no",
                (true, Prefetch::Refuse) => "yes, refused",
                (true, Prefetch::Redirect) => "yes, redirected without cookie and token",
            },
        );
        self.add("preview_fetcher", yes_or_no(request.is_preview_fetcher));
        self.add("app", yes_or_no(request.is_app_resolve()));
        if request.domain.in_app == InApp::OpenOutside {
            self.add("app_browser", describe_app_browser(request.client_kind));
        }
        self.add("head", yes_or_no(request.target.is_head));
        self.add(
            "navigation",
            match facts.navigation {
                Navigation::Tab => "of a tab",
                Navigation::NoTab => "not of a tab",
                Navigation::Unknown => "not said, taken as one",
            },
        );
        self.add_checks_of_privacy(request);
        self.add("client_address", format!("{} ({})", request.client.address, request.client.source.as_str()));
        self.add_checks_of_place(request);
    }

    /// Each with who said it.
    fn add_checks_of_place(&mut self, request: &CodeRequest<'_>) {
        let place = ClientPlace::find(request, true);
        let told = |code: Option<(&[u8], PlaceSource)>| match code {
            None => "unknown".to_owned(),
            Some((code, PlaceSource::Header)) => format!("{} (a proxy's header)", String::from_utf8_lossy(code)),
            Some((code, PlaceSource::File)) => format!("{} (geoip.country_file)", String::from_utf8_lossy(code)),
        };
        let country = place.country.as_ref();
        self.add("country", told(country.map(|(country, source)| (&country[..], *source))));
        self.add("region", told(place.region));
    }

    fn add_checks_of_privacy(&mut self, request: &CodeRequest<'_>) {
        self.add("gpc", yes_or_no(request.facts.has_gpc));
        self.add(
            "consent",
            if request.query_facts.consent == Consent::None {
                "not said"
            } else {
                request.query_facts.consent.as_str()
            },
        );
        self.add("privacy", request.privacy.as_str());
        self.add(
            "presented_cookie",
            if request.cookie_state == CookieState::None { "none" } else { request.cookie_state.as_str() },
        );
    }

    fn add_decision(&mut self, decision: &Decision<'_>) {
        self.add("outcome", decision.outcome.as_str());
        self.add(
            "leads_to",
            match decision.action {
                Action::RedirectToDestination(_) => "the link's destination",
                Action::LeaveAppBrowser(_) => "the link's destination, outside the app's own browser",
                Action::ShowLandingPage(_) => "a page that leads to the link's destination",
                Action::RedirectToFallback(_) => "the fallback_url of the link or the suspension",
                Action::RedirectToDomainUrl(_) => "a URL of the domain",
                Action::ReturnJson(_) => "the click as JSON",
                Action::ShowGonePage => "the page of a link that is not live",
                Action::ShowNotFoundPage => "the page of an unknown code",
                Action::Empty => "an empty body",
            },
        );
        self.add(
            "cookie",
            match decision.cookie {
                CookieAction::Set => "set",
                CookieAction::Expire => "expired, if one was presented",
                CookieAction::Keep => "left alone",
            },
        );
        self.add("token", if decision.allows_token { "allowed in the destination" } else { "not allowed" });
    }
}

/// The app's own browser that the domain may leave.
fn describe_app_browser(client: ClientKind) -> String {
    let ClientKind::AppBrowser(AppBrowser { app, system }) = client else { return "no".to_owned() };
    let app = if app.is_empty() { "of an unknown app" } else { app };
    match system {
        MobileSystem::Android => format!("{app} on android"),
        MobileSystem::Ios(Some(version)) => format!("{app} on ios {version}"),
        MobileSystem::Ios(None) => format!("{app} on ios"),
    }
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn found_or_not(code: &[u8], link: Option<&Link>) -> String {
    let code = String::from_utf8_lossy(code);
    format!("{code}: {}", if link.is_some() { "found" } else { "no link has this code" })
}

fn name_of_fixed_path(path: FixedPath) -> &'static str {
    match path {
        FixedPath::Root => "/",
        FixedPath::Robots => "/robots.txt",
        FixedPath::Favicon => "/favicon.ico",
        FixedPath::WellKnown => "/.well-known/",
    }
}

fn state_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Live => "live",
        LinkState::Expired => "expired",
        LinkState::NotStarted => "not_started",
        LinkState::Disabled => "disabled",
    }
}

fn describe_link(link: &Link, now_ms: u64) -> ExplainedLink {
    let facts = LinkFacts::decode(link.facts());
    ExplainedLink {
        code: String::from_utf8_lossy(link.code()).into_owned(),
        version: facts.map_or(0, |facts| facts.version),
        kind: facts.map_or("", |facts| facts.kind.as_str()),
        created_at_ms: facts.map_or(0, |facts| facts.created_ms),
        ends_at_ms: facts.and_then(|facts| facts.end_ms()),
        state: state_word(link.state_at(now_ms)),
        test: facts.is_some_and(|facts| facts.test),
        url: link.url_template().to_url_text_with_placeholders(),
    }
}
