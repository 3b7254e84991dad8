//! The thread `wp-catalog`: the only one that changes the catalog. It takes the requests that wait, applies them in one
//! transaction, serves what they changed, and answers them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use rusqlite::TransactionBehavior;
use tokio::sync::{oneshot, watch};

use super::{
    apply::{ChangeRules, TableChange},
    change::{Write, WriteReport},
    domain_change::{DomainChange, DomainError, DomainReply, DomainReport, PublishDomains},
    error::{CatalogError, LinkSource},
    file_commit::{FileCommit, FileCommitState},
    store::Store,
    suspension_rows::load_suspensions,
    transaction::{ChangesToServe, WriteTransaction},
};
use crate::{
    clock::{self, work_pauses::WorkPauses},
    faults::{self, log_fault},
    links::{
        Table,
        destination::policy::DestinationPolicy,
        domains::{Config, Domains},
        suspensions::Suspensions,
    },
};

/// Requests that share one commit at most.
const MAX_SHARED: usize = 256;
/// A catalog that was idle for so long writes its log back into the file.
const IDLE: Duration = Duration::from_secs(2);

/// How long a file is kept on with while the process stops.
const STOP_TIME: Duration = Duration::from_secs(2);

/// Where the answer to a write goes.
pub(super) type Reply = oneshot::Sender<Result<WriteReport, CatalogError>>;
/// A request that goes to the topic of links, and where its answer goes.
pub enum TopicWrite {
    /// Write something.
    Write(Write, oneshot::Sender<Result<WriteReport, CatalogError>>),
    /// Change a domain.
    ChangeDomain(Box<DomainChange>, oneshot::Sender<Result<DomainReport, DomainError>>),
}
/// Makes the workers see other suspensions.
pub(super) type PublishSuspensions = Box<dyn Fn(Arc<Suspensions>) + Send>;

/// What the thread is asked to do.
pub(super) enum Request {
    /// Write something.
    Write(Write, Reply),
    /// Call this function with the suspensions whenever they change.
    PublishSuspensions(PublishSuspensions),
    /// Call this function with the domains whenever they change. The configuration has the given ones.
    PublishDomains(Arc<Config>, PublishDomains),
    /// Change a domain.
    ChangeDomain(Box<DomainChange>, DomainReply),
    /// Write other rows, or do work of the topic of links. The closure opens its own transactions and answers.
    Run(Box<dyn FnOnce(&mut CatalogWriter) + Send>),
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
    /// Those of the configuration.
    pub(super) configured_domains: Arc<Config>,
    pub(super) source: LinkSource,
    pub(super) latest_version: Arc<AtomicU64>,
    /// Whether no link may change.
    pub(super) is_frozen: Arc<AtomicBool>,
    /// The table that is served.
    pub(super) table: Arc<Table>,
    /// Whether there is a file, in which changes are kept.
    pub(super) is_kept: bool,
    pub(super) file_commit: Option<Box<FileCommit>>,
    pub(super) is_checkpointed: bool,
    /// Changes whenever something was committed.
    pub(super) committed: watch::Sender<()>,
    pub(super) publish_suspensions: Option<PublishSuspensions>,
    pub(super) publish_domains: Option<PublishDomains>,
    /// The gauge of links.
    pub(super) links: ::metrics::Gauge,
    pub(super) write_errors: ::metrics::Counter,
    /// For the codes that are minted.
    pub(super) random: StdRng,
}

