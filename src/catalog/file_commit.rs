//! Keeps the links of a file in the catalog. They are served before, from the table that the load made; the catalog
//! follows in parts, so that other requests do not wait. A process that dies between two parts reads the file again at
//! its next start: `Meta::FileVersion` is written with the last part.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    act::{Act, write_act},
    apply::{Application, ChangeRules},
    change::LinkName,
    row_set::RowSet,
    store::{Meta, Store, StoreError, StoredLink},
    versions::Versions,
};
use crate::{
    clock::{self, work_pauses::WorkPauses},
    file_watch::FileVersion,
    links::{Table, destination::policy::DestinationPolicy, domains::Domains},
    model::link::record::Record,
};

/// Rows of one part: some 300 ms, for which another request may wait.
const ROWS_PER_PART: usize = 8_000;
/// How long a store that failed is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// A version of a file, as `Meta::FileVersion` has it.
pub(super) fn file_version_text(path: &Path, version: &FileVersion) -> String {
    format!("{} {version:?}", path.display())
}

/// A file whose links are being kept.
pub(super) struct FileCommit {
    pub(super) path: PathBuf,
    /// The table that the load of this file made.
    pub(super) table: Arc<Table>,
    lines: BufReader<File>,
    /// Of the file, as `Meta::FileVersion` has it.
    version_text: String,
    act: Act,
    /// The rows whose links are in the file.
    kept: RowSet,
    next: NextPart,
    /// When the store failed: the time of the next attempt.
    retry_at: Option<Instant>,
}

/// What the next part does.
#[derive(Clone, Copy, Debug)]
enum NextPart {
    /// Reads lines of the file.
    Lines,
    /// Looks at the links behind this id, and removes those that the file lacks.
    Removals { after_id: i64 },
}

/// Whether a file has more parts to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileCommitState {
    Unfinished,
    Finished,
}

impl FileCommit {
    /// `file` is the file that was loaded, `version_text` its version.
    pub(super) fn new(path: PathBuf, file: File, version_text: String, table: Arc<Table>, act: Act) -> FileCommit {
        let lines = BufReader::with_capacity(1 << 20, file);
        let (kept, next) = (RowSet::default(), NextPart::Lines);
        FileCommit { path, table, lines, version_text, act, kept, next, retry_at: None }
    }

    /// How long the next part has to wait.
    pub(super) fn remaining_wait(&self) -> Duration {
        self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Begins with the first line again, in a while. What is kept already is skipped then.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn start_again_later(&mut self) -> std::io::Result<()> {
        self.lines.rewind()?;
        (self.kept, self.next) = (RowSet::default(), NextPart::Lines);
        self.retry_at = Some(Instant::now() + RETRY);
        Ok(())
    }

    /// Commits the next part.
    pub(super) fn commit_next_part(
        &mut self,
        store: &mut Store,
        policy: &DestinationPolicy,
        domains: &Domains,
        latest_version: &AtomicU64,
    ) -> Result<FileCommitState, StoreError> {
        let transaction = store.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
        let rules = ChangeRules { policy, domains, now_ms };
        // No code is minted here.
        let mut random = StdRng::seed_from_u64(0);
        let versions = Versions::counted(latest_version);
        let mut application = Application::new(&transaction, rules, &self.act, &mut random, versions);
        let next = match self.next {
            NextPart::Lines => commit_lines(&mut self.lines, &self.table, &mut self.kept, &mut application)
                .map_err(|error| to_store_error(&self.path, error))?,
            NextPart::Removals { after_id } => remove_links_not_kept(&self.kept, after_id, &mut application)?,
        };
        Meta::Version.write(&transaction, Some(&latest_version.load(Ordering::Relaxed).to_string()))?;
        Meta::LatestMs.write(&transaction, Some(&now_ms.to_string()))?;
        // With each part: the process can die before the last one, and each change of the audit names its act.
        write_act(&transaction, &self.act, "file", now_ms)?;
        if next.is_none() {
            Meta::FileVersion.write(&transaction, Some(&self.version_text))?;
        }
        transaction.commit()?;
        let Some(next) = next else {
            store.create_missing_indexes()?;
            return Ok(FileCommitState::Finished);
        };
        self.next = next;
        Ok(FileCommitState::Unfinished)
    }
}

/// The file or the store fails.
enum PartError {
    Io(std::io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for PartError {
    fn from(error: rusqlite::Error) -> PartError {
        PartError::Sqlite(error)
    }
}

fn to_store_error(path: &std::path::Path, error: PartError) -> StoreError {
    match error {
        PartError::Io(error) => StoreError::Io { path: path.display().to_string(), error },
        PartError::Sqlite(error) => StoreError::Sqlite(error),
    }
}

/// Keeps the links of the next lines, as the table has them. A line that is no record any more is passed over: then the
/// file is being changed, and the next load reads it.
fn commit_lines(
    lines: &mut BufReader<File>,
    table: &Table,
    kept: &mut RowSet,
    application: &mut Application<'_>,
) -> Result<Option<NextPart>, PartError> {
    let (mut line, mut pauses) = (Vec::new(), WorkPauses::starting_now());
    for _ in 0..ROWS_PER_PART {
        pauses.pause_if_due();
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(PartError::Io)? == 0 {
            return Ok(Some(NextPart::Removals { after_id: 0 }));
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        let (Ok(record), Ok(text)) = (serde_json::from_slice::<Record>(text), str::from_utf8(text)) else { continue };
        if let Some(id) = application.keep_served_link(table, &record, text)? {
            kept.insert(id);
        }
    }
    Ok(Some(NextPart::Lines))
}

/// Looks at the next links behind `after_id`, and removes those that the file lacks. `None`: there are no more.
fn remove_links_not_kept(
    kept: &RowSet,
    after_id: i64,
    application: &mut Application<'_>,
) -> rusqlite::Result<Option<NextPart>> {
    let rows: Vec<(i64, LinkName)> = {
        let sql = "SELECT id, domain, code FROM link WHERE id > ?1 ORDER BY id LIMIT ?2";
        let mut statement = application.connection.prepare_cached(sql)?;
        let rows = statement.query_map((after_id, ROWS_PER_PART), |row| {
            Ok((row.get(0)?, LinkName { domain: row.get(1)?, code: row.get(2)? }))
        })?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let Some((last_id, _)) = rows.last() else { return Ok(None) };
    let next = NextPart::Removals { after_id: *last_id };
    let mut pauses = WorkPauses::starting_now();
    for (id, name) in rows {
        pauses.pause_if_due();
        if !kept.contains(id)
            && let Some(stored) = StoredLink::find(application.connection, &name.domain, &name.code)?
        {
            application.delete_link(&name, &stored)?;
        }
    }
    Ok(Some(next))
}
