//! Signals, taken over before anything else starts: a SIGTERM while links load ends the process in order.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals this process answers to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(super) enum Asked {
    /// To drain; a second time, to exit now.
    Stop(&'static str),
    /// To read links and keys again.
    Reload,
}

impl Signals {
    pub(super) fn new() -> Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next signal.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Resolves with the next stop signal, where a reload is of no use: before and after serving.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}
