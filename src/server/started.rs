//! What the starter of a server learns while it starts.

use std::net::SocketAddr;

use crate::{config::Config, links::file::Progress, net::listen::ListenAddress};

/// A server that is ready.
#[derive(Debug)]
pub struct StartedServer<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The public addresses.
    pub listen: &'a [ListenAddress],
    /// The admin address.
    pub admin: SocketAddr,
}

/// Observes the start of a server.
pub trait StartupObserver: Send + Sync + 'static {
    /// Called once, before anything else: from now on a metric can be exported.
    fn on_metrics_recorder_installed(&self);
    /// Called while the links load, from several threads.
    fn on_links_progress(&self, progress: Progress);
    /// Called once, when the server is ready.
    fn on_ready(&self, server: &StartedServer<'_>);
}
