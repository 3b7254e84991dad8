//! The open connections of the admin listener. There is always room for a new one: at the bound another one is closed,
//! first those that have sent no request, so that silent clients starve no probe and no scraper.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Instant,
};

use tokio::task::AbortHandle;

/// Open connections at a time. A scraper needs one, and each request to the API another one: as many are answered at
/// once as there are places for them, and some more are told that there are none.
const MAX_CONNECTIONS: usize = 128;

/// The open connections.
#[derive(Default)]
pub(super) struct OpenConnections(RefCell<Vec<Rc<OpenConnection>>>);

/// One connection, from its accept to its end.
pub(super) struct OpenConnection {
    opened: Instant,
    last_request: Cell<Option<Instant>>,
    /// Whether a request is being answered.
    is_busy: Cell<bool>,
    task: OnceCell<AbortHandle>,
}

/// Held while a request is answered.
pub(super) struct RequestGuard(Rc<OpenConnection>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
    }
}

/// Held by a connection's task; its drop gives the place back.
pub(super) struct ConnectionPlace {
    connections: Rc<OpenConnections>,
    connection: Rc<OpenConnection>,
}

impl OpenConnections {
    /// A place for a new connection. At the bound, closes the connection that has been silent for longest: one without
    /// a request before one with some, and one whose request is being answered last.
    pub(super) fn take_place_closing_most_silent_if_full(self: &Rc<OpenConnections>) -> ConnectionPlace {
        let mut open = self.0.borrow_mut();
        if open.len() >= MAX_CONNECTIONS
            && let Some(at) = (0..open.len()).min_by_key(|at| open[*at].rank_of_silence())
        {
            let silent = open.swap_remove(at);
            tracing::debug!("the admin listener has {MAX_CONNECTIONS} connections; the most silent one is closed");
            if let Some(task) = silent.task.get() {
                task.abort();
            }
        }
        let connection = Rc::new(OpenConnection {
            opened: Instant::now(),
            last_request: Cell::new(None),
            is_busy: Cell::new(false),
            task: OnceCell::new(),
        });
        open.push(connection.clone());
        ConnectionPlace { connections: self.clone(), connection }
    }
}

impl ConnectionPlace {
    /// The connection, for its task's handle.
    pub(super) fn connection(&self) -> Rc<OpenConnection> {
        self.connection.clone()
    }

    /// The connection has sent a request, which is being answered until the guard is dropped.
    pub(super) fn begin_request(&self) -> RequestGuard {
        self.connection.last_request.set(Some(Instant::now()));
        self.connection.is_busy.set(true);
        RequestGuard(self.connection.clone())
    }
}

impl OpenConnection {
    /// The least one is closed first.
    fn rank_of_silence(&self) -> (bool, Option<Instant>, Instant) {
        (self.is_busy.get(), self.last_request.get(), self.opened)
    }

    /// The task that serves the connection; its abort closes it.
    pub(super) fn set_task(&self, task: AbortHandle) {
        // Set once, right after the task was spawned.
        let _ = self.task.set(task);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.connections.0.borrow_mut().retain(|open| !Rc::ptr_eq(open, &self.connection));
    }
}
