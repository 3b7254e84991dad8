//! One worker's connections ([`h2`] has what only HTTP/2 has): hyper's limits, deadlines, drain, and why each connection ended.
//!
//! hyper's own header timeout makes a boxed timer a request (1 300 instructions of some 20 000) and knows no idle
//! timeout apart from it. Here a connection notes in two cells when it last changed its phase, and [`Connections::tick`]
//! walks over them ten times a second:
//!
//! ```text
//! New ──first byte──▶ Head ──whole head──▶ Busy ──answer──▶ Idle ──next byte──▶ Head …
//!  └── header_timeout ──┘                 (bounded by       └── idle_timeout, also for a client
//!      from accept, or from the first      the service)          that does not read its answer
//!      byte after an answer
//! ```
//! A byte more never extends a deadline. What a connection holds is bounded: hyper's read buffer by the size of a head,
//! its write buffer by the same, and it reads no further while an answer cannot be written.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    sync::Notify,
};

use crate::net::{
    Limits,
    budget::{Origin, Seats},
    counts::{Closed, Counts},
    h2::{self, Begun, Protocol},
    opening::Opening,
    peer::Peer,
    seen::{Phase, Seen},
    stream::{Stream, writes_to},
};

/// All connections of one worker. Lives on that worker's thread.
pub struct Connections {
    builder: http1::Builder,
    http2: http2::Builder<h2::Here>,
    header_timeout: u64,
    idle_timeout: u64,
    max_age: u64,
    requests: u32,
    most: usize,
    seats: Seats,
    /// Addresses of proxies, which have any number of connections.
    exempt: Box<dyn Fn(IpAddr) -> bool>,
    /// Spreads the ages at which connections that came together leave.
    jitter: RandomState,
    /// Connections so far.
    born: Cell<u64>,
    /// Milliseconds since the worker began, as of its last tick.
    now: Cell<u64>,
    draining: Cell<bool>,
    /// Slots of open connections; `free` holds the empty ones.
    slots: RefCell<Vec<Option<Rc<Seen>>>>,
    free: RefCell<Vec<usize>>,
    /// Where the next tick goes on.
    cursor: Cell<usize>,
    open: Cell<usize>,
    /// Told whenever a connection ends: for whoever waits for room or for the last one.
    ended: Notify,
    counts: Counts,
}

/// How many slots a tick looks at, at least: below this number every deadline is seen within a tenth of a second, above
/// it within 0.8 s, and no tick takes long.
const SLOTS_A_TICK: usize = 1024;

/// For how long after its accept, in milliseconds, a stopping process waits for a connection's first byte: a client that
/// connected a moment before sends its request without knowing.
const FIRST_BYTE: u64 = 1000;
/// How long a drain waits for an HTTP/2 client to say that it has understood, milliseconds: some round trips of a phone.
pub(super) const GOAWAY_GRACE: u64 = 2000;

impl Connections {
    /// Connections under these limits, one worker's share of them ([`Limits::share`]). `exempt` names the proxies, whose
    /// connections are not limited by address.
    pub fn new(limits: &Limits, exempt: impl Fn(IpAddr) -> bool + 'static) -> Rc<Connections> {
        let mut builder = http1::Builder::new();
        let head = limits.headers.as_usize().max(8192);
        builder
            .header_read_timeout(None)
            .max_header_size(limits.headers.as_usize())
            .max_buf_size(head)
            // One flat buffer a response: measured, 240 instructions a request less. `pipeline_flush` gains the same by
            // the same means, but holds an answer back (a 400, a 431, a 405) while unread bytes lie in the buffer.
            .writev(false);
        Rc::new(Connections {
            builder,
            header_timeout: limits.header_timeout.as_millis() as u64,
            http2: h2::builder(limits),
            idle_timeout: limits.idle_timeout.as_millis() as u64,
            max_age: limits.max_age.as_millis() as u64,
            requests: limits.requests.max(1),
            most: limits.connections.max(1),
            seats: Seats::new(limits.connections_per_address),
            exempt: Box::new(exempt),
            jitter: RandomState::new(),
            born: Cell::new(0),
            now: Cell::new(0),
            draining: Cell::new(false),
            slots: RefCell::default(),
            free: RefCell::default(),
            cursor: Cell::new(0),
            open: Cell::new(0),
            ended: Notify::new(),
            counts: Counts::new(),
        })
    }

