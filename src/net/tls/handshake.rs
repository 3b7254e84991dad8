//! One worker's handshakes: their bound, their deadline, how each ended.

use std::{
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    metrics::{self, TLS_HANDSHAKES, TLS_SESSIONS},
    net::{
        Limits,
        budget::{Origin, Seats},
        counts::Closed,
        stream::Stream,
        ticket::Ticketed,
        turns::{Line, Rank, Turn, Turns},
    },
};

/// How a handshake that failed ended; the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Not done within its time.
    Timeout,
    /// It gave its place to a later one, or had no turn within its time: others' handshakes held them all.
    Busy,
    /// What came is not TLS.
    Junk,
    /// No version, cipher, group or protocol that both sides know.
    Incompatible,
    /// The client refused: most often it does not trust the certificate.
    Alert,
    /// The client left.
    Left,
    /// Anything else.
    Other,
}

impl Failed {
    /// In the order of their values.
    const ALL: [(Failed, &'static str); 7] = [
        (Failed::Timeout, "timeout"),
        (Failed::Busy, "busy"),
        (Failed::Junk, "junk"),
        (Failed::Incompatible, "incompatible"),
        (Failed::Alert, "alert"),
        (Failed::Left, "left"),
        (Failed::Other, "other"),
    ];
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        use rustls::{AlertDescription, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(
                Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerMisbehaved(_),
            ) => Failed::Junk,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Failed::Incompatible,
            Some(Error::AlertReceived(AlertDescription::UserCanceled | AlertDescription::CloseNotify)) => Failed::Left,
            Some(Error::AlertReceived(_)) => Failed::Alert,
            Some(_) => Failed::Other,
            None => Failed::Left,
        }
    }
}

/// The shared counters, without cells in front: a handshake costs some thousand times what an atomic does.
#[derive(Debug)]
pub(super) struct Counters {
    done: ::metrics::Counter,
    failed: [::metrics::Counter; Failed::ALL.len()],
    /// By version (1.2, 1.3), then by whether it was resumed.
    sessions: [[::metrics::Counter; 2]; 2],
}

impl Counters {
    pub(super) fn new() -> Counters {
        let result = |word| metrics::counter(&TLS_HANDSHAKES, &[word]);
        Counters {
            done: result("done"),
            failed: Failed::ALL.map(|(_, word)| result(word)),
            sessions: ["1.2", "1.3"]
                .map(|version| ["no", "yes"].map(|resumed| metrics::counter(&TLS_SESSIONS, &[version, resumed]))),
        }
    }

    fn done(&self, stream: &TlsStream<Ticketed<Stream>>) {
        let session = stream.get_ref().1;
        let version = usize::from(session.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        let resumed = usize::from(session.handshake_kind() == Some(HandshakeKind::Resumed));
        self.done.increment(1);
        self.sessions[version][resumed].increment(1);
    }
}

/// How many of one address wait for a handshake before further ones of it wait behind everybody else's. It is no limit: none is
/// refused, and nobody waits for long where the worker keeps up. Thousands of buyers behind one address reach it only while they ask
/// for more than the worker can do; a flood from some addresses stands in its own way.
const FEW_OF_ONE: u32 = 16;

/// One worker's handshakes.
#[derive(Debug)]
pub struct Handshakes {
    /// Without HTTP/2, and with it.
    configs: [Arc<ServerConfig>; 2],
    /// Those that have had a turn and are not done.
    places: Line,
    most: usize,
    turns: Rc<Turns>,
    /// Those that wait for their first turn, by address.
    waiting: Seats,
    timeout: Duration,
    counters: Counters,
}

impl Handshakes {
    pub(super) fn new(configs: [Arc<ServerConfig>; 2], limits: &Limits, turns: Rc<Turns>) -> Handshakes {
        Handshakes {
            configs,
            places: Line::default(),
            most: limits.handshakes.max(1),
            turns,
            waiting: Seats::new(FEW_OF_ONE),
            timeout: limits.handshake_timeout,
            counters: Counters::new(),
        }
    }

