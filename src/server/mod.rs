//! The run-book of `waypost serve`:
//!
//! 1. **bind**: every listener, so that a port in use is found before anything is changed;
//! 2. **load**: lock the data directory; certificates, the edge's name, keys and links (`start`);
//! 3. **recover**: the lanes of earlier starts, whose next epochs begin (`journals`). A run that ends before this step
//!    changes nothing in the journal;
//! 4. **start**: the threads; the process is ready once every condition of `/readyz` holds;
//! 5. **serve**: until SIGTERM or SIGINT; SIGHUP reloads links, keys, certificates and challenges (`reload`);
//! 6. **drain**: not ready, wait for load balancers, finish connections, deliver what the lanes hold (`drain`).
//!
//! Threads: the main one (admin listener, signals, service manager), `wp-worker-N`, for each topic `wp-send-TOPIC`,
//! `wp-spill-TOPIC` and `wp-observer`, `wp-kafka-watch`, `wp-reload`, `wp-catalog`, and `wp-log`, which alone writes to
//! the standard error stream. The main thread reads no file while the process serves. A second stop signal exits at
//! once, at any step and whatever hangs: the journal is made for that.

mod drain;
mod edge_id;
mod huge_pages;
mod journals;
mod links_topic;
mod readiness_log;
mod reload;
mod serve;
mod service_manager;
mod signals;
mod start;
mod start_line;
mod started;
mod threads;
mod worker;

pub use edge_id::read_edge_id;
pub use huge_pages::disable_huge_pages;
pub use journals::{TopicJournal, open_existing_journals_to_drain};
pub use serve::run_until_stopped;
pub use start::log_lane_recovery_unless_clean;
pub use started::{StartedServer, StartupObserver};
