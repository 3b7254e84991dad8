//! What the service manager is told: that we are ready, reload, stop and are alive (`sd_notify(3)`, systemd's `Type=notify`). Plain
//! datagrams to `NOTIFY_SOCKET`; nothing happens where nobody asked for them.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixDatagram},
};

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if it listens.
pub(super) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// It wants a sign of life (`WatchdogSec=`).
    watchdog: bool,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. The socket may be a path or, behind `@`, an abstract name.
    pub(super) fn from_env() -> Notify {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = variable("NOTIFY_SOCKET").and_then(|name| match name.strip_prefix('@') {
            Some(hidden) => SocketAddr::from_abstract_name(hidden).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket)).ok();
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        Notify { socket: socket.zip(address), watchdog: ours && variable("WATCHDOG_USEC").is_some() }
    }

    /// Everything runs; after [`Notify::reloading`], again.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Links and keys are read again.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The drain has begun; the watchdog's time no longer runs.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// A sign of life. Called once a second, so `WatchdogSec=` wants some seconds.
    pub(super) fn alive(&self) {
        if self.watchdog {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            // A manager that does not listen any more is nothing that the clicks should wait for.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}
