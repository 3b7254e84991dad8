//! Reloads the certificates of the public listeners and of the admin listener. A pair that is bad now stays as it is
//! served.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::{
    admin::TlsConfigReceiver,
    clock,
    config::Config,
    edge::snapshot::Edge,
    faults::{self, log_fault},
    file_watch::{FileVersions, read_versions},
    metrics::{self, TLS_CERTIFICATE_EXPIRY, TLS_RELOADS},
    net::tls::{self, CertificateSet, ClientCaRoots, ServedCertificates},
    server::reload::{LoadedSource, ReloadCounters, ReloadError, ReloadErrorKind, ReloadOutcome, ReloadSource},
};

/// The certificates of one section of the configuration.
pub(in crate::server) struct CertificateReloader {
    /// `tls` or `admin.tls`, for messages.
    section: &'static str,
    /// `edge` or `admin`, for metrics.
    listener: &'static str,
    config: tls::Config,
    served: Arc<ServedCertificates>,
    /// What the admin listener has beside certificates.
    admin: Option<AdminTls>,
    counters: ReloadCounters,
}

/// The admin listener's TLS, whose configuration depends on a file of authorities.
struct AdminTls {
    /// The authorities that issue the certificates of its clients, if clients need one.
    client_ca: Option<PathBuf>,
    /// The configuration of the next handshakes.
    offered: watch::Sender<Arc<ServerConfig>>,
}

impl AdminTls {
    /// Reads the authorities and builds the configuration of the next handshakes.
    fn server_config(client_ca: Option<&Path>, served: &Arc<ServedCertificates>) -> Result<Arc<ServerConfig>> {
        let authorities = client_ca.map(ClientCaRoots::read_pem_file).transpose()?;
        Ok(Arc::new(tls::build_admin_server_config_accepting_own_certificate(served, authorities.as_ref())?))
    }
}

/// The certificates of the admin listener.
pub(in crate::server) struct AdminCertificates {
    pub(in crate::server) loaded: LoadedSource<CertificateReloader>,
    /// The configuration of the next handshakes.
    pub(in crate::server) offered: TlsConfigReceiver,
}

impl CertificateReloader {
    /// Reads every pair of `[tls]`; `None` if no listener speaks TLS.
    ///
    /// # Errors
    /// All files that cannot be used.
    pub(in crate::server) fn load_for_edge_if_any_listener_uses_tls(
        config: &Config,
    ) -> Result<Option<LoadedSource<CertificateReloader>>> {
        if !config.edge.listen.iter().any(|listen| listen.tls) {
            // The metrics exist without TLS too, so that a dashboard tells "none" from "missing".
            tls::register_metrics();
            drop(register_counters());
            metrics::gauge(&TLS_CERTIFICATE_EXPIRY, &["edge", "none"]).set(0.0);
            return Ok(None);
        }
        let reloader = CertificateReloader::new("tls", "edge", config.tls.clone());
        let versions = reloader.read_file_versions();
        reloader.read_and_serve_all_even_if_expired()?;
        Ok(Some(LoadedSource { source: reloader, versions }))
    }

    /// Reads the pair and the authorities of `[admin.tls]`; `None` if it is not configured. Called before the admin
    /// listener answers.
    ///
    /// # Errors
    /// All files that cannot be used.
    pub(in crate::server) fn load_for_admin_if_configured(config: &Config) -> Result<Option<AdminCertificates>> {
        let Some(shown) = config.admin.tls.certificate_config() else { return Ok(None) };
        let client_ca = config.admin.tls.client_ca.clone();
        let mut reloader = CertificateReloader::new("admin.tls", "admin", shown);
        let mut versions = reloader.read_file_versions();
        versions.extend(read_versions(client_ca.clone()));
        let authorities = client_ca.as_deref().map(ClientCaRoots::read_pem_file).transpose();
        let errors = [
            reloader.read_and_serve_all_even_if_expired().err(),
            authorities.err().map(|error| anyhow::Error::msg(format!("admin.tls: {error}"))),
        ];
        let errors: Vec<String> = errors.into_iter().flatten().map(|error| error.to_string()).collect();
        if !errors.is_empty() {
            bail!("{}", errors.join("\n"));
        }
        let server_config = AdminTls::server_config(client_ca.as_deref(), &reloader.served)?;
        let (sender, offered) = watch::channel(server_config);
        reloader.admin = Some(AdminTls { client_ca, offered: sender });
        Ok(Some(AdminCertificates { loaded: LoadedSource { source: reloader, versions }, offered }))
    }

