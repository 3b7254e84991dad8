//! The catalog of a data directory on which no server runs.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    data_dir_domains::change_domain,
    history_text::history_of_audit_line,
    place::{ChangeOutcome, LinkChanges, LinkPlace, ManyOutcome},
    refusal_text::{describe_refusal, text_of, to_refusal},
    user_act::act_of_user,
};
use crate::{
    catalog::{
        Catalog, CatalogError, CatalogHandle, LinkSource, OpenedCatalog,
        act::Act,
        change::{Batch, BatchMode, ChangeRow, LinkName, RowOutcome, Write, WriteReport},
        domain_rows::list_served_domains,
        kept_changes::{Cancellation, ChangeState, KeptChange},
        many::ManyChange,
        query::{CatalogReader, LinkFilter, VersionedLink},
        suspension_rows::{NewSuspension, SuspensionRow},
    },
    cli::{config_args::ConfigArgs, kept_domains::load_domains},
    clock,
    config::{Config, FlagValues},
    journal::DirectoryLocks,
    links::{domains::Domains, suspensions::Dimension},
    model::link::record::RecordError,
};

/// Links of one page.
const PAGE: usize = 1_000;
/// Changes of one commit. Nobody else waits for it, and each page of an index that it touches is written once.
const CHANGES_AT_ONCE: usize = 4_000;
/// Changes of a link that are shown at most.
const MAX_CHANGES: usize = 10_000;

/// A catalog that this process alone uses. Its drop ends it in good order.
pub(super) struct OfflineCatalog {
    /// `None` once it has ended.
    catalog: Option<Catalog>,
    handle: CatalogHandle,
    domains: Arc<Domains>,
    config: Config,
    link_count: u64,
    _locks: DirectoryLocks,
}

impl OfflineCatalog {
    /// Locks the data directory and opens its catalog.
    ///
    /// # Errors
    /// A process has locked the directory; or the configuration or the catalog cannot be used.
    pub(super) fn open(config: &ConfigArgs) -> Result<OfflineCatalog> {
        let config = config.load(FlagValues::default())?;
        let data_dir = &config.server.data_dir;
        let locks = DirectoryLocks::lock(data_dir, config.journal.ring_dir.as_deref())
            .context("a running server is asked with --server URL")?;
        let domains = Arc::new(load_domains(&config)?);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let policy = config.links.destination_policy();
        let opened = OpenedCatalog::open_or_create(data_dir, policy, domains.clone(), threads)?;
        if let Some((format, copy)) = &opened.migrated {
            eprintln!("the catalog had format {format} and was migrated; a copy of it lies in {}", copy.display());
        }
        let source = LinkSource::of_config(&config.links);
        let link_count = opened.table.len() as u64 + opened.refused_total;
        let catalog = opened.start(source)?;
        let handle = catalog.handle();
        // Nothing is served; the rules of domains depend on those of the configuration.
        handle.publish_domains_to(Arc::new(config.domains.clone()), |_| {});
        Ok(OfflineCatalog { catalog: Some(catalog), handle, domains, config, link_count, _locks: locks })
    }

    pub(super) fn reader(&self) -> Result<CatalogReader> {
        Ok(self.handle.open_reader()?)
    }
}

impl Drop for OfflineCatalog {
    fn drop(&mut self) {
        if let Some(catalog) = self.catalog.take() {
            catalog.stop();
        }
    }
}

impl LinkPlace for OfflineCatalog {
    fn canonical_name(&self, name: LinkName) -> Result<LinkName> {
        let Some(domain) = self.domains.find_by_name(&name.domain) else {
            bail!("the domain {:?} is not configured", name.domain);
        };
        let code = if domain.id.ignores_case() { name.code.to_ascii_lowercase() } else { name.code };
        Ok(LinkName { domain: domain.name.to_string(), code })
    }

    fn find_link(&self, name: &LinkName) -> Result<Option<VersionedLink>> {
        Ok(self.reader()?.find_link(name)?)
    }

    fn count_links(&self) -> Result<u64> {
        Ok(self.link_count)
    }

    fn changes_at_once(&self) -> usize {
        CHANGES_AT_ONCE
    }

