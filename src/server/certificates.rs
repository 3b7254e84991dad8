//! The certificates while serving: read again when a file of them changes, and at SIGHUP. A bad new pair keeps the old one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::{
    admin::tls::Offered,
    clock,
    config::Config,
    faults::{self, say},
    metrics::{self, TLS_CERT_NOT_AFTER, TLS_RELOADS},
    net::tls::{
        self,
        certificates::{self, Certificates, Served},
        clients::{self, Authorities},
    },
    watch::Version,
};

/// Which version every file of every pair is at; a file that is not there has none.
type Versions = BTreeMap<PathBuf, Option<Version>>;

/// Whoever keeps the served certificates of one section up to their files.
pub(super) struct Keeper {
    /// `tls` or `admin.tls`, for messages.
    section: &'static str,
    /// `edge` or `admin`, for metrics.
    listener: &'static str,
    config: tls::Config,
    /// Of the admin listener: where the authorities lie to which its clients' certificates must lead, if they must.
    client_ca: Option<PathBuf>,
    served: Arc<Served>,
    /// Of the admin listener: what it speaks TLS with.
    offered: Option<watch::Sender<Arc<ServerConfig>>>,
    /// What was read last, whether it was good or not.
    taken: Versions,
    /// What the last look saw, if that was something else.
    settling: Option<Versions>,
    taken_total: ::metrics::Counter,
    refused_total: ::metrics::Counter,
}

impl Keeper {
    /// Reads every pair of `[tls]`, if a listener speaks TLS. All bad ones are told at once.
    pub(super) fn open(config: &Config) -> Result<Option<Keeper>> {
        if !config.edge.listen.iter().any(|listen| listen.tls) {
            // Without TLS the rows are there all the same: a dashboard tells none from missing.
            tls::announce();
            drop(reloads());
            metrics::gauge(&TLS_CERT_NOT_AFTER, &["edge", "none"]).set(0.0);
            return Ok(None);
        }
        Keeper::of("tls", "edge", config.tls.clone(), None).read().map(Some)
    }

    /// Reads pair and authorities of `[admin.tls]`, if they are there. Called before the admin listener answers.
    pub(super) fn open_admin(config: &Config) -> Result<Option<(Keeper, Offered)>> {
        let Some(shown) = config.admin.tls.shown() else { return Ok(None) };
        let mut keeper = Keeper::of("admin.tls", "admin", shown, config.admin.tls.client_ca.clone()).read()?;
        let (sender, offered) = watch::channel(keeper.offer()?);
        keeper.offered = Some(sender);
        Ok(Some((keeper, offered)))
    }

    fn of(section: &'static str, listener: &'static str, config: tls::Config, client_ca: Option<PathBuf>) -> Keeper {
        let [taken_total, refused_total] = reloads();
        Keeper {
            section,
            listener,
            config,
            client_ca,
            served: Arc::new(Served::new(Certificates::default())),
            offered: None,
            taken: Versions::new(),
            settling: None,
            taken_total,
            refused_total,
        }
    }

    /// For a start: every bad file is told, and ends it.
    fn read(mut self) -> Result<Keeper> {
        let section = self.section;
        self.taken = self.versions();
        let authorities = self.client_ca.as_deref().map(Authorities::read).transpose();
        let (certificates, mut bad) = match Certificates::open(&self.config) {
            Ok(certificates) => (certificates, Vec::new()),
            Err(bad) => (Certificates::default(), bad),
        };
        bad.extend(authorities.err());
        if !bad.is_empty() {
            let lines: Vec<String> = bad.iter().map(|error| format!("{section}: {error}")).collect();
            bail!("{}", lines.join("\n"));
        }
        for pair in certificates.pairs() {
            if let Some(error) = pair.not_valid_at(now()) {
                say!(
                    error,
                    faults::CERTIFICATE_REFUSED,
                    "{section}: {error}; it is served, and clients will refuse it"
                );
            }
        }
        self.note(&certificates, &Certificates::default());
        self.served.serve(certificates);
        Ok(self)
    }

    /// What the admin listener speaks TLS with, of the authorities' file as it is now.
    fn offer(&self) -> Result<Arc<ServerConfig>> {
        let authorities = self.client_ca.as_deref().map(Authorities::read).transpose()?;
        Ok(Arc::new(clients::config(&self.served, authorities.as_ref())?))
    }

    /// Where handshakes look.
    pub(super) fn served(&self) -> Arc<Served> {
        self.served.clone()
    }

    /// Once a second: reads the files again once two looks in a row saw the same, and others than those read last. Certificate
    /// and key are two files: between two looks a tool has written both.
    pub(super) fn look(&mut self) {
        let seen = self.versions();
        if seen == self.taken {
            self.settling = None;
        } else if self.settling.as_ref() == Some(&seen) {
            self.reload();
        } else {
            self.settling = Some(seen);
        }
    }

    /// Reads the files now, changed or not.
    pub(super) fn reload(&mut self) {
        // Before reading: what is written meanwhile is then new again.
        self.taken = self.versions();
        self.settling = None;
        let before = self.served.now();
        let (certificates, refused) = before.renewed(&self.config, now());
        self.note(&certificates, &before);
        self.served.serve(certificates);
        let mut refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        if let Some(offered) = &self.offered {
            match self.offer() {
                Ok(offer) => drop(offered.send_replace(offer)),
                Err(error) => refused.push(error.to_string()),
            }
        }
        for error in &refused {
            self.refused_total.increment(1);
            say!(error, faults::CERTIFICATE_REFUSED, "{}: {error}; what was served before is served on", self.section);
        }
        if refused.is_empty() {
            self.taken_total.increment(1);
            let certificates = self.served.now().pairs().len();
            tracing::info!(section = self.section, certificates, "certificates read");
        }
    }

    /// Sets the gauges; a name that is served no more goes to 0, which no alert looks at.
    fn note(&self, now: &Certificates, before: &Certificates) {
        let gauge = |name: &str| metrics::gauge(&TLS_CERT_NOT_AFTER, &[self.listener, name]);
        before.pairs().iter().for_each(|pair| gauge(&pair.name()).set(0.0));
        now.pairs().iter().rev().for_each(|pair| gauge(&pair.name()).set(pair.not_after() as f64));
    }

    fn versions(&self) -> Versions {
        // A directory that cannot be listed has no files: a change, told when it is read.
        let pairs = certificates::pairs(&self.config).unwrap_or_default();
        let files = pairs.into_iter().flat_map(|pair| [pair.cert, pair.key]).chain(self.client_ca.clone());
        let version = |path: &Path| std::fs::metadata(path).ok().map(|found| Version::of(&found));
        files.map(|path| (path.clone(), version(&path))).collect()
    }
}

/// Taken, and refused.
fn reloads() -> [::metrics::Counter; 2] {
    ["taken", "refused"].map(|result| metrics::counter(&TLS_RELOADS, &[result]))
}

fn now() -> i64 {
    (clock::wall_ms() / 1000) as i64
}