    fn new(section: &'static str, listener: &'static str, config: tls::Config) -> CertificateReloader {
        let served = Arc::new(ServedCertificates::new(CertificateSet::default()));
        CertificateReloader { section, listener, config, served, admin: None, counters: register_counters() }
    }

    /// The certificates that handshakes use.
    pub(in crate::server) fn served(&self) -> Arc<ServedCertificates> {
        self.served.clone()
    }

    /// Reads every pair for the first time and serves them.
    ///
    /// # Errors
    /// Every pair that cannot be served. One outside its validity can be, and is logged.
    fn read_and_serve_all_even_if_expired(&self) -> Result<()> {
        let section = self.section;
        let certificates = CertificateSet::load_all_even_if_expired(&self.config).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("{section}: {error}")).collect();
            anyhow::Error::msg(lines.join("\n"))
        })?;
        for error in certificates.all().iter().filter_map(|pair| pair.check_valid_at_unix_secs(now_s()).err()) {
            log_fault!(
                error,
                faults::CERTIFICATE_REFUSED,
                "{section}: {error}; it is served, and clients will refuse it"
            );
        }
        self.set_expiry_gauges_and_zero_removed(&certificates, &CertificateSet::default());
        self.served.replace(certificates);
        Ok(())
    }

    /// Sets the expiry of each served name, and 0, which no alert looks at, for a name that is served no more.
    fn set_expiry_gauges_and_zero_removed(&self, served: &CertificateSet, before: &CertificateSet) {
        let gauge = |name: &str| metrics::gauge(&TLS_CERTIFICATE_EXPIRY, &[self.listener, name]);
        before.all().iter().for_each(|pair| gauge(&pair.display_name()).set(0.0));
        served.all().iter().rev().for_each(|pair| gauge(&pair.display_name()).set(pair.not_after() as f64));
    }

    fn to_refused_reload_error(&self, error: &dyn std::fmt::Display) -> ReloadError {
        let message = format!("{}: {error}", self.section);
        let fault = Some(faults::CERTIFICATE_REFUSED);
        ReloadError { kind: ReloadErrorKind::Refused, fault, message, details: Vec::new() }
    }
}

impl ReloadSource for CertificateReloader {
    /// Certificate and key are two files: both belong to one change, and a tool has written both between two checks.
    fn read_file_versions(&self) -> FileVersions {
        // A directory that cannot be listed has no files. That is a change, and the reload says why.
        let pairs = tls::list_configured_certificate_files(&self.config).unwrap_or_default();
        let client_ca = self.admin.as_ref().and_then(|admin| admin.client_ca.clone());
        read_versions(pairs.into_iter().flat_map(|pair| [pair.cert, pair.key]).chain(client_ca))
    }

    /// Certificates are served from the next handshake on; `edge` needs no change.
    fn read_and_publish(&mut self, _edge: &ArcSwap<Edge>) -> ReloadOutcome {
        let before = self.served.current();
        let (certificates, refused) = before.reload_keeping_old_and_return_refusals(&self.config, now_s());
        self.set_expiry_gauges_and_zero_removed(&certificates, &before);
        self.served.replace(certificates);
        let mut errors: Vec<ReloadError> = refused.iter().map(|error| self.to_refused_reload_error(error)).collect();
        if let Some(admin) = &self.admin {
            match AdminTls::server_config(admin.client_ca.as_deref(), &self.served) {
                Ok(server_config) => drop(admin.offered.send_replace(server_config)),
                Err(error) => errors.push(self.to_refused_reload_error(&error)),
            }
        }
        if !errors.is_empty() {
            return ReloadOutcome::Failed(errors);
        }
        let certificates = self.served.current().all().len();
        tracing::info!(section = self.section, certificates, "certificates read");
        ReloadOutcome::Published
    }

    fn kept_content(&self) -> &'static str {
        "what was served before is served on"
    }

    fn counters(&self) -> &ReloadCounters {
        &self.counters
    }
}

/// The counters of all certificate reloads.
fn register_counters() -> ReloadCounters {
    ReloadCounters::of_ok_and_refused(|result| metrics::counter(&TLS_RELOADS, &[result]))
}

/// The wall's time, seconds since the epoch.
fn now_s() -> i64 {
    (clock::wall_ms() / 1000) as i64
}
