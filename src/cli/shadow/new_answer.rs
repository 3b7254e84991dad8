//! What this server would answer to a request of the log, by the edge's own functions.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderValue, Request, header};

use crate::{
    access_log::LogEntry,
    attribution::{click_id::ClickId, entropy::ClickEntropy},
    edge::{answer::Accounting, context::RequestContext, scratch::ScratchBuffers, snapshot::Edge},
    links::{domains::Domains, routes::RouteMismatch},
    model::click::{Click, Outcome, Text},
    net::peer::Peer,
};

/// Answers requests without a server.
pub(super) struct NewAnswers {
    edge: Edge,
    domains: Domains,
    context: RequestContext,
    scratch: ScratchBuffers,
}

/// The answer of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NewAnswer {
    /// A redirect or a page for a code.
    Code(CodeAnswer),
    /// `/`, `/robots.txt` and the like, with the redirect of `/`.
    FixedPath { location: Option<String> },
    /// The request is rejected before its code is read.
    Rejected,
}

/// The answer to a request for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeAnswer {
    pub(super) outcome: Outcome,
    pub(super) code: String,
    /// The route that made the code.
    pub(super) route: Option<String>,
    /// Why the route that comes nearest did not match, if none did.
    pub(super) mismatch: Option<RouteMismatch>,
    /// The destination, with [`CLICK_TOKEN`] and [`CLICK_ID`] where each click has its own; empty for a page.
    pub(super) destination: String,
}

/// What stands for the token of a click.
pub(super) const CLICK_TOKEN: &str = "{click_token}";
/// What stands for the id of a click.
pub(super) const CLICK_ID: &str = "{click_id}";

impl NewAnswers {
    /// Answers of this edge, with the domains that it has, at a time in milliseconds since the epoch.
    pub(super) fn new(edge: Edge, domains: Domains, now_ms: u64) -> NewAnswers {
        let context = RequestContext {
            peer: Peer::from_network(IpAddr::from(Ipv4Addr::LOCALHOST)),
            wall_ms: now_ms,
            id_ms: now_ms,
            entropy: ClickEntropy::default(),
            lane_has_room: true,
        };
        NewAnswers { edge, domains, context, scratch: ScratchBuffers::default() }
    }

    /// The answer to a request of the log on this host.
    pub(super) fn answer(&mut self, host: &str, entry: &LogEntry) -> NewAnswer {
        let Some(request) = build_request(host, entry) else { return NewAnswer::Rejected };
        let answer = self.edge.answer_and_encode_click(&request, &self.context, &mut self.scratch);
        match answer.accounting {
            Accounting::Click { .. } | Accounting::UnknownCode { .. } => match Click::decode(&self.scratch.click) {
                Ok(click) => NewAnswer::Code(self.describe_click(&click, host, &request)),
                Err(_) => NewAnswer::Rejected,
            },
            Accounting::FixedPath | Accounting::HttpsRedirect => {
                let mismatch = self.find_nearest_mismatch(host, &request);
                match mismatch.filter(|_| request.uri().query().is_some_and(|query| !query.is_empty())) {
                    Some(mismatch) => NewAnswer::Code(CodeAnswer {
                        outcome: Outcome::NotFound,
                        code: String::new(),
                        route: None,
                        mismatch: Some(mismatch),
                        destination: String::new(),
                    }),
                    None => {
                        let location = answer.redirect.map(|redirect| text(redirect.location.as_bytes()));
                        NewAnswer::FixedPath { location }
                    }
                }
            }
            Accounting::Rejected(_) => NewAnswer::Rejected,
        }
    }

    fn describe_click(&self, click: &Click<'_>, host: &str, request: &Request<()>) -> CodeAnswer {
        let is_unknown = click.outcome == Outcome::NotFound && click.route.is_empty();
        CodeAnswer {
            outcome: click.outcome,
            code: text(click.text(Text::Code)),
            route: (!click.route.is_empty()).then(|| text(click.route)),
            mismatch: if is_unknown { self.find_nearest_mismatch(host, request) } else { None },
            destination: name_token_and_id_in_destination(click),
        }
    }

    /// Why the first route whose path a request has does not match it.
    fn find_nearest_mismatch(&self, host: &str, request: &Request<()>) -> Option<RouteMismatch> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let domain = self.domains.find_serving_host(host.as_bytes())?;
        let results = domain.routes.all().iter().map(|route| route.try_match(path.as_bytes(), query.as_bytes()));
        results.into_iter().filter_map(Result::err).find(|mismatch| *mismatch != RouteMismatch::Path)
    }
}

/// The request of the log; `None` if its target or host cannot be sent.
fn build_request(host: &str, entry: &LogEntry) -> Option<Request<()>> {
    let host = HeaderValue::from_str(host).ok()?;
    let request =
        Request::builder().method(entry.method.as_str()).uri(entry.target.as_str()).header(header::HOST, host);
    request.body(()).ok()
}

/// The destination of a click, with names in place of its token and its id.
fn name_token_and_id_in_destination(click: &Click<'_>) -> String {
    let destination = click.text(Text::Destination);
    let split = click.token_at.and_then(|at| destination.split_at_checked(usize::from(at)));
    let named = match split {
        Some((before, behind)) => format!("{}{CLICK_TOKEN}{}", text(before), text(behind)),
        None => text(destination),
    };
    named.replace(&text(&ClickId(click.id).text()), CLICK_ID)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
