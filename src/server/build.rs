//! Steps 2 and 3 of the run-book: what lies in the data directory, and what the workers read. Runs beside the main thread,
//! which answers `/livez`, `/readyz` and signals meanwhile.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;

use crate::{
    client::Trusted,
    config::Config,
    edge::{Edge, secure::Secure},
    faults::{self, say},
    journal::{Journal, LaneReport, Opening, Parts},
    links::{domains::Domains, feeder::Feeder, file::Progress},
    metrics::{self, EDGE_INFO},
    net::tls::{self, Tls},
    server::{certificates::Keeper, identity, keys::Keys},
};

/// Everything the threads are given.
pub(super) struct Built {
    /// This edge's name.
    pub(super) edge_id: String,
    /// The lanes' ends.
    pub(super) journal: Parts,
    /// What every request is answered from; replaced at a reload.
    pub(super) edge: Arc<ArcSwap<Edge>>,
    /// Keeps the links up to their file.
    pub(super) feeder: Feeder,
    /// For the listeners that speak it.
    pub(super) tls: Option<Tls>,
}

/// Locks and recovers the data directory, then loads keys and links. `loading` is told how the links' load stands.
pub(super) fn build(
    config: &Config,
    workers: usize,
    loading: &(dyn Fn(Progress) + Sync),
) -> Result<(Built, Keys, Option<Keeper>)> {
    let keeper = Keeper::open(config)?;
    let ready = keeper.as_ref().map(|keeper| Tls::new(keeper.served())).transpose()?;
    let data_dir = &config.server.data_dir;
    let journal = Journal::open(data_dir, &config.journal, workers)?;
    journal.recovered().iter().for_each(tell_recovered);
    let edge_id = identity::edge_id(data_dir, config.edge.id.as_deref())?;
    metrics::gauge(&EDGE_INFO, &[&edge_id]).set(1.0);
    let (keys, ring) = Keys::open(&config.attribution, data_dir)?;

    let domains = Domains::new(&config.domains).map_err(anyhow::Error::msg)?;
    let domains = Arc::new(domains);
    let file = config.links.file.clone().context("no links: give --links FILE, or set links.file")?;
    let feeder = Feeder::open(file, &config.links, domains.clone(), loading)?;
    let trusted = Trusted { proxies: config.edge.trusted_proxies.clone(), header: config.edge.address_header };
    let edge = Edge::new(feeder.table(), ring, domains, Arc::new(trusted));
    let secure = Secure {
        hsts: config.tls.hsts.as_deref().and_then(tls::hsts),
        served: keeper.as_ref().map(Keeper::served),
        port: config.tls.port,
    };
    let edge = edge.with_secure(secure);
    let edge = Arc::new(ArcSwap::from_pointee(edge));
    Ok((Built { edge_id, journal: journal.into_parts(), edge, feeder, tls: ready }, keys, keeper))
}

/// Says how a lane was found, unless there is nothing to say. For `journal drain` too.
pub fn tell_recovered(lane: &LaneReport) {
    let (clicks, quarantined): (u64, u64) = (lane.recovered.iter().sum(), lane.quarantined.iter().sum());
    let number = lane.lane;
    if lane.opening == Opening::Cut {
        say!(
            warn,
            faults::LANE_CUT,
            lane = number,
            clicks,
            "the machine went down, or the ring is gone: clicks not synced then are missing; what is left will be delivered"
        );
    } else if clicks > 0 {
        tracing::info!(lane = number, clicks, bytes = lane.backlog_bytes, "recovered; will be delivered");
    }
    if quarantined > 0 || lane.damaged > 0 || lane.put_aside > 0 {
        say!(
            error,
            faults::JOURNAL_DAMAGED,
            lane = number,
            quarantined,
            damaged_places = lane.damaged,
            files_put_aside = lane.put_aside,
            "damage in the journal; the evidence is kept in journal/quarantine"
        );
    }
}
