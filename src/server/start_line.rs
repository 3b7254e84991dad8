//! The log line of a start: the version, and the effective settings that decide what the process does.

use std::path::Path;

use crate::{
    config::Config, journal::OnFull, model::click::Topic, net::listen::ListenAddress, server::started::StartedServer,
};

/// The commit that the program was built from, where the build knew it.
const COMMIT: Option<&str> = option_env!("WAYPOST_COMMIT");

/// Logs version and settings, once, as soon as all of them are known.
pub(super) fn log_start_line(server: &StartedServer<'_>, edge_id: &str, links: u64) {
    let config = server.config;
    for value in &config.origin.overridden {
        tracing::info!("{value}");
    }
    let listen: Vec<String> = server.listen.iter().map(ListenAddress::to_string).collect();
    let journal = &config.journal;
    let ring_dir = journal.ring_dir.as_deref().unwrap_or(&config.server.data_dir);
    let links_file = config.links.file.as_deref().unwrap_or(Path::new(""));
    let (sink, topics) = describe_sink_and_list_topics(config);
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        commit = COMMIT.unwrap_or("unknown"),
        edge = edge_id,
        listen = listen.join(","),
        admin = %server.admin,
        data_dir = %config.server.data_dir.display(),
        workers = config.edge.workers(),
        ring_bytes = journal.ring_bytes.0,
        ring_dir = %ring_dir.display(),
        on_full = match journal.on_full {
            OnFull::Unrecorded => "unrecorded",
            OnFull::Refuse => "refuse",
        },
        links_file = %links_file.display(),
        links,
        sink,
        topics = topics.join(","),
        "waypost {} started",
        env!("CARGO_PKG_VERSION"),
    );
}

/// Where clicks are delivered, and the names of their topics.
fn describe_sink_and_list_topics(config: &Config) -> (String, Vec<&str>) {
    match &config.kafka.brokers {
        Some(brokers) => (format!("kafka {brokers}"), config.kafka.list_written_topics()),
        None => {
            let directory = config.server.data_dir.join("clicks");
            (format!("files {}", directory.display()), Topic::ALL.map(Topic::name).to_vec())
        }
    }
}