    /// Resolves once another connection may be accepted.
    pub async fn room(&self) {
        while self.open.get() >= self.most {
            self.ended.notified().await;
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Milliseconds since the worker began, as of its last tick.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn idle_timeout(&self) -> u64 {
        self.idle_timeout
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }

    pub(super) fn http2(&self) -> &http2::Builder<h2::Here> {
        &self.http2
    }

    /// Counts a failed accept by its reason, as [`crate::net::accept_failure`] gives it.
    pub fn accept_failed(&self, reason: &str) {
        self.counts.accept_failed(reason);
    }

    /// Takes a connection in, to be opened and served to its end by the future this returns. `service` answers every request of
    /// it; its answer is never an error. The connection counts from this call on, not from the first poll.
    pub fn serve<S, F>(
        self: Rc<Self>,
        (stream, peer): (Stream, Peer),
        opening: Rc<Opening>,
        service: S,
    ) -> impl Future<Output = ()>
    where
        S: Fn(Peer, Request<Incoming>) -> F,
        F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + 'static,
    {
        let (slot, seen) = self.enter();
        let mut entry = Entry { connections: self.clone(), slot, seat: None, closed: Cell::new(Closed::Other) };
        async move {
            let opened = async {
                let admit = |stream: &Stream, peer| entry.sit(stream, peer);
                let (stream, peer) = opening.run(stream, peer, admit, || seen.phase.set(Phase::Head)).await?;
                if peer.tls {
                    // Only now can its first request come: a stopping process waits for that as on a connection just accepted.
                    seen.enter(Phase::New, self.now.get());
                }
                let (protocol, stream) = h2::choose(stream, opening.http2(), &seen).await?;
                Ok((protocol, stream, peer))
            };
            match seen.until_ended(opened).await {
                Ok(Ok((Protocol::Http1, stream, peer))) => {
                    self.run(stream, |request| service(peer, request), seen, entry).await;
                }
                Ok(Ok((Protocol::Http2, stream, peer))) => {
                    // It is several times as large: no other connection has to have room for it.
                    let run = Box::pin(h2::run(self, stream, |request| service(peer, request), seen));
                    entry.closed.set(run.await);
                }
                Ok(Err(closed)) | Err(closed) => entry.closed.set(closed),
            }
        }
    }

    async fn run<S, F>(self: Rc<Self>, stream: Begun, service: S, seen: Rc<Seen>, entry: Entry)
    where
        S: Fn(Request<Incoming>) -> F,
        F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
    {
        let io = TokioIo::new(Watched { stream, connections: self.clone(), seen: seen.clone() });
        let answer = service_fn(|request| {
            seen.enter(Phase::Busy, self.now.get());
            let left = seen.request();
            let answer = service(request);
            let (seen, connections) = (&seen, &self);
            async move {
                let Ok(mut answer) = answer.await;
                seen.enter(Phase::Idle, connections.now.get());
                if left == 0 {
                    seen.last_answer(&mut answer);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = self.builder.serve_connection(io, answer);
        let (mut told, mut cut) = (false, false);
        let closed = std::future::poll_fn(|cx| {
            if let Some(closed) = seen.look(cx) {
                cut = true;
                return Poll::Ready(closed);
            }
            // hyper ends a connection on which nothing came yet, and its first request may be on its way.
            let due = |told: bool| self.draining.get() && !told && seen.phase.get() != Phase::New;
            let mut polled = Poll::Pending;
            while polled.is_pending() {
                if due(told) {
                    told = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                polled = Pin::new(&mut connection).poll(cx);
                if !due(told) {
                    break;
                }
            }
            polled.map(|end| match end {
                Ok(()) if told => Closed::Drained,
                Ok(()) => seen.leaving.get().unwrap_or(Closed::Done),
                Err(error) => Closed::from(&error),
            })
        })
        .await;
        entry.closed.set(closed);
        if matches!(closed, Closed::Malformed | Closed::TooLarge) {
            linger(connection.into_parts().io.into_inner().stream.into_stream()).await;
        } else if cut {
            connection.into_parts().io.into_inner().stream.into_stream().farewell();
        }
    }

    fn enter(&self) -> (usize, Rc<Seen>) {
        let now = self.now.get();
        self.born.set(self.born.get() + 1);
        // From nine to eleven tenths.
        let part = self.jitter.hash_one(self.born.get()) % 201 + 900;
        let seen = Rc::new(Seen::new(now, now + self.max_age * part / 1000, self.requests));
        let mut slots = self.slots.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(None);
            slots.len() - 1
        });
        slots[slot] = Some(seen.clone());
        self.open.set(self.open.get() + 1);
        self.counts.accepted();
        (slot, seen)
    }

    fn leave(&self, slot: usize, closed: Closed) {
        self.slots.borrow_mut()[slot] = None;
        self.free.borrow_mut().push(slot);
        self.open.set(self.open.get() - 1);
        self.counts.closed(closed);
        self.ended.notify_waiters();
    }

    /// Moves the clock on, ends connections past their deadline, and hands the counts to the metrics. Ten times a second.
    pub fn tick(&self, since_start: Duration) {
        let now = since_start.as_millis() as u64;
        self.now.set(now);
        self.counts.flush(self.open.get());
        let slots = self.slots.borrow();
        let look = slots.len().min((slots.len() / 8).max(SLOTS_A_TICK));
        for _ in 0..look {
            let at = self.cursor.get() % slots.len();
            self.cursor.set(at + 1);
            let Some(seen) = &slots[at] else { continue };
            let waited = now.saturating_sub(seen.since.get());
            match seen.phase.get() {
                Phase::New if self.draining.get() && waited > FIRST_BYTE => seen.end(Closed::Drained),
                Phase::New | Phase::Head if waited > self.header_timeout => seen.end(Closed::HeaderTimeout),
                Phase::Idle if waited > self.idle_timeout => seen.end(Closed::Idle),
                _ => {}
            }
            seen.age(now, self.idle_timeout);
        }
    }

    /// Every connection ends after the request it is at; one that sends nothing ends once it had a second for its first byte.
    pub fn drain(&self) {
        self.draining.set(true);
        for seen in self.slots.borrow().iter().flatten() {
            match seen.phase.get() {
                Phase::New if self.now.get().saturating_sub(seen.since.get()) > FIRST_BYTE => seen.end(Closed::Drained),
                _ if seen.h2.get() => seen.last_stream(Closed::Drained, self.now.get() + GOAWAY_GRACE),
                _ => seen.wake(),
            }
        }
    }

    /// Resolves once the last connection has ended. Bound it with a deadline.
    pub async fn drained(&self) {
        while self.open.get() > 0 {
            self.ended.notified().await;
        }
        self.counts.flush(0);
    }
}

/// How long, and for how many bytes, a refused client is still listened to.
const LINGER: (Duration, usize) = (Duration::from_millis(500), 256 << 10);

/// Lets a client read the answer to what it is still sending: a socket closed with unread bytes resets, and the reset
/// overtakes the answer. The connection keeps its slot meanwhile.
async fn linger(mut stream: Stream) {
    let rest = async {
        let mut sink = [0; 4096];
        let mut left = LINGER.1;
        stream.shutdown().await?;
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    };
    // Whatever ends it, the client had its chance.
    let _ = tokio::time::timeout(LINGER.0, rest).await;
}

/// Leaves its slot however the connection's task ends.
struct Entry {
    connections: Rc<Connections>,
    slot: usize,
    /// Its seat among those of its address.
    seat: Option<Origin>,
    closed: Cell<Closed>,
}

impl Entry {
    /// Takes a seat of its address, once that is known.
    fn sit(&mut self, stream: &Stream, peer: Peer) -> Result<(), Closed> {
        let this_machine = matches!(stream, Stream::Unix(_)) && peer.address.is_loopback();
        if this_machine || (self.connections.exempt)(peer.address.to_canonical()) {
            return Ok(());
        }
        let origin = Origin::from(peer.address);
        if !self.connections.seats.take(origin) {
            return Err(Closed::PerAddress);
        }
        self.seat = Some(origin);
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(origin) = self.seat {
            self.connections.seats.leave(origin);
        }
        self.connections.leave(self.slot, self.closed.get());
    }
}

/// The socket, telling when the first byte of a head came.
struct Watched {
    stream: Begun,
    connections: Rc<Connections>,
    seen: Rc<Seen>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            match self.seen.phase.get() {
                // The deadline of a new connection runs from its accept.
                Phase::New => self.seen.phase.set(Phase::Head),
                Phase::Idle => self.seen.enter(Phase::Head, self.connections.now.get()),
                Phase::Head | Phase::Busy => {}
            }
        }
        read
    }
}

writes_to!(Watched, stream);

#[cfg(test)]
mod tests;
