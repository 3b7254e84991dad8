//! The configuration: one TOML file, the environment and flags. Every mistake is reported at once, with its key and where
//! it was written. A flag wins over `WAYPOST__SECTION__KEY`, that over the file, that over the default.
//!
//! Each module owns its section's type and rules; this one gathers them. What is read here is checked here: after start
//! nobody validates again.

mod leaves;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};

use crate::{
    admin, attribution, client, journal, kafka,
    links::{self, domains},
    net, shipper,
};
pub use leaves::{Mistake, Origin};

/// The whole configuration, checked.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[edge]`
    pub edge: Edge,
    /// `[tls]`
    pub tls: net::tls::Config,
    /// `[admin]`
    pub admin: admin::Config,
    /// `[journal]`
    pub journal: journal::Config,
    /// `[links]`
    pub links: links::Config,
    /// `[domains."host"]`
    pub domains: domains::Config,
    /// `[shipper]`
    pub shipper: shipper::Config,
    /// `[attribution]`
    pub attribution: attribution::Config,
    /// `[kafka]`
    pub kafka: kafka::Config,
}

/// The sections, in the order in which they are told to whoever wrote another.
const SECTIONS: &[&str] =
    &["server", "edge", "admin", "tls", "journal", "links", "domains", "shipper", "attribution", "kafka"];

/// `[server]`: the process.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where rings, segments, keys and files of clicks lie.
    pub data_dir: PathBuf,
    /// How long open connections may take to finish once none are accepted. `shipper.drain` begins after it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub drain_deadline: Duration,
    /// From the stop signal to the last accepted connection: not ready but serving, until load balancers have noticed.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub pre_stop_delay: Duration,
    /// How log lines look.
    pub log: Log,
    /// Which log lines there are: a level, or `tracing` directives such as `info,waypost::shipper=debug`.
    pub log_level: String,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            data_dir: PathBuf::from("waypost-data"),
            drain_deadline: Duration::from_secs(10),
            pre_stop_delay: Duration::ZERO,
            log: Log::Auto,
            log_level: "info".to_owned(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Server {
    fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.drain_deadline < Duration::from_secs(1) || self.drain_deadline > Duration::from_secs(3600) {
            found.push(("drain_deadline".into(), format!("{:?}; allowed: 1s to 1h", self.drain_deadline)));
        }
        if self.pre_stop_delay > Duration::from_secs(600) {
            found.push(("pre_stop_delay".into(), format!("{:?}; allowed: 0s to 10m", self.pre_stop_delay)));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_level) {
            found.push((
                "log_level".into(),
                format!("`{}`: {error}; such as info or info,waypost=debug", self.log_level),
            ));
        }
        found
    }
}

/// `[edge]`: the public side.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// This edge's name in every click, 1 to 63 of `[a-z0-9-]`. Made once and kept in the data directory if it is not
    /// given. Two edges must never share one: the proof that no click is missing counts per edge.
    pub id: Option<String>,
    /// Addresses to serve on; each worker listens on all of them.
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<net::listen::Listen>,
    /// Threads that serve, each with a lane of its own; by default one for each core this process may use.
    pub workers: Option<usize>,
    /// Networks of proxies whose word about a client's address is taken, such as `10.0.0.0/8`.
    pub trusted_proxies: net::peer::Networks,
    /// The header in which they write it: `x-forwarded-for` or `forwarded`.
    pub address_header: client::AddressHeader,
    /// What a client may send and for how long.
    pub limits: net::Limits,
}

impl Default for Edge {
    fn default() -> Edge {
        Edge {
            id: None,
            listen: vec![net::listen::Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080))).into()],
            workers: None,
            trusted_proxies: net::peer::Networks::default(),
            address_header: client::AddressHeader::default(),
            limits: net::Limits::default(),
        }
    }
}

/// The most workers: a lane's number is 16 bits, and recovery adopts lanes of earlier starts beside them.
const MAX_WORKERS: usize = 512;

impl Edge {
    /// How many workers serve.
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(cores).clamp(1, MAX_WORKERS)
    }

    fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(id) = &self.id
            && !is_edge_id(id)
        {
            found.push(("id".into(), format!("`{id}` is not an edge's name: 1 to 63 of a-z, 0-9 and -")));
        }
        if self.listen.is_empty() {
            found.push(("listen".into(), "no address to serve on".into()));
        }
        if let Some(workers) = self.workers
            && !(1..=MAX_WORKERS).contains(&workers)
        {
            found.push(("workers".into(), format!("{workers}; allowed: 1 to {MAX_WORKERS}")));
        }
        found.extend(self.limits.mistakes().into_iter().map(|(key, what)| (format!("limits.{key}"), what)));
        found
    }
}

