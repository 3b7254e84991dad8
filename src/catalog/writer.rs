//! The thread `wp-catalog`: the only one that changes the catalog. It takes the requests that wait, applies them in one
//! transaction, serves what they changed, and answers them.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::{
    act::write_act,
    apply::{Application, ChangeRules, TableChange},
    change::{Batch, BatchMode, BatchReport, RowOutcome},
    error::{CatalogError, LinkSource},
    file_commit::{FileCommit, FileCommitState},
    store::{Meta, Store},
};
use crate::{
    clock,
    faults::{self, log_fault},
    links::{Table, destination::policy::DestinationPolicy, domains::Domains},
};

/// Requests that share one commit at most.
const MAX_SHARED: usize = 256;
/// A catalog that was idle for so long writes its log back into the file.
const IDLE: Duration = Duration::from_secs(2);

/// How long a file is kept on with while the process stops.
const STOP_TIME: Duration = Duration::from_secs(2);

/// What the thread is asked to do.
pub(super) enum Request {
    /// Change links.
    Apply { batch: Batch, reply: oneshot::Sender<Result<BatchReport, CatalogError>> },
    /// Keep the links of a file that are served already.
    CommitFile(Box<FileCommit>),
    /// Write nothing more and end.
    Stop,
}

/// The thread's state.
pub(super) struct CatalogWriter {
    pub(super) store: Store,
    pub(super) policy: DestinationPolicy,
    pub(super) domains: Arc<Domains>,
    pub(super) source: LinkSource,
    /// The table that is served.
    pub(super) table: Arc<Table>,
    pub(super) file_commit: Option<Box<FileCommit>>,
    pub(super) is_checkpointed: bool,
    /// For the codes that are minted.
    pub(super) random: StdRng,
}

