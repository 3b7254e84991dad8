//! A worker's desk: does the effects around the pure answer, in the order that makes an answered click a journaled one.
//!
//! 1. Make sure of room in the lane; wait a bounded time for it, else follow `on_full`.
//! 2. Answer.
//! 3. Append the click. No await lies between 2 and 3.
//! 4. Respond; to an unknown code beyond its address's budget at a turn after all others, so that known clicks go before a flood of them.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Body;

use crate::{
    attribution::mint::Seeds,
    clock,
    edge::{
        Answer, Edge, Moment, Record, Room,
        click::Scratch,
        pages::Page,
        tally::{Tally, Unrecorded},
        target::{self, Target},
    },
    journal::{Lane, OnFull},
    model::click::{self, Topic},
    net::{Spending, peer::Peer, turns::Turns},
};

/// How often a request that waits for room looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long the answer to an unknown code beyond its address's budget waits for its turn, at most.
const LAST_TURN: Duration = Duration::from_secs(1);

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE_NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");
const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const GET_HEAD: HeaderValue = HeaderValue::from_static("GET, HEAD");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What one worker owns. Its connections share it on one thread.
pub struct Desk {
    edge: Cache<Arc<ArcSwap<Edge>>, Arc<Edge>>,
    lane: Lane,
    seeds: Seeds,
    scratch: Scratch,
    tally: Tally,
    last_id_ms: u64,
    on_full: OnFull,
    wait_for_room: Duration,
    /// On codes that no link has.
    unknown: Spending,
    turns: Rc<Turns>,
}

impl Desk {
    /// Called once by each worker's thread. `unknown` is what an address may spend on codes that no link has.
    pub fn new(
        edge: Arc<ArcSwap<Edge>>,
        lane: Lane,
        seeds: Seeds,
        on_full: OnFull,
        wait_for_room: Duration,
        unknown: Spending,
    ) -> Desk {
        Desk {
            edge: Cache::new(edge),
            lane,
            seeds,
            scratch: Scratch::default(),
            tally: Tally::default(),
            last_id_ms: 0,
            on_full,
            wait_for_room,
            unknown,
            turns: Rc::default(),
        }
    }

    /// The worker's turns, for whatever else of it is dear.
    pub fn turns(&self) -> Rc<Turns> {
        self.turns.clone()
    }

    /// Ten times a second, by the worker: carries the counters on, lets go of a replaced edge, and says whether the
    /// lane has room.
    pub fn tick(&mut self) -> bool {
        self.lane.unrecorded(self.tally.flush());
        self.edge.load();
        self.lane.room(click::MAX)
    }

    fn answer<B>(&mut self, request: &Request<B>, peer: Peer, room: Room) -> Answer {
        let wall_ms = clock::wall_ms();
        self.last_id_ms = self.last_id_ms.max(wall_ms);
        let moment = Moment { peer, wall_ms, id_ms: self.last_id_ms, seed: self.seeds.next_seed(), room };
        self.edge.load().answer(request, &moment, &mut self.scratch)
    }

    /// Appends the answer's click, if it has one, and counts. Says whether it was of an unknown code beyond its address's budget.
    fn record<B>(&mut self, record: Record, room: Room, request: &Request<B>, peer: Peer) -> bool {
        match record {
            Record::Click(topic, outcome, cookie) => {
                self.tally.click(outcome, cookie);
                self.append(topic, room);
            }
            Record::Unknown(outcome, cookie) => {
                self.tally.click(outcome, cookie);
                // Whom the click names, not the proxy in between.
                let address = self.edge.load().client_address(request, peer);
                if !self.unknown.spend(address, self.last_id_ms) {
                    self.tally.unrecorded(Unrecorded::Budget);
                    return true;
                }
                match room {
                    Room::Pressed => self.tally.unrecorded(Unrecorded::Pressed),
                    Room::Free | Room::None => self.append(Topic::Orphan, room),
                }
            }
            Record::Fixed => self.tally.fixed(),
            Record::Upgraded => self.tally.upgraded(),
            Record::Refused(why) => self.tally.refused(why),
        }
        false
    }

