//! Steps 2 and 3 of the run-book: loads what the threads of the process need, then opens the journal. Runs on a thread
//! of its own, while the main thread answers `/livez`, `/readyz` and signals.
//!
//! An open journal is a new epoch in each lane, which only a stop in good order closes. Therefore the journal is opened
//! last: a start that fails, for whatever reason, leaves it as it was.

use std::sync::Arc;

use anyhow::Result;
use arc_swap::ArcSwap;

use crate::{
    attribution::keyring::Keyring,
    catalog::{Catalog, LinkSource, OpenedCatalog, offline::add_domains_of_catalog},
    config::Config,
    edge::{https_redirect::HttpsRedirect, snapshot::Edge},
    faults::{self, log_fault},
    file_watch::FileVersion,
    geoip::Databases,
    journal::{DirectoryLocks, LaneCondition, RecoveryReport},
    links::{
        Table, destination::policy::DestinationPolicy, domains::Domains, file::Progress, suspensions::Suspensions,
    },
    metrics::{self, EDGE_INFO},
    model::click::Topic,
    net::tls::{self, ServedCertificates, TlsServer},
    server::{
        edge_id::load_edge_id_or_save_configured_or_random,
        journals::{TopicJournal, open_journals},
        reload::{
            LoadedSource, Reloader,
            certificates::CertificateReloader,
            challenges::ChallengeReloader,
            config_file::ConfigFileCheck,
            geoip::GeoipReloader,
            keyring::KeyringReloader,
            links::{FirstLoad, LinkReloader},
        },
    },
    sinks::{
        files::FileSink,
        kafka::{KafkaSink, USUAL_COMMIT_DELAY},
    },
};

/// What was loaded before the journal is opened, with the data directory locked.
pub(super) struct LoadedServer {
    locks: DirectoryLocks,
    edge_id: String,
    edge: Arc<ArcSwap<Edge>>,
    geoip: Arc<ArcSwap<Databases>>,
    reloader: Reloader,
    tls: Option<TlsServer>,
    links: u64,
    catalog: Catalog,
    source: LinkSource,
}

/// What the threads of a serving process are started with.
pub(super) struct PreparedServer {
    /// This edge's name.
    pub(super) edge_id: String,
    /// The journal of each topic.
    pub(super) journals: [TopicJournal; Topic::ALL.len()],
    /// What requests are answered from; a reload replaces it.
    pub(super) edge: Arc<ArcSwap<Edge>>,
    /// What the delivery labels addresses by; a reload replaces it.
    pub(super) geoip: Arc<ArcSwap<Databases>>,
    /// The files that are read again while the process serves.
    pub(super) reloader: Reloader,
    /// For the listeners with TLS.
    pub(super) tls: Option<TlsServer>,
    /// The number of links.
    pub(super) links: u64,
    /// Where the links come from.
    pub(super) source: LinkSource,
}

