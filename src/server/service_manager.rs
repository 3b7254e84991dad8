//! Notifies the service manager (`sd_notify(3)`, systemd's `Type=notify`): the process is ready, reloads, stops, is
//! alive. The notifications are datagrams to `NOTIFY_SOCKET`; without that variable nothing is sent.

use std::{
    cell::Cell,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if one listens.
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The manager expects notifications that the process is alive (`WatchdogSec=`).
    has_watchdog: bool,
    /// Whether the manager knows that the process was ready. Before that, the end of a reload must not tell it so.
    has_notified_ready: Cell<bool>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. The socket is a path, or an abstract name after `@`.
    pub(super) fn from_env() -> ServiceManager {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = variable("NOTIFY_SOCKET").and_then(|name| match name.strip_prefix('@') {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket)).ok();
        let is_for_us = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let has_watchdog = is_for_us && variable("WATCHDOG_USEC").is_some();
        ServiceManager { socket: socket.zip(address), has_watchdog, has_notified_ready: Cell::new(false) }
    }

    /// Every part runs.
    pub(super) fn notify_ready(&self) {
        self.has_notified_ready.set(true);
        self.send_state_if_managed("READY=1");
    }

    /// The reload is finished.
    pub(super) fn notify_reloaded_if_ready_before(&self) {
        if self.has_notified_ready.get() {
            self.send_state_if_managed("READY=1");
        }
    }

    /// A reload that was asked for begins.
    pub(super) fn notify_reloading_if_ready_before(&self) {
        if !self.has_notified_ready.get() {
            return;
        }
        let now = clock_gettime(ClockId::Monotonic);
        self.send_state_if_managed(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            now.tv_sec * 1_000_000 + now.tv_nsec / 1000
        ));
    }

    /// The drain begins; the watchdog's time no longer runs.
    pub(super) fn notify_stopping(&self) {
        self.send_state_if_managed("STOPPING=1");
    }

    /// The process is alive, if the manager has a watchdog. Sent once a second, so `WatchdogSec=` must be some seconds.
    pub(super) fn send_watchdog_ping_if_watched(&self) {
        if self.has_watchdog {
            self.send_state_if_managed("WATCHDOG=1");
        }
    }

    fn send_state_if_managed(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            // No click waits for a manager that does not listen any more.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_before_the_first_readiness_tells_the_manager_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.sock");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let address = SocketAddr::from_pathname(&path).unwrap();
        let service = ServiceManager {
            socket: Some((socket, address)),
            has_watchdog: false,
            has_notified_ready: Cell::default(),
        };
        let told = || {
            let mut buffer = [0; 100];
            manager.recv(&mut buffer).ok().map(|len| String::from_utf8_lossy(&buffer[..len]).into_owned())
        };
        service.notify_reloading_if_ready_before();
        service.notify_reloaded_if_ready_before();
        assert_eq!(told(), None);
        service.notify_ready();
        assert_eq!(told().as_deref(), Some("READY=1"));
        service.notify_reloading_if_ready_before();
        assert!(told().unwrap().starts_with("RELOADING=1"));
        service.notify_reloaded_if_ready_before();
        assert_eq!(told().as_deref(), Some("READY=1"));
    }
}
