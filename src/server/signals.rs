//! The signals that the process obeys, and those that it ignores because they would end it without a drain. They are
//! registered before anything else starts, so that a SIGTERM while the links load ends the process in order.
//!
//! The second stop signal ends the process within its handler, which needs no thread of the process: whatever hangs,
//! the second signal works. The journal is made for such an end.

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::Result;
use signal_hook::{
    consts::{SIGINT, SIGQUIT, SIGTERM},
    flag,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The registered signals.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
}

/// What a signal asks the process to do.
pub(super) enum SignalRequest {
    /// Drain. With the signal's name.
    Stop(&'static str),
    /// Read links, keys, certificates and challenges again.
    Reload,
    /// Nothing. With the signal's name.
    Ignore(&'static str),
}

impl Signals {
    /// Registers the signals. The second SIGTERM, SIGINT or SIGQUIT ends the process with code 1.
    pub(super) fn register() -> Result<Signals> {
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGQUIT] {
            // The handlers of a signal run in this order, so the first signal only sets the flag.
            flag::register_conditional_shutdown(signal, 1, is_second.clone())?;
            flag::register(signal, is_second.clone())?;
        }
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next signal's request.
    pub(super) async fn wait_for_next_request(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalRequest::Stop("SIGINT"),
            _ = self.quit.recv() => SignalRequest::Stop("SIGQUIT"),
            _ = self.user_1.recv() => SignalRequest::Ignore("SIGUSR1"),
            _ = self.user_2.recv() => SignalRequest::Ignore("SIGUSR2"),
            _ = self.hangup.recv() => SignalRequest::Reload,
        }
    }

    /// Resolves with the name of the next stop signal. For the time before and after serving: a reload is ignored.
    pub(super) async fn wait_for_stop_and_return_signal_name(&mut self) -> &'static str {
        loop {
            if let SignalRequest::Stop(signal) = self.wait_for_next_request().await {
                return signal;
            }
        }
    }
}
