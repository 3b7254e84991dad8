//! What stands between Waypost and a broker and makes the network's faults: answers that are lost on their way back, a
//! link on which nothing moves, connections that are reset.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use socket2::SockRef;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// The client's bytes reach the broker, and the broker's answers are lost.
    SwallowAnswers,
    /// No byte moves in either direction; connections stay open, and new ones are accepted.
    Stall,
    /// Every connection is reset, and each new one at once.
    Reset,
}

/// A proxy on a loopback port of its own; ends with all its connections when dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    /// The broker's port.
    target: u16,
    connections: Vec<Arc<Connection>>,
    ended: bool,
}

struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// Answers are missing on it: it can never pass bytes again.
    torn: AtomicBool,
}

impl Proxy {
    /// Listens on a free port, without a broker behind it yet.
    pub(crate) fn new() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { mode: Mode::Reset, target: 0, connections: Vec::new(), ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        let accepts = std::thread::spawn(move || accepting.accept_connections(&listener));
        Proxy { port, shared, accepts: Some(accepts) }
    }

    /// Where clients find it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What Waypost is given with `--kafka`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Forwards bytes to a port of this machine from now on.
    pub(crate) fn forward_to(&self, target: u16) {
        self.shared.state().target = target;
        self.set_mode(Mode::Pass);
    }

    /// Changes the mode from the next byte on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        let mut state = self.shared.state();
        state.mode = mode;
        let reset = |connection: &Arc<Connection>| mode == Mode::Reset || mode == Mode::Pass && connection.is_torn();
        state.connections.retain(|connection| {
            let reset = reset(connection);
            if reset {
                connection.reset();
            }
            !reset
        });
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.set_mode(Mode::Reset);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.accepts.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_connections(self: &Arc<Shared>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            let (ended, mode, target) = {
                let state = self.state();
                (state.ended, state.mode, state.target)
            };
            if ended {
                return;
            }
            let broker = if mode == Mode::Reset { None } else { TcpStream::connect(("127.0.0.1", target)).ok() };
            let Some(broker) = broker else {
                // As on a port without a listener.
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                continue;
            };
            let connection = Arc::new(Connection { client, broker, torn: AtomicBool::new(false) });
            connection.set_socket_options();
            self.state().connections.push(connection.clone());
            for answers in [false, true] {
                let (shared, connection) = (self.clone(), connection.clone());
                std::thread::spawn(move || {
                    let _ = shared.copy_bytes(&connection, answers);
                    connection.reset();
                    shared.state().connections.retain(|other| !Arc::ptr_eq(other, &connection));
                });
            }
        }
    }

    /// Moves bytes in one direction until the connection ends.
    fn copy_bytes(&self, connection: &Connection, answers: bool) -> std::io::Result<()> {
        let (mut from, mut to) = (&connection.client, &connection.broker);
        if answers {
            (from, to) = (to, from);
        }
        let mut bytes = [0; 16 << 10];
        loop {
            let read = from.read(&mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            let mut state = self.state();
            while state.mode == Mode::Stall {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if answers && (state.mode == Mode::SwallowAnswers || connection.is_torn()) {
                connection.torn.store(true, Ordering::Relaxed);
                continue;
            }
            drop(state);
            to.write_all(&bytes[..read])?;
        }
    }
}

impl Connection {
    fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed)
    }

    fn set_socket_options(&self) {
        for stream in [&self.client, &self.broker] {
            let _ = stream.set_nodelay(true);
            // A side that reads no more must not hold a thread for ever.
            let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
            // Closing the stream resets the connection.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Wakes the threads that read, which then close the connection with a reset; a shutdown of the writing side would
    /// end the connection in order instead.
    fn reset(&self) {
        let _ = self.client.shutdown(Shutdown::Read);
        let _ = self.broker.shutdown(Shutdown::Read);
    }
}
