//! A worker's request handler: the effects around the pure answer, in the order that makes each answered click a
//! recorded one.
//!
//! 1. Make sure that the lane of clicks has room. If it has none, wait for a bounded time, then follow
//!    `journal.on_full`.
//! 2. Answer.
//! 3. Append the click to the lane of its topic. No await is between 2 and 3. Nobody waits for the lane of orphans: a
//!    click that it has no room for is counted as unrecorded.
//! 4. Respond. The response to an unknown code beyond its address's rate waits for all other work, so that clicks on
//!    links go before a flood of unknown codes.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;

use crate::{
    attribution::entropy::EntropySource,
    client::request_facts::RequestFacts,
    clock,
    edge::{
        answer::{Accounting, Answer},
        context::RequestContext,
        counters::{UnrecordedReason, WorkerCounters},
        id_clock::IdClock,
        pages::Page,
        response::build_response_reusing_request_headers,
        scratch::ScratchBuffers,
        snapshot::Edge,
    },
    journal::{LaneWriter, OnFull},
    model::click::{self, Topic},
    net::{cpu_scheduler::CpuScheduler, peer::Peer, rate_limiter::UnknownCodeRateLimiter},
};

/// How often a request that waits for room in the lane checks again.
const ROOM_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The longest time that a response to an unknown code beyond its address's rate waits for other work.
const MAX_DEFERRAL: Duration = Duration::from_secs(1);

/// The lanes of one worker: one for each topic.
pub struct WorkerLanes {
    /// The clicks that payouts are computed from.
    pub clicks: LaneWriter,
    /// Clicks on codes that are unknown, expired, disabled or not started. They are the first to be given up.
    pub orphans: LaneWriter,
}

/// What a worker does when its lane of clicks has no room for a click.
#[derive(Clone, Copy, Debug)]
pub struct LaneFullPolicy {
    /// `journal.on_full`
    pub on_full: OnFull,
    /// How long a request waits for room first.
    pub wait_for_room: Duration,
}

/// The state of one worker's requests. All connections of the worker share it, on one thread.
pub struct RequestHandler {
    edge: Cache<Arc<ArcSwap<Edge>>, Arc<Edge>>,
    lanes: WorkerLanes,
    entropy: EntropySource,
    scratch: ScratchBuffers,
    counters: WorkerCounters,
    id_clock: IdClock,
    /// The origin of the rate limiter's clock, which no step of the wall clock touches.
    started: Instant,
    lane_full_policy: LaneFullPolicy,
    unknown_code_limiter: UnknownCodeRateLimiter,
    cpu_scheduler: Rc<CpuScheduler>,
}

impl RequestHandler {
    /// A handler that answers from the published snapshot and appends to `lanes`.
    pub fn new(
        edge: Arc<ArcSwap<Edge>>,
        lanes: WorkerLanes,
        entropy: EntropySource,
        lane_full_policy: LaneFullPolicy,
        unknown_code_limiter: UnknownCodeRateLimiter,
    ) -> RequestHandler {
        RequestHandler {
            edge: Cache::new(edge),
            lanes,
            entropy,
            scratch: ScratchBuffers::default(),
            counters: WorkerCounters::default(),
            id_clock: IdClock::default(),
            started: Instant::now(),
            lane_full_policy,
            unknown_code_limiter,
            cpu_scheduler: Rc::default(),
        }
    }

    /// The worker's scheduler of CPU-heavy steps, for its TLS handshakes too.
    pub fn cpu_scheduler(&self) -> Rc<CpuScheduler> {
        self.cpu_scheduler.clone()
    }

    /// Flushes the counters, releases a snapshot that was replaced, and returns whether the lane of clicks has room for
    /// a click. Called by the worker ten times a second.
    pub fn flush_counters_and_return_whether_lane_has_room(&mut self) -> bool {
        let unrecorded = self.counters.flush_to_metrics_and_count_answered_unrecorded();
        self.lanes.clicks.add_to_unrecorded_count(unrecorded[Topic::Clicks as usize]);
        self.lanes.orphans.add_to_unrecorded_count(unrecorded[Topic::Orphan as usize]);
        self.edge.load();
        self.try_make_room_for_click()
    }

    /// Whether the lane of clicks has room for one more click of any length.
    fn try_make_room_for_click(&mut self) -> bool {
        self.lanes.clicks.try_make_room_for(click::MAX_ENCODED_LEN)
    }

    /// Answers a request, appends its click to the lane, and counts both.
    fn answer_count_and_append_click<B>(
        &mut self,
        request: &Request<B>,
        peer: Peer,
        lane_has_room: bool,
    ) -> HandledRequest {
        let wall_ms = clock::wall_ms();
        let id_ms = self.id_clock.advance_to_wall(wall_ms);
        let entropy = self.entropy.draw_random_click_entropy();
        let context = RequestContext { peer, wall_ms, id_ms, entropy, lane_has_room };
        let answer = self.edge.load().answer_and_encode_click(request, &context, &mut self.scratch);
        let priority = self.count_request_and_append_click_within_rate_limit(answer.accounting, lane_has_room);
        HandledRequest { answer, priority }
    }