    fn visit_records(&self, filter: &LinkFilter, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let reader = self.reader()?;
        let mut after: Option<LinkName> = None;
        loop {
            let page = reader.list_links(filter, after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            page.iter().try_for_each(|link| visit(&link.record))?;
        }
    }

    fn list_history(&self, name: &LinkName) -> Result<Vec<Value>> {
        Ok(self.reader()?.list_history(name, MAX_CHANGES)?.iter().map(history_of_audit_line).collect())
    }

    fn change_links(&self, changes: LinkChanges<'_>) -> Result<Vec<ChangeOutcome>> {
        let LinkChanges { act, changes, expected, is_dry_run } = changes;
        let rows = changes.into_iter().map(|change| ChangeRow { change, expected }).collect();
        let batch = Batch { act: act.clone(), rows, mode: BatchMode::Each, is_dry_run, once: None };
        Ok(self.handle.apply_blocking(batch)?.outcomes.into_iter().map(to_outcome).collect())
    }

    fn change_many(&self, change: &ManyChange, act: &Act, is_dry_run: bool) -> Result<ManyOutcome> {
        let report = self.handle.change_many_blocking(change, act, is_dry_run)?;
        let refused = report.refused.iter().map(|(name, refusal)| (text_of(name), describe_refusal(refusal)));
        Ok(ManyOutcome {
            act: act.id.to_string(),
            changed: report.changed,
            unchanged: report.unchanged,
            refused_total: report.refused_total,
            refused: refused.collect(),
            examples: report.examples.iter().map(text_of).collect(),
        })
    }

    fn schedule_change(&self, change: &ManyChange, act: &Act, effective_ms: u64) -> Result<String> {
        match LinkSource::of_config(&self.config.links) {
            LinkSource::File => bail!(CatalogError::SourceIsFile),
            LinkSource::Topic => bail!(CatalogError::SourceIsTopic),
            LinkSource::Store => {}
        }
        if let Some(reason) = self.frozen_reason()? {
            bail!(CatalogError::Frozen { reason });
        }
        let kept = KeptChange::new(act.clone(), change.clone(), clock::wall_ms(), effective_ms);
        // A time that is past: the next start of the server carries it out.
        self.handle.keep_change_blocking(KeptChange { state: ChangeState::Scheduled, ..kept })?;
        Ok(act.id.to_string())
    }

    fn list_kept_changes(&self, state: Option<ChangeState>) -> Result<Vec<Value>> {
        let states = state.map_or(ChangeState::ALL.to_vec(), |state| vec![state]);
        Ok(self.reader()?.list_kept_changes(&states, PAGE)?.iter().map(KeptChange::to_json).collect())
    }

    fn cancel_change(&self, id: &str, act: &Act) -> Result<()> {
        match self.handle.cancel_change_blocking(id.to_owned(), act.clone())? {
            Cancellation::Cancelled => Ok(()),
            Cancellation::HasEnded(state) => {
                bail!("act {id} is {}; `waypost links undo {id}` takes back what it did", state.as_str())
            }
            Cancellation::Unknown => bail!("there is no change {id}; `waypost links acts` lists all"),
        }
    }

    fn list_domains(&self) -> Result<Vec<Value>> {
        let rows = self.reader()?.list_domains()?;
        Ok(list_served_domains(&self.config.domains, &rows).into_iter().map(|(_, domain)| domain).collect())
    }

    fn put_domain(&self, host: &str, settings: Value, act: &Act) -> Result<Value> {
        let changed = change_domain(&self.handle, &self.config, host, Some(settings), act)?;
        changed.context("the catalog answered for another change")
    }

    fn delete_domain(&self, host: &str, act: &Act) -> Result<bool> {
        Ok(change_domain(&self.handle, &self.config, host, None, act)?.is_some())
    }

    fn suspend(&self, suspension: &NewSuspension) -> Result<SuspensionRow> {
        let policy = self.config.links.destination_policy();
        let check = |url: &String| policy.check_and_normalize_url_without_placeholders(url);
        let fallback_url = suspension.fallback_url.as_ref().map(check).transpose().context("fallback_url")?;
        let act = act_of_user(Some(&suspension.reason));
        match self.handle.write_blocking(Write::Suspend(act, NewSuspension { fallback_url, ..suspension.clone() }))? {
            WriteReport::Suspended { suspension, .. } => Ok(suspension),
            _ => bail!("the catalog answered for another change"),
        }
    }

    fn end_suspension(&self, dimension: Dimension, value: &str, act: &Act) -> Result<Option<SuspensionRow>> {
        let write = Write::EndSuspension(act.clone(), dimension, value.to_owned());
        match self.handle.write_blocking(write)? {
            WriteReport::SuspensionEnded(ended) => Ok(ended),
            _ => bail!("the catalog answered for another change"),
        }
    }

    fn list_suspensions(&self) -> Result<Vec<SuspensionRow>> {
        Ok(self.reader()?.list_suspensions()?)
    }

    fn frozen_reason(&self) -> Result<Option<String>> {
        Ok(self.reader()?.frozen_reason()?)
    }

    fn freeze(&self, reason: &str) -> Result<()> {
        let reason = reason.to_owned();
        self.handle.write_blocking(Write::Freeze(act_of_user(Some(&reason)), reason))?;
        Ok(())
    }

    fn unfreeze(&self) -> Result<()> {
        self.handle.write_blocking(Write::Unfreeze(act_of_user(None)))?;
        Ok(())
    }
}

fn to_outcome(outcome: RowOutcome) -> ChangeOutcome {
    let texts = |warnings: &[RecordError]| warnings.iter().map(ToString::to_string).collect();
    match outcome {
        RowOutcome::Created(link) => {
            ChangeOutcome::Created { name: text_of(&link.name), version: link.version, warnings: texts(&link.warnings) }
        }
        RowOutcome::Updated(link) => {
            ChangeOutcome::Changed { name: text_of(&link.name), version: link.version, warnings: texts(&link.warnings) }
        }
        RowOutcome::Unchanged(link) => ChangeOutcome::Unchanged { name: text_of(&link.name) },
        RowOutcome::Deleted { name, version } => ChangeOutcome::Removed { name: text_of(&name), version },
        RowOutcome::Refused(refusal) => ChangeOutcome::Refused(to_refusal(&refusal)),
    }
}
