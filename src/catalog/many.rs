//! Changes of many links under one act: a patch of all links that match a filter, the undoing of an act, and the way
//! back to a version. Each goes in chunks, so that other writes do not wait. An act that was interrupted is finished by
//! doing it again: what it has changed already is unchanged then. A server keeps the act until it ends (`kept_changes`)
//! and goes on with it behind a restart.

use rusqlite::Connection;

use super::{
    CatalogHandle,
    act::Act,
    change::{Batch, BatchMode, ChangeRow, ExpectedLink, LinkChange, LinkName, RowOutcome, RowRefusal},
    error::CatalogError,
    query::{CatalogReader, LinkFilter},
    store::{StoreError, find_link_id},
};

/// Rows of one chunk.
const CHUNK: usize = 1_000;
/// Links that are told by name: the first ones.
pub const MAX_TOLD: usize = 100;

/// A change of many links.
#[derive(Clone, Debug)]
pub enum ManyChange {
    /// Patches every link that matches.
    Patch {
        /// Which links.
        filter: LinkFilter,
        /// A JSON merge patch. Its member `host` stands for the host of `url`.
        patch: serde_json::Value,
    },
    /// Takes back what an act did, where nobody has changed the link since.
    Undo {
        /// The act's id.
        act: String,
    },
    /// Makes every link what it was at a version. Reserved codes stay reserved.
    RollBack {
        /// The version.
        to_version: u64,
    },
}

/// What became of the links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManyReport {
    /// Links that are changed.
    pub changed: u64,
    /// Links that are as they were.
    pub unchanged: u64,
    /// Links that could not be changed.
    pub refused_total: u64,
    /// The first of them, and why.
    pub refused: Vec<(LinkName, RowRefusal)>,
    /// The first changed links.
    pub examples: Vec<LinkName>,
}

/// Why a change of many links ended.
#[derive(Debug, thiserror::Error)]
pub enum ManyError {
    /// The catalog takes no change.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such act.
    #[error("there is no act {0}; `waypost links history CODE` lists acts")]
    NoSuchAct(String),
}

impl From<rusqlite::Error> for ManyError {
    fn from(error: rusqlite::Error) -> ManyError {
        ManyError::Store(StoreError::Sqlite(error))
    }
}

impl CatalogHandle {
    /// Changes many links under one act, chunk by chunk. For a thread that may wait. With `is_dry_run` nothing is
    /// written.
    ///
    /// # Errors
    /// What was changed by then stays changed.
    pub fn change_many_blocking(
        &self,
        change: &ManyChange,
        act: &Act,
        is_dry_run: bool,
    ) -> Result<ManyReport, ManyError> {
        let mut run = ManyRun::new(self, change, act, is_dry_run)?;
        while run.change_next_chunk()? == ChunkStep::Changed {}
        Ok(run.report)
    }
}

/// A change of many links on its way.
pub struct ManyRun<'a> {
    catalog: &'a CatalogHandle,
    reader: CatalogReader,
    change: &'a ManyChange,
    act: &'a Act,
    is_dry_run: bool,
    /// The last link of the last chunk.
    pub after: LinkName,
    /// What became of the links so far.
    pub report: ManyReport,
}

/// Whether there was a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkStep {
    /// Its links are changed, and more may follow.
    Changed,
    /// There are no more links.
    End,
}

impl<'a> ManyRun<'a> {
    /// Begins before the first link.
    ///
    /// # Errors
    /// There is no act to take back, or the catalog cannot be read.
    pub fn new(
        catalog: &'a CatalogHandle,
        change: &'a ManyChange,
        act: &'a Act,
        is_dry_run: bool,
    ) -> Result<ManyRun<'a>, ManyError> {
        let reader = catalog.open_reader()?;
        if let ManyChange::Undo { act } = change
            && !reader.has_act(act)?
        {
            return Err(ManyError::NoSuchAct(act.clone()));
        }
        let after = LinkName { domain: String::new(), code: String::new() };
        Ok(ManyRun { catalog, reader, change, act, is_dry_run, after, report: ManyReport::default() })
    }

    /// Changes the next links, in one commit. For a thread that may wait.
    ///
    /// # Errors
    /// No link of the chunk is changed.
    pub fn change_next_chunk(&mut self) -> Result<ChunkStep, ManyError> {
        let rows = self.change.next_rows(&self.reader, &self.after)?;
        let Some((last, _)) = rows.last() else { return Ok(ChunkStep::End) };
        let last = last.clone();
        let (names, rows): (Vec<LinkName>, Vec<ChangeRow>) = rows.into_iter().unzip();
        let batch =
            Batch { act: self.act.clone(), rows, mode: BatchMode::Each, is_dry_run: self.is_dry_run, once: None };
        let outcomes = self.catalog.apply_blocking(batch)?.outcomes;
        names.into_iter().zip(outcomes).for_each(|(name, outcome)| self.report.add(name, outcome));
        self.after = last;
        Ok(ChunkStep::Changed)
    }
}

