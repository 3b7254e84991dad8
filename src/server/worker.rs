//! A worker: one thread with a runtime, listeners and a lane of its own. Workers share nothing that is written to.

use std::{
    cell::RefCell,
    io,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    task::{JoinHandle, spawn_local, yield_now},
    time::{Interval, MissedTickBehavior},
};

use crate::{
    edge::handler::{RequestHandler, handle_request_and_record_click},
    lifecycle::{Latch, StopSignal},
    net::{
        AcceptError,
        connection::{ConnectionServer, ConnectionSetup, ConnectionTable},
        limits::Limits,
        listen::{AcceptingListener, ListenConfig, Listener},
        peer::TrustedNetworks,
        tls::TlsServer,
    },
};

/// How often a worker flushes its counts, closes connections past their deadline, and refreshes its caches.
const TICK: Duration = Duration::from_millis(100);

/// Connections accepted before the worker serves its other sockets again: a flood of new connections fills the kernel's
/// queue instead of delaying open ones.
const MAX_ACCEPTS_IN_A_ROW: u32 = 8;

/// What a worker's thread is given beside its handler.
pub(super) struct Worker {
    /// In the order of `listen`.
    pub(super) listeners: Vec<Listener>,
    pub(super) listen: Vec<ListenConfig>,
    /// This worker's share of the limits.
    pub(super) limits: Limits,
    /// Proxies whose PROXY protocol headers are accepted, and whose connections are not limited by address.
    pub(super) proxies: TrustedNetworks,
    /// For the listeners with TLS.
    pub(super) tls: Option<TlsServer>,
    /// How long open connections may take to finish once no more are accepted.
    pub(super) drain_deadline: Duration,
    /// Set while the lane has space for clicks.
    pub(super) lane_has_space: Latch,
    /// Every worker's count of ticks, for the watchdog.
    pub(super) ticks: Arc<[AtomicU64]>,
    /// This worker's index in `ticks`.
    pub(super) number: usize,
}

impl Worker {
    /// Serves until the stop signal, then finishes open connections.
    pub(super) fn run(self, handler: RequestHandler, stop: StopSignal) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve_until_stop_then_drain(Rc::new(RefCell::new(handler)), stop))
    }

    async fn serve_until_stop_then_drain(
        mut self,
        handler: Rc<RefCell<RequestHandler>>,
        mut stop: StopSignal,
    ) -> io::Result<()> {
        let proxies = self.proxies.clone();
        let connections = ConnectionTable::new(&self.limits, move |address| proxies.contains(address));
        let accept_loops = self.spawn_accept_loop_per_listener(&connections, &handler, &stop)?;
        let mut ticker = Ticker::new(connections.clone(), handler, self.lane_has_space, self.ticks, self.number);
        ticker.tick_at_interval_until(stop.wait()).await;
        for accept_loop in accept_loops {
            // It ends by itself after the stop signal; a panic there has already been reported.
            let _ = accept_loop.await;
        }
        connections.start_drain();
        let drained = ticker.tick_at_interval_until(connections.wait_until_empty_and_flush_metrics());
        if tokio::time::timeout(self.drain_deadline, drained).await.is_err() {
            tracing::warn!(connections = connections.open(), "connections cut at the drain deadline");
        }
        ticker.enforce_deadlines_flush_counts_and_report_health();
        Ok(())
    }

    /// Spawns the accept loop of each listener.
    fn spawn_accept_loop_per_listener(
        &mut self,
        connections: &Rc<ConnectionTable>,
        handler: &Rc<RefCell<RequestHandler>>,
        stop: &StopSignal,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let cpu_scheduler = handler.borrow().cpu_scheduler();
        let server = ConnectionServer::new(&self.limits, connections.clone());
        let handshakes = self.tls.take().map(|tls| tls.new_handshaker(&self.limits, cpu_scheduler));
        let listeners = self.listeners.drain(..).zip(self.listen.drain(..));
        let accept_loops = listeners.map(|(listener, listen)| {
            let setup = Rc::new(ConnectionSetup::new(listen, self.proxies.clone(), handshakes.clone()));
            let listener = listener.register_with_current_runtime()?;
            let (connections, server) = (connections.clone(), server.clone());
            let accept_loop = accept_and_spawn_connections_until_stop(
                listener,
                setup,
                connections,
                server,
                handler.clone(),
                stop.clone(),
            );
            Ok(spawn_local(accept_loop))
        });
        accept_loops.collect()
    }
}

/// A worker's regular work beside its requests.
struct Ticker {
    connections: Rc<ConnectionTable>,
    handler: Rc<RefCell<RequestHandler>>,
    lane_has_space: Latch,
    ticks: Arc<[AtomicU64]>,
    number: usize,
    start: Instant,
    interval: Interval,
}

impl Ticker {
    fn new(
        connections: Rc<ConnectionTable>,
        handler: Rc<RefCell<RequestHandler>>,
        lane_has_space: Latch,
        ticks: Arc<[AtomicU64]>,
        number: usize,
    ) -> Ticker {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ticker { connections, handler, lane_has_space, ticks, number, start: Instant::now(), interval }
    }

    /// Closes connections past their deadline, flushes counts, and tells readiness and the watchdog how the worker is.
    fn enforce_deadlines_flush_counts_and_report_health(&self) {
        self.connections.advance_clock_flush_metrics_and_enforce_deadlines(self.start.elapsed());
        self.lane_has_space.set(self.handler.borrow_mut().flush_counters_and_return_whether_lane_has_room());
        if let Some(ticks) = self.ticks.get(self.number) {
            ticks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ticks at each interval until `end` resolves.
    async fn tick_at_interval_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                _ = self.interval.tick() => self.enforce_deadlines_flush_counts_and_report_health(),
                () = &mut end => return,
            }
        }
    }
}

/// Accepts and serves the connections of one listener until the stop signal, and then those that the kernel's queue
/// still holds. The queue of a service manager's socket is left to the next process.
async fn accept_and_spawn_connections_until_stop(
    listener: AcceptingListener,
    setup: Rc<ConnectionSetup>,
    connections: Rc<ConnectionTable>,
    server: Rc<ConnectionServer>,
    handler: Rc<RefCell<RequestHandler>>,
    mut stop: StopSignal,
) {
    let mut accepts_in_a_row = 0;
    loop {
        if listener.is_inherited() && stop.is_set() {
            return;
        }
        let accepted = tokio::select! {
            biased;
            accepted = async { connections.wait_for_room().await; listener.accept().await } => accepted,
            () = stop.wait() => return,
        };
        match accepted {
            Ok(accepted) => {
                let handler = handler.clone();
                let answer = move |peer, request| {
                    let handler = handler.clone();
                    async move { Ok(handle_request_and_record_click(&handler, peer, request).await) }
                };
                spawn_local(server.clone().register_now_and_serve_until_closed(accepted, setup.clone(), answer));
                accepts_in_a_row += 1;
                if accepts_in_a_row == MAX_ACCEPTS_IN_A_ROW {
                    accepts_in_a_row = 0;
                    yield_now().await;
                }
            }
            Err(error) => {
                let error = AcceptError::from(&error);
                connections.count_accept_error(error);
                if !error.pause.is_zero() {
                    tokio::time::sleep(error.pause).await;
                }
            }
        }
    }
}