impl CatalogWriter {
    /// Runs until it is told to stop, or nobody can ask any more.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        if self.source != LinkSource::File && !self.store.is_empty().unwrap_or(false) {
            self.create_missing_indexes();
        }
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
            let mut writes = Vec::new();
            let mut must_stop = false;
            for request in waiting {
                match request {
                    Request::Write(write, reply) => writes.push((write, reply)),
                    Request::PublishSuspensions(publish) => self.publish_suspensions = Some(publish),
                    Request::PublishDomains(configured, publish) => {
                        self.configured_domains = configured;
                        self.publish_domains = Some(publish);
                    }
                    Request::ChangeDomain(change, reply) => {
                        // Behind the writes that were asked for before.
                        self.write_all_in_one_commit(std::mem::take(&mut writes));
                        let _ = reply.send(self.change_domain(&change));
                    }
                    Request::Run(work) => work(&mut self),
                    Request::CommitFile(commit) => {
                        self.table = commit.table.clone();
                        self.file_commit = self.is_kept.then_some(commit);
                    }
                    Request::Stop => must_stop = true,
                }
            }
            self.write_all_in_one_commit(writes);
            self.committed.send_replace(());
            if must_stop {
                return self.finish_file_commit_and_checkpoint();
            }
        }
    }

    fn wait_for_request(&self, requests: &mpsc::Receiver<Request>) -> Waited {
        let wait = match (&self.file_commit, self.is_checkpointed) {
            (Some(commit), _) => commit.remaining_wait(),
            (None, false) => IDLE,
            (None, true) => Duration::from_secs(3600),
        };
        match requests.recv_timeout(wait) {
            Ok(request) => Waited::Request(request),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    fn write_all_in_one_commit(&mut self, writes: Vec<(Write, Reply)>) {
        if writes.is_empty() {
            return;
        }
        if !self.is_kept {
            for (_, reply) in writes {
                let message = "the disk refused the catalog's file at the start; restart once it does not".to_owned();
                let _ = reply.send(Err(CatalogError::StoreFailed(message)));
            }
            return;
        }
        let (writes, replies): (Vec<Write>, Vec<Reply>) = writes.into_iter().unzip();
        let count = writes.len();
        let results = self.try_write_all(writes).unwrap_or_else(|error| {
            let message = error.to_string();
            self.count_and_log_write_error(&format!("no change of links is taken: {message}"));
            (0..count).map(|_| Err(CatalogError::StoreFailed(message.clone()))).collect()
        });
        for (reply, result) in replies.into_iter().zip(results) {
            // An error: who asked has gone.
            let _ = reply.send(result);
        }
    }

    /// Counts a write that the file did not take, and says so in the log.
    pub(super) fn count_and_log_write_error(&self, message: &str) {
        self.write_errors.increment(1);
        log_fault!(error, faults::CATALOG_FAILING, "{message}");
    }

    /// Writes everything in one transaction, then serves it. Nothing is written if the store fails.
    fn try_write_all(&mut self, writes: Vec<Write>) -> rusqlite::Result<Vec<Result<WriteReport, CatalogError>>> {
        let transaction = self.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rules = ChangeRules { policy: &self.policy, domains: &self.domains, now_ms: clock::wall_ms() };
        let mut rows =
            WriteTransaction::begin(&transaction, rules, self.source, &mut self.random, &self.latest_version)?
                .pausing_if(self.publish_suspensions.is_some());
        let results: Vec<_> = writes.into_iter().map(|write| rows.write(write)).collect::<rusqlite::Result<_>>()?;
        let committed = rows.finish()?;
        transaction.commit()?;
        self.serve_changes(committed);
        Ok(results)
    }

    /// Serves what a transaction has changed.
    pub(super) fn serve_changes(&self, committed: ChangesToServe) {
        self.serve_table_changes(committed.table_changes);
        if committed.changes_suspensions
            && let Err(error) = self.load_and_publish_suspensions()
        {
            // They are on the disk, so the answer is not that they were refused.
            log_fault!(
                error,
                faults::CATALOG_FAILING,
                "a suspension is kept, and holds from the next start on: {error}"
            );
        }
        if let Some(is_frozen) = committed.is_frozen {
            self.is_frozen.store(is_frozen, Ordering::Relaxed);
        }
    }

    /// Serves changes of links.
    pub(super) fn serve_table_changes(&self, changes: Vec<TableChange>) {
        let mut pauses = WorkPauses::starting_now();
        for change in changes {
            pauses.pause_if_due();
            serve_change(&self.table, change);
        }
        self.links.set(self.table.len() as f64);
    }

    fn load_and_publish_suspensions(&self) -> rusqlite::Result<()> {
        if let Some(publish) = &self.publish_suspensions {
            publish(Arc::new(load_suspensions(&self.store.connection)?));
        }
        Ok(())
    }

    /// Called once many links were added to an empty catalog: an index is made faster behind them than beside them.
    fn create_missing_indexes(&self) {
        if let Err(error) = self.store.create_missing_indexes() {
            tracing::warn!(%error, "the catalog's indexes are not made; lists of links are slow");
        }
    }

    fn commit_next_part_of_file_or_checkpoint(&mut self) {
        let Some(mut commit) = self.file_commit.take() else {
            self.create_missing_indexes();
            if let Err(error) = self.store.checkpoint() {
                tracing::warn!(%error, "the catalog's log is not written back");
            }
            self.is_checkpointed = true;
            return;
        };
        match commit.commit_next_part(&mut self.store, &self.policy, &self.domains, &self.latest_version) {
            Ok(FileCommitState::Finished) => self.committed.send_replace(()),
            Ok(FileCommitState::Unfinished) => self.file_commit = Some(commit),
            Err(error) => {
                let path = commit.path.display();
                self.count_and_log_write_error(&format!(
                    "{path}: its links are served, and cannot be kept for the next start: {error}"
                ));
                match commit.start_again_later() {
                    Ok(()) => self.file_commit = Some(commit),
                    Err(error) => tracing::warn!(%error, "the links file is not kept until it is read again"),
                }
            }
        }
    }

    /// A file that has too many parts left is read again by the next start.
    fn finish_file_commit_and_checkpoint(mut self) {
        let deadline = Instant::now() + STOP_TIME;
        let can_go_on = |commit: &FileCommit| commit.remaining_wait().is_zero() && Instant::now() < deadline;
        while self.file_commit.as_deref().is_some_and(can_go_on) {
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
