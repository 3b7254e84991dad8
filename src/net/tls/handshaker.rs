//! The TLS handshakes of one worker: their deadline, their number, and their share of the CPU.
//!
//! 1. Wait for the client's first bytes. A silent connection holds nothing but its socket.
//! 2. Wait for a CPU permit ([`crate::net::cpu_scheduler`]). The few handshakes of one address go before the many of
//!    another. A client that has left meanwhile costs no more than this.
//! 3. Join the handshakes in flight. If there are more than `edge.limits.max_handshakes`, the oldest one is closed: its
//!    client has had the longest time.
//! 4. Do the handshake, with a CPU permit for each step: TLS 1.3 or 1.2, and the certificate of the requested server
//!    name.
//! 5. Count the outcome.
//!
//! A handshake runs in its connection's own task.

use std::{future::Future, io, net::IpAddr, pin::Pin, rc::Rc, sync::Arc, task::Poll, time::Duration};

use rustls::ServerConfig;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::net::{
    close_reason::CloseReason,
    connection_quota::PrefixConnectionQuota,
    cpu_scheduler::{CpuPermit, CpuScheduler, StepPriority},
    limits::Limits,
    stream::Stream,
    ticket_deferral::TicketDeferringStream,
    tls::{
        handshake_metrics::{HandshakeFailure, HandshakeMetrics},
        wake_filter::WakeFilter,
    },
    wait_queue::WaitQueue,
};

/// How many connections of one address wait for their first step before further ones get a lower priority. It is no
/// limit: none is refused, and none waits long where the worker keeps up. Thousands of buyers behind one address reach
/// it only while they demand more than the worker can do. A flood from some addresses delays itself.
const CROWDED_ADDRESS: u32 = 16;

type HandshakeStream = TlsStream<TicketDeferringStream<Stream>>;

/// Does the TLS handshakes of one worker.
#[derive(Debug)]
pub struct Handshaker {
    http1_config: Arc<ServerConfig>,
    /// Offers HTTP/2 beside HTTP/1.1.
    http2_config: Arc<ServerConfig>,
    /// Handshakes that have had a CPU permit and are not done. Each is notified to end it.
    in_flight: WaitQueue,
    max_in_flight: usize,
    scheduler: Rc<CpuScheduler>,
    /// Connections that wait for their first CPU permit, by address.
    waiting_by_address: Rc<PrefixConnectionQuota>,
    timeout: Duration,
    metrics: HandshakeMetrics,
}

/// Where a handshake ended without an error of TLS.
enum HandshakeOutcome {
    Done(Box<HandshakeStream>),
    /// A newer handshake took its place.
    Evicted,
}

impl Handshaker {
    pub(super) fn new(
        http1_config: Arc<ServerConfig>,
        http2_config: Arc<ServerConfig>,
        limits: &Limits,
        scheduler: Rc<CpuScheduler>,
    ) -> Handshaker {
        Handshaker {
            http1_config,
            http2_config,
            in_flight: WaitQueue::default(),
            max_in_flight: limits.max_handshakes.max(1),
            scheduler,
            waiting_by_address: PrefixConnectionQuota::new(CROWDED_ADDRESS),
            timeout: limits.handshake_timeout,
            metrics: HandshakeMetrics::new(),
        }
    }

