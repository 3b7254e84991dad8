//! Changes of a domain's settings while the process serves: checked by the rules of the configuration, kept, then
//! published as a whole new registry. A link's bytes and its place in the table depend on some settings of its domain,
//! so these change only while the domain has no link.

use std::sync::{Arc, atomic::Ordering};

use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    CatalogHandle,
    act::{Act, write_act_with_detail},
    domain_change::{DomainChange, DomainError, DomainReport},
    domain_rows::{DomainRow, merge_domains},
    load::build_link,
    store::Meta,
    writer::{CatalogWriter, Request},
};
use crate::{
    clock,
    invalid_value::InvalidValue,
    links::domains::{Domains, Settings},
};

impl CatalogHandle {
    /// Changes a domain. Resolves once that is on the disk and every request sees it, or it is refused.
    ///
    /// # Errors
    /// Nothing is changed.
    pub async fn change_domain(&self, change: DomainChange) -> Result<DomainReport, DomainError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(Request::ChangeDomain(Box::new(change), reply));
        sent.map_err(|_| DomainError::Stopped)?;
        answer.await.unwrap_or(Err(DomainError::Stopped))
    }

    /// Calls `publish` on the catalog's thread whenever a domain changes.
    pub fn publish_domains_to(&self, publish: impl Fn(Arc<Domains>) + Send + 'static) {
        // An error: the process stops.
        let _ = self.requests.send(Request::PublishDomains(Box::new(publish)));
    }
}

impl CatalogWriter {
    /// Changes a domain: on the disk, then for every request.
    pub(super) fn change_domain(&mut self, change: &DomainChange) -> Result<DomainReport, DomainError> {
        if !self.is_kept {
            let message = "the disk refused the catalog's file at the start; restart once it does not";
            return Err(DomainError::StoreFailed(message.to_owned()));
        }
        let changed = self.check_and_commit_domain(change);
        if let Err(DomainError::StoreFailed(message)) = &changed {
            self.count_and_log_write_error(&format!("a domain is not changed: {message}"));
        }
        let (report, domains) = changed?;
        if let Some(domains) = domains {
            self.domains = Arc::new(domains);
            if let Some(publish) = &self.publish_domains {
                publish(self.domains.clone());
            }
        }
        Ok(report)
    }

    fn check_and_commit_domain(
        &mut self,
        change: &DomainChange,
    ) -> Result<(DomainReport, Option<Domains>), DomainError> {
        let DomainChange { act, host, settings, configured } = change;
        if let Some(reason) = Meta::Frozen.read(&self.store.connection)? {
            return Err(DomainError::Frozen(reason));
        }
        let before = DomainRow::find(&self.store.connection, host)?;
        if before.is_none() && settings.is_none() {
            return Ok((DomainReport::Unknown, None));
        }
        let mut wanted = merge_domains(configured, DomainRow::list(&self.store.connection)?);
        match settings {
            Some(settings) => _ = wanted.0.insert(host.clone(), settings.clone()),
            None => _ = wanted.0.remove(host),
        }
        let errors = wanted.list_invalid_values();
        if !errors.is_empty() {
            return Err(DomainError::Invalid(errors));
        }
        self.check_links_allow_domain(host, settings.as_ref())?;
        let domains = match settings {
            Some(settings) => self.domains.with_domain(host, settings),
            None => self.domains.without_domain(host),
        };
        let domains =
            domains.map_err(|message| DomainError::Invalid(vec![InvalidValue::new(format!("{host:?}"), message)]))?;
        if settings.is_some() && self.domains.find_by_name(host).is_none() {
            self.check_links_do_not_lead_to_new_host(host, &domains)?;
        }
        let row = self.commit_domain(act, host, settings.clone(), before.as_ref())?;
        let report = match row {
            None => DomainReport::Deleted,
            Some(row) if before.is_some() => DomainReport::Replaced(row),
            Some(row) => DomainReport::Created(row),
        };
        Ok((report, Some(domains)))
    }

    /// Checks that no link of the domain would lose its place, or have to be made anew.
    fn check_links_allow_domain(&self, host: &str, settings: Option<&Settings>) -> Result<(), DomainError> {
        let Some(served) = self.domains.find_by_name(host) else { return Ok(()) };
        let has_links = has_links_of_domain(&self.store.connection, host)?;
        let refused = match settings {
            _ if !has_links => return Ok(()),
            // `*` has its default settings then.
            None if host != "*" => "the domain has links: remove them first, or disable them by --domain",
            None => return Ok(()),
            Some(settings) if settings.case_insensitive != served.id.ignores_case() => {
                "case_insensitive changes only while the domain has no link"
            }
            Some(settings) if settings.token_param != *served.token_param => {
                "token_param changes only while the domain has no link: it is a part of each destination"
            }
            Some(settings) if !served.has_cookie_domain_of(settings) => {
                "cookie_domain changes only while the domain has no link: it decides where the token is appended"
            }
            Some(_) => return Ok(()),
        };
        Err(DomainError::Links(format!("{host}: {refused}")))
    }

    /// Checks that no link leads to a host that this server did not answer before: its buyers would come back here.
    fn check_links_do_not_lead_to_new_host(&self, host: &str, domains: &Domains) -> Result<(), DomainError> {
        let connection = &self.store.connection;
        let sql = "SELECT record, version, domain, code FROM link WHERE host = ?1 OR instr(lower(record), ?1)";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([host])?;
        let now_ms = clock::wall_ms();
        while let Some(row) = rows.next()? {
            let (record, version): (String, u64) = (row.get(0)?, row.get(1)?);
            let is_good = |domains: &Domains| build_link(&record, &self.policy, domains, now_ms, version).is_ok();
            if is_good(&self.domains) && !is_good(domains) {
                let (domain, code): (String, String) = (row.get(2)?, row.get(3)?);
                return Err(DomainError::Links(format!(
                    "{host}: the link {domain}/{code} leads to it, and buyers would come back to this server; change \
                     the link first"
                )));
            }
        }
        Ok(())
    }

    /// Writes the row, the act and the new version of the catalog.
    fn commit_domain(
        &mut self,
        act: &Act,
        host: &str,
        settings: Option<Settings>,
        before: Option<&DomainRow>,
    ) -> Result<Option<DomainRow>, DomainError> {
        let transaction = self.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = self.latest_version.fetch_add(1, Ordering::Relaxed) + 1;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
        let detail = json!({"host": host, "before": before.map(|row| &row.settings), "after": settings});
        let row = settings.map(|settings| DomainRow {
            host: host.to_owned(),
            settings,
            version,
            changed_ms: now_ms,
            actor: act.actor.clone(),
        });
        match &row {
            Some(row) => row.write(&transaction)?,
            None => DomainRow::delete(&transaction, host)?,
        }
        let action = if row.is_some() { "put_domain" } else { "delete_domain" };
        write_act_with_detail(&transaction, act, action, now_ms, Some(&detail))?;
        Meta::Version.write(&transaction, Some(&version.to_string()))?;
        Meta::LatestMs.write(&transaction, Some(&now_ms.to_string()))?;
        // The next start numbers its domains anew, and makes the bytes of links anew.
        Meta::ReadyFingerprint.write(&transaction, None)?;
        transaction.commit()?;
        Ok(row)
    }
}

fn has_links_of_domain(connection: &Connection, host: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM link WHERE domain = ?1 LIMIT 1")?.exists([host])
}