/// Whether a text may name an edge: it goes into every click and into file names.
pub fn is_edge_id(id: &str) -> bool {
    (1..=63).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{mistake}")?;
        }
        write!(f, "{} mistake{} in the configuration", self.0.len(), if self.0.len() == 1 { "" } else { "s" })
    }
}

/// What flags of the command line say; they win over everything else.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<(&'static str, &'static [&'static str], String)>);

impl Flags {
    /// Adds a flag with the key it sets, if it was given.
    pub fn set(&mut self, flag: &'static str, key: &'static [&'static str], value: Option<String>) {
        self.0.extend(value.map(|value| (flag, key, value)));
    }
}

/// Reads file, environment and flags.
pub fn gather(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Flags,
) -> Result<Config, Mistakes> {
    checked(sections(leaves(file, environment, flags)))
}

/// The same for `serve` and `check`, which need links beyond what every command does.
pub fn gather_to_serve(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Flags,
) -> Result<Config, Mistakes> {
    let (config, mut mistakes) = sections(leaves(file, environment, flags));
    // A links section that was refused may have named the file.
    if config.links.file.is_none() && !mistakes.iter().any(|mistake| mistake.key.starts_with("links")) {
        mistakes.push(Mistake {
            origin: Origin::Default,
            key: "links.file".to_owned(),
            what: "no links to serve: give --links FILE, or set it".to_owned(),
        });
    }
    checked((config, mistakes))
}

fn checked((config, mistakes): (Config, Vec<Mistake>)) -> Result<Config, Mistakes> {
    if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
}

fn leaves(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>, flags: Flags) -> leaves::Leaves {
    let mut leaves = leaves::Leaves::default();
    if let Some(file) = file {
        leaves.read_file(file);
    }
    leaves.read_environment(environment);
    for (flag, key, value) in flags.0 {
        leaves.flag(flag, key, toml::Value::String(value));
    }
    leaves
}

/// Reads every section from its leaves, and gathers all mistakes.
fn sections(mut leaves: leaves::Leaves) -> (Config, Vec<Mistake>) {
    let config = Config {
        server: leaves.section("server", Server::mistakes),
        edge: leaves.section("edge", Edge::mistakes),
        tls: leaves.section("tls", net::tls::Config::mistakes),
        admin: leaves.section("admin", admin::Config::mistakes),
        journal: leaves.section("journal", journal::Config::mistakes),
        links: leaves.section("links", links::Config::mistakes),
        domains: leaves.section("domains", domains::Config::mistakes),
        shipper: leaves.section("shipper", shipper::Config::mistakes),
        attribution: leaves.section("attribution", attribution::Config::mistakes),
        kafka: leaves.section("kafka", kafka::Config::mistakes),
    };
    leaves.refuse_unknown_sections(SECTIONS);
    let mut mistakes = leaves.into_mistakes();
    // A tls section that was refused may have named them.
    let unread = mistakes.iter().any(|mistake| mistake.key.starts_with("tls"));
    if config.edge.listen.iter().any(|listen| listen.tls) && config.tls.is_empty() && !unread {
        mistakes.push(Mistake {
            origin: Origin::Default,
            key: "tls.certificates".to_owned(),
            what: "none, and a listener of edge.listen has tls = true; set it, or tls.directory".to_owned(),
        });
    }
    let upgrades = config.edge.listen.iter().any(|listen| listen.upgrade);
    if upgrades && !config.edge.listen.iter().any(|listen| listen.tls) {
        mistakes.push(Mistake {
            origin: Origin::Default,
            key: "edge.listen".to_owned(),
            what: "upgrade = true, and no listener with tls = true to send clients to".to_owned(),
        });
    }
    (config, mistakes)
}

/// One listener or a list of them; addresses may also stand in one text with commas.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<net::listen::Listen>, D::Error> {
    use net::listen::Listen;

    struct Listeners;

    impl<'de> de::Visitor<'de> for Listeners {
        type Value = Vec<Listen>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address with a port such as \"127.0.0.1:8080\" or \"[::]:8080\", unix:PATH, systemd:NAME, a table with `address`, or a list of them")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Listen>, E> {
            text.split(',').map(|part| Listen::deserialize(de::value::StrDeserializer::new(part))).collect()
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Vec<Listen>, A::Error> {
            Ok(vec![Listen::deserialize(de::value::MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Listen>, A::Error> {
            let mut listeners = Vec::new();
            while let Some(listener) = list.next_element()? {
                listeners.push(listener);
            }
            Ok(listeners)
        }
    }

    deserializer.deserialize_any(Listeners)
}

#[cfg(test)]
mod tests;
