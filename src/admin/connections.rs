//! The open connections of the admin listener. There is always room for a new one: at the bound another one is closed,
//! first those that have sent no request, so that silent clients starve no probe and no scraper.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Instant,
};

use tokio::task::AbortHandle;

/// Open connections at a time. A scraper needs one.
const MAX_CONNECTIONS: usize = 64;

/// The open connections.
#[derive(Default)]
pub(super) struct OpenConnections(RefCell<Vec<Rc<OpenConnection>>>);

/// One connection, from its accept to its end.
pub(super) struct OpenConnection {
    opened: Instant,
    last_request: Cell<Option<Instant>>,
    task: OnceCell<AbortHandle>,
}

/// Held by a connection's task; its drop gives the place back.
pub(super) struct ConnectionPlace {
    connections: Rc<OpenConnections>,
    connection: Rc<OpenConnection>,
}

impl OpenConnections {
    /// A place for a new connection. At the bound, closes the connection that has been silent for longest: one without
    /// a request before one with some.
    pub(super) fn take_place_closing_most_silent_if_full(self: &Rc<OpenConnections>) -> ConnectionPlace {
        let mut open = self.0.borrow_mut();
        if open.len() >= MAX_CONNECTIONS
            && let Some(at) = (0..open.len()).min_by_key(|at| (open[*at].last_request.get(), open[*at].opened))
        {
            let silent = open.swap_remove(at);
            tracing::debug!("the admin listener has {MAX_CONNECTIONS} connections; the most silent one is closed");
            if let Some(task) = silent.task.get() {
                task.abort();
            }
        }
        let connection =
            Rc::new(OpenConnection { opened: Instant::now(), last_request: Cell::new(None), task: OnceCell::new() });
        open.push(connection.clone());
        ConnectionPlace { connections: self.clone(), connection }
    }
}

impl ConnectionPlace {
    /// The connection, for its task's handle.
    pub(super) fn connection(&self) -> Rc<OpenConnection> {
        self.connection.clone()
    }

    /// The connection has sent a request.
    pub(super) fn note_request(&self) {
        self.connection.last_request.set(Some(Instant::now()));
    }
}

impl OpenConnection {
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
