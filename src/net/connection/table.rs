//! The table of one worker's open connections: its bounds, its deadlines, and the drain.
//!
//! hyper's own header timeout allocates a timer for each request (1 300 of some 20 000 instructions), and hyper has no
//! separate idle timeout. So each connection notes in [`ConnectionState`] when its phase began, and
//! [`ConnectionTable::advance_clock_flush_metrics_and_enforce_deadlines`] compares these times with the deadlines ten
//! times a second.

use std::{
    cell::{Cell, RefCell},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use tokio::sync::Notify;

use crate::net::{
    accept_error::AcceptError,
    close_reason::CloseReason,
    connection::{
        metrics::ConnectionMetrics,
        request_timer::{RequestSampler, RequestTimer},
        state::{ConnectionPhase, ConnectionState},
    },
    connection_quota::{ConnectionPermit, PrefixConnectionQuota},
    limits::Limits,
    peer::Peer,
    stream::Stream,
};

/// The least number of slots that a tick checks. In a smaller table every deadline is noticed within a tenth of a
/// second, in a larger one within 0.8 s, and no tick takes long.
const MIN_SLOTS_PER_TICK: usize = 1024;

/// How long a stopping process waits for the first byte of a connection, in milliseconds since its accept. A client
/// that connected just before the stop sends its request without knowing of it.
const FIRST_BYTE_GRACE: u64 = 1000;

/// How long a connection is idle before it makes room for a new one, in milliseconds: long enough for a page that the
/// buyer opens from the last answer.
const MIN_IDLE_TO_MAKE_ROOM: u64 = 1000;

/// The idle connections of which the longest idle one makes room. To know the longest idle one of all, each request
/// would have to move its connection in a list.
const IDLE_CONNECTIONS_COMPARED: usize = 64;

/// The most slots that are searched for these.
const MAX_SLOTS_SEARCHED: usize = 1024;

/// How long an HTTP/1.1 connection is idle before it releases its buffers, in milliseconds: a page that is opened from
/// the last answer finds them still there.
const IDLE_BEFORE_DORMANCY: u64 = 1000;

/// The most tasks that are woken in one tick to release their buffers: a request that comes then waits behind them.
const DORMANCY_WAKES_PER_TICK: usize = 256;

/// How long a drain waits for an HTTP/2 client's reaction to GOAWAY, in milliseconds: some round trips of a phone.
const GOAWAY_GRACE: u64 = 2000;

/// All open connections of one worker, used on that worker's thread. All times are milliseconds since the worker's
/// start.
pub struct ConnectionTable {
    header_timeout: u64,
    idle_timeout: u64,
    max_connection_age: u64,
    max_requests: u32,
    max_connections: usize,
    quota_per_address: Rc<PrefixConnectionQuota>,
    /// Whether an address is a proxy's, which may have any number of connections.
    is_proxy: Box<dyn Fn(IpAddr) -> bool>,
    /// Spreads the ends of connections that were accepted together.
    age_jitter: RandomState,
    accepted: Cell<u64>,
    /// As of the last tick.
    now: Cell<u64>,
    draining: Cell<bool>,
    /// The open connections; `free_slots` are the indices of the `None`s.
    slots: RefCell<Vec<Option<Rc<ConnectionState>>>>,
    free_slots: RefCell<Vec<usize>>,
    /// The slot at which the next tick goes on.
    next_checked_slot: Cell<usize>,
    /// The slot at which the next search for room goes on.
    next_searched_slot: Cell<usize>,
    open: Cell<usize>,
    /// Notified at each end of a connection, and at each tick of a full table: another connection may be idle for long
    /// enough.
    connection_ended: Notify,
    metrics: ConnectionMetrics,
    request_sampler: Rc<RequestSampler>,
}

impl ConnectionTable {
    /// An empty table under `limits`, which are one worker's ([`Limits::with_counts_divided_among`]). Connections of
    /// addresses for
    /// which `is_proxy` is true have no limit by address.
    pub fn new(limits: &Limits, is_proxy: impl Fn(IpAddr) -> bool + 'static) -> Rc<ConnectionTable> {
        Rc::new(ConnectionTable {
            header_timeout: limits.header_timeout.as_millis() as u64,
            idle_timeout: limits.idle_timeout.as_millis() as u64,
            max_connection_age: limits.max_connection_age.as_millis() as u64,
            max_requests: limits.max_requests.max(1),
            max_connections: limits.max_connections.max(1),
            quota_per_address: PrefixConnectionQuota::new(limits.max_connections_per_address),
            is_proxy: Box::new(is_proxy),
            age_jitter: RandomState::new(),
            accepted: Cell::new(0),
            now: Cell::new(0),
            draining: Cell::new(false),
            slots: RefCell::default(),
            free_slots: RefCell::default(),
            next_checked_slot: Cell::new(0),
            next_searched_slot: Cell::new(0),
            open: Cell::new(0),
            connection_ended: Notify::new(),
            metrics: ConnectionMetrics::new(),
            request_sampler: RequestSampler::new(),
        })
    }

    /// Resolves once the table has room for another connection. In a full table an idle connection is closed: a buyer
    /// who taps goes before one who may come back, and whose browser then connects again.
    pub async fn wait_for_room(&self) {
        while self.is_full() {
            self.abort_one_idle_connection_to_make_room();
            self.connection_ended.notified().await;
        }
    }

    fn is_full(&self) -> bool {
        self.open.get() >= self.max_connections
    }

    /// Ends the longest idle one of the next [`IDLE_CONNECTIONS_COMPARED`] connections that are idle for
    /// [`MIN_IDLE_TO_MAKE_ROOM`], if there is one.
    fn abort_one_idle_connection_to_make_room(&self) {
        let Some(idle_since) = self.now.get().checked_sub(MIN_IDLE_TO_MAKE_ROOM) else { return };
        let slots = self.slots.borrow();
        let searched = (0..slots.len().min(MAX_SLOTS_SEARCHED)).filter_map(|_| {
            let slot = self.next_searched_slot.get() % slots.len();
            self.next_searched_slot.set(slot + 1);
            slots[slot].as_ref()
        });
        let longest_idle = searched
            .filter(|state| state.is_idle_since(idle_since))
            .take(IDLE_CONNECTIONS_COMPARED)
            .min_by_key(|state| state.phase_since.get());
        if let Some(state) = longest_idle {
            state.abort(CloseReason::MadeRoom);
        }
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Milliseconds since the worker's start, as of its last tick.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// When an HTTP/2 connection must have ended that is told to close now because of its number of requests.
    pub(super) fn last_request_deadline(&self) -> u64 {
        self.now.get() + self.idle_timeout
    }

    /// When an HTTP/2 connection must have ended that is told to close now because of the drain.
    pub(super) fn goaway_deadline(&self) -> u64 {
        self.now.get() + GOAWAY_GRACE
    }

    /// Counts a failed accept.
    pub fn count_accept_error(&self, error: AcceptError) {
        self.metrics.count_accept_error(error);
    }

    /// Puts a new connection into a slot and counts it. It counts as open until the result is dropped.
    pub(super) fn register_new_connection(self: &Rc<Self>) -> OpenConnection {
        let now = self.now.get();
        self.accepted.set(self.accepted.get() + 1);
        // From nine to eleven tenths of the maximal age.
        let per_mille = self.age_jitter.hash_one(self.accepted.get()) % 201 + 900;
        let max_age_at = now + self.max_connection_age * per_mille / 1000;
        let request_timer = RequestTimer::new(self.request_sampler.clone());
        let state = Rc::new(ConnectionState::new(now, max_age_at, self.max_requests, request_timer));
        let mut slots = self.slots.borrow_mut();
        let slot = self.free_slots.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        slots[slot] = Some(state.clone());
        self.open.set(self.open.get() + 1);
        self.metrics.count_accepted();
        OpenConnection { table: self.clone(), slot, state, permit: None, close_reason: Cell::new(CloseReason::Other) }
    }

    fn free_slot_count_close_and_notify_waiters(&self, slot: usize, reason: CloseReason) {
        self.slots.borrow_mut()[slot] = None;
        self.free_slots.borrow_mut().push(slot);
        self.open.set(self.open.get() - 1);
        self.metrics.count_closed(reason);
        self.connection_ended.notify_waiters();
    }

    /// Advances the clock, aborts connections past their deadline, and flushes the counts to the metrics. The worker
    /// calls it ten times a second with the time since its start.
    pub fn advance_clock_flush_metrics_and_enforce_deadlines(&self, since_start: Duration) {
        let now = since_start.as_millis() as u64;
        self.now.set(now);
        self.metrics.flush_counts_and_update_open_gauge(self.open.get());
        let slots = self.slots.borrow();
        let checked = slots.len().min((slots.len() / 8).max(MIN_SLOTS_PER_TICK));
        let mut dormancy_wakes = 0;
        for _ in 0..checked {
            let slot = self.next_checked_slot.get() % slots.len();
            self.next_checked_slot.set(slot + 1);
            if let Some(state) = &slots[slot] {
                self.abort_if_past_deadline(state, now);
                state.start_or_enforce_close_if_too_old(now, self.idle_timeout);
                if dormancy_wakes < DORMANCY_WAKES_PER_TICK && self.is_dormancy_due(state) {
                    dormancy_wakes += 1;
                    state.wake_task();
                }
            }
        }
        if self.is_full() {
            self.connection_ended.notify_waiters();
        }
    }

    /// Whether the connection is to release its buffers now. Its task does so when it is polled next.
    pub(super) fn is_dormancy_due(&self, state: &ConnectionState) -> bool {
        self.now.get().checked_sub(IDLE_BEFORE_DORMANCY).is_some_and(|since| state.has_unused_buffers_since(since))
    }

    fn abort_if_past_deadline(&self, state: &ConnectionState, now_ms: u64) {
        let waited = now_ms.saturating_sub(state.phase_since.get());
        match state.phase.get() {
            ConnectionPhase::New if self.draining.get() && waited > FIRST_BYTE_GRACE => {
                state.abort(CloseReason::Drained);
            }
            ConnectionPhase::New | ConnectionPhase::ReadingHead if waited > self.header_timeout => {
                state.abort(CloseReason::HeaderTimeout);
            }
            ConnectionPhase::Idle if waited > self.idle_timeout => state.abort(CloseReason::Idle),
            _ => {}
        }
    }

    /// Starts to close all connections: each ends after its current request, a new one also once it has had
    /// [`FIRST_BYTE_GRACE`] for its first byte.
    pub fn start_drain(&self) {
        self.draining.set(true);
        for state in self.slots.borrow().iter().flatten() {
            let waited = self.now.get().saturating_sub(state.phase_since.get());
            match state.phase.get() {
                ConnectionPhase::New if waited > FIRST_BYTE_GRACE => state.abort(CloseReason::Drained),
                _ if state.is_http2.get() => {
                    state.request_goaway_and_set_abort_deadline(CloseReason::Drained, self.goaway_deadline())
                }
                // HTTP/1.1: its task looks at `draining` itself.
                _ => state.wake_task(),
            }
        }
    }

    /// Resolves once the last connection has ended. It has no deadline of its own.
    pub async fn wait_until_empty_and_flush_metrics(&self) {
        while self.open.get() > 0 {
            self.connection_ended.notified().await;
        }
        self.metrics.flush_counts_and_update_open_gauge(0);
    }

    /// Flushes the counts to the metrics, as [`ConnectionTable::advance_clock_flush_metrics_and_enforce_deadlines`]
    /// does.
    #[cfg(test)]
    pub(super) fn flush_metrics(&self) {
        self.metrics.flush_counts_and_update_open_gauge(self.open.get());
    }

    /// The states of all open connections.
    #[cfg(test)]
    pub(super) fn states(&self) -> Vec<Rc<ConnectionState>> {
        self.slots.borrow().iter().flatten().cloned().collect()
    }
}

/// A connection's slot in the table. Dropping it frees the slot and counts the end, however the connection's task ends.
pub(super) struct OpenConnection {
    table: Rc<ConnectionTable>,
    slot: usize,
    pub(super) state: Rc<ConnectionState>,
    /// The permit of the quota by address; `None` before the address is known, and for proxies.
    permit: Option<ConnectionPermit>,
    /// The reason to be counted.
    pub(super) close_reason: Cell<CloseReason>,
}

impl OpenConnection {
    pub(super) fn table(&self) -> &Rc<ConnectionTable> {
        &self.table
    }

    /// Starts the time for the first byte and the head of the first request anew.
    pub(super) fn restart_first_request_deadline(&self) {
        self.state.enter_phase(ConnectionPhase::New, self.table.now());
    }

    /// Takes a permit of the peer's address, now that the address is known. Proxies, and this machine over a Unix
    /// socket, need none. `Err`: the address has as many connections as it may.
    pub(super) fn acquire_address_permit_unless_proxy_or_local(
        &mut self,
        stream: &Stream,
        peer: Peer,
    ) -> Result<(), CloseReason> {
        let is_this_machine = matches!(stream, Stream::Unix(_)) && peer.address.is_loopback();
        if is_this_machine || (self.table.is_proxy)(peer.address.to_canonical()) {
            return Ok(());
        }
        let permit = self.table.quota_per_address.try_acquire(peer.address);
        self.permit = Some(permit.ok_or(CloseReason::PerAddress)?);
        Ok(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        // Before the end is notified: a waiting accept finds the permit free.
        self.permit = None;
        self.table.free_slot_count_close_and_notify_waiters(self.slot, self.close_reason.get());
    }
}