impl ManyChange {
    /// The rows of the next chunk, of links behind `after`.
    fn next_rows(&self, reader: &CatalogReader, after: &LinkName) -> rusqlite::Result<Vec<(LinkName, ChangeRow)>> {
        match self {
            ManyChange::Patch { filter, patch } => {
                let links = reader.list_links(filter, Some(after), CHUNK)?;
                let row = |link: super::query::VersionedLink| {
                    let change = LinkChange::Patch { name: link.name.clone(), patch: patch.clone() };
                    (link.name, ChangeRow { change, expected: ExpectedLink::AtVersion(link.version) })
                };
                Ok(links.into_iter().map(row).collect())
            }
            ManyChange::Undo { act } => list_inverses(&reader.0, "act = ?1", act, after),
            ManyChange::RollBack { to_version } => {
                list_inverses(&reader.0, "version > ?1", &(*to_version as i64), after)
            }
        }
    }
}

/// The rows that take back the changes for which `condition` holds: each link becomes what it was before the first of
/// them, if its version is that of the last.
fn list_inverses(
    connection: &Connection,
    condition: &str,
    value: &dyn rusqlite::ToSql,
    after: &LinkName,
) -> rusqlite::Result<Vec<(LinkName, ChangeRow)>> {
    // SQLite takes the other columns from the row of the minimum.
    let sql = format!(
        "SELECT domain, code, before, min(position), \
         (SELECT version FROM audit AS last WHERE last.link = audit.link AND last.{condition} \
          ORDER BY position DESC LIMIT 1), \
         (SELECT after IS NULL FROM audit AS last WHERE last.link = audit.link AND last.{condition} \
          ORDER BY position DESC LIMIT 1) \
         FROM audit WHERE {condition} AND link > ?2 GROUP BY link ORDER BY link LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    // A link that nobody can find any more: what is done already is unchanged then.
    let after = find_link_id(connection, &after.domain, &after.code)?.unwrap_or(0);
    let rows = statement.query_map((value, after, CHUNK as i64), |row| {
        let name = LinkName { domain: row.get(0)?, code: row.get(1)? };
        let (before, version, is_removed): (Option<String>, u64, bool) = (row.get(2)?, row.get(4)?, row.get(5)?);
        Ok((name.clone(), inverse_of(name, before, version, is_removed)))
    })?;
    rows.collect()
}

/// The row that makes a link what it was before.
fn inverse_of(name: LinkName, before: Option<String>, version: u64, is_removed: bool) -> ChangeRow {
    // What an interrupted run has taken back is as it was, at a later version.
    let expected = ExpectedLink::AtVersionOrDone((!is_removed).then_some(version));
    let record = before.and_then(|text| Some((serde_json::from_str(&text).ok()?, text)));
    match record {
        Some((record, text)) => {
            ChangeRow { change: LinkChange::Put { record: Box::new(record), text: Some(text) }, expected }
        }
        // A link that came and went again is absent as it was before: deleting it changes nothing.
        None => ChangeRow { change: LinkChange::Delete { name }, expected },
    }
}

impl ManyReport {
    /// Counts what became of a link.
    pub fn add(&mut self, name: LinkName, outcome: RowOutcome) {
        match outcome {
            RowOutcome::Created(_) | RowOutcome::Updated(_) | RowOutcome::Deleted { .. } => {
                self.changed += 1;
                if self.examples.len() < MAX_TOLD {
                    self.examples.push(name);
                }
            }
            RowOutcome::Unchanged(_) | RowOutcome::Refused(RowRefusal::NotFound) => self.unchanged += 1,
            RowOutcome::Refused(refusal) => {
                self.refused_total += 1;
                if self.refused.len() < MAX_TOLD {
                    self.refused.push((name, refusal));
                }
            }
        }
    }
}