/// Step 2: locks the data directory, then loads the edge's name, keys, certificates, MMDB files and links. Opens no
/// journal. `on_progress` is called while the links load, from several threads.
///
/// # Errors
/// Anything that cannot be loaded; the journal is then as the last run left it.
pub(super) fn lock_data_dir_and_load_files(
    config: &Config,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<LoadedServer> {
    let certificates = CertificateReloader::load_for_edge_if_any_listener_uses_tls(config)?;
    let served_certificates = certificates.as_ref().map(|loaded| loaded.source.served());
    let tls = served_certificates.clone().map(TlsServer::new).transpose()?;
    let data_dir = &config.server.data_dir;
    // Before the first file is created, so that two processes cannot both start.
    let locks = DirectoryLocks::lock(data_dir, config.journal.ring_dir.as_deref())?;
    let edge_id = load_edge_id_or_save_configured_or_random(data_dir, config.edge.id.as_deref())?;
    metrics::gauge(&EDGE_INFO, &[&edge_id]).set(1.0);
    check_sink_can_be_opened(config, &edge_id)?;
    let keyring = KeyringReloader::load_or_create_if_no_file_configured(&config.attribution, data_dir)?;
    let geoip = GeoipReloader::load_all(&config.geoip)?;
    let domains = load_domains(config)?;
    let source = LinkSource::of_config(&config.links);
    let LoadedLinks { catalog, table, suspensions, file } = load_links(config, domains.clone(), on_progress)?;
    let link_count = table.len() as u64;
    let edge = build_edge(config, table, keyring.source.ring(), domains, served_certificates);
    let edge = edge.with_suspensions(suspensions).with_geoip(geoip.published.load_full());

    let mut reloader = Reloader::default();
    if let Some(loaded) = file {
        reloader.add(loaded);
    }
    reloader.add(keyring);
    if let Some(loaded) = certificates {
        reloader.add(loaded);
    }
    geoip.files.into_iter().for_each(|file| reloader.add(file));
    if let Some(directory) = config.tls.acme_challenges.clone() {
        reloader.add(ChallengeReloader::new_unread(directory));
    }
    if let Some(file) = config.origin.file.clone() {
        reloader.check_config_file(ConfigFileCheck::new(file));
    }
    let edge = Arc::new(ArcSwap::from_pointee(edge));
    let served = edge.clone();
    catalog.handle().publish_suspensions_to(move |suspensions| {
        served.rcu(|edge| edge.with_suspensions(suspensions.clone()));
    });
    let served = edge.clone();
    catalog.handle().publish_domains_to(Arc::new(config.domains.clone()), move |domains| {
        served.rcu(|edge| edge.with_domains(domains.clone()));
    });
    let geoip = geoip.published;
    Ok(LoadedServer { locks, edge_id, edge, geoip, reloader, tls, links: link_count, catalog, source })
}

/// The domains of the configuration, and those that the API made.
fn load_domains(config: &Config) -> Result<Arc<Domains>> {
    let merged = add_domains_of_catalog(&config.domains, &config.server.data_dir).unwrap_or_else(|error| {
        // A damaged catalog is set aside by the next step; links of a domain that is missing are told there.
        tracing::warn!(%error, "the domains that the API made cannot be read; those of the configuration are served");
        config.domains.clone()
    });
    Ok(Arc::new(Domains::new(&merged).map_err(anyhow::Error::msg)?))
}

/// The links, and what keeps them up to date.
struct LoadedLinks {
    catalog: Catalog,
    table: Arc<Table>,
    suspensions: Arc<Suspensions>,
    /// The links file, if links come from one.
    file: Option<LoadedSource<LinkReloader>>,
}

/// Opens the catalog and loads its links; then loads the links file, if there is one.
fn load_links(config: &Config, domains: Arc<Domains>, on_progress: &(dyn Fn(Progress) + Sync)) -> Result<LoadedLinks> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let policy = config.links.destination_policy();
    let opened = open_catalog_or_go_on_without_its_file(config, policy, domains.clone(), threads)?;
    log_what_catalog_lost(&opened);
    let last_good = opened.table.clone();
    let suspensions = opened.suspensions.clone();
    let Some(path) = config.links.file.clone() else {
        metrics::gauge(&metrics::LINKS, &[]).set(last_good.len() as f64);
        let catalog = opened.start(LinkSource::of_config(&config.links))?;
        return Ok(LoadedLinks { catalog, table: last_good, suspensions, file: None });
    };
    let held_version = FileVersion::read(&path).filter(|version| opened.holds_file_version(&path, version));
    let catalog = opened.start(LinkSource::File)?;
    let first = FirstLoad {
        path,
        config: &config.links,
        domains,
        last_good,
        held_version,
        catalog: catalog.handle(),
        progress: on_progress,
    };
    let file = LinkReloader::load_first_or_serve_last_good(first)?;
    Ok(LoadedLinks { catalog, table: file.source.table(), suspensions, file: Some(file) })
}

/// A disk that refuses the catalog's file keeps no links file, and no topic, from being served.
fn open_catalog_or_go_on_without_its_file(
    config: &Config,
    policy: DestinationPolicy,
    domains: Arc<Domains>,
    threads: usize,
) -> Result<OpenedCatalog> {
    let data_dir = &config.server.data_dir;
    if LinkSource::of_config(&config.links) == LinkSource::Store {
        return Ok(OpenedCatalog::open_or_create(data_dir, policy, domains, threads)?);
    }
    match OpenedCatalog::open_or_set_damaged_aside(data_dir, policy.clone(), domains.clone(), threads) {
        Err(error) if error.is_refusal_of_disk() => {
            metrics::counter(&metrics::CATALOG_WRITE_ERRORS, &[]).increment(1);
            log_fault!(
                error,
                faults::CATALOG_FAILING,
                "the catalog's file cannot be opened: {error}; the links file or topic is served, and nothing is kept \
                 of it"
            );
            Ok(OpenedCatalog::open_without_file(policy, domains)?)
        }
        opened => Ok(opened?),
    }
}