    /// The deadline of the handshake of a connection that was accepted now, with all steps before it.
    pub(in crate::net) fn handshake_deadline_from_now(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs a step that precedes the handshake. At the deadline it fails and counts as a failed handshake.
    pub(in crate::net) async fn run_before_handshake<T>(
        &self,
        deadline: Instant,
        step: impl Future<Output = Result<T, CloseReason>>,
    ) -> Result<T, CloseReason> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| Err(self.count_failure(HandshakeFailure::Timeout)))
    }

    /// Does the handshake over `stream` until `deadline` and counts the outcome. Calls `on_first_byte` once the client
    /// has sent something. Returns the TLS stream. `Err`: the connection is to be closed.
    pub(in crate::net) async fn complete_handshake_and_count_outcome(
        &self,
        stream: Stream,
        address: IpAddr,
        http2: bool,
        deadline: Instant,
        on_first_byte: impl Fn(),
    ) -> Result<Stream, CloseReason> {
        let mut waits_for_first_permit = false;
        let handshake = async {
            stream.wait_until_readable_or_err_if_tls().await?;
            on_first_byte();
            // In a box: a connection without TLS does not hold this future.
            Box::pin(self.run_handshake_evicting_oldest_above_limit(
                stream,
                address,
                http2,
                &mut waits_for_first_permit,
            ))
            .await
        };
        let failure = match timeout_at(deadline, handshake).await {
            Ok(Ok(HandshakeOutcome::Done(stream))) => {
                self.metrics.count_completed_session(stream.get_ref().1);
                return Ok(Stream::Tls(stream));
            }
            Ok(Ok(HandshakeOutcome::Evicted)) => HandshakeFailure::Busy,
            Ok(Err(error)) => HandshakeFailure::from(error),
            Err(_) if waits_for_first_permit => HandshakeFailure::Busy,
            Err(_) => HandshakeFailure::Timeout,
        };
        Err(self.count_failure(failure))
    }

    fn count_failure(&self, failure: HandshakeFailure) -> CloseReason {
        self.metrics.count_failed(failure);
        CloseReason::from(failure)
    }

    /// Runs all steps of a handshake, each with a CPU permit. `waits_for_first_permit` is true until the first one is
    /// there.
    async fn run_handshake_evicting_oldest_above_limit(
        &self,
        stream: Stream,
        address: IpAddr,
        http2: bool,
        waits_for_first_permit: &mut bool,
    ) -> io::Result<HandshakeOutcome> {
        *waits_for_first_permit = true;
        let permit = self.acquire_first_permit_with_low_priority_if_crowded(address).await;
        *waits_for_first_permit = false;
        if stream.wait_for_readiness_and_is_closed_by_client().await? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let in_flight = self.in_flight.enqueue();
        if self.in_flight.len() > self.max_in_flight {
            self.in_flight.try_notify_oldest();
        }
        let config = if http2 { &self.http2_config } else { &self.http1_config };
        let acceptor = TlsAcceptor::from(config.clone());
        let accept = acceptor.accept(TicketDeferringStream::new(stream)).into_fallible();
        let result = tokio::select! {
            biased;
            () = in_flight.wait_until_notified() => return Ok(HandshakeOutcome::Evicted),
            result = self.poll_to_end_with_permits(accept, permit) => result,
        };
        match result {
            Ok(mut stream) => {
                stream.get_mut().0.note_handshake_done();
                Ok(HandshakeOutcome::Done(Box::new(stream)))
            }
            Err((error, mut stream)) => {
                if stream.has_deferred_bytes() {
                    // Sends the alert. If that fails, the handshake's own error is still the cause of the end.
                    let _ = stream.shutdown().await;
                }
                Err(error)
            }
        }
    }

    /// Polls `handshake` to its end: first with this permit, then with one of its own for each further poll.
    async fn poll_to_end_with_permits<'a, F: Future + Unpin>(
        &'a self,
        mut handshake: F,
        mut permit: CpuPermit<'a>,
    ) -> F::Output {
        let waker = WakeFilter::for_current_task().await;
        loop {
            let polled = waker.poll_once(Pin::new(&mut handshake));
            permit.yield_then_release().await;
            if let Poll::Ready(output) = polled {
                return output;
            }
            waker.wait_for_wake().await;
            permit = self.scheduler.acquire(StepPriority::Continue).await;
        }
    }

    /// Waits for the permit of a first step, with a lower priority if many connections of the address wait already.
    async fn acquire_first_permit_with_low_priority_if_crowded(&self, address: IpAddr) -> CpuPermit<'_> {
        // Held for the time of the wait.
        let waiting = self.waiting_by_address.try_acquire(address);
        let priority = if waiting.is_some() { StepPriority::Start } else { StepPriority::StartOfCrowdedAddress };
        self.scheduler.acquire(priority).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::task::spawn_local;

    use super::*;

    fn config_without_certificates() -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        Arc::new(config)
    }

    #[test]
    fn the_few_connections_of_an_address_go_before_the_many_of_another_and_none_is_refused() {
        let options = tokio::runtime::LocalOptions::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
        runtime.block_on(async {
            let (config, scheduler) = (config_without_certificates(), Rc::new(CpuScheduler::default()));
            let handshaker = Handshaker::new(config.clone(), config, &Limits::default(), scheduler.clone());
            let handshaker = Rc::new(handshaker);
            let held = scheduler.acquire(StepPriority::Continue).await;
            let (order, started) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
            let crowd = [IpAddr::from([192, 0, 2, 1]); CROWDED_ADDRESS as usize + 2];
            let mut tasks = Vec::new();
            for address in crowd.into_iter().chain([IpAddr::from([192, 0, 2, 2])]) {
                let (handshaker, order, started) = (handshaker.clone(), order.clone(), started.clone());
                tasks.push(spawn_local(async move {
                    started.set(started.get() + 1);
                    let permit = handshaker.acquire_first_permit_with_low_priority_if_crowded(address).await;
                    order.borrow_mut().push(address);
                    permit.yield_then_release().await;
                }));
            }
            while started.get() < tasks.len() {
                tokio::task::yield_now().await;
            }
            drop(held);
            for task in tasks {
                task.await.unwrap();
            }
            let other = order.borrow().iter().position(|&address| address != crowd[0]);
            assert_eq!((order.borrow().len(), other), (crowd.len() + 1, Some(CROWDED_ADDRESS as usize)));
        });
    }
}