    fn append(&mut self, topic: Topic, room: Room) {
        if room == Room::None || self.lane.append(topic as u8, &self.scratch.click).is_err() {
            self.tally.unrecorded(Unrecorded::Full);
        }
    }
}

/// Answers one request. Called by the worker for every request of every connection.
pub async fn call<B: Body>(desk: &RefCell<Desk>, peer: Peer, request: Request<B>) -> Response<Full<Bytes>> {
    let free = desk.borrow_mut().lane.room(click::MAX);
    let room = if free { Some(pressed(desk)) } else { wait_for_room(desk, &request).await };
    let Some(room) = room else {
        desk.borrow().tally.unrecorded(Unrecorded::Refused);
        return respond(Answer::plain(StatusCode::SERVICE_UNAVAILABLE, Page::empty(), Record::Fixed), request);
    };
    let (answer, beyond) = {
        let mut desk = desk.borrow_mut();
        let answer = desk.answer(&request, peer, room);
        let beyond = desk.record(answer.record, room, &request, peer);
        (answer, beyond.then(|| desk.turns()))
    };
    match beyond {
        None => respond(answer, request),
        Some(turns) => Box::pin(respond_last(turns, answer, request)).await,
    }
}

/// Apart from [`call`], so that nothing of it is in the future of a known click.
#[cold]
async fn respond_last<B: Body>(turns: Rc<Turns>, answer: Answer, request: Request<B>) -> Response<Full<Bytes>> {
    turns.last(LAST_TURN).await;
    respond(answer, request)
}

fn pressed(desk: &RefCell<Desk>) -> Room {
    if desk.borrow().lane.pressed() { Room::Pressed } else { Room::Free }
}

/// Disk and sink both fail and the ring is full: waits for room up to the deadline, before anything is minted.
/// `None`: refuse. A request that needs no room does not wait.
#[cold]
async fn wait_for_room<B>(desk: &RefCell<Desk>, request: &Request<B>) -> Option<Room> {
    if !matches!(target::read(request), Target::Code(_)) {
        return Some(Room::None);
    }
    let deadline = tokio::time::Instant::now() + desk.borrow().wait_for_room;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
        if desk.borrow_mut().lane.room(click::MAX) {
            return Some(pressed(desk));
        }
    }
    match desk.borrow().on_full {
        OnFull::Unrecorded => Some(Room::None),
        OnFull::Refuse => None,
    }
}

/// Builds the response in the request's own header map: no map is allocated. The body is never read; a connection whose
/// request announced one is closed.
fn respond<B: Body>(answer: Answer, mut request: Request<B>) -> Response<Full<Bytes>> {
    // An HTTP/2 stream with an unread body is reset alone, and knows no `Connection` (RFC 9113 §8.2.2).
    let closes = !request.body().is_end_stream() && request.version() != Version::HTTP_2;
    let mut headers = std::mem::take(request.headers_mut());
    headers.clear();
    match answer.location {
        Some((location, referrer_policy)) => {
            headers.insert(header::LOCATION, location);
            headers.insert(header::CACHE_CONTROL, PRIVATE_NO_STORE);
            headers.insert(header::REFERRER_POLICY, referrer_policy);
            headers.insert(X_ROBOTS_TAG, NO_INDEX);
        }
        None => {
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        }
    }
    if let Some(cookie) = answer.set_cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    if let Some(hsts) = answer.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    if let Some(content_type) = answer.page.content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, GET_HEAD);
    }
    if closes {
        headers.insert(header::CONNECTION, CLOSE);
    }
    if *request.method() == Method::HEAD && answer.status != StatusCode::NO_CONTENT {
        // hyper counts the body of a GET by itself; of a HEAD it says nothing (RFC 9110 §8.6 wants the GET's; a 204 has none).
        headers.insert(header::CONTENT_LENGTH, answer.page.body.len().into());
    }
    let mut response = Response::new(Full::new(answer.page.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}
