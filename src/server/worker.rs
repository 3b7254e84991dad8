//! A worker: one thread, one runtime, its own listeners, its own lane. Workers share nothing that is written.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    task::{spawn_local, yield_now},
    time::MissedTickBehavior,
};

use crate::{
    edge::service::{self, Desk},
    lifecycle::{Latch, Stop},
    net::{
        self, Limits,
        http::Connections,
        listen::{Accepting, Listen, Listener},
        opening::Opening,
        peer::Networks,
        tls::Tls,
    },
};

/// How often a worker flushes its counts, looks for connections past their deadline, and refreshes what it caches.
const TICK: Duration = Duration::from_millis(100);

/// Connections accepted before the worker looks at its other sockets again: a flood of new ones fills the kernel's queue, and does not
/// keep those that are open waiting.
const ACCEPT_AT_ONCE: u32 = 8;

/// What a worker's thread is given beside its desk.
pub(super) struct Worker {
    /// In the order of `listen`.
    pub(super) listeners: Vec<Listener>,
    pub(super) listen: Vec<Listen>,
    /// This worker's share of them.
    pub(super) limits: Limits,
    /// Whose PROXY protocol headers are taken, and whose connections are not limited by address.
    pub(super) proxies: Networks,
    /// For the listeners that speak it.
    pub(super) tls: Option<Tls>,
    /// How long open connections may take to finish once no more are accepted.
    pub(super) drain_deadline: Duration,
    /// Held while the lane has room.
    pub(super) room: Latch,
    /// Every worker's count of ticks, for the watchdog; `number` is this one's place.
    pub(super) ticks: Arc<[AtomicU64]>,
    pub(super) number: usize,
}

impl Worker {
    /// Serves until the stop signal, then finishes what is open.
    pub(super) fn run(self, desk: Desk, stop: Stop) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve(Rc::new(RefCell::new(desk)), stop))
    }

    async fn serve(self, desk: Rc<RefCell<Desk>>, mut stop: Stop) -> io::Result<()> {
        let proxies = self.proxies;
        let own = proxies.clone();
        let connections = Connections::new(&self.limits, move |address| own.contains(address));
        let (mut accepting, turns) = (Vec::new(), desk.borrow().turns());
        let handshakes = self.tls.map(|tls| tls.handshakes(&self.limits, turns.clone()));
        for (listener, listen) in self.listeners.into_iter().zip(self.listen) {
            let opening = Opening::new(listen, proxies.clone(), handshakes.clone());
            let (listener, opening) = (listener.accepting()?, Rc::new(opening));
            let accept = accept(listener, opening, connections.clone(), desk.clone(), stop.clone());
            accepting.push(spawn_local(accept));
        }
        let start = Instant::now();
        let tick = || {
            connections.tick(start.elapsed());
            self.room.set(desk.borrow_mut().tick());
            if let Some(ticks) = self.ticks.get(self.number) {
                ticks.fetch_add(1, Ordering::Relaxed);
            }
        };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => tick(),
                () = stop.wait() => break,
            }
        }
        for accepting in accepting {
            // It ends by itself after the stop signal; a panic there has already been reported.
            let _ = accepting.await;
        }
        connections.drain();
        let drained = async {
            let mut drained = std::pin::pin!(connections.drained());
            loop {
                tokio::select! {
                    () = &mut drained => return,
                    _ = ticks.tick() => tick(),
                }
            }
        };
        if tokio::time::timeout(self.drain_deadline, drained).await.is_err() {
            tracing::warn!(connections = connections.open(), "connections cut at the drain deadline");
        }
        tick();
        Ok(())
    }
}

/// The accept loop of one listener: until the stop signal, then once more through what the kernel holds for it; what it holds
/// for the service manager's socket is the next process's.
async fn accept(
    listener: Accepting,
    opening: Rc<Opening>,
    connections: Rc<Connections>,
    desk: Rc<RefCell<Desk>>,
    mut stop: Stop,
) {
    let mut at_once = 0;
    loop {
        if listener.held() && stop.is_set() {
            return;
        }
        let accepted = tokio::select! {
            biased;
            accepted = async { connections.room().await; listener.accept().await } => accepted,
            () = stop.wait() => return,
        };
        match accepted {
            Ok(accepted) => {
                let desk = desk.clone();
                let answer = move |peer, request| {
                    let desk = desk.clone();
                    async move { Ok(service::call(&desk, peer, request).await) }
                };
                spawn_local(connections.clone().serve(accepted, opening.clone(), answer));
                at_once += 1;
                if at_once == ACCEPT_AT_ONCE {
                    at_once = 0;
                    yield_now().await;
                }
            }
            Err(error) => {
                let (reason, pause) = net::accept_failure(&error);
                connections.accept_failed(reason);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}