impl CatalogWriter {
    /// Runs until it is told to stop, or nobody can ask any more.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let first = match self.wait_for_request(requests) {
                Waited::Request(request) => request,
                Waited::Nothing => {
                    self.commit_next_part_of_file_or_checkpoint();
                    continue;
                }
                Waited::Ended => return,
            };
            let mut waiting = vec![first];
            while waiting.len() < MAX_SHARED
                && let Ok(request) = requests.try_recv()
            {
                waiting.push(request);
            }
            self.is_checkpointed = false;
            let mut batches = Vec::new();
            let mut must_stop = false;
            for request in waiting {
                match request {
                    Request::Apply { batch, reply } => batches.push((batch, reply)),
                    Request::CommitFile(commit) => {
                        self.table = commit.table.clone();
                        self.file_commit = Some(commit);
                    }
                    Request::Stop => must_stop = true,
                }
            }
            self.apply_batches_in_one_commit(batches);
            if must_stop {
                return self.finish_file_commit_and_checkpoint();
            }
        }
    }

    fn wait_for_request(&self, requests: &mpsc::Receiver<Request>) -> Waited {
        let wait = match (&self.file_commit, self.is_checkpointed) {
            (Some(_), _) => Duration::ZERO,
            (None, false) => IDLE,
            (None, true) => Duration::from_secs(3600),
        };
        match requests.recv_timeout(wait) {
            Ok(request) => Waited::Request(request),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    fn apply_batches_in_one_commit(
        &mut self,
        batches: Vec<(Batch, oneshot::Sender<Result<BatchReport, CatalogError>>)>,
    ) {
        if batches.is_empty() {
            return;
        }
        let (batches, replies): (Vec<Batch>, Vec<_>) = batches.into_iter().unzip();
        let results = match self.try_apply_batches(&batches) {
            Ok((results, changes)) => {
                changes.into_iter().for_each(|change| serve_change(&self.table, change));
                results
            }
            Err(error) => {
                let message = error.to_string();
                log_fault!(error, faults::CATALOG_FAILING, "no change of links is taken: {message}");
                batches.iter().map(|_| Err(CatalogError::StoreFailed(message.clone()))).collect()
            }
        };
        for (reply, result) in replies.into_iter().zip(results) {
            // An error: who asked has gone.
            let _ = reply.send(result);
        }
    }

    /// Applies the batches in one transaction. Nothing is written if the store fails.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn try_apply_batches(
        &mut self,
        batches: &[Batch],
    ) -> rusqlite::Result<(Vec<Result<BatchReport, CatalogError>>, Vec<TableChange>)> {
        let CatalogWriter { store, policy, domains, source, random, .. } = self;
        let transaction = store.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&transaction)?);
        let frozen = Meta::Frozen.read(&transaction)?;
        let mut version = Meta::Version.read_number(&transaction)?;
        let rules = ChangeRules { policy, domains, now_ms };
        let (mut results, mut changes) = (Vec::new(), Vec::new());
        for batch in batches {
            if let Some(reason) = &frozen {
                results.push(Err(CatalogError::Frozen { reason: reason.clone() }));
                continue;
            }
            if *source == LinkSource::File {
                results.push(Err(CatalogError::SourceIsFile));
                continue;
            }
            transaction.execute_batch("SAVEPOINT batch")?;
            let mut application = Application {
                connection: &transaction,
                rules,
                act: &batch.act,
                random,
                version,
                table_changes: Vec::new(),
            };
            let outcomes = batch
                .rows
                .iter()
                .map(|row| application.apply_row(row))
                .collect::<rusqlite::Result<Vec<RowOutcome>>>()?;
            let has_refusal = outcomes.iter().any(|outcome| matches!(outcome, RowOutcome::Refused(_)));
            let is_refused_whole = has_refusal && batch.mode == BatchMode::Atomic;
            let is_applied = !batch.is_dry_run && !is_refused_whole;
            if is_applied {
                version = application.version;
                changes.append(&mut application.table_changes);
                write_act(&transaction, &batch.act, "change", now_ms)?;
            } else {
                transaction.execute_batch("ROLLBACK TO batch")?;
            }
            transaction.execute_batch("RELEASE batch")?;
            results.push(Ok(BatchReport { outcomes, is_applied, version }));
        }
        Meta::Version.write(&transaction, Some(&version.to_string()))?;
        Meta::LatestMs.write(&transaction, Some(&now_ms.to_string()))?;
        transaction.commit()?;
        Ok((results, changes))
    }

    fn commit_next_part_of_file_or_checkpoint(&mut self) {
        let Some(mut commit) = self.file_commit.take() else {
            if let Err(error) = self.store.checkpoint() {
                tracing::warn!(%error, "the catalog's log is not written back");
            }
            self.is_checkpointed = true;
            return;
        };
        match commit.commit_next_part(&mut self.store, &self.policy, &self.domains) {
            Ok(FileCommitState::Finished) => {}
            Ok(FileCommitState::Unfinished) => self.file_commit = Some(commit),
            Err(error) => {
                log_fault!(
                    error,
                    faults::CATALOG_FAILING,
                    "{}: its links are served, and cannot be kept for the next start: {error}",
                    commit.path.display()
                );
            }
        }
    }

    /// A file that has too many parts left is read again by the next start.
    fn finish_file_commit_and_checkpoint(mut self) {
        let deadline = Instant::now() + STOP_TIME;
        while self.file_commit.is_some() && Instant::now() < deadline {
            self.commit_next_part_of_file_or_checkpoint();
        }
        self.file_commit = None;
        self.commit_next_part_of_file_or_checkpoint();
    }
}

/// What a wait for requests ended with.
enum Waited {
    Request(Request),
    Nothing,
    Ended,
}

/// Serves one change that is committed.
fn serve_change(table: &Table, change: TableChange) {
    match change {
        TableChange::Replace(link) => table.insert_or_replace(link),
        TableChange::Remove(key) => drop(table.remove(&key)),
    }
}
