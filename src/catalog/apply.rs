//! Applies rows to the catalog's tables, inside a transaction. What is served changes only after the commit.

use rand::rngs::StdRng;
use rusqlite::{Connection, params};

use super::{
    act::Act,
    change::{ChangeRow, ChangedLink, ExpectedLink, LinkChange, LinkName, RowOutcome, RowRefusal},
    expected::{check_expected, refusal_of_absent_link},
    merge_patch::apply_merge_patch,
    mint::mint_code,
    own_links::{self, leads_back_to},
    recorded::RecordedLink,
    store::{GoneRow, LinkRow, StoredLink, find_new_link_id},
    versions::Versions,
};
use crate::{
    links::{
        Link, LinkKey, Table, ValidLink,
        destination::policy::DestinationPolicy,
        domains::{Domain, Domains},
        rules::{CodeState, find_changed_unchangeable_fields},
    },
    model::link::record::{Record, RecordError, RecordErrorKind},
};

/// What rows are checked against.
#[derive(Clone, Copy)]
pub(super) struct ChangeRules<'a> {
    pub(super) policy: &'a DestinationPolicy,
    pub(super) domains: &'a Domains,
    /// The wall's time, never before the latest commit, milliseconds since the epoch.
    pub(super) now_ms: u64,
}

/// A change for the table that is served.
#[derive(Clone)]
pub(super) enum TableChange {
    Replace(Link),
    Remove(LinkKey),
}

/// Rows of one transaction while they are applied.
pub(super) struct Application<'a> {
    pub(super) connection: &'a Connection,
    pub(super) rules: ChangeRules<'a>,
    pub(super) act: &'a Act,
    pub(super) random: &'a mut StdRng,
    pub(super) versions: Versions<'a>,
    pub(super) table_changes: Vec<TableChange>,
    /// What the topic of links gets; `None`: links come from elsewhere.
    pub(super) recorded: Option<Vec<RecordedLink>>,
    pub(super) extent: WriteExtent,
    /// The id of the next new link, once one was needed.
    pub(super) next_link_id: Option<i64>,
}

/// Which tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteExtent {
    /// Every one.
    Everything,
    /// Those that later rows are checked against: the transaction, or its part with these rows, is rolled back.
    WhatRowsAreCheckedAgainst,
}

/// A row that is refused, or the store that fails.
type Applied<T> = rusqlite::Result<Result<T, RowRefusal>>;

