//! The certificates while serving: read again when a file of them changes, and at SIGHUP. A bad new pair keeps the old one.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Result, bail};

use crate::{
    clock,
    config::Config,
    faults::{self, say},
    metrics::{self, TLS_CERT_NOT_AFTER, TLS_RELOADS},
    net::tls::{
        self,
        certificates::{self, Certificates, Served},
    },
    watch::Version,
};

/// Which version every file of every pair is at; a file that is not there has none.
type Versions = BTreeMap<PathBuf, Option<Version>>;

/// Whoever keeps the served certificates up to their files.
pub(super) struct Keeper {
    config: tls::Config,
    served: Arc<Served>,
    /// What was read last, whether it was good or not.
    taken: Versions,
    /// What the last look saw, if that was something else.
    settling: Option<Versions>,
    taken_total: ::metrics::Counter,
    refused_total: ::metrics::Counter,
}

impl Keeper {
    /// Reads every pair, if a listener speaks TLS. All bad ones are told at once.
    pub(super) fn open(config: &Config) -> Result<Option<Keeper>> {
        let counter = |result| metrics::counter(&TLS_RELOADS, &[result]);
        let (taken_total, refused_total) = (counter("taken"), counter("refused"));
        if !config.edge.listen.iter().any(|listen| listen.tls) {
            // Without TLS the rows are there all the same: a dashboard tells none from missing.
            tls::announce();
            metrics::gauge(&TLS_CERT_NOT_AFTER, &["none"]).set(0.0);
            return Ok(None);
        }
        let taken = versions(&config.tls);
        let certificates = match Certificates::open(&config.tls) {
            Ok(certificates) => certificates,
            Err(bad) => {
                let lines: Vec<String> = bad.iter().map(|error| format!("tls: {error}")).collect();
                bail!("{}", lines.join("\n"));
            }
        };
        for pair in certificates.pairs() {
            if let Some(error) = pair.not_valid_at(now()) {
                say!(error, faults::CERTIFICATE_REFUSED, "tls: {error}; it is served, and clients will refuse it");
            }
        }
        note(&certificates, &Certificates::default());
        let served = Arc::new(Served::new(certificates));
        Ok(Some(Keeper { config: config.tls.clone(), served, taken, settling: None, taken_total, refused_total }))
    }

    /// Where handshakes look.
    pub(super) fn served(&self) -> Arc<Served> {
        self.served.clone()
    }

    /// Once a second: reads the pairs again once two looks in a row saw the same files, and others than those read last. Certificate
    /// and key are two files: between two looks a tool has written both.
    pub(super) fn look(&mut self) {
        let seen = versions(&self.config);
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
        self.taken = versions(&self.config);
        self.settling = None;
        let before = self.served.now();
        let (certificates, refused) = before.renewed(&self.config, now());
        for error in &refused {
            self.refused_total.increment(1);
            say!(error, faults::CERTIFICATE_REFUSED, "tls: {error}; what was served before is served on");
        }
        if refused.is_empty() {
            self.taken_total.increment(1);
            tracing::info!(certificates = certificates.pairs().len(), "certificates read");
        }
        note(&certificates, &before);
        self.served.serve(certificates);
    }
}

/// Sets the gauges; a name that is served no more goes to 0, which no alert looks at.
fn note(now: &Certificates, before: &Certificates) {
    let gauge = |name: &str| metrics::gauge(&TLS_CERT_NOT_AFTER, &[name]);
    before.pairs().iter().for_each(|pair| gauge(&pair.name()).set(0.0));
    now.pairs().iter().rev().for_each(|pair| gauge(&pair.name()).set(pair.not_after() as f64));
}

fn now() -> i64 {
    (clock::wall_ms() / 1000) as i64
}

fn versions(config: &tls::Config) -> Versions {
    // A directory that cannot be listed has no files: a change, told when it is read.
    let pairs = certificates::pairs(config).unwrap_or_default();
    let files = pairs.into_iter().flat_map(|pair| [pair.cert, pair.key]);
    files
        .map(|path| (std::fs::metadata(&path).ok().map(|found| Version::of(&found)), path))
        .map(|(v, p)| (p, v))
        .collect()
}
