//! A worker: one thread, one runtime, its own listeners, its own lane. Workers share nothing that is written.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{
    runtime::{Builder, LocalOptions},
    task::spawn_local,
    time::MissedTickBehavior,
};

use crate::{
    lifecycle::{Guard, Stop},
    net::{self, Limits, http::Connections},
};

/// How often a worker flushes its counts, looks for connections past their deadline, and refreshes what it caches.
const TICK: Duration = Duration::from_millis(100);

/// What a worker is given.
pub(super) struct Worker {
    /// From 0; names its thread.
    pub(super) number: usize,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) limits: Limits,
    /// The most connections of this worker.
    pub(super) connections: usize,
    /// Accept no more, finish what is open.
    pub(super) stop: Stop,
    /// How long open connections may take to finish.
    pub(super) drain_deadline: Duration,
    /// Dropped when the worker is done.
    pub(super) guard: Guard,
}

impl Worker {
    /// Starts the thread `wp-worker-N`. Its result says whether every connection ended within the deadline.
    pub(super) fn start(self) -> io::Result<JoinHandle<io::Result<usize>>> {
        std::thread::Builder::new().name(format!("wp-worker-{}", self.number)).spawn(move || self.run())
    }

    /// Serves until the stop signal; returns how many connections had to be cut.
    fn run(self) -> io::Result<usize> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let _guard = self.guard.clone();
        runtime.block_on(self.serve())
    }

    async fn serve(mut self) -> io::Result<usize> {
        let connections = Connections::new(&self.limits, self.connections);
        let mut accepting = Vec::new();
        for listener in std::mem::take(&mut self.listeners) {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.push(spawn_local(accept(listener, connections.clone(), self.stop.clone())));
        }
        let start = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => connections.tick(start.elapsed()),
                () = self.stop.wait() => break,
            }
        }
        for accepting in accepting {
            // It ends by itself after the stop signal; a panic there has already been reported.
            let _ = accepting.await;
        }
        connections.drain();
        let cut = match tokio::time::timeout(self.drain_deadline, connections.drained()).await {
            Ok(()) => 0,
            Err(_) => connections.open(),
        };
        connections.tick(start.elapsed());
        Ok(cut)
    }
}

/// The accept loop of one listener: until the stop signal, then what the kernel has already accepted for us.
async fn accept(listener: tokio::net::TcpListener, connections: Rc<Connections>, mut stop: Stop) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = async { connections.room().await; listener.accept().await } => accepted,
            () = stop.wait() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                spawn_local(connections.clone().serve(stream, move |request| answer(request, peer)));
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

async fn answer(_request: Request<Incoming>, _peer: SocketAddr) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = http::StatusCode::NOT_FOUND;
    Ok(answer)
}