fn log_what_catalog_lost(opened: &OpenedCatalog) {
    if opened.is_read_by_writer_alone() {
        tracing::warn!("the disk has no space for the catalog's readers: the API reads no links until a restart");
    }
    if let Some(path) = &opened.set_aside {
        log_fault!(
            error,
            faults::CATALOG_SET_ASIDE,
            "the catalog was damaged, and lies in {} now; a new one fills itself. What only the catalog had is lost: \
             API keys, the audit, and with a links file reserved codes and suspensions, too",
            path.display()
        );
    }
    if let Some((format, copy)) = &opened.migrated {
        tracing::warn!(format, copy = %copy.display(), "the catalog had an older format; it was copied, then migrated");
    }
    for (name, errors) in &opened.refused {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        tracing::warn!("the link {}/{} is not served: {}", name.domain, name.code, errors.join("; "));
    }
    if opened.refused_total > 0 {
        log_fault!(
            error,
            faults::LINKS_NOT_SERVED,
            links = opened.refused_total,
            "links of the catalog break the rules of this configuration; they are kept, and not served"
        );
    }
}

/// Finds the mistakes for which a sink would refuse to open, as far as they show without the journal's notes.
fn check_sink_can_be_opened(config: &Config, edge_id: &str) -> Result<()> {
    if config.kafka.is_enabled() {
        Topic::ALL
            .into_iter()
            .try_for_each(|topic| KafkaSink::check_producer_can_be_built(topic, &config.kafka, edge_id))?;
        return Ok(());
    }
    let dir = config.server.data_dir.join("clicks");
    Topic::ALL.into_iter().try_for_each(|topic| FileSink::check_files_can_be_opened(topic, &dir))?;
    Ok(())
}

impl LoadedServer {
    /// Step 3: recovers the lanes of earlier starts and begins their next epochs. The process serves from here on, or
    /// has to close the journal.
    ///
    /// # Errors
    /// See [`crate::journal::OpenError`].
    pub(super) fn recover_and_open_journals(
        self,
        config: &Config,
        workers: usize,
    ) -> Result<(PreparedServer, Catalog)> {
        let LoadedServer { locks, edge_id, edge, geoip, reloader, tls, links, catalog, source } = self;
        let journal_config = match config.kafka.is_enabled() && config.kafka.exactly_once() {
            true => config.journal.for_acknowledgements_after(USUAL_COMMIT_DELAY),
            false => config.journal.clone(),
        };
        let journals = open_journals(&config.server.data_dir, &journal_config, workers, &locks)?;
        journals.iter().flat_map(|journal| &journal.reports).for_each(log_lane_recovery_unless_clean);
        Ok((PreparedServer { edge_id, journals, edge, geoip, reloader, tls, links, source }, catalog))
    }
}

fn build_edge(
    config: &Config,
    table: Arc<Table>,
    keyring: Arc<Keyring>,
    domains: Arc<Domains>,
    served_certificates: Option<Arc<ServedCertificates>>,
) -> Edge {
    let trusted = config.edge.to_trusted_proxies();
    let https_redirect = served_certificates.map(|served| HttpsRedirect::new(served, config.tls.https_port));
    let default_hsts = config.tls.hsts.as_deref().and_then(tls::parse_hsts);
    Edge::new(table, keyring, domains, Arc::new(trusted)).with_tls(default_hsts, https_redirect)
}

/// Logs the state in which a lane was found, unless it was empty and sound. `journal drain` calls it too.
pub fn log_lane_recovery_unless_clean(lane: &RecoveryReport) {
    let RecoveryReport { log: topic, lane: number, recovered: clicks, quarantined, .. } = *lane;
    if lane.condition == LaneCondition::Cut {
        log_fault!(
            warn,
            faults::LANE_CUT,
            topic,
            lane = number,
            clicks,
            "the machine went down, or the ring is gone: clicks not synced are missing; the others are delivered"
        );
    } else if clicks > 0 {
        tracing::info!(topic, lane = number, clicks, bytes = lane.backlog_bytes, "recovered; will be delivered");
    }
    if quarantined > 0 || lane.damaged > 0 || lane.quarantined_files > 0 {
        log_fault!(
            error,
            faults::JOURNAL_DAMAGED,
            topic,
            lane = number,
            quarantined,
            damaged_places = lane.damaged,
            files_put_aside = lane.quarantined_files,
            "damage in the journal; the damaged bytes are kept in journal/quarantine"
        );
    }
}
