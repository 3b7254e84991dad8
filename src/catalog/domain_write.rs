//! Changes of a domain's settings while the process serves: checked by the rules of the configuration, kept, then
//! published as a whole new registry. If links come from a topic, the change is written to the topic instead.

use std::sync::{Arc, atomic::Ordering};

use rusqlite::TransactionBehavior;
use tokio::sync::oneshot;

use super::{
    CatalogHandle,
    domain_change::{DomainChange, DomainError, DomainReport},
    domain_check::{DomainRules, DomainWrite},
    domain_rows::DomainRow,
    error::CatalogError,
    store::Meta,
    writer::{CatalogWriter, Request, TopicWrite},
};
use crate::{
    clock,
    links::domains::{Config, Domains},
};

impl CatalogHandle {
    /// Changes a domain. Resolves once that is on the disk and every request sees it, or it is refused.
    ///
    /// # Errors
    /// Nothing is changed.
    pub async fn change_domain(&self, change: DomainChange) -> Result<DomainReport, DomainError> {
        self.send_domain_change(change)?.await.unwrap_or(Err(CatalogError::Stopped.into()))
    }

    /// [`CatalogHandle::change_domain`] for a thread that may wait.
    ///
    /// # Errors
    /// Nothing is changed.
    pub fn change_domain_blocking(&self, change: DomainChange) -> Result<DomainReport, DomainError> {
        self.send_domain_change(change)?.blocking_recv().unwrap_or(Err(CatalogError::Stopped.into()))
    }

    fn send_domain_change(
        &self,
        change: DomainChange,
    ) -> Result<oneshot::Receiver<Result<DomainReport, DomainError>>, CatalogError> {
        let (reply, answer) = oneshot::channel();
        let change = Box::new(change);
        let is_sent = match &self.topic_writes {
            Some(topic) => topic.send(TopicWrite::ChangeDomain(change, reply)).is_ok(),
            None => self.requests.send(Request::ChangeDomain(change, reply)).is_ok(),
        };
        if is_sent { Ok(answer) } else { Err(CatalogError::Stopped) }
    }

    /// Calls `publish` on the catalog's thread whenever a domain changes. `configured`: the domains of the
    /// configuration, which wins for the hosts that it names.
    pub fn publish_domains_to(&self, configured: Arc<Config>, publish: impl Fn(Arc<Domains>) + Send + 'static) {
        // An error: the process stops.
        let _ = self.requests.send(Request::PublishDomains(configured, Box::new(publish)));
    }
}

/// A change that is allowed and not written.
pub(super) struct CheckedDomainChange {
    pub(super) before: Option<DomainRow>,
    /// The domains behind it.
    domains: Domains,
}

impl CatalogWriter {
    /// Changes a domain: on the disk, then for every request.
    pub(super) fn change_domain(&mut self, change: &DomainChange) -> Result<DomainReport, DomainError> {
        if !self.is_kept {
            let message = "the disk refused the catalog's file at the start; restart once it does not";
            return Err(CatalogError::StoreFailed(message.to_owned()).into());
        }
        let changed = self.check_and_commit_domain(change);
        if let Err(DomainError::Catalog(CatalogError::StoreFailed(message))) = &changed {
            self.count_and_log_write_error(&format!("a domain is not changed: {message}"));
        }
        changed
    }

    /// Lets every request see these domains.
    pub(super) fn serve_domains(&mut self, domains: Arc<Domains>) {
        self.domains = domains;
        if let Some(publish) = &self.publish_domains {
            publish(self.domains.clone());
        }
    }

    /// Checks a change and writes nothing; `None`: there is no such domain to remove.
    pub(super) fn check_domain_change(
        &self,
        change: &DomainChange,
    ) -> Result<Option<CheckedDomainChange>, DomainError> {
        let connection = &self.store.connection;
        if let Some(reason) = Meta::Frozen.read(connection)? {
            return Err(CatalogError::Frozen { reason }.into());
        }
        let before = DomainRow::find(connection, &change.host)?;
        if before.is_none() && change.settings.is_none() {
            return Ok(None);
        }
        let rules = DomainRules {
            connection,
            policy: &self.policy,
            domains: &self.domains,
            configured: &self.configured_domains,
        };
        let domains = rules.check_change(&change.host, change.settings.as_ref())??;
        Ok(Some(CheckedDomainChange { before, domains }))
    }

    fn check_and_commit_domain(&mut self, change: &DomainChange) -> Result<DomainReport, DomainError> {
        let Some(CheckedDomainChange { before, domains }) = self.check_domain_change(change)? else {
            return Ok(DomainReport::Unknown);
        };
        let transaction = self.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = self.latest_version.fetch_add(1, Ordering::Relaxed) + 1;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
        let DomainChange { act, host, settings } = change;
        let write = DomainWrite { act, host, settings: settings.clone(), before: before.as_ref(), version, now_ms };
        let row = write.write(&transaction)?;
        Meta::Version.write(&transaction, Some(&version.to_string()))?;
        Meta::LatestMs.write(&transaction, Some(&now_ms.to_string()))?;
        transaction.commit()?;
        self.serve_domains(Arc::new(domains));
        Ok(DomainReport::of_change(row, before.is_some()))
    }
}
