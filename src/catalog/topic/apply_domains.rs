//! Applies records of domains, by the rules by which the API changes one. The configuration of an edge wins for the
//! hosts that it names: the record is kept for a configuration that does not name the host any more, and not served.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    apply_records::{RecordOutcome, TopicApplication},
    record::{RejectReason, Rejection, TopicRecord},
    record_key::RecordKey,
    rejected, waiting,
};
use crate::{
    catalog::{
        act::{Act, new_act_id},
        domain_change::DomainRefusal,
        domain_check::{DomainRules, DomainWrite},
        domain_rows::DomainRow,
        store::Meta,
    },
    clock,
    links::{
        destination::policy::DestinationPolicy,
        domains::{Config, Domains, Settings},
    },
};

/// Links that waited for their domain and are taken at once.
const WAITING_AT_ONCE: usize = 500;

impl TopicApplication<'_> {
    /// Changes a domain. Links that waited for it are applied behind it.
    pub(super) fn change_domain(
        &mut self,
        record: &TopicRecord,
        host: &str,
        settings: Option<Settings>,
    ) -> rusqlite::Result<RecordOutcome> {
        let is_configured = self.configured.names(host);
        let checked = match is_configured {
            true => check_values(host, settings.as_ref(), self.policy).map(|()| None),
            false => self.domain_rules().check_change(host, settings.as_ref())?.map(Some),
        };
        let domains = match checked {
            Ok(domains) => domains,
            Err(refusal) => {
                return self.reject(record, &Rejection::new(RejectReason::Invalid, refusal.to_string()));
            }
        };
        let before = DomainRow::find(self.connection, host)?;
        if before.is_some() || settings.is_some() {
            let act = self.act_of(record);
            let (version, now_ms) = (record.offset, self.time_of(record));
            let write = DomainWrite { act: &act, host, settings, before: before.as_ref(), version, now_ms };
            write.write(self.connection)?;
        }
        rejected::forget_key(self.connection, &record.key_text())?;
        let Some(domains) = domains else {
            tracing::warn!(
                host,
                offset = record.offset,
                "the topic has settings of a domain that [domains] or a route of the configuration defines too; those \
                 of the configuration are served"
            );
            return Ok(RecordOutcome::DomainConfigured);
        };
        self.domains = Arc::new(domains);
        self.changes_domains = true;
        self.apply_links_that_waited(host)?;
        Ok(RecordOutcome::Domain)
    }

    fn domain_rules(&self) -> DomainRules<'_> {
        DomainRules {
            connection: self.connection,
            policy: self.policy,
            domains: &self.domains,
            configured: self.configured,
        }
    }

    fn apply_links_that_waited(&mut self, host: &str) -> rusqlite::Result<()> {
        while self.domains.find_by_name(host).is_some() {
            let records = waiting::take_first_of_domain(self.connection, host, WAITING_AT_ONCE)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let outcome = self.apply_record(record)?;
                self.outcomes.push((outcome, record.at_ms));
            }
        }
        Ok(())
    }
}

/// Removes the domains that have no record in the topic that was read anew, inside a transaction. A domain that has
/// links stays. Returns the domains behind that, if any was removed.
pub(super) fn remove_domains_without_record(
    rules: &DomainRules<'_>,
    topic: &str,
    version: u64,
) -> rusqlite::Result<Option<Arc<Domains>>> {
    let DomainRules { connection, policy, configured, .. } = *rules;
    let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(connection)?);
    let mut left = None;
    for row in DomainRow::list(connection)? {
        let key = RecordKey::Domain(row.host.clone()).to_string();
        if connection.prepare_cached("SELECT 1 FROM topic_stage WHERE key = ?1")?.exists([key])? {
            continue;
        }
        if !configured.names(&row.host) {
            let domains = left.as_deref().unwrap_or(rules.domains);
            let rules = DomainRules { connection, policy, domains, configured };
            match rules.check_change(&row.host, None)? {
                Ok(domains) => left = Some(Arc::new(domains)),
                Err(refusal) => {
                    tracing::warn!(topic, "a domain without a record stays: {refusal}");
                    continue;
                }
            }
        }
        let act = Act { id: new_act_id(), actor: format!("topic {topic}"), reason: Some("has no record".to_owned()) };
        let host = &row.host;
        let write = DomainWrite { act: &act, host, settings: None, before: Some(&row), version, now_ms };
        write.write(connection)?;
    }
    Ok(left)
}

/// Checks settings that are kept and not served, alone.
fn check_values(host: &str, settings: Option<&Settings>, policy: &DestinationPolicy) -> Result<(), DomainRefusal> {
    let alone = settings.map(|settings| (host.to_owned(), settings.clone()));
    let mut alone = Config::of_hosts(alone.into_iter().collect::<BTreeMap<_, _>>());
    alone.set_destination_policy(policy.clone());
    let errors = alone.list_invalid_values();
    if errors.is_empty() { Ok(()) } else { Err(DomainRefusal::Invalid(errors)) }
}
