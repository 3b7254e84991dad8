//! The operator's listener: `/metrics`, `/livez` and `/readyz`, on a thread apart from the clicks.
//!
//! `/livez` answers 200 as long as the process runs. `/readyz` answers 503 and names every missing condition. Redirects
//! work without Kafka and with a failing disk, so neither is such a condition.
//!
//! - `config`: `[admin]`. `tls`: `[admin.tls]` and the handshakes. `server`: connections and answers.
//! - `recorder`: collects the metrics of the process and renders them.

mod config;
mod connections;
mod own_host;
mod recorder;
mod server;
mod tls;

pub use self::{
    config::Config,
    recorder::{MetricsRenderer, install_global_recorder_and_describe_metrics},
    server::serve_admin_until_stop,
    tls::{TlsConfig, TlsConfigReceiver},
};
