//! Loads a links file into a fresh table.

use std::{
    fs::File,
    io,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    file_watch::FileVersion,
    links::{
        batch::{BatchRules, FinishedBatch, LinkBatch},
        domains::Domains,
        file::{
            blocks::BlockReader,
            conflicts::reread_file_and_locate_first_conflicts,
            errors::{LineError, LineErrors, LoadError},
            parallel::{ParallelLoad, ParsedLines, Progress},
        },
        table::Table,
    },
};

/// What to load, and by which rules.
pub struct LoadRequest<'a> {
    /// The file.
    pub path: &'a Path,
    /// What its records are checked against.
    pub rules: BatchRules<'a>,
    /// How many threads parse; at least one.
    pub threads: usize,
    /// Called after each block, from any of the threads.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// The links of a file without errors.
pub struct LoadedFile {
    /// The links.
    pub table: Table,
    /// How many there are.
    pub links: u64,
    /// How many links of the version before are gone.
    pub removed: u64,
    /// Which version of the file was read.
    pub version: FileVersion,
    /// What is allowed but unusual: the first [`MAX_LISTED`](super::MAX_LISTED) warnings, by line.
    pub warnings: Vec<LineError>,
    /// How many warnings there are in all.
    pub warnings_total: u64,
    /// How long reading and building took.
    pub duration: Duration,
}

/// Reads the file, checks every record and builds the table of links. Nothing is published.
///
/// # Errors
/// The file cannot be read, changed while it was read, has lines with errors, or loses too many links.
pub fn load_and_validate_file(request: &LoadRequest<'_>) -> Result<LoadedFile, LoadError> {
    let started = Instant::now();
    let io_error = |error| LoadError::Io { path: request.path.to_owned(), error };
    let file = File::open(request.path).map_err(io_error)?;
    let version = FileVersion::from_metadata(&file.metadata().map_err(io_error)?);
    let mut blocks = BlockReader::new(&file);
    let capacity = blocks.read_first_block_and_estimate_line_count(version.size()).map_err(io_error)?;
    let mut batch = LinkBatch::new(request.rules, capacity);
    let parallel = ParallelLoad {
        batch: &batch,
        blocks: Mutex::new(blocks),
        file_bytes: version.size(),
        progress: request.progress,
    };
    let mut parsed = parallel.parse_file_and_add_records_on_threads(request.threads).map_err(io_error)?;
    if !is_still_at_version(&file, request.path, version).map_err(io_error)? {
        return Err(LoadError::ChangedWhileReading(request.path.to_owned()));
    }
    locate_and_add_conflicts(&mut parsed, &mut batch, &file, request.rules.domains);
    let (listed, total) = parsed.errors.into_parts();
    if total > 0 {
        return Err(LoadError::Lines(LineErrors { path: request.path.to_owned(), listed, total }));
    }
    let finished = batch.into_table_remembering_removed_links();
    let FinishedBatch { table, removed } =
        finished.map_err(|violation| LoadError::Shrinks { path: request.path.to_owned(), violation })?;
    let (warnings, warnings_total) = parsed.warnings.into_parts();
    Ok(LoadedFile {
        table,
        links: parsed.links,
        removed,
        version,
        warnings,
        warnings_total,
        duration: started.elapsed(),
    })
}

/// Whether neither the open file nor the file at `path` changed since `version` was taken.
fn is_still_at_version(file: &File, path: &Path, version: FileVersion) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, std::fs::metadata(path)?);
    Ok(FileVersion::from_metadata(&open) == version && FileVersion::from_metadata(&named) == version)
}

/// Adds the errors of records that are valid alone and not together.
fn locate_and_add_conflicts(parsed: &mut ParsedLines, batch: &mut LinkBatch<'_>, file: &File, domains: &Domains) {
    let conflicts = batch.take_conflicts_between_records();
    let total = (conflicts.duplicates.len() + conflicts.records.len()) as u64;
    if total > 0 {
        parsed.errors.add_located_errors_and_total_count(
            reread_file_and_locate_first_conflicts(file, domains, conflicts),
            total,
        );
    }
}