    /// Until when a connection that was accepted now must have shaken hands: what comes before the handshake included.
    pub(in crate::net) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Takes a step that comes before the handshake; one that does not end in time counts as a handshake that did not.
    pub(in crate::net) async fn before<T>(
        &self,
        deadline: Instant,
        step: impl Future<Output = Result<T, Closed>>,
    ) -> Result<T, Closed> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| Err(self.failed(Failed::Timeout)))
    }

    /// Shakes hands over `stream`, with HTTP/2 offered or not; says so by `begun` once the client does. `Err`: the connection ends here,
    /// and why.
    pub(in crate::net) async fn run(
        &self,
        stream: Stream,
        address: IpAddr,
        http2: bool,
        deadline: Instant,
        begun: impl Fn(),
    ) -> Result<Stream, Closed> {
        let mut waits = false;
        let steps = async {
            stream.readable().await?;
            begun();
            Box::pin(self.shake_hands(stream, address, http2, &mut waits)).await
        };
        match timeout_at(deadline, steps).await {
            Ok(Ok(Some(stream))) => {
                self.counters.done(&stream);
                Ok(Stream::Tls(Box::new(stream)))
            }
            Ok(Ok(None)) => Err(self.failed(Failed::Busy)),
            Ok(Err(error)) => Err(self.failed(Failed::from(error))),
            Err(_) if waits => Err(self.failed(Failed::Busy)),
            Err(_) => Err(self.failed(Failed::Timeout)),
        }
    }

    fn failed(&self, failed: Failed) -> Closed {
        self.counters.failed[failed as usize].increment(1);
        match failed {
            Failed::Timeout => Closed::HandshakeTimeout,
            Failed::Busy => Closed::HandshakeBusy,
            _ => Closed::Handshake,
        }
    }

    /// Step by step, each in its turn; `None`: it gave its place to a later one. `waits` while it has had none yet.
    async fn shake_hands(
        &self,
        stream: Stream,
        address: IpAddr,
        http2: bool,
        waits: &mut bool,
    ) -> io::Result<Option<TlsStream<Ticketed<Stream>>>> {
        *waits = true;
        let mut turn = self.first_turn(Origin::from(address)).await;
        *waits = false;
        if stream.left().await? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let place = self.places.join();
        if self.places.len() > self.most {
            self.places.call_oldest();
        }
        let acceptor = TlsAcceptor::from(self.configs[usize::from(http2)].clone());
        let mut accept = acceptor.accept(Ticketed::new(stream)).into_fallible();
        let steps = async {
            let woken = Woken::new().await;
            loop {
                let step = woken.poll(Pin::new(&mut accept));
                turn.end().await;
                if let Poll::Ready(done) = step {
                    return done;
                }
                woken.wait().await;
                turn = self.turns.take(Rank::GoesOn).await;
            }
        };
        let done = tokio::select! {
            biased;
            () = place.called() => return Ok(None),
            done = steps => done,
        };
        match done {
            Ok(mut stream) => {
                stream.get_mut().0.shaken();
                Ok(Some(stream))
            }
            Err((error, mut stream)) => {
                if stream.waits() {
                    // The alert is a courtesy: the connection ends for what was wrong before.
                    let _ = stream.shutdown().await;
                }
                Err(error)
            }
        }
    }

    async fn first_turn(&self, origin: Origin) -> Turn<'_> {
        let seat = self.waiting.take(origin).then(|| Seat(&self.waiting, origin));
        self.turns.take(if seat.is_some() { Rank::Begins } else { Rank::Crowd }).await
    }
}

/// Gives a seat back however the wait ends.
struct Seat<'a>(&'a Seats, Origin);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Tells a handshake's own wakes from the others of its task, which would cost a turn each.
struct Woken {
    woken: AtomicBool,
    task: Waker,
}

impl Woken {
    /// For the task that polls this.
    async fn new() -> Arc<Woken> {
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        Arc::new(Woken { woken: AtomicBool::new(false), task })
    }

    fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.woken.store(false, Ordering::Relaxed);
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    /// Resolves once the last [`Woken::poll`] has more to do.
    async fn wait(&self) {
        poll_fn(|_| if self.woken.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::task::spawn_local;

    use super::*;

    #[test]
    fn the_few_of_an_address_go_before_its_many_and_nobody_is_refused() {
        let options = tokio::runtime::LocalOptions::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
        runtime.block_on(async {
            let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
            let (config, turns) = (Arc::new(config), Rc::new(Turns::default()));
            let handshakes = Rc::new(Handshakes::new([config.clone(), config], &Limits::default(), turns.clone()));
            let held = turns.take(Rank::GoesOn).await;
            let (had, begun) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
            let crowd = [IpAddr::from([192, 0, 2, 1]); FEW_OF_ONE as usize + 2];
            let mut tasks = Vec::new();
            for address in crowd.into_iter().chain([IpAddr::from([192, 0, 2, 2])]) {
                let (handshakes, had, begun) = (handshakes.clone(), had.clone(), begun.clone());
                tasks.push(spawn_local(async move {
                    begun.set(begun.get() + 1);
                    let turn = handshakes.first_turn(Origin::from(address)).await;
                    had.borrow_mut().push(address);
                    turn.end().await;
                }));
            }
            while begun.get() < tasks.len() {
                tokio::task::yield_now().await;
            }
            drop(held);
            for task in tasks {
                task.await.unwrap();
            }
            let place = had.borrow().iter().position(|&address| address != crowd[0]);
            assert_eq!((had.borrow().len(), place), (crowd.len() + 1, Some(FEW_OF_ONE as usize)));
        });
    }

    #[test]
    fn every_failure_has_its_word_at_its_place() {
        for (at, (failed, word)) in Failed::ALL.into_iter().enumerate() {
            assert_eq!(failed as usize, at, "{word}");
        }
    }
}
