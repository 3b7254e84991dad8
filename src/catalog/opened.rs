//! A catalog between its opening and its start: its links are loaded, and nothing changes them yet.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
        mpsc,
    },
    thread,
};

use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::sync::watch;

use super::{
    Catalog, CatalogHandle, FILE_NAME,
    change::LinkName,
    error::LinkSource,
    file_commit::file_version_text,
    load::{self, LoadedTable},
    store::{Meta, OpenOutcome, Store, StoreError, set_aside},
    suspension_rows::load_suspensions,
    writer::CatalogWriter,
};
use crate::{
    clock,
    file_watch::FileVersion,
    links::{Table, destination::policy::DestinationPolicy, domains::Domains, suspensions::Suspensions},
    metrics,
    model::link::record::RecordError,
};

/// A catalog whose links are loaded and not changed yet.
pub struct OpenedCatalog {
    store: Store,
    policy: DestinationPolicy,
    domains: Arc<Domains>,
    /// The links.
    pub table: Arc<Table>,
    /// The version of the catalog.
    pub version: u64,
    /// The name under which a damaged file lies now, if the file was damaged.
    pub set_aside: Option<PathBuf>,
    /// If the file was of an older format: that format, and the copy of it.
    pub migrated: Option<(i64, PathBuf)>,
    /// The first links that the rules of today refuse, and why. They are kept, and not served.
    pub refused: Vec<(LinkName, Vec<RecordError>)>,
    /// How many of them there are.
    pub refused_total: u64,
    file_version: Option<String>,
    /// The suspensions.
    pub suspensions: Arc<Suspensions>,
    is_frozen: bool,
    is_kept: bool,
}

impl OpenedCatalog {
    /// Opens the catalog of a data directory, which this process has locked, or makes it; loads its links on so many
    /// threads.
    ///
    /// # Errors
    /// The file cannot be used. A damaged one stays in its place: a new one would be a catalog without links.
    pub fn open_or_create(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        let opened = OpenedCatalog::try_open(data_dir, policy, domains, threads);
        opened.map_err(|error| error.or_damaged(&data_dir.join(FILE_NAME)))
    }

    /// As [`OpenedCatalog::open_or_create`], for links that have another home, a file or a topic: a damaged catalog is
    /// renamed, and a new one fills itself.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open_or_set_damaged_aside(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        match OpenedCatalog::try_open(data_dir, policy.clone(), domains.clone(), threads) {
            Err(error) if error.is_corruption() => {
                let aside = set_aside(&data_dir.join(FILE_NAME))?;
                let opened = OpenedCatalog::try_open(data_dir, policy, domains, threads)?;
                Ok(OpenedCatalog { set_aside: Some(aside), ..opened })
            }
            opened => opened,
        }
    }

    fn try_open(
        data_dir: &Path,
        policy: DestinationPolicy,
        domains: Arc<Domains>,
        threads: usize,
    ) -> Result<OpenedCatalog, StoreError> {
        let (mut store, outcome) = Store::open_or_create(&data_dir.join(FILE_NAME))?;
        let version = Meta::Version.read_number(&store.connection)?;
        let now_ms = clock::wall_ms().max(Meta::LatestMs.read_number(&store.connection)?);
        let LoadedTable { table, refused, refused_total } =
            load::load_table(&mut store, &policy, &domains, now_ms, threads)?;
        let file_version = Meta::FileVersion.read(&store.connection)?;
        let is_frozen = Meta::Frozen.read(&store.connection)?.is_some();
        let suspensions = Arc::new(load_suspensions(&store.connection)?);
        let migrated = match outcome {
            OpenOutcome::Migrated { from, copy } => Some((from, copy)),
            OpenOutcome::Existing | OpenOutcome::Created => None,
        };
        Ok(OpenedCatalog {
            store,
            policy,
            domains,
            table: Arc::new(table),
            version,
            set_aside: None,
            migrated,
            refused,
            refused_total,
            file_version,
            suspensions,
            is_frozen,
            is_kept: true,
        })
    }

    /// A catalog without a file, for a start with a links file and a disk that refuses the catalog's: the links are
    /// served, and nothing is kept.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn open_without_file(policy: DestinationPolicy, domains: Arc<Domains>) -> Result<OpenedCatalog, StoreError> {
        Ok(OpenedCatalog {
            store: Store::open_in_memory()?,
            policy,
            domains,
            table: Arc::new(Table::with_capacity(0)),
            version: 0,
            set_aside: None,
            migrated: None,
            refused: Vec::new(),
            refused_total: 0,
            file_version: None,
            suspensions: Arc::default(),
            is_frozen: false,
            is_kept: false,
        })
    }

    /// Whether only this process can read the catalog, because the disk has no space for more.
    pub fn is_read_by_writer_alone(&self) -> bool {
        !self.store.is_shared
    }

    /// Whether the links are those of this version of the file, all of them.
    pub fn holds_file_version(&self, path: &Path, version: &FileVersion) -> bool {
        self.refused_total == 0 && self.file_version.as_deref() == Some(&*file_version_text(path, version))
    }

    /// Starts the thread `wp-catalog`, which ends after [`Catalog::stop`].
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn start(self, source: LinkSource) -> std::io::Result<Catalog> {
        let (requests, received) = mpsc::channel();
        let (committed, commits) = watch::channel(());
        if source != LinkSource::Topic {
            // Links that change by another source leave their place in a topic.
            let state = Meta::TopicState.read(&self.store.connection).map_err(std::io::Error::other)?;
            if state.is_some() {
                Meta::TopicState.write(&self.store.connection, None).map_err(std::io::Error::other)?;
            }
        }
        let path = self.store.path.clone();
        let latest_version = Arc::new(AtomicU64::new(self.version));
        let is_frozen = Arc::new(AtomicBool::new(self.is_frozen));
        let writer = CatalogWriter {
            store: self.store,
            policy: self.policy,
            domains: self.domains,
            configured_domains: Arc::default(),
            source,
            latest_version: latest_version.clone(),
            is_frozen: is_frozen.clone(),
            table: self.table,
            is_kept: self.is_kept,
            file_commit: None,
            is_checkpointed: false,
            publish_suspensions: None,
            publish_domains: None,
            links: metrics::gauge(&metrics::LINKS, &[]),
            write_errors: metrics::counter(&metrics::CATALOG_WRITE_ERRORS, &[]),
            committed,
            random: StdRng::try_from_rng(&mut SysRng).map_err(std::io::Error::from)?,
        };
        let thread = thread::Builder::new().name("wp-catalog".to_owned()).spawn(move || writer.run(&received))?;
        let handle = CatalogHandle { requests, topic_writes: None, path, commits, latest_version, is_frozen };
        Ok(Catalog { handle, thread })
    }
}