    /// Counts a request and appends its click, if it has one.
    fn count_request_and_append_click_within_rate_limit(
        &mut self,
        accounting: Accounting,
        lane_has_room: bool,
    ) -> ResponsePriority {
        match accounting {
            Accounting::Click { topic, is_uncountable, outcome, cookie_state } => {
                self.counters.count_click(outcome, cookie_state);
                if is_uncountable && topic == Topic::Clicks && !self.lanes.clicks.try_keep_quarter_free() {
                    self.counters.count_unrecorded(UnrecordedReason::UncountableNoRoom);
                } else {
                    self.append_click_or_count_unrecorded(topic, lane_has_room);
                }
            }
            Accounting::UnknownCode { outcome, cookie_state, client } => {
                self.counters.count_click(outcome, cookie_state);
                if !self.unknown_code_limiter.try_acquire(client, self.started.elapsed()) {
                    self.counters.count_unrecorded(UnrecordedReason::RateLimited);
                    return ResponsePriority::Deferred;
                }
                self.append_click_or_count_unrecorded(Topic::Orphan, lane_has_room);
            }
            Accounting::FixedPath => self.counters.count_fixed_path(),
            Accounting::HttpsRedirect => self.counters.count_https_redirect(),
            Accounting::Rejected(rejection) => self.counters.count_rejection(rejection),
        }
        ResponsePriority::Normal
    }

    /// Appends the encoded click to the lane of its topic, or counts it as unrecorded if that lane is full.
    /// `lane_has_room`: the lane of clicks has room; the click's token says the same.
    fn append_click_or_count_unrecorded(&mut self, topic: Topic, lane_has_room: bool) {
        let click = &self.scratch.click;
        let (is_recorded, no_room) = match topic {
            Topic::Clicks => (lane_has_room && self.lanes.clicks.append(click).is_ok(), UnrecordedReason::NoRoom),
            Topic::Orphan => (self.lanes.orphans.append(click).is_ok(), UnrecordedReason::OrphanNoRoom),
        };
        if !is_recorded {
            self.counters.count_unrecorded(no_room);
        }
    }
}

/// A request that is answered and recorded, and not yet responded to.
struct HandledRequest {
    answer: Answer,
    priority: ResponsePriority,
}

/// When a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponsePriority {
    /// At once.
    Normal,
    /// Behind all other work of the worker: the address asks for too many unknown codes.
    Deferred,
}

/// Handles one request of any connection of the worker: answers, records and responds.
pub async fn handle_request_and_record_click<B: Body>(
    handler: &RefCell<RequestHandler>,
    peer: Peer,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    let mut lane_has_room = handler.borrow_mut().try_make_room_for_click();
    if !lane_has_room {
        match wait_for_lane_room_or_apply_full_policy(handler, &request).await {
            RoomDecision::Continue { lane_has_room: after_wait } => lane_has_room = after_wait,
            RoomDecision::Refuse => return count_unrecorded_and_answer_503(handler, request),
        }
    }
    let handled = handler.borrow_mut().answer_count_and_append_click(&request, peer, lane_has_room);
    match handled.priority {
        ResponsePriority::Normal => build_response_reusing_request_headers(handled.answer, request),
        ResponsePriority::Deferred => {
            let cpu_scheduler = handler.borrow().cpu_scheduler();
            Box::pin(respond_after_other_work(cpu_scheduler, handled.answer, request)).await
        }
    }
}

/// A function of its own, boxed by its caller, so that its state is not part of each request's future.
#[cold]
async fn respond_after_other_work<B: Body>(
    cpu_scheduler: Rc<CpuScheduler>,
    answer: Answer,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    cpu_scheduler.wait_for_background_permit_and_release(MAX_DEFERRAL).await;
    build_response_reusing_request_headers(answer, request)
}

/// What is done about a request that found the lane full.
enum RoomDecision {
    Continue { lane_has_room: bool },
    Refuse,
}

/// Waits for room in a full lane, then follows `journal.on_full`. The lane is full when the disk and the sink both
/// fail; nothing is made for the click before. A request that makes no click does not wait.
#[cold]
async fn wait_for_lane_room_or_apply_full_policy<B>(
    handler: &RefCell<RequestHandler>,
    request: &Request<B>,
) -> RoomDecision {
    if !handler.borrow_mut().edge.load().is_for_code(request) {
        return RoomDecision::Continue { lane_has_room: false };
    }
    let LaneFullPolicy { on_full, wait_for_room } = handler.borrow().lane_full_policy;
    let is_uncountable =
        *request.method() == Method::HEAD || RequestFacts::read_all_headers(request.headers()).is_no_tap();
    // The room that comes is for people's clicks.
    let wait_for_room = if is_uncountable { Duration::ZERO } else { wait_for_room };
    let deadline = tokio::time::Instant::now() + wait_for_room;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(ROOM_CHECK_INTERVAL).await;
        if handler.borrow_mut().try_make_room_for_click() {
            return RoomDecision::Continue { lane_has_room: true };
        }
    }
    match on_full {
        OnFull::Unrecorded => RoomDecision::Continue { lane_has_room: false },
        OnFull::Refuse => RoomDecision::Refuse,
    }
}

/// Responds with 503 to a request whose click finds no room.
fn count_unrecorded_and_answer_503<B: Body>(
    handler: &RefCell<RequestHandler>,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    handler.borrow().counters.count_unrecorded(UnrecordedReason::RefusedNoRoom);
    // The accounting is not used: the request was counted above.
    let answer = Answer::with_page(StatusCode::SERVICE_UNAVAILABLE, Page::empty(), Accounting::FixedPath);
    build_response_reusing_request_headers(answer, request)
}