impl<'a> Application<'a> {
    /// Rows that are written with everything, by the rules `rules`. Nothing is recorded for the topic of links.
    pub(super) fn new(
        connection: &'a Connection,
        rules: ChangeRules<'a>,
        act: &'a Act,
        random: &'a mut StdRng,
        versions: Versions<'a>,
    ) -> Application<'a> {
        Application {
            connection,
            rules,
            act,
            random,
            versions,
            table_changes: Vec::new(),
            recorded: None,
            extent: WriteExtent::Everything,
            next_link_id: None,
        }
    }

    /// Applies one row. A refused row changes nothing.
    ///
    /// # Errors
    /// The store fails.
    pub(super) fn apply_row(&mut self, row: &ChangeRow) -> rusqlite::Result<RowOutcome> {
        let applied = match &row.change {
            LinkChange::Put { record, text } => self.put(record, text.as_deref(), row.expected)?,
            LinkChange::Patch { name, patch } => self.patch(name, patch, row.expected)?,
            LinkChange::Delete { name } => self.delete(name, row.expected)?,
        };
        Ok(applied.unwrap_or_else(RowOutcome::Refused))
    }

    fn put(&mut self, record: &Record, text: Option<&str>, expected: ExpectedLink) -> Applied<RowOutcome> {
        if !record.code.is_empty() {
            return self.put_with_code(record, text, expected);
        }
        let ignores_case = self.find_domain(&record.domain).is_some_and(|domain| domain.id.ignores_case());
        loop {
            let minted = Record { code: mint_code(self.random, ignores_case), ..record.clone() };
            match self.put_with_code(&minted, None, ExpectedLink::Absent)? {
                Err(RowRefusal::Exists { .. } | RowRefusal::CodeReserved { .. }) => {}
                outcome => return Ok(outcome),
            }
        }
    }

    fn put_with_code(&mut self, record: &Record, text: Option<&str>, expected: ExpectedLink) -> Applied<RowOutcome> {
        // The version is a part of the link, and is taken once the link is written.
        let valid = match self.build_link(record, self.versions.upcoming()) {
            Ok(valid) => valid,
            Err(errors) => return Ok(Err(RowRefusal::Invalid(errors))),
        };
        let name = self.name_of(&valid.link);
        let previous = StoredLink::find(self.connection, &name.domain, &name.code)?;
        let text = one_line_text(record, text);
        let is_same = previous.as_ref().is_some_and(|previous| previous.is_same(&text, record));
        if let Some(refusal) = check_expected(expected, previous.as_ref(), is_same) {
            return Ok(Err(refusal));
        }
        if let Some(previous) = &previous
            && is_same
            && self.versions.keep_unchanged_link(previous.version)
        {
            let version = previous.version;
            return Ok(Ok(RowOutcome::Unchanged(ChangedLink {
                name,
                version,
                record: text,
                warnings: valid.warnings,
            })));
        }
        let gone = self.find_gone(&name, previous.as_ref())?;
        if let Some(refusal) = self.check_against_previous(&valid.link, previous.as_ref(), gone.as_ref()) {
            return Ok(Err(refusal));
        }
        if leads_back_to(self.connection, self.rules.domains, &name, &valid.own_host_targets)? {
            let message = "leads back to this link through other links: browsers would go in a circle; name a URL of \
                           the shop";
            let error = RecordError::new("url", message).with_kind(RecordErrorKind::NotAcceptedHere);
            return Ok(Err(RowRefusal::Invalid(vec![error])));
        }
        let version = self.versions.take();
        let leads_to = own_links::to_json(self.rules.domains, &valid.own_host_targets);
        let link = &valid.link;
        let row = LinkRow { domain: &name.domain, code: &name.code, version, text: &text, record, link, leads_to };
        self.write_link(&row, previous.as_ref(), gone.as_ref())?;
        self.table_changes.push(TableChange::Replace(valid.link));
        let changed = ChangedLink { name, version, record: text, warnings: valid.warnings };
        Ok(Ok(if previous.is_some() { RowOutcome::Updated(changed) } else { RowOutcome::Created(changed) }))
    }

    fn patch(&mut self, name: &LinkName, patch: &serde_json::Value, expected: ExpectedLink) -> Applied<RowOutcome> {
        let Some(name) = self.canonical_name(name) else { return Ok(Err(RowRefusal::NotFound)) };
        let Some(stored) = StoredLink::find(self.connection, &name.domain, &name.code)? else {
            return Ok(Err(refusal_of_absent_link(expected)));
        };
        if let Some(refusal) = check_expected(expected, Some(&stored), false) {
            return Ok(Err(refusal));
        }
        let patched = match apply_merge_patch(&stored.record, patch) {
            Ok(record) => record,
            Err(message) => return Ok(Err(RowRefusal::NotARecord(message))),
        };
        if patched.code != code_of_record(&stored.record)
            || self.find_domain(&patched.domain).is_none_or(|domain| *domain.name != *name.domain)
        {
            let message = "never changes; give the changed link another code";
            let field = if patched.code == code_of_record(&stored.record) { "domain" } else { "code" };
            let error = RecordError::new(field, message).with_kind(RecordErrorKind::Unchangeable);
            return Ok(Err(RowRefusal::Unchangeable(vec![error])));
        }
        self.put_with_code(&patched, None, ExpectedLink::Any)
    }

    fn delete(&mut self, name: &LinkName, expected: ExpectedLink) -> Applied<RowOutcome> {
        let Some(name) = self.canonical_name(name) else { return Ok(Err(RowRefusal::NotFound)) };
        let Some(stored) = StoredLink::find(self.connection, &name.domain, &name.code)? else {
            return Ok(Err(refusal_of_absent_link(expected)));
        };
        if let Some(refusal) = check_expected(expected, Some(&stored), false) {
            return Ok(Err(refusal));
        }
        let version = self.delete_link(&name, &stored)?;
        Ok(Ok(RowOutcome::Deleted { name, version }))
    }

    /// Writes a valid link in the place of `previous` or `gone`, and its line in the audit. Returns the id of its row.
    fn write_link(
        &mut self,
        row: &LinkRow<'_>,
        previous: Option<&StoredLink>,
        gone: Option<&GoneRow>,
    ) -> rusqlite::Result<i64> {
        let known = previous.map(|previous| previous.id).or_else(|| gone.and_then(|gone| gone.id));
        let id = known.map_or_else(|| self.take_new_link_id(), Ok)?;
        row.write(self.connection, id, previous)?;
        if self.extent == WriteExtent::Everything {
            row.write_tags_and_ready_bytes(self.connection, id, previous)?;
        }
        if gone.is_some() {
            GoneRow::delete(self.connection, row.domain, row.code)?;
        }
        let name = LinkName { domain: row.domain.to_owned(), code: row.code.to_owned() };
        self.write_audit(id, row.version, &name, previous, Some(row.text))?;
        Ok(id)
    }

    fn take_new_link_id(&mut self) -> rusqlite::Result<i64> {
        let id = self.next_link_id.map_or_else(|| find_new_link_id(self.connection), Ok)?;
        self.next_link_id = Some(id + 1);
        Ok(id)
    }

    /// Keeps the link of a record that `table` serves already. Returns the id of its row; `None` if the table lacks it.
    pub(super) fn keep_served_link(
        &mut self,
        table: &Table,
        record: &Record,
        text: &str,
    ) -> rusqlite::Result<Option<i64>> {
        let name = LinkName { domain: record.domain.clone(), code: record.code.clone() };
        let Some(name) = self.canonical_name(&name) else { return Ok(None) };
        let Some(domain) = self.find_domain(&name.domain) else { return Ok(None) };
        let Some(mut link) = table.get(domain.id, name.code.as_bytes()).map(|served| served.clone()) else {
            return Ok(None);
        };
        let stored = StoredLink::find(self.connection, &name.domain, &name.code)?;
        if let Some(stored) = &stored {
            if stored.is_same(text, record) {
                return Ok(Some(stored.id));
            }
            if link.version() == stored.version {
                // Only what the table does not have has changed, such as the title.
                let Ok(valid) = self.build_link(record, self.versions.take()) else { return Ok(None) };
                table.insert_or_replace(valid.link.clone());
                link = valid.link;
            }
        }
        // A link to a link is rare, so its targets are found once more.
        let targets = if record.allow_own_host {
            self.build_link(record, link.version()).map(|valid| valid.own_host_targets)
        } else {
            Ok(Vec::new())
        };
        let leads_to = own_links::to_json(self.rules.domains, &targets.unwrap_or_default());
        let version = link.version();
        let row = LinkRow { domain: &name.domain, code: &name.code, version, text, record, link: &link, leads_to };
        let gone = self.find_gone(&name, stored.as_ref())?;
        self.write_link(&row, stored.as_ref(), gone.as_ref()).map(Some)
    }

    /// Removes a stored link and reserves its code. Returns the version of the removal.
    pub(super) fn delete_link(&mut self, name: &LinkName, stored: &StoredLink) -> rusqlite::Result<u64> {
        let version = self.versions.take();
        stored.delete(self.connection)?;
        if let Some(link) = stored.as_removed(self.rules.now_ms) {
            let (domain, code) = (name.domain.clone(), name.code.clone());
            GoneRow { domain, code, link, id: Some(stored.id) }.write(self.connection)?;
        }
        self.write_audit(stored.id, version, name, Some(stored), None)?;
        if let Some(domain) = self.find_domain(&name.domain) {
            let key = LinkKey { domain: domain.id, code: name.code.clone().into_bytes() };
            self.table_changes.push(TableChange::Remove(key));
        }
        Ok(version)
    }

    fn write_audit(
        &mut self,
        id: i64,
        version: u64,
        name: &LinkName,
        before: Option<&StoredLink>,
        after: Option<&str>,
    ) -> rusqlite::Result<()> {
        if self.extent == WriteExtent::Everything {
            let sql = "INSERT INTO audit (version, act, at_ms, domain, code, before_version, before, after, link) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            self.connection.prepare_cached(sql)?.execute(params![
                version,
                self.act.id.to_string(),
                self.rules.now_ms,
                name.domain,
                name.code,
                before.map(|stored| stored.version),
                before.map(|stored| &stored.record),
                after,
                id
            ])?;
        }
        let now_ms = self.rules.now_ms;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(RecordedLink::new(version, name, before, after, now_ms));
        }
        Ok(())
    }

    /// The removed link of a code that no link has.
    fn find_gone(&self, name: &LinkName, previous: Option<&StoredLink>) -> rusqlite::Result<Option<GoneRow>> {
        match previous {
            Some(_) => Ok(None),
            None => GoneRow::find(self.connection, &name.domain, &name.code),
        }
    }

    /// The refusal if the change touches what never changes, or takes a reserved code.
    fn check_against_previous(
        &self,
        link: &Link,
        previous: Option<&StoredLink>,
        gone: Option<&GoneRow>,
    ) -> Option<RowRefusal> {
        let is = link.unchangeable_fields()?;
        if let Some(previous) = previous {
            let was = previous.as_removed(self.rules.now_ms);
            let errors =
                was.map(|was| find_changed_unchangeable_fields(&is, &was.unchangeable_fields(), CodeState::Served));
            return errors.filter(|errors| !errors.is_empty()).map(RowRefusal::Unchangeable);
        }
        let gone = gone?;
        let reusable_at_ms = gone.link.reusable_at_ms();
        let errors = find_changed_unchangeable_fields(&is, &gone.link.unchangeable_fields(), CodeState::Reserved);
        let is_refused = reusable_at_ms > self.rules.now_ms && !errors.is_empty();
        is_refused.then_some(RowRefusal::CodeReserved { reusable_at_ms, errors })
    }

    fn build_link(&self, record: &Record, version: u64) -> Result<ValidLink, Vec<RecordError>> {
        let ChangeRules { policy, domains, now_ms } = self.rules;
        Link::check_and_build_from_record(record, policy, domains, now_ms, version)
    }

    fn find_domain(&self, name: &str) -> Option<&Domain> {
        self.rules.domains.find_by_name(name)
    }

    fn name_of(&self, link: &Link) -> LinkName {
        LinkName {
            domain: self.rules.domains.domain(link.domain()).name.to_string(),
            code: String::from_utf8_lossy(link.code()).into_owned(),
        }
    }

    /// The name as the tables have it; `None` if the domain is not configured.
    pub(super) fn canonical_name(&self, name: &LinkName) -> Option<LinkName> {
        let domain = self.find_domain(&name.domain)?;
        let code = if domain.id.ignores_case() { name.code.to_ascii_lowercase() } else { name.code.clone() };
        Some(LinkName { domain: domain.name.to_string(), code })
    }
}

/// The record on one line: as it was written, if that is one line.
pub(super) fn one_line_text(record: &Record, text: Option<&str>) -> String {
    match text.map(str::trim).filter(|text| memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none()) {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(record).unwrap_or_default(),
    }
}

fn code_of_record(text: &str) -> String {
    serde_json::from_str::<Record>(text).map(|record| record.code).unwrap_or_default()
}
