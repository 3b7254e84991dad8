//! Where requests enter: finds the route, takes a place, has the key shown, has the request answered, and counts it.

use std::{cell::OnceCell, io, rc::Rc};

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;

use super::{
    auth::{authenticate, check_scope},
    context::RequestContext,
    dispatch::answer_route,
    http::{
        problem::{Problem, ProblemKind},
        response::{ApiResponse, empty_response},
    },
    inputs::ApiInputs,
    many::schedule::start_changes_when_due,
    readers::ReaderPool,
    routes::{MatchedRoute, Route, RouteTable, Verb},
    state::ApiState,
};
use crate::metrics::{self, API_REQUESTS};

/// What every path of the API begins with.
pub const PATH_PREFIX: &str = "/v1/";

/// The label of requests for a path that is no route.
const UNKNOWN_ROUTE: &str = "unknown";

/// The classes of status codes, as the metric names them.
const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The API of a process whose links are loaded.
pub struct Api(Rc<ApiState>);

impl Api {
    /// Starts the threads that read the catalog, and the changes that an earlier process has left. On the runtime that
    /// answers requests.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(inputs: ApiInputs) -> io::Result<Api> {
        let readers = ReaderPool::start(&inputs.catalog)?;
        let state = Rc::new(ApiState::new(inputs, readers));
        tokio::task::spawn_local(start_changes_when_due(state.clone()));
        Ok(Api(state))
    }
}

/// The place of the API in the admin listener, which serves before the links are loaded. Until the API is there, its
/// requests are answered with 503.
#[derive(Clone)]
pub struct ApiSlot(Rc<Slot>);

struct Slot {
    api: OnceCell<Api>,
    routes: RouteTable,
    /// By route and class of status; the last route counts every other path.
    counters: Vec<[::metrics::Counter; STATUS_CLASSES.len()]>,
}

impl Default for ApiSlot {
    fn default() -> ApiSlot {
        let labels = Route::ALL.map(Route::as_str).into_iter().chain([UNKNOWN_ROUTE]);
        let counters = labels.map(|route| STATUS_CLASSES.map(|class| metrics::counter(&API_REQUESTS, &[route, class])));
        ApiSlot(Rc::new(Slot { api: OnceCell::new(), counters: counters.collect(), routes: RouteTable::new() }))
    }
}

impl ApiSlot {
    /// Puts the API in.
    pub fn set(&self, api: Api) {
        // Set once, when the links are loaded.
        let _ = self.0.api.set(api);
    }

    /// Answers a request whose path begins with [`PATH_PREFIX`].
    pub async fn answer_request(&self, request: Request<Incoming>) -> ApiResponse {
        let matched = self.0.routes.find(request.uri().path());
        let route = matched.as_ref().map(|matched| matched.route);
        let response = match self.try_answer_request(request, matched).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        self.count_request(route, response.status());
        response
    }

    async fn try_answer_request(
        &self,
        request: Request<Incoming>,
        matched: Option<MatchedRoute>,
    ) -> Result<ApiResponse, Problem> {
        let matched = matched.ok_or_else(Problem::not_found)?;
        let (head, body) = request.into_parts();
        let allowed = matched.route.allowed_methods();
        if head.method == Method::OPTIONS {
            return Ok(answer_options(&allowed));
        }
        let verb = Verb::of_method(&head.method);
        let operation = matched.route.verbs().iter().find(|(known, _)| Some(*known) == verb);
        let Some((verb, scope)) = operation else {
            let problem = Problem::new(ProblemKind::MethodNotAllowed, format!("allowed here: {allowed}"));
            return Err(problem.with_header(header::ALLOW, allowed));
        };
        let Some(Api(state)) = self.0.api.get() else {
            return Err(Problem::new(ProblemKind::Busy, "the links are being loaded"));
        };
        let place = Rc::new(state.take_request_place()?);
        let key = authenticate(&head.headers, &state.readers).await?;
        check_scope(&key, *scope)?;
        let context = RequestContext {
            state: state.clone(),
            key: Rc::new(key),
            headers: Rc::new(head.headers),
            query: head.uri.query().map(Rc::from),
            _place: place,
        };
        answer_route(context, *verb, matched, body).await
    }

    fn count_request(&self, route: Option<Route>, status: StatusCode) {
        let by_route = &self.0.counters[route.map_or(Route::ALL.len(), |route| route as usize)];
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        by_route[class].increment(1);
    }
}

fn answer_options(allowed: &str) -> ApiResponse {
    let mut response = empty_response(StatusCode::NO_CONTENT);
    if let Ok(value) = allowed.parse() {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}
